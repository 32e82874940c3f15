//! Calls between two nodes over one NATS server: Isomer, Moleculer JS, and NATS alone.
//!
//! All three have the same shape: the caller and the callee are processes of their own beside the server.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use isomer_host::broker::ServiceBroker;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use isomer_host::{clock, task};

use crate::bench::js::JsBroker;
use crate::bench::local::{ACTION, GUEST};
use crate::bench::raw_nats::{Echo, Place, Requester};
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::bench::{PAYLOAD, Scale};
use crate::broker;
use crate::nats_server::NatsServer;
use crate::node::Node;

/// Calls in flight.
pub(super) const PARALLEL: [usize; 2] = [1, 128];

/// All callers and callees.
struct Mesh {
    isomer: ServiceBroker,
    js: JsBroker,
    raw: Requester,
    _callees: (Node, JsBroker, Echo),
    _server: NatsServer,
}

impl Mesh {
    async fn start(place: &Place) -> Self {
        let server = NatsServer::start().await;
        let url = server.url();
        let node = Node::start(&[GUEST], &["--transporter", &url]).await;
        let echo = Echo::start(place, &url);
        // A namespace of its own, so that no packet of one mesh costs the other anything.
        let options = |id: &str| json!({"nodeID": id, "namespace": "js", "transporter": url});
        let js_callee = JsBroker::start(options("js-callee"), Some("js")).await;
        let js = JsBroker::start(options("js-caller"), None).await;
        js.check_echo("js").await;
        let isomer = broker::start(broker::on_nats("bench-caller", &url)).await;
        broker::wait_for(&isomer, &[GUEST]).await;
        assert_eq!(call(&isomer).await, Payload::Json(PAYLOAD.into()));
        let raw = Requester::connect(&url).await;
        let _callees = (node, js_callee, echo);
        Self { isomer, js, raw, _callees, _server: server }
    }
}

pub(super) async fn call(broker: &ServiceBroker) -> Payload {
    let params = Payload::Json(PAYLOAD.into());
    broker.call(ACTION, params, CallOptions::default()).await.unwrap()
}

/// Calls per second with `parallel` in flight.
pub(super) async fn load(broker: &ServiceBroker, parallel: usize, slice: Duration) -> f64 {
    let start = clock::now();
    let end = start + slice;
    let workers: Vec<AbortOnDropHandle<u32>> = (0..parallel)
        .map(|_| {
            let broker = broker.clone();
            task::run(async move {
                let mut n_calls = 0;
                while clock::now() < end {
                    call(&broker).await;
                    n_calls += 1;
                }
                n_calls
            })
        })
        .collect();
    let n_calls: u32 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
    f64::from(n_calls) / start.elapsed().as_secs_f64()
}

/// Throughput at each number of calls in flight.
pub async fn throughput(scale: Scale, place: &Place) -> Vec<Row> {
    let mesh = Mesh::start(place).await;
    let mut rows = Vec::new();
    for parallel in PARALLEL {
        let [mut ours, mut moleculer, mut raw] = [const { Sample::new() }; 3];
        for _ in 0..scale.rounds {
            ours.push(load(&mesh.isomer, parallel, scale.slice).await);
            moleculer.push(mesh.js.load("js.echo", parallel, scale.slice).await);
            raw.push(mesh.raw.load(parallel, scale.slice).await);
        }
        let row = |beside, target| Row {
            what: format!("remote calls over NATS, {parallel} in flight"),
            unit: Unit::CallsPerSecond,
            ours: ours.clone(),
            beside: Some(beside),
            target,
        };
        let target = (parallel == 128).then_some(Target::RatioAtLeast(2.0));
        rows.push(row(("Moleculer JS ↔ JS", moleculer), target));
        rows.push(row(("raw async-nats request", raw), None));
    }
    rows
}
