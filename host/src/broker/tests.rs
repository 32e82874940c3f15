//! Rules of calls and events on one node, with native services and a paused clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::ServiceBroker;
use crate::config::BrokerOptions;
use crate::context::{CallItem, CallOptions, Context, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::payload::{Object, Payload};
use crate::service::LocalService;

mod clock_jumps;
mod fault_tests;
mod services;
mod stream_tests;

fn broker(change: impl FnOnce(&mut BrokerOptions)) -> ServiceBroker {
    let mut options = BrokerOptions { node_id: Some("me".into()), ..BrokerOptions::default() };
    change(&mut options);
    ServiceBroker::new(options).unwrap()
}

fn action<F, Fut>(work: F) -> Handler
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    Arc::new(move |ctx| Box::pin(work(ctx)))
}

fn json(value: &Value) -> Payload {
    Payload::from_value(value).unwrap()
}

fn object(value: &Value) -> Object {
    Object::from_value(value).unwrap()
}

/// A service `t` whose actions show their context, sleep, fail, and call on.
async fn with_service(broker: &ServiceBroker, version: u32) {
    let caller = broker.caller();
    let nest = action(move |ctx| {
        let caller = caller.upgrade().unwrap();
        async move {
            let params: Value = ctx.params.parse().unwrap();
            let target = params["to"].as_str().unwrap_or("t.show").to_owned();
            let timeout = params["timeout"].as_u64().map(Duration::from_millis);
            let options = CallOptions {
                parent: Some(ctx.clone()),
                timeout,
                meta: Some(object(&json!({"nested": true}))),
                ..CallOptions::default()
            };
            let outcome = caller.call(&target, Payload::Absent, options).await;
            ctx.merge_meta(&object(&json!({"after": true})));
            outcome
        }
    });
    let show = action(|ctx| async move {
        ctx.merge_meta(&object(&json!({"seen": ctx.level})));
        Ok(json(
            &json!({"level": ctx.level, "caller": ctx.caller.as_deref(), "params": ctx.params.parse::<Value>().unwrap(),
            "sameChain": ctx.request_id != ctx.id, "meta": ctx.meta().to_map(), "headers": ctx.headers.to_map()}),
        ))
    });
    let sleep = action(|_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Payload::null())
    });
    let fail = action(|ctx| async move {
        ctx.merge_meta(&object(&json!({"failed": true})));
        Err(MoleculerError::client(418, "TEAPOT", "short and stout"))
    });
    let flaky_count = Mutex::new(0);
    let flaky = action(move |_| {
        let mut count = flaky_count.lock();
        *count += 1;
        let outcome = if *count < 3 {
            Err(MoleculerError::server("BUSY", "busy"))
        } else {
            Ok(json(&json!(*count)))
        };
        async move { outcome }
    });
    let which = action(move |_| async move { Ok(json(&json!(version))) });
    let schema = json!({"name": "t", "actions": {"nest": {}, "show": {}, "sleep": {}, "fail": {}, "flaky": {},
        "which": {}, "quick": {"timeout": 100}, "hidden": {"visibility": "private"}}});
    let handlers = vec![
        ("nest", nest),
        ("show", show),
        ("sleep", Arc::clone(&sleep)),
        ("fail", fail),
        ("flaky", flaky),
        ("which", Arc::clone(&which)),
        ("quick", sleep),
        ("hidden", which),
    ];
    broker.add_service(LocalService::native(&schema, handlers, Vec::new()).unwrap()).await.unwrap();
}

