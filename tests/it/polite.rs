//! What nodes of JavaScript would suffer from if another node were careless: a second process with an ID, an
//! action that goes while its service is called, errors that lack what their class needs.

use std::sync::atomic::{AtomicBool, Ordering};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::transporter::mqtt;
use isomer_host::config::{Protocol, Transporter};
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use serde_json::{Map, Value, json};
use tests::mqtt_server::MqttServer;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, value};
use tests::redis_server::RedisServer;
use tests::{broker, mirror, pair, wait};

#[tokio::test]
async fn server_a_node_id_that_is_taken_is_refused_before_javascript_hears_of_it() {
    let nats = NatsServer::start().await;
    for version in [Version::V14, Version::V15] {
        let js = Peer::listening(version, "taken", &nats.url(), json!({}), &[]).await;
        let mut options = broker::on_nats("taken", &nats.url());
        options.transit.protocol = Protocol::Auto;
        let second = ServiceBroker::new(options).unwrap();
        let refused = second.start().await.unwrap_err().to_string();
        assert!(refused.contains("another process uses the node ID 'taken'"), "{refused}");
        second.stop().await;
        // A node of JavaScript ends its process when it hears of a second one.
        assert_eq!(js.call("js.node", json!({})).await.unwrap(), "taken");
        js.stop().await;
    }
}

#[tokio::test]
async fn server_a_node_id_that_is_taken_is_refused_over_redis_and_mqtt() {
    let (redis, mqtt) = (RedisServer::start().await, MqttServer::start().await);
    let mqtt_options = mqtt::Options::new(vec![mqtt.url()]);
    for (transporter, url) in [
        (Transporter::Redis { urls: vec![redis.url()] }, redis.url()),
        (Transporter::Mqtt(mqtt_options), mqtt.url()),
    ] {
        let js = pair::js_options("", &json!({"transporter": url}));
        let js = Peer::listening(Version::V15, "taken", "", js, &[]).await;
        let second = ServiceBroker::new(pair::on("taken", "", transporter)).unwrap();
        let refused = second.start().await.unwrap_err().to_string();
        assert!(refused.contains("another process uses the node ID 'taken'"), "{refused}");
        second.stop().await;
        assert_eq!(js.call("js.node", json!({})).await.unwrap(), "taken");
        js.stop().await;
    }
}

/// The service `s` with these actions.
async fn offer(rs: &ServiceBroker, actions: &[&str]) {
    let definitions: Map<String, Value> =
        actions.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let handlers = actions
        .iter()
        .map(|name| (*name, mirror::action(|_| async { Ok(Payload::null()) })))
        .collect();
    let schema = json!({"name": "s", "actions": definitions});
    rs.add_service(LocalService::native(&schema, handlers, vec![]).unwrap()).await.unwrap();
}

/// The actions of `s` that gateways and the REPL of a peer see.
async fn shown(js: &Peer) -> Vec<String> {
    let services = js.call("$node.services", json!({"withActions": true})).await.unwrap();
    let service = services.as_array().unwrap().iter().find(|service| service["name"] == "s");
    let actions = service.and_then(|service| service["actions"].as_object());
    actions.map(|actions| actions.keys().cloned().collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_an_action_that_goes_is_forgotten_by_javascript_and_no_call_is_lost() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    offer(&rs, &["kept", "gone"]).await;
    let js = Peer::start("js-1", &nats.url(), json!({"requestTimeout": 10_000})).await;
    js.wait_for_services(&["s"]).await;
    assert_eq!(shown(&js).await.len(), 2);
    let changed = AtomicBool::new(false);
    let changes = async {
        for actions in [&["kept"][..], &["kept", "gone"], &["kept"], &["kept", "gone"], &["kept"]] {
            offer(&rs, actions).await;
            wait::until("the change to be seen", || async {
                (shown(&js).await.len() == actions.len()).then_some(())
            })
            .await;
        }
        changed.store(true, Ordering::Relaxed);
    };
    // In portions, so that the load lasts as long as the changes and each portion ends on a slow machine, too.
    let load = async {
        while !changed.load(Ordering::Relaxed) {
            let load = json!({"action": "s.kept", "params": value(&json!({})), "options": {},
                "count": 500, "parallel": 64});
            let failed = js.ask("load", load).await.unwrap()["errors"].take();
            assert_eq!(failed, json!([]), "calls failed while another action of the service went");
        }
    };
    tokio::join!(load, changes);
    assert_eq!(shown(&js).await, ["s.kept"]);
}

#[tokio::test]
async fn server_errors_without_their_data_are_restored_by_javascript() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let js = Peer::start("js-1", &nats.url(), json!({"requestTimeout": 10_000})).await;
    js.wait_for_services(&["rs"]).await;
    // Each of them throws in JavaScript when its data are not there, and its packet is dropped: the caller
    // would wait for its time limit.
    for name in [
        "ServiceNotFoundError",
        "ServiceNotAvailableError",
        "RequestTimeoutError",
        "RequestSkippedError",
        "RequestRejectedError",
        "QueueIsFullError",
        "MaxCallLevelError",
    ] {
        let params =
            json!({"className": name, "message": "m", "code": 500, "type": "T", "data": null});
        let error = js.call("rs.fail", params).await.unwrap_err();
        assert_eq!((&error["name"], &error["nodeID"]), (&json!(name), &json!("rs-1")), "{error}");
    }
}
