//! What breaks under load: servers and peers that are killed, stopped, cut off or do not read. The mesh heals
//! by itself, every call ends once (with its answer or a named error), and nothing is left behind.

use std::time::Duration;

use bytes::Bytes;
use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::uid;
use serde_json::{Value, json};
use tests::broker::{self, call, metric, to, wait_for_node};
use tests::cluster::Cluster;
use tests::load::{Ends, Handled, Load, burst};
use tests::nats_server::NatsServer;
use tests::network::Cable;
use tests::peer::{Peer, Version};
use tests::redis_server::RedisServer;
use tests::{mirror, wait};

/// How long a call may take whose answer will not come.
const SHORT: Duration = Duration::from_secs(2);
/// How long one may take that has nothing to do with what is broken, on a machine that is busy.
const LONG: Duration = Duration::from_secs(25);
/// Large calls that are more than all buffers on a way hold.
const MANY: usize = 50;

/// Misses others after two seconds.
fn attentive(options: BrokerOptions) -> BrokerOptions {
    BrokerOptions {
        heartbeat_interval: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_secs(2),
        ..options
    }
}

/// The same for a JavaScript node.
fn attentive_js() -> Value {
    json!({"heartbeatInterval": 1, "heartbeatTimeout": 2, "requestTimeout": 20_000})
}

/// Two nodes of ours and one of JavaScript on one server. Ours call the other two.
struct Trio {
    caller: ServiceBroker,
    callee: ServiceBroker,
    handled: Handled,
    js: Peer,
}

impl Trio {
    async fn start(options: impl Fn(&str) -> BrokerOptions, js: Peer) -> Self {
        let caller = broker::start(attentive(options("rs-1"))).await;
        mirror::add(&caller).await;
        let callee = broker::start(attentive(options("rs-2"))).await;
        let handled = Handled::add(&callee).await;
        broker::wait_for(&caller, &["once", "js"]).await;
        js.wait_for_services(&["rs"]).await;
        Self { caller, callee, handled, js }
    }

    /// Calls of the node of ours, within `patience`, and of that of JavaScript.
    fn load(&self, patience: Duration) -> [Load; 2] {
        let to = |target, limit| Load::start(&self.caller, target, 32, limit);
        [to(("once.echo", "rs-2"), patience), to(("js.echo", "js-1"), SHORT)]
    }

    /// Everybody reaches everybody, and nothing is left of what went wrong.
    async fn is_whole(&self, loads: [Load; 2]) {
        for load in &loads {
            load.more_answers(200).await;
        }
        for load in loads {
            let Ends { answered, .. } = load.end().await;
            assert!(answered >= 400, "{answered}");
        }
        wait::until("an answer to JavaScript", || async {
            self.js.call("rs.node", json!({})).await.ok()
        })
        .await;
        assert_eq!(self.handled.twice(), Vec::<u64>::new(), "handled twice");
        for node in [&self.caller, &self.callee] {
            assert_nothing_left(node).await;
        }
    }
}