async fn call(
    broker: &ServiceBroker,
    action: &str,
    params: Value,
    options: CallOptions,
) -> Result<Value, MoleculerError> {
    broker.call(action, json(&params), options).await.map(|payload| payload.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_is_a_child_and_meta_flows_both_ways() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let root = crate::context::ContextBuilder::new("root".into(), "me".into()).build();
    let options = CallOptions {
        parent: Some(root.clone()),
        meta: Some(object(&json!({"user": 1}))),
        ..CallOptions::default()
    };
    let shown = call(&broker, "t.nest", json!({}), options).await.unwrap();
    assert_eq!(
        shown,
        json!({"level": 3, "caller": "t", "params": {}, "sameChain": true,
        "meta": {"user": 1, "nested": true, "seen": 3}, "headers": {}})
    );
    assert_eq!(
        Value::Object(root.meta().to_map()),
        json!({"user": 1, "nested": true, "seen": 3, "after": true})
    );
}

#[tokio::test(start_paused = true)]
async fn meta_comes_back_from_a_failed_call_too() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let root = crate::context::ContextBuilder::new("root".into(), "me".into()).build();
    let options = CallOptions { parent: Some(root.clone()), ..CallOptions::default() };
    assert_eq!(call(&broker, "t.fail", json!({}), options).await.unwrap_err().code(), 418);
    assert_eq!(root.meta().get("failed"), Some("true"));
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_is_the_calls_then_the_actions_then_the_brokers() {
    let broker = broker(|options| options.request_timeout = Duration::from_millis(500));
    with_service(&broker, 1).await;
    let with = |ms: Option<u64>| CallOptions {
        timeout: ms.map(Duration::from_millis),
        ..CallOptions::default()
    };
    let start = crate::clock::now();
    assert_eq!(
        call(&broker, "t.sleep", json!({}), with(None)).await.unwrap_err().kind(),
        "REQUEST_TIMEOUT"
    );
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    let start = crate::clock::now();
    assert_eq!(call(&broker, "t.quick", json!({}), with(None)).await.unwrap_err().code(), 504);
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    assert!(call(&broker, "t.quick", json!({}), with(Some(1_500))).await.is_ok());
    assert!(call(&broker, "t.sleep", json!({}), with(Some(0))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_gets_what_its_parent_has_left() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let start = crate::clock::now();
    let options =
        CallOptions { timeout: Some(Duration::from_millis(300)), ..CallOptions::default() };
    let params = json!({"to": "t.sleep", "timeout": 10_000});
    assert_eq!(
        call(&broker, "t.nest", params, options).await.unwrap_err().kind(),
        "REQUEST_TIMEOUT"
    );
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    let late = crate::context::ContextBuilder::new("root".into(), "me".into()).build();
    late.start_deadline(crate::clock::now(), Duration::ZERO);
    let options = CallOptions { parent: Some(late), ..CallOptions::default() };
    assert_eq!(call(&broker, "t.show", json!({}), options).await.unwrap_err().code(), 514);
}

#[tokio::test(start_paused = true)]
async fn the_length_of_a_chain_is_limited() {
    let broker = broker(|options| options.max_call_level = 1);
    with_service(&broker, 1).await;
    assert!(call(&broker, "t.show", json!({}), CallOptions::default()).await.is_ok());
    let error = call(&broker, "t.nest", json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), "MAX_CALL_LEVEL");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_offers_is_not_found() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let on = |node: &str| CallOptions { node_id: Some(node.into()), ..CallOptions::default() };
    for (action, options, message) in [
        ("x.y", CallOptions::default(), "Service 'x.y' is not found."),
        ("t.hidden", CallOptions::default(), "Service 't.hidden' is not found."),
        ("t.show", on("other"), "Service 't.show' is not found on 'other' node."),
    ] {
        let error = call(&broker, action, json!({}), options).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), ("SERVICE_NOT_FOUND", message));
    }
    assert!(call(&broker, "t.show", json!({}), on("me")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retryable_error_is_retried_and_a_fallback_used_at_the_end() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let options = |retries| CallOptions { retries: Some(retries), ..CallOptions::default() };
    assert_eq!(call(&broker, "t.flaky", json!({}), options(1)).await.unwrap_err().kind(), "BUSY");
    assert_eq!(call(&broker, "t.flaky", json!({}), options(1)).await.unwrap(), json!(3));
    let fallback =
        CallOptions { fallback_response: Some(json(&json!("plan b"))), ..CallOptions::default() };
    assert_eq!(
        call(&broker, "t.fail", json!({}), fallback.clone()).await.unwrap(),
        json!("plan b")
    );
    assert!(call(&broker, "x.y", json!({}), fallback).await.is_err());
    // Any value counts, also those that JavaScript takes for none.
    for value in [json!(0), json!(false), json!(null), json!("")] {
        let fallback_response = Some(json(&value));
        let options = CallOptions { fallback_response, ..CallOptions::default() };
        assert_eq!(call(&broker, "t.fail", json!({}), options).await.unwrap(), value);
    }
}

#[tokio::test(start_paused = true)]
async fn several_calls_end_with_the_first_error_or_with_every_outcome() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let item = |action: &str| CallItem {
        action: action.into(),
        params: Payload::Absent,
        options: CallOptions::default(),
    };
    let results = broker.mcall(vec![item("t.which"), item("t.which")]).await.unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(broker.mcall(vec![item("t.which"), item("t.fail")]).await.unwrap_err().code(), 418);
    let outcomes = broker.mcall_settled(vec![item("t.which"), item("t.fail")]).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_err());
}

