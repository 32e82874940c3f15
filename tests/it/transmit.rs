//! Packets that are compressed and encrypted, between our nodes and those of JavaScript.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::load::{Sources, load};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::broker::{self, call, to};
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version};
use tests::{mirror, wait};

/// A node of ours with these middlewares, configured as an operator would.
async fn node(url: &str, namespace: &str, middlewares: &Value) -> ServiceBroker {
    let settings = [
        ("nodeID", "rs-1"),
        ("namespace", namespace),
        ("transporter", url),
        ("protocolVersion", "auto"),
        ("requestTimeout", "10000"),
        ("middlewares", &middlewares.to_string()),
    ];
    let settings = settings.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let options = load(Sources { settings, ..Sources::default() }).unwrap().options.broker;
    let rs = broker::start(options).await;
    mirror::add(&rs).await;
    rs
}

async fn peer(version: Version, url: &str, namespace: &str, middlewares: &Value) -> Peer {
    let options =
        json!({"namespace": namespace, "middlewares": middlewares, "requestTimeout": 10_000});
    Peer::listening(version, &format!("js-{}", version.name()), url, options, &[]).await
}

/// Small and large values both ways.
async fn check(rs: &ServiceBroker, js: &Peer) {
    js.wait_for_services(&["rs"]).await;
    broker::wait_for_service_on(rs, "js", js.node_id()).await;
    let large: Vec<Value> = (0..5_000).map(|n| json!({"n": n, "text": "ü"})).collect();
    for value in [json!({"small": 1}), json!(large)] {
        assert_eq!(js.call("rs.echo", value.clone()).await.unwrap(), value);
        assert_eq!(call(rs, "js.echo", &value, to(js.node_id())).await.unwrap(), value);
    }
}

fn encryption(algorithm: &str, key: &str) -> Value {
    let mut options = json!({"password": key, "algorithm": algorithm});
    if !algorithm.ends_with("ecb") {
        options["iv"] = "v".repeat(16).into();
    }
    json!({"name": "Encryption", "options": options})
}

fn compression(method: &str, threshold: usize) -> Value {
    json!({"name": "Compression", "options": {"method": method, "threshold": threshold}})
}

#[tokio::test]
async fn server_packets_are_compressed_and_encrypted_as_in_moleculer() {
    let nats = NatsServer::start().await;
    let lists = [
        (Version::V15, json!([compression("deflate", 1024)])),
        (Version::V14, json!([compression("deflateRaw", 0)])),
        // Compressed first, then encrypted: the other way round nothing would be understood.
        (
            Version::V15,
            json!([encryption("aes-256-cbc", &"k".repeat(32)), compression("gzip", 100)]),
        ),
        (Version::V14, json!([encryption("aes-192-ctr", &"k".repeat(24))])),
        (Version::V15, json!([encryption("aes-128-ecb", &"k".repeat(16))])),
    ];
    for (index, (version, middlewares)) in lists.into_iter().enumerate() {
        let namespace = format!("transmit-{index}");
        let rs = node(&nats.url(), &namespace, &middlewares).await;
        let js = peer(version, &nats.url(), &namespace, &middlewares).await;
        check(&rs, &js).await;
        assert_eq!(broker::metric(&rs, "isomer.transit.packets.refused.malformed"), 0);
    }
}

#[tokio::test]
async fn server_packets_of_another_key_are_refused_and_counted() {
    let nats = NatsServer::start().await;
    let ours = json!([encryption("aes-256-cbc", &"k".repeat(32))]);
    let theirs = json!([encryption("aes-256-cbc", &"o".repeat(32))]);
    let rs = node(&nats.url(), "keys", &ours).await;
    let stranger = peer(Version::V15, &nats.url(), "keys", &theirs).await;
    wait::until("a refused packet", || async {
        let refused = broker::metric(&rs, "isomer.transit.packets.refused.malformed");
        (refused > 0).then_some(())
    })
    .await;
    assert!(rs.registry().read().nodes.get(stranger.node_id()).is_none());
    // Nobody has suffered from it: each goes on with its own.
    assert_eq!(stranger.call("js.echo", json!(1)).await.unwrap(), json!(1));
    let friend = peer(Version::V14, &nats.url(), "keys", &ours).await;
    check(&rs, &friend).await;
    assert_eq!(call(&rs, "rs.echo", &json!(1), CallOptions::default()).await.unwrap(), json!(1));
}
