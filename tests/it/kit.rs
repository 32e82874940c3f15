//! What a service can do through the Rust SDK, on a real component in a whole node.

use isomer_host::config::BrokerOptions;
use isomer_host::context::{CallOptions, ContextBuilder};
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::host::Host;
use tests::{broker, wait};

async fn kit() -> Host {
    let options = BrokerOptions {
        node_id: Some("kit-node".into()),
        namespace: "kits".into(),
        ..BrokerOptions::default()
    };
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put("kit", folder.path(), "kit.wasm");
    // One instance, so that what it recorded can be asked for.
    let sidecar = "[instances]\nmax = 1\n[settings]\nsize = 6\n[env]\nREGION = \"eu\"\n";
    std::fs::write(folder.path().join("kit.toml"), sidecar).unwrap();
    Host::start_on(options, folder).await
}

#[tokio::test]
async fn a_guest_sees_its_context_settings_and_granted_environment() {
    let host = kit().await;
    let seen = host.call("kit.context", &json!({})).await.unwrap();
    assert_eq!(seen["name"], "kit.context");
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(1), &Value::Null));
    assert_eq!((&seen["nodeID"], &seen["localNodeID"]), (&json!("kit-node"), &json!("kit-node")));
    assert_eq!((&seen["namespace"], &seen["id"]), (&json!("kits"), &seen["requestID"]));
    assert!(seen["remainingTime"].as_u64().unwrap() <= 30_000, "the host's own limit is seen");
    let settings = host.call("kit.settings", &json!({})).await.unwrap();
    assert_eq!(settings, json!({"color": "red", "size": 6}));
    assert_eq!(host.call("kit.env", &json!({"text": "REGION"})).await.unwrap(), "eu");
    assert_eq!(host.call("kit.env", &json!({"text": "PATH"})).await.unwrap(), Value::Null);
}

#[tokio::test]
async fn meta_flows_both_ways_also_with_an_error() {
    let host = kit().await;
    for (action, ok) in [("kit.setMeta", true), ("kit.setMetaAndFail", false)] {
        let root = ContextBuilder::new("root".into(), "kit-node".into()).build();
        let options = CallOptions {
            parent: Some(root.clone()),
            meta: Some(broker::object(&json!({"user": 1}))),
            ..CallOptions::default()
        };
        let outcome = broker::call(&host.broker, action, &json!({"added": [2]}), options).await;
        assert_eq!(outcome.is_ok(), ok, "{outcome:?}");
        assert_eq!(Value::Object(root.meta().to_map()), json!({"user": 1, "added": [2]}));
    }
}

#[tokio::test]
async fn an_error_of_a_guest_keeps_every_field() {
    let host = kit().await;
    let error = json!({"name": "OddError", "message": "m", "code": 409, "type": "ODD",
        "retryable": true, "data": {"a": [null, 1]}});
    let seen = host.call("kit.fail", &error).await.unwrap_err();
    let mut wire = seen.to_wire("kit-node");
    let wire = wire.as_object_mut().unwrap();
    wire.remove("stack");
    wire.remove("nodeID");
    assert_eq!(Value::Object(wire.clone()), error);
}

#[tokio::test]
async fn payloads_of_every_kind_cross() {
    let host = kit().await;
    let call = |action: &'static str, params: Payload| {
        host.broker.call(action, params, CallOptions::default())
    };
    for value in
        [json!(null), json!(0.1), json!("ü\u{1f600}\u{0}"), json!([[], {}]), json!({"k": 1})]
    {
        assert_eq!(host.call("kit.echo", &value).await.unwrap(), value);
    }
    let bytes = Payload::Bytes(bytes::Bytes::from_static(&[1, 2, 255]));
    assert_eq!(call("kit.echo", bytes.clone()).await.unwrap(), bytes);
    assert_eq!(call("kit.sum", bytes).await.unwrap(), broker::json(&json!(258)));
    assert_eq!(call("kit.absent", Payload::Absent).await.unwrap(), Payload::Absent);
    assert_eq!(call("kit.null", Payload::Absent).await.unwrap(), Payload::null());
    // Omitted params are an empty object.
    assert_eq!(call("kit.kind", Payload::Absent).await.unwrap(), broker::json(&json!("json")));
    let error = host.call("kit.bytes", &json!({"n": "three"})).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (422, "VALIDATION_ERROR"));
}

