//! Nodes that find each other in a store, Redis or etcd, together with real Moleculer JS brokers that do the
//! same; calls go over NATS.

use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::discoverer::Finder;
use isomer_host::config::{BrokerOptions, Serializer};
use isomer_host::context::CallOptions;
use isomer_host::task;
use serde_json::{Value, json};
use tests::broker::{self, call, metric, wait_for_node};
use tests::etcd_server::EtcdServer;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, value};
use tests::redis_server::RedisServer;
use tests::{mirror, wait};

/// The store of a test.
enum Store {
    Redis(RedisServer),
    Etcd(EtcdServer),
}

impl Store {
    fn finder(&self) -> Finder {
        match self {
            Self::Redis(redis) => {
                Finder::Redis { urls: vec![redis.url()], cluster: false, scan_length: 100 }
            }
            Self::Etcd(etcd) => Finder::Etcd3 { hosts: vec![etcd.address()], login: None },
        }
    }

    /// As Moleculer is told it.
    fn for_js(&self) -> Value {
        match self {
            Self::Redis(redis) => json!({"type": "Redis", "options": {"redis": redis.url()}}),
            Self::Etcd(etcd) => json!(format!("etcd3://{}", etcd.address())),
        }
    }

    async fn kill(&mut self) {
        match self {
            Self::Redis(redis) => redis.kill().await,
            Self::Etcd(etcd) => etcd.kill().await,
        }
    }

    async fn restart(&mut self) {
        match self {
            Self::Redis(redis) => redis.restart().await,
            Self::Etcd(etcd) => etcd.restart().await,
        }
    }
}

/// A mesh on NATS whose nodes find each other in a store.
struct Mesh {
    nats: NatsServer,
    store: Store,
}

impl Mesh {
    async fn redis() -> Self {
        let store = Store::Redis(RedisServer::start().await);
        Self { nats: NatsServer::start().await, store }
    }

    async fn etcd() -> Self {
        let store = Store::Etcd(EtcdServer::start().await);
        Self { nats: NatsServer::start().await, store }
    }

    fn options(&self, node_id: &str) -> BrokerOptions {
        let mut options = broker::on_nats(node_id, &self.nats.url());
        options.namespace = "disc".into();
        options.heartbeat_interval = Duration::from_millis(500);
        options.heartbeat_timeout = Duration::from_secs(4);
        options.registry.discoverer.finder = self.store.finder();
        options.transit.disable_version_check = true;
        options
    }

    async fn rs(&self, node_id: &str) -> ServiceBroker {
        let node = broker::start(self.options(node_id)).await;
        mirror::add(&node).await;
        node
    }

    async fn js(&self, version: Version, node_id: &str) -> Peer {
        self.js_with(version, node_id, self.store.for_js()).await
    }

    async fn js_with(&self, version: Version, node_id: &str, discoverer: Value) -> Peer {
        let options = json!({"namespace": "disc", "heartbeatInterval": 1, "heartbeatTimeout": 4,
            "transit": {"disableVersionCheck": true}, "requestTimeout": 20_000,
            "registry": {"discoverer": discoverer}});
        let listen = [("ears", "order.*", "ears")];
        Peer::listening(version, node_id, &self.nats.url(), options, &listen).await
    }
}

#[tokio::test]
async fn server_a_node_id_that_is_taken_is_refused_with_both_stores() {
    for mesh in [Mesh::redis().await, Mesh::etcd().await] {
        let js = mesh.js(Version::V15, "taken").await;
        let second = ServiceBroker::new(mesh.options("taken")).unwrap();
        let refused = second.start().await.unwrap_err().to_string();
        assert!(refused.contains("another process uses the node ID 'taken'"), "{refused}");
        second.stop().await;
        // A node of JavaScript ends its process when it hears of a second one.
        assert_eq!(js.call("js.node", json!({})).await.unwrap(), "taken");
        js.stop().await;
    }
}

async fn ask(node: &ServiceBroker, action: &str, params: Value) -> Value {
    call(node, action, &params, CallOptions::default()).await.unwrap()
}

