//! Services in Python: the SDK's own tests, real components in a node, and what a builder refuses.

use isomer_host::config::BrokerOptions;
use serde_json::json;
use tests::languages::{Language, host};
use tests::nats_server::NatsServer;
use tests::peer::Peer;
use tests::{broker, wait};

#[test]
fn the_sdk_and_the_sample_pass_their_own_tests() {
    Language::Python.tests_pass("guest-sdk/python/tests");
    Language::Python.tests_pass("sample-services/python-quotes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_through_python_go_and_rust() {
    let files = [
        Language::Python.built("sample-services/python-quotes", "quotes"),
        Language::Go.built("sample-services/go-slugs", "slugs"),
    ];
    let Some(host) = host(&["users", "posts"], &files, BrokerOptions::default()).await else {
        return;
    };
    let kept = host.call("quotes.add", &json!({"text": "Hello, World!", "user": 2})).await.unwrap();
    assert_eq!(
        kept,
        json!({"id": 1, "text": "Hello, World!", "by": "Grace", "slug": "hello-world"})
    );
    wait::until("the event of Python to be heard in Go", || async {
        let known = host.call("slugs.known", &json!({})).await.unwrap();
        (known == json!({"hello-world": "Grace"})).then_some(())
    })
    .await;
    host.call("posts.create", &json!({"title": "T", "author": 1})).await.unwrap();
    wait::until("the event of Rust to be heard in Python", || async {
        let list = host.call("quotes.list", &json!({})).await.unwrap();
        (list["posts"] == 1).then_some(())
    })
    .await;
    let refused = host.call("quotes.add", &json!({"text": " "})).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), (422, "EMPTY"));
    let stranger = host.call("quotes.add", &json!({"text": "x", "user": 9})).await.unwrap_err();
    assert_eq!(stranger.kind(), "USER_NOT_FOUND", "an error of Rust passes through Python");
    let invalid = host.call("quotes.add", &json!({"user": "x"})).await.unwrap_err();
    assert_eq!(invalid.kind(), "VALIDATION_ERROR", "type hints are the schema");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_takes_ten_thousand_calls_and_a_loop_is_stopped() {
    let files = [Language::Python.built("tests/conformance/python", "conformance-python")];
    let Some(host) = host(&[], &files, BrokerOptions::default()).await else { return };
    let params = json!({"value": ["ü", {"a": 1.5, "b": null}]});
    for _ in 0..10_000 {
        host.call("conformance.roundtrip", &params).await.unwrap();
    }
    let count = host.call("conformance.count", &json!({})).await.unwrap();
    assert_eq!(count["started"], 1);
    let looped = host.call("conformance.spin", &json!({"n": 0})).await.unwrap_err();
    assert_eq!(looped.kind(), "FUEL_EXHAUSTED");
    let hoarded = host.call("conformance.hoard", &json!({"mib": 512})).await.unwrap_err();
    assert!(["MEMORY_LIMIT", ""].contains(&hoarded.kind()), "{hoarded}");
    assert!(host.call("conformance.count", &json!({})).await.is_ok(), "the service goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_javascript_calls_python_and_python_calls_javascript() {
    let nats = NatsServer::start().await;
    let files = [Language::Python.built("tests/conformance/python", "conformance-python")];
    let options = broker::on_nats("py-1", &nats.url());
    let Some(_host) = host(&[], &files, options).await else { return };
    let js = Peer::start("js-1", &nats.url(), json!({})).await;
    js.wait_for_services(&["conformance"]).await;
    let value = json!({"value": {"text": "ü", "list": [1, null]}});
    assert_eq!(js.call("conformance.roundtrip", value.clone()).await.unwrap(), value);
    let seen = json!({"services": ["js"], "timeout": 20_000});
    js.call("conformance.waitFor", seen).await.unwrap();
    let node = json!({"action": "js.node", "params": {}});
    assert_eq!(js.call("conformance.call", node).await.unwrap(), "js-1");
    let error = json!({"name": "OddError", "message": "m", "code": 409, "type": "ODD",
        "retryable": true, "data": {"a": [null, 1]}});
    let seen = js.call("conformance.fail", error.clone()).await.unwrap_err();
    for field in ["name", "message", "code", "type", "retryable", "data"] {
        assert_eq!(seen[field], error[field], "{field} in {seen}");
    }
}

#[test]
fn mistakes_are_told_when_a_service_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let check = |source: &str, words: &str| {
        std::fs::write(folder.path().join("service.py"), source).unwrap();
        if let Some(text) = Language::Python.refused(folder.path()) {
            assert!(text.contains(words), "{text}");
        }
    };
    check("x = 1\n", "has a class with @service");
    let slip = "from isomer import *\n@service(name='x')\nclass X:\n  @action(timout=1)\n  def a(self): pass\n";
    check(slip, "did you mean 'timeout'?");
    check("@service(\n", "SyntaxError");
}
