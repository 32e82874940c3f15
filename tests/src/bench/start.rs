//! The start of a node whose components are all in its cache: from the command to the line that says that it serves.

use std::path::Path;

use isomer_host::clock;
use serde_json::json;
use tempfile::TempDir;

use crate::bench::Scale;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::guests;
use crate::node::Node;

/// The component that is taken, and the name of its service.
const GUEST: &str = "greeter";

/// How many services the node of the published figure has.
const SERVICES: usize = 100;

/// How long a start takes.
pub async fn cached(scale: Scale) -> Vec<Row> {
    let n_services = if scale.rounds > 1 { SERVICES } else { 2 };
    // The first one compiles.
    start(folder(n_services)).await;
    let mut ours = Sample::new();
    for _ in 0..scale.rounds {
        ours.push(start(folder(n_services)).await);
    }
    vec![Row {
        what: format!("start of a node with {n_services} services whose code is cached"),
        unit: Unit::Seconds,
        ours,
        beside: None,
        target: Some(Target::AtMost(1.0)),
    }]
}

/// Seconds until a node serves.
async fn start(folder: TempDir) -> f64 {
    let start = clock::now();
    let node = Node::start_in(folder, &[]).await;
    let took = start.elapsed().as_secs_f64();
    let answer = node.run(&["call", &format!("{}.hello", name(0))]).await;
    assert!(answer.status.success(), "{answer:?}");
    node.stop().await;
    took
}

fn folder(n_services: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    (0..n_services).for_each(|n| put(n, &services));
    folder
}

/// A name with as many letters as that of the component.
fn name(n: usize) -> String {
    format!("gree{n:03}")
}

/// Puts the component under another name: in its code too, which has no other use of that word in quotes.
fn put(n: usize, services: &Path) {
    let component = std::fs::read(guests::wasm(GUEST)).unwrap();
    let (from, to) = (json!(GUEST).to_string(), json!(name(n)).to_string());
    let mut renamed = component.clone();
    for at in 0..component.len() - from.len() {
        if component[at..].starts_with(from.as_bytes()) {
            renamed[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    assert!(renamed != component, "the schema of {GUEST} names it in quotes");
    guests::put_bytes(&renamed, services, &format!("{}.wasm", name(n)));
}
