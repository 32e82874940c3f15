//! Nodes that reach each other by TCP, without a server: ours among themselves, and with real Moleculer JS
//! brokers. Everything is on loopback; each test has a namespace and ports of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::transporter::tcp::{Broadcast, Endpoint, Urls};
use isomer_host::config::{BrokerOptions, Protocol, Tcp, Transporter};
use isomer_host::context::CallOptions;
use isomer_host::uid;
use serde_json::{Value, json};
use tests::broker::{self, call, endpoint, to, wait_for_node};
use tests::peer::{Peer, Version, undefined, value};
use tests::{mirror, wait};

/// A namespace of its own for each test: what datagrams of other tests say is not for it.
fn namespace() -> String {
    uid::new().to_string()
}

fn tcp_of(options: &mut BrokerOptions) -> &mut Tcp {
    match &mut options.transporter {
        Some(Transporter::Tcp(tcp)) => tcp,
        other => panic!("{other:?}"),
    }
}

/// A node of ours with the service `rs`.
async fn rs(node_id: &str, namespace: &str, nodes: &[Endpoint]) -> ServiceBroker {
    rs_with(broker::on_tcp(node_id, namespace, nodes)).await
}

async fn rs_with(options: BrokerOptions) -> ServiceBroker {
    let node = broker::start(options).await;
    mirror::add(&node).await;
    node
}

/// Options of a JavaScript node that knows these nodes, and finds no others.
fn js_options(namespace: &str, nodes: &[Endpoint]) -> Value {
    let url = |node: &Endpoint| format!("{}:{}/{}", node.host, node.port, node.node_id);
    let urls: Vec<String> = nodes.iter().map(url).collect();
    json!({
        "namespace": namespace,
        "requestTimeout": 20_000,
        "transporter": {"type": "TCP", "options":
            {"udpDiscovery": false, "urls": urls, "gossipPeriod": 1, "useHostname": false}},
    })
}

/// One node of each kind, which know each other. The one of ours is named to the other.
struct Pair {
    js: Peer,
    rs: ServiceBroker,
    version: Version,
    namespace: String,
}

/// Nodes of Moleculer 0.14 need one that speaks version 4 as well. They stay as strict as they are.
fn speaking(version: Version, mut options: BrokerOptions) -> BrokerOptions {
    if version == Version::V14 {
        options.transit.protocol = Protocol::Auto;
    }
    options
}

async fn pair(version: Version) -> Pair {
    let namespace = namespace();
    let rs = rs_with(speaking(version, broker::on_tcp("rs-1", &namespace, &[]))).await;
    let js = js(version, &namespace, &rs, &[]).await;
    Pair { js, rs, version, namespace }
}

/// A JavaScript node beside one of ours, once both know each other.
async fn js(
    version: Version,
    namespace: &str,
    rs: &ServiceBroker,
    listeners: &[(&str, &str, &str)],
) -> Peer {
    let options = js_options(namespace, &[endpoint(rs)]);
    let js = Peer::listening(version, "js-1", "TCP", options, listeners).await;
    js.wait_for_services(&["rs"]).await;
    broker::wait_for(rs, &["js", "v3.js.versioned"]).await;
    js
}

async fn ask(node: &ServiceBroker, action: &str, params: Value) -> Value {
    call(node, action, &params, CallOptions::default()).await.unwrap()
}

