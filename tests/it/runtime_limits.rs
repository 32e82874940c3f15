//! Every limit of the runtime on both sides: what fits passes, one more fails with its own error.

use std::time::Duration;

use isomer_host::config::Limits;
use isomer_host::config::limits::{ActionLimits, Instances};
use isomer_host::error::MoleculerError;
use isomer_host::payload::{Object, Payload};
use serde_json::{Value, json};
use tests::rig::{Guest, Rig, Setup, context, metric, within_ms};

async fn rig(guest: Guest, limits: Limits) -> Rig {
    Rig::new(Setup { guest, limits, ..Setup::default() }).await
}

/// Makes each rule a test for a guest of each world.
macro_rules! in_both_worlds {
    ($($test:ident),*; paused: $($paused:ident),*) => {
        in_both_worlds!(@world plain Plain; $($test),*; $($paused),*);
        in_both_worlds!(@world asynchronous Asynchronous; $($test),*; $($paused),*);
    };
    (@world $world:ident $guest:ident; $($test:ident),*; $($paused:ident),*) => {
        mod $world {
            use tests::rig::Guest;
            $(#[tokio::test] async fn $test() { super::$test(Guest::$guest).await; })*
            $(#[tokio::test(start_paused = true)] async fn $paused() {
                super::$paused(Guest::$guest).await;
            })*
        }
    };
}

in_both_worlds!(fuel, fuel_is_the_same_for_the_same_call_and_counted, time_while_computing, memory, memory_at_the_start, tables, objects, payload_in, payload_out, payload_that_the_host_does_not_even_copy, payload_of_calls, meta, native_stack, limits_of_an_action, calls_in_flight, events, handles, log_lines; paused: time_while_waiting, the_time_of_the_caller, instances_and_queue, waiting_for_an_instance_ends_with_the_deadline);

fn data(error: &MoleculerError) -> Value {
    serde_json::from_str(error.fields().data.as_ref().unwrap()).unwrap()
}

/// The failed instance is gone, and the next call is served.
async fn serves_on(rig: &Rig, n_failed: u64) {
    assert_eq!(rig.pool.stats().failed_instances, n_failed);
    assert_eq!(rig.call("count", json!({})).await, Ok(json!(1)));
}

async fn fuel(guest: Guest) {
    let rig = rig(guest, Limits { fuel: 5_000_000, ..Limits::default() }).await;
    rig.call("echo", json!({})).await.unwrap();
    let error = rig.call("spin", json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "FUEL_EXHAUSTED");
    assert_eq!(data(&error), json!({"service": "probe", "limit": 5_000_000, "used": 5_000_000}));
    serves_on(&rig, 1).await;
}

async fn fuel_is_the_same_for_the_same_call_and_counted(guest: Guest) {
    let rig = rig(guest, Limits::default()).await;
    rig.call("echo", json!({})).await.unwrap();
    let before = rig.pool.stats().fuel;
    rig.call("echo", json!({})).await.unwrap();
    let one = rig.pool.stats().fuel - before;
    rig.call("echo", json!({})).await.unwrap();
    assert_eq!(rig.pool.stats().fuel - before, 2 * one);
    assert!((100..100_000).contains(&one), "{one}");
    let exact = ActionLimits { fuel: Some(one), ..ActionLimits::default() };
    // Compiled code looks at its fuel where functions and loops begin, so the last few units are not
    // noticed; half of them are.
    let short = ActionLimits { fuel: Some(one / 2), ..ActionLimits::default() };
    let call = async |limits: &ActionLimits| {
        let ctx = context("echo", Payload::empty_object()).build();
        rig.pool.call_action(ctx, &rig.pool.target("echo".into(), limits)).await
    };
    call(&exact).await.unwrap();
    assert_eq!(call(&short).await.unwrap_err().kind(), "FUEL_EXHAUSTED");
}

async fn time_while_computing(guest: Guest) {
    let limits = Limits { timeout: Duration::from_millis(50), fuel: u64::MAX, ..Limits::default() };
    let rig = rig(guest, limits).await;
    let error = rig.call("spin", json!({})).await.unwrap_err();
    assert_eq!((error.name(), error.code()), ("RequestTimeoutError", 504));
    assert_eq!(data(&error)["limit"], "service");
    serves_on(&rig, 1).await;
}

