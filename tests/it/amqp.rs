//! A node of ours and Moleculer JS on a real rabbitmq-server.

use std::collections::BTreeMap;
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::problem::Place;
use isomer_host::config::transporter::{self, amqp::Options};
use isomer_host::config::value::Located;
use isomer_host::config::{BrokerOptions, Transporter};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::amqp_server::AmqpServer;
use tests::pair::{self, Pair};
use tests::peer::{Peer, Version, value};
use tests::process::Process;
use tests::{broker, mirror, node, tree, wait};

fn ours(server: &AmqpServer) -> Options {
    Options::new(vec![server.url()])
}

fn on(node_id: &str, namespace: &str, options: Options) -> BrokerOptions {
    pair::on(node_id, namespace, Transporter::Amqp(Box::new(options)))
}

/// Options of a JS broker; `more` are further ones of its transporter.
fn js(server: &AmqpServer, namespace: &str, more: &Value) -> Value {
    let mut options = json!({"url": server.url()});
    options.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let options = json!({"transporter": {"type": "AMQP", "options": options}});
    pair::js_options(namespace, &options)
}

/// Everything that needs no server of its own, one after the other.
#[tokio::test]
async fn server_amqp_carries_everything_to_and_from_moleculer() {
    let server = AmqpServer::start().await;
    for version in [Version::V15, Version::V14] {
        let namespace = format!("amqp.{version:?}");
        let peer = js(&server, &namespace, &json!({}));
        let pair = Pair::start(version, on("rs-1", &namespace, ours(&server)), peer).await;
        pair.check().await;
        pair.js.stop().await;
        broker::wait_for_node(&pair.rs, "js-1", false).await;
        pair.rs.stop().await;
    }
    options_are_the_same_on_both_sides(&server).await;
    queues_that_differ_are_refused_by_name(&server).await;
    credentials_are_used(&server).await;
    calls_are_shared_and_events_reach_one_of_a_group(&server).await;
    a_request_of_a_killed_node_is_given_to_another(&server).await;
    tls_is_spoken_with_whom_the_system_trusts(&server).await;
    a_node_id_that_is_taken_is_refused(&server).await;
}

/// The authority must be given to a process by its environment.
async fn tls_is_spoken_with_whom_the_system_trusts(server: &AmqpServer) {
    let file = |name: &str| tree::top().join("tests/tls").join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let start = |trusted: &str| {
        let mut command = node::command(folder.path());
        command.args(["start", "services", "--transporter", &server.tls_url()]);
        command.env("SSL_CERT_FILE", trusted);
        Process::spawn("isomer start", &mut command)
    };
    start(&file("ca.pem")).line("connected to the transporter").await;
    let line = start(&file("server.pem")).line("cannot be joined").await;
    assert!(line.contains("TLS: invalid peer certificate"), "{line}");
}

async fn a_node_id_that_is_taken_is_refused(server: &AmqpServer) {
    let peer = js(server, "taken", &json!({}));
    let js = Peer::listening(Version::V15, "taken", "", peer, &[]).await;
    let error = refusal(on("taken", "taken", ours(server))).await;
    assert!(error.contains("another process uses the node ID 'taken'"), "{error}");
    // A node of JavaScript ends its process when it hears of a second one.
    assert_eq!(js.call("js.node", json!({})).await.unwrap(), "taken");
    js.stop().await;
}

/// Each side declares the queues that the other sends to, so that a difference would be refused.
async fn options_are_the_same_on_both_sides(server: &AmqpServer) {
    let options = json!({"prefetch": 5, "eventTimeToLive": 5000, "heartbeatTimeToLive": 6000,
        "autoDeleteQueues": 30_000, "queueOptions": {"maxLength": 1000},
        "exchangeOptions": {"durable": false}, "messageOptions": {"expiration": "20000"}});
    let mut all = json!({"type": "AMQP", "options": options});
    all["options"]["url"] = json!(server.url());
    let located = Located::from_json(all, &Place::Flag("--transporter"));
    let Some(Transporter::Amqp(ours)) = transporter::read(&located).unwrap() else {
        panic!("no AMQP")
    };
    let peer = js(server, "options", &options);
    let pair = Pair::start(Version::V15, on("rs-1", "options", (*ours).clone()), peer).await;
    pair.check().await;
    pair.stop().await;
    // Each takes over the queues of the other, which are still there.
    let mut peer = js(server, "options", &options);
    peer["nodeID"] = json!("rs-1");
    Peer::start("rs-1", "", peer).await.stop().await;
    broker::start(on("js-1", "options", *ours)).await.stop().await;
}

async fn queues_that_differ_are_refused_by_name(server: &AmqpServer) {
    let node = broker::start(on("rs-1", "differ", ours(server))).await;
    node.stop().await;
    let other = Options { auto_delete_queues: Some(Duration::from_secs(9)), ..ours(server) };
    let error = refusal(on("rs-1", "differ", other)).await;
    assert!(error.contains("PRECONDITION_FAILED") && error.contains("x-expires"), "{error}");
}

