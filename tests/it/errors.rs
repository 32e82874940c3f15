//! Errors between guests and real Moleculer JS brokers: every class of `tests/vectors/errors.json` in both
//! directions, with all fields, and as the class that JavaScript knows.

use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::broker::{self, call};
use tests::host::Host;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, value};
use tests::tree;

/// A node with the guest `kit`, and a JavaScript node.
struct Pair {
    host: Host,
    js: Peer,
    _nats: NatsServer,
}

async fn pair() -> Pair {
    let nats = NatsServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put("kit", folder.path(), "kit.wasm");
    let host = Host::start_on(broker::on_nats("rs-1", &nats.url()), folder).await;
    let js = Peer::start("js-1", &nats.url(), json!({"requestTimeout": 10_000})).await;
    js.wait_for_services(&["kit"]).await;
    broker::wait_for(&host.broker, &["js"]).await;
    Pair { host, js, _nats: nats }
}

fn vectors() -> Vec<Value> {
    let text = tree::read(&tree::top().join("tests/vectors/errors.json"));
    serde_json::from_str(&text).unwrap()
}

/// The classes that JavaScript tells apart with `instanceof`: the class itself and those above it.
fn ancestors(class: &str) -> Vec<&str> {
    let mut classes = vec![class, "MoleculerError"];
    match class {
        // moleculer: src/errors.js recreateError does not know it, so it is an ordinary Error.
        "BrokerDisconnectedError" => classes.clear(),
        "ValidationError" => classes.push("MoleculerClientError"),
        "MoleculerServerError"
        | "ServiceNotFoundError"
        | "ServiceNotAvailableError"
        | "RequestTimeoutError"
        | "RequestRejectedError"
        | "QueueIsFullError" => {
            classes.push("MoleculerRetryableError");
        }
        _ => {}
    }
    classes
}

// moleculer: src/errors.js recreateError
#[tokio::test]
async fn server_javascript_restores_the_class_of_a_guests_error() {
    let pair = pair().await;
    for vector in vectors() {
        let mut wire = vector["wire"].clone();
        wire.as_object_mut().unwrap().remove("nodeID");
        let class = wire["name"].as_str().unwrap();
        // JavaScript restores this class wrongly from its own nodes, too: it looks for the name elsewhere.
        let forgets = class == "GracefulStopTimeoutError";
        let seen = pair.js.call("kit.fail", wire.clone()).await.unwrap_err();
        let classes = seen["classes"].as_array().unwrap();
        for wanted in ancestors(class) {
            assert!(classes.contains(&json!(wanted)), "{class} is no {wanted}: {classes:?}");
        }
        for key in ["name", "message", "code", "type", "retryable", "data"] {
            if forgets && ["message", "data"].contains(&key) {
                continue;
            }
            assert_eq!(seen.get(key), wire.get(key), "{key} of {class}");
        }
        assert_eq!(seen["nodeID"], "rs-1", "{class}");
    }
}

#[tokio::test]
async fn server_a_guest_sees_the_class_and_fields_of_a_javascript_error() {
    let pair = pair().await;
    for vector in vectors() {
        let params = json!({"className": vector["name"], "args": vector["args"]});
        let params = json!({"action": "js.fail", "params": params});
        let seen = pair.host.call("kit.callAndMeta", &params).await.unwrap();
        let error = &seen["error"];
        for key in ["name", "message", "code", "type", "retryable", "data"] {
            assert_eq!(error.get(key), vector["wire"].get(key), "{key} of {vector}");
        }
        assert_eq!(error["nodeID"], "js-1");
        // moleculer: src/errors.js: this one class empties its stack.
        let stack = error["stack"].as_str().unwrap();
        assert!(stack.contains("services.js") || vector["name"] == "BrokerDisconnectedError");
    }
}

#[tokio::test]
async fn server_a_class_of_your_own_is_an_error_with_all_its_fields() {
    let pair = pair().await;
    let own = json!({"name": "PaymentError", "message": "no money: ü", "code": 402, "type": "NO_MONEY",
        "retryable": false, "data": {"deep": [{"er": [null, 1.5, {"": "x"}]}]}});
    let seen = pair.js.call("kit.fail", own.clone()).await.unwrap_err();
    assert_eq!(seen["classes"], json!([]), "an ordinary Error");
    for (key, value) in own.as_object().unwrap() {
        assert_eq!(&seen[key], value, "{key}");
    }
    // From JavaScript through a guest, which returns it to JavaScript again. Moleculer's own wire form has no
    // place for fields beside the usual ones, so those are lost before they reach us.
    let odd = json!({"action": "js.fail", "params": {"className": "MoleculerError", "message": "odd",
        "code": "E_ODD", "type": "ODD", "data": own["data"], "extra": {"name": "OddError"}}});
    let seen = pair.js.call("kit.call", odd).await.unwrap_err();
    assert_eq!(
        (&seen["name"], &seen["code"], &seen["type"]),
        (&json!("OddError"), &json!("E_ODD"), &json!("ODD"))
    );
    assert_eq!((&seen["data"], &seen["nodeID"]), (&own["data"], &json!("js-1")));
    let plain = json!({"action": "js.plainError"});
    let seen = pair.js.call("kit.call", plain).await.unwrap_err();
    assert_eq!((&seen["name"], &seen["message"]), (&json!("TypeError"), &json!("just JavaScript")));
    assert!(seen["stack"].as_str().unwrap().contains("services.js"), "{seen}");
}

