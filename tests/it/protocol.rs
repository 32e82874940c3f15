//! Versions 4 and 5 of the protocol at once: nodes of Moleculer 0.14 and 0.15 that cannot see each other,
//! and one of ours that is a full member for both.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Protocol};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use std::time::Duration;
use tests::broker::{self, call, to};
use tests::mirror;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, value};

/// Options of a node that speaks this.
fn speaking(protocol: Protocol, node_id: &str, url: &str) -> BrokerOptions {
    let mut options = broker::on_nats(node_id, url);
    options.transit.protocol = protocol;
    options
}

/// A strict peer of a version, with a listener for `news`.
async fn peer(version: Version, node_id: &str, url: &str) -> Peer {
    let options = json!({"requestTimeout": 10_000});
    Peer::listening(version, node_id, url, options, &[("listener", "news", "")]).await
}

/// Calls both ways, events both ways, pings both ways.
async fn check_member(rs: &ServiceBroker, js: &Peer) {
    let node_id = js.node_id();
    js.wait_for_services(&["rs"]).await;
    broker::wait_for_service_on(rs, "js", node_id).await;
    assert_eq!(js.call("rs.echo", json!({"to": "rs"})).await.unwrap(), json!({"to": "rs"}));
    let seen = call(rs, "js.seen", &json!({"to": "js"}), to(node_id)).await.unwrap();
    assert_eq!((&seen["params"]["to"], &seen["nodeID"]), (&json!("js"), &json!("rs-1")));
    let error =
        json!({"className": "MoleculerClientError", "message": "no", "code": 409, "type": "T"});
    let refused = call(rs, "js.fail", &error, to(node_id)).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), (409, "T"));
    let refused = js.call("rs.fail", error).await.unwrap_err();
    assert_eq!((&refused["code"], &refused["nodeID"]), (&json!(409), &json!("rs-1")));
    let pong = rs.ping(&node_id.into(), Duration::from_secs(10)).await.unwrap();
    assert!(pong.is_some(), "no pong of {node_id}");
    let ping = js.ask("ping", json!({"nodeID": "rs-1", "timeout": 10_000})).await.unwrap();
    assert_eq!(ping["nodeID"], "rs-1", "{ping}");
}

#[tokio::test]
async fn server_one_node_is_a_member_for_nodes_that_cannot_see_each_other() {
    let nats = NatsServer::start().await;
    let rs = broker::start(speaking(Protocol::Auto, "rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let told = mirror::listen(&rs, "rs.listener", "tell.rs", "").await;
    let old = peer(Version::V14, "js-14", &nats.url()).await;
    let new = peer(Version::V15, "js-15", &nats.url()).await;
    check_member(&rs, &old).await;
    check_member(&rs, &new).await;

    // Each is spoken to in its own version, so that nothing of ours is refused by whom it is for.
    broker::broadcast(&rs, "news", &json!({"n": 1}), &[]).await;
    for js in [&old, &new] {
        let events = js.received("news", 1).await;
        assert_eq!(events[0]["data"]["value"], json!({"n": 1}));
        assert_eq!(events[0]["nodeID"], "rs-1");
        let data = json!({"event": "tell.rs", "data": value(&json!(js.node_id())), "options": {}});
        js.ask("emit", data).await.unwrap();
    }
    let mut from: Vec<Value> = told.at_least(2).await.iter().map(|e| e["params"].clone()).collect();
    from.sort_by_key(ToString::to_string);
    assert_eq!(from, [json!("js-14"), json!("js-15")]);

    // A chain over all three, though its ends cannot see each other.
    let relay = value(&json!({"action": "js.node", "params": {}}));
    let answer = old.call_with("rs.relay", relay, json!({"nodeID": "rs-1"})).await.unwrap();
    assert!(answer["result"]["value"]["result"].is_string(), "{answer}");

    // A good-bye is heard in either version.
    rs.stop().await;
    for js in [&old, &new] {
        js.wait_for_node("rs-1", false).await;
    }
}

#[tokio::test]
async fn server_a_node_of_version_4_is_one_of_moleculer_0_14() {
    let nats = NatsServer::start().await;
    let rs = broker::start(speaking(Protocol::V4, "rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let old = peer(Version::V14, "js-14", &nats.url()).await;
    check_member(&rs, &old).await;
    // Headers are unknown there: what a caller gives is not sent, and nothing comes.
    let headers = Some(broker::object(&json!({"h": 1})));
    let options = CallOptions { headers, ..to("js-14") };
    let seen = call(&rs, "js.seen", &json!({}), options).await.unwrap();
    assert_eq!(seen["headers"], Value::Null);
    // A node of version 5 is another mesh.
    let new = Peer::start("js-15", &nats.url(), json!({})).await;
    let error = new.call("rs.echo", json!({})).await.unwrap_err();
    assert_eq!(error["name"], "ServiceNotFoundError");
}

#[tokio::test]
async fn server_versions_come_and_go_while_a_node_runs() {
    let nats = NatsServer::start().await;
    let rs = broker::start(speaking(Protocol::Auto, "rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let first = peer(Version::V14, "js", &nats.url()).await;
    check_member(&rs, &first).await;
    first.stop().await;
    broker::wait_for_node(&rs, "js", false).await;
    // The same name, another version: as after an update of that node.
    let second = peer(Version::V15, "js", &nats.url()).await;
    check_member(&rs, &second).await;
}

#[tokio::test]
async fn nodes_that_speak_both_find_each_other() {
    let start = |node_id: &'static str, protocol: Protocol| async move {
        let mut options = broker::on_bus(node_id, "versions-both");
        options.transit.protocol = protocol;
        let broker = broker::start(options).await;
        mirror::add_as(&broker, node_id).await;
        broker
    };
    let both = start("both", Protocol::Auto).await;
    let other = start("other", Protocol::Auto).await;
    let four = start("four", Protocol::V4).await;
    let five = start("five", Protocol::V5).await;
    for (from, name) in
        [(&both, "other"), (&other, "four"), (&both, "five"), (&four, "both"), (&five, "other")]
    {
        broker::wait_for(from, &[name]).await;
        let answer =
            call(from, &format!("{name}.node"), &json!({}), CallOptions::default()).await.unwrap();
        assert_eq!(answer, json!(name));
    }
    let strangers = four.registry().read().nodes.get("five").is_some();
    assert!(!strangers, "versions 4 and 5 see each other");
}