async fn credentials_are_used(server: &AmqpServer) {
    let url = server.url().replace("amqp://", "amqp://guest:secret@");
    let error = refusal(on("rs-1", "login", Options::new(vec![url]))).await;
    assert!(error.contains("ACCESS_REFUSED") && !error.contains("secret"), "{error}");
    let url = format!("{}/nowhere", server.url());
    let error = refusal(on("rs-1", "login", Options::new(vec![url]))).await;
    assert!(error.contains("vhost nowhere"), "{error}");
    let urls = vec!["amqp://127.0.0.1:1".into(), format!("{}/%2F?heartbeat=5", server.url())];
    broker::start(on("rs-1", "login", Options::new(urls))).await.stop().await;
}

/// Why a node cannot join.
async fn refusal(mut options: BrokerOptions) -> String {
    options.transit.disable_reconnect = true;
    let node = ServiceBroker::new(options).unwrap();
    let error = wait::for_result("a refusal", node.start()).await.unwrap_err();
    node.stop().await;
    error.to_string()
}

/// `disableBalancer` on both sides.
async fn calls_are_shared_and_events_reach_one_of_a_group(server: &AmqpServer) {
    let mut rs = Vec::new();
    let mut heard = Vec::new();
    for id in ["rs-1", "rs-2"] {
        let mut options = on(id, "shared", ours(server));
        options.disable_balancer = true;
        let node = broker::start(options).await;
        mirror::add_as(&node, "js").await;
        heard.push(mirror::listen(&node, "desk", "paid", "").await);
        rs.push(node);
    }
    let mut peer = js(server, "shared", &json!({}));
    peer["disableBalancer"] = json!(true);
    let listen = [("desk", "paid", "")];
    let js = Peer::listening(Version::V15, "js-1", "", peer, &listen).await;
    for node in &rs {
        for id in ["rs-1", "rs-2", "js-1"] {
            broker::wait_for_service_on(node, "js", id).await;
            broker::wait_for_service_on(node, "desk", id).await;
        }
    }
    for id in ["rs-1", "rs-2"] {
        js.wait_for_node(id, true).await;
    }
    let mut shares = BTreeMap::<String, usize>::new();
    for _ in 0..30 {
        let name = broker::call(&rs[0], "js.node", &json!({}), CallOptions::default()).await;
        *shares.entry(name.unwrap().to_string()).or_default() += 1;
    }
    assert_eq!(shares.len(), 3, "{shares:?}");
    let load = json!({"action": "js.node", "params": value(&json!({})), "options": {},
        "count": 30, "parallel": 1});
    let answer = js.ask("load", load).await.unwrap();
    assert_eq!((answer["results"].as_object().unwrap().len(), &answer["errors"]), (3, &json!([])));
    for _ in 0..15 {
        broker::emit(&rs[0], "paid", &json!(1), &[]).await;
        js.ask("emit", json!({"event": "paid", "data": value(&json!(1))})).await.unwrap();
    }
    let total = async || {
        let ours: usize = heard.iter().map(|heard| heard.now().len()).sum();
        ours + js.received("paid", 0).await.len()
    };
    wait::until("all events", || async { (total().await >= 30).then_some(()) }).await;
    broker::broadcast(&rs[0], "paid", &json!(1), &[]).await;
    wait::until("the broadcast", || async { (total().await >= 33).then_some(()) }).await;
    assert_eq!(total().await, 33);
    js.stop().await;
    for node in rs {
        node.stop().await;
    }
}

/// What a node has not answered when it dies is asked of another.
async fn a_request_of_a_killed_node_is_given_to_another(server: &AmqpServer) {
    let options = || BrokerOptions {
        disable_balancer: true,
        request_timeout: Duration::ZERO,
        ..on("rs-1", "killed", ours(server))
    };
    let caller = broker::start(options()).await;
    let mut peer = js(server, "killed", &json!({}));
    peer["disableBalancer"] = json!(true);
    let js = Peer::start("js-1", "", peer).await;
    broker::wait_for(&caller, &["js"]).await;
    // JavaScript is given the request, but cannot answer any more.
    js.pause();
    let asking = caller.clone();
    let asked = isomer_host::task::run(async move {
        broker::call(&asking, "js.node", &json!({}), CallOptions::default()).await
    });
    let pending = || async { (caller.pending_requests() > 0).then_some(()) };
    wait::until("the request to be under way", pending).await;
    js.kill().await;
    let second = broker::start(BrokerOptions { node_id: Some("rs-2".into()), ..options() }).await;
    mirror::add_as(&second, "js").await;
    assert_eq!(wait::for_result("the answer", asked).await.unwrap().unwrap(), "rs-2");
    second.stop().await;
    caller.stop().await;
}

#[tokio::test]
async fn server_amqp_is_joined_again_after_a_restart_of_the_server() {
    let mut server = AmqpServer::start().await;
    let peer = js(&server, "again", &json!({}));
    let pair = Pair::start(Version::V15, on("rs-1", "again", ours(&server)), peer).await;
    pair.check().await;
    server.kill().await;
    server.restart().await;
    wait::until("an answer after the restart", || async {
        let limit = Some(Duration::from_millis(500));
        let options = CallOptions { timeout: limit, ..CallOptions::default() };
        broker::call(&pair.rs, "js.node", &json!({}), options).await.ok()
    })
    .await;
    pair.know_each_other().await;
    pair.check().await;
    pair.stop().await;
}
