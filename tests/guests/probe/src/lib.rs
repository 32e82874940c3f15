//! A service that does whatever a test asks, good or bad, straight on the WIT without the SDK, so that it
//! can also do what the SDK makes impossible.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::exports::isomer::service::handler::{Context, Failure, Guest, Payload};
use crate::isomer::service::broker::wait_any;
use crate::isomer::service::{cacher, config, logger};

/// The generated side of the contract.
#[expect(unsafe_code, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service" });
    export!(Probe);
    use crate::Probe;
}
use bindings::{exports, isomer};

mod streams;

thread_local! {
    /// State of the instance: how often it was called.
    static N_CALLS: Cell<u32> = const { Cell::new(0) };
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

    fn started(ctx: &Context) -> Result<(), Failure> {
        lifecycle(ctx, "started")
    }

    fn stopped(ctx: &Context) -> Result<(), Failure> {
        lifecycle(ctx, "stopped")
    }

    fn call_action(ctx: &Context, action: String, params: Payload) -> Result<Payload, Failure> {
        N_CALLS.set(N_CALLS.get() + 1);
        match action.as_str() {
            "echo" => Ok(params),
            "raw" => Ok(Payload::Json(String::from_utf8_lossy(&bytes(params)).into_owned())),
            "fail" => Err(failure("OddError", Some("T"), Some("{\"a\":1}".into()))),
            "fail_badly" => Err(failure("OddError", None, Some("{".into()))),
            "count" => Ok(Payload::Json(N_CALLS.get().to_string())),
            _ => with_params(ctx, &action, &value(params)),
        }
    }

    fn handle_event(ctx: &Context, event: String, data: Payload) -> Result<(), Failure> {
        match text(&value(data), "do") {
            "fail" => Err(failure("EventError", None, None)),
            "stream" => ctx.emit("seen", &answer(&streams::in_event(ctx)), None),
            _ => ctx.emit("seen", &Payload::Json(json!([event, ctx.name()]).to_string()), None),
        }
    }
}

fn with_params(ctx: &Context, action: &str, params: &Value) -> Result<Payload, Failure> {
    let n = usize::try_from(params.get("n").and_then(Value::as_u64).unwrap_or(0)).unwrap_or(0);
    match action {
        "spin" => spin(),
        "panic" => trap(),
        "recurse" => Ok(answer(&recurse(n as u64).into())),
        "grow" => {
            Ok(answer(&vec![1_u8; n].iter().map(|byte| u64::from(*byte)).sum::<u64>().into()))
        }
        "big" => Ok(Payload::Bytes(vec![0; n])),
        "big_call" => ctx.call("other.take", &Payload::Bytes(vec![0; n]), None),
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_millis(n as u64));
            Ok(Payload::Absent)
        }
        "call" => ctx.call(text(params, "action"), &given(params), options(params).as_deref()),
        "start_calls" => Ok(start_calls(ctx, text(params, "action"), n)),
        "drop_calls" => {
            drop(ctx.start_call(text(params, "action"), &Payload::Absent, None));
            Ok(Payload::Absent)
        }
        "mcall" => ctx.mcall(&params["calls"].to_string(), options(params).as_deref()),
        "emit" => ctx
            .emit(text(params, "event"), &given(params), options(params).as_deref())
            .map(|()| Payload::Absent),
        "emit_many" => {
            (0..n).try_for_each(|_| ctx.emit("many", &Payload::Absent, None))?;
            Ok(Payload::Absent)
        }
        "set_meta" => ctx.set_meta(text(params, "text")).map(|()| Payload::Json(ctx.meta())),
        "wait" => ctx
            .wait_for_services(&[text(params, "service").to_owned()], Some(50))
            .map(|()| Payload::Absent),
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
        "log_and_panic" => {
            logger::log(logger::Level::Info, text(params, "text"), None);
            trap()
        }
        "fields" => Ok(answer(&fields(ctx))),
        "cacher" => use_cacher(params),
        _ => streams::call(ctx, action, n, params)
            .unwrap_or_else(|| Err(failure("UnknownAction", None, None))),
    }
}

/// Does what the settings say for this function: fail, trap, spin; else tells the mesh about it.
fn lifecycle(ctx: &Context, function: &str) -> Result<(), Failure> {
    let settings: Value = serde_json::from_str(&config::settings()).unwrap_or_default();
    match text(&settings, function) {
        "fail" => Err(failure("LifecycleError", None, None)),
        "trap" => trap().map(|_| ()),
        "spin" => spin().map(|_| ()),
        "wait" => ctx.call("other.wait", &Payload::Absent, None).map(|_| ()),
        _ => ctx.emit(&format!("probe.{function}"), &Payload::Absent, None),
    }
}

fn fields(ctx: &Context) -> Value {
    json!({
        "id": ctx.id(), "requestID": ctx.request_id(), "parentID": ctx.parent_id(),
        "caller": ctx.caller(), "level": ctx.level(), "nodeID": ctx.node_id(), "name": ctx.name(),
        "isEvent": ctx.event_type().is_some(), "groups": ctx.event_groups(), "meta": ctx.meta(),
        "headers": ctx.headers(), "remaining": ctx.remaining_time(), "settings": config::settings(),
        "localNodeID": config::node_id(), "namespace": config::namespace(),
        "env": std::env::vars().collect::<Vec<_>>(), "args": std::env::args().count(),
        "fileIsRefused": std::fs::read_to_string("/etc/hostname").is_err(),
        "socketError": std::net::TcpStream::connect("127.0.0.1:1").err().map(|e| e.to_string()),
    })
}

/// Starts calls, waits for all of them and gives how each ended: its value or the type of its error.
fn start_calls(ctx: &Context, action: &str, n: usize) -> Payload {
    let mut calls: Vec<_> =
        (0..n).map(|_| ctx.start_call(action, &Payload::Absent, None)).collect();
    let mut ends = Vec::new();
    while !calls.is_empty() {
        let Some(done) = wait_any(&calls.iter().collect::<Vec<_>>()) else { break };
        let call = calls.remove(done as usize);
        ends.push(match call.take() {
            Some(Ok(payload)) => value(payload),
            Some(Err(failure)) => failure.type_.into(),
            None => Value::Null,
        });
    }
    answer(&ends.into())
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

/// Does one thing with the cacher: `do`, `key`, `value` and `ttl` say what.
fn use_cacher(params: &Value) -> Result<Payload, Failure> {
    let key = text(params, "key");
    let ttl = params.get("ttl").and_then(Value::as_f64);
    let done = |result: Result<(), Failure>| result.map(|()| Payload::Absent);
    match text(params, "do") {
        "enabled" => Ok(answer(&cacher::enabled().into())),
        "get" => Ok(cacher::get(key)?.unwrap_or(Payload::Absent)),
        "ttl" => Ok(answer(&cacher::get_with_ttl(key)?.and_then(|(_, ttl)| ttl).into())),
        "set" => done(cacher::set(key, &answer(&params["value"]), ttl)),
        "set_bytes" => done(cacher::set(key, &Payload::Bytes(vec![7; 3]), ttl)),
        "del" => done(cacher::del(&[key.to_owned()])),
        "clean" => done(cacher::clean(&[key.to_owned()])),
        _ => Err(failure("UnknownUse", None, None)),
    }
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

fn bytes(payload: Payload) -> Vec<u8> {
    match payload {
        Payload::Bytes(bytes) => bytes,
        Payload::Json(text) => text.into_bytes(),
        Payload::Absent => Vec::new(),
    }
}

fn answer(value: &Value) -> Payload {
    Payload::Json(value.to_string())
}