async fn time_while_waiting(guest: Guest) {
    let rig = rig(guest, Limits { timeout: Duration::from_millis(500), ..Limits::default() }).await;
    let start = tokio::time::Instant::now();
    let error = rig.call("call", json!({"action": "other.never"})).await.unwrap_err();
    assert_eq!(error.kind(), "REQUEST_TIMEOUT");
    assert_eq!(start.elapsed().as_millis(), 500);
    let ctx = context("sleep", Payload::from_value(&json!({"n": 400})).unwrap()).build();
    rig.call_ctx("sleep", ctx).await.unwrap();
}

async fn the_time_of_the_caller(guest: Guest) {
    let rig = rig(guest, Limits::default()).await;
    let params = Payload::from_value(&json!({"action": "other.never"})).unwrap();
    let ctx = context("call", params).deadline(within_ms(100)).build();
    let error = rig.call_ctx("call", ctx).await.unwrap_err();
    assert_eq!(error.kind(), "REQUEST_TIMEOUT");
    assert_eq!(data(&error), json!({"action": "probe.call", "nodeID": "node-1"}));
    serves_on(&rig, 1).await;
}

async fn memory(guest: Guest) {
    let rig = rig(guest, Limits { memory: 8 << 20, ..Limits::default() }).await;
    rig.call("grow", json!({"n": 2 << 20})).await.unwrap();
    let error = rig.call("grow", json!({"n": 9 << 20})).await.unwrap_err();
    assert_eq!(error.kind(), "MEMORY_LIMIT");
    assert_eq!(data(&error)["limit"], 8 << 20);
    assert!(data(&error)["asked"].as_u64().unwrap() > 8 << 20);
    serves_on(&rig, 1).await;
}

async fn memory_at_the_start(guest: Guest) {
    let limits = Limits { memory: 64 << 10, ..Limits::default() };
    let error = Rig::try_new(Setup { guest, limits, ..Setup::default() }).await.err().unwrap();
    assert_eq!(error.kind(), "MEMORY_LIMIT");
}

async fn tables(guest: Guest) {
    let limits = Limits { table_elements: 1, ..Limits::default() };
    let error = Rig::try_new(Setup { guest, limits, ..Setup::default() }).await.err().unwrap();
    assert_eq!(error.kind(), "MEMORY_LIMIT");
}

async fn objects(guest: Guest) {
    let limits = Limits { objects: 1, ..Limits::default() };
    let error = Rig::try_new(Setup { guest, limits, ..Setup::default() }).await.err().unwrap();
    assert!(error.message().contains("count too high"), "{error}");
}

async fn payload_in(guest: Guest) {
    let rig = rig(guest, Limits { payload: 1_000, ..Limits::default() }).await;
    rig.call_raw("echo", Payload::Bytes(vec![0; 1_000].into())).await.unwrap();
    let error = rig.call_raw("echo", Payload::Bytes(vec![0; 1_001].into())).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), ("PAYLOAD_TOO_LARGE", 413));
    assert_eq!(data(&error), json!({"what": "params", "limit": 1_000, "size": 1_001}));
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

