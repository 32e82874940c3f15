//! Plays scenarios with brokers of ours, as `tests/vectors/scenarios.js` plays them with Moleculer's.
//!
//! A scenario is data: nodes with services whose handlers do what `do` says, and steps. Time is tokio's, so
//! under a paused clock a scenario with long waits takes no time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::broker::ServiceBroker;
use isomer_host::config::load::{self, Sources};
use isomer_host::config::{BrokerOptions, Transporter};
use isomer_host::context::{CallItem, CallOptions, Caller, Context, EmitOptions, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::{EventHandler, Handler};
use isomer_host::payload::{Object, Payload};
use isomer_host::service::LocalService;
use isomer_host::uid;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::broker::{self, object};

/// How long everything that was sent has to arrive.
const SETTLE: Duration = Duration::from_millis(100);

/// The running nodes of a scenario and what their listeners heard.
struct World {
    brokers: BTreeMap<String, ServiceBroker>,
    heard: Heard,
}

type Heard = Arc<Mutex<Vec<Value>>>;

/// Plays a scenario and gives the outcome of each step.
///
/// # Panics
/// When the scenario itself cannot be played.
pub async fn play(scenario: &Value) -> Vec<Value> {
    let bus = uid::new().to_string();
    let mut world = World { brokers: BTreeMap::new(), heard: Heard::default() };
    let nodes = scenario["nodes"].as_array().unwrap();
    for node in nodes {
        let node_id = node["nodeID"].as_str().unwrap();
        let mut options = options(&[&scenario["options"], &node["options"]]);
        options.node_id = Some(node_id.into());
        options.transit.service_changed_debounce_time = Duration::ZERO;
        if nodes.len() > 1 {
            options.transporter = Some(Transporter::Fake { bus: bus.clone() });
        }
        let broker = ServiceBroker::new(options).unwrap();
        for schema in node["services"].as_array().into_iter().flatten() {
            let service = service(&broker, &world.heard, node_id, schema);
            broker.add_service(service).await.unwrap();
        }
        world.brokers.insert(node_id.to_owned(), broker);
    }
    for started in join_all(world.brokers.values().map(ServiceBroker::start)).await {
        started.unwrap();
    }
    pass(SETTLE).await;
    let first = nodes[0]["nodeID"].as_str().unwrap();
    let mut outcomes = Vec::new();
    for step in scenario["steps"].as_array().unwrap() {
        outcomes.push(world.step(step, first).await);
    }
    for broker in world.brokers.values() {
        broker.stop().await;
    }
    outcomes
}

/// Lets time pass: what a scenario asks for.
async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// Options in Moleculer's names, read as a configuration file is.
fn options(parts: &[&Value]) -> BrokerOptions {
    let mut all = Map::new();
    for part in parts.iter().filter_map(|part| part.as_object()) {
        all.extend(part.clone());
    }
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), Value::Object(all).to_string()).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load::load(sources).unwrap_or_else(|problems| panic!("{problems}")).options.broker
}

impl World {
    async fn step(&mut self, step: &Value, first: &str) -> Value {
        let from = step["from"].as_str().unwrap_or(first);
        let broker = self.brokers[from].clone();
        if let Some(calls) = step["calls"].as_array() {
            let call = |item: &Value| {
                let from = item["from"].as_str().unwrap_or(from);
                outcome(call(&*self.brokers[from].as_caller(), item, None))
            };
            return Value::Array(join_all(calls.iter().map(call)).await);
        }
        if step["call"].is_string() {
            return outcome(call(&*broker.as_caller(), step, None)).await;
        }
        if !step["mcall"].is_null() {
            return outcome(mcall(&broker, &step["mcall"])).await;
        }
        for verb in ["emit", "broadcast", "broadcastLocal"] {
            if let Some(event) = step[verb].as_str() {
                let (data, options) = (payload(step.get("data")), event_options(&step["opts"]));
                match verb {
                    "emit" => broker.emit(event, data, options).await.unwrap(),
                    "broadcast" => broker.broadcast(event, data, options).await.unwrap(),
                    _ => broker.broadcast_local(event, data, options).await.unwrap(),
                }
                pass(Duration::from_millis(30)).await;
                return Value::Null;
            }
        }
        if let Some(time) = step["wait"].as_u64() {
            pass(Duration::from_millis(time)).await;
            return Value::Null;
        }
        if let Some(node) = step["stop"].as_str() {
            self.brokers.remove(node).unwrap().stop().await;
            pass(SETTLE).await;
            return Value::Null;
        }
        if step["events"] == json!(true) {
            // Handlers are tasks here; there they run within the call that sends the event.
            pass(Duration::from_millis(1)).await;
            let mut events = std::mem::take(&mut *self.heard.lock());
            events.sort_by_key(|event| {
                [&event["node"], &event["by"], &event["name"], &event["data"]].map(Value::to_string)
            });
            return Value::Array(events);
        }
        let action = step["endpoints"].as_str().unwrap_or_else(|| panic!("unknown step {step}"));
        endpoints(&broker, action).await
    }
}

