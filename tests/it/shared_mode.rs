//! Mode `shared`: one instance, many calls at once, and what becomes of them when one goes wrong.
//!
//! The service is "probe_async" on the bare WIT, and `lobby`, made with the SDK.

use std::time::Duration;

use isomer_host::config::limits::{ActionLimits, Instances};
use isomer_host::config::{BrokerOptions, Limits, Mode};
use isomer_host::error::MoleculerError;
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::host::Host;
use tests::rig::{Guest, Rig, Setup, context, within_ms};
use tests::wait;

fn limits() -> Limits {
    Limits { mode: Some(Mode::Shared), ..Limits::default() }
}

async fn rig(limits: Limits) -> Rig {
    rig_with(limits, json!({})).await
}

async fn rig_with(limits: Limits, settings: Value) -> Rig {
    Rig::new(Setup { guest: Guest::Asynchronous, limits, settings, ..Setup::default() }).await
}

fn kind(outcome: Result<Value, MoleculerError>) -> String {
    outcome.unwrap_err().kind().to_owned()
}

#[tokio::test]
async fn calls_run_at_once_in_one_instance_and_see_its_state() {
    let rig = rig(limits()).await;
    let calls = (0..50).map(|_| rig.call("call", json!({"action": "other.wait"})));
    let all = futures_util::future::join_all(calls);
    let (ends, count) = tokio::join!(all, async {
        rig.until_waiting(50).await;
        let count = rig.call("count", json!({})).await;
        rig.mesh.go_on.notify_waiters();
        count
    });
    assert!(ends.iter().all(|end| *end == Ok(Value::Null)), "{ends:?}");
    assert_eq!(count, Ok(json!(51)));
    assert_eq!(rig.pool.stats().made_instances, 1);
}