async fn payload_out(guest: Guest) {
    let rig = rig(guest, Limits { payload: 1_000, ..Limits::default() }).await;
    rig.call("big", json!({"n": 1_000})).await.unwrap();
    let error = rig.call("big", json!({"n": 1_001})).await.unwrap_err();
    assert_eq!(data(&error), json!({"what": "result", "limit": 1_000, "size": 1_001}));
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

async fn payload_that_the_host_does_not_even_copy(guest: Guest) {
    let rig = rig(guest, Limits { payload: 1_000, ..Limits::default() }).await;
    for action in ["big", "big_call"] {
        let error = rig.call(action, json!({"n": 10 << 20})).await.unwrap_err();
        assert_eq!(error.kind(), "PAYLOAD_TOO_LARGE", "{error}");
    }
    serves_on(&rig, 2).await;
}

async fn payload_of_calls(guest: Guest) {
    let rig = rig(guest, Limits { payload: 1_000, ..Limits::default() }).await;
    assert_eq!(rig.call("big_call", json!({"n": 1_000})).await, Ok(json!(1_000)));
    let error = rig.call("big_call", json!({"n": 1_001})).await.unwrap_err();
    assert_eq!(data(&error)["what"], "params");
    let error = rig.call("call", json!({"action": "other.big"})).await.unwrap_err();
    assert_eq!(data(&error)["what"], "result of the call");
}

async fn meta(guest: Guest) {
    let rig = rig(guest, Limits { meta: 20, ..Limits::default() }).await;
    let fits = json!({"text": "{\"a\":\"123456789012\"}"});
    rig.call("set_meta", fits).await.unwrap();
    let too_large = json!({"text": "{\"a\":\"1234567890123\"}"});
    let error = rig.call("set_meta", too_large).await.unwrap_err();
    assert_eq!(data(&error), json!({"what": "meta", "limit": 20, "size": 21}));
    let meta = Object::from_json_text("{\"a\":\"1234567890123\"}".into()).unwrap();
    let ctx = context("echo", Payload::Absent).meta(meta).build();
    assert_eq!(rig.call_ctx("echo", ctx).await.unwrap_err().kind(), "PAYLOAD_TOO_LARGE");
}

/// A schema may ask for less for an action, never for more than the operator allows.
async fn limits_of_an_action(guest: Guest) {
    let service = Limits { memory: 8 << 20, payload: 1_000, ..Limits::default() };
    let rig = rig(guest, service).await;
    let call = async |action: &str, n: usize, limits: ActionLimits| {
        let params = Payload::from_value(&json!({ "n": n })).unwrap();
        let target = rig.pool.target(action.into(), &limits);
        rig.pool.call_action(context(action, params).build(), &target).await
    };
    let own = ActionLimits::default();
    let fuel = ActionLimits { fuel: Some(5_000_000), ..own };
    assert_eq!(data(&call("spin", 0, fuel).await.unwrap_err())["limit"], 5_000_000);
    let timeout = ActionLimits { timeout: Some(Duration::from_millis(50)), ..own };
    let error = call("spin", 0, timeout).await.unwrap_err();
    assert_eq!((error.kind(), &data(&error)["limit"]), ("REQUEST_TIMEOUT", &json!("service")));
    let memory = ActionLimits { memory: Some(4 << 20), ..own };
    assert_eq!(data(&call("grow", 5 << 20, memory).await.unwrap_err())["limit"], 4 << 20);
    call("grow", 5 << 20, own).await.unwrap();
    let payload = ActionLimits { payload: Some(100), ..own };
    call("big", 100, payload).await.unwrap();
    assert_eq!(data(&call("big", 101, payload).await.unwrap_err())["limit"], 100);
    call("big", 101, own).await.unwrap();
    let more = ActionLimits { memory: Some(1 << 30), payload: Some(1 << 30), ..own };
    assert_eq!(data(&call("big", 1_001, more).await.unwrap_err())["limit"], 1_000);
    assert_eq!(data(&call("grow", 9 << 20, more).await.unwrap_err())["limit"], 8 << 20);
}

async fn native_stack(guest: Guest) {
    let rig = rig(guest, Limits::default()).await;
    rig.call("recurse", json!({"n": 1_000})).await.unwrap();
    let error = rig.call("recurse", json!({"n": 100_000_000})).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
    assert!(error.message().contains("stack"), "{error}");
    serves_on(&rig, 1).await;
}

async fn calls_in_flight(guest: Guest) {
    let rig = rig(guest, Limits { calls_in_flight: 3, ..Limits::default() }).await;
    let ends = rig.call("start_calls", json!({"action": "other.absent", "n": 3})).await;
    assert_eq!(ends, Ok(json!([null, null, null])));
    let (ends, ()) =
        tokio::join!(rig.call("start_calls", json!({"action": "other.wait", "n": 4})), async {
            rig.until_waiting(3).await;
            rig.mesh.go_on.notify_waiters();
        });
    assert_eq!(ends, Ok(json!(["QUEUE_FULL", null, null, null])));
    let calls = vec![json!({"action": "other.absent"}); 4];
    let error = rig.call("mcall", json!({"calls": calls})).await.unwrap_err();
    assert_eq!(error.kind(), "QUEUE_FULL");
}

async fn events(guest: Guest) {
    let rig = rig(guest, Limits { events: 10, ..Limits::default() }).await;
    let refused = metric("isomer.guest.queueFull.total").await;
    rig.call("emit_many", json!({"n": 10})).await.unwrap();
    let error = rig.call("emit_many", json!({"n": 11})).await.unwrap_err();
    assert_eq!((error.kind(), error.code(), error.retryable()), ("QUEUE_FULL", 429, false));
    assert_eq!(data(&error), json!({"event": "many", "service": "probe", "limit": 10}));
    assert_eq!(rig.event_names().len(), 20);
    assert!(metric("isomer.guest.queueFull.total").await > refused || guest != Guest::Plain);
    // Each handler may send as many.
    rig.call("emit_many", json!({"n": 10})).await.unwrap();
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

async fn handles(guest: Guest) {
    let limits = Limits { handles: 50, calls_in_flight: 1_000, ..Limits::default() };
    let rig = rig(guest, limits).await;
    rig.call("start_calls", json!({"action": "other.absent", "n": 20})).await.unwrap();
    let error =
        rig.call("start_calls", json!({"action": "other.absent", "n": 51})).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
    serves_on(&rig, 1).await;
}

async fn log_lines(guest: Guest) {
    let rig = rig(guest, Limits { log_rate: 10, ..Limits::default() }).await;
    let dropped = metric("isomer.guest.logDropped.total").await;
    rig.call("print", json!({"n": 100, "text": "line"})).await.unwrap();
    rig.call("log", json!({"n": 100, "text": "line"})).await.unwrap();
    // No test of this binary sets a subscriber, so no line is written and none is dropped either; the rate
    // itself is tested beside its code. What matters here is that a flood does no harm.
    assert_eq!(metric("isomer.guest.logDropped.total").await, dropped);
}

async fn instances_and_queue(guest: Guest) {
    let instances = Instances { max: 1, min: 1, ..Limits::default().instances };
    let rig = rig(guest, Limits { instances, queue: 1, ..Limits::default() }).await;
    let wait = || rig.call("call", json!({"action": "other.wait"}));
    let release = async {
        rig.until_waiting(1).await;
        while rig.pool.stats().waiting < 1 {
            tokio::task::yield_now().await;
        }
        let error = wait().await.unwrap_err();
        assert_eq!((error.kind(), error.code()), ("QUEUE_FULL", 429));
        let ctx = context("echo", Payload::Absent).build();
        assert_eq!(rig.call_ctx("echo", ctx).await.unwrap_err().kind(), "QUEUE_FULL");
        rig.mesh.go_on.notify_waiters();
        rig.until_waiting(2).await;
        rig.mesh.go_on.notify_waiters();
    };
    let (first, second, ()) = tokio::join!(wait(), wait(), release);
    assert_eq!((first, second), (Ok(Value::Null), Ok(Value::Null)));
    assert_eq!(rig.pool.stats().made_instances, 1);
}

async fn waiting_for_an_instance_ends_with_the_deadline(guest: Guest) {
    let instances = Instances { max: 1, ..Limits::default().instances };
    let rig = rig(guest, Limits { instances, ..Limits::default() }).await;
    let late = async {
        rig.until_waiting(1).await;
        let ctx = context("echo", Payload::Absent).deadline(within_ms(100)).build();
        let error = rig.call_ctx("echo", ctx).await.unwrap_err();
        assert_eq!(error.kind(), "REQUEST_TIMEOUT");
        rig.mesh.go_on.notify_waiters();
    };
    let (first, ()) = tokio::join!(rig.call("call", json!({"action": "other.wait"})), late);
    assert_eq!(first, Ok(Value::Null));
}
