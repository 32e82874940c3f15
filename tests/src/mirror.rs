//! The service `rs`: the same actions as `js` of `tests/peers/services.js`, on our side, and listeners.
//!
//! Interop tests run one scenario against both.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use isomer_host::broker::ServiceBroker;
use isomer_host::context::{CallOptions, Caller, Context, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::{EventHandler, Handler};
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::broker::{json, object};
use crate::wait;

/// The events that a listener got.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<(Mutex<Vec<Value>>, Notify)>);

impl Received {
    /// Waits until `count` came and gives all of them.
    pub async fn at_least(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} events; so far: {:?}", self.now());
        wait::for_result(&what, async {
            loop {
                let more = self.0.1.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let events = self.now();
                if events.len() >= count {
                    return events;
                }
                more.await;
            }
        })
        .await
    }

    /// All so far.
    #[must_use]
    pub fn now(&self) -> Vec<Value> {
        self.0.0.lock().clone()
    }

    fn push(&self, event: Value) {
        self.0.0.lock().push(event);
        self.0.1.notify_waiters();
    }
}

/// A handler from an async function.
pub fn action<F, Fut>(work: F) -> Handler
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |ctx| Box::pin(work(ctx)))
}

/// Adds a service that records the events of one pattern; an empty group is the service's name.
pub async fn listen(broker: &ServiceBroker, service: &str, event: &str, group: &str) -> Received {
    let received = Received::default();
    let definition = if group.is_empty() { json!({}) } else { json!({"group": group}) };
    let schema = json!({"name": service, "events": {event: definition}});
    let log = received.clone();
    let handler: EventHandler = Arc::new(move |ctx| {
        log.push(seen(&ctx));
        Box::pin(async { Ok(()) })
    });
    let service = LocalService::native(&schema, vec![], vec![(event, handler)]).unwrap();
    broker.add_service(service).await.unwrap();
    received
}

/// Adds the service `rs`.
pub async fn add(broker: &ServiceBroker) {
    add_as(broker, "rs").await;
}

/// Adds the same service under another name.
pub async fn add_as(broker: &ServiceBroker, name: &str) {
    let node_id = broker.node_id().to_string();
    let caller = broker.caller();
    let actions = vec![
        ("echo", action(|ctx| async move { Ok(ctx.params.clone()) })),
        ("seen", action(|ctx| async move { Ok(json(&seen(&ctx))) })),
        ("node", action(move |_| std::future::ready(Ok(json(&json!(node_id)))))),
        ("undefined", action(|_| async { Ok(Payload::Absent) })),
        ("null", action(|_| async { Ok(Payload::null()) })),
        ("buffer", action(|_| async { Ok(Payload::Bytes(Bytes::from_static(&[0, 1, 254, 255]))) })),
        ("meta", action(meta)),
        ("metaThenFail", action(meta_then_fail)),
        ("fail", action(fail)),
        ("slow", action(slow)),
        ("silent", action(|_| std::future::pending())),
        ("relay", relay(caller)),
    ];
    let definitions: serde_json::Map<String, Value> =
        actions.iter().map(|(name, _)| ((*name).to_owned(), json!({}))).collect();
    let schema = json!({"name": name, "actions": definitions, "settings": {"shown": 1},
        "metadata": {"from": "rust"}});
    broker.add_service(LocalService::native(&schema, actions, vec![]).unwrap()).await.unwrap();
}

/// What a handler sees of its context, with the keys of `seen` and `record` in the peers.
fn seen(ctx: &Context) -> Value {
    let kind = match &ctx.params {
        Payload::Absent | Payload::Stream(_) => "undefined",
        Payload::Bytes(_) => "buffer",
        Payload::Json(text) if &**text == "null" => "null",
        Payload::Json(_) => "value",
    };
    let event = ctx.event.as_ref();
    json!({
        "id": &*ctx.id,
        "requestID": &*ctx.request_id,
        "parentID": ctx.parent_id.as_deref(),
        "level": ctx.level,
        "caller": ctx.caller.as_deref(),
        "nodeID": &*ctx.node_id,
        "event": &*ctx.name,
        "type": event.map(|event| event.kind.name()),
        "groups": event.map(|event| event.groups.iter().map(|group| &**group).collect::<Vec<_>>()),
        "remaining": ctx.remaining(isomer_host::clock::now()).map(|left| left.as_secs_f64() * 1e3),
        "paramsKind": kind,
        "params": ctx.params.parse::<Value>().unwrap(),
        "meta": ctx.meta().to_map(),
        "headers": ctx.headers.to_map(),
    })
}

async fn meta(ctx: Context) -> Outcome {
    ctx.merge_meta(&object(&ctx.params.parse().unwrap()));
    Ok(json(&json!(true)))
}

async fn meta_then_fail(ctx: Context) -> Outcome {
    ctx.merge_meta(&object(&json!({"touched": "before the error"})));
    Err(MoleculerError::client(409, "CONFLICT", "no").with_data(&json!({"a": 1})))
}

async fn fail(ctx: Context) -> Outcome {
    let params: Value = ctx.params.parse().unwrap();
    let text = |key: &str| params[key].as_str().unwrap_or_default().to_owned();
    let retryable = params["retryable"].as_bool().unwrap_or(false);
    let code = params["code"].as_i64().unwrap_or(500);
    let mut error =
        MoleculerError::new(text("className"), code, text("type"), text("message"), retryable)
            .with_data(&params["data"]);
    if let Some(extra) = params["extra"].as_object() {
        error.fields_mut().extra = extra.clone();
    }
    Err(error)
}

async fn slow(ctx: Context) -> Outcome {
    let params: Value = ctx.params.parse().unwrap();
    let time = Duration::from_millis(params["ms"].as_u64().unwrap_or(0));
    // Work that takes this long: what the callers of the action wait for.
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    Ok(json(&json!("slow")))
}

/// Calls on, and says how that ended: `{action, params}` → `{result, meta}`.
fn relay(caller: Weak<dyn Caller>) -> Handler {
    action(move |ctx| {
        let caller = caller.upgrade().unwrap();
        async move {
            let params: Value = ctx.params.parse().unwrap();
            let options = CallOptions { parent: Some(ctx.clone()), ..CallOptions::default() };
            let target = params["action"].as_str().unwrap_or_default();
            let result = caller.call(target, json(&params["params"]), options).await?;
            let result: Value = result.parse().unwrap();
            Ok(json(&json!({"result": result, "meta": ctx.meta().to_map()})))
        }
    })
}
