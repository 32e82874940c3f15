//! Does everything that a service can do with its context, one action for each, and reports what it saw.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::{join_all, try_join};
use isomer_sdk::prelude::*;
use isomer_sdk::{EventType, Level};
use serde::Deserialize;

#[derive(Default)]
struct Kit {
    started: u32,
    count: u32,
    /// What the event handlers saw, oldest first.
    events: Vec<Value>,
}

#[derive(Deserialize)]
struct CallParams {
    action: String,
    #[serde(default)]
    params: Payload,
    #[serde(default)]
    options: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Parallel {
    calls: Vec<CallParams>,
}

#[derive(Deserialize)]
struct Mcall {
    calls: Value,
    #[serde(default)]
    settled: bool,
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
struct Spans {
    /// How many further ones.
    #[serde(default)]
    n: u32,
    /// Length of a tag.
    #[serde(default)]
    text: usize,
    /// What is called while they are open.
    action: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Log {
    level: String,
    message: String,
    #[serde(default)]
    fields: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Wait {
    services: Vec<String>,
    timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Number {
    n: u64,
}

/// One call as the params say.
async fn call(ctx: &Context, call: CallParams) -> Result<Payload> {
    let request = ctx.call(&call.action, call.params);
    call.options.iter().fold(request, |request, (name, value)| request.option(name, value)).await
}

/// The name of an event's type as in JavaScript.
fn event_type(ctx: &Context) -> Option<&'static str> {
    ctx.event_type().map(|kind| match kind {
        EventType::Emit => "emit",
        EventType::Broadcast => "broadcast",
        EventType::BroadcastLocal => "broadcastLocal",
    })
}

/// Every field of the context.
fn fields(ctx: &Context) -> Result<Value> {
    Ok(json!({
        "id": ctx.id(), "requestID": ctx.request_id(), "parentID": ctx.parent_id(),
        "caller": ctx.caller(), "level": ctx.level(), "nodeID": ctx.node_id(),
        "name": ctx.name(), "eventType": event_type(ctx), "eventGroups": ctx.event_groups(),
        "meta": ctx.meta::<Value>()?, "headers": ctx.headers::<Value>()?,
        "remainingTime": ctx.remaining_time().map(|left| left.as_millis()),
        "localNodeID": ctx.local_node_id(), "namespace": ctx.namespace(),
    }))
}

#[service(name = "kit", settings = { color: "red", size: 5 }, metadata = { kind: "test" })]
impl Kit {
    #[started]
    async fn start(&mut self, ctx: &Context) -> Result<()> {
        self.started += 1;
        ctx.logger().field("name", ctx.name()).debug("kit started");
        Ok(())
    }

    #[stopped]
    fn stop(&mut self, ctx: &Context) {
        ctx.logger().info("kit stopped");
    }

    /// Counts its runs; equal calls run once.
    #[action(name = "countCached", cache = { keys: ["id"] })]
    fn count_cached(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// Goes through everything that the cacher can do.
    #[action]
    fn cacher(&self, ctx: &Context) -> Result<Value> {
        let cacher = ctx.cacher();
        let minute = Duration::from_secs(60);
        let before: Option<Value> = cacher.get("kit:a")?;
        cacher.set("kit:a", json!({ "a": 1 }), minute)?;
        cacher.set("kit:b", "x", Duration::ZERO)?;
        let found: Option<Value> = cacher.get("kit:a")?;
        let ttl = |key: &str| -> Result<Option<Value>> {
            let found = cacher.get_with_ttl::<Value>(key)?;
            Ok(found.map(|(_, ttl)| ttl.map_or(Value::Null, |ttl| (ttl <= minute).into())))
        };
        let (ttl_a, ttl_b) = (ttl("kit:a")?, ttl("kit:b")?);
        cacher.del(["kit:a"])?;
        let deleted: Option<Value> = cacher.get("kit:a")?;
        cacher.clean(["kit:**"])?;
        let cleaned: Option<Value> = cacher.get("kit:b")?;
        let denied = cacher.get::<Value>("users.get:1").err();
        Ok(json!({
            "enabled": cacher.enabled(), "before": before, "found": found, "ttl": ttl_a,
            "forEver": ttl_b, "deleted": deleted, "cleaned": cleaned,
            "denied": denied.map(|error| error.kind().to_owned()),
        }))
    }

    #[action]
    fn context(&self, ctx: &Context) -> Result<Value> {
        fields(ctx)
    }

    /// Puts the params over the meta and returns what it was before.
    #[action(name = "setMeta")]
    fn set_meta(&self, ctx: &Context, params: Value) -> Result<Value> {
        let before = ctx.meta()?;
        ctx.set_meta(params)?;
        Ok(before)
    }

    /// The same, and fails.
    #[action(name = "setMetaAndFail")]
    fn set_meta_and_fail(&self, ctx: &Context, params: Value) -> Result<()> {
        ctx.set_meta(params)?;
        Err(Error::client(400, "AFTER_META", "failed after the meta was set"))
    }

    #[action(name = "setResponseHeaders")]
    fn set_response_headers(&self, ctx: &Context, params: Value) -> Result<()> {
        ctx.set_response_headers(params)
    }

    /// Fails with the error that the params describe, in its JSON form.
    #[action]
    fn fail(&self, params: Error) -> Result<()> {
        Err(params)
    }

    #[action]
    fn echo(&self, params: Payload) -> Payload {
        params
    }

    /// How the params arrived.
    #[action]
    fn kind(&self, params: Payload) -> &'static str {
        match params {
            Payload::Absent => "absent",
            Payload::Json(_) => "json",
            Payload::Bytes(_) => "bytes",
        }
    }

    #[action]
    fn absent(&self) {}

    #[action]
    fn null(&self) -> Option<u32> {
        None
    }

    #[action]
    fn bytes(&self, params: Number) -> Result<Bytes> {
        Ok(Bytes(vec![7; usize::try_from(params.n)?]))
    }

    /// The sum of the bytes in the params.
    #[action]
    fn sum(&self, params: Bytes) -> u64 {
        params.iter().map(|byte| u64::from(*byte)).sum()
    }

    #[action]
    async fn call(&self, ctx: &Context, params: CallParams) -> Result<Payload> {
        call(ctx, params).await
    }

    /// The same without `async`.
    #[action(name = "callPlain")]
    fn call_plain(&self, ctx: &Context, params: CallParams) -> Result<Payload> {
        ctx.call(&params.action, params.params).wait()
    }

    /// A call, and what the meta is after it; the error's JSON form when it fails.
    #[action(name = "callAndMeta")]
    async fn call_and_meta(&self, ctx: &Context, params: CallParams) -> Result<Value> {
        let (result, error) = match call(ctx, params).await {
            Ok(result) => (result.into_value()?, None),
            Err(error) => (Value::Null, Some(error.to_json())),
        };
        Ok(json!({ "result": result, "error": error, "meta": ctx.meta::<Value>()? }))
    }

    /// All calls at once; results or errors in their order.
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

    /// Two calls at once, the second of which is abandoned when the first fails.
    #[action]
    async fn abandon(&self, ctx: &Context, params: Parallel) -> Result<()> {
        let mut calls = params.calls.into_iter();
        let (Some(first), Some(second)) = (calls.next(), calls.next()) else {
            return Err(Error::validation("two calls are needed"));
        };
        try_join(call(ctx, first), call(ctx, second)).await?;
        Ok(())
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

    /// Takes the events that were recorded since it was last called, in this instance.
    #[action]
    fn events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    #[event("kit.*")]
    fn on_kit(&mut self, ctx: &Context, data: Payload) -> Result<()> {
        let absent = data == Payload::Absent;
        let data: Value = data.into_value()?;
        self.events.push(json!({ "context": fields(ctx)?, "data": data, "absent": absent }));
        Ok(())
    }

    /// What benchmarks send.
    #[event("bench.event")]
    fn on_bench(&self, _data: Payload) {}

    #[event("grouped.**", group = "kit-group")]
    fn on_grouped(&mut self, ctx: &Context, data: Value) -> Result<()> {
        self.events.push(json!({ "context": fields(ctx)?, "data": data, "group": "kit-group" }));
        Ok(())
    }

    #[event("failing.event")]
    fn on_failing(&self, ctx: &Context) -> Result<()> {
        Err(Error::client(418, "EVENT_FAILED", format!("the handler of {} fails", ctx.name())))
    }

    #[action]
    fn settings(&self, ctx: &Context) -> Result<Value> {
        ctx.settings()
    }

    /// An environment variable.
    #[action]
    fn env(&self, params: Text) -> Option<String> {
        std::env::var(params.text).ok()
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

    /// Writes to stdout and stderr, which a component shares with its node.
    #[action]
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the purpose of this action")]
    fn print(&self, params: Text) {
        println!("out: {}", params.text);
        eprintln!("err: {}", params.text);
    }

    #[action(name = "waitFor")]
    async fn wait_for(&self, ctx: &Context, params: Wait) -> Result<()> {
        let request = ctx.wait_for_services(params.services);
        match params.timeout {
            Some(timeout) => request.timeout(Duration::from_millis(timeout)).await,
            None => request.await,
        }
    }

    /// State of this instance: one more with every call.
    #[action]
    fn count(&mut self) -> Value {
        self.count += 1;
        json!({ "count": self.count, "started": self.started })
    }

    /// Waits in the host for this many milliseconds, on the clock of WASI.
    #[action]
    fn pause(&self, params: Number) -> u64 {
        use std::thread::sleep as pause;
        pause(Duration::from_millis(params.n));
        params.n
    }

    /// Burns CPU: about ten units of fuel per round.
    #[action]
    fn spin(&self, params: Number) -> u64 {
        let step = |state: u64, round: u64| std::hint::black_box(state ^ round).rotate_left(5);
        (0..params.n).fold(1, step)
    }

    /// How many bytes the caller sends as a stream.
    #[action(name = "countBytes")]
    async fn count_bytes(&self, ctx: &Context) -> Result<usize> {
        let mut count = 0;
        if let Some(mut stream) = ctx.stream() {
            while let Some(chunk) = stream.next_bytes().await? {
                count += chunk.len();
            }
        }
        Ok(count)
    }

    /// So many chunks of 64 KiB as a stream.
    #[action(name = "giveBytes")]
    async fn give_bytes(&self, ctx: &Context, params: Number) -> Result<()> {
        let mut answer = ctx.respond_stream()?;
        let chunk: Vec<u8> = (0..=u8::MAX).cycle().take(64 << 10).collect();
        for _ in 0..params.n {
            answer.write(chunk.as_slice()).await?;
        }
        answer.end()
    }

    /// Spans: one with a part and a call in it, and one that is left to the end of the handler; then the call.
    #[action]
    async fn spans(&self, ctx: &Context, params: Spans) -> Result<()> {
        let left = ctx.start_span_with("left", json!({ "type": "db", "tags": { "a": 1 } }));
        std::mem::forget(left);
        let span = ctx.start_span("work");
        span.tag("n", params.n).tags(json!({ "text": "x".repeat(params.text) }));
        span.log("half", json!({ "of": 2 })).error(&Error::new(409, "CONFLICT", "no"));
        let part = span.start_span("part");
        for _ in 0..params.n {
            ctx.start_span("many").finish();
        }
        if let Some(action) = &params.action {
            ctx.call::<Value>(action, ()).await?;
        }
        part.finish();
        span.finish();
        Ok(())
    }

    /// Waits for what no call will ever bring.
    #[action]
    async fn stuck(&self) {
        std::future::pending().await
    }

    /// An action with limits of its own, and a custom key that travels to all nodes.
    #[action(limits(fuel = 200_000, timeout = 500), "x-custom" = { deep: [1, null] })]
    fn narrow(&self, params: Number) -> u64 {
        self.spin(params)
    }

    #[action(visibility = "private")]
    fn secret(&self) -> &'static str {
        "only for this service"
    }

    #[action(visibility = "protected", timeout = 300)]
    fn inner(&self) -> &'static str {
        "only for this node"
    }
}
