//! Calls and events of a guest with their options, as the callee sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isomer_host::config::BrokerOptions;
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tests::host::Host;
use tests::{broker, mirror};

/// A node with the guest `kit`, the service `rs`, and an action that fails until its third attempt.
async fn host() -> Host {
    let options = BrokerOptions { node_id: Some("node-1".into()), ..BrokerOptions::default() };
    let host = Host::start(options, &["kit"]).await;
    mirror::add(&host.broker).await;
    let n_calls = Arc::new(AtomicUsize::new(0));
    let third: Handler = Arc::new(move |_| {
        let n = n_calls.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = if n.is_multiple_of(3) {
            Ok(broker::json(&json!(n)))
        } else {
            Err(MoleculerError::server("BUSY", "busy"))
        };
        Box::pin(std::future::ready(outcome))
    });
    let schema = json!({"name": "flaky", "actions": {"third": {}}});
    let service = LocalService::native(&schema, vec![("third", third)], vec![]).unwrap();
    host.broker.add_service(service).await.unwrap();
    host
}

async fn nested(host: &Host, action: &str, options: Value) -> Result<Value, MoleculerError> {
    host.call("kit.call", &json!({"action": action, "options": options})).await
}

#[tokio::test]
async fn the_callee_sees_meta_headers_request_id_and_its_place_in_the_chain() {
    let host = host().await;
    let options = json!({"meta": {"user": {"id": 7}}, "headers": {"h": [1]}, "requestID": "chain-7",
        "timeout": 5000, "tracking": false});
    for action in ["rs.seen", "kit.context"] {
        let seen = nested(&host, action, options.clone()).await.unwrap();
        assert_eq!(seen["meta"], json!({"user": {"id": 7}}));
        assert_eq!((&seen["headers"], &seen["requestID"]), (&json!({"h": [1]}), &json!("chain-7")));
        assert_eq!((&seen["level"], &seen["caller"]), (&json!(2), &json!("kit")));
        assert_eq!(seen["nodeID"], "node-1");
        assert!(seen["parentID"].is_string() && seen["parentID"] != seen["id"], "{seen}");
    }
    let plain = nested(&host, "kit.context", json!({})).await.unwrap();
    assert_eq!((&plain["meta"], &plain["headers"]), (&json!({}), &json!({})));
    assert_eq!(plain["requestID"], plain["parentID"], "the caller is the root of the chain");
}

#[tokio::test]
async fn meta_of_a_call_goes_over_that_of_the_chain() {
    let host = host().await;
    let params =
        json!({"action": "kit.setMeta", "params": {"c": 3}, "options": {"meta": {"b": 2}}});
    let options = isomer_host::context::CallOptions {
        meta: Some(broker::object(&json!({"a": 1, "b": 1}))),
        ..Default::default()
    };
    let seen = broker::call(&host.broker, "kit.callAndMeta", &params, options).await.unwrap();
    assert_eq!(seen["result"], json!({"a": 1, "b": 2}), "what the callee saw");
    assert_eq!(seen["meta"], json!({"a": 1, "b": 2, "c": 3}), "what the caller sees afterwards");
}

#[tokio::test]
async fn retries_have_three_names() {
    let host = host().await;
    for (index, name) in ["retries", "retryCount", "retry"].into_iter().enumerate() {
        let result = nested(&host, "flaky.third", json!({ name: 2 })).await.unwrap();
        assert_eq!(result, json!(3 * (index + 1)), "{name}");
    }
    assert_eq!(nested(&host, "flaky.third", json!({"retry": 0})).await.unwrap_err().kind(), "BUSY");
}