async fn everything_works_with(mesh: &Mesh, version: Version) {
    let rs = mesh.rs("rs-1").await;
    let heard = mirror::listen(&rs, "rs-ears", "order.*", "rs-ears").await;
    let js = mesh.js(version, "js-1").await;
    js.wait_for_services(&["rs", "rs-ears"]).await;
    broker::wait_for(&rs, &["js", "ears"]).await;
    let params = json!({"text": "ü"});
    assert_eq!(ask(&rs, "js.echo", params.clone()).await, params);
    assert_eq!(js.call("rs.echo", params.clone()).await.unwrap(), params);
    broker::emit(&rs, "order.paid", &json!({"n": 1}), &[]).await;
    js.ask("emit", json!({"event": "order.paid", "data": value(&json!({"n": 2}))})).await.unwrap();
    assert_eq!(js.received("order.paid", 2).await.len(), 2);
    assert_eq!(heard.at_least(2).await.len(), 2);
    let pong = js.ask("ping", json!({"nodeID": "rs-1", "timeout": 5000})).await.unwrap();
    assert_eq!(pong["nodeID"], "rs-1");
    assert!(rs.ping(&"js-1".into(), Duration::from_secs(5)).await.unwrap().is_some());

    // A service that comes and goes is seen by its number.
    mirror::add_as(&rs, "later").await;
    js.wait_for_services(&["later"]).await;
    assert!(rs.remove_service(&"later".into()).await);
    wait::until("the service to be withdrawn", || async {
        let list = js.call("$node.services", json!({})).await.unwrap();
        let item = list.as_array().unwrap().iter().find(|item| item["name"] == "later").cloned();
        item.is_none_or(|item| item["available"] == false).then_some(())
    })
    .await;

    rs.stop().await;
    js.wait_for_node("rs-1", false).await;
    js.stop().await;
}

#[tokio::test]
async fn server_moleculer_0_15_and_we_find_each_other_in_redis() {
    everything_works_with(&Mesh::redis().await, Version::V15).await;
}

#[tokio::test]
async fn server_moleculer_0_14_and_we_find_each_other_in_redis() {
    everything_works_with(&Mesh::redis().await, Version::V14).await;
}

#[tokio::test]
async fn server_moleculer_0_15_and_we_find_each_other_in_etcd() {
    everything_works_with(&Mesh::etcd().await, Version::V15).await;
}

#[tokio::test]
async fn server_moleculer_0_14_and_we_find_each_other_in_etcd() {
    everything_works_with(&Mesh::etcd().await, Version::V14).await;
}

#[tokio::test]
async fn server_what_is_left_in_a_store_may_be_written_in_any_format() {
    let (redis, etcd) = (Mesh::redis().await, Mesh::etcd().await);
    for format in [Serializer::JsonExt, Serializer::MsgPack, Serializer::Notepack, Serializer::Cbor]
    {
        for mesh in [&redis, &etcd] {
            let start = async |node_id: &str| {
                let mut options = mesh.options(node_id);
                options.registry.discoverer.serializer = format;
                options.registry.discoverer.full_check = 1;
                let node = broker::start(options).await;
                mirror::add(&node).await;
                node
            };
            let (a, b) = (start("rs-1").await, start("rs-2").await);
            wait_for_node(&a, "rs-2", true).await;
            broker::wait_for_service_on(&a, "rs", "rs-2").await;
            // The load stands in the value of the sign.
            wait::until("the load of the other node", || async {
                let registry = a.registry().read();
                registry.nodes.get("rs-2").and_then(|node| node.load.cpu()).map(drop)
            })
            .await;
            let mut discoverer = match &mesh.store {
                Store::Redis(_) => mesh.store.for_js(),
                Store::Etcd(etcd) => {
                    json!({"type": "Etcd3", "options": {"etcd": {"hosts": etcd.address()}}})
                }
            };
            discoverer["options"]["serializer"] = format.name().into();
            discoverer["options"]["fullCheck"] = 1.into();
            let js = mesh.js_with(Version::V15, "js-1", discoverer).await;
            js.wait_for_services(&["rs"]).await;
            broker::wait_for(&a, &["js"]).await;
            js.stop().await;
            b.stop().await;
            a.stop().await;
        }
    }
}

