//! What the guest `probe` does, in the world `service-async`, and what only several calls in one instance can do.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::exports::isomer::service::handler_async::{Context, Failure, Guest, Payload};
use crate::isomer::service::{broker_async, cacher_async, config, logger, timers};

/// The generated side of the contract.
#[expect(unsafe_code, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service-async" });
    export!(Probe);
    use crate::Probe;
}
use bindings::{exports, isomer};

thread_local! {
    /// State of the instance: how often it was called.
    static N_CALLS: Cell<u32> = const { Cell::new(0) };
    /// Who waits in this instance for `open`, without the host.
    static GATE: RefCell<(bool, Vec<Waker>)> = const { RefCell::new((false, Vec::new())) };
}

struct Probe;

impl Guest for Probe {
    fn describe() -> String {
        json!({
            "name": "probe",
            "actions": { "echo": {}, "spin": { "isomer": { "limits": { "fuel": 1_000_000 } } } },
            "events": { "probe.*": {} },
            "isomer": { "lifecycle": ["started", "stopped"] }
        })
        .to_string()
    }

    async fn started(ctx: &Context) -> Result<(), Failure> {
        lifecycle(ctx, "started").await
    }

    async fn stopped(ctx: &Context) -> Result<(), Failure> {
        lifecycle(ctx, "stopped").await
    }

    async fn background() {
        let settings: Value = serde_json::from_str(&config::settings()).unwrap_or_default();
        match text(&settings, "background") {
            "spin" => drop(spin()),
            "tick" => loop {
                timers::sleep(10).await;
                let tick = answer(&json!({}));
                // Nobody reads what becomes of it.
                drop(broker_async::own_context().emit("tick", &tick, None));
            },
            _ => {}
        }
    }

    async fn call_action(
        ctx: &Context,
        action: String,
        params: Payload,
    ) -> Result<Payload, Failure> {
        N_CALLS.set(N_CALLS.get() + 1);
        match action.as_str() {
            "echo" => Ok(params),
            "fail" => Err(failure("OddError", Some("T"), Some("{\"a\":1}".into()))),
            "count" => Ok(Payload::Json(N_CALLS.get().to_string())),
            _ => with_params(ctx, &action, &value(params)).await,
        }
    }

    async fn handle_event(ctx: &Context, event: String, data: Payload) -> Result<(), Failure> {
        match text(&value(data), "do") {
            "fail" => Err(failure("EventError", None, None)),
            _ => {
                let seen = Payload::Json(json!([event, ctx.name()]).to_string());
                ctx.emit("seen", &seen, None).await
            }
        }
    }
}

async fn with_params(ctx: &Context, action: &str, params: &Value) -> Result<Payload, Failure> {
    let n = usize::try_from(params.get("n").and_then(Value::as_u64).unwrap_or(0)).unwrap_or(0);
    let ms = u32::try_from(n).unwrap_or(u32::MAX);
    match action {
        "spin" => spin(),
        "panic" => trap(),
        "recurse" => Ok(answer(&recurse(n as u64).into())),
        "grow" => {
            Ok(answer(&vec![1_u8; n].iter().map(|byte| u64::from(*byte)).sum::<u64>().into()))
        }
        "big" => Ok(Payload::Bytes(vec![0; n])),
        "big_call" => ctx.call("other.take", &Payload::Bytes(vec![0; n]), None).await,
        "sleep" => {
            timers::sleep(ms).await;
            Ok(Payload::Absent)
        }
        "call" => {
            ctx.call(text(params, "action"), &given(params), options(params).as_deref()).await
        }
        "own_call" => {
            let own = broker_async::own_context();
            own.call(text(params, "action"), &given(params), options(params).as_deref()).await
        }
        "start_calls" => Ok(start_calls(ctx, text(params, "action"), n).await),
        "drop_calls" => {
            drop(ctx.call(text(params, "action"), &Payload::Absent, None));
            Ok(Payload::Absent)
        }
        "leak_futures" => {
            std::mem::forget((0..n).map(|_| timers::sleep(1)).collect::<Vec<_>>());
            Ok(Payload::Absent)
        }
        "emit_many" => {
            for _ in 0..n {
                ctx.emit("many", &Payload::Absent, None).await?;
            }
            Ok(Payload::Absent)
        }
        "mcall" => ctx.mcall(&params["calls"].to_string(), options(params).as_deref()).await,
        "set_meta" => ctx.set_meta(text(params, "text")).map(|()| Payload::Json(ctx.meta())),
        "print" => {
            print(n, text(params, "text"));
            Ok(Payload::Absent)
        }
        "log" => {
            for _ in 0..n {
                logger::log(logger::Level::Info, text(params, "text"), Some("{\"a\":1}"));
            }
            Ok(Payload::Absent)
        }
        "fields" => Ok(answer(&fields(ctx))),
        "keep" => {
            let kept = cacher_async::set(text(params, "key"), &answer(&params["value"]), None);
            kept.await?;
            Ok(cacher_async::get(text(params, "key")).await?.unwrap_or(Payload::Absent))
        }
        "hold" => Ok(answer(&timers::hold(1, (ms > 0).then_some(ms)).await.into())),
        "release" => {
            timers::release(1);
            Ok(Payload::Absent)
        }
        "wait_inside" => {
            inside().await;
            Ok(Payload::Absent)
        }
        "open" => {
            let wakers = GATE.with_borrow_mut(|gate| {
                gate.0 = true;
                std::mem::take(&mut gate.1)
            });
            wakers.into_iter().for_each(Waker::wake);
            Ok(Payload::Absent)
        }
        _ => Err(failure("UnknownAction", None, None)),
    }
}

