//! Cached results: who runs, who hears what is to be forgotten, and one Redis for nodes of both kinds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::cacher::{Cacher, Memory};
use isomer_host::config::cacher::CacheStore;
use isomer_host::config::limits::Grants;
use isomer_host::config::{self, BrokerOptions};
use isomer_host::context::CallOptions;
use isomer_host::error::MoleculerError;
use isomer_host::metrics::MetricRegistry;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tests::broker::{self, call, metric};
use tests::cluster::Cluster;
use tests::host::Host;
use tests::mirror;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, value};
use tests::redis_server::RedisServer;
use tests::rig::{Rig, Setup};
use tests::wait;

fn with_memory(options: &mut BrokerOptions) {
    options.cacher = Some(config::Cacher::default());
    options.request_timeout = Duration::from_secs(10);
}

fn on_redis(server: &RedisServer) -> config::Cacher {
    let store = CacheStore::Redis {
        urls: vec![server.url()],
        cluster: false,
        prefix: None,
        ping_interval: None,
    };
    config::Cacher { store, ..config::Cacher::default() }
}

/// The service `shelf` of `tests/peers/services.js` on our side; counts how often its actions run.
async fn shelf(node: &ServiceBroker) -> Arc<AtomicU64> {
    let runs = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&runs);
    let get = mirror::action(move |ctx| {
        let run = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let params: Value = ctx.params.parse().unwrap();
            let given = params.get("give").cloned().unwrap_or_else(|| json!({"rs": run}));
            Ok(match params["id"].as_str() {
                Some("buffer") => Payload::Bytes(vec![1, 2, 255].into()),
                Some("undefined") => Payload::Absent,
                _ => Payload::from_value(&given).unwrap(),
            })
        }
    });
    let schema = json!({"name": "shelf", "actions": {
        "get": {"cache": {"keys": ["id", "#tenant"], "ttl": 300}}
    }});
    let service = LocalService::native(&schema, vec![("get", get)], vec![]).unwrap();
    node.add_service(service).await.unwrap();
    runs
}

async fn get(node: &ServiceBroker, params: Value) -> Value {
    call(node, "shelf.get", &params, CallOptions::default()).await.unwrap()
}

async fn get_id(node: &ServiceBroker, id: u64) -> Value {
    get(node, json!({ "id": id })).await
}

async fn connected(node: &ServiceBroker) {
    let cacher = node.cacher().unwrap();
    wait::until("Redis", || async { cacher.connected().then_some(()) }).await;
}

/// Waits until a key is there: results are written beside the calls.
async fn kept(node: &ServiceBroker, key: &str) -> Payload {
    let cacher = node.cacher().unwrap();
    let what = format!("the entry '{key}'");
    wait::until(&what, || async { cacher.get(key).wait().await.unwrap() }).await
}

// moleculer: docs, "Clear cache among different services/nodes"
#[tokio::test(start_paused = true)]
async fn cleaning_by_event_reaches_every_node() {
    let cluster = Cluster::start(&["a", "b"], with_memory).await;
    let (a, b) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (runs_a, runs_b) = (shelf(a).await, shelf(b).await);
    let check = async |event: &str, id: Value, cleaned: bool| {
        for node in [a, b] {
            get(node, json!({ "id": id })).await;
        }
        let before = [runs_a.load(Ordering::SeqCst), runs_b.load(Ordering::SeqCst)];
        broker::broadcast(a, event, &json!(null), &[]).await;
        // The clock goes on only when nobody has anything left to do.
        tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await.ok();
        for node in [a, b] {
            get(node, json!({ "id": id })).await;
        }
        let after = [runs_a.load(Ordering::SeqCst), runs_b.load(Ordering::SeqCst)];
        let expected = if cleaned { before.map(|n| n + 1) } else { before };
        assert_eq!(after, expected, "{event}");
    };
    // Params with a dot are cleaned as well.
    check("cache.clean.shelf", json!(1.5), true).await;
    check("cache.clean", json!("x"), true).await;
    check("cache.clean.shelf.get", json!("y"), false).await;
    check("cache.clean.other", json!("z"), false).await;
}