#[tokio::test]
async fn calls_are_made_one_by_one_at_once_and_in_bulk() {
    let host = kit().await;
    host.put("math", "math.wasm");
    host.service("math", |row| row["available"] == true).await;
    let add = json!({"action": "math.add", "params": {"a": 1, "b": 2}});
    let div = json!({"action": "math.div", "params": {"a": 1, "b": 0}});
    assert_eq!(host.call("kit.call", &add).await.unwrap().as_f64(), Some(3.0));
    assert_eq!(host.call("kit.callPlain", &add).await.unwrap().as_f64(), Some(3.0));
    let error = host.call("kit.call", &div).await.unwrap_err();
    assert_eq!(error.kind(), "DIVISION_BY_ZERO");
    let results = host.call("kit.parallel", &json!({"calls": [add, div, add]})).await.unwrap();
    assert_eq!(results[0]["value"].as_f64(), Some(3.0));
    assert_eq!(results[1]["error"]["type"], "DIVISION_BY_ZERO");
    assert_eq!(results[2]["value"].as_f64(), Some(3.0));
    let list = host.call("kit.mcall", &json!({"calls": [add, add]})).await.unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let map = json!({"calls": {"good": add, "bad": div}, "settled": true});
    let settled = host.call("kit.mcall", &map).await.unwrap();
    assert_eq!(settled["good"]["status"], "fulfilled");
    assert_eq!(settled["bad"]["reason"]["type"], "DIVISION_BY_ZERO");
    let failed = host.call("kit.mcall", &json!({"calls": [add, div]})).await.unwrap_err();
    assert_eq!(failed.kind(), "DIVISION_BY_ZERO");
    let unknown = json!({"action": "math.add", "options": {"timeuot": 5}});
    let error = host.call("kit.call", &unknown).await.unwrap_err();
    assert!(error.message().contains("timeuot"), "{error}");
}

#[tokio::test]
async fn events_reach_handlers_with_their_context() {
    let host = kit().await;
    for (kind, kind_seen) in
        [("emit", "emit"), ("broadcast", "broadcast"), ("broadcastLocal", "broadcastLocal")]
    {
        broker::broadcast(&host.broker, "other.event", &json!({}), &[]).await;
        let event = json!({"event": "kit.happened", "data": {"n": 1}, "kind": kind});
        host.call("kit.emit", &event).await.unwrap();
        let seen = wait::until("the event", || async {
            let events = host.call("kit.events", &json!({})).await.unwrap();
            events.as_array().unwrap().first().cloned()
        })
        .await;
        assert_eq!(seen["data"], json!({"n": 1}));
        assert_eq!(seen["context"]["name"], "kit.happened");
        assert_eq!(seen["context"]["eventType"], kind_seen);
        assert_eq!(seen["context"]["caller"], "kit");
    }
    let asked = json!({"event": "failing.event", "options": {"throwError": true}});
    // With one instance the handler would wait for the action that waits for it.
    let error = host.call("kit.emit", &asked).await.unwrap_err();
    assert_eq!(error.kind(), "SELF_DEADLOCK");
}

#[tokio::test]
async fn visibility_limits_and_custom_keys_of_actions_hold() {
    let host = kit().await;
    let error = host.call("kit.secret", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_NOT_FOUND");
    assert!(host.call("kit.inner", &json!({})).await.is_ok(), "protected is for this node");
    assert!(host.call("kit.narrow", &json!({"n": 100})).await.is_ok());
    let error = host.call("kit.narrow", &json!({"n": 1_000_000})).await.unwrap_err();
    assert_eq!(error.kind(), "FUEL_EXHAUSTED");
    assert!(host.call("kit.spin", &json!({"n": 1_000_000})).await.is_ok(), "others have more");
    let services = host.call("$node.services", &json!({"withActions": true})).await.unwrap();
    let row = services.as_array().unwrap().iter().find(|row| row["name"] == "kit").unwrap();
    assert_eq!(row["actions"]["kit.narrow"]["x-custom"], json!({"deep": [1, null]}));
    assert_eq!(row["metadata"], json!({"kind": "test"}));
    assert!(row["actions"].get("kit.secret").is_none());
}

#[tokio::test]
async fn state_lives_as_long_as_the_instance() {
    let host = kit().await;
    for n in 1..4 {
        let seen = host.call("kit.count", &json!({})).await.unwrap();
        assert_eq!(seen, json!({"count": n, "started": 1}));
    }
    let error = host.call("kit.stuck", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "WAITS_FOR_NOTHING");
    let missing = json!({"services": ["nobody"], "timeout": 10});
    assert_eq!(host.call("kit.waitFor", &missing).await.unwrap_err().kind(), "WAITFOR_SERVICES");
    assert!(host.call("kit.waitFor", &json!({"services": ["kit", "$node"]})).await.is_ok());
}