/// Waits for another call of this instance, in Rust alone.
async fn inside() {
    std::future::poll_fn(|task| {
        GATE.with_borrow_mut(|gate| {
            if gate.0 {
                return std::task::Poll::Ready(());
            }
            gate.1.push(task.waker().clone());
            std::task::Poll::Pending
        })
    })
    .await;
}

/// Does what the settings say for this function: fail, trap, spin; else tells the mesh about it.
async fn lifecycle(ctx: &Context, function: &str) -> Result<(), Failure> {
    let settings: Value = serde_json::from_str(&config::settings()).unwrap_or_default();
    match text(&settings, function) {
        "fail" => Err(failure("LifecycleError", None, None)),
        "trap" => trap().map(|_| ()),
        "spin" => spin().map(|_| ()),
        "wait" => ctx.call("other.wait", &Payload::Absent, None).await.map(|_| ()),
        _ => ctx.emit(&format!("probe.{function}"), &Payload::Absent, None).await,
    }
}

fn fields(ctx: &Context) -> Value {
    json!({
        "id": ctx.id(), "requestID": ctx.request_id(), "parentID": ctx.parent_id(),
        "caller": ctx.caller(), "level": ctx.level(), "nodeID": ctx.node_id(), "name": ctx.name(),
        "isEvent": ctx.event_type().is_some(), "groups": ctx.event_groups(), "meta": ctx.meta(),
        "headers": ctx.headers(), "remaining": ctx.remaining_time(), "settings": config::settings(),
        "localNodeID": config::node_id(), "namespace": config::namespace(),
    })
}

/// Starts calls, waits for all of them and gives how each ended: its value or the type of its error.
async fn start_calls(ctx: &Context, action: &str, n: usize) -> Payload {
    let calls: FuturesUnordered<_> =
        (0..n).map(|_| ctx.call(action, &Payload::Absent, None).into_future()).collect();
    let ends = calls.map(|end: Result<Payload, Failure>| match end {
        Ok(payload) => value(payload),
        Err(failure) => failure.type_.into(),
    });
    answer(&ends.collect::<Vec<Value>>().await.into())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the host makes log lines of it")]
fn print(n: usize, text: &str) {
    for _ in 0..n {
        println!("{text}");
        eprintln!("{text}");
    }
}

fn spin() -> Result<Payload, Failure> {
    let mut n = 0_u64;
    while std::hint::black_box(n) < u64::MAX {
        n = n.wrapping_mul(3) & 0xFFFF;
    }
    Ok(Payload::Absent)
}

#[expect(clippy::panic, reason = "the purpose of this function")]
fn trap() -> Result<Payload, Failure> {
    panic!("as the test asked");
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { std::hint::black_box(recurse(std::hint::black_box(depth - 1))) + 1 }
}

fn failure(name: &str, kind: Option<&str>, data: Option<String>) -> Failure {
    Failure {
        name: name.into(),
        message: "as the test asked".into(),
        code: Some(418),
        type_: kind.map(str::to_owned),
        retryable: true,
        data,
        stack: None,
        extra: Some("{\"hint\":[1]}".into()),
    }
}

fn given(params: &Value) -> Payload {
    match params.get("params") {
        Some(params) => answer(params),
        None => Payload::Absent,
    }
}

fn options(params: &Value) -> Option<String> {
    params.get("options").map(Value::to_string)
}

fn text<'a>(params: &'a Value, key: &str) -> &'a str {
    params.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn value(payload: Payload) -> Value {
    match payload {
        Payload::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
        Payload::Bytes(bytes) => bytes.into(),
        Payload::Absent => Value::Null,
    }
}

fn answer(value: &Value) -> Payload {
    Payload::Json(value.to_string())
}
