//! What a trap leaves behind: a stack with names and lines, and a core dump where the operator wants one.

use std::path::{Path, PathBuf};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::config::limits::CoreDumps;
use isomer_host::error::MoleculerError;
use isomer_host::runtime::Inspection;
use serde_json::json;
use tests::host::Host;
use tests::{guests, tree, wait};
use wasmparser::{KnownCustom, Parser, Payload};

/// A node with the guest that keeps its core dumps so.
async fn host(core_dumps: CoreDumps, toml: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crasher.toml"), toml).unwrap();
    guests::put("crasher", folder.path(), "crasher.wasm");
    let options = BrokerOptions { core_dumps, ..BrokerOptions::default() };
    Host::start_broker(ServiceBroker::new(options).unwrap(), folder).await
}

async fn crash(host: &Host, action: &str, n: u64) -> MoleculerError {
    host.call(&format!("crasher.{action}"), &json!({"n": n})).await.unwrap_err()
}

fn counted(host: &Host, metric: &'static str) -> i64 {
    host.broker.metrics().metric(metric).get()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Waits until so many core dumps have been written.
async fn written(host: &Host, n: i64) {
    wait::until("the core dump", || async {
        (counted(host, "isomer.guest.coreDumps.total") == n).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_stack_has_the_functions_and_lines_of_a_guest_with_debug_information() {
    let host = host(CoreDumps::default(), "").await;
    let error = crash(&host, "panic", 0).await;
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
    let source = tree::read(&tree::top().join("tests/guests/crasher/src/lib.rs"));
    let line_of = |text: &str| 1 + source.lines().position(|line| line.contains(text)).unwrap();
    let stack = error.fields().stack.clone().unwrap();
    for (function, line) in
        [("crasher::inner", line_of("panic!(\"this line")), (" outer", line_of("black_box(inner("))]
    {
        let mut lines = stack.lines().skip_while(|line| !line.contains(function));
        assert!(lines.next().is_some(), "{function}:\n{stack}");
        let place = lines.next().unwrap_or_default();
        assert!(place.contains(&format!("crasher/src/lib.rs:{line}:")), "{function}:\n{stack}");
    }
    assert!(stack.contains("\nlast output:\n"), "{stack}");
    assert!(stack.contains("this line is told"), "its last words:\n{stack}");
}

#[tokio::test]
async fn a_trap_leaves_a_core_dump_where_one_is_wanted_and_other_ends_leave_none() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cores");
    let kept = CoreDumps { dir: Some(dir.clone()), ..CoreDumps::default() };
    let host = host(kept, "[limits]\nfuel = 50_000_000\n").await;
    assert_eq!(crash(&host, "spin", 1).await.kind(), "FUEL_EXHAUSTED");
    assert!(files(&dir).is_empty());
    let error = crash(&host, "panic", 0).await;
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
    assert!(error.fields().stack.as_ref().unwrap().contains("crasher::inner"), "as without");
    written(&host, 1).await;
    let [file]: [PathBuf; 1] = files(&dir).try_into().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let component = Inspection::read(&std::fs::read(guests::wasm("crasher")).unwrap()).unwrap();
    assert!(name.starts_with(&format!("crasher-{}-2", &component.sha256[..12])), "{name}");
    assert!(name.ends_with("Z.core"), "{name}");
    check(&std::fs::read(&file).unwrap());
    assert_eq!(host.call("crasher.ok", &json!({})).await.unwrap(), json!(null), "it goes on");
}

/// A WebAssembly file with what a core dump has, and the guest's memory.
fn check(bytes: &[u8]) {
    let mut found = Vec::new();
    let mut n_data = 0;
    let mut n_frames = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::CustomSection(section) => {
                if let KnownCustom::CoreDumpStack(stack) = section.as_known() {
                    n_frames += stack.frames.len();
                }
                found.push(section.name().to_owned());
            }
            Payload::DataSection(data) => n_data += data.count(),
            _ => {}
        }
    }
    assert_eq!(found, ["core", "coremodules", "coreinstances", "corestack"]);
    assert!(n_data > 0 && n_frames > 3, "{n_data} pieces of memory, {n_frames} frames");
    assert!(bytes.windows(17).any(|text| text == b"this line is told"), "the guest's memory");
}

#[tokio::test]
async fn without_the_option_there_is_no_core_dump() {
    let host = host(CoreDumps::default(), "").await;
    crash(&host, "panic", 0).await;
    assert_eq!(counted(&host, "isomer.guest.coreDumps.total"), 0);
    assert_eq!(counted(&host, "isomer.guest.coreDumpsLeftOut.total"), 0);
}

#[tokio::test]
async fn so_many_core_dumps_are_kept_and_none_of_a_guest_that_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let kept = CoreDumps { dir: Some(dir.clone()), files: 2, size: 4 << 20 };
    let host = host(kept, "").await;
    let mut newest = None;
    for n in 1..=4 {
        crash(&host, "panic", 0).await;
        written(&host, n).await;
        let there = files(&dir);
        assert_eq!(there.len(), usize::try_from(n).unwrap().min(2));
        assert_ne!(there.last(), newest.as_ref(), "the newest is among them");
        newest = there.last().cloned();
    }
    crash(&host, "grow", 5 << 20).await;
    assert_eq!(counted(&host, "isomer.guest.coreDumpsLeftOut.total"), 1);
    assert_eq!(files(&dir).last(), newest.as_ref());
}
