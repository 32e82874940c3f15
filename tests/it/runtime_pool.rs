//! The life of instances: reuse, retirement, lifecycle functions, draining.

use std::time::Duration;

use isomer_host::config::Limits;
use isomer_host::config::limits::{Instances, Mode};
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::rig::{Rig, Setup, context};

fn instances(change: impl FnOnce(&mut Instances)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.instances);
    limits
}

async fn rig(limits: Limits, lifecycle: bool) -> Rig {
    Rig::new(Setup { limits, lifecycle, ..Setup::default() }).await
}

async fn count(rig: &Rig) -> Value {
    rig.call("count", json!({})).await.unwrap()
}

#[tokio::test]
async fn a_warm_instance_is_used_again_and_keeps_its_state() {
    let rig = rig(Limits::default(), false).await;
    assert_eq!([count(&rig).await, count(&rig).await], [json!(1), json!(2)]);
    assert_eq!(rig.pool.stats().made_instances, 1);
}

#[tokio::test]
async fn fresh_mode_makes_a_new_instance_for_every_call() {
    let rig = rig(Limits { mode: Some(Mode::Fresh), ..Limits::default() }, true).await;
    assert_eq!([count(&rig).await, count(&rig).await], [json!(1), json!(1)]);
    rig.pool.drain(Duration::from_secs(1)).await;
    assert_eq!(rig.pool.stats().idle, 0);
    let names = rig.event_names();
    assert_eq!(names.iter().filter(|name| *name == "probe.started").count(), 3);
    assert_eq!(names.iter().filter(|name| *name == "probe.stopped").count(), 3);
}

#[tokio::test]
async fn an_instance_is_retired_after_so_many_calls() {
    let rig = rig(instances(|instances| instances.reuse = 2), false).await;
    let counts = [count(&rig).await, count(&rig).await, count(&rig).await];
    assert_eq!(counts, [json!(1), json!(2), json!(1)]);
}

#[tokio::test]
async fn an_instance_with_little_memory_left_is_retired() {
    let rig = rig(Limits { memory: 8 << 20, ..Limits::default() }, false).await;
    rig.call("grow", json!({"n": 6 << 20})).await.unwrap();
    assert_eq!(rig.pool.stats().idle, 0);
    assert_eq!(rig.pool.stats().failed_instances, 0);
    assert_eq!(count(&rig).await, json!(1));
}

#[tokio::test(start_paused = true)]
async fn surplus_instances_are_retired_when_they_have_been_idle() {
    let rig = rig(Limits::default(), true).await;
    let release = async {
        rig.until_waiting(3).await;
        rig.mesh.go_on.notify_waiters();
    };
    let wait = || rig.call("call", json!({"action": "other.wait"}));
    let (a, b, c, ()) = tokio::join!(wait(), wait(), wait(), release);
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(rig.pool.stats().idle, 3);
    tokio::time::advance(Duration::from_secs(61)).await;
    while rig.event_names().iter().filter(|name| *name == "probe.stopped").count() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.pool.stats().idle, 1);
}

#[tokio::test]
async fn started_runs_in_every_new_instance_before_its_first_call() {
    let rig = rig(Limits::default(), true).await;
    assert_eq!(rig.event_names(), ["probe.started"]);
    rig.call("panic", json!({})).await.unwrap_err();
    assert_eq!(count(&rig).await, json!(1));
    assert_eq!(rig.event_names(), ["probe.started", "probe.started"]);
}

#[tokio::test]
async fn a_pool_whose_started_fails_does_not_start() {
    let check = async |how: &str, kind: &str| {
        let limits = Limits { fuel: 10_000_000, ..Limits::default() };
        let settings = json!({"started": how});
        let setup = Setup { limits, settings, lifecycle: true, ..Setup::default() };
        let error = Rig::try_new(setup).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    };
    check("fail", "").await;
    check("trap", "SERVICE_TRAPPED").await;
    check("spin", "FUEL_EXHAUSTED").await;
}

#[tokio::test(start_paused = true)]
async fn stopped_has_a_limited_time_and_its_failure_hurts_nobody() {
    for how in ["fail", "trap", "wait"] {
        let settings = json!({"stopped": how});
        let rig = Rig::new(Setup { settings, lifecycle: true, ..Setup::default() }).await;
        let start = tokio::time::Instant::now();
        rig.pool.drain(Duration::from_secs(1)).await;
        assert!(start.elapsed() <= Duration::from_secs(5), "{how}");
        assert_eq!(rig.pool.stats().idle, 0);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_instance_with_it() {
    let rig = rig(Limits::default(), false).await;
    tokio::select! {
        _ = rig.call("call", json!({"action": "other.wait"})) => panic!("it must wait"),
        () = rig.until_waiting(1) => {}
    }
    let stats = rig.pool.stats();
    assert_eq!((stats.failed_instances, stats.running, stats.idle), (1, 0, 0));
    assert_eq!(count(&rig).await, json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_waits_for_its_own_instance_fails_at_once() {
    let rig = rig(instances(|instances| instances.max = 2), false).await;
    let inner = json!({"action": "probe.echo"});
    let twice = json!({"action": "probe.call", "params": inner});
    rig.call("call", inner.clone()).await.unwrap();
    let error = rig.call("call", twice).await.unwrap_err();
    assert_eq!(error.kind(), "SELF_DEADLOCK");
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_calls_and_serves_late_ones() {
    let rig = rig(Limits::default(), true).await;
    let call = rig.call("call", json!({"action": "other.wait"}));
    let drain = async {
        rig.until_waiting(1).await;
        let late = async {
            tokio::task::yield_now().await;
            let outcome = rig.call_ctx("echo", context("echo", Payload::Absent).build()).await;
            rig.mesh.go_on.notify_waiters();
            outcome
        };
        tokio::join!(rig.pool.drain(Duration::from_secs(5)), late).1
    };
    let (first, late) = tokio::join!(call, drain);
    assert_eq!((first, late), (Ok(Value::Null), Ok(Payload::Absent)));
    let stopped = rig.event_names().iter().filter(|name| *name == "probe.stopped").count();
    assert_eq!(stopped, 2);
    assert_eq!(rig.pool.stats().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_outlast_the_drain_are_cut_off() {
    let rig = rig(Limits::default(), false).await;
    let drain = async {
        rig.until_waiting(1).await;
        rig.pool.drain(Duration::from_secs(5)).await;
    };
    let (cut, ()) = tokio::join!(rig.call("call", json!({"action": "other.wait"})), drain);
    let cut = cut.unwrap_err();
    assert_eq!((cut.kind(), cut.retryable()), ("REQUEST_REJECTED", true));
    let late = rig.call("echo", json!({})).await.unwrap_err();
    assert_eq!(late.kind(), "SERVICE_NOT_AVAILABLE");
}
