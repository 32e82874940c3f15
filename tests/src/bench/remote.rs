//! Calls, events and streams between two nodes over one transporter: Isomer, Moleculer JS, and a raw client of the same
//! server, where there is one.
//!
//! All of them have the same shape: the caller and the callee are processes of their own beside the server.
//! What differs from one transporter to the next is in [`Medium`].

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Tcp, Transporter};
use isomer_host::context::{CallOptions, EmitOptions};
use isomer_host::payload::Payload;
use isomer_host::{clock, task};

use crate::bench::js::JsBroker;
use crate::bench::local::{ACTION, GUEST};
use crate::bench::raw_nats::{Echo, Place, Requester};
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::bench::{PAYLOAD, Scale, cpu, raw_own, stream};
use crate::broker;
use crate::nats_server::NatsServer;
use crate::node::Node;
use crate::redis_server::RedisServer;

/// Calls in flight.
const PARALLEL: [usize; 4] = [1, 16, 128, 1_000];

/// Calls in flight for which there is a target.
const PARALLEL_WITH_TARGET: usize = 128;

/// Most that one call may take, in raw requests.
const LATENCY_TARGET: f64 = 1.2;

/// Events that are sent before the sender asks, with a call, whether they have arrived: so that what is
/// counted has been delivered, and no flood fills a buffer.
const EVENTS_PER_CALL: u32 = 128;

/// The event that the callee hears; its handler does nothing.
const EVENT: &str = "bench.event";

/// What lies between two nodes.
pub struct Medium {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// How our nodes are told to use it.
    transporter: Transporter,
    /// The same as text, which the command line and Moleculer JS take.
    text: String,
    /// How many times as fast as Moleculer JS calls and streams are to be.
    pub(super) target: Option<f64>,
    /// Requests without any broker around them.
    raw: Option<Raw>,
    /// The server, until this is dropped.
    _server: Box<dyn Any + Send + Sync>,
}

/// Requests without any broker around them, over two clients.
struct Raw {
    /// The client that our transporter is.
    own: raw_own::Requester,
    /// The one that is in general use.
    foreign: Requester,
    _echo: Echo,
}

impl Medium {
    /// A nats-server of its own; `place` is where the raw echo runs.
    pub async fn nats(place: &Place) -> Self {
        let server = NatsServer::start().await;
        let url = server.url();
        let echo = Echo::start(place, &url);
        let raw = Raw {
            own: raw_own::Requester::connect(&url).await,
            foreign: Requester::connect(&url).await,
            _echo: echo,
        };
        Self {
            name: "NATS",
            transporter: Transporter::Nats { urls: vec![url.clone()] },
            text: url,
            target: Some(3.0),
            raw: Some(raw),
            _server: Box::new(server),
        }
    }

    /// Nothing: the nodes find each other by datagrams on a port of their own.
    #[must_use]
    pub fn tcp() -> Self {
        let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let udp_port = socket.local_addr().unwrap().port();
        let options = Tcp { udp_port, udp_period: Duration::from_secs(1), ..Tcp::default() };
        let text = json!({"type": "TCP", "options": {"udpPort": udp_port, "udpPeriod": 1}});
        Self {
            name: "TCP",
            transporter: Transporter::Tcp(Box::new(options)),
            text: text.to_string(),
            target: Some(3.0),
            raw: None,
            _server: Box::new(()),
        }
    }

    /// A redis-server of its own.
    pub async fn redis() -> Self {
        let server = RedisServer::start().await;
        let url = server.url();
        Self {
            name: "Redis",
            transporter: Transporter::Redis { urls: vec![url.clone()] },
            text: url,
            target: None,
            raw: None,
            _server: Box::new(server),
        }
    }
}

/// All callers and callees.
pub(super) struct Mesh {
    pub(super) isomer: ServiceBroker,
    pub(super) js: JsBroker,
    pub(super) medium: Medium,
    pub(super) callee: Node,
    pub(super) js_callee: JsBroker,
}

impl Mesh {
    async fn start(medium: Medium) -> Self {
        let node = Node::start(&[GUEST], &["--transporter", &medium.text]).await;
        // A namespace of its own, so that no packet of one mesh costs the other anything.
        let text: Value = serde_json::from_str(&medium.text).unwrap_or_else(|_| json!(medium.text));
        let options = |id: &str| json!({"nodeID": id, "namespace": "js", "transporter": text});
        let js_callee = JsBroker::start(options("js-callee"), Some("js")).await;
        let js = JsBroker::start(options("js-caller"), None).await;
        js.check_echo("js").await;
        let isomer = broker::start(BrokerOptions {
            node_id: Some("bench-caller".into()),
            transporter: Some(medium.transporter.clone()),
            ..BrokerOptions::default()
        })
        .await;
        broker::wait_for(&isomer, &[GUEST]).await;
        let params = Payload::Json(PAYLOAD.into());
        assert_eq!(call(&isomer, params.clone()).await, params);
        Self { isomer, js, medium, callee: node, js_callee }
    }

    /// Calls per second of our nodes.
    pub(super) async fn load(&self, parallel: usize, slice: Duration, params: &str) -> f64 {
        load(&self.isomer, parallel, slice, params).await
    }

