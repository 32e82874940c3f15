//! How long processors work for one call between two nodes.
//!
//! Unlike the calls in a second, this hardly depends on what else the machine does, nor on the server between
//! the nodes, which takes its share of the cores from whoever is measured.

use crate::bench::remote::Mesh;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Unit};
use crate::bench::{PAYLOAD, Scale};
use isomer_host::clock;

/// Calls in flight.
const PARALLEL: usize = 128;

/// What caller and callee together take for a call.
pub(super) async fn row(scale: Scale, mesh: &Mesh) -> Row {
    let [mut ours, mut moleculer] = [const { Sample::new() }; 2];
    let our_pids = [std::process::id(), mesh.callee.pid()];
    let js_pids = [mesh.js.pid(), mesh.js_callee.pid()];
    for _ in 0..scale.rounds {
        ours.push(per_call(our_pids, mesh.load(PARALLEL, scale.slice, PAYLOAD)).await);
        let load = mesh.js.load("js.echo", PAYLOAD, PARALLEL, scale.slice);
        moleculer.push(per_call(js_pids, load).await);
    }
    Row {
        what: format!(
            "processor time of both nodes for a call over {}, 100 B, {PARALLEL} in flight",
            mesh.medium.name
        ),
        unit: Unit::Seconds,
        ours,
        beside: Some(("Moleculer JS ↔ JS", moleculer)),
        target: None,
    }
}

/// What these processes take for a call while a load runs, which tells how many there were in a second.
async fn per_call(pids: [u32; 2], load: impl Future<Output = f64>) -> f64 {
    let (start, before) = (clock::now(), pids.map(seconds));
    let calls_per_second = load.await;
    let n_calls = calls_per_second * start.elapsed().as_secs_f64();
    let after = pids.map(seconds);
    after.iter().zip(before).map(|(after, before)| after - before).sum::<f64>() / n_calls
}

/// For how long the threads of a process have had a processor.
fn seconds(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = threads.map(|thread| -> f64 {
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat"));
        // A thread may end meanwhile.
        let text = text.unwrap_or_default();
        text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
    });
    nanoseconds.sum::<f64>() * 1e-9
}