#[tokio::test]
async fn a_node_a_fallback_and_a_time_limit_may_be_named() {
    let host = host().await;
    assert!(nested(&host, "rs.node", json!({"nodeID": "node-1"})).await.is_ok());
    let error = nested(&host, "rs.node", json!({"nodeID": "node-2"})).await.unwrap_err();
    assert_eq!(error.fields().data.as_deref(), Some(r#"{"action":"rs.node","nodeID":"node-2"}"#));
    let instead = json!({"timeout": 20, "fallbackResponse": {"instead": true}});
    assert_eq!(nested(&host, "rs.silent", instead).await.unwrap(), json!({"instead": true}));
    let error = nested(&host, "rs.silent", json!({"timeout": 20})).await.unwrap_err();
    assert_eq!(error.name(), "RequestTimeoutError");
}

/// What only the host may say, or what has no meaning here, is refused by name and not passed over.
#[tokio::test]
async fn options_that_are_not_a_guests_are_refused() {
    let host = host().await;
    for key in ["caller", "parentCtx", "ctx", "parentSpan", "paramsCloning", "stream", "timeOut"] {
        let error = nested(&host, "rs.echo", json!({ key: 1 })).await.unwrap_err();
        assert_eq!(error.name(), "ValidationError", "{key}");
        let message = error.message();
        assert!(
            message.contains(key) && message.contains("known options are timeout"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn several_calls_have_common_options_and_their_own() {
    let host = host().await;
    let echo = |n: u32| json!({"action": "rs.echo", "params": {"n": n}});
    let silent = json!({"action": "rs.silent"});
    let patient =
        json!({"action": "rs.slow", "params": {"ms": 100}, "options": {"timeout": 10_000}});
    let calls =
        json!({"calls": {"a": echo(1), "b": silent, "c": patient}, "settled": true, "timeout": 30});
    let settled = host.call("kit.mcall", &calls).await.unwrap();
    assert_eq!(settled["a"], json!({"status": "fulfilled", "value": {"n": 1}}));
    assert_eq!(settled["b"]["status"], "rejected");
    assert_eq!(settled["b"]["reason"]["name"], "RequestTimeoutError");
    assert_eq!(settled["c"]["status"], "fulfilled", "its own limit is longer: {settled}");
    let list = host.call("kit.mcall", &json!({"calls": [echo(1), echo(2)]})).await.unwrap();
    assert_eq!(list, json!([{"n": 1}, {"n": 2}]));
    let error = host.call("kit.mcall", &json!({"calls": [echo(1), silent], "timeout": 30})).await;
    assert_eq!(error.unwrap_err().name(), "RequestTimeoutError");
}

#[tokio::test]
async fn events_are_for_the_groups_that_are_named() {
    let host = host().await;
    let one = mirror::listen(&host.broker, "one", "order.*", "").await;
    let two = mirror::listen(&host.broker, "two", "order.*", "grouped").await;
    let emit = |kind: &'static str, groups: Value| {
        let event = json!({"event": "order.made", "data": {"groups": groups}, "kind": kind,
            "options": {"groups": groups, "meta": {"m": 1}, "headers": {"h": 1}, "requestID": "chain"}});
        let host = &host;
        async move { host.call("kit.emit", &event).await.unwrap() }
    };
    for kind in ["emit", "broadcast", "broadcastLocal"] {
        emit(kind, json!("one")).await;
        emit(kind, json!(["grouped", "nobody"])).await;
        emit(kind, Value::Null).await;
    }
    let data = |events: Vec<Value>| -> Vec<Value> {
        events.into_iter().map(|event| event["params"]["groups"].clone()).collect()
    };
    let first = one.at_least(6).await;
    assert_eq!((&first[0]["meta"], &first[0]["headers"]), (&json!({"m": 1}), &json!({"h": 1})));
    assert_eq!((&first[0]["requestID"], &first[0]["caller"]), (&json!("chain"), &json!("kit")));
    let thrice = |groups: Value| {
        [&groups, &Value::Null, &groups, &Value::Null, &groups, &Value::Null]
            .map(Clone::clone)
            .to_vec()
    };
    assert_eq!(data(first), thrice(json!("one")));
    assert_eq!(data(two.at_least(6).await), thrice(json!(["grouped", "nobody"])));
}