    /// Throughput of calls with so many in flight, and what it is held against.
    async fn calls(&self, scale: Scale, parallel: usize, size: &str, params: &str) -> Vec<Row> {
        let [mut ours, mut moleculer, mut own, mut foreign] = [const { Sample::new() }; 4];
        let payload = Bytes::copy_from_slice(params.as_bytes());
        for _ in 0..scale.rounds {
            ours.push(self.load(parallel, scale.slice, params).await);
            moleculer.push(self.js.load("js.echo", params, parallel, scale.slice).await);
            if let Some(raw) = &self.medium.raw {
                own.push(raw.own.load(parallel, scale.slice, &payload).await);
                foreign.push(raw.foreign.load(parallel, scale.slice, &payload).await);
            }
        }
        let name = self.medium.name;
        let row = |unit, ours, beside, target| Row {
            what: format!("remote calls over {name}, {size}, {parallel} in flight"),
            unit,
            ours,
            beside: Some(beside),
            target,
        };
        let target = self.medium.target.filter(|_| parallel == PARALLEL_WITH_TARGET);
        let target = target.map(Target::RatioAtLeast);
        let js = ("Moleculer JS ↔ JS", moleculer);
        let mut rows = vec![row(Unit::CallsPerSecond, ours.clone(), js, target)];
        if self.medium.raw.is_some() {
            let (of_own, of_foreign) = ("raw request, our client", "raw request, async-nats");
            let latency = Some(Target::RatioAtMost(LATENCY_TARGET));
            for (name, raw, target) in [(of_own, own, latency), (of_foreign, foreign, None)] {
                rows.push(if parallel == 1 {
                    let beside = (name, raw.inverse());
                    row(Unit::Seconds, ours.inverse(), beside, target)
                } else {
                    row(Unit::CallsPerSecond, ours.clone(), (name, raw), None)
                });
            }
        }
        rows
    }

    /// Events in a second, to one node.
    async fn events(&self, scale: Scale, broadcast: bool) -> Row {
        let [mut ours, mut moleculer] = [const { Sample::new() }; 2];
        for _ in 0..scale.rounds {
            ours.push(event_load(&self.isomer, broadcast, scale.slice).await);
            let call = ("js.echo", EVENT, EVENTS_PER_CALL);
            moleculer.push(self.js.event_load(call, broadcast, scale.slice).await);
        }
        let what = if broadcast { "broadcasts" } else { "emits" };
        Row {
            what: format!("{what} over {}, 100 B, delivered to one node", self.medium.name),
            unit: Unit::EventsPerSecond,
            ours,
            beside: Some(("Moleculer JS → JS", moleculer)),
            target: None,
        }
    }
}

async fn call(broker: &ServiceBroker, params: Payload) -> Payload {
    broker.call(ACTION, params, CallOptions::default()).await.unwrap()
}

/// Calls per second with `parallel` in flight.
async fn load(broker: &ServiceBroker, parallel: usize, slice: Duration, params: &str) -> f64 {
    let start = clock::now();
    let end = start + slice;
    let workers: Vec<AbortOnDropHandle<u32>> = (0..parallel)
        .map(|_| {
            let (broker, params) = (broker.clone(), Payload::Json(params.into()));
            task::run(async move {
                let mut n_calls = 0;
                while clock::now() < end {
                    call(&broker, params.clone()).await;
                    n_calls += 1;
                }
                n_calls
            })
        })
        .collect();
    let n_calls: u32 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
    f64::from(n_calls) / start.elapsed().as_secs_f64()
}

/// Events per second of one sender.
async fn event_load(broker: &ServiceBroker, broadcast: bool, slice: Duration) -> f64 {
    let (broker, params) = (broker.clone(), Payload::Json(PAYLOAD.into()));
    let events = async move {
        let start = clock::now();
        let mut n_events = 0;
        while start.elapsed() < slice {
            for _ in 0..EVENTS_PER_CALL {
                let (data, options) = (params.clone(), EmitOptions::default());
                if broadcast {
                    broker.broadcast(EVENT, data, options).await.unwrap();
                } else {
                    broker.emit(EVENT, data, options).await.unwrap();
                }
            }
            n_events += EVENTS_PER_CALL;
            call(&broker, params.clone()).await;
        }
        f64::from(n_events) / start.elapsed().as_secs_f64()
    };
    task::run(events).await.unwrap()
}

/// All rows of one transporter.
pub async fn throughput(scale: Scale, medium: Medium) -> Vec<Row> {
    let mesh = Mesh::start(medium).await;
    let large = format!(r#"{{"text":"{}"}}"#, "0123456789".repeat(1_024));
    let mut rows = Vec::new();
    for (size, params) in [("100 B", PAYLOAD), ("10 KB", &large)] {
        for parallel in PARALLEL {
            rows.extend(mesh.calls(scale, parallel, size, params).await);
        }
    }
    rows.push(cpu::row(scale, &mesh).await);
    rows.push(mesh.events(scale, false).await);
    rows.push(mesh.events(scale, true).await);
    rows.extend(stream::rows(scale, &mesh).await);
    rows
}
