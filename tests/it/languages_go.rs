//! Services in Go: the SDK's own tests, real components in a node, and what a builder refuses.

use isomer_host::config::BrokerOptions;
use serde_json::json;
use tests::broker;
use tests::languages::{Language, host};
use tests::nats_server::NatsServer;
use tests::peer::Peer;

#[test]
fn the_sdk_and_the_sample_pass_their_own_tests() {
    Language::Go.tests_pass("guest-sdk/go");
    Language::Go.tests_pass("sample-services/go-slugs");
}

/// Go's collector may not run while the node asks for memory; before it was kept from that, an instance died after
/// some thousand calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_takes_ten_thousand_calls_and_a_loop_is_stopped() {
    let files = [Language::Go.built("tests/conformance/go", "conformance-go")];
    let Some(host) = host(&[], &files, BrokerOptions::default()).await else { return };
    let params = json!({"value": ["ü".repeat(500), {"a": 1.5, "b": null}]});
    for _ in 0..10_000 {
        host.call("conformance.roundtrip", &params).await.unwrap();
    }
    let count = host.call("conformance.count", &json!({})).await.unwrap();
    assert_eq!(count, json!({"count": 1, "started": 1}));
    let looped = host.call("conformance.spin", &json!({"n": 0})).await.unwrap_err();
    assert_eq!(looped.kind(), "FUEL_EXHAUSTED");
    let hoarded = host.call("conformance.hoard", &json!({"mib": 512})).await.unwrap_err();
    assert_eq!(hoarded.kind(), "MEMORY_LIMIT");
    assert!(host.call("conformance.count", &json!({})).await.is_ok(), "the service goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_javascript_calls_go_and_go_calls_javascript() {
    let nats = NatsServer::start().await;
    let files = [Language::Go.built("tests/conformance/go", "conformance-go")];
    let options = broker::on_nats("go-1", &nats.url());
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
    let check = |words: &str| {
        if let Some(text) = Language::Go.refused(folder.path()) {
            assert!(text.contains(words), "{text}");
        }
    };
    check("go mod init");
    std::fs::write(folder.path().join("go.mod"), "module x\n\ngo 1.24\n").unwrap();
    std::fs::write(folder.path().join("main.go"), "package main\n\nfunc main() { x() }\n").unwrap();
    check("undefined: x");
}
