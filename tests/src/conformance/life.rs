//! Scenarios: schema, lifecycle, state, replacement under load, and a long life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};

use super::Guest;
use super::node::{ALONE, SERVICE, options};
use crate::{broker, wait};

super::list! { "life":
    "the schema as it is announced" => schema,
    "started and stopped" => lifecycle,
    "a start that fails" => failing_start,
    "state of an instance" => state,
    "a new instance for each call" => fresh,
    "a call from another node" => remote,
    "a swap under load" => swap,
    "5,000 calls in one instance" => long_life,
}

/// What the actions announce, without the limits, which are the node's business.
fn announced() -> Value {
    let params = json!({"id": {"type": "number", "integer": true, "positive": true},
        "name": {"type": "string", "min": 3, "optional": true},
        "tags": {"type": "array", "items": "string", "optional": true}, "$$strict": true});
    json!({"echo": {"x-custom": {"deep": [1, null]}}, "validated": {"params": params},
        "cached": {"cache": {"keys": ["id"], "ttl": 60}}})
}

async fn schema(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let row = node.row().await;
    assert_eq!((&row["name"], &row["fullName"]), (&json!(SERVICE), &json!(SERVICE)));
    assert_eq!(row["settings"], json!({"color": "red", "size": 5}));
    assert_eq!(row["metadata"], json!({"kind": "conformance"}));
    let actions = [
        "echo",
        "kind",
        "nothing",
        "bytes",
        "sum",
        "roundtrip",
        "context",
        "setMeta",
        "setHeaders",
        "log",
        "count",
        "fail",
        "failPlain",
        "trap",
        "call",
        "callAndMeta",
        "parallel",
        "mcall",
        "waitFor",
        "emit",
        "events",
        "validated",
        "cached",
        "cacher",
        "hooked",
        "saved",
        "spin",
        "hoard",
        "readStream",
        "writeStream",
        "sendStream",
        "takeStream",
    ];
    let wanted = announced();
    // What a language cannot do, its guest leaves out.
    let left_out = [("failPlain", "the language's own errors"), ("trap", "a trap")];
    for name in actions {
        let scenario = left_out.iter().find(|(action, _)| *action == name);
        if scenario.is_some_and(|(_, scenario)| guest.language.lack(scenario).is_some()) {
            continue;
        }
        let seen = &row["actions"][format!("{SERVICE}.{name}")];
        assert_eq!(seen["rawName"], name, "{name}: {seen}");
        for (key, value) in wanted[name].as_object().into_iter().flatten() {
            assert_eq!(&seen[key], value, "{name}");
        }
    }
    assert!(row["actions"].get("conformance.secret").is_none(), "private actions are not told");
    let events = &row["events"];
    for pattern in ["conformance.*", "grouped.**", "failing.event"] {
        assert_eq!(events[pattern]["name"], pattern, "{events}");
    }
    assert_eq!(events["grouped.**"]["group"], "conformance-group");
}

async fn lifecycle(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let heard = node.life.at_least(1).await;
    assert_eq!(heard[0]["event"], "life.started");
    assert_eq!(heard[0]["params"], json!({"started": 1}));
    node.get("count", json!({})).await;
    assert!(node.host.broker.remove_service(&SERVICE.into()).await);
    let heard = node.life.at_least(2).await;
    assert_eq!(heard[1]["event"], "life.stopped");
    assert_eq!(heard[1]["params"], json!({"count": 1}));
}

async fn failing_start(guest: Arc<Guest>) {
    let node = guest.node_with("[settings]\nstarted = \"fail\"\n", options()).await;
    assert_eq!(node.host.loaded.in_service, 0);
    assert_eq!(node.error("echo", json!(1)).await.kind(), "SERVICE_NOT_FOUND");
    let row = node.row().await.to_string();
    assert!(row.contains("as the settings ask"), "{row}");
    assert!(node.life.now().is_empty());
}

async fn state(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    for n in 1..4 {
        let seen = node.get("count", json!({})).await;
        assert_eq!(seen, json!({"count": n, "started": 1}));
    }
}

async fn fresh(guest: Arc<Guest>) {
    let node = guest.node("mode = \"fresh\"\n").await;
    for _ in 0..3 {
        let seen = node.get("count", json!({})).await;
        assert_eq!(seen, json!({"count": 1, "started": 1}));
    }
}

async fn remote(guest: Arc<Guest>) {
    // A bus of its own for each run.
    let bus = format!("conformance-{}-{}", guest.language.name, std::process::id());
    let here = broker::on_bus("node-1", &bus);
    let node = guest.node_with("", here).await;
    let other = broker::start(broker::on_bus("node-2", &bus)).await;
    broker::wait_for(&other, &[SERVICE]).await;
    let call = async |action: &str, params: Value| {
        let action = format!("{SERVICE}.{action}");
        broker::call(&other, &action, &params, CallOptions::default()).await
    };
    assert_eq!(call("echo", json!({"ü": [1]})).await.unwrap(), json!({"ü": [1]}));
    let seen = call("context", json!({})).await.unwrap();
    assert_eq!((&seen["nodeID"], &seen["localNodeID"]), (&json!("node-2"), &json!("node-1")));
    let error = call(
        "fail",
        json!({"name": "OddError", "message": "m", "code": 409, "type": "ODD",
        "retryable": true, "data": {"a": 1}}),
    )
    .await
    .unwrap_err();
    let wire = error.to_wire("");
    assert_eq!((error.name(), error.code(), error.kind()), ("OddError", 409, "ODD"));
    assert_eq!((&wire["data"], &wire["nodeID"]), (&json!({"a": 1}), &json!("node-1")));
    drop(node);
}

async fn swap(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (stop, broker) = (Arc::clone(&stop), node.host.broker.clone());
            isomer_host::task::run(async move {
                let (mut n_calls, mut failed) = (0, None);
                while !stop.load(Ordering::Relaxed) && failed.is_none() {
                    let action = format!("{SERVICE}.roundtrip");
                    let params = broker::json(&json!({"value": n_calls}));
                    failed = broker.call(&action, params, CallOptions::default()).await.err();
                    n_calls += 1;
                    tokio::task::yield_now().await;
                }
                (n_calls, failed)
            })
        })
        .collect();
    // With one instance, each version starts once and stops once.
    for swap in 1..4_u8 {
        guest.put(node.host.folder(), swap % 2);
        node.life.at_least(2 * usize::from(swap) + 1).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        let (n_calls, failed) = wait::for_result("the callers", caller).await.unwrap();
        assert!(failed.is_none(), "call {n_calls} failed: {failed:?}");
        assert!(n_calls > 1);
    }
}

async fn long_life(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let text = "x".repeat(1_000);
    let params = broker::json(&json!({"value": text}));
    for n in 0..5_000 {
        let outcome = node.call_raw("roundtrip", params.clone(), CallOptions::default()).await;
        assert!(matches!(outcome, Ok(Payload::Json(_))), "call {n}: {outcome:?}");
    }
    let seen = node.get("count", json!({})).await;
    assert_eq!(seen["started"], 1, "the instance did not live so long");
}
