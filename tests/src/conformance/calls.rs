//! Scenarios: calls that a guest makes, and what the node does around its actions.

use std::sync::Arc;

use isomer_host::error::MoleculerError;
use serde_json::{Value, json};

use super::Guest;
use super::node::{ALONE, GATE};

super::list! { "calls":
    "a nested call" => nested,
    "a callee's error, with every field" => errors_of_callees,
    "calls in flight at once" => parallel,
    "calls at once, some of which fail" => parallel_errors,
    "mcall" => mcall,
    "options of a call" => call_options,
    "a service that calls itself" => recursion,
    "a private action" => private,
    "waiting for services" => wait_for,
    "validation" => validation,
    "a cached action" => cached,
    "the cacher" => cacher,
    "hooks before, after and of errors" => hooks,
    "a fallback" => fallback,
}

async fn nested(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let params = json!({"action": "rs.echo", "params": {"ü": [1, null]}});
    assert_eq!(node.get("call", params).await, json!({"ü": [1, null]}));
    let seen = node.get("call", json!({"action": "rs.seen"})).await;
    assert_eq!((&seen["caller"], &seen["level"]), (&json!("conformance"), &json!(2)));
    assert_eq!(
        seen["parentID"], seen["requestID"],
        "the guest's context is the first of the chain"
    );
    let missing = node.error("call", json!({"action": "nobody.nothing"})).await;
    assert_eq!((missing.code(), missing.kind()), (404, "SERVICE_NOT_FOUND"));
}

async fn errors_of_callees(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let params = json!({"action": "rs.fail", "params": {"className": "OddError", "message": "ü",
        "code": 418, "type": "ODD", "retryable": true, "data": {"a": [null]},
        "extra": {"hint": [1]}}});
    let check = |error: &MoleculerError| {
        assert_eq!((error.name(), error.message(), error.code()), ("OddError", "ü", 418));
        assert_eq!((error.kind(), error.retryable()), ("ODD", true));
        let wire = error.to_wire("elsewhere");
        assert_eq!((&wire["data"], &wire["hint"]), (&json!({"a": [null]}), &json!([1])));
    };
    check(&node.error("call", params.clone()).await);
    let caught = node.get("callAndMeta", params).await;
    let error = &caught["error"];
    assert_eq!((&error["name"], &error["message"]), (&json!("OddError"), &json!("ü")));
    assert_eq!((&error["code"], &error["type"]), (&json!(418), &json!("ODD")));
    assert_eq!((&error["retryable"], &error["data"]), (&json!(true), &json!({"a": [null]})));
}

async fn parallel(guest: Arc<Guest>) {
    let node = guest.node("").await;
    // None of them is answered before all are there.
    let calls: Vec<Value> =
        (0..GATE).map(|n| json!({"action": "peer.gate", "params": {"n": n}})).collect();
    let results = node.get("parallel", json!({"calls": calls})).await;
    let wanted: Vec<Value> = (0..GATE).map(|n| json!({"value": {"n": n}})).collect();
    assert_eq!(results, json!(wanted));
    assert_eq!(node.get("parallel", json!({"calls": []})).await, json!([]));
}

async fn parallel_errors(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let fail =
        json!({"action": "rs.fail", "params": {"className": "E", "type": "ODD", "code": 400}});
    let calls = json!({"calls": [
        {"action": "rs.slow", "params": {"ms": 30}}, fail, {"action": "rs.null"},
        {"action": "nobody.nothing"}, {"action": "rs.echo", "params": "last"}]});
    let results = node.get("parallel", calls).await;
    assert_eq!(results[0], json!({"value": "slow"}));
    assert_eq!(results[1]["error"]["type"], "ODD");
    assert_eq!(results[2], json!({"value": null}));
    assert_eq!(results[3]["error"]["type"], "SERVICE_NOT_FOUND");
    assert_eq!(results[4], json!({"value": "last"}));
}

