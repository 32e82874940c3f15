//! Physical memory of an idle instance: the same node with one instance and with many.
//!
//! What is read is the proportional set size. The resident size would count pages of the compiled file, of
//! which there is one copy, once for every instance that maps them.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Barrier;

use isomer_host::broker::ServiceBroker;
use isomer_host::context::CallOptions;
use isomer_host::handler::Handler;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;

use crate::bench::Scale;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::nats_server::NatsServer;
use crate::node::Node;
use crate::{broker, guests, wait};

/// A service whose actions can wait, so that all instances can be made to work at once.
const GUEST: &str = "kit";

/// Memory that changes by less has settled, when it is seen so often in a row, for about half a second.
const SETTLED_BYTES: f64 = 65_536.0;
const SETTLED_LOOKS: usize = 25;

/// How often the whole is measured: each time with new processes.
const ROUNDS_MAX: usize = 3;

/// Bytes that a node with so many idle instances of a service holds: new ones, and after a call in each. The service has
/// an action `call`, which calls another by the key `action` of its params.
pub(super) async fn resident(service: &str, file: &Path, n_instances: usize) -> [f64; 2] {
    let server = NatsServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    // Those that ask for one shared instance, too.
    let sidecar =
        format!("mode = \"pooled\"\n[instances]\nmin = {n_instances}\nmax = {n_instances}\n");
    std::fs::write(services.join(service).with_extension("toml"), sidecar).unwrap();
    let component = std::fs::read(file).unwrap();
    guests::put_bytes(&component, &services, &format!("{service}.wasm"));
    // The caller comes first, so that the node finds its service when it joins.
    let caller = broker::start(broker::on_nats("bench-caller", &server.url())).await;
    caller.add_service(gate(n_instances)).await.unwrap();
    let mut node = Node::start_in(folder, &["--transporter", &server.url()]).await;
    broker::wait_for(&caller, &[service]).await;
    let pid = node.process().pid();
    let new = settled_bytes(pid).await;
    call_all_at_once(&caller, service, n_instances).await;
    [new, settled_bytes(pid).await]
}

/// Physical memory of a process that has become idle: the node gives back what it does not need any more.
pub async fn settled_bytes(pid: u32) -> f64 {
    let (mut last, mut n_same) = (0.0, 0);
    wait::until("the memory of the node to settle", || {
        let now = resident_bytes(pid);
        n_same = if (now - last).abs() < SETTLED_BYTES { n_same + 1 } else { 0 };
        last = now;
        std::future::ready((n_same == SETTLED_LOOKS).then_some(now))
    })
    .await
}

/// Physical memory of a process; pages that several mappings share count once.
fn resident_bytes(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0
}

/// Makes every instance run a call: none of them ends before all of them have begun.
async fn call_all_at_once(caller: &ServiceBroker, service: &str, n_instances: usize) {
    let action = format!("{service}.call");
    let params = Payload::from_value(&json!({"action": "gate.pass"})).unwrap();
    let call = |_| caller.call(&action, params.clone(), CallOptions::default());
    let calls = join_all((0..n_instances).map(call));
    for answer in wait::for_result("all instances to answer", calls).await {
        answer.unwrap();
    }
}

/// A service of the caller's that answers when `n` calls wait for it.
fn gate(n: usize) -> LocalService {
    let barrier = Arc::new(Barrier::new(n));
    let pass: Handler = Arc::new(move |_| {
        let barrier = Arc::clone(&barrier);
        Box::pin(async move {
            barrier.wait().await;
            Ok(Payload::Absent)
        })
    });
    let schema = json!({"name": "gate", "actions": {"pass": {}}});
    LocalService::native(&schema, vec![("pass", pass)], Vec::new()).unwrap()
}

/// Memory per instance.
pub async fn per_instance(scale: Scale) -> Vec<Row> {
    let n_more = u32::try_from(scale.instances).unwrap();
    let [mut new, mut used] = [const { Sample::new() }; 2];
    for _ in 0..scale.rounds.min(ROUNDS_MAX) {
        let file = guests::wasm(GUEST);
        let one = resident(GUEST, &file, 1).await;
        let many = resident(GUEST, &file, 1 + scale.instances).await;
        new.push((many[0] - one[0]) / f64::from(n_more));
        used.push((many[1] - one[1]) / f64::from(n_more));
    }
    let row = |what: &str, ours| Row {
        what: format!("memory per idle instance, {what}"),
        unit: Unit::Bytes,
        ours,
        beside: None,
        target: Some(Target::AtMost(64.0 * 1024.0)),
    };
    vec![row("new", new), row("after a call", used)]
}
