//! Calls between two nodes over one Redis server: Isomer beside Moleculer JS.
//!
//! Both have the same shape: the caller and the callee are processes of their own beside the server.

use serde_json::json;

use isomer_host::broker::ServiceBroker;
use isomer_host::payload::Payload;

use crate::bench::js::JsBroker;
use crate::bench::local::GUEST;
use crate::bench::remote::{PARALLEL, call, load};
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Unit};
use crate::bench::{PAYLOAD, Scale};
use crate::broker;
use crate::node::Node;
use crate::redis_server::RedisServer;

/// All callers and callees.
struct Mesh {
    isomer: ServiceBroker,
    js: JsBroker,
    _callees: (Node, JsBroker),
    _server: RedisServer,
}

impl Mesh {
    async fn start() -> Self {
        let server = RedisServer::start().await;
        let url = server.url();
        let node = Node::start(&[GUEST], &["--transporter", &url]).await;
        // A namespace of its own, so that no packet of one mesh costs the other anything.
        let options = |id: &str| json!({"nodeID": id, "namespace": "js", "transporter": url});
        let js_callee = JsBroker::start(options("js-callee"), Some("js")).await;
        let js = JsBroker::start(options("js-caller"), None).await;
        js.check_echo("js").await;
        let isomer = broker::start(broker::on_redis("bench-caller", &[url])).await;
        broker::wait_for(&isomer, &[GUEST]).await;
        assert_eq!(call(&isomer).await, Payload::Json(PAYLOAD.into()));
        Self { isomer, js, _callees: (node, js_callee), _server: server }
    }
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
            what: format!("remote calls over Redis, {parallel} in flight"),
            unit: Unit::CallsPerSecond,
            ours,
            beside: Some(("Moleculer JS ↔ JS", moleculer)),
            target: None,
        });
    }
    rows
}
