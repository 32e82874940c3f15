//! Scenarios: a guest that goes past its limits costs its caller an error, and works on.

use std::sync::Arc;
use std::time::Duration;

use isomer_host::context::CallOptions;
use serde_json::{Value, json};

use super::Guest;
use super::node::Node;
use crate::broker;

super::list! { "limits":
    "the caller's deadline" => deadline,
    "fuel, limited by the action" => fuel,
    "memory" => memory,
    "a trap" => trap,
    "payloads that are too large" => payload,
}

/// The service still works.
async fn works(node: &Node) {
    assert_eq!(node.get("roundtrip", json!({"value": "ü"})).await, json!({"value": "ü"}));
}

async fn deadline(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let options =
        CallOptions { timeout: Some(Duration::from_millis(100)), ..CallOptions::default() };
    let silent = broker::json(&json!({"action": "rs.silent"}));
    let error = node.call_raw("call", silent, options).await.unwrap_err();
    assert_eq!((error.code(), error.kind(), error.retryable()), (504, "REQUEST_TIMEOUT", true));
    works(&node).await;
}

async fn fuel(guest: Arc<Guest>) {
    let node = guest.node("").await;
    assert_eq!(node.get("spin", json!({"n": 1_000})).await.as_f64(), Some(1_000.0));
    let error = node.error("spin", json!({"n": 0})).await;
    assert_eq!((error.code(), error.kind()), (500, "FUEL_EXHAUSTED"));
    assert_eq!(error.to_wire("")["data"]["limit"], 50_000_000);
    works(&node).await;
}

async fn memory(guest: Arc<Guest>) {
    let node = guest.node("[limits]\nmemory = \"96MiB\"\n").await;
    assert_eq!(node.get("hoard", json!({"mib": 4})).await.as_f64(), Some(4.0));
    let error = node.error("hoard", json!({"mib": 200})).await;
    assert_eq!((error.code(), error.kind()), (500, "MEMORY_LIMIT"));
    works(&node).await;
}

async fn trap(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let error = node.error("trap", json!({})).await;
    assert_eq!((error.code(), error.kind()), (500, "SERVICE_TRAPPED"));
    works(&node).await;
}

async fn payload(guest: Arc<Guest>) {
    let node = guest.node("[limits]\npayload = \"64KiB\"\nmeta = \"4KiB\"\n").await;
    let error = node.error("echo", json!("x".repeat(70_000))).await;
    assert_eq!((error.code(), error.kind()), (413, "PAYLOAD_TOO_LARGE"));
    let error = node.error("bytes", json!({"n": 70_000})).await;
    assert_eq!(error.kind(), "PAYLOAD_TOO_LARGE");
    let set = json!({"set": {"much": "x".repeat(5_000)}});
    let (outcome, meta) = node.call_with_meta("setMeta", set, json!({})).await;
    assert_eq!(outcome.unwrap_err().kind(), "PAYLOAD_TOO_LARGE");
    assert_eq!(meta, Value::Object(serde_json::Map::default()));
    works(&node).await;
}
