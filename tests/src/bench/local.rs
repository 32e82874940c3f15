//! Calls within one node: through the whole broker, beside bare wasmtime and Moleculer JS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use isomer_host::broker::ServiceBroker;
use isomer_host::clock::Instant;
use isomer_host::config::{BrokerOptions, Limits, Mode, ServiceOptions};
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use isomer_host::runtime::{Runtime, RuntimeOptions};
use isomer_host::schema::{Bounds, ServiceSchema};
use isomer_host::service;
use isomer_host::{clock, task};

use crate::bench::bare::Bare;
use crate::bench::js::JsBroker;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::bench::{PAYLOAD, Scale};
use crate::guests;

/// The component that is called, and its action.
pub const GUEST: &str = "kit";
/// Returns its params.
pub const ACTION: &str = "kit.echo";

/// The clock is read once per so many calls, so that it does not count.
const CALLS_PER_LOOK: u32 = 100;

/// A broker in this process with one component.
pub struct LocalNode {
    broker: ServiceBroker,
    _cache: TempDir,
}

impl LocalNode {
    /// Starts a broker with all default middlewares and puts a component into its service.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(file: &Path, mode: Mode) -> Self {
        Self::start_with(file, mode, BrokerOptions::default(), |_| ()).await
    }

    /// The same with other options and a schema that is changed before it is read.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start_with(
        file: &Path,
        mode: Mode,
        options: BrokerOptions,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let broker = ServiceBroker::new(options).unwrap();
        broker.start().await.unwrap();
        let node_id = Arc::clone(broker.node_id());
        let options = RuntimeOptions::new(cache.path().join("cache"), node_id);
        let runtime = Runtime::new(options).unwrap();
        let component = runtime.load(file).await.unwrap();
        let limits = Limits { mode: Some(mode), ..Limits::default() };
        let text = component.describe(&limits).await.unwrap();
        let mut described: Value = serde_json::from_str(&text).unwrap();
        change(&mut described);
        let text = described.to_string();
        let bounds = Bounds { len: limits.schema, items: limits.schema_items, internal: false };
        let schema = ServiceSchema::read(&text, &Map::new(), bounds).unwrap();
        let options = ServiceOptions { limits, ..ServiceOptions::default() };
        let (caller, cacher) = (broker.caller(), broker.cacher().cloned());
        let service =
            service::component::service(&runtime, component, schema, &options, caller, cacher);
        broker.add_service(service).await.unwrap();
        Self { broker, _cache: cache }
    }

    /// One call with the payload of all echo calls.
    ///
    /// # Panics
    /// When it fails.
    pub async fn call(&self, action: &str) -> Payload {
        call(&self.broker, action, Payload::Json(PAYLOAD.into())).await
    }

    /// Seconds per call of calls one after the other, made by a task as real ones are.
    pub(super) async fn sequence(&self, slice: Duration) -> f64 {
        self.sequence_of(slice, |_| Payload::Json(PAYLOAD.into())).await
    }

    /// The same of another action, whose params have the payload under the key `value`.
    pub(super) async fn sequence_on(&self, action: &'static str, slice: Duration) -> f64 {
        let params = Payload::Json(format!("{{\"value\":{PAYLOAD}}}").into());
        self.run_sequence(action, slice, move |_| params.clone()).await
    }

    /// The same with the params of the n-th call made anew.
    pub(super) async fn sequence_of(
        &self,
        slice: Duration,
        params: impl Fn(u32) -> Payload + Send + 'static,
    ) -> f64 {
        self.run_sequence(ACTION, slice, params).await
    }

    async fn run_sequence(
        &self,
        action: &'static str,
        slice: Duration,
        params: impl Fn(u32) -> Payload + Send + 'static,
    ) -> f64 {
        let broker = self.broker.clone();
        let calls = async move {
            let mut turn = Turn::new(slice);
            while turn.goes_on() {
                call(&broker, action, params(turn.n_calls)).await;
            }
            turn.seconds_per_call()
        };
        task::run(calls).await.unwrap()
    }
}

async fn call(broker: &ServiceBroker, action: &str, params: Payload) -> Payload {
    broker.call(action, params, CallOptions::default()).await.unwrap()
}

/// One turn of one subject: counts its calls until the slice is over.
struct Turn {
    start: Instant,
    slice: Duration,
    n_calls: u32,
}

impl Turn {
    fn new(slice: Duration) -> Self {
        Self { start: clock::now(), slice, n_calls: 0 }
    }

    /// Whether there is time for another call, which must then be made.
    fn goes_on(&mut self) -> bool {
        let over = self.n_calls.is_multiple_of(CALLS_PER_LOOK)
            && self.n_calls > 0
            && self.start.elapsed() >= self.slice;
        self.n_calls += u32::from(!over);
        !over
    }

    fn seconds_per_call(&self) -> f64 {
        self.start.elapsed().as_secs_f64() / f64::from(self.n_calls)
    }
}

/// A warm call: the same component through the broker and called with wasmtime alone, and an action of the
/// same effect in Moleculer JS.
pub async fn warm(scale: Scale, js: &JsBroker) -> Vec<Row> {
    let node = LocalNode::start(&guests::wasm(GUEST), Mode::Pooled).await;
    let mut bare = Bare::load(&guests::wasm(GUEST)).instance().await;
    assert_eq!(node.call(ACTION).await, Payload::Json(PAYLOAD.into()));
    assert_eq!(bare.call("echo", PAYLOAD).await, PAYLOAD);
    let [mut ours, mut wasmtime, mut moleculer] = [const { Sample::new() }; 3];
    for _ in 0..scale.rounds {
        let mut turn = Turn::new(scale.slice);
        while turn.goes_on() {
            bare.call("echo", PAYLOAD).await;
        }
        wasmtime.push(turn.seconds_per_call());
        ours.push(node.sequence(scale.slice).await);
        moleculer.push(js.sequence("js.echo", scale.slice).await);
    }
    let row = |beside, target| Row {
        what: "local call, warm, 100 B".into(),
        unit: Unit::Seconds,
        ours: ours.clone(),
        beside: Some(beside),
        target,
    };
    vec![
        row(("bare wasmtime call", wasmtime), Some(Target::RatioAtMost(2.5))),
        row(("Moleculer JS, no isolation", moleculer), None),
    ]
}

/// A call in mode `fresh`: a new instance for each, beside the same with wasmtime alone.
pub async fn fresh(scale: Scale) -> Vec<Row> {
    let node = LocalNode::start(&guests::wasm(GUEST), Mode::Fresh).await;
    let bare = Bare::load(&guests::wasm(GUEST));
    let [mut ours, mut wasmtime] = [const { Sample::new() }; 2];
    for _ in 0..scale.rounds {
        let mut turn = Turn::new(scale.slice);
        while turn.goes_on() {
            bare.instance().await.call("echo", PAYLOAD).await;
        }
        wasmtime.push(turn.seconds_per_call());
        ours.push(node.sequence(scale.slice).await);
    }
    vec![Row {
        what: "local call in a fresh instance".into(),
        unit: Unit::Seconds,
        ours,
        beside: Some(("bare wasmtime, instantiate and call", wasmtime)),
        target: None,
    }]
}

/// A Moleculer JS broker of its own, without a transporter.
pub async fn js() -> JsBroker {
    let js = JsBroker::start(json!({"nodeID": "js-local"}), Some("js")).await;
    js.check_echo("js").await;
    js
}
