//! Scenarios: what a handler sees of its context, and what it changes there.

use std::sync::Arc;

use isomer_host::context::CallOptions;
use serde_json::{Value, json};

use super::Guest;
use super::node::{ALONE, SERVICE};
use crate::broker;

super::list! { "context":
    "every field in a call from outside" => fields,
    "every field in a nested call" => nested_fields,
    "meta flows both ways" => meta,
    "meta of an action that fails" => meta_with_error,
    "headers both ways" => headers,
    "settings, overlaid by the operator" => settings,
    "the log" => log,
}

async fn fields(guest: Arc<Guest>) {
    let node = guest.node("[settings]\nsize = 6\n").await;
    let mut seen = node.get("context", json!({})).await;
    let left = seen["remainingTime"].as_f64().unwrap_or_default();
    assert!(left > 0.0 && left <= 30_000.0, "remainingTime is {left}");
    assert_eq!(seen["id"], seen["requestID"], "the first of a chain");
    assert!(seen["id"].as_str().is_some_and(|id| !id.is_empty()));
    for key in ["id", "requestID", "remainingTime"] {
        seen.as_object_mut().unwrap().remove(key);
    }
    let wanted = json!({
        "parentID": null, "caller": null, "level": 1, "nodeID": "node-1",
        "name": "conformance.context", "eventType": null, "eventGroups": [], "meta": {},
        "headers": {}, "settings": {"color": "red", "size": 6}, "localNodeID": "node-1",
        "namespace": "conformance",
    });
    assert_eq!(seen, wanted);
}

async fn nested_fields(guest: Arc<Guest>) {
    let node = guest.node("").await;
    // The guest calls itself, and so sees the context of its own call.
    let params = json!({"action": "conformance.context", "options": {
        "meta": {"b": 2}, "headers": {"h": "x"}, "timeout": 700}});
    let (seen, _) = node.call_with_meta("call", params, json!({"a": 1})).await;
    let seen = seen.unwrap();
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(3), &json!(SERVICE)));
    assert_eq!(seen["meta"], json!({"a": 1, "b": 2}));
    assert_eq!(seen["headers"], json!({"h": "x"}));
    assert!(seen["parentID"].is_string() && seen["parentID"] != seen["requestID"]);
    assert!(seen["remainingTime"].as_f64().is_some_and(|left| left <= 700.0), "{seen}");
}

async fn meta(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let given = json!({"user": {"id": 5}, "kept": true});
    let set = json!({"set": {"user": "Ada", "added": [2]}});
    let (before, after) = node.call_with_meta("setMeta", set, given.clone()).await;
    assert_eq!(before.unwrap(), given);
    assert_eq!(after, json!({"user": "Ada", "kept": true, "added": [2]}));
    // What a callee sets is seen after the call, by the guest and by its caller.
    let params = json!({"action": "rs.meta", "params": {"from": "callee"}});
    let (seen, after) = node.call_with_meta("callAndMeta", params, json!({"a": 1})).await;
    assert_eq!(
        seen.unwrap(),
        json!({"result": true, "error": null,
        "meta": {"a": 1, "from": "callee"}})
    );
    assert_eq!(after, json!({"a": 1, "from": "callee"}));
}

async fn meta_with_error(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let set = json!({"set": {"added": 1}, "fail": true});
    let (outcome, after) = node.call_with_meta("setMeta", set, json!({"a": 1})).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.kind()), (400, "AFTER_META"));
    assert_eq!(after, json!({"a": 1, "added": 1}));
    let params = json!({"action": "rs.metaThenFail"});
    let (seen, _) = node.call_with_meta("callAndMeta", params, json!({})).await;
    let seen = seen.unwrap();
    assert_eq!(seen["meta"], json!({"touched": "before the error"}));
    assert_eq!(seen["error"]["type"], "CONFLICT");
}

async fn headers(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let options = CallOptions {
        headers: Some(broker::object(&json!({"accept": "ü", "n": 1}))),
        ..CallOptions::default()
    };
    let seen = node.call_raw("context", broker::json(&json!({})), options).await.unwrap();
    let seen: Value = seen.parse().unwrap();
    assert_eq!(seen["headers"], json!({"accept": "ü", "n": 1}));
    node.get("setHeaders", json!({"etag": "5", "n": [1]})).await;
    assert_eq!(node.response_headers("setHeaders"), json!({"etag": "5", "n": [1]}));
}

async fn settings(guest: Arc<Guest>) {
    let node = guest.node("").await;
    assert_eq!(
        node.get("context", json!({})).await["settings"],
        json!({"color": "red", "size": 5})
    );
    let node = guest.node("[settings]\ncolor = \"blue\"\nmore = { deep = [1] }\n").await;
    let settings = node.get("context", json!({})).await["settings"].clone();
    assert_eq!(settings, json!({"color": "blue", "size": 5, "more": {"deep": [1]}}));
}

async fn log(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    for level in ["fatal", "error", "warn", "info", "debug", "trace"] {
        let line = json!({"level": level, "message": "ü line", "fields": {"a": [1]}});
        let written = node.get("log", line).await;
        // Not every logger can be asked.
        assert!(written.is_boolean() || written.is_null(), "{level}: {written}");
    }
}
