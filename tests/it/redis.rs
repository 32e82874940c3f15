//! The Redis transporter: next to real Moleculer JS brokers of both generations on a real redis-server, with
//! credentials, over TLS, on a cluster, and when the server or a node goes away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::task;
use serde_json::{Value, json};
use tests::broker::{self, call, metric, to, wait_for_node};
use tests::peer::{Peer, Version, value};
use tests::process::Process;
use tests::redis_server::RedisServer;
use tests::{mirror, node, tree, wait};

fn on(node_id: &str, redis: &RedisServer) -> BrokerOptions {
    broker::on_redis(node_id, &[redis.url()])
}

/// A node of ours with the service `rs` that takes packets of both generations.
async fn rs(node_id: &str, redis: &RedisServer) -> ServiceBroker {
    let mut options = on(node_id, redis);
    options.transit.disable_version_check = true;
    let rs = broker::start(options).await;
    mirror::add(&rs).await;
    rs
}

async fn js(version: Version, redis: &RedisServer) -> Peer {
    let options = json!({"transit": {"disableVersionCheck": true}, "requestTimeout": 10_000,
        "heartbeatInterval": 1, "heartbeatTimeout": 3});
    let listen = [("ears", "order.*", "ears")];
    let peer = Peer::listening(version, "js-1", &redis.url(), options, &listen).await;
    peer.wait_for_services(&["rs"]).await;
    peer
}

async fn ask(node: &ServiceBroker, action: &str, params: Value) -> Value {
    call(node, action, &params, CallOptions::default()).await.unwrap()
}

async fn everything_works_with(version: Version) {
    let redis = RedisServer::start().await;
    let rs = rs("rs-1", &redis).await;
    let heard = mirror::listen(&rs, "rs-ears", "order.*", "rs-ears").await;
    let js = js(version, &redis).await;
    js.wait_for_services(&["rs-ears"]).await;
    broker::wait_for(&rs, &["js", "ears"]).await;
    for params in [json!({"text": "ü\u{1F600}"}), json!({"large": "x".repeat(300_000)})] {
        assert_eq!(ask(&rs, "js.echo", params.clone()).await, params);
        assert_eq!(js.call("rs.echo", params.clone()).await.unwrap(), params);
    }
    let params =
        json!({"className": "MoleculerClientError", "message": "no", "code": 418, "type": "T"});
    let error = js.call("rs.fail", params.clone()).await.unwrap_err();
    assert_eq!((&error["code"], &error["nodeID"]), (&json!(418), &json!("rs-1")));
    let error = call(&rs, "js.fail", &params, CallOptions::default()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (418, "T"));

    broker::emit(&rs, "order.paid", &json!({"n": 1}), &[]).await;
    js.ask("emit", json!({"event": "order.paid", "data": value(&json!({"n": 2}))})).await.unwrap();
    broker::broadcast(&rs, "order.all", &json!(1), &[]).await;
    js.ask("broadcast", json!({"event": "order.all", "data": value(&json!(2))})).await.unwrap();
    assert_eq!(js.received("order.paid", 2).await.len(), 2);
    assert_eq!(js.received("order.all", 2).await.len(), 2);
    assert_eq!(heard.at_least(4).await.len(), 4);

    let pong = js.ask("ping", json!({"nodeID": "rs-1", "timeout": 5000})).await.unwrap();
    assert_eq!(pong["nodeID"], "rs-1");
    let pong = rs.ping(&"js-1".into(), Duration::from_secs(5)).await.unwrap();
    assert!(pong.is_some());

    js.stop().await;
    wait_for_node(&rs, "js-1", false).await;
    rs.stop().await;
    // Nobody is left behind on the server.
    assert_eq!(redis.ask(&["pubsub", "channels"]).await, "");
}

#[tokio::test]
async fn server_moleculer_0_15_and_we_do_everything_with_each_other() {
    everything_works_with(Version::V15).await;
}

#[tokio::test]
async fn server_moleculer_0_14_and_we_do_everything_with_each_other() {
    everything_works_with(Version::V14).await;
}

