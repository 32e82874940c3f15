//! Scenarios: streams in all directions.

use std::sync::Arc;

use serde_json::{Value, json};

use isomer_host::payload::Payload;

use super::Guest;
use super::node::Node;
use crate::broker;
use crate::streams::{broken, drain_result, file, value_at, values, with_stream};

super::list! { "streams":
    "bytes from the caller" => read_bytes,
    "values from the caller" => read_values,
    "an answer of bytes" => write_bytes,
    "an answer of values" => write_values,
    "a stream that fails" => failing,
    "values along with a call" => send,
    "a call that is answered with a stream" => take,
    "a stream from the service to itself" => through_itself,
}

async fn read(node: &Node, stream: isomer_host::payload::stream::Stream) -> Value {
    let outcome = node.call_raw("readStream", broker::json(&json!({})), with_stream(stream)).await;
    outcome.unwrap().parse().unwrap()
}

async fn read_bytes(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = read(&node, file(1_000_000, 30_000)).await;
    assert_eq!(seen, json!({"objectMode": false, "bytes": 1_000_000, "values": [], "end": "end"}));
    assert_eq!(node.get("readStream", json!({})).await, Value::Null, "no stream");
}

async fn read_values(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = read(&node, values(100)).await;
    let wanted: Vec<Value> = (0..100).map(value_at).collect();
    assert_eq!(seen, json!({"objectMode": true, "bytes": 0, "values": wanted, "end": "end"}));
}

async fn answer(node: &Node, params: Value) -> Value {
    let options = isomer_host::context::CallOptions::default();
    let outcome = node.call_raw("writeStream", broker::json(&params), options).await.unwrap();
    assert!(matches!(outcome, Payload::Stream(_)), "no stream: {outcome:?}");
    drain_result(outcome).await
}

async fn write_bytes(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = answer(&node, json!({"n": 40, "size": 50_000})).await;
    assert_eq!((&seen["size"], &seen["error"]), (&json!(2_000_000), &Value::Null));
    assert_eq!(seen["hash"], crate::streams::hash(&vec![b'x'; 2_000_000]));
}

async fn write_values(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = answer(&node, json!({"n": 3, "objectMode": true})).await;
    assert_eq!(seen["items"], json!([{"n": 0}, {"n": 1}, {"n": 2}]));
    assert_eq!(seen["error"], Value::Null);
}

async fn failing(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = answer(&node, json!({"n": 2, "size": 10, "fail": true})).await;
    assert_eq!(seen["size"], 20);
    let error = &seen["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!(409), &json!("LATE")));
    assert_eq!(error["message"], "half way");
    // The other way round: the source fails.
    let seen = read(&node, broken(false)).await;
    assert_eq!((&seen["bytes"], &seen["end"]), (&json!(5), &json!("HALF")));
}

async fn send(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = node.get("sendStream", json!({"action": "rs.files.read", "n": 20})).await;
    let wanted: Vec<Value> = (0..20).map(|n| json!({"n": n})).collect();
    assert_eq!((&seen["items"], &seen["error"]), (&json!(wanted), &Value::Null));
}

async fn take(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let take = async |action: &str, params: Value| {
        node.get("takeStream", json!({"action": action, "params": params})).await
    };
    let seen = take("rs.files.file", json!({"size": 500_000})).await;
    assert_eq!(seen, json!({"objectMode": false, "bytes": 500_000, "values": [], "end": "end"}));
    let seen = take("rs.files.values", json!({"count": 2})).await;
    assert_eq!(seen["values"], json!([value_at(0), value_at(1)]));
    let seen = take("rs.files.broken", json!({"objectMode": true})).await;
    assert_eq!((&seen["values"], &seen["end"]), (&json!([{"n": 0}]), &json!("HALF")));
}

async fn through_itself(guest: Arc<Guest>) {
    let node = guest.node("").await;
    // One instance writes what another one reads; in mode `shared` it is the same.
    let params = json!({"action": "conformance.writeStream", "params": {"n": 5, "size": 100_000}});
    let seen = node.get("takeStream", params).await;
    assert_eq!((&seen["bytes"], &seen["end"]), (&json!(500_000), &json!("end")));
}