async fn mcall(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let echo = |value: Value| json!({"action": "rs.echo", "params": value});
    let fail =
        json!({"action": "rs.fail", "params": {"className": "E", "type": "ODD", "code": 400}});
    let list = node.get("mcall", json!({"calls": [echo(json!(1)), echo(json!("ü"))]})).await;
    assert_eq!(list, json!([1, "ü"]));
    let map = node.get("mcall", json!({"calls": {"a": echo(json!([1])), "b": echo(json!([]))}}));
    assert_eq!(map.await, json!({"a": [1], "b": []}));
    let settled = json!({"calls": {"good": echo(json!(1)), "bad": fail}, "settled": true});
    let settled = node.get("mcall", settled).await;
    assert_eq!(settled["good"], json!({"status": "fulfilled", "value": 1}));
    assert_eq!(settled["bad"]["status"], "rejected");
    assert_eq!(settled["bad"]["reason"]["type"], "ODD");
    let error = node.error("mcall", json!({"calls": [echo(json!(1)), fail]})).await;
    assert_eq!(error.kind(), "ODD");
    let silent = json!({"calls": [{"action": "rs.silent"}], "timeout": 50});
    assert_eq!(node.error("mcall", silent).await.kind(), "REQUEST_TIMEOUT");
}

async fn call_options(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let silent = json!({"action": "rs.silent", "options": {"timeout": 50}});
    let error = node.error("call", silent).await;
    assert_eq!((error.code(), error.kind()), (504, "REQUEST_TIMEOUT"));
    let fallback = json!({"action": "rs.fail", "options": {"fallbackResponse": {"f": 1}}});
    assert_eq!(node.get("call", fallback).await, json!({"f": 1}));
    let elsewhere = json!({"action": "rs.echo", "options": {"nodeID": "node-2"}});
    assert_eq!(node.error("call", elsewhere).await.code(), 404);
    let here = json!({"action": "rs.seen", "options": {"nodeID": "node-1", "requestID": "r-1",
        "meta": {"m": 1}, "headers": {"h": 1}}});
    let seen = node.get("call", here).await;
    assert_eq!((&seen["requestID"], &seen["meta"]), (&json!("r-1"), &json!({"m": 1})));
    assert_eq!(seen["headers"], json!({"h": 1}));
}

async fn recursion(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let mut params = json!({"action": "conformance.context"});
    for _ in 0..4 {
        params = json!({"action": "conformance.call", "params": params});
    }
    let seen = node.get("call", params).await;
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(6), &json!("conformance")));
}

async fn private(guest: Arc<Guest>) {
    let node = guest.node("").await;
    assert_eq!(node.error("secret", json!({})).await.kind(), "SERVICE_NOT_FOUND");
    let own = node.get("call", json!({"action": "conformance.secret"})).await;
    assert_eq!(own, "only for this service");
}

async fn wait_for(guest: Arc<Guest>) {
    let node = guest.node("").await;
    node.get("waitFor", json!({"services": ["rs", "peer"]})).await;
    let error = node.error("waitFor", json!({"services": ["rs", "nobody"], "timeout": 30})).await;
    assert_eq!(error.kind(), "WAITFOR_SERVICES");
}

async fn validation(guest: Arc<Guest>) {
    let node = guest.node("").await;
    for good in [json!({"id": 5}), json!({"id": 1, "name": "Ada", "tags": ["a", ""]})] {
        assert_eq!(node.get("validated", good.clone()).await, good);
    }
    let check = async |bad: Value, field: &str| {
        let error = node.error("validated", bad).await;
        assert_eq!((error.code(), error.kind()), (422, "VALIDATION_ERROR"));
        let data = error.to_wire("")["data"].to_string();
        assert!(data.contains(&format!("\"field\":\"{field}\"")), "{field}: {data}");
    };
    check(json!({}), "id").await;
    check(json!({"id": "5"}), "id").await;
    check(json!({"id": -5}), "id").await;
    check(json!({"id": 1.5}), "id").await;
    check(json!({"id": 5, "name": "AB"}), "name").await;
    check(json!({"id": 5, "tags": ["a", 1]}), "tags[1]").await;
    let error = node.error("validated", json!({"id": 5, "more": 1})).await;
    assert_eq!(error.kind(), "VALIDATION_ERROR", "$$strict");
}

