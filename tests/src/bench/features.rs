//! What the middlewares cost: the same local call with all of them and with none, and a cache hit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isomer_host::config::{
    BrokerOptions, Bulkhead, Cacher, CircuitBreaker, Mode, RetryPolicy, Tracking, Validator,
};
use isomer_host::payload::Payload;
use serde_json::{Value, json};

use crate::bench::Scale;
use crate::bench::local::{GUEST, LocalNode};
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::guests;

/// Everything that can wrap an action is on.
fn all_on() -> BrokerOptions {
    BrokerOptions {
        validator: Validator::default(),
        cacher: Some(Cacher::default()),
        bulkhead: Bulkhead { enabled: true, ..Bulkhead::default() },
        circuit_breaker: CircuitBreaker { enabled: true, ..CircuitBreaker::default() },
        retry_policy: RetryPolicy { enabled: true, ..RetryPolicy::default() },
        tracking: tracking(true),
        ..BrokerOptions::default()
    }
}

fn all_off() -> BrokerOptions {
    BrokerOptions {
        validator: Validator::Off,
        tracking: tracking(false),
        ..BrokerOptions::default()
    }
}

fn tracking(enabled: bool) -> Tracking {
    Tracking { enabled, shutdown_timeout: Duration::from_secs(5) }
}

/// Gives the echo of the guest params to check and a cache.
fn checked_and_cached(schema: &mut Value) {
    schema["actions"]["echo"]["params"] =
        json!({"text": "string|min:1|max:100", "n": "number|integer|min:0", "ok": "boolean"});
    schema["actions"]["echo"]["cache"] = json!(true);
}

/// The 100 bytes of all echo calls with a number of their own, so that no cache has seen them.
fn unseen(counter: &Arc<AtomicU64>) -> impl Fn(u32) -> Payload + Send + 'static {
    let counter = Arc::clone(counter);
    move |_| {
        let n = counter.fetch_add(1, Ordering::Relaxed);
        Payload::Json(format!("{{\"text\":\"{n:069}\",\"n\":12345,\"ok\":true}}").into())
    }
}

/// A warm call with all middlewares beside the same without any, and a hit of the memory cacher.
pub async fn cost(scale: Scale) -> Vec<Row> {
    let file = guests::wasm(GUEST);
    let on = LocalNode::start_with(&file, Mode::Pooled, all_on(), checked_and_cached).await;
    let off = LocalNode::start_with(&file, Mode::Pooled, all_off(), checked_and_cached).await;
    let counter = Arc::new(AtomicU64::new(0));
    let [mut with_all, mut with_none, mut hits] = [const { Sample::new() }; 3];
    for _ in 0..scale.rounds {
        with_none.push(off.sequence_of(scale.slice, unseen(&counter)).await);
        with_all.push(on.sequence_of(scale.slice, unseen(&counter)).await);
        hits.push(on.sequence(scale.slice).await);
    }
    let row = |what: &str, ours, beside, target| Row {
        what: what.into(),
        unit: Unit::Seconds,
        ours,
        beside,
        target: Some(target),
    };
    let everything = "local call with validation, cache miss, bulkhead, breaker, retry, tracking";
    vec![
        row(everything, with_all, Some(("all of them off", with_none)), Target::RatioAtMost(1.5)),
        row("cache hit in memory", hits, None, Target::AtMost(1e-6)),
    ]
}
