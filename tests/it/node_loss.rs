//! Nodes that come, go, die, fall silent and return, and a server that goes away, with real Moleculer JS
//! brokers on a real nats-server.

use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::broker::{self, call, wait_for_node};
use tests::mirror;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version};

/// A node of ours that misses others after two seconds.
fn attentive(node_id: &str, nats: &NatsServer) -> BrokerOptions {
    BrokerOptions {
        heartbeat_interval: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_secs(2),
        ..broker::on_nats(node_id, &nats.url())
    }
}

async fn rs(node_id: &str, nats: &NatsServer) -> ServiceBroker {
    let node = broker::start(attentive(node_id, nats)).await;
    mirror::add(&node).await;
    node
}

async fn js(node_id: &str, nats: &NatsServer) -> Peer {
    let options = json!({"heartbeatInterval": 1, "heartbeatTimeout": 2, "requestTimeout": 20_000});
    let peer = Peer::start(node_id, &nats.url(), options).await;
    peer.wait_for_services(&["rs"]).await;
    peer
}

async fn ask(node: &ServiceBroker, action: &str) -> Value {
    call(node, action, &json!({}), CallOptions::default()).await.unwrap()
}

#[tokio::test]
async fn server_a_killed_javascript_node_is_missed_and_welcomed_back() {
    let nats = NatsServer::start().await;
    let rs = rs("rs-1", &nats).await;
    let first = js("js-1", &nats).await;
    broker::wait_for(&rs, &["js"]).await;
    assert_eq!(ask(&rs, "js.node").await, "js-1");
    // A call that the dead node can no longer answer ends when the node is missed, not at its own limit.
    let params = broker::json(&json!({}));
    let options = CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() };
    let waiting = rs.call("js.silent", params, options);
    let waiting = isomer_host::task::run(waiting);
    tests::wait::until("the request to be sent", || async {
        let sent = rs.metrics().snapshot();
        sent.get("moleculer.transit.requests.active").is_some_and(|n| *n > 0).then_some(())
    })
    .await;
    first.kill().await;
    let error = tests::wait::for_result("the end of the call", waiting).await.unwrap().unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestRejectedError", true));
    wait_for_node(&rs, "js-1", false).await;
    let error = call(&rs, "js.node", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotAvailableError");

    let second = js("js-1", &nats).await;
    broker::wait_for(&rs, &["js"]).await;
    assert_eq!(ask(&rs, "js.node").await, "js-1");
    assert_eq!(second.call("rs.node", json!({})).await.unwrap(), "rs-1");
}

#[tokio::test]
async fn server_a_stopped_javascript_node_is_gone_at_once() {
    let nats = NatsServer::start().await;
    // Heartbeats of the default length: only the DISCONNECT can say it in time.
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let peer = js("js-1", &nats).await;
    broker::wait_for(&rs, &["js"]).await;
    peer.stop().await;
    wait_for_node(&rs, "js-1", false).await;
}

#[tokio::test]
async fn server_our_stop_lets_running_calls_finish_and_says_goodbye() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    // The peer would need 30 s to miss us: only the DISCONNECT can say it in time.
    let peer = Peer::start("js-1", &nats.url(), json!({})).await;
    peer.wait_for_services(&["rs"]).await;
    let slow = peer.call("rs.slow", json!({"ms": 800}));
    let stop = async {
        tests::wait::until("the call to arrive", || async {
            (rs.running_contexts() > 0).then_some(())
        })
        .await;
        rs.stop().await;
    };
    let (answer, ()) = futures_util::future::join(slow, stop).await;
    assert_eq!(answer.unwrap(), "slow");
    peer.wait_for_node("rs-1", false).await;
    let error = peer.call("rs.node", json!({})).await.unwrap_err();
    assert_eq!(error["name"], "ServiceNotAvailableError");
}

#[tokio::test]
async fn server_a_silent_node_is_missed_and_found_again() {
    let nats = NatsServer::start().await;
    let rs = rs("rs-1", &nats).await;
    let peer = js("js-1", &nats).await;
    wait_for_node(&rs, "js-1", true).await;
    peer.pause();
    wait_for_node(&rs, "js-1", false).await;
    peer.resume();
    wait_for_node(&rs, "js-1", true).await;
    broker::wait_for(&rs, &["js"]).await;
    assert_eq!(ask(&rs, "js.node").await, "js-1");
}

#[tokio::test]
async fn server_both_kinds_return_after_the_server_was_killed() {
    let mut nats = NatsServer::start().await;
    let rs = rs("rs-1", &nats).await;
    let peer = js("js-1", &nats).await;
    broker::wait_for(&rs, &["js"]).await;
    nats.kill().await;
    let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let error = call(&rs, "js.node", &json!({}), options).await.unwrap_err();
    let names = ["RequestTimeoutError", "BrokerDisconnectedError", "ServiceNotAvailableError"];
    assert!(names.contains(&error.name()), "{error}");
    // Local calls need no server.
    assert_eq!(ask(&rs, "rs.node").await, "rs-1");
    nats.restart().await;
    wait_for_node(&rs, "js-1", true).await;
    let answer = tests::wait::until("an answer of js", || async {
        call(&rs, "js.node", &json!({}), CallOptions::default()).await.ok()
    })
    .await;
    assert_eq!(answer, "js-1");
    tests::wait::until("an answer of rs", || async { peer.call("rs.node", json!({})).await.ok() })
        .await;
}

#[tokio::test]
async fn server_a_service_that_comes_later_is_announced() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    let peer = Peer::start("js-1", &nats.url(), json!({})).await;
    peer.wait_for_node("rs-1", true).await;
    mirror::add(&rs).await;
    peer.wait_for_services(&["rs"]).await;
    assert!(rs.remove_service(&"rs".into()).await);
    tests::wait::until("the service to be withdrawn", || async {
        let list = peer.call("$node.services", json!({})).await.unwrap();
        let rs = list.as_array().unwrap().iter().find(|item| item["name"] == "rs").cloned();
        rs.is_none_or(|item| item["available"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn server_heartbeats_go_on_while_all_workers_are_busy() {
    let nats = NatsServer::start().await;
    let rs = rs("rs-1", &nats).await;
    let options = json!({"heartbeatInterval": 1, "heartbeatTimeout": 2});
    let watch = [("watch", "$node.disconnected", "")];
    let peer = Peer::listening(Version::V15, "js-1", &nats.url(), options, &watch).await;
    peer.wait_for_services(&["rs"]).await;
    // This test's runtime has one thread, which now does nothing else for longer than the peer's patience.
    let end = isomer_host::clock::now() + Duration::from_secs(5);
    while isomer_host::clock::now() < end {
        std::hint::spin_loop();
    }
    peer.wait_for_node("rs-1", true).await;
    let lost = peer.received("$node.disconnected", 0).await;
    assert!(lost.is_empty(), "{lost:?}");
    rs.stop().await;
}
