//! Several of our nodes on an in-process bus with a paused clock: balancing, chains over nodes, lost and
//! doubled packets, silence, and goodbyes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::transporter::fake::Verdict;
use serde_json::{Value, json};
use tests::broker::{self, call, metric, to, wait_for_node};
use tests::cluster::Cluster;
use tests::{mirror, wait};

fn remote_first(options: &mut BrokerOptions) {
    options.registry.prefer_local = false;
    options.request_timeout = Duration::from_secs(10);
    options.heartbeat_interval = Duration::from_secs(2);
    options.heartbeat_timeout = Duration::from_secs(6);
}

fn local_first(options: &mut BrokerOptions) {
    options.request_timeout = Duration::from_secs(10);
}

fn within(ms: u64) -> CallOptions {
    CallOptions { timeout: Some(Duration::from_millis(ms)), ..CallOptions::default() }
}

/// Which nodes answered `count` calls of `rs.node`, and how often.
async fn answers(cluster: &Cluster, count: usize) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..count {
        let node = call(&cluster.nodes[0], "rs.node", &json!({}), CallOptions::default()).await;
        *counts.entry(node.unwrap().as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn calls_take_turns_among_the_nodes() {
    let cluster = Cluster::start(&["a", "b", "c"], remote_first).await;
    let expected: Vec<_> = ["a", "b", "c"].map(|node| (node.to_owned(), 4)).into();
    assert_eq!(answers(&cluster, 12).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_local_endpoint_is_preferred() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    assert_eq!(answers(&cluster, 4).await, [("a".to_owned(), 4)]);
    // Unless the call names its node.
    let answer = call(&cluster.nodes[0], "rs.node", &json!({}), to("b")).await.unwrap();
    assert_eq!(answer, "b");
}

#[tokio::test(start_paused = true)]
async fn a_call_within_a_node_never_touches_the_bus() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    cluster.bus.set_rule(|delivery| match delivery.topic.contains(".REQ") {
        true => Verdict::Drop,
        false => Verdict::Deliver,
    });
    assert_eq!(answers(&cluster, 2).await, [("a".to_owned(), 2)]);
    let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..to("b") };
    let error = call(&cluster.nodes[0], "rs.node", &json!({}), options).await.unwrap_err();
    assert_eq!(error.name(), "RequestTimeoutError");
}

#[tokio::test(start_paused = true)]
async fn a_chain_over_three_nodes_is_one_chain_and_shares_its_meta() {
    let mut cluster = Cluster::start(&["a"], local_first).await;
    let b = cluster.add("b", local_first).await;
    mirror::add_as(&b, "hop").await;
    let c = cluster.add("c", local_first).await;
    mirror::add_as(&c, "end").await;
    let a = &cluster.nodes[0];
    for node in &cluster.nodes {
        broker::wait_for(node, &["rs", "hop", "end"]).await;
    }
    let inner = json!({"action": "end.meta", "params": {"from-c": 3}});
    let params = json!({"action": "hop.relay", "params": inner});
    let meta = broker::object(&json!({"from-root": 0}));
    let options = CallOptions { meta: Some(meta), ..CallOptions::default() };
    let answer = call(a, "rs.relay", &params, options).await.unwrap();
    assert_eq!(answer["meta"], json!({"from-root": 0, "from-c": 3}));
    let inner = json!({"action": "end.seen", "params": {}});
    let params = json!({"action": "hop.relay", "params": inner});
    let options = CallOptions { request_id: Some("chain".into()), ..within(5000) };
    let answer = call(a, "rs.relay", &params, options).await.unwrap();
    let seen = &answer["result"]["result"];
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(3), &json!("hop")));
    assert_eq!(seen["requestID"], "chain");
    // The time that is left travels along; on a paused clock none of it has been used.
    assert_eq!(seen["remaining"], 5000.0);
}