#[tokio::test]
async fn a_service_that_is_called_back_while_it_waits_answers() {
    let rig = rig(limits()).await;
    let inner = json!({"action": "probe.call", "params": {"action": "probe.count"}});
    assert_eq!(rig.call("call", inner).await, Ok(json!(3)));
    assert_eq!(rig.pool.stats().made_instances, 1);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_waits_for_its_own_place_fails_at_once() {
    let instances = Instances { concurrency: 2, ..Limits::default().instances };
    let rig = rig(Limits { instances, ..limits() }).await;
    let inner = json!({"action": "probe.call", "params": {"action": "probe.count"}});
    let error = rig.call("call", inner).await.unwrap_err();
    assert!(error.message().contains("itself"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_instance_can_wait_for_each_other() {
    let rig = rig(limits()).await;
    let (held, _) = tokio::join!(rig.call("hold", json!({})), async {
        rig.call("sleep", json!({"n": 20})).await.unwrap();
        rig.call("release", json!({})).await.unwrap();
    });
    assert_eq!(held, Ok(json!(true)));
    assert_eq!(rig.call("hold", json!({"n": 10})).await, Ok(json!(false)));
    let (inside, _) = tokio::join!(rig.call("wait_inside", json!({})), async {
        rig.call("sleep", json!({"n": 20})).await.unwrap();
        rig.call("open", json!({})).await.unwrap();
    });
    assert_eq!(inside, Ok(Value::Null));
}

#[tokio::test]
async fn a_trap_ends_its_own_call_with_its_error_and_the_others_with_one_that_can_be_retried() {
    let rig = rig(limits()).await;
    let wait = rig.call("call", json!({"action": "other.wait"}));
    let (other, own) = tokio::join!(wait, async {
        rig.until_waiting(1).await;
        rig.call("panic", json!({})).await
    });
    assert_eq!(kind(own), "SERVICE_TRAPPED");
    let other = other.unwrap_err();
    assert_eq!((other.kind(), other.code(), other.retryable()), ("INSTANCE_LOST", 503, true));
    assert_eq!(rig.call("count", json!({})).await, Ok(json!(1)));
    let stats = rig.pool.stats();
    assert_eq!((stats.made_instances, stats.failed_instances), (2, 1));
}

#[tokio::test]
async fn fuel_is_counted_for_each_call() {
    let rig = rig(Limits { fuel: 5_000_000, ..limits() }).await;
    let target = rig.pool.target("echo".into(), &ActionLimits::default());
    let cost = async || {
        let before = rig.pool.stats().fuel;
        let ctx = context("echo", Payload::empty_object()).build();
        rig.pool.call_action(ctx, &target).await.unwrap();
        rig.pool.stats().fuel - before
    };
    cost().await;
    let one = cost().await;
    assert!((100..100_000).contains(&one), "{one}");
    assert_eq!(cost().await, one);
    // Many calls together use more than one of them may, and none is stopped.
    let n_calls = 2 * 5_000_000 / one;
    for _ in 0..n_calls {
        assert_eq!(cost().await, one);
    }
    let wait = rig.call("call", json!({"action": "other.wait"}));
    let (other, own) = tokio::join!(wait, async {
        rig.until_waiting(1).await;
        rig.call("spin", json!({})).await
    });
    let own = own.unwrap_err();
    assert_eq!(own.kind(), "FUEL_EXHAUSTED");
    let data: Value = serde_json::from_str(own.fields().data.as_ref().unwrap()).unwrap();
    assert_eq!(data["limit"], 5_000_000);
    assert_eq!(kind(other), "INSTANCE_LOST");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_too_long_is_asked_to_stop_and_harms_nobody() {
    let rig = rig(Limits { timeout: Duration::from_millis(500), ..limits() }).await;
    let (late, other) = tokio::join!(rig.call("call", json!({"action": "other.never"})), async {
        rig.until_waiting(0).await;
        let ctx = context("call", Payload::from_value(&json!({"action": "other.never"})).unwrap());
        let early = rig.call_ctx("call", ctx.deadline(within_ms(100)).build()).await;
        assert_eq!(early.unwrap_err().kind(), "REQUEST_TIMEOUT");
        rig.call("sleep", json!({"n": 300})).await
    });
    assert_eq!(kind(late), "REQUEST_TIMEOUT");
    assert_eq!(other, Ok(Value::Null));
    rig.call("echo", json!({})).await.unwrap();
    assert_eq!(rig.pool.stats().failed_instances, 0);
    assert_eq!(rig.pool.stats().running, 0);
}

#[tokio::test]
async fn a_call_that_computes_after_its_time_ends_the_instance() {
    let limits = Limits { timeout: Duration::from_millis(50), fuel: u64::MAX, ..limits() };
    let rig = rig(limits).await;
    assert_eq!(kind(rig.call("spin", json!({})).await), "REQUEST_TIMEOUT");
    // Until the spinning call is noticed, the next one waits in vain; then there is a new instance.
    while rig.call("count", json!({})).await != Ok(json!(1)) {}
    assert_eq!(rig.pool.stats().failed_instances, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_stop_ends_the_instance_after_a_while() {
    let rig = rig(Limits { timeout: Duration::from_millis(500), ..limits() }).await;
    assert_eq!(kind(rig.call("hold", json!({})).await), "REQUEST_TIMEOUT");
    rig.call("echo", json!({})).await.unwrap();
    tokio::time::advance(Duration::from_millis(300)).await;
    rig.call("echo", json!({})).await.unwrap();
    assert_eq!(rig.pool.stats().failed_instances, 0);
    let wait = rig.call("call", json!({"action": "other.wait"}));
    assert_eq!(kind(wait.await), "INSTANCE_LOST");
    assert_eq!(rig.call("count", json!({})).await, Ok(json!(1)));
}

#[tokio::test]
async fn memory_is_the_limit_of_the_instance() {
    let rig = rig(Limits { memory: 8 << 20, ..limits() }).await;
    rig.call("grow", json!({"n": 2 << 20})).await.unwrap();
    assert_eq!(kind(rig.call("grow", json!({"n": 9 << 20})).await), "MEMORY_LIMIT");
    assert_eq!(rig.call("count", json!({})).await, Ok(json!(1)));
}

#[tokio::test]
async fn futures_that_a_guest_keeps_are_bounded() {
    let rig = rig(Limits { handles: 50, ..limits() }).await;
    assert_eq!(kind(rig.call("leak_futures", json!({"n": 1_000})).await), "SERVICE_TRAPPED");
    assert_eq!(rig.call("count", json!({})).await, Ok(json!(1)));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_at_once_than_are_allowed() {
    let instances = Instances { concurrency: 2, ..Limits::default().instances };
    let rig = rig(Limits { instances, queue: 1, ..limits() }).await;
    let wait = || rig.call("call", json!({"action": "other.wait"}));
    let release = async {
        rig.until_waiting(2).await;
        while rig.pool.stats().waiting < 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(kind(wait().await), "QUEUE_FULL");
        rig.mesh.go_on.notify_waiters();
        rig.until_waiting(3).await;
        rig.mesh.go_on.notify_waiters();
    };
    let (first, second, third, ()) = tokio::join!(wait(), wait(), wait(), release);
    assert!([first, second, third].iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn what_runs_beside_the_calls_has_its_own_context_and_its_own_fuel() {
    let rig = rig_with(limits(), json!({"background": "tick"})).await;
    while rig.event_names().len() < 3 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.event_names().first().map(String::as_str), Some("tick"));
    let rig = rig_with(Limits { fuel: 5_000_000, ..limits() }, json!({"background": "spin"})).await;
    while rig.pool.stats().failed_instances < 2 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_of_the_services_own_context_is_a_root() {
    let rig = rig(limits()).await;
    rig.call("own_call", json!({"action": "other.absent"})).await.unwrap();
    let options = rig.mesh.last_options.lock().clone().unwrap();
    assert!(options.parent.is_none());
    assert_eq!(options.caller.as_deref(), Some("probe"));
}

#[tokio::test(start_paused = true)]
async fn draining_serves_what_runs_and_says_goodbye() {
    let setup =
        Setup { guest: Guest::Asynchronous, limits: limits(), lifecycle: true, ..Setup::default() };
    let rig = Rig::new(setup).await;
    let (served, ()) = tokio::join!(rig.call("sleep", json!({"n": 500})), async {
        while rig.pool.stats().running == 0 {
            tokio::task::yield_now().await;
        }
        rig.pool.drain(Duration::from_secs(5)).await;
    });
    assert_eq!(served, Ok(Value::Null));
    assert_eq!(rig.event_names(), ["probe.started", "probe.stopped"]);
}

#[tokio::test]
async fn a_plain_component_cannot_be_shared() {
    let setup = Setup { limits: limits(), ..Setup::default() };
    let error = Rig::try_new(setup).await.err().unwrap();
    assert_eq!(error.kind(), "MODE_NOT_POSSIBLE");
    assert!(error.message().contains("service-async"), "{error}");
}

/// A node with the guest `lobby`, which is made with the SDK.
async fn lobby() -> Host {
    let options = BrokerOptions { node_id: Some("node-1".into()), ..BrokerOptions::default() };
    let host = Host::start_on(options, tempfile::tempdir().unwrap()).await;
    host.put("lobby", "lobby.wasm");
    host.service("lobby", |row| row["available"] == true).await;
    host
}

#[tokio::test]
async fn a_service_of_the_sdk_shares_its_state_among_calls_that_wait_for_each_other() {
    let host = lobby().await;
    let party = json!({"size": 3});
    let join = || host.call("lobby.join", &party);
    let (first, second, third) = tokio::join!(join(), join(), join());
    assert_eq!([first, second, third], [Ok(json!(3)), Ok(json!(3)), Ok(json!(3))]);
    let error = host.call("lobby.leave", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "NOT_NOW");
    assert_eq!(host.call("lobby.ask_twice", &json!({})).await, Ok(json!([3, 3])));
}

#[tokio::test]
async fn a_service_of_the_sdk_calls_itself_and_hears_its_own_events_while_it_waits() {
    let host = lobby().await;
    let brought = host.call("lobby.bring", &json!({"size": 5})).await;
    assert_eq!(brought, Ok(json!([5, 5, 5, 5, 5])));
    let present = async || host.call("lobby.present", &json!({})).await.unwrap();
    wait::for_result("the event", async { while present().await != json!(0) {} }).await;
}