async fn assert_nothing_left(node: &ServiceBroker) {
    let left = || {
        let streams = ["isomer.transit.streams.in.active", "moleculer.transit.streams.send.active"];
        let streams: i64 = streams.iter().map(|name| metric(node, name)).sum();
        (node.pending_requests(), node.running_contexts(), streams)
    };
    wait::until("nothing to be left", || async { (left() == (0, 0, 0)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_calls_end_once_while_nats_is_killed_and_comes_back() {
    let mut nats = NatsServer::start().await;
    let js = Peer::start("js-1", &nats.url(), attentive_js()).await;
    let url = nats.url();
    let trio = Trio::start(|node_id| broker::on_nats(node_id, &url), js).await;
    let loads = trio.load(SHORT);
    for _ in 0..2 {
        loads[0].more_answers(200).await;
        loads[1].more_answers(200).await;
        nats.kill().await;
        loads[0].more(64).await;
        nats.restart().await;
    }
    trio.is_whole(loads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_a_stopped_nats_with_full_buffers_is_waited_for_and_the_mesh_heals() {
    let nats = NatsServer::start().await;
    let js = Peer::start("js-1", &nats.url(), attentive_js()).await;
    let url = nats.url();
    let trio = Trio::start(|node_id| broker::on_nats(node_id, &url), js).await;
    let loads = trio.load(SHORT);
    loads[0].more_answers(200).await;
    loads[1].more_answers(200).await;
    nats.pause();
    assert_eq!(burst(&trio.caller, ("once.echo", "rs-2"), MANY).await, 0);
    loads[0].more(64).await;
    wait_for_node(&trio.caller, "rs-2", false).await;
    wait_for_node(&trio.callee, "rs-1", false).await;
    nats.resume();
    trio.is_whole(loads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_a_stopped_redis_with_full_buffers_is_waited_for_and_the_mesh_heals() {
    let redis = RedisServer::start().await;
    let js = Peer::start("js-1", &redis.url(), attentive_js()).await;
    let urls = [redis.url()];
    let trio = Trio::start(|node_id| broker::on_redis(node_id, &urls), js).await;
    let loads = trio.load(SHORT);
    loads[0].more_answers(200).await;
    loads[1].more_answers(200).await;
    redis.pause();
    assert_eq!(burst(&trio.caller, ("once.echo", "rs-2"), MANY).await, 0);
    loads[0].more(64).await;
    wait_for_node(&trio.caller, "rs-2", false).await;
    redis.resume();
    trio.is_whole(loads).await;
}

/// Options of a JavaScript node on TCP that knows one of ours.
fn js_on_tcp(namespace: &str, rs: &ServiceBroker) -> Value {
    let node = broker::endpoint(rs);
    let urls = [format!("127.0.0.1:{}/{}", node.port, node.node_id)];
    let tcp = json!({"udpDiscovery": false, "urls": urls, "gossipPeriod": 1, "useHostname": false});
    json!({"namespace": namespace, "requestTimeout": 20_000,
        "transporter": {"type": "TCP", "options": tcp}})
}

/// Two nodes of ours and one of JavaScript that reach each other by TCP.
async fn on_tcp() -> (Trio, Value) {
    let namespace = uid::new().to_string();
    let caller = broker::start(broker::on_tcp("rs-1", &namespace, &[])).await;
    mirror::add(&caller).await;
    let known = [broker::endpoint(&caller)];
    let callee = broker::start(broker::on_tcp("rs-2", &namespace, &known)).await;
    let handled = Handled::add(&callee).await;
    let options = js_on_tcp(&namespace, &caller);
    let js = Peer::start("js-1", "TCP", options.clone()).await;
    js.wait_for_services(&["rs"]).await;
    broker::wait_for(&caller, &["once", "js"]).await;
    (Trio { caller, callee, handled, js }, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_calls_end_once_while_a_tcp_peer_is_killed_and_comes_back() {
    let (mut trio, options) = on_tcp().await;
    let loads = trio.load(LONG);
    loads[0].more_answers(200).await;
    loads[1].more_answers(200).await;
    let killed = std::mem::replace(&mut trio.js, Peer::script("peer.js", Version::V15, "unused"));
    killed.kill().await;
    wait_for_node(&trio.caller, "js-1", false).await;
    loads[1].more(64).await;
    // Whoever has nothing to do with the dead node has not noticed.
    loads[0].more_answers(200).await;
    assert_eq!(loads[0].failures(), 0);
    trio.js = Peer::start("js-1", "TCP", options).await;
    trio.js.wait_for_services(&["rs"]).await;
    trio.is_whole(loads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_a_peer_that_does_not_read_costs_its_own_calls_only() {
    let (trio, _) = on_tcp().await;
    let loads = trio.load(LONG);
    loads[0].more_answers(100).await;
    loads[1].more_answers(100).await;
    trio.js.pause();
    assert_eq!(burst(&trio.caller, ("js.echo", "js-1"), MANY).await, 0);
    loads[1].more(64).await;
    // The other connection goes on as if nothing were.
    loads[0].more_answers(200).await;
    assert_eq!(loads[0].failures(), 0);
    trio.js.resume();
    trio.is_whole(loads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_a_node_behind_a_broken_cable_is_missed_and_found_again() {
    let Ok(cable) = Cable::lay().await else {
        // A stopped server, above, is a partition too; it needs no rights.
        return;
    };
    let nats = NatsServer::start_at("0.0.0.0").await;
    let near = nats.url();
    let far = format!("nats://{}:{}", cable.near(), nats.port());
    let js = Peer::beyond(&cable, "js-1", &far, attentive_js()).await;
    let trio = Trio::start(|node_id| broker::on_nats(node_id, &near), js).await;
    let loads = trio.load(LONG);
    loads[1].more_answers(200).await;
    cable.cut().await;
    wait_for_node(&trio.caller, "js-1", false).await;
    loads[1].more(64).await;
    // On this side everything goes on.
    loads[0].more_answers(200).await;
    assert_eq!(loads[0].failures(), 0);
    cable.mend().await;
    wait_for_node(&trio.caller, "js-1", true).await;
    trio.js.wait_for_node("rs-1", true).await;
    trio.is_whole(loads).await;
}

/// A clock of a peer that is wrong by an hour, or by anything, is in its heartbeats and pings only.
#[tokio::test(start_paused = true)]
async fn odd_times_and_loads_in_packets_change_nothing() {
    let cluster = Cluster::start(&["a", "b"], |_| {}).await;
    let a = &cluster.nodes[0];
    let hour = 3_600_000_i64;
    let now = i64::try_from(isomer_host::clock::unix_ms()).unwrap();
    for time in
        [json!(now - hour), json!(now + hour), json!(0), json!(-1), json!(1e300), json!(null)]
    {
        for (topic, packet) in [
            ("MOL.HEARTBEAT", json!({"ver": "5", "sender": "b", "cpu": time, "time": time})),
            ("MOL.PING.a", json!({"ver": "5", "sender": "b", "time": time, "id": "i"})),
            (
                "MOL.PONG.a",
                json!({"ver": "5", "sender": "b", "time": time, "arrived": time, "id": "i"}),
            ),
        ] {
            cluster.bus.inject(topic, &Bytes::from(packet.to_string()));
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(a.registry().read().nodes.get("b").unwrap().available);
    assert_eq!(call(a, "rs.node", &json!({}), to("b")).await.unwrap(), "b");
    let pong = a.ping(&"b".into(), Duration::from_secs(1)).await.unwrap().unwrap();
    assert!((0.0..60_000.0).contains(&pong.elapsed_time), "{pong:?}");
    let list = call(a, "$node.list", &json!({}), CallOptions::default()).await.unwrap();
    assert!(list.as_array().unwrap().iter().any(|node| node["id"] == "b"));
}
