//! Fault tolerance: retries, circuit breakers, lost nodes and cancelled calls, on one node, on several with
//! a paused clock, and side by side with Moleculer JS.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::broker::ServiceBroker;
use isomer_host::clock::{self, Instant};
use isomer_host::config::BrokerOptions;
use isomer_host::config::faults::{CircuitBreaker, RetryPolicy};
use isomer_host::context::{CallOptions, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use isomer_host::task;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::broker::{self, call, metric, to};
use tests::cluster::Cluster;
use tests::host::Host;
use tests::mirror::{self, Received, action};
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version};
use tests::{tree, wait};
use tokio::sync::oneshot;

fn vectors(name: &str) -> Vec<Value> {
    let text = tree::read(&tree::top().join("tests/vectors").join(name));
    serde_json::from_str(&text).unwrap()
}

fn alone() -> BrokerOptions {
    BrokerOptions { node_id: Some("me".into()), ..BrokerOptions::default() }
}

fn millis(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap() / 1e3)
}

fn whole(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn broken() -> Outcome {
    Err(MoleculerError::server("BROKEN", "broken"))
}

async fn add(broker: &ServiceBroker, service: &str, definition: Value, handler: Handler) {
    let schema = json!({"name": service, "actions": {"a": definition}});
    let service = LocalService::native(&schema, vec![("a", handler)], vec![]).unwrap();
    broker.add_service(service).await.unwrap();
}

async fn ask(broker: &ServiceBroker, action: &str) -> Result<Value, MoleculerError> {
    call(broker, action, &json!({}), CallOptions::default()).await
}

// moleculer: src/middlewares/retry.js, recorded by tests/vectors/retry.js
#[tokio::test(start_paused = true)]
async fn retries_come_as_often_and_as_late_as_in_moleculer() {
    for vector in vectors("retry.json") {
        let written = &vector["broker"];
        let retry_policy = RetryPolicy {
            enabled: written["enabled"].as_bool().unwrap(),
            retries: whole(&written["retries"]),
            delay: millis(&written["delay"]),
            max_delay: millis(&written["maxDelay"]),
            factor: written["factor"].as_f64().unwrap(),
            ..RetryPolicy::default()
        };
        let node = broker::start(BrokerOptions { retry_policy, ..alone() }).await;
        let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let log = Arc::clone(&times);
        let worth_it = vector["error"]["retryable"] != false;
        let failing = action(move |_| {
            log.lock().push(clock::now());
            let error = MoleculerError::new("E", 500, "E", "e", worth_it);
            std::future::ready(Err(error))
        });
        let mut definition = json!({});
        definition["retryPolicy"] = vector["action"].clone();
        add(&node, "t", definition, failing).await;
        let retries = vector["call"]["retries"].as_u64().map(|n| u32::try_from(n).unwrap());
        let options = CallOptions { retries, ..CallOptions::default() };
        // Without the patience of the tests: some of these delays are long.
        node.call("t.a", Payload::Absent, options).await.unwrap_err();
        let times = times.lock();
        assert_eq!(times.len() as u64, vector["attempts"].as_u64().unwrap(), "{vector}");
        let delays = vector["delays"].as_array().unwrap();
        for (pair, delay) in times.windows(2).zip(delays) {
            // Timers count in whole milliseconds, there too, and the shortest is one.
            let delay = delay.as_f64().unwrap().max(1.0);
            let off = pair[1].duration_since(pair[0]).as_secs_f64() * 1e3 - delay;
            assert!((0.0..=1.0).contains(&off), "{vector}: off by {off} ms");
        }
    }
}

/// A node with an action whose calls end when a scenario says so.
struct Stage {
    node: ServiceBroker,
    entered: Arc<Mutex<HashMap<String, oneshot::Sender<Outcome>>>>,
    calls: HashMap<String, tokio_util::task::AbortOnDropHandle<Outcome>>,
    events: Received,
}

impl Stage {
    async fn new(written: &Value) -> Self {
        let default = CircuitBreaker::default();
        let number = |key: &str| written.get(key).and_then(Value::as_f64);
        let circuit_breaker = CircuitBreaker {
            enabled: true,
            threshold: number("threshold").unwrap_or(default.threshold),
            min_request_count: written
                .get("minRequestCount")
                .map_or(default.min_request_count, whole),
            window_time: number("windowTime").map_or(default.window_time, Duration::from_secs_f64),
            half_open_time: written.get("halfOpenTime").map_or(default.half_open_time, millis),
            ..default
        };
        let node = ServiceBroker::new(BrokerOptions { circuit_breaker, ..alone() }).unwrap();
        node.start().await.unwrap();
        let events = mirror::listen(&node, "watch", "$circuit-breaker.*", "").await;
        let entered: Arc<Mutex<HashMap<String, oneshot::Sender<Outcome>>>> = Arc::default();
        let log = Arc::clone(&entered);
        let waiting = action(move |ctx| {
            let params: Value = ctx.params.parse().unwrap();
            let (end, ended) = oneshot::channel();
            log.lock().insert(params["id"].as_str().unwrap().to_owned(), end);
            async move { ended.await.unwrap() }
        });
        add(&node, "t", json!({}), waiting).await;
        tokio::time::advance(Duration::from_millis(5)).await;
        Self { node, entered, calls: HashMap::new(), events }
    }

    /// Carries out a step and gives the name of the error when it was a call that was refused.
    async fn step(&mut self, step: &Value) -> Option<String> {
        if let Some(id) = step["begin"].as_str() {
            let params = broker::json(&json!({"id": id}));
            let call = task::run(self.node.call("t.a", params, CallOptions::default()));
            settle().await;
            if call.is_finished() {
                return Some(call.await.unwrap().unwrap_err().name().to_owned());
            }
            self.calls.insert(id.to_owned(), call);
        } else if let Some(id) = step["end"].as_str() {
            let outcome = match step["error"]["code"].as_i64() {
                None => Ok(Payload::null()),
                Some(code) => {
                    let mut error = MoleculerError::new("MoleculerError", code, "E", "e", false);
                    error.fields_mut().node_id = step["error"]["nodeID"].as_str().map(Arc::from);
                    Err(error)
                }
            };
            self.entered.lock().remove(id).unwrap().send(outcome).unwrap();
            let _ = self.calls.remove(id).unwrap().await.unwrap();
        } else {
            let mut left = step["wait"].as_u64().unwrap();
            while left > 0 {
                let part = left.min(10);
                tokio::time::advance(Duration::from_millis(part)).await;
                settle().await;
                left -= part;
            }
        }
        settle().await;
        None
    }

    fn available(&self) -> bool {
        self.node.registry().read().actions.get("t.a").unwrap().endpoints()[0].available()
    }
}

/// Lets everything run that waits for no timer.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

// moleculer: src/middlewares/circuit-breaker.js, recorded by tests/vectors/breaker.js
#[tokio::test(start_paused = true)]
async fn circuits_open_and_close_as_in_moleculer() {
    let vectors = vectors("breaker.json");
    assert!(vectors.len() >= 60, "only {} scenarios", vectors.len());
    let mut n_events = 0;
    for vector in vectors {
        let mut stage = Stage::new(&vector["options"]).await;
        for (index, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
            let place = || format!("step {index}, {step}, of {}", vector["options"]);
            let refused = stage.step(step).await;
            assert_eq!(refused.as_deref(), step["refused"].as_str(), "{}", place());
            assert_eq!(stage.available(), step["available"], "{}", place());
            let events: Vec<Value> = stage.events.now().split_off(n_events);
            n_events += events.len();
            let events: Vec<Value> = events
                .iter()
                .map(|event| json!({"name": event["event"], "data": event["params"]}))
                .collect();
            assert_eq!(Value::Array(events), step["events"], "{}", place());
        }
        n_events = 0;
        stage.node.stop().await;
    }
}

/// Adds a service `s` to a node of a cluster: it answers with the node's name, or fails.
async fn add_switch(broker: &ServiceBroker, failing: bool) -> Arc<AtomicBool> {
    let failing = Arc::new(AtomicBool::new(failing));
    let state = Arc::clone(&failing);
    let node_id = broker.node_id().to_string();
    let handler = action(move |_| {
        let outcome = match state.load(Ordering::Relaxed) {
            true => broken(),
            false => Ok(broker::json(&json!(node_id))),
        };
        std::future::ready(outcome)
    });
    add(broker, "s", json!({}), handler).await;
    failing
}

fn breaker_on_a(options: &mut BrokerOptions) {
    options.registry.prefer_local = false;
    options.circuit_breaker.enabled = options.node_id.as_deref() == Some("a");
    options.circuit_breaker.min_request_count = 2;
}

async fn wait_for_s(cluster: &Cluster, node_ids: &[&str]) {
    for node_id in node_ids {
        broker::wait_for_service_on(&cluster.nodes[0], "s", node_id).await;
    }
}

async fn state_of_b(node: &ServiceBroker) -> Value {
    let params = json!({"withEndpoints": true});
    let actions = call(node, "$node.actions", &params, CallOptions::default()).await.unwrap();
    let row = actions.as_array().unwrap().iter().find(|row| row["name"] == "s.a").unwrap();
    let endpoints = row["endpoints"].as_array().unwrap();
    endpoints.iter().find(|endpoint| endpoint["nodeID"] == "b").unwrap()["state"].clone()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_left_alone_and_every_node_hears_of_it() {
    let cluster = Cluster::start(&["a", "b", "c"], breaker_on_a).await;
    let (a, b, c) = (&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[2]);
    let (b_fails, c_fails) = (add_switch(b, true).await, add_switch(c, false).await);
    wait_for_s(&cluster, &["b", "c"]).await;
    let mut watches = Vec::new();
    for node in &cluster.nodes {
        watches.push(mirror::listen(node, "watch", "$circuit-breaker.*", "").await);
    }
    for node_id in ["a", "b", "c"] {
        broker::wait_for_service_on(a, "watch", node_id).await;
    }
    for _ in 0..2 {
        call(a, "s.a", &json!({}), to("b")).await.unwrap_err();
    }
    let opened = json!({"nodeID": "b", "service": "s", "action": "s.a", "failures": 2, "count": 2,
        "rate": 1});
    for watch in &watches {
        let event = &watch.at_least(1).await[0];
        assert_eq!(
            (&event["event"], &event["params"]),
            (&json!("$circuit-breaker.opened"), &opened)
        );
    }
    assert_eq!((state_of_b(a).await, state_of_b(c).await), (json!(false), json!(true)));
    assert_eq!(metric(a, "moleculer.circuit-breaker.opened.active"), 1);
    for _ in 0..4 {
        assert_eq!(ask(a, "s.a").await.unwrap(), "c");
    }
    // Whoever asks for the node gets the error of a node that does not offer it.
    let error = call(a, "s.a", &json!({}), to("b")).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");

    c_fails.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        ask(a, "s.a").await.unwrap_err();
    }
    let error = ask(a, "s.a").await.unwrap_err();
    assert_eq!(error.to_wire("a")["data"], json!({"action": "s.a"}));
    assert_eq!(error.name(), "ServiceNotAvailableError");

    b_fails.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(call(a, "s.a", &json!({}), to("b")).await.unwrap(), "b");
    for watch in &watches {
        let names: Vec<_> = watch.at_least(5).await.iter().map(|e| e["event"].clone()).collect();
        assert_eq!(names[4], "$circuit-breaker.closed");
    }
    assert_eq!(state_of_b(a).await, json!(true));
    assert_eq!(metric(a, "moleculer.circuit-breaker.opened.active"), 0);
    assert_eq!(metric(a, "moleculer.circuit-breaker.half-opened.active"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_survives_news_of_its_node_and_ends_with_its_process() {
    let mut cluster = Cluster::start(&["a", "b"], breaker_on_a).await;
    let (a, b) = (cluster.nodes[0].clone(), cluster.nodes[1].clone());
    add_switch(&b, true).await;
    wait_for_s(&cluster, &["b"]).await;
    for _ in 0..2 {
        ask(&a, "s.a").await.unwrap_err();
    }
    assert_eq!(state_of_b(&a).await, json!(false));
    mirror::add_as(&b, "more").await;
    broker::wait_for_service_on(&a, "more", "b").await;
    assert_eq!(state_of_b(&a).await, json!(false));
    b.stop().await;
    assert_eq!(metric(&a, "moleculer.circuit-breaker.opened.active"), 0);
    let again = cluster.add("b", breaker_on_a).await;
    add_switch(&again, false).await;
    wait_for_s(&cluster, &["b"]).await;
    assert_eq!(ask(&a, "s.a").await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn time_outs_of_other_nodes_count_where_that_is_wished() {
    for wished in [true, false] {
        let cluster = Cluster::start(&["a", "b"], |options| {
            breaker_on_a(options);
            options.circuit_breaker.count_timeouts = wished;
        })
        .await;
        let a = &cluster.nodes[0];
        let asked = || {
            let timeout = Some(Duration::from_millis(50));
            let options = CallOptions { timeout, ..to("b") };
            async { call(a, "rs.silent", &json!({}), options).await.unwrap_err().name().to_owned() }
        };
        for _ in 0..2 {
            assert_eq!(asked().await, "RequestTimeoutError");
        }
        // A caller that loses interest is no time-out.
        let third = asked().await;
        let expected = if wished { "ServiceNotFoundError" } else { "RequestTimeoutError" };
        assert_eq!(third, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_loses_its_node_goes_to_another_one() {
    let cluster = Cluster::start(&["a", "b", "c"], |options| {
        options.registry.prefer_local = false;
        options.retry_policy.enabled = true;
        options.heartbeat_interval = Duration::from_secs(2);
        options.heartbeat_timeout = Duration::from_secs(6);
    })
    .await;
    let a = &cluster.nodes[0];
    add(&cluster.nodes[1], "s", json!({}), action(|_| std::future::pending())).await;
    add_switch(&cluster.nodes[2], false).await;
    wait_for_s(&cluster, &["b", "c"]).await;
    // One of two goes to `b`, which never answers.
    let calls = (0..2).map(|_| ask(a, "s.a"));
    let cut = async {
        wait::until("one request to be left", || async {
            (metric(a, "moleculer.transit.requests.active") == 1).then_some(())
        })
        .await;
        cluster.bus.cut("b");
    };
    let (answers, ()) = tokio::join!(join_all(calls), cut);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == "c"));
    assert_eq!(metric(a, "moleculer.request.retry.attempts.total"), 1);
}

/// Adds `wait.a`, which never answers, and gives how many calls of it wait now.
async fn add_wait(broker: &ServiceBroker) -> Arc<AtomicU32> {
    struct Waiting(Arc<AtomicU32>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let n_waiting = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&n_waiting);
    let handler = action(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(Arc::clone(&count));
        async move {
            let _waiting = waiting;
            std::future::pending().await
        }
    });
    add(broker, "wait", json!({}), handler).await;
    n_waiting
}

/// A node with two instances of `kit`, the one of which calls the other, which calls `wait.a`.
async fn chain_of_guests(options: BrokerOptions) -> (Host, Arc<AtomicU32>) {
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put("kit", folder.path(), "kit.wasm");
    std::fs::write(folder.path().join("kit.toml"), "[instances]\nmax = 2\n").unwrap();
    let host = Host::start_on(options, folder).await;
    let waiting = add_wait(&host.broker).await;
    (host, waiting)
}

fn through_both() -> Payload {
    let inner = json!({"action": "wait.a", "params": {}});
    broker::json(&json!({"action": "kit.call", "params": inner}))
}

async fn until_waiting(waiting: &AtomicU32, count: u32) {
    wait::until(&format!("{count} calls to wait"), || async {
        (waiting.load(Ordering::SeqCst) == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_deadline_of_the_caller_stops_a_chain_of_guests_and_frees_their_instances() {
    let (host, waiting) = chain_of_guests(alone()).await;
    // Twice: the second chain needs both instances of the first.
    for _ in 0..2 {
        let timeout = Some(Duration::from_secs(2));
        let options = CallOptions { timeout, ..CallOptions::default() };
        let chain = task::run(host.broker.call("kit.call", through_both(), options));
        until_waiting(&waiting, 1).await;
        let error = wait::for_result("the deadline", chain).await.unwrap().unwrap_err();
        assert_eq!(error.name(), "RequestTimeoutError");
        until_waiting(&waiting, 0).await;
        assert_eq!(host.broker.running_contexts(), 0);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_a_chain_of_guests_at_once() {
    let (host, waiting) = chain_of_guests(alone()).await;
    for _ in 0..2 {
        let options = CallOptions { timeout: Some(Duration::ZERO), ..CallOptions::default() };
        let chain = task::run(host.broker.call("kit.call", through_both(), options));
        until_waiting(&waiting, 1).await;
        drop(chain);
        until_waiting(&waiting, 0).await;
        wait::until("nothing to run", || async {
            (host.broker.running_contexts() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_deadline_that_a_request_carries_stops_guests_on_another_node() {
    let bus = isomer_host::uid::new();
    let (host, waiting) = chain_of_guests(broker::on_bus("b", &bus)).await;
    let a = broker::start(broker::on_bus("a", &bus)).await;
    broker::wait_for(&a, &["kit"]).await;
    for _ in 0..2 {
        let options = CallOptions { timeout: Some(Duration::from_secs(2)), ..to("b") };
        let chain = task::run(a.call("kit.call", through_both(), options));
        until_waiting(&waiting, 1).await;
        let error = wait::for_result("the deadline", chain).await.unwrap().unwrap_err();
        assert_eq!(error.name(), "RequestTimeoutError");
        until_waiting(&waiting, 0).await;
        wait::until("nothing to run", || async {
            (host.broker.running_contexts() == 0).then_some(())
        })
        .await;
    }
}

/// The actions of `js.faulty`, on our side.
async fn add_faulty(broker: &ServiceBroker) {
    let n_calls = AtomicU32::new(0);
    let flaky = action(move |_| {
        let n = n_calls.fetch_add(1, Ordering::Relaxed) + 1;
        let busy =
            || Err(MoleculerError::new("MoleculerRetryableError", 503, "BUSY", "busy", true));
        std::future::ready(if n < 3 { busy() } else { Ok(broker::json(&json!(n))) })
    });
    let narrow = action(|_| std::future::pending());
    let schema = json!({"name": "rs.faulty", "actions": {
        "flaky": {"retryPolicy": {"enabled": true, "retries": 2, "delay": 10}},
        "broken": {"circuitBreaker": {"enabled": true, "minRequestCount": 2, "halfOpenTime": 60_000}},
        "narrow": {"bulkhead": {"enabled": true, "concurrency": 1, "maxQueueSize": 1}},
    }});
    let handlers = vec![
        ("flaky", flaky),
        ("broken", action(|_| std::future::ready(broken()))),
        ("narrow", narrow),
    ];
    broker.add_service(LocalService::native(&schema, handlers, vec![]).unwrap()).await.unwrap();
}

#[tokio::test]
async fn server_what_a_callee_advertises_is_applied_by_the_caller_in_both_directions() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    add_faulty(&rs).await;
    let watch = mirror::listen(&rs, "watch", "$circuit-breaker.*", "").await;
    let listeners = [("watch", "$circuit-breaker.*", "")];
    let js = Peer::listening(Version::V15, "js-1", &nats.url(), json!({}), &listeners).await;
    js.wait_for_services(&["rs.faulty"]).await;
    broker::wait_for(&rs, &["js.faulty", "watch"]).await;

    assert_eq!(ask(&rs, "js.faulty.flaky").await.unwrap(), 3);
    assert_eq!(js.call("rs.faulty.flaky", json!({})).await.unwrap(), 3);

    // Each opens its own circuit, and both hear of both.
    for _ in 0..2 {
        assert_eq!(ask(&rs, "js.faulty.broken").await.unwrap_err().kind(), "BROKEN");
    }
    let error = ask(&rs, "js.faulty.broken").await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotAvailableError");
    let expected = |node_id: &str, service: &str| {
        json!({"nodeID": node_id, "service": service, "action": format!("{service}.broken"),
            "failures": 2, "count": 2, "rate": 1})
    };
    let heard = js.received("$circuit-breaker.opened", 1).await;
    let opened: Vec<&Value> = heard.iter().map(|event| &event["data"]["value"]).collect();
    assert!(opened.contains(&&expected("js-1", "js.faulty")), "{opened:?}");
    for _ in 0..2 {
        js.call("rs.faulty.broken", json!({})).await.unwrap_err();
    }
    let error = js.call("rs.faulty.broken", json!({})).await.unwrap_err();
    assert_eq!(error["name"], "ServiceNotAvailableError");
    wait::until("the news of the other circuit", || async {
        let seen = watch.now();
        seen.iter().any(|e| e["params"] == expected("rs-1", "rs.faulty")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn server_a_full_bulkhead_is_the_same_error_on_both_sides() {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    add_faulty(&rs).await;
    let js = Peer::start("js-1", &nats.url(), json!({})).await;
    js.wait_for_services(&["rs.faulty"]).await;
    broker::wait_for(&rs, &["js.faulty"]).await;

    let params = broker::json(&json!({"ms": 5000}));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let call = rs.call("js.faulty.narrow", params.clone(), CallOptions::default());
            Box::pin(call)
        })
        .collect();
    let (theirs, _, _) = futures_util::future::select_all(busy).await;
    let theirs = theirs.unwrap_err();

    let options = json!({"timeout": 20_000});
    let call = || {
        Box::pin(js.call_with("rs.faulty.narrow", tests::peer::value(&json!({})), options.clone()))
    };
    let (ours, _, _) = futures_util::future::select_all([call(), call(), call()]).await;
    let ours = ours.unwrap_err();
    for key in ["name", "code", "type", "retryable"] {
        assert_eq!(theirs.to_wire("js-1")[key], ours[key], "{key}");
    }
    assert_eq!(ours["data"], json!({"action": "rs.faulty.narrow", "nodeID": "rs-1"}));
}
