//! The conformance guest in Rust. What it has to do is told in `tests/conformance/README.md`; the guests of
//! all other languages do the same.
//!
//! It is built for both worlds: `tests/conformance/rust-shared` is this file with the feature `shared`. Handlers of a
//! shared service have `&self`, so its state is in cells.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use futures_util::future::join_all;
use isomer_sdk::prelude::*;
use isomer_sdk::{EventType, Level};
use serde::Deserialize;

mod streams;

#[derive(Default)]
struct Conformance {
    started: Cell<u32>,
    count: Cell<u32>,
    runs: Cell<u32>,
    events: RefCell<Vec<Value>>,
    hoard: RefCell<Vec<Vec<u8>>>,
}

#[derive(Deserialize)]
struct Number {
    n: usize,
}

#[derive(Deserialize)]
struct Round {
    value: Value,
}

#[derive(Deserialize)]
struct SetMeta {
    set: Value,
    #[serde(default)]
    fail: bool,
}

#[derive(Deserialize)]
struct Log {
    level: String,
    message: String,
    #[serde(default)]
    fields: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// An error of the language: one that knows nothing of Moleculer.
#[derive(Debug)]
struct PlainError(String);

impl std::fmt::Display for PlainError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlainError {}

#[derive(Deserialize)]
struct Call {
    action: String,
    #[serde(default)]
    params: Payload,
    #[serde(default)]
    options: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Parallel {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Mcall {
    calls: Value,
    #[serde(default)]
    settled: bool,
    timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Wait {
    services: Vec<String>,
    timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Emit {
    event: String,
    #[serde(default)]
    data: Payload,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    options: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Cached {
    id: Value,
}

#[derive(Deserialize)]
struct Cacher {
    r#do: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Value,
    ttl: Option<f64>,
}

#[derive(Deserialize)]
struct Hooked {
    seen: Option<Value>,
    #[serde(default)]
    fail: bool,
    #[serde(default)]
    recover: bool,
}

#[derive(Deserialize)]
struct Saved {
    why: String,
}

#[derive(Deserialize)]
struct Hoard {
    mib: usize,
}

/// One call as the params say.
async fn call(ctx: &Context, call: Call) -> Result<Payload> {
    let request = ctx.call(&call.action, call.params);
    call.options.iter().fold(request, |request, (name, value)| request.option(name, value)).await
}

/// Every field of the context.
fn fields(ctx: &Context) -> Result<Value> {
    let event_type = ctx.event_type().map(|kind| match kind {
        EventType::Emit => "emit",
        EventType::Broadcast => "broadcast",
        EventType::BroadcastLocal => "broadcastLocal",
    });
    Ok(json!({
        "id": ctx.id(), "requestID": ctx.request_id(), "parentID": ctx.parent_id(),
        "caller": ctx.caller(), "level": ctx.level(), "nodeID": ctx.node_id(), "name": ctx.name(),
        "eventType": event_type, "eventGroups": ctx.event_groups(),
        "meta": ctx.meta::<Value>()?, "headers": ctx.headers::<Value>()?,
        "remainingTime": ctx.remaining_time().map(|left| left.as_millis()),
        "settings": ctx.settings::<Value>()?, "localNodeID": ctx.local_node_id(),
        "namespace": ctx.namespace(),
    }))
}

/// Puts a name at the end of the list under a key.
fn push(value: &mut Value, key: &str, name: &str) {
    let Some(object) = value.as_object_mut() else { return };
    let list = object.entry(key).or_insert_with(|| json!([]));
    list.as_array_mut().into_iter().for_each(|list| list.push(name.into()));
}

/// The same error, with who saw it.
fn seen_by(error: &Error, name: &str) -> Error {
    let mut json = error.to_json();
    if let Some(message) = json.get_mut("message") {
        *message = format!("{}, seen by {name}", error.message()).into();
    }
    Error::from_json(&json)
}

/// One more, and how many it is now.
fn counted(count: &Cell<u32>) -> u32 {
    count.set(count.get() + 1);
    count.get()
}

#[cfg_attr(not(feature = "shared"), service(
    name = "conformance",
    settings = { color: "red", size: 5 },
    metadata = { kind: "conformance" },
))]
#[cfg_attr(feature = "shared", service(
    name = "conformance",
    settings = { color: "red", size: 5 },
    metadata = { kind: "conformance" },
    mode = "shared",
))]
impl Conformance {
    #[started]
    async fn start(&self, ctx: &Context) -> Result<()> {
        let settings: Value = ctx.settings()?;
        if settings.get("started") == Some(&json!("fail")) {
            return Err(Error::new(500, "START_FAILED", "as the settings ask"));
        }
        ctx.emit("life.started", json!({ "started": counted(&self.started) })).await
    }

    #[stopped]
    async fn stop(&self, ctx: &Context) -> Result<()> {
        ctx.emit("life.stopped", json!({ "count": self.count.get() })).await
    }

    #[action("x-custom" = { deep: [1, null] })]
    fn echo(&self, params: Payload) -> Payload {
        params
    }