#[tokio::test]
async fn server_keys_in_redis_are_those_of_moleculer_and_go_with_the_node() {
    let mesh = Mesh::redis().await;
    let Store::Redis(redis) = &mesh.store else { unreachable!() };
    let rs = mesh.rs("rs-1").await;
    let keys = async || {
        let keys = redis.ask(&["keys", "*"]).await;
        let mut keys: Vec<String> = keys.lines().map(str::to_owned).collect();
        keys.sort();
        keys
    };
    // One sign only, however often the services changed.
    let (sign, info) = wait::until("both keys, with the service that came last", || async {
        let keys = keys().await;
        let [sign, info] = keys.as_slice() else { return None };
        assert_eq!(info, "MOL-disc-DSCVR-INFO:rs-1");
        let info: Value = serde_json::from_str(&redis.ask(&["get", info]).await).unwrap();
        let services = info["services"].as_array().unwrap();
        let has_rs = services.iter().any(|service| service["name"] == "rs");
        (has_rs && sign.ends_with(&format!("|{}", info["seq"]))).then(|| (sign.clone(), info))
    })
    .await;
    let hash: String = info["instanceID"].as_str().unwrap().chars().take(8).collect();
    assert!(sign.starts_with(&format!("MOL-disc-DSCVR-BEAT:rs-1|{hash}|")), "{sign}");
    assert_eq!((&info["ver"], &info["sender"]), (&json!("5"), &json!("rs-1")));
    assert!(info["services"].is_array() && info["ipList"].is_array());
    let beat: Value = serde_json::from_str(&redis.ask(&["get", &sign]).await).unwrap();
    assert_eq!((&beat["sender"], &beat["instanceID"]), (&json!("rs-1"), &info["instanceID"]));
    assert!(sign.ends_with(&format!("|{}", beat["seq"])), "{sign}: {beat}");
    let left: i64 = redis.ask(&["pttl", &sign]).await.parse().unwrap();
    assert!((1..=4_000).contains(&left), "{left}");
    let left: i64 = redis.ask(&["ttl", "MOL-disc-DSCVR-INFO:rs-1"]).await.parse().unwrap();
    assert!((1_700..=1_800).contains(&left), "{left}");
    rs.stop().await;
    assert!(keys().await.is_empty());
}

/// Nothing of discovery goes over the transporter but the good-bye.
#[tokio::test]
async fn server_nodes_without_the_store_are_not_seen_and_see_nobody() {
    let mesh = Mesh::redis().await;
    let rs = mesh.rs("rs-1").await;
    let other = mesh.rs("rs-2").await;
    let mut options = mesh.options("local");
    options.registry.discoverer.finder = Finder::Local;
    let local = broker::start(options).await;
    wait_for_node(&rs, "rs-2", true).await;
    // Long enough for all of them to have spoken.
    mirror::add_as(&other, "more").await;
    broker::wait_for(&rs, &["more"]).await;
    for (node, stranger) in [(&rs, "local"), (&local, "rs-1"), (&local, "rs-2")] {
        assert!(node.registry().read().nodes.get(stranger).is_none(), "{stranger}");
    }
}

async fn a_killed_node_is_missed(mesh: &Mesh) {
    let rs = mesh.rs("rs-1").await;
    let first = mesh.js(Version::V15, "js-1").await;
    broker::wait_for(&rs, &["js"]).await;
    let options = CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() };
    let waiting = task::run(rs.call("js.silent", broker::json(&json!({})), options));
    wait::until("the request to be sent", || async {
        (metric(&rs, "moleculer.transit.requests.active") > 0).then_some(())
    })
    .await;
    first.kill().await;
    let error = wait::for_result("the end of the call", waiting).await.unwrap().unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestRejectedError", true));
    wait_for_node(&rs, "js-1", false).await;
    let second = mesh.js(Version::V15, "js-1").await;
    broker::wait_for(&rs, &["js"]).await;
    assert_eq!(ask(&rs, "js.node", json!({})).await, "js-1");
    second.wait_for_services(&["rs"]).await;
    assert_eq!(second.call("rs.node", json!({})).await.unwrap(), "rs-1");
}

#[tokio::test]
async fn server_a_killed_node_is_missed_by_its_sign_in_redis() {
    a_killed_node_is_missed(&Mesh::redis().await).await;
}

#[tokio::test]
async fn server_a_killed_node_is_missed_by_its_sign_in_etcd() {
    a_killed_node_is_missed(&Mesh::etcd().await).await;
}

async fn a_store_that_goes_away_changes_nothing(mut mesh: Mesh) {
    let (one, two) = (mesh.rs("rs-1").await, mesh.rs("rs-2").await);
    let watch = mirror::listen(&one, "watch", "$node.disconnected", "").await;
    let troubles = mirror::listen(&one, "troubles", "$discoverer.error", "").await;
    broker::wait_for_service_on(&one, "rs", "rs-2").await;
    broker::wait_for_service_on(&two, "rs", "rs-1").await;
    mesh.store.kill().await;
    troubles.at_least(1).await;
    // Long after all signs of life would have ended.
    let end = isomer_host::clock::now() + Duration::from_secs(6);
    wait::until("some seconds without the store", || async {
        assert_eq!(call(&one, "rs.node", &json!({}), broker::to("rs-2")).await.unwrap(), "rs-2");
        (isomer_host::clock::now() > end).then_some(())
    })
    .await;
    mesh.store.restart().await;
    mirror::add_as(&two, "news").await;
    broker::wait_for(&one, &["news"]).await;
    // A third one is found, and finds both.
    let three = mesh.rs("rs-3").await;
    wait_for_node(&one, "rs-3", true).await;
    broker::wait_for_service_on(&three, "rs", "rs-1").await;
    broker::wait_for_service_on(&three, "news", "rs-2").await;
    assert!(watch.now().is_empty(), "{:?}", watch.now());
    assert_eq!(troubles.now().len(), 1, "{:?}", troubles.now());
}