/// What became of a call, in the recorder's form.
async fn outcome(call: impl Future<Output = Outcome>) -> Value {
    match call.await {
        Ok(Payload::Absent) => json!({"ok": "(undefined)"}),
        Ok(value) => json!({"ok": value.parse::<Value>().unwrap()}),
        Err(error) => json!({"error": {
            "name": error.name(), "message": error.message(), "code": error.code(),
            "type": error.fields().kind, "retryable": error.retryable(),
            "data": error.fields().data.as_deref().map(|data| -> Value {
                serde_json::from_str(data).unwrap()
            }),
        }}),
    }
}

async fn endpoints(broker: &ServiceBroker, action: &str) -> Value {
    let params = json!({"withEndpoints": true});
    let list = broker::call(broker, "$node.actions", &params, CallOptions::default()).await;
    let list = list.unwrap();
    let found = list.as_array().unwrap().iter().find(|item| item["name"] == action);
    let mut endpoints: Vec<Value> = found
        .and_then(|item| item["endpoints"].as_array())
        .into_iter()
        .flatten()
        .map(|one| {
            json!({"nodeID": one["nodeID"], "state": one["state"], "available": one["available"]})
        })
        .collect();
    endpoints.sort_by_key(|one| one["nodeID"].to_string());
    Value::Array(endpoints)
}

/// A call as a scenario writes it: `call`, `params`, `opts`.
fn call(
    caller: &dyn Caller,
    item: &Value,
    parent: Option<Context>,
) -> impl Future<Output = Outcome> + use<> {
    let options = call_options(&item["opts"], parent);
    caller.call(item["call"].as_str().unwrap(), payload(item.get("params")), options)
}

async fn mcall(broker: &ServiceBroker, calls: &Value) -> Outcome {
    let item = |item: &Value| CallItem {
        action: item["action"].as_str().unwrap().into(),
        params: payload(item.get("params")),
        options: call_options(&item["options"], None),
    };
    let items = match calls {
        Value::Array(calls) => calls.iter().map(item).collect(),
        calls => calls.as_object().unwrap().values().map(item).collect(),
    };
    let values = broker.mcall(items).await?;
    let values: Vec<Value> = values.iter().map(|value| value.parse().unwrap()).collect();
    Ok(broker::json(&match calls {
        Value::Object(calls) => calls.keys().cloned().zip(values).collect(),
        _ => Value::Array(values),
    }))
}

/// Absent when the scenario says nothing.
fn payload(found: Option<&Value>) -> Payload {
    found.map_or(Payload::Absent, broker::json)
}

fn call_options(written: &Value, parent: Option<Context>) -> CallOptions {
    CallOptions {
        timeout: written["timeout"].as_u64().map(Duration::from_millis),
        retries: written["retries"].as_u64().map(|n| u32::try_from(n).unwrap()),
        fallback_response: written.get("fallbackResponse").map(broker::json),
        node_id: written["nodeID"].as_str().map(Arc::from),
        meta: meta(written),
        parent,
        ..CallOptions::default()
    }
}

fn event_options(written: &Value) -> EmitOptions {
    let groups = match &written["groups"] {
        Value::String(one) => vec![Arc::from(one.as_str())],
        groups => {
            groups.as_array().into_iter().flatten().map(|g| g.as_str().unwrap().into()).collect()
        }
    };
    EmitOptions { groups, meta: meta(written), ..EmitOptions::default() }
}

fn meta(written: &Value) -> Option<Object> {
    written.get("meta").map(object)
}

