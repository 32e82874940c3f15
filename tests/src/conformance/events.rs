//! Scenarios: events, sent by a guest and handled by it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Guest;
use super::node::{ALONE, Node};
use crate::broker;

super::list! { "events":
    "emit, broadcast and broadcastLocal" => sent,
    "an event with its context" => handled,
    "groups" => groups,
    "wildcards" => wildcards,
    "an event without data" => without_data,
    "a handler that fails" => failing,
}

/// The names and data of what was noted.
fn names(events: &[Value]) -> Vec<(&str, &Value)> {
    events
        .iter()
        .map(|event| (event["context"]["name"].as_str().unwrap_or_default(), &event["data"]))
        .collect()
}

async fn sent(guest: Arc<Guest>) {
    let node = guest.node("").await;
    for (number, kind) in ["emit", "broadcast", "broadcastLocal"].into_iter().enumerate() {
        let params = json!({"event": "out.done", "data": {"ü": [kind]}, "kind": kind,
            "options": {"meta": {"m": 1}}});
        node.get("emit", params).await;
        let heard = node.out.at_least(number + 1).await;
        let last = heard.last().unwrap();
        assert_eq!((&last["event"], &last["type"]), (&json!("out.done"), &json!(kind)));
        assert_eq!(last["params"], json!({"ü": [kind]}));
        assert_eq!(last["caller"], "conformance");
        assert_eq!(last["meta"], json!({"m": 1}));
    }
}

async fn handled(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let params = json!({"event": "conformance.happened", "data": {"n": 1}, "kind": "broadcast",
        "options": {"meta": {"m": 1}}});
    node.get("emit", params).await;
    let events = node.events(1).await;
    let seen = &events[0]["context"];
    assert_eq!(events[0]["data"], json!({"n": 1}));
    assert_eq!(events[0]["absent"], false);
    assert_eq!(
        (&seen["name"], &seen["eventType"]),
        (&json!("conformance.happened"), &json!("broadcast"))
    );
    assert_eq!((&seen["caller"], &seen["level"]), (&json!("conformance"), &json!(2)));
    assert_eq!((&seen["nodeID"], &seen["meta"]), (&json!("node-1"), &json!({"m": 1})));
    assert!(seen["parentID"].is_string(), "{seen}");
    assert_eq!(seen["settings"], json!({"color": "red", "size": 5}));
}

async fn groups(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let send = async |event: &str, groups: &[&str]| {
        broker::emit(&node.host.broker, event, &json!(groups), groups).await;
    };
    send("grouped.a", &["conformance"]).await;
    send("grouped.b", &["conformance-group", "other"]).await;
    send("conformance.c", &["conformance-group"]).await;
    send("conformance.d", &["conformance"]).await;
    let events = node.events(2).await;
    let both = [json!(["conformance-group", "other"]), json!(["conformance"])];
    assert_eq!(names(&events), [("conformance.d", &both[1]), ("grouped.b", &both[0])]);
    assert_eq!(events[1]["group"], "conformance-group");
    assert_eq!(events[1]["context"]["eventGroups"], both[0]);
    // The guest's own event, for one group only.
    node.get("emit", json!({"event": "grouped.x.y", "options": {"groups": ["other"]}})).await;
    let params = json!({"event": "grouped.x.z", "options": {"groups": ["conformance-group"]}});
    node.get("emit", params).await;
    assert_eq!(names(&node.events(1).await), [("grouped.x.z", &Value::Null)]);
}

async fn wildcards(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let send = async |event: &str| broker::emit(&node.host.broker, event, &json!(1), &[]).await;
    for event in ["conformance", "conformance.a.b", "conformancex.a", "grouped", "conformance.a"] {
        send(event).await;
    }
    send("grouped.a.b.c").await;
    let one = json!(1);
    assert_eq!(names(&node.events(2).await), [("conformance.a", &one), ("grouped.a.b.c", &one)]);
}

async fn without_data(guest: Arc<Guest>) {
    let node: Node = guest.node(ALONE).await;
    node.get("emit", json!({"event": "conformance.empty"})).await;
    node.get("emit", json!({"event": "conformance.null", "data": null})).await;
    let events = node.events(2).await;
    assert_eq!((&events[0]["data"], &events[0]["absent"]), (&Value::Null, &json!(true)));
    assert_eq!(events[1]["data"], Value::Null);
}

async fn failing(guest: Arc<Guest>) {
    let node = guest.node("").await;
    // Nobody is told, unless the sender asks.
    node.get("emit", json!({"event": "failing.event", "data": 1})).await;
    let asked = json!({"event": "failing.event", "options": {"throwError": true}});
    let error = node.error("emit", asked).await;
    assert_eq!((error.code(), error.kind()), (418, "EVENT_FAILED"));
    assert_eq!(node.get("echo", json!(1)).await, 1);
}