#[tokio::test]
async fn server_nodes_stay_while_redis_is_away_and_are_found_after_it() {
    a_store_that_goes_away_changes_nothing(Mesh::redis().await).await;
}

#[tokio::test]
async fn server_nodes_stay_while_etcd_is_away_and_are_found_after_it() {
    a_store_that_goes_away_changes_nothing(Mesh::etcd().await).await;
}

#[tokio::test]
async fn server_a_redis_that_forgets_everything_loses_nobody() {
    let mesh = Mesh::redis().await;
    let Store::Redis(redis) = &mesh.store else { unreachable!() };
    let (one, two) = (mesh.rs("rs-1").await, mesh.rs("rs-2").await);
    let watch = mirror::listen(&one, "watch", "$node.disconnected", "").await;
    broker::wait_for_service_on(&one, "rs", "rs-2").await;
    redis.ask(&["flushall"]).await;
    wait::until("all keys to be written again", || async {
        (redis.ask(&["keys", "*"]).await.lines().count() == 4).then_some(())
    })
    .await;
    assert!(watch.now().is_empty(), "{:?}", watch.now());
    two.stop().await;
    wait_for_node(&one, "rs-2", false).await;
}

/// What anybody may write into a store is not believed.
#[tokio::test]
async fn server_keys_that_lie_do_no_harm() {
    let mesh = Mesh::redis().await;
    let Store::Redis(redis) = &mesh.store else { unreachable!() };
    let set = async |key: &str, text: &str| {
        redis.ask(&["set", &format!("MOL-disc-DSCVR-{key}"), text]).await;
    };
    set("BEAT:other|x|1", "").await;
    set("INFO:other", "{\"ver\":\"5\",\"sender\":\"victim\",\"services\":[]}").await;
    set("BEAT:broken|x|1", "{").await;
    set("INFO:broken", "{\"ver\":").await;
    set("BEAT:no number", "").await;
    set("BEAT:a|b|c|d|-1", "").await;
    set("BEAT:silent|x|1", "").await;
    redis.ask(&["lpush", "MOL-disc-DSCVR-BEAT:list|x|1", "x"]).await;
    redis.ask(&["lpush", "MOL-disc-DSCVR-INFO:list", "x"]).await;
    let (one, two) = (mesh.rs("rs-1").await, mesh.rs("rs-2").await);
    broker::wait_for_service_on(&one, "rs", "rs-2").await;
    for node in [&one, &two] {
        let registry = node.registry().read();
        let ids: Vec<&str> = registry.nodes.iter().map(|node| &*node.id).collect();
        assert_eq!(ids, ["rs-1", "rs-2"]);
    }
    assert!(metric(&one, "isomer.discoverer.refused") >= 2);
}

#[tokio::test]
async fn server_a_cluster_of_three_is_a_store_too() {
    let servers = RedisServer::start_cluster_of_three().await;
    let nats = NatsServer::start().await;
    let finder = Finder::Redis {
        urls: servers.iter().map(RedisServer::url).collect(),
        cluster: true,
        scan_length: 1,
    };
    let start = async |node_id: &str| {
        let mut options = broker::on_nats(node_id, &nats.url());
        options.heartbeat_interval = Duration::from_millis(500);
        options.heartbeat_timeout = Duration::from_secs(4);
        options.registry.discoverer.finder = finder.clone();
        let node = broker::start(options).await;
        mirror::add(&node).await;
        node
    };
    let mut nodes = Vec::new();
    for n in 0..6 {
        nodes.push(start(&format!("rs-{n}")).await);
    }
    for node in &nodes {
        for n in 0..6 {
            broker::wait_for_service_on(node, "rs", &format!("rs-{n}")).await;
        }
    }
    nodes[5].stop().await;
    wait_for_node(&nodes[0], "rs-5", false).await;
}