async fn cached(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    for _ in 0..3 {
        assert_eq!(node.get("cached", json!({"id": 1})).await, json!({"id": 1, "runs": 1}));
    }
    // Keys that are not named make no difference.
    assert_eq!(node.get("cached", json!({"id": 1, "x": 2})).await["runs"], 1);
    assert_eq!(node.get("cached", json!({"id": 2})).await, json!({"id": 2, "runs": 2}));
    // The service forgets it itself.
    node.get("cacher", json!({"do": "del", "key": "conformance.cached:1"})).await;
    assert_eq!(node.get("cached", json!({"id": 1})).await["runs"], 3);
}

async fn cacher(guest: Arc<Guest>) {
    let node = guest.node(ALONE).await;
    let cacher = async |what: Value| node.get("cacher", what).await;
    assert_eq!(cacher(json!({"do": "enabled"})).await, true);
    let get = |key: &str| json!({"do": "get", "key": key});
    let nothing = json!({"found": false, "value": null});
    assert_eq!(cacher(get("conformance:a")).await, nothing);
    cacher(json!({"do": "set", "key": "conformance:a", "value": {"ü": [1]}, "ttl": 60})).await;
    cacher(json!({"do": "set", "key": "conformance:b.c", "value": null})).await;
    let found = json!({"found": true, "value": {"ü": [1]}});
    assert_eq!(cacher(get("conformance:a")).await, found);
    let null = json!({"found": true, "value": null});
    assert_eq!(cacher(get("conformance:b.c")).await, null, "a null that was kept is a value");
    let kept = cacher(json!({"do": "ttl", "key": "conformance:a"})).await;
    assert!(kept["ttl"].as_f64().is_some_and(|ttl| ttl > 50.0 && ttl <= 60.0), "{kept}");
    let forever = cacher(json!({"do": "ttl", "key": "conformance:b.c"})).await;
    assert_eq!(forever, json!({"found": true, "ttl": null}));
    cacher(json!({"do": "del", "key": "conformance:a"})).await;
    assert_eq!(cacher(get("conformance:a")).await, nothing);
    cacher(json!({"do": "clean", "key": "conformance:**"})).await;
    assert_eq!(cacher(get("conformance:b.c")).await, nothing);
    let error = node.error("cacher", get("users.get:1")).await;
    assert_eq!((error.code(), error.kind()), (403, "PERMISSION_DENIED"));
}

async fn hooks(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let seen = node.get("hooked", json!({})).await;
    assert_eq!(seen, json!({"seen": ["service", "action"], "after": ["action", "service"]}));
    let seen = node.get("hooked", json!({"seen": ["caller"]})).await;
    assert_eq!(seen["seen"], json!(["caller", "service", "action"]));
    let error = node.error("hooked", json!({"fail": true})).await;
    assert_eq!(error.message(), "failed, seen by action, seen by service");
    assert_eq!((error.code(), error.kind()), (500, "HOOKED"));
    let recovered = node.get("hooked", json!({"fail": true, "recover": true})).await;
    assert_eq!(recovered, json!({"recovered": "failed"}));
    // Other actions have no hooks.
    assert_eq!(node.get("echo", json!({})).await, json!({}));
}

async fn fallback(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let saved = node.get("saved", json!({"why": "ü"})).await;
    assert_eq!(
        saved,
        json!({"instead": "ü", "type": "NOT_SAVED", "data": {"at": 1},
        "params": {"why": "ü"}})
    );
}