// moleculer: src/cachers/memory.js init
#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_empties_its_memory() {
    let cluster = Cluster::start(&["a", "b"], with_memory).await;
    let a = &cluster.nodes[0];
    let runs = shelf(a).await;
    get_id(a, 1).await;
    get_id(a, 1).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let connected = mirror::listen(a, "watch", "$transporter.connected", "").await;
    cluster.bus.cut("a");
    cluster.bus.restore("a");
    connected.at_least(1).await;
    get_id(a, 1).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_hit_never_enters_the_guest() {
    let mut options = BrokerOptions::default();
    with_memory(&mut options);
    let host = Host::start(options, &["kit"]).await;
    let fuel = || metric(&host.broker, "isomer.guest.fuel.total");
    let first = host.call("kit.countCached", &json!({"id": 1})).await.unwrap();
    let used = fuel();
    assert!(used > 0);
    for _ in 0..3 {
        assert_eq!(host.call("kit.countCached", &json!({"id": 1})).await.unwrap(), first);
    }
    assert_eq!(fuel(), used);
    host.call("kit.countCached", &json!({"id": 2})).await.unwrap();
    assert!(fuel() > used);
}

#[tokio::test]
async fn a_service_uses_the_cacher_through_the_sdk() {
    let mut options = BrokerOptions::default();
    with_memory(&mut options);
    let host = Host::start(options, &["kit"]).await;
    let seen = host.call("kit.cacher", &json!({})).await.unwrap();
    assert_eq!(
        seen,
        json!({"enabled": true, "before": null, "found": {"a": 1}, "ttl": true, "forEver": null,
            "deleted": null, "cleaned": null, "denied": "PERMISSION_DENIED"})
    );
    // The same without a cacher: nothing is found, nothing fails.
    let host = Host::start(BrokerOptions::default(), &["kit"]).await;
    let seen = host.call("kit.cacher", &json!({})).await.unwrap();
    assert_eq!(
        seen,
        json!({"enabled": false, "before": null, "found": null, "ttl": null, "forEver": null,
            "deleted": null, "cleaned": null, "denied": "PERMISSION_DENIED"})
    );
}

/// What a guest does with the cacher.
async fn guest(rig: &Rig, what: &str, key: &str, value: Value) -> Result<Value, MoleculerError> {
    rig.call("cacher", json!({"do": what, "key": key, "value": value, "ttl": 10})).await
}