#[tokio::test(start_paused = true)]
async fn the_length_of_a_chain_is_limited_across_nodes() {
    let cluster = Cluster::start(&["a", "b"], |options| {
        remote_first(options);
        options.max_call_level = 2;
    })
    .await;
    let two = json!({"action": "rs.seen", "params": {}});
    let three = json!({"action": "rs.relay", "params": two});
    assert!(call(&cluster.nodes[0], "rs.relay", &two, CallOptions::default()).await.is_ok());
    let error =
        call(&cluster.nodes[0], "rs.relay", &three, CallOptions::default()).await.unwrap_err();
    assert_eq!(error.name(), "MaxCallLevelError");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_a_timeout_and_leaves_nothing_behind() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    let a = &cluster.nodes[0];
    cluster.bus.set_rule(|delivery| match delivery.topic.starts_with("MOL.RES.") {
        true => Verdict::Drop,
        false => Verdict::Deliver,
    });
    let options = CallOptions { node_id: Some("b".into()), ..within(300) };
    let error = call(a, "rs.node", &json!({}), options).await.unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestTimeoutError", true));
    assert_eq!(metric(a, "moleculer.transit.requests.active"), 0);
    cluster.bus.clear_rule();
    assert_eq!(call(a, "rs.node", &json!({}), to("b")).await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_doubled_answer_counts_once() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    let a = &cluster.nodes[0];
    cluster.bus.set_rule(|delivery| match delivery.topic.starts_with("MOL.RES.") {
        true => Verdict::Duplicate,
        false => Verdict::Deliver,
    });
    for _ in 0..5 {
        assert_eq!(call(a, "rs.node", &json!({}), to("b")).await.unwrap(), "b");
    }
    assert_eq!(metric(a, "moleculer.transit.orphan.response.total"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_is_missed_and_found_again() {
    let cluster = Cluster::start(&["a", "b"], remote_first).await;
    let a = &cluster.nodes[0];
    let silent = a.call("rs.silent", broker::json(&json!({})), {
        CallOptions { timeout: Some(Duration::from_secs(3600)), ..to("b") }
    });
    let silent = isomer_host::task::run(silent);
    wait::until("the request to be sent", || async {
        (metric(a, "moleculer.transit.requests.active") == 1).then_some(())
    })
    .await;
    cluster.bus.cut("b");
    wait_for_node(a, "b", false).await;
    let error = silent.await.unwrap().unwrap_err();
    assert_eq!((error.name(), error.retryable()), ("RequestRejectedError", true));
    let error = call(a, "rs.node", &json!({}), to("b")).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");
    // What `a` offers itself is not touched.
    assert_eq!(answers(&cluster, 3).await, [("a".to_owned(), 3)]);
    cluster.bus.restore("b");
    wait_for_node(a, "b", true).await;
    broker::wait_for_service_on(a, "rs", "b").await;
    assert_eq!(call(a, "rs.node", &json!({}), to("b")).await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_is_gone_at_once_and_its_calls_are_answered() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    let (a, b) = (&cluster.nodes[0], &cluster.nodes[1]);
    let slow = a.call("rs.slow", broker::json(&json!({"ms": 1000})), to("b"));
    let slow = isomer_host::task::run(slow);
    wait::until("the call to arrive", || async { (b.running_contexts() > 0).then_some(()) }).await;
    b.stop().await;
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.parse::<Value>().unwrap(), "slow");
    assert!(!a.registry().read().nodes.get("b").unwrap().available);
}

#[tokio::test(start_paused = true)]
async fn an_emit_reaches_one_node_of_each_group_and_a_broadcast_all() {
    let cluster = Cluster::start(&["a", "b", "c"], remote_first).await;
    let mut mail = Vec::new();
    let mut stock = Vec::new();
    for node in &cluster.nodes {
        mail.push(mirror::listen(node, "mail", "order.*", "").await);
        stock.push(mirror::listen(node, "stock", "order.**", "").await);
    }
    for node in &cluster.nodes {
        for other in ["a", "b", "c"] {
            broker::wait_for_service_on(node, "mail", other).await;
            broker::wait_for_service_on(node, "stock", other).await;
        }
    }
    let counts = |group: &[mirror::Received], name: &str| -> Vec<usize> {
        let named = |received: &mirror::Received| {
            received.now().iter().filter(|event| event["event"] == name).count()
        };
        group.iter().map(named).collect()
    };
    for n in 0..9 {
        broker::emit(&cluster.nodes[0], "order.created", &json!(n), &[]).await;
    }
    let total = |group: &[mirror::Received], name: &str| counts(group, name).iter().sum::<usize>();
    wait::until("18 events", || async {
        let both = total(&mail, "order.created") + total(&stock, "order.created");
        (both >= 18).then_some(())
    })
    .await;
    broker::broadcast(&cluster.nodes[1], "order.all", &json!(1), &[]).await;
    broker::broadcast(&cluster.nodes[1], "order.some", &json!(1), &["stock"]).await;
    let end = |received: &mirror::Received| {
        received.now().iter().any(|event| event["event"] == "order.some")
    };
    wait::until("the last broadcast", || async { stock.iter().all(end).then_some(()) }).await;
    assert_eq!(counts(&mail, "order.created"), [3, 3, 3]);
    assert_eq!(counts(&stock, "order.created"), [3, 3, 3]);
    assert_eq!((counts(&mail, "order.all"), counts(&stock, "order.all")), (vec![1; 3], vec![1; 3]));
    assert_eq!(
        (counts(&mail, "order.some"), counts(&stock, "order.some")),
        (vec![0; 3], vec![1; 3])
    );
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_are_answered_each_with_its_own_result() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    let calls = (0..500).map(|n| {
        let a = cluster.nodes[0].clone();
        async move { call(&a, "rs.echo", &json!({"n": n}), to("b")).await.unwrap()["n"] == n }
    });
    assert!(join_all(calls).await.into_iter().all(|right| right));
    assert_eq!(metric(&cluster.nodes[0], "moleculer.transit.requests.active"), 0);
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_the_bus_is_counted_and_hurts_nobody() {
    let cluster = Cluster::start(&["a", "b"], local_first).await;
    let a = &cluster.nodes[0];
    let before = metric(a, "isomer.transit.packets.refused.total");
    let nonsense = [
        ("MOL.REQ.a", "no JSON"),
        ("MOL.REQ.a", "{}"),
        ("MOL.REQ.a", r#"{"ver":"4","sender":"x","id":"1","action":"rs.node"}"#),
        ("MOL.REQ.a", r#"{"ver":5,"sender":"x","id":"1","action":"rs.node"}"#),
        ("MOL.REQ.a", r#"{"ver":"5","sender":"x","id":7,"action":["rs.node"]}"#),
        ("MOL.INFO", r#"{"ver":"5","sender":"x","services":7}"#),
        ("MOL.HEARTBEAT", "[]"),
        ("MOL.EVENT.a", "null"),
    ];
    for (topic, text) in nonsense {
        cluster.bus.inject(topic, &Bytes::from_static(text.as_bytes()));
    }
    let refused = metric(a, "isomer.transit.packets.refused.total") - before;
    assert_eq!(refused, nonsense.len() as i64);
    assert_eq!(call(a, "rs.node", &json!({}), to("b")).await.unwrap(), "b");
    assert_eq!(call(&cluster.nodes[1], "rs.node", &json!({}), to("a")).await.unwrap(), "a");
}
