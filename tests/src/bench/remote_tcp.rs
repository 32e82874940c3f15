//! Calls between two nodes over TCP, without a server: Isomer and Moleculer JS.
//!
//! Caller and callee are processes of their own; one knows the other's address beforehand.

use serde_json::{Value, json};

use isomer_host::broker::ServiceBroker;

use crate::bench::Scale;
use crate::bench::js::JsBroker;
use crate::bench::local::GUEST;
use crate::bench::remote::{PARALLEL, check_echo, load};
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::broker;
use crate::node::Node;

/// All callers and callees.
struct Mesh {
    isomer: ServiceBroker,
    js: JsBroker,
    _callees: (Node, JsBroker),
}

impl Mesh {
    async fn start() -> Self {
        let isomer = broker::start(broker::on_tcp("bench-caller", "isomer", &[])).await;
        let caller = broker::endpoint(&isomer);
        let known = format!("{}:{}/{}", caller.host, caller.port, caller.node_id);
        let reached = transporter(None, &[known]);
        let node = Node::start(
            &[GUEST],
            &["--set", "namespace=isomer", "--set", &format!("transporter={reached}")],
        )
        .await;
        broker::wait_for(&isomer, &[GUEST]).await;
        check_echo(&isomer).await;
        let port = free_port();
        let options = |id: &str, transporter: Value| json!({"nodeID": id, "namespace": "js", "transporter": transporter});
        let callee = options("js-callee", transporter(Some(port), &[]));
        let js_callee = JsBroker::start(callee, Some("js")).await;
        let caller = transporter(None, &[format!("127.0.0.1:{port}/js-callee")]);
        let js = JsBroker::start(options("js-caller", caller), None).await;
        js.check_echo("js").await;
        Self { isomer, js, _callees: (node, js_callee) }
    }
}

fn transporter(port: Option<u16>, urls: &[String]) -> Value {
    let options = json!({"udpDiscovery": false, "gossipPeriod": 1, "useHostname": false,
        "port": port, "urls": urls});
    json!({"type": "TCP", "options": options})
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Throughput at each number of calls in flight.
pub async fn throughput(scale: Scale) -> Vec<Row> {
    let mesh = Mesh::start().await;
    let mut rows = Vec::new();
    for parallel in PARALLEL {
        let [mut ours, mut moleculer] = [const { Sample::new() }; 2];
        for _ in 0..scale.rounds {
            ours.push(load(&mesh.isomer, parallel, scale.slice).await);
            moleculer.push(mesh.js.load("js.echo", parallel, scale.slice).await);
        }
        rows.push(Row {
            what: format!("remote calls over TCP, {parallel} in flight"),
            unit: Unit::CallsPerSecond,
            ours,
            beside: Some(("Moleculer JS ↔ JS", moleculer)),
            target: (parallel == 128).then_some(Target::RatioAtLeast(3.0)),
        });
    }
    rows
}
