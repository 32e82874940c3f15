//! `disableBalancer`: the transporter's queues decide which node gets a call or event, among nodes of ours
//! and JS nodes that do the same.

use std::collections::BTreeMap;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Transporter};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::broker::{self, call, to};
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, value};
use tests::{mirror, pair, wait};

fn without_balancer(options: BrokerOptions) -> BrokerOptions {
    BrokerOptions { disable_balancer: true, ..options }
}

fn on_bus(node_id: &str, bus: &str) -> BrokerOptions {
    without_balancer(broker::on_bus(node_id, bus))
}

/// Who answered how often.
async fn answers(node: &ServiceBroker, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let id = call(node, "js.node", &json!({}), CallOptions::default()).await.unwrap();
        *answers.entry(id.as_str().unwrap().to_owned()).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn the_bus_decides_who_gets_a_call_also_when_this_node_could() {
    let a = broker::start(on_bus("a", "balancer-calls")).await;
    let b = broker::start(on_bus("b", "balancer-calls")).await;
    for node in [&a, &b] {
        mirror::add_as(node, "js").await;
    }
    broker::wait_for_service_on(&a, "js", "b").await;
    let shares = answers(&a, 20).await;
    assert_eq!(shares.len(), 2, "{shares:?}");
    // A node that is named is asked.
    for (name, options) in [("a", to("a")), ("b", to("b"))] {
        assert_eq!(call(&a, "js.node", &json!({}), options).await.unwrap(), name);
    }
    // What a node is asked about itself, it answers itself.
    let own = call(&a, "$node.health", &json!({}), CallOptions::default()).await;
    assert!(own.is_ok());
    let missing = call(&a, "js.nothing", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(missing.name(), "ServiceNotFoundError");
    // An error says who failed, and a time limit holds although nobody was named.
    let fault = call(&a, "js.metaThenFail", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!(fault.code(), 409);
    let limit = Some(std::time::Duration::from_millis(50));
    let options = CallOptions { timeout: limit, ..CallOptions::default() };
    let late = call(&a, "js.silent", &json!({}), options).await.unwrap_err();
    assert_eq!(late.name(), "RequestTimeoutError");
    assert_eq!(a.pending_requests(), 0);
}

#[tokio::test]
async fn a_service_that_is_gone_is_asked_for_nothing() {
    let a = broker::start(on_bus("a", "balancer-gone")).await;
    let b = broker::start(on_bus("b", "balancer-gone")).await;
    for node in [&a, &b] {
        mirror::add_as(node, "js").await;
    }
    broker::wait_for_service_on(&a, "js", "b").await;
    b.stop().await;
    broker::wait_for_node(&a, "b", false).await;
    let shares = answers(&a, 10).await;
    assert_eq!(shares, BTreeMap::from([("a".to_owned(), 10)]));
}

#[tokio::test]
async fn an_event_reaches_one_of_each_group_and_a_broadcast_all() {
    let a = broker::start(on_bus("a", "balancer-events")).await;
    let b = broker::start(on_bus("b", "balancer-events")).await;
    let mail = [
        mirror::listen(&a, "mail", "order.**", "").await,
        mirror::listen(&b, "mail", "order.**", "").await,
    ];
    let stock = mirror::listen(&b, "stock", "order.*", "").await;
    broker::wait_for(&a, &["stock", "mail"]).await;
    broker::wait_for_service_on(&a, "mail", "b").await;
    for _ in 0..10 {
        broker::emit(&a, "order.paid", &json!(1), &[]).await;
    }
    stock.at_least(10).await;
    let count = || mail.iter().map(|got| got.now().len()).collect::<Vec<_>>();
    wait::until("ten mails", || async { (count().iter().sum::<usize>() == 10).then_some(()) })
        .await;
    assert!(count().iter().all(|n| *n > 0), "{:?}", count());
    let seen = &stock.now()[0];
    assert_eq!((&seen["groups"], &seen["type"]), (&json!(["stock"]), &json!("emit")));
    broker::emit(&a, "order.mail", &json!(1), &["mail"]).await;
    broker::emit(&a, "unheard", &json!(1), &[]).await;
    wait::until("eleven", || async { (count().iter().sum::<usize>() == 11).then_some(()) }).await;
    let before = count();
    broker::broadcast(&a, "order.all", &json!(1), &[]).await;
    stock.at_least(11).await;
    mail[0].at_least(before[0] + 1).await;
    mail[1].at_least(before[1] + 1).await;
}

#[tokio::test]
async fn names_that_cannot_be_topics_are_refused_and_harm_nobody() {
    let a = broker::start(on_bus("a", "balancer-names")).await;
    let heard = mirror::listen(&a, "all", "*", "").await;
    let options = isomer_host::context::EmitOptions { throw_error: true, ..Default::default() };
    let bad = a.emit("two words\r\nPUB x 0", broker::json(&json!(1)), options).await.unwrap_err();
    assert!(bad.message().contains("no topic"), "{bad}");
    // Until the node has announced its listener, nobody takes events from the queue.
    wait::until("the event", || async {
        broker::emit(&a, "fine", &json!(1), &[]).await;
        heard.now().first().map(|event| assert_eq!(event["event"], "fine"))
    })
    .await;
}

/// Two nodes of ours and one of each Moleculer, on one nats-server.
struct Shared {
    rs: [ServiceBroker; 2],
    js: [Peer; 2],
    heard: Vec<mirror::Received>,
    _nats: NatsServer,
}

async fn shared() -> Shared {
    let nats = NatsServer::start().await;
    let start = async |id: &str| {
        let nats = Transporter::Nats { urls: vec![nats.url()] };
        let node = broker::start(without_balancer(pair::on(id, "bal", nats))).await;
        mirror::add_as(&node, "js").await;
        node
    };
    let rs = [start("rs-1").await, start("rs-2").await];
    let mut heard = Vec::new();
    for node in &rs {
        heard.push(mirror::listen(node, "desk", "order.**", "").await);
    }
    let start = async |version, id: &str| {
        let options = pair::js_options("bal", &json!({"disableBalancer": true}));
        Peer::listening(version, id, &nats.url(), options, &[("desk", "order.**", "")]).await
    };
    let js = [start(Version::V15, "js-15").await, start(Version::V14, "js-14").await];
    let ids = ["rs-1", "rs-2", "js-15", "js-14"];
    for node in &rs {
        for id in ids {
            broker::wait_for_service_on(node, "js", id).await;
            broker::wait_for_service_on(node, "desk", id).await;
        }
    }
    for peer in &js {
        peer.wait_for_services(&["js", "desk"]).await;
        for id in ids {
            peer.wait_for_node(id, true).await;
        }
        wait::until("all to be known to JavaScript", || async {
            let list = peer.ask(
                "call",
                json!({"action": "$node.services", "params": value(&json!({})),
                "options": {"nodeID": peer.node_id()}}),
            );
            let list = list.await.unwrap()["result"]["value"].clone();
            let known = |name: &str| {
                let mut items = list.as_array().unwrap().iter();
                items
                    .find(|item| item["name"] == name)
                    .map_or(0, |item| item["nodes"].as_array().unwrap().len())
            };
            (known("js") == 4 && known("desk") == 4).then_some(())
        })
        .await;
    }
    Shared { rs, js, heard, _nats: nats }
}

/// Who answered a load of calls, which no strategy shares out evenly.
fn names(results: &Value) -> Vec<&str> {
    results.as_object().unwrap().keys().map(|name| name.trim_matches('"')).collect()
}

#[tokio::test]
async fn server_nats_shares_calls_among_our_nodes_and_javascript() {
    let all = shared().await;
    let shares = answers(&all.rs[0], 80).await;
    assert_eq!(shares.len(), 4, "{shares:?}");
    for peer in &all.js {
        let load = json!({"action": "js.node", "params": value(&json!({})), "options": {},
            "count": 80, "parallel": 4});
        let answer = peer.ask("load", load).await.unwrap();
        assert_eq!(answer["errors"], json!([]));
        assert_eq!(names(&answer["results"]).len(), 4, "{answer}");
        // JavaScript sees an error of ours as one of its own.
        let options = json!({"nodeID": "rs-2"});
        let call = peer.call_with("js.metaThenFail", value(&json!({})), options).await;
        assert_eq!(call.unwrap_err()["code"], 409);
    }
    // A node that stops is asked no more.
    let [first, second] = all.rs;
    second.stop().await;
    let shares = answers(&first, 40).await;
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["js-14", "js-15", "rs-1"]);
}

#[tokio::test]
async fn server_nats_gives_an_event_to_one_of_a_group_and_a_broadcast_to_all() {
    let all = shared().await;
    let total = async |event: &str| {
        let mut total = 0;
        for heard in &all.heard {
            total += heard.now().iter().filter(|item| item["event"] == event).count();
        }
        for peer in &all.js {
            total += peer.received(event, 0).await.len();
        }
        total
    };
    for _ in 0..40 {
        broker::emit(&all.rs[0], "order.ours", &json!(1), &[]).await;
        let event = json!({"event": "order.js", "data": value(&json!(1))});
        all.js[1].ask("emit", event).await.unwrap();
    }
    broker::broadcast(&all.rs[0], "order.rs.all", &json!(1), &[]).await;
    let event = json!({"event": "order.js.all", "data": value(&json!(1))});
    all.js[0].ask("broadcast", event).await.unwrap();
    for (event, expected) in
        [("order.ours", 40), ("order.js", 40), ("order.rs.all", 4), ("order.js.all", 4)]
    {
        wait::until(event, || async { (total(event).await >= expected).then_some(()) }).await;
        assert_eq!(total(event).await, expected, "{event}");
    }
    // Each side handled some of what the other sent.
    assert!(all.heard.iter().any(|got| got.now().iter().any(|item| item["event"] == "order.js")));
}

#[tokio::test]
async fn server_queues_survive_a_restart_of_the_server() {
    let mut nats = NatsServer::start().await;
    let start = async |id: &str| {
        let url = Transporter::Nats { urls: vec![nats.url()] };
        broker::start(without_balancer(pair::on(id, "bal", url))).await
    };
    let (caller, callee) = (start("a").await, start("b").await);
    mirror::add_as(&callee, "js").await;
    broker::wait_for(&caller, &["js"]).await;
    assert_eq!(answers(&caller, 1).await, BTreeMap::from([("b".to_owned(), 1)]));
    nats.kill().await;
    nats.restart().await;
    wait::until("an answer after the restart", || async {
        let limit = Some(std::time::Duration::from_millis(200));
        let options = CallOptions { timeout: limit, ..CallOptions::default() };
        call(&caller, "js.node", &json!({}), options).await.ok()
    })
    .await;
}