#[tokio::test]
async fn a_guest_has_its_own_keys_and_those_that_are_granted() {
    let memory = Memory::new(&config::Cacher::default(), &MetricRegistry::default());
    let cacher: Arc<dyn Cacher> = Arc::new(memory);
    let grants = Grants { cache: vec!["posts.**".into()], ..Grants::default() };
    let setup = Setup { cacher: Some(Arc::clone(&cacher)), grants, ..Setup::default() };
    let rig = Rig::new(setup).await;
    for key in ["probe.get:1", "probe:own", "posts.find:a|1"] {
        guest(&rig, "set", key, json!({"k": key})).await.unwrap();
        assert_eq!(guest(&rig, "get", key, json!(null)).await.unwrap(), json!({"k": key}));
        let left = guest(&rig, "ttl", key, json!(null)).await.unwrap().as_f64().unwrap();
        assert!(left > 0.0 && left <= 10.0, "{left}");
    }
    for (what, key) in [
        ("get", "users.get:1"),
        ("ttl", "probe2.get:1"),
        ("set", "probe"),
        ("del", "users.get:1"),
        ("clean", "**"),
        ("clean", "probe*"),
        ("clean", "users.**"),
    ] {
        let error = guest(&rig, what, key, json!(1)).await.unwrap_err();
        assert_eq!(error.kind(), "PERMISSION_DENIED", "{what} {key}");
        assert!(error.message().contains("its grant 'cache'"), "{error}");
    }
    guest(&rig, "del", "probe:own", json!(null)).await.unwrap();
    guest(&rig, "clean", "posts.**", json!(null)).await.unwrap();
    let keys = cacher.keys().wait().await.unwrap();
    assert_eq!(keys, ["probe.get:1"]);
    guest(&rig, "set_bytes", "probe:bytes", json!(null)).await.unwrap();
    assert_eq!(cacher.get("probe:bytes").wait().await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_guest_keeps_is_bounded_like_its_payloads() {
    let memory = Memory::new(&config::Cacher::default(), &MetricRegistry::default());
    let cacher: Arc<dyn Cacher> = Arc::new(memory);
    let mut setup = Setup { cacher: Some(Arc::clone(&cacher)), ..Setup::default() };
    setup.limits.payload = 1_000;
    setup.limits.meta = 100;
    let rig = Rig::new(setup).await;
    // The value stands in quotes, so it is two bytes longer.
    guest(&rig, "set", "probe:a", json!("x".repeat(900))).await.unwrap();
    let _ = cacher.set("probe:b", Payload::Bytes(vec![0; 1_000].into()), None);
    assert!(guest(&rig, "get", "probe:b", json!(null)).await.is_ok());
    let _ = cacher.set("probe:b", Payload::Bytes(vec![0; 1_001].into()), None);
    let error = guest(&rig, "get", "probe:b", json!(null)).await.unwrap_err();
    assert_eq!(error.kind(), "PAYLOAD_TOO_LARGE");
    let long = |n: usize| format!("probe:{}", "k".repeat(n - 6));
    guest(&rig, "set", &long(100), json!(1)).await.unwrap();
    let error = guest(&rig, "set", &long(101), json!(1)).await.unwrap_err();
    assert_eq!(error.kind(), "PAYLOAD_TOO_LARGE");
}

/// A node of each kind on one Redis, with the service `shelf` each.
struct Pair {
    js: Peer,
    rs: ServiceBroker,
    runs: Arc<AtomicU64>,
    redis: RedisServer,
}

async fn pair(namespace: &str) -> Pair {
    let redis = RedisServer::start().await;
    let mut options = BrokerOptions { namespace: namespace.into(), ..BrokerOptions::default() };
    options.cacher = Some(on_redis(&redis));
    let rs = broker::start(options).await;
    let runs = shelf(&rs).await;
    let js_options = json!({
        "transporter": null,
        "namespace": namespace,
        "cacher": {"type": "Redis", "options": {"redis": redis.url()}},
    });
    let js = Peer::start("js-1", "", js_options).await;
    connected(&rs).await;
    js.ask("cacherConnected", json!({"timeout": 20_000})).await.unwrap();
    Pair { js, rs, runs, redis }
}

/// Calls a function of the cacher of a JavaScript node.
async fn js_cacher(js: &Peer, method: &str, args: Value) -> Value {
    js.ask("cacher", json!({"method": method, "args": args})).await.unwrap()
}

#[tokio::test]
async fn server_nodes_of_both_kinds_share_one_redis() {
    let Pair { js, rs, runs, redis } = pair("shared").await;
    let values = [
        json!({"a": [1, 2.5, {"b": null}], "ü": "\u{1F600}\u{7}"}),
        json!(null),
        json!(0),
        json!(""),
        json!(false),
        json!([]),
        json!("text"),
    ];
    for (id, given) in (0..).zip(&values) {
        // What one has made, the other has.
        let params = json!({"id": id, "give": given});
        assert_eq!(&get(&rs, params).await, given);
        kept(&rs, &format!("shelf.get:{id}|undefined")).await;
        let other = json!({"id": id, "give": "another"});
        assert_eq!(&js.call("shelf.get", other).await.unwrap(), given);
        let (id, before) = (format!("js {id}"), runs.load(Ordering::SeqCst));
        let params = json!({"id": id, "give": given});
        assert_eq!(&js.call("shelf.get", params).await.unwrap(), given);
        kept(&rs, &format!("shelf.get:\"{id}\"|undefined")).await;
        assert_eq!(&get(&rs, json!({"id": id, "give": "another"})).await, given);
        assert_eq!(runs.load(Ordering::SeqCst), before);
    }
    // The meta is a part of the key on both sides.
    let meta = CallOptions {
        meta: Some(broker::object(&json!({"tenant": {"id": 7, "name": "x"}}))),
        ..CallOptions::default()
    };
    let params = json!({"id": 1, "give": "of tenant 7"});
    call(&rs, "shelf.get", &params, meta).await.unwrap();
    let key = "shelf.get:1|id|7|name|\"x\"";
    kept(&rs, key).await;
    let options = json!({"meta": {"tenant": {"id": 7, "name": "x"}}});
    let answer = js.call_with("shelf.get", value(&json!({"id": 1})), options).await.unwrap();
    assert_eq!(answer["result"]["value"], "of tenant 7");
    assert_eq!(redis.ask(&["get", &format!("MOL-shared-{key}")]).await, "\"of tenant 7\"");
    let left: u64 = redis.ask(&["ttl", &format!("MOL-shared-{key}")]).await.parse().unwrap();
    assert!((200..=300).contains(&left), "{left}");
    let mut ours = rs.cacher().unwrap().keys().wait().await.unwrap();
    let theirs = js_cacher(&js, "getCacheKeys", json!([])).await;
    let mut theirs: Vec<_> = theirs.as_array().unwrap().iter().map(|k| k["key"].clone()).collect();
    ours.sort_unstable();
    theirs.sort_unstable_by_key(Value::to_string);
    assert_eq!(ours.len(), theirs.len());
    assert!(theirs.iter().all(|key| ours.iter().any(|own| own == key)));
}

// moleculer: src/cachers/redis.js: the JSON of a Buffer is read as an object; undefined is no value.
#[tokio::test]
async fn server_bytes_and_undefined_are_in_redis_what_they_are_in_javascript() {
    let Pair { js, rs, runs, redis: _redis } = pair("").await;
    assert_eq!(get(&rs, json!({"id": "buffer"})).await["type"], "Buffer");
    let key = "shelf.get:\"buffer\"|undefined";
    let json = kept(&rs, key).await;
    assert_eq!(&*json.to_json_text(), r#"{"type":"Buffer","data":[1,2,255]}"#);
    let seen = js_cacher(&js, "get", json!([key])).await;
    assert_eq!(seen, json!({"type": "Buffer", "data": [1, 2, 255]}));
    let before = runs.load(Ordering::SeqCst);
    for _ in 0..2 {
        get(&rs, json!({"id": "undefined"})).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), before + 2);
}

#[tokio::test]
async fn server_what_one_kind_of_node_cleans_is_gone_for_the_other() {
    let Pair { js, rs, redis: _redis, .. } = pair("cleaned").await;
    let cacher = rs.cacher().unwrap();
    let fill = async || {
        for id in ["a", "a.b", "c"] {
            get(&rs, json!({"id": id})).await;
            kept(&rs, &format!("shelf.get:\"{id}\"|undefined")).await;
        }
    };
    let keys = async || {
        let mut keys = cacher.keys().wait().await.unwrap();
        keys.sort_unstable();
        keys
    };
    fill().await;
    js_cacher(&js, "clean", json!(["shelf.*"])).await;
    assert_eq!(keys().await, Vec::<String>::new());
    fill().await;
    cacher.clean(&["shelf.get:\"a*".to_owned()]).wait().await.unwrap();
    assert_eq!(keys().await, ["shelf.get:\"c\"|undefined"]);
    js_cacher(&js, "del", json!(["shelf.get:\"c\"|undefined"])).await;
    assert_eq!(keys().await, Vec::<String>::new());
    // More than one step of a scan.
    for n in 0..350 {
        let set = cacher.set(&format!("many.{n}"), Payload::null(), None);
        set.wait().await.unwrap();
    }
    cacher.clean(&["many.**".to_owned()]).wait().await.unwrap();
    let left = js_cacher(&js, "getCacheKeys", json!([])).await;
    assert_eq!(left, json!([]));
}

#[tokio::test]
async fn server_locks_hold_between_both_kinds_of_nodes() {
    let Pair { js, rs, redis, .. } = pair("locked").await;
    let cacher = rs.cacher().unwrap();
    let ttl = Duration::from_secs(15);
    let lock = cacher.lock("k", ttl).wait().await.unwrap();
    let left: u64 = redis.ask(&["pttl", "MOL-locked-k-lock"]).await.parse().unwrap();
    assert!((1..=15_000).contains(&left), "{left}");
    assert_eq!(js.ask("tryLock", json!({"key": "k"})).await.unwrap(), json!(false));
    assert!(cacher.try_lock("k", ttl).wait().await.unwrap().is_none());
    drop(lock);
    wait::until("the lock to be free", || async {
        (redis.ask(&["exists", "MOL-locked-k-lock"]).await == "0").then_some(())
    })
    .await;
    assert_eq!(js.ask("tryLock", json!({"key": "k"})).await.unwrap(), json!(true));
    assert!(cacher.try_lock("k", ttl).wait().await.unwrap().is_none());
    let waiting = cacher.lock("k", ttl).wait();
    let (lock, unlocked) = tokio::join!(waiting, js.ask("unlock", json!({"key": "k"})));
    assert!(lock.is_ok() && unlocked.is_ok());
    // One that is never released is given up after its time.
    drop(lock);
    assert_eq!(js.ask("tryLock", json!({"key": "other", "ttl": 300})).await.unwrap(), json!(true));
    assert!(cacher.lock("other", ttl).wait().await.is_ok());
}

#[tokio::test]
async fn server_a_redis_that_goes_away_is_bypassed_and_comes_back() {
    let mut redis = RedisServer::start().await;
    let options = BrokerOptions { cacher: Some(on_redis(&redis)), ..BrokerOptions::default() };
    let rs = broker::start(options).await;
    let errors = mirror::listen(&rs, "watch", "$cacher.error", "").await;
    let runs = shelf(&rs).await;
    connected(&rs).await;
    let first = get_id(&rs, 1).await;
    kept(&rs, "shelf.get:1|undefined").await;
    assert_eq!(get_id(&rs, 1).await, first);
    redis.kill().await;
    for _ in 0..3 {
        assert_ne!(get_id(&rs, 1).await, first);
    }
    let events = errors.at_least(1).await;
    assert_eq!(events[0]["params"]["module"], "cacher");
    assert_eq!(events[0]["params"]["type"], "clientError");
    assert!(events[0]["params"]["error"]["message"].is_string());
    let removed = rs.cacher().unwrap().del(&["x".to_owned()]).wait().await;
    assert!(removed.is_err(), "what cannot be removed is an error");
    redis.restart().await;
    connected(&rs).await;
    let again = get_id(&rs, 1).await;
    kept(&rs, "shelf.get:1|undefined").await;
    let before = runs.load(Ordering::SeqCst);
    assert_eq!(get_id(&rs, 1).await, again);
    assert_eq!(runs.load(Ordering::SeqCst), before);
    assert_eq!(errors.now().len(), 1, "one outage is told once");
}

#[tokio::test]
async fn server_a_redis_that_is_silent_is_noticed_by_its_pings() {
    let redis = RedisServer::start().await;
    let mut options = BrokerOptions::default();
    let mut cacher = on_redis(&redis);
    if let CacheStore::Redis { ping_interval, .. } = &mut cacher.store {
        *ping_interval = Some(Duration::from_millis(50));
    }
    options.cacher = Some(cacher);
    let rs = broker::start(options).await;
    let errors = mirror::listen(&rs, "watch", "$cacher.error", "").await;
    connected(&rs).await;
    redis.pause();
    let events = errors.at_least(1).await;
    assert_eq!(events[0]["params"]["type"], "failedSendPing");
    assert!(!rs.cacher().unwrap().connected());
    redis.resume();
    connected(&rs).await;
}

#[tokio::test]
async fn server_a_node_without_redis_starts_and_works() {
    let mut redis = RedisServer::start().await;
    let options = BrokerOptions { cacher: Some(on_redis(&redis)), ..BrokerOptions::default() };
    redis.kill().await;
    let rs = broker::start(options).await;
    let runs = shelf(&rs).await;
    for _ in 0..2 {
        get_id(&rs, 1).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn server_a_cluster_keeps_and_cleans() {
    let redis = RedisServer::start_cluster().await;
    let mut cacher = on_redis(&redis);
    if let CacheStore::Redis { cluster, .. } = &mut cacher.store {
        *cluster = true;
    }
    let options = BrokerOptions { cacher: Some(cacher), ..BrokerOptions::default() };
    let rs = broker::start(options).await;
    let runs = shelf(&rs).await;
    connected(&rs).await;
    for id in 0..20 {
        get_id(&rs, id).await;
        kept(&rs, &format!("shelf.get:{id}|undefined")).await;
        get_id(&rs, id).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 20);
    let cacher = rs.cacher().unwrap();
    let entry = cacher.get_with_ttl("shelf.get:1|undefined").wait().await.unwrap().unwrap();
    assert!(entry.ttl.unwrap() > Duration::from_secs(200));
    let two = ["shelf.get:1|undefined".to_owned(), "shelf.get:2|undefined".to_owned()];
    cacher.del(&two).wait().await.unwrap();
    assert_eq!(cacher.keys().wait().await.unwrap().len(), 18);
    cacher.clean(&["shelf.**".to_owned()]).wait().await.unwrap();
    assert!(cacher.keys().wait().await.unwrap().is_empty());
    assert!(cacher.lock("k", Duration::from_secs(5)).wait().await.is_ok());
}

#[tokio::test]
async fn server_a_cluster_of_three_keeps_and_cleans_on_all_of_them() {
    let servers = RedisServer::start_cluster_of_three().await;
    let store = CacheStore::Redis {
        // The others are found by themselves.
        urls: vec![servers[0].url()],
        cluster: true,
        prefix: None,
        ping_interval: None,
    };
    let options = config::Cacher { store, ..config::Cacher::default() };
    let options = BrokerOptions { cacher: Some(options), ..BrokerOptions::default() };
    let node = broker::start(options).await;
    let runs = shelf(&node).await;
    connected(&node).await;
    let cacher = node.cacher().unwrap();
    for id in 0..30 {
        get_id(&node, id).await;
        kept(&node, &format!("shelf.get:{id}|undefined")).await;
        get_id(&node, id).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 30);
    for server in &servers {
        let keys: usize = server.ask(&["dbsize"]).await.parse().unwrap();
        assert!((1..30).contains(&keys), "{keys}");
    }
    assert_eq!(cacher.keys().wait().await.unwrap().len(), 30);
    cacher.clean(&["shelf.**".to_owned()]).wait().await.unwrap();
    assert_eq!(cacher.keys().wait().await.unwrap().len(), 0);
}

/// The authority must be given to a process by its environment.
#[tokio::test]
async fn server_a_redis_that_speaks_tls_is_a_cacher_too() {
    let redis = RedisServer::start_tls().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let start = |trusted: &str| {
        let mut command = tests::node::command(folder.path());
        command.args(["start", "services", "--set", &format!("cacher={}", redis.url())]);
        command.env("SSL_CERT_FILE", tests::tree::top().join("tests/tls").join(trusted));
        tests::process::Process::spawn("isomer start", &mut command)
    };
    start("ca.pem").line("the cacher is connected").await;
    start("server.pem").line("the cacher is away").await;
}

#[tokio::test]
async fn server_a_javascript_node_cleans_our_memory_by_event() {
    let nats = NatsServer::start().await;
    let mut options = broker::on_nats("rs-1", &nats.url());
    with_memory(&mut options);
    let rs = broker::start(options).await;
    let runs = shelf(&rs).await;
    let js = Peer::start("js-1", &nats.url(), json!({})).await;
    js.wait_for_services(&["$cacher"]).await;
    // The events of both directions need the nodes to know each other.
    get_id(&rs, 1).await;
    js.ask("broadcast", json!({"event": "cache.clean.shelf", "data": value(&json!(null))}))
        .await
        .unwrap();
    wait::until("the cleaning", || async {
        (metric(&rs, "isomer.cacher.entries") == 0).then_some(())
    })
    .await;
    get_id(&rs, 1).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}