/// A service of ours from a scenario's.
fn service(broker: &ServiceBroker, heard: &Heard, node_id: &str, schema: &Value) -> LocalService {
    let mut schema = schema.clone();
    let mut take = |kind: &str| -> Vec<(String, Behaviour)> {
        let Some(items) = schema[kind].as_object_mut() else { return Vec::new() };
        let mut taken = Vec::new();
        for (key, definition) in items {
            let spec = definition.as_object_mut().unwrap().shift_remove("do");
            taken.push((
                key.clone(),
                Behaviour(Arc::new(Inner {
                    spec: spec.unwrap_or_default(),
                    node_id: node_id.to_owned(),
                    entered: AtomicU64::new(0),
                    heard: Arc::clone(heard),
                    caller: broker.caller(),
                })),
            ));
        }
        taken
    };
    let (actions, events) = (take("actions"), take("events"));
    let actions = actions.iter().map(|(key, one)| (key.as_str(), one.action())).collect();
    let events = events.iter().map(|(key, one)| (key.as_str(), one.event())).collect();
    LocalService::native(&schema, actions, events).unwrap()
}

/// What a handler does.
#[derive(Clone)]
struct Behaviour(Arc<Inner>);

struct Inner {
    spec: Value,
    node_id: String,
    /// How often the handler was entered.
    entered: AtomicU64,
    heard: Heard,
    caller: std::sync::Weak<dyn Caller>,
}

impl Behaviour {
    fn action(&self) -> Handler {
        let this = self.clone();
        Arc::new(move |ctx| {
            let this = this.clone();
            Box::pin(async move { this.run(&ctx).await })
        })
    }

    fn event(&self) -> EventHandler {
        let this = self.clone();
        Arc::new(move |ctx| {
            let this = this.clone();
            Box::pin(async move { this.run(&ctx).await.map(|_| ()) })
        })
    }

    async fn run(&self, ctx: &Context) -> Outcome {
        let Inner { spec, node_id, entered, heard, caller } = &*self.0;
        entered.fetch_add(1, Ordering::Relaxed);
        if let Some(time) = spec["wait"].as_u64() {
            pass(Duration::from_millis(time)).await;
        }
        // Those that entered meanwhile count, as in the recorder.
        let n = entered.load(Ordering::Relaxed);
        if let Some(by) = spec["record"].as_str() {
            heard.lock().push(json!({"node": node_id, "by": by, "name": &*ctx.name,
                "type": event_type(ctx), "data": ctx.params().parse::<Value>().unwrap()}));
        }
        if spec["meta"].is_object() {
            ctx.merge_meta(&object(&spec["meta"]));
        }
        if spec["fail"].is_object() && spec["times"].as_u64().is_none_or(|times| n <= times) {
            return Err(error(&spec["fail"]));
        }
        let caller = caller.upgrade().unwrap();
        if spec["call"].is_string() {
            return call(&*caller, spec, Some(ctx.clone())).await;
        }
        if let Some(action) = spec["callForMeta"].as_str() {
            let options = call_options(&spec["opts"], Some(ctx.clone()));
            let _ = caller.call(action, payload(spec.get("params")), options).await;
            return Ok(broker::json(&json!(ctx.meta().to_map())));
        }
        Ok(match spec["give"].as_str() {
            Some("params") => ctx.params().clone(),
            Some("meta") => broker::json(&json!(ctx.meta().to_map())),
            Some("count") => broker::json(&json!(n)),
            Some("node") => broker::json(&json!(node_id)),
            Some("context") => broker::json(&json!({"level": ctx.level,
                "caller": ctx.caller.as_deref(), "nodeID": &*ctx.node_id, "name": &*ctx.name})),
            Some("nothing") => Payload::Absent,
            _ => spec.get("give").map_or_else(|| broker::json(&json!(n)), broker::json),
        })
    }
}

fn event_type(ctx: &Context) -> Option<&'static str> {
    ctx.event.as_ref().map(|event| event.kind.name())
}

/// The error of a class with the class's defaults.
fn error(spec: &Value) -> MoleculerError {
    let class = spec["class"].as_str().unwrap();
    let (code, retryable) = match class {
        "MoleculerClientError" => (400, false),
        "ValidationError" => (422, false),
        "MoleculerServerError" | "MoleculerRetryableError" => (500, true),
        _ => (500, false),
    };
    let code = spec["code"].as_i64().unwrap_or(code);
    let retryable = spec["retryable"].as_bool().unwrap_or(retryable);
    let message = spec["message"].as_str().unwrap_or_default().to_owned();
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let mut error = MoleculerError::new(class.to_owned(), code, kind, message, retryable);
    if spec["type"].is_null() {
        error.fields_mut().kind = None;
    }
    if spec.get("data").is_some() { error.with_data(&spec["data"]) } else { error }
}