#[tokio::test]
async fn nodes_of_a_list_find_each_other_and_answer() {
    let namespace = namespace();
    let first = rs("n-1", &namespace, &[]).await;
    let second = rs("n-2", &namespace, &[endpoint(&first)]).await;
    // The third knows the second only, and hears of the first from it.
    let third = rs("n-3", &namespace, &[endpoint(&second)]).await;
    let all = [&first, &second, &third];
    for node in all {
        for other in all {
            broker::wait_for_service_on(node, "rs", other.node_id()).await;
            let answer = call(node, "rs.node", &json!({}), to(other.node_id())).await.unwrap();
            assert_eq!(answer, **other.node_id());
        }
    }
    let pongs = first.ping_nodes(&[], Duration::from_secs(10)).await;
    assert_eq!(pongs.len(), 2);
    assert!(pongs.values().all(Option::is_some), "{pongs:?}");
    let large = json!({"large": "x".repeat(700_000)});
    assert_eq!(call(&first, "rs.echo", &large, to("n-3")).await.unwrap(), large);
    let error = call(&first, "rs.echo", &json!("x".repeat(1 << 20)), to("n-3")).await.unwrap_err();
    assert_eq!(error.name(), "PayloadTooLargeError");

    let received = mirror::listen(&third, "mail", "order.*", "").await;
    broker::wait_for_service_on(&first, "mail", "n-3").await;
    broker::wait_for_service_on(&second, "mail", "n-3").await;
    broker::emit(&first, "order.created", &json!({"n": 1}), &[]).await;
    broker::broadcast(&second, "order.paid", &json!({"n": 2}), &[]).await;
    assert_eq!(received.at_least(2).await.len(), 2);

    // A stop is told before the connections end: the service is gone first.
    futures_util::future::join(third.stop(), wait_for_node(&first, "n-3", false)).await;
    wait_for_node(&second, "n-3", false).await;
    let error = call(&first, "mail.x", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");
    // Another node of the same name, on another port, named by nobody.
    let again = rs("n-3", &namespace, &[endpoint(&first)]).await;
    broker::wait_for_service_on(&second, "rs", "n-3").await;
    // What is said of the node that stopped may still meet what is said of its successor, and take it away
    // once more before it is settled.
    wait::until("an answer of the node that came back", || async {
        call(&second, "rs.node", &json!({}), to("n-3")).await.ok()
    })
    .await;
    for node in [first, second, again] {
        node.stop().await;
    }
}

async fn scenario(version: Version) {
    let Pair { js, rs, namespace, .. } = pair(version).await;
    // Calls with everything that they carry, in both directions.
    let params = json!({"text": "ü \u{1F600}", "n": [1, 2.5, null, {"deep": true}]});
    assert_eq!(ask(&rs, "js.echo", params.clone()).await, params);
    assert_eq!(js.call("rs.echo", params.clone()).await.unwrap(), params);
    let options = json!({"meta": {"m": 1}});
    let seen = js.call_with("rs.seen", value(&json!({"p": 1})), options).await.unwrap();
    assert_eq!(seen["result"]["value"]["meta"], json!({"m": 1}));
    assert_eq!(seen["result"]["value"]["nodeID"], "js-1");
    let answer = js.call_with("rs.undefined", undefined(), json!({})).await.unwrap();
    assert_eq!(answer["result"]["kind"], "undefined");
    let relay = json!({"action": "rs.node", "params": {}});
    assert_eq!(ask(&rs, "js.relay", relay).await["result"], "rs-1");

    // Errors keep their class.
    let fault = json!({"className": "MoleculerClientError", "message": "no", "code": 409,
        "type": "CONFLICT", "data": {"a": 1}});
    let error = call(&rs, "js.fail", &fault, CallOptions::default()).await.unwrap_err();
    assert_eq!((error.name(), error.code()), ("MoleculerClientError", 409));
    let error = js.call("rs.fail", fault).await.unwrap_err();
    assert_eq!((&error["name"], &error["code"]), (&json!("MoleculerClientError"), &json!(409)));

    // Pings.
    let pong = js.ask("ping", json!({"nodeID": "rs-1", "timeout": 5000})).await.unwrap();
    assert_eq!(pong["nodeID"], "rs-1");
    let pong = rs.ping(&"js-1".into(), Duration::from_secs(10)).await.unwrap().unwrap();
    assert_eq!(&*pong.node_id, "js-1");

    // Many at once, and large ones.
    let load = json!({"action": "rs.echo", "params": value(&json!({"n": 1})), "count": 2000,
        "parallel": 128, "options": {}});
    let answer = js.ask("load", load).await.unwrap();
    assert_eq!(answer, json!({"results": {"{\"n\":1}": 2000}, "errors": []}));
    let calls = (0..500).map(|n| {
        let (rs, padding) = (rs.clone(), "x".repeat(10_000));
        async move { ask(&rs, "js.echo", json!({"n": n, "padding": padding})).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().enumerate().all(|(n, answer)| answer["n"] == n));
    let large = json!({"large": "x".repeat(900_000)});
    assert_eq!(ask(&rs, "js.echo", large.clone()).await, large);
    assert_eq!(js.call("rs.echo", large.clone()).await.unwrap(), large);

    // What the others know of our node.
    let node = js.wait_for_node("rs-1", true).await;
    assert_eq!(node["port"], json!(endpoint(&rs).port));
    assert_eq!(node["client"]["type"], "isomer");
    // A change of services is told at once.
    mirror::add_as(&rs, "late").await;
    js.wait_for_services(&["late"]).await;
    assert_eq!(js.call("late.node", json!({})).await.unwrap(), "rs-1");

    // A third node of ours, named by nobody, is found through the others.
    let second = broker::on_tcp("rs-2", &namespace, &[endpoint(&rs)]);
    let second = rs_with(speaking(version, second)).await;
    js.wait_for_node("rs-2", true).await;
    broker::wait_for_service_on(&second, "js", "js-1").await;
    assert_eq!(ask(&second, "js.node", json!({})).await, "js-1");
}

#[tokio::test]
async fn server_javascript_0_15_and_our_node_are_one_mesh() {
    scenario(Version::V15).await;
}

#[tokio::test]
async fn server_javascript_0_14_and_our_node_are_one_mesh() {
    scenario(Version::V14).await;
}

#[tokio::test]
async fn server_events_reach_both_sides() {
    let namespace = namespace();
    let rs = rs("rs-1", &namespace, &[]).await;
    let received = mirror::listen(&rs, "rs-mail", "order.*", "").await;
    let js = js(Version::V15, &namespace, &rs, &[("js-mail", "order.*", "")]).await;
    broker::wait_for(&rs, &["js-mail"]).await;
    js.wait_for_services(&["rs-mail"]).await;
    broker::emit(&rs, "order.created", &json!({"n": 1}), &[]).await;
    let args = json!({"event": "order.paid", "data": value(&json!({"n": 2}))});
    js.ask("broadcast", args).await.unwrap();
    let args = json!({"event": "order.sent", "data": value(&json!({"n": 3}))});
    js.ask("emit", args).await.unwrap();
    for event in ["order.created", "order.paid", "order.sent"] {
        let seen = js.received(event, 1).await;
        assert_eq!(seen[0]["service"], "js-mail", "{event}");
    }
    let seen = received.at_least(3).await;
    let names: Vec<_> = seen.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["order.created", "order.paid", "order.sent"]);
}

#[tokio::test]
async fn server_a_killed_javascript_node_is_missed_at_once_and_welcomed_back() {
    let Pair { js: first, rs, version, namespace } = pair(Version::V15).await;
    let options = CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() };
    let waiting = rs.call("js.silent", broker::json(&json!({})), options);
    let waiting = isomer_host::task::run(waiting);
    wait::until("the request to be sent", || async { (rs.pending_requests() > 0).then_some(()) })
        .await;
    first.kill().await;
    let error = wait::for_result("the end of the call", waiting).await.unwrap().unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestRejectedError", true));
    wait_for_node(&rs, "js-1", false).await;
    let error = call(&rs, "js.node", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotAvailableError");

    // It comes back on another port, with a lower seq than it is remembered with.
    let second = js(version, &namespace, &rs, &[]).await;
    assert_eq!(ask(&rs, "js.node", json!({})).await, "js-1");
    assert_eq!(second.call("rs.node", json!({})).await.unwrap(), "rs-1");
    second.stop().await;
    wait_for_node(&rs, "js-1", false).await;
}

#[tokio::test]
async fn server_our_stop_lets_running_calls_finish_and_is_noticed_at_once() {
    let Pair { js, rs, .. } = pair(Version::V15).await;
    let slow = js.call("rs.slow", json!({"ms": 800}));
    let stop = async {
        wait::until("the call to arrive", || async { (rs.running_contexts() > 0).then_some(()) })
            .await;
        rs.stop().await;
    };
    let (answer, ()) = futures_util::future::join(slow, stop).await;
    assert_eq!(answer.unwrap(), "slow");
    js.wait_for_node("rs-1", false).await;
    let error = js.call("rs.node", json!({})).await.unwrap_err();
    assert_eq!(error["name"], "ServiceNotAvailableError");
}

/// A port for datagrams that no other test uses.
fn udp_port() -> u16 {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    socket.local_addr().unwrap().port()
}

/// Nodes that know nobody beforehand; `on` sets how they send datagrams, `js` says the same.
async fn find_by_datagrams(on: impl Fn(&mut Tcp), js: Value) {
    let namespace = namespace();
    let port = udp_port();
    let start = async |node_id: &str| {
        let mut options = broker::on_tcp(node_id, &namespace, &[]);
        let tcp = tcp_of(&mut options);
        (tcp.udp_discovery, tcp.udp_port, tcp.udp_period) = (true, port, Duration::from_secs(1));
        on(tcp);
        rs_with(options).await
    };
    let (first, second) = (start("rs-1").await, start("rs-2").await);
    for (node, other) in [(&first, "rs-2"), (&second, "rs-1")] {
        broker::wait_for_service_on(node, "rs", other).await;
        assert_eq!(call(node, "rs.node", &json!({}), to(other)).await.unwrap(), other);
    }
    if js.is_null() {
        return;
    }
    let mut tcp = json!({"udpPort": port, "udpPeriod": 1, "gossipPeriod": 1});
    tcp.as_object_mut().unwrap().extend(js.as_object().cloned().unwrap());
    let options = json!({"namespace": namespace, "transporter": {"type": "TCP", "options": tcp}});
    let peer = Peer::start("js-1", "TCP", options).await;
    peer.wait_for_services(&["rs"]).await;
    broker::wait_for(&first, &["js"]).await;
    assert_eq!(ask(&first, "js.node", json!({})).await, "js-1");
    assert_eq!(
        peer.call_with("rs.node", value(&json!({})), json!({"nodeID": "rs-2"})).await.unwrap()["result"]
            ["value"],
        "rs-2"
    );
}

#[tokio::test]
async fn server_nodes_find_each_other_by_multicast() {
    let options = json!({"udpMulticast": "239.0.0.0"});
    find_by_datagrams(|_| {}, options).await;
}

#[tokio::test]
async fn server_nodes_find_each_other_by_broadcast() {
    let address = Ipv4Addr::new(127, 255, 255, 255);
    let on = |tcp: &mut Tcp| {
        tcp.udp_multicast = None;
        tcp.udp_broadcast = Broadcast::To(vec![address]);
    };
    find_by_datagrams(on, json!({"udpMulticast": null, "udpBroadcast": "127.255.255.255"})).await;
}

/// Starts a node with an ID that is taken, until it has heard so: on a busy machine the word may come late.
async fn refused(options: &BrokerOptions) -> String {
    wait::until("the node to be refused", || async {
        let second = ServiceBroker::new(options.clone()).unwrap();
        let started = second.start().await;
        second.stop().await;
        started.err().map(|error| error.to_string())
    })
    .await
}

#[tokio::test]
async fn server_a_node_id_that_is_taken_is_refused_where_datagrams_are_heard() {
    let (namespace, port) = (namespace(), udp_port());
    let on = |node_id: &str| {
        let mut options = broker::on_tcp(node_id, &namespace, &[]);
        let tcp = tcp_of(&mut options);
        // Too seldom for anybody to be heard but by answering.
        (tcp.udp_discovery, tcp.udp_port) = (true, port);
        tcp.udp_period = Duration::from_secs(600);
        options
    };
    let first = rs_with(on("taken")).await;
    let error = refused(&on("taken")).await;
    assert!(error.contains("another process uses the node ID 'taken'"), "{error}");
    // Another namespace is another mesh.
    let elsewhere = BrokerOptions { namespace: format!("{namespace}-2"), ..on("taken") };
    broker::start(elsewhere).await.stop().await;
    first.stop().await;
    broker::start(on("taken")).await.stop().await;

    // Moleculer's do not answer, but are heard when they show themselves.
    let tcp = json!({"udpPort": port, "udpPeriod": 0.1, "gossipPeriod": 1});
    let js = json!({"namespace": namespace, "transporter": {"type": "TCP", "options": tcp}});
    let js = Peer::start("js-taken", "TCP", js).await;
    let error = refused(&on("js-taken")).await;
    assert!(error.contains("another process uses the node ID 'js-taken'"), "{error}");
    assert_eq!(js.call("js.node", json!({})).await.unwrap(), "js-taken");
    js.stop().await;
}

#[tokio::test]
async fn a_file_names_nodes_and_the_own_port() {
    let namespace = namespace();
    let first = rs("n-1", &namespace, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodes");
    let port = {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let own = format!("tcp://127.0.0.1:{port}/n-2");
    let other = endpoint(&first);
    let text = format!("{own}\nnonsense\n127.0.0.1:{}/n-1\n", other.port);
    std::fs::write(&file, text).unwrap();
    let mut options = broker::on_tcp("n-2", &namespace, &[]);
    tcp_of(&mut options).urls = Urls::File(file);
    let second = rs_with(options).await;
    assert_eq!(endpoint(&second).port, port);
    broker::wait_for_service_on(&second, "rs", "n-1").await;
    broker::wait_for_service_on(&first, "rs", "n-2").await;
}