/// A service with event handlers that write down what they get.
async fn listener(
    broker: &ServiceBroker,
    name: &str,
    events: &Value,
    seen: &Arc<Mutex<Vec<String>>>,
) {
    let keys: HashMap<String, Value> = serde_json::from_value(events.clone()).unwrap();
    let handlers = keys.keys().map(|key| {
        let (seen, name, pattern) = (Arc::clone(seen), name.to_owned(), key.clone());
        let handler: EventHandler = Arc::new(move |ctx| {
            seen.lock().push(format!("{name}/{pattern}:{}", ctx.name));
            Box::pin(async move {
                match ctx.params.parse::<Value>() {
                    Ok(Value::String(_)) => Err(MoleculerError::internal("no")),
                    _ => Ok(()),
                }
            })
        });
        (key.as_str(), handler)
    });
    let schema = json!({"name": name, "events": events});
    let service = LocalService::native(&schema, Vec::new(), handlers.collect()).unwrap();
    broker.add_service(service).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_one_handler_per_group_and_a_broadcast_all() {
    let broker = broker(|_| {});
    let seen = Arc::default();
    listener(&broker, "a", &json!({"user.*": {"group": "g"}}), &seen).await;
    listener(&broker, "b", &json!({"user.*": {"group": "g"}}), &seen).await;
    listener(&broker, "c", &json!({"user.*": {}}), &seen).await;
    let wait = || EmitOptions { throw_error: true, ..EmitOptions::default() };
    let take = || {
        let mut names: Vec<String> = std::mem::take(&mut *seen.lock());
        names.sort();
        names.join(" ")
    };
    broker.emit("user.created", Payload::null(), wait()).await.unwrap();
    assert_eq!(take(), "a/user.*:user.created c/user.*:user.created");
    broker.emit("user.created", Payload::null(), wait()).await.unwrap();
    assert_eq!(take(), "b/user.*:user.created c/user.*:user.created");
    let only = EmitOptions { groups: vec!["c".into()], ..wait() };
    broker.emit("user.x", Payload::null(), only.clone()).await.unwrap();
    assert_eq!(take(), "c/user.*:user.x");
    broker.broadcast("user.x", Payload::null(), wait()).await.unwrap();
    assert_eq!(take(), "a/user.*:user.x b/user.*:user.x c/user.*:user.x");
    broker.broadcast_local("user.x", Payload::null(), only).await.unwrap();
    assert_eq!(take(), "c/user.*:user.x");
    assert!(broker.emit("user.x", json(&json!("fail")), wait()).await.is_err());
    assert!(broker.emit("user.x", json(&json!("fail")), EmitOptions::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_service_finishes_its_calls_and_new_calls_go_to_the_new_one() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    let running = broker.call("t.sleep", Payload::Absent, CallOptions::default());
    let chosen = broker.call("t.which", Payload::Absent, CallOptions::default());
    with_service(&broker, 2).await;
    assert_eq!(
        call(&broker, "t.which", json!({}), CallOptions::default()).await.unwrap(),
        json!(2)
    );
    assert_eq!(chosen.await.unwrap(), json(&json!(1)));
    assert!(running.await.is_ok());
    assert!(broker.remove_service(&"t".into()).await);
    assert!(!broker.remove_service(&"t".into()).await);
    assert_eq!(
        call(&broker, "t.which", json!({}), CallOptions::default()).await.unwrap_err().kind(),
        "SERVICE_NOT_FOUND"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_waits_for_its_dependencies() {
    let broker = broker(|_| {});
    let schema = json!({"name": "needy", "dependencies": [{"name": "t", "version": [7, 8]}], "settings": {"$dependencyTimeout": 1000}});
    let needy = || LocalService::native(&schema, Vec::new(), Vec::new()).unwrap();
    let error = broker.add_service(needy()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        ("WAITFOR_SERVICES", "Services waiting is timed out: v7.t or v8.t")
    );
    let dependency =
        LocalService::native(&json!({"name": "t", "version": 8}), Vec::new(), Vec::new()).unwrap();
    let (waited, added) = tokio::join!(broker.add_service(needy()), broker.add_service(dependency));
    assert!(waited.is_ok() && added.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_running_calls() {
    let broker = broker(|_| {});
    with_service(&broker, 1).await;
    broker.start().await.unwrap();
    let running = broker.call("t.sleep", Payload::Absent, CallOptions::default());
    let (outcome, ()) = tokio::join!(running, broker.stop());
    assert!(outcome.is_ok());
    assert_eq!(broker.running_contexts(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_node_tells_about_itself() {
    let broker = broker(|_| {});
    broker.start().await.unwrap();
    with_service(&broker, 1).await;
    let services = call(
        &broker,
        "$node.services",
        json!({"skipInternal": true, "withActions": true}),
        CallOptions::default(),
    )
    .await
    .unwrap();
    assert_eq!(services[0]["fullName"], "t");
    assert_eq!(services[0]["nodes"], json!(["me"]));
    assert_eq!(services[0]["actions"]["t.quick"]["timeout"], 100);
    assert!(services[0]["actions"].get("t.hidden").is_none());
    let nodes = call(&broker, "$node.list", json!({}), CallOptions::default()).await.unwrap();
    assert_eq!((nodes[0]["id"].as_str(), nodes[0]["local"].as_bool()), (Some("me"), Some(true)));
    let actions =
        call(&broker, "$node.actions", json!({"withEndpoints": true}), CallOptions::default())
            .await
            .unwrap();
    assert!(
        actions
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["name"] == "t.show" && row["hasLocal"] == true)
    );
    for action in ["$node.health", "$node.options", "$node.events"] {
        assert!(
            call(&broker, action, json!(null), CallOptions::default()).await.is_ok(),
            "{action}"
        );
    }
}

#[tokio::test]
async fn a_node_id_that_no_transporter_can_use_is_refused() {
    let options = BrokerOptions { node_id: Some("a b".into()), ..BrokerOptions::default() };
    assert!(ServiceBroker::new(options).is_err());
}