    #[action]
    fn kind(&self, params: Payload) -> &'static str {
        match params {
            Payload::Absent => "absent",
            Payload::Json(_) => "json",
            Payload::Bytes(_) => "bytes",
        }
    }

    #[action]
    fn nothing(&self) {}

    #[action]
    fn bytes(&self, params: Number) -> Bytes {
        Bytes(vec![7; params.n])
    }

    #[action]
    fn sum(&self, params: Bytes) -> u64 {
        params.iter().map(|byte| u64::from(*byte)).sum()
    }

    #[action]
    fn roundtrip(&self, params: Round) -> Value {
        json!({ "value": params.value })
    }

    #[action]
    fn context(&self, ctx: &Context) -> Result<Value> {
        fields(ctx)
    }

    #[action(name = "setMeta")]
    fn set_meta(&self, ctx: &Context, params: SetMeta) -> Result<Value> {
        let before = ctx.meta()?;
        ctx.set_meta(params.set)?;
        if params.fail {
            return Err(Error::client(400, "AFTER_META", "failed after the meta was set"));
        }
        Ok(before)
    }

    #[action(name = "setHeaders")]
    fn set_headers(&self, ctx: &Context, params: Value) -> Result<()> {
        ctx.set_response_headers(params)
    }

    #[action]
    fn log(&self, ctx: &Context, params: Log) -> Result<bool> {
        let level = match params.level.as_str() {
            "fatal" => Level::Fatal,
            "error" => Level::Error,
            "warn" => Level::Warn,
            "info" => Level::Info,
            "debug" => Level::Debug,
            "trace" => Level::Trace,
            other => return Err(Error::validation(format!("no level is called {other}"))),
        };
        let fields = params.fields.into_iter();
        let logger = fields.fold(ctx.logger(), |logger, (name, value)| logger.field(name, value));
        logger.log(level, params.message);
        Ok(logger.enabled(level))
    }

    #[action]
    fn count(&self) -> Value {
        json!({ "count": counted(&self.count), "started": self.started.get() })
    }

    #[action]
    fn fail(&self, params: Error) -> Result<()> {
        Err(params)
    }

    #[action(name = "failPlain")]
    fn fail_plain(&self, params: Message) -> Result<()> {
        Err(PlainError(params.message))?
    }

    #[action]
    fn trap(&self) {
        std::process::abort();
    }

    #[action]
    async fn call(&self, ctx: &Context, params: Call) -> Result<Payload> {
        call(ctx, params).await
    }

    #[action(name = "callAndMeta")]
    async fn call_and_meta(&self, ctx: &Context, params: Call) -> Result<Value> {
        let (result, error) = match call(ctx, params).await {
            Ok(result) => (result.into_value()?, None),
            Err(error) => (Value::Null, Some(error.to_json())),
        };
        Ok(json!({ "result": result, "error": error, "meta": ctx.meta::<Value>()? }))
    }

    #[action]
    async fn parallel(&self, ctx: &Context, params: Parallel) -> Vec<Value> {
        let calls = params.calls.into_iter().map(|item| async {
            match call(ctx, item).await.and_then(Payload::into_value::<Value>) {
                Ok(value) => json!({ "value": value }),
                Err(error) => json!({ "error": error.to_json() }),
            }
        });
        join_all(calls).await
    }

    #[action]
    async fn mcall(&self, ctx: &Context, params: Mcall) -> Result<Value> {
        let mut request = ctx.mcall(params.calls);
        if params.settled {
            request = request.settled();
        }
        if let Some(timeout) = params.timeout {
            request = request.timeout(Duration::from_millis(timeout));
        }
        request.await
    }

    #[action(name = "waitFor")]
    async fn wait_for(&self, ctx: &Context, params: Wait) -> Result<()> {
        let request = ctx.wait_for_services(params.services);
        match params.timeout {
            Some(timeout) => request.timeout(Duration::from_millis(timeout)).await,
            None => request.await,
        }
    }

    #[action(visibility = "private")]
    fn secret(&self) -> &'static str {
        "only for this service"
    }

    #[action]
    async fn emit(&self, ctx: &Context, params: Emit) -> Result<()> {
        let request = match params.kind.as_str() {
            "broadcast" => ctx.broadcast(&params.event, params.data),
            "broadcastLocal" => ctx.broadcast_local(&params.event, params.data),
            _ => ctx.emit(&params.event, params.data),
        };
        let options = params.options.iter();
        options.fold(request, |request, (name, value)| request.option(name, value)).await
    }

    #[action]
    fn events(&self) -> Vec<Value> {
        self.events.take()
    }

    #[action(params = {
        id: { type: "number", integer: true, positive: true },
        name: { type: "string", min: 3, optional: true },
        tags: { type: "array", items: "string", optional: true },
        "$$strict": true,
    })]
    fn validated(&self, params: Value) -> Value {
        params
    }

    #[action(cache = { keys: ["id"], ttl: 60 })]
    fn cached(&self, params: Cached) -> Value {
        json!({ "id": params.id, "runs": counted(&self.runs) })
    }

    #[action]
    fn cacher(&self, ctx: &Context, params: Cacher) -> Result<Payload> {
        let (cacher, key) = (ctx.cacher(), params.key.as_str());
        let answer = match params.r#do.as_str() {
            "enabled" => json!(cacher.enabled()),
            "get" => {
                let value: Option<Value> = cacher.get(key)?;
                json!({ "found": value.is_some(), "value": value })
            }
            "ttl" => {
                let kept = cacher.get_with_ttl::<Value>(key)?;
                let found = kept.is_some();
                let ttl = kept.and_then(|(_, ttl)| ttl).map(|ttl| ttl.as_secs_f64());
                json!({ "found": found, "ttl": ttl })
            }
            "set" => {
                let ttl = params.ttl.map(Duration::try_from_secs_f64).transpose()?;
                return cacher.set(key, params.value, ttl).map(|()| Payload::Absent);
            }
            "del" => return cacher.del([key]).map(|()| Payload::Absent),
            "clean" => return cacher.clean([key]).map(|()| Payload::Absent),
            other => return Err(Error::validation(format!("the cacher cannot {other}"))),
        };
        Ok(answer.into())
    }

    #[before("hook*")]
    fn before_hooked(&self, params: &mut Value) {
        push(params, "seen", "service");
    }

    #[after("hook*")]
    fn after_hooked(&self, mut result: Value) -> Value {
        push(&mut result, "after", "service");
        result
    }

    #[error_hook("hook*")]
    fn error_hooked(&self, cause: Error) -> Result<Value> {
        Err(seen_by(&cause, "service"))
    }

    #[action(hooks(before = "own_before", after = "own_after", error = "own_error"))]
    fn hooked(&self, params: Hooked) -> Result<Value> {
        if params.fail {
            return Err(Error::new(500, "HOOKED", "failed"));
        }
        Ok(json!({ "seen": params.seen, "after": [] }))
    }

    fn own_before(&self, params: &mut Value) {
        push(params, "seen", "action");
    }

    fn own_after(&self, mut result: Value) -> Value {
        push(&mut result, "after", "action");
        result
    }

    fn own_error(&self, params: Hooked, cause: Error) -> Result<Value> {
        if params.recover {
            return Ok(json!({ "recovered": cause.message() }));
        }
        Err(seen_by(&cause, "action"))
    }

    #[action(fallback = "instead")]
    fn saved(&self, params: Saved) -> Result<Value> {
        Err(Error::client(409, "NOT_SAVED", params.why).data(json!({ "at": 1 })))
    }

    fn instead(&self, params: Value, cause: Error) -> Value {
        let data: Option<Value> = cause.data_as();
        json!({ "instead": cause.message(), "type": cause.kind(), "data": data, "params": params })
    }

    #[action(limits(fuel = 50_000_000))]
    fn spin(&self, params: Number) -> usize {
        let mut rounds = 0_usize;
        while params.n == 0 || rounds < params.n {
            rounds = black_box(rounds.wrapping_add(1));
        }
        params.n
    }

    #[action]
    fn hoard(&self, params: Hoard) -> usize {
        self.hoard.borrow_mut().extend((0..params.mib).map(|_| vec![1; 1 << 20]));
        params.mib
    }

    #[action(name = "readStream")]
    async fn read_stream(&self, ctx: &Context) -> Result<Value> {
        match ctx.stream() {
            Some(stream) => streams::reading(stream).await,
            None => Ok(Value::Null),
        }
    }

    #[action(name = "writeStream")]
    async fn write_stream(&self, ctx: &Context, params: streams::Written) -> Result<()> {
        streams::write(ctx, params).await
    }

    #[action(name = "sendStream")]
    async fn send_stream(&self, ctx: &Context, params: streams::Sent) -> Result<Payload> {
        streams::send(ctx, params).await
    }

    #[action(name = "takeStream")]
    async fn take_stream(&self, ctx: &Context, params: Call) -> Result<Value> {
        let stream = ctx.call::<()>(&params.action, params.params).into_stream().await?;
        streams::reading(stream).await
    }

    #[event("conformance.*")]
    fn on_conformance(&self, ctx: &Context, data: Payload) -> Result<()> {
        let absent = data == Payload::Absent;
        let data: Value = data.into_value()?;
        let noted = json!({ "context": fields(ctx)?, "data": data, "absent": absent });
        self.events.borrow_mut().push(noted);
        Ok(())
    }

    #[event("grouped.**", group = "conformance-group")]
    fn on_grouped(&self, ctx: &Context, data: Value) -> Result<()> {
        let group = "conformance-group";
        let noted = json!({ "context": fields(ctx)?, "data": data, "group": group });
        self.events.borrow_mut().push(noted);
        Ok(())
    }

    #[event("failing.event")]
    fn on_failing(&self) -> Result<()> {
        Err(Error::client(418, "EVENT_FAILED", "the handler fails, as it should"))
    }
}