#[tokio::test]
async fn server_128_calls_at_once_are_each_answered_once() {
    let redis = RedisServer::start().await;
    let rs = rs("rs-1", &redis).await;
    let js = js(Version::V15, &redis).await;
    broker::wait_for(&rs, &["js"]).await;
    let load = json!({"action": "rs.echo", "params": value(&json!({"n": 1})), "count": 2000,
        "parallel": 128, "options": {}});
    let answer = js.ask("load", load).await.unwrap();
    assert_eq!(answer, json!({"results": {"{\"n\":1}": 2000}, "errors": []}));
    let calls = (0..1000).map(|n| {
        let rs = rs.clone();
        async move { ask(&rs, "js.echo", json!({"n": n})).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().enumerate().all(|(n, answer)| answer["n"] == n));
}

/// Calls without end until told to stop; how each ended.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    workers: Vec<tokio_util::task::AbortOnDropHandle<BTreeMap<String, usize>>>,
}

impl Load {
    fn start(node: &ServiceBroker, parallel: usize) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let worker = || {
            let (stop, done, node) = (Arc::clone(&stop), Arc::clone(&done), node.clone());
            task::run(async move {
                let mut ends = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let timeout = Some(Duration::from_secs(2));
                    let options = CallOptions { timeout, ..to("rs-2") };
                    let end = match call(&node, "rs.echo", &json!({"a": 1}), options).await {
                        Ok(answer) => answer.to_string(),
                        Err(error) => error.name().to_owned(),
                    };
                    *ends.entry(end).or_default() += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                ends
            })
        };
        let workers = (0..parallel).map(|_| worker()).collect();
        Self { stop, done, workers }
    }

    async fn more(&self, n: usize) {
        let target = self.done.load(Ordering::Relaxed) + n;
        wait::until("more calls to end", || async {
            (self.done.load(Ordering::Relaxed) >= target).then_some(())
        })
        .await;
    }

    async fn end(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for worker in self.workers {
            for (end, n) in wait::for_result("a worker", worker).await.unwrap() {
                *all.entry(end).or_default() += n;
            }
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_every_call_ends_once_when_the_server_is_killed_and_comes_back_under_load() {
    let mut redis = RedisServer::start().await;
    let (one, two) = (rs("rs-1", &redis).await, rs("rs-2", &redis).await);
    broker::wait_for_service_on(&one, "rs", "rs-2").await;
    let load = Load::start(&one, 64);
    load.more(500).await;
    for _ in 0..2 {
        redis.kill().await;
        load.more(64).await;
        redis.restart().await;
        wait::until("a call to get through", || async {
            call(&one, "rs.node", &json!({}), to("rs-2")).await.ok()
        })
        .await;
        load.more(500).await;
    }
    let ends = load.end().await;
    let named = ["RequestTimeoutError", "BrokerDisconnectedError", "RequestRejectedError"];
    let known = |end: &str| end == "{\"a\":1}" || named.contains(&end);
    assert!(ends.keys().all(|end| known(end)), "{ends:?}");
    assert!(ends["{\"a\":1}"] >= 1000, "{ends:?}");
    assert_eq!(one.pending_requests(), 0);
    wait::until("nothing to run", || async { (two.running_contexts() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn server_both_kinds_return_after_the_server_was_killed() {
    let mut redis = RedisServer::start().await;
    let rs = rs("rs-1", &redis).await;
    let js = js(Version::V15, &redis).await;
    broker::wait_for(&rs, &["js"]).await;
    redis.kill().await;
    wait::until("the loss", || async {
        (metric(&rs, "moleculer.transit.connected") == 0).then_some(())
    })
    .await;
    let error = call(&rs, "js.node", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.name(), "BrokerDisconnectedError");
    redis.restart().await;
    let answer = wait::until("an answer of js", || async {
        let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..to("js-1") };
        call(&rs, "js.node", &json!({}), options).await.ok()
    })
    .await;
    assert_eq!(answer, "js-1");
    wait::until("an answer of rs", || async { js.call("rs.node", json!({})).await.ok() }).await;
}

/// A server that takes connections and says nothing is noticed by its silence.
#[tokio::test]
async fn server_that_stops_answering_is_left_and_found_again() {
    let redis = RedisServer::start().await;
    let (one, two) = (rs("rs-1", &redis).await, rs("rs-2", &redis).await);
    broker::wait_for_service_on(&one, "rs", "rs-2").await;
    redis.pause();
    let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..to("rs-2") };
    let error = call(&one, "rs.node", &json!({}), options).await.unwrap_err();
    assert_eq!(error.name(), "RequestTimeoutError");
    redis.resume();
    assert_eq!(call(&one, "rs.node", &json!({}), to("rs-2")).await.unwrap(), "rs-2");
    drop(two);
}

#[tokio::test]
async fn server_a_killed_node_is_missed_and_its_calls_are_rejected() {
    let redis = RedisServer::start().await;
    let mut options = on("rs-1", &redis);
    options.heartbeat_interval = Duration::from_millis(500);
    options.heartbeat_timeout = Duration::from_secs(2);
    let rs = broker::start(options).await;
    mirror::add(&rs).await;
    let js = js(Version::V15, &redis).await;
    broker::wait_for(&rs, &["js"]).await;
    let options = CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() };
    let waiting = task::run(rs.call("js.silent", broker::json(&json!({})), options));
    wait::until("the request to be sent", || async {
        (metric(&rs, "moleculer.transit.requests.active") > 0).then_some(())
    })
    .await;
    js.kill().await;
    let error = wait::for_result("the end of the call", waiting).await.unwrap().unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestRejectedError", true));
    wait_for_node(&rs, "js-1", false).await;
}

/// Whether a node gets in; a refusal must name its reason and no secret.
async fn connects(url: &str) -> bool {
    let mut options = broker::on_redis("n", &[url.to_owned()]);
    options.transit.disable_reconnect = true;
    let node = ServiceBroker::new(options).unwrap();
    let started = node.start().await;
    node.stop().await;
    if let Err(error) = &started {
        let text = error.to_string();
        assert!(text.contains("NOAUTH") || text.contains("WRONGPASS"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    started.is_ok()
}

#[tokio::test]
async fn server_credentials_in_the_url_are_used() {
    let redis = RedisServer::start_with(&["--requirepass", "p@ secret"]).await;
    let port = redis.port();
    assert!(connects(&format!("redis://:p%40%20secret@127.0.0.1:{port}")).await);
    assert!(connects(&format!("redis://default:p%40%20secret@127.0.0.1:{port}/3")).await);
    assert!(!connects(&format!("redis://:secret@127.0.0.1:{port}")).await);
    assert!(!connects(&redis.url()).await);
    let user = ["--user", "me", "on", ">secret", "~*", "&*", "+@all", "--user", "default", "off"];
    let redis = RedisServer::start_with(&user).await;
    assert!(connects(&format!("redis://me:secret@127.0.0.1:{}", redis.port())).await);
    assert!(!connects(&format!("redis://me:wrong@127.0.0.1:{}", redis.port())).await);
}

/// The authority must be given to a process by its environment.
#[tokio::test]
async fn server_tls_is_spoken_with_whom_the_system_trusts() {
    let redis = RedisServer::start_tls().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let start = |trusted: &str| {
        let mut command = node::command(folder.path());
        command.args(["start", "services", "--transporter", &redis.url()]);
        command.env("SSL_CERT_FILE", tree::top().join("tests/tls").join(trusted));
        Process::spawn("isomer start", &mut command)
    };
    start("ca.pem").line("connected to the transporter").await;
    let line = start("server.pem").line("cannot be joined").await;
    assert!(line.contains("TLS: invalid peer certificate"), "{line}");
}

#[tokio::test]
async fn server_a_cluster_carries_the_mesh_and_may_lose_a_server() {
    let mut servers = RedisServer::start_cluster_of_three().await;
    let urls: Vec<String> = servers.iter().map(RedisServer::url).collect();
    let on = |node_id: &str, first: usize| {
        let mut urls = urls.clone();
        urls.rotate_left(first);
        broker::on_redis(node_id, &urls)
    };
    // Each begins at another server.
    let one = broker::start(on("rs-1", 0)).await;
    let two = broker::start(on("rs-2", 1)).await;
    mirror::add(&two).await;
    let nodes: Vec<Value> =
        servers.iter().map(|server| json!({"host": "127.0.0.1", "port": server.port()})).collect();
    let transporter = json!({"type": "Redis", "options": {"cluster": {"nodes": nodes}}});
    let js = Peer::start("js-1", "", json!({"transporter": transporter})).await;
    js.wait_for_services(&["rs"]).await;
    broker::wait_for(&one, &["rs", "js"]).await;
    assert_eq!(ask(&one, "rs.node", json!({})).await, "rs-2");
    assert_eq!(ask(&one, "js.node", json!({})).await, "js-1");
    assert_eq!(js.call("rs.node", json!({})).await.unwrap(), "rs-2");
    // The second server is the one of `rs-2`; its subscriptions move to the next.
    servers[1].kill().await;
    wait::until("an answer over the servers that are left", || async {
        let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..to("rs-2") };
        call(&one, "rs.node", &json!({}), options).await.ok()
    })
    .await;
}