#[tokio::test]
async fn server_fields_that_nobody_knows_pass_through_our_nodes() {
    let pair = pair().await;
    let nats_url = pair._nats.url();
    let other = broker::start(broker::on_nats("rs-2", &nats_url)).await;
    broker::wait_for(&other, &["kit"]).await;
    let own = json!({"name": "OddError", "message": "m", "hint": {"nested": [1, {"a": null}]}, "code": -7,
        "statusText": "odd", "type": null, "data": false});
    let error = call(&other, "kit.fail", &own, CallOptions::default()).await.unwrap_err();
    let wire = error.to_wire("rs-2");
    for key in ["name", "message", "hint", "statusText", "code", "data"] {
        assert_eq!(wire[key], own[key], "{key}");
    }
    assert_eq!(wire["nodeID"], "rs-1");
}

#[tokio::test]
async fn server_the_hosts_errors_are_moleculers_classes_in_javascript() {
    let pair = pair().await;
    let check = |error: Value, class: &str| {
        assert!(error["classes"].as_array().unwrap().contains(&json!(class)), "{class}: {error}");
    };
    let call = |action: &str, params: Value| {
        let params = json!({"action": action, "params": params});
        let js = &pair.js;
        async move { js.call("kit.call", params).await.unwrap_err() }
    };
    check(call("nobody.there", json!({})).await, "ServiceNotFoundError");
    check(call("kit.echo2", json!({})).await, "ServiceNotFoundError");
    check(call("kit.bytes", json!({"n": "x"})).await, "ValidationError");
    let slow = json!({"action": "js.silent", "options": {"timeout": 50}});
    check(pair.js.call("kit.call", slow).await.unwrap_err(), "RequestTimeoutError");
    let wait = json!({"services": ["nobody"], "timeout": 1});
    check(pair.js.call("kit.waitFor", wait).await.unwrap_err(), "MoleculerServerError");
    // The host's own classes are not known there: ordinary errors that say all the same.
    let burnt = pair.js.call("kit.narrow", json!({"n": 1_000_000})).await.unwrap_err();
    assert_eq!((&burnt["name"], &burnt["classes"]), (&json!("FuelExhaustedError"), &json!([])));
    assert_eq!((&burnt["code"], &burnt["type"]), (&json!(500), &json!("FUEL_EXHAUSTED")));
    assert!(burnt["data"]["limit"].is_u64(), "{burnt}");
}

#[tokio::test]
async fn server_headers_are_of_one_request_and_meta_of_the_chain() {
    let pair = pair().await;
    let options = json!({"meta": {"kept": 1}, "headers": {"asked": "h"}});
    let ask = |action: &'static str, params: Value| {
        let (js, options) = (&pair.js, options.clone());
        async move { js.call_with(action, value(&params), options).await.unwrap() }
    };
    // JavaScript takes response headers from no other node; ours must not disturb it.
    let answer = ask("kit.setResponseHeaders", json!({"x-count": [1, null]})).await;
    assert_eq!((&answer["headers"], &answer["meta"]), (&json!({}), &json!({"kept": 1})));
    let answer = ask("kit.setMeta", json!({"added": {"deep": 1}})).await;
    assert_eq!(answer["meta"], json!({"kept": 1, "added": {"deep": 1}}));
    let answer = ask("kit.context", json!({})).await;
    let seen = &answer["result"]["value"];
    assert_eq!((&seen["headers"], &seen["meta"]), (&options["headers"], &options["meta"]));
    // They are of this request only.
    let nested = json!({"action": "kit.context"});
    let answer = ask("kit.call", nested).await;
    let seen = &answer["result"]["value"];
    assert_eq!((&seen["headers"], &seen["meta"]), (&json!({}), &options["meta"]));
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(2), &json!("kit")));
    let absent = pair.host.broker.call("kit.absent", Payload::Absent, CallOptions::default());
    assert_eq!(absent.await.unwrap(), Payload::Absent);
}
