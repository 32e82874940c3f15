//! The same scenario against real Moleculer JS brokers on a real nats-server, in both directions: calls,
//! errors, meta, events, pings, and what the nodes tell about themselves.

use isomer_host::broker::ServiceBroker;
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::broker::{self, call, to};
use tests::mirror::{self, Received};
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, undefined, value};

/// One node of each kind, which know each other.
struct Pair {
    js: Peer,
    rs: ServiceBroker,
    _nats: NatsServer,
}

async fn pair() -> Pair {
    let nats = NatsServer::start().await;
    let rs = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    mirror::add(&rs).await;
    let js = Peer::start("js-1", &nats.url(), json!({"requestTimeout": 10_000})).await;
    js.wait_for_services(&["rs"]).await;
    broker::wait_for(&rs, &["js", "v3.js.versioned"]).await;
    Pair { js, rs, _nats: nats }
}

async fn call_js(pair: &Pair, action: &str, params: Value) -> Value {
    call(&pair.rs, action, &params, CallOptions::default()).await.unwrap()
}

#[tokio::test]
async fn server_values_cross_unchanged_in_both_directions() {
    let pair = pair().await;
    let values = [
        json!({"a": [1, 2.5, 0.1, 1e300, true, null, "ü \u{1F600} \" \\ \u{7} \u{2028}"]}),
        json!([]),
        json!("text"),
        json!(0),
        json!(9_007_199_254_740_993_i64),
        json!(false),
        json!({"__proto__": 1, "": {"deep": [[[{}]]]}}),
        json!({"large": "x".repeat(300_000)}),
    ];
    for wanted in values {
        assert_eq!(call_js(&pair, "js.echo", wanted.clone()).await, as_js(&wanted));
        assert_eq!(pair.js.call("rs.echo", wanted.clone()).await.unwrap(), as_js(&wanted));
    }
}

/// What JavaScript makes of a value: it has one kind of number, and `__proto__` is no ordinary key.
fn as_js(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64() == Some(9_007_199_254_740_993) => {
            json!(9_007_199_254_740_992_i64)
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn server_undefined_null_and_buffer_stay_apart() {
    let pair = pair().await;
    for (action, kind) in [("rs.undefined", "undefined"), ("rs.null", "value")] {
        let answer = pair.js.call_with(action, undefined(), json!({})).await.unwrap();
        assert_eq!(answer["result"]["kind"], kind, "{action}: {answer}");
    }
    let buffer = json!({"type": "Buffer", "data": [0, 1, 254, 255]});
    assert_eq!(pair.js.call("rs.buffer", json!({})).await.unwrap(), buffer);
    assert_eq!(call_js(&pair, "js.buffer", json!({})).await, buffer);
    let empty = || isomer_host::payload::Payload::Absent;
    let undefined = pair.rs.call("js.undefined", empty(), CallOptions::default()).await.unwrap();
    assert_eq!(undefined, empty());
    let null = pair.rs.call("js.null", empty(), CallOptions::default()).await.unwrap();
    assert_eq!(null, isomer_host::payload::Payload::null());
    // moleculer: src/service-broker.js call: omitted params are {}.
    let seen = pair.rs.call("js.seen", empty(), CallOptions::default()).await.unwrap();
    assert_eq!(seen.parse::<Value>().unwrap()["params"], json!({}));
}

#[tokio::test]
async fn server_the_callee_sees_the_callers_context() {
    let pair = pair().await;
    let from_js = pair
        .js
        .call_with(
            "rs.seen",
            value(&json!({"p": 1})),
            json!({"meta": {"user": {"id": 7}}, "headers": {"h": "1"}, "timeout": 4000, "requestID": "r-1"}),
        )
        .await
        .unwrap();
    let seen = &from_js["result"]["value"];
    assert_eq!(seen["requestID"], "r-1");
    assert_eq!(seen["level"], 1);
    assert_eq!(seen["nodeID"], "js-1");
    assert_eq!(seen["params"], json!({"p": 1}));
    assert_eq!(seen["meta"]["user"]["id"], 7);
    assert_eq!(seen["headers"], json!({"h": "1"}));
    let remaining = seen["remaining"].as_f64().unwrap();
    assert!((3000.0..=4000.0).contains(&remaining), "{remaining}");

    let options = CallOptions {
        meta: Some(broker::object(&json!({"user": {"id": 8}}))),
        headers: Some(broker::object(&json!({"h": "2"}))),
        request_id: Some("r-2".into()),
        timeout: Some(std::time::Duration::from_secs(4)),
        ..CallOptions::default()
    };
    let seen = call(&pair.rs, "js.seen", &json!({"p": 2}), options).await.unwrap();
    assert_eq!(seen["requestID"], "r-2");
    assert_eq!(seen["level"], 1);
    assert_eq!(seen["nodeID"], "rs-1");
    assert_eq!(seen["params"], json!({"p": 2}));
    assert_eq!(seen["meta"]["user"]["id"], 8);
    assert_eq!(seen["headers"], json!({"h": "2"}));
    assert_eq!(seen["timeout"], 4000);
}

#[tokio::test]
async fn server_a_chain_over_both_nodes_is_one_chain() {
    let pair = pair().await;
    // js → rs.relay → js.seen
    let params = json!({"action": "js.seen", "params": {}});
    let answer = pair
        .js
        .call_with("rs.relay", value(&params), json!({"requestID": "chain", "meta": {"m": 1}}))
        .await
        .unwrap();
    let seen = &answer["result"]["value"]["result"];
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(2), &json!("rs")), "{seen}");
    assert_eq!((&seen["requestID"], &seen["meta"]["m"]), (&json!("chain"), &json!(1)));
    // rs → js.relay → rs.seen
    let params = json!({"action": "rs.seen", "params": {}});
    let answer = call_js(&pair, "js.relay", params).await;
    let seen = &answer["result"];
    assert_eq!((&seen["level"], &seen["caller"]), (&json!(2), &json!("js")), "{seen}");
    assert_eq!(seen["nodeID"], "js-1");
}

#[tokio::test]
async fn server_meta_comes_back_also_with_an_error() {
    let pair = pair().await;
    let meta = json!({"kept": 1, "over": 1});
    let over = value(&json!({"over": 2, "new": 3}));
    let answer = pair.js.call_with("rs.meta", over, json!({"meta": meta})).await.unwrap();
    assert_eq!(answer["meta"], json!({"kept": 1, "over": 2, "new": 3}));
    let error = pair
        .js
        .call_with("rs.metaThenFail", value(&json!({})), json!({"meta": {"kept": 1}}))
        .await
        .unwrap_err();
    assert_eq!(error["callerMeta"], json!({"kept": 1, "touched": "before the error"}));

    let params = json!({"action": "js.meta", "params": {"over": 2, "new": 3}});
    let options = CallOptions { meta: Some(broker::object(&meta)), ..CallOptions::default() };
    let answer = call(&pair.rs, "rs.relay", &params, options).await.unwrap();
    assert_eq!(answer["meta"], json!({"kept": 1, "over": 2, "new": 3}));
}

#[tokio::test]
async fn server_an_error_keeps_its_class_and_every_field() {
    let pair = pair().await;
    let classes = [
        ("MoleculerError", false),
        ("MoleculerClientError", false),
        ("MoleculerServerError", true),
        ("MoleculerRetryableError", true),
    ];
    for (class, retryable) in classes {
        let params = json!({"className": class, "message": "went wrong: ü", "code": 418, "type": "TEAPOT",
            "retryable": retryable, "data": {"list": [1, null], "text": "x"}, "extra": {"hint": {"a": 1}}});
        let from_rs = pair.js.call("rs.fail", params.clone()).await.unwrap_err();
        let classes = from_rs["classes"].as_array().unwrap();
        assert!(classes.contains(&json!(class)), "{class}: {from_rs}");
        let from_js = call(&pair.rs, "js.fail", &params, CallOptions::default()).await.unwrap_err();
        let from_js = from_js.to_wire("");
        for (error, node) in [(&from_rs, "rs-1"), (&from_js, "js-1")] {
            assert_eq!(error["name"], class);
            assert_eq!(error["message"], params["message"]);
            assert_eq!(error["code"], 418);
            assert_eq!(error["type"], "TEAPOT");
            assert_eq!(error["data"], params["data"]);
            assert_eq!(error["retryable"], retryable, "{class} from {node}");
            assert_eq!(error["nodeID"], node);
        }
        assert!(from_js["stack"].as_str().unwrap().contains("services.js"), "the stack of JS");
    }
    let odd =
        call(&pair.rs, "js.plainError", &json!({}), CallOptions::default()).await.unwrap_err();
    assert_eq!((odd.name(), odd.message()), ("TypeError", "just JavaScript"));
}

#[tokio::test]
async fn server_the_hosts_own_errors_reach_javascript() {
    let pair = pair().await;
    let params = json!({"className": "FuelExhaustedError", "message": "m", "code": 500,
        "type": "FUEL_EXHAUSTED", "data": {"limit": 1, "used": 2}});
    let error = pair.js.call("rs.fail", params).await.unwrap_err();
    assert_eq!(
        (&error["name"], &error["type"]),
        (&json!("FuelExhaustedError"), &json!("FUEL_EXHAUSTED"))
    );
    assert_eq!(error["data"], json!({"limit": 1, "used": 2}));
}

#[tokio::test]
async fn server_a_call_goes_to_the_wanted_node() {
    let pair = pair().await;
    assert_eq!(call(&pair.rs, "js.node", &json!({}), to("js-1")).await.unwrap(), "js-1");
    let options = json!({"nodeID": "rs-1"});
    let answer = pair.js.call_with("rs.node", value(&json!({})), options.clone()).await.unwrap();
    assert_eq!(answer["result"]["value"], "rs-1");
    // A node that does not have the action, asked by either side.
    let error = call(&pair.rs, "rs.echo", &json!({}), to("js-1")).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");
    let error = pair.js.call_with("js.echo", value(&json!({})), options).await.unwrap_err();
    assert_eq!(error["name"], "ServiceNotFoundError");
    assert_eq!(call_js(&pair, "v3.js.versioned.version", json!({})).await, 3);
}

#[tokio::test]
async fn server_a_call_without_answer_times_out_on_the_callers_side() {
    let pair = pair().await;
    let options = CallOptions {
        timeout: Some(std::time::Duration::from_millis(200)),
        ..CallOptions::default()
    };
    let error = call(&pair.rs, "js.silent", &json!({}), options).await.unwrap_err();
    assert_eq!((error.name(), error.code()), ("RequestTimeoutError", 504));
    let options = json!({"timeout": 200});
    let error = pair.js.call_with("rs.silent", value(&json!({})), options).await.unwrap_err();
    assert_eq!(error["name"], "RequestTimeoutError");
}

#[tokio::test]
async fn server_128_calls_at_once_are_each_answered_once() {
    let pair = pair().await;
    let load = json!({"action": "rs.echo", "params": value(&json!({"n": 1})), "count": 2000,
        "parallel": 128, "options": {}});
    let answer = pair.js.ask("load", load).await.unwrap();
    assert_eq!(answer, json!({"results": {"{\"n\":1}": 2000}, "errors": []}));
    let calls = (0..1000).map(|n| {
        let rs = pair.rs.clone();
        async move { call(&rs, "js.echo", &json!({"n": n}), CallOptions::default()).await.unwrap() }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().enumerate().all(|(n, answer)| answer["n"] == n));
}

#[tokio::test]
async fn server_each_side_pings_the_other() {
    let pair = pair().await;
    let pong = pair.js.ask("ping", json!({"nodeID": "rs-1", "timeout": 5000})).await.unwrap();
    assert_eq!(pong["nodeID"], "rs-1");
    assert!(pong["elapsedTime"].as_f64().unwrap() < 5000.0);
    assert!(pong["timeDiff"].as_f64().unwrap().abs() < 5000.0);
}

#[tokio::test]
async fn server_javascript_asks_our_node_about_itself() {
    let pair = pair().await;
    let at = json!({"nodeID": "rs-1"});
    let ask = async |action: &str| {
        let answer = pair.js.call_with(action, value(&json!({})), at.clone()).await.unwrap();
        answer["result"]["value"].clone()
    };
    let nodes = ask("$node.list").await;
    let ids: Vec<&str> =
        nodes.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"rs-1") && ids.contains(&"js-1"), "{ids:?}");
    let services = ask("$node.services").await;
    let rs = services.as_array().unwrap().iter().find(|service| service["name"] == "rs").unwrap();
    assert_eq!(rs["settings"], json!({"shown": 1}));
    assert_eq!(rs["nodes"], json!(["rs-1"]));
    let has =
        |list: &Value, name: &str| list.as_array().unwrap().iter().any(|item| item["name"] == name);
    assert!(has(&ask("$node.actions").await, "js.echo"));
    assert!(ask("$node.events").await.is_array());
    assert!(ask("$node.health").await["mem"].is_object());
    assert_eq!(ask("$node.options").await["nodeID"], "rs-1");
    // And what JavaScript's own registry says of us.
    let own = pair.js.call("$node.services", json!({})).await.unwrap();
    let rs = own.as_array().unwrap().iter().find(|service| service["name"] == "rs").unwrap();
    assert_eq!((&rs["metadata"], &rs["available"]), (&json!({"from": "rust"}), &json!(true)));
}

/// Two nodes of each kind; the groups `mail` (on all) and `stock` (on one of each), and what they got.
struct Listeners {
    js: [Peer; 2],
    rs: [ServiceBroker; 2],
    got: Vec<(&'static str, &'static str, Received)>,
    _nats: NatsServer,
}

async fn listeners() -> Listeners {
    let nats = NatsServer::start().await;
    let rs = [
        broker::start(broker::on_nats("rs-1", &nats.url())).await,
        broker::start(broker::on_nats("rs-2", &nats.url())).await,
    ];
    let mut got = Vec::new();
    for (node, name) in rs.iter().zip(["rs-1", "rs-2"]) {
        let received = mirror::listen(node, "rs-mail", "order.*", "mail").await;
        got.push((name, "mail", received));
    }
    got.push(("rs-1", "stock", mirror::listen(&rs[0], "rs-stock", "order.*", "stock").await));
    let mail = ("js-mail", "order.*", "mail");
    let stock = ("js-stock", "order.*", "stock");
    let start = async |id: &str, listen: &[(&str, &str, &str)]| {
        Peer::listening(Version::V15, id, &nats.url(), json!({}), listen).await
    };
    let js = [start("js-1", &[mail, stock]).await, start("js-2", &[mail]).await];
    for peer in &js {
        peer.wait_for_services(&["rs-mail", "rs-stock", "js-stock"]).await;
        peer.wait_for_node("rs-2", true).await;
    }
    for node in &rs {
        broker::wait_for(node, &["js-mail", "js-stock", "rs-mail", "rs-stock"]).await;
        broker::wait_for_node(node, "js-2", true).await;
    }
    // Node js-2 and rs-2 are known with their services, too.
    for peer in &js {
        tests::wait::until("both nodes of each service", || async {
            let list = peer.call("$node.services", json!({})).await.unwrap();
            let count = |name: &str| {
                let mut items = list.as_array().unwrap().iter();
                items
                    .find(|item| item["name"] == name)
                    .map_or(0, |item| item["nodes"].as_array().unwrap().len())
            };
            (count("rs-mail") == 2 && count("js-mail") == 2).then_some(())
        })
        .await;
    }
    Listeners { js, rs, got, _nats: nats }
}

impl Listeners {
    /// How many events each group got in all, once `total` have come.
    async fn per_group(&self, event: &str, total: usize) -> (usize, usize) {
        tests::wait::until(&format!("{total} events '{event}'"), || async {
            let (mail, stock) = self.count(event).await;
            (mail + stock >= total).then_some((mail, stock))
        })
        .await
    }

    async fn count(&self, event: &str) -> (usize, usize) {
        let mut counts = (0, 0);
        for (_, group, received) in &self.got {
            let n = received.now().iter().filter(|item| item["event"] == event).count();
            if *group == "mail" { counts.0 += n } else { counts.1 += n }
        }
        for peer in &self.js {
            for item in peer.received(event, 0).await {
                let mail = item["service"] == "js-mail";
                if mail { counts.0 += 1 } else { counts.1 += 1 }
            }
        }
        counts
    }

    /// A marker that arrives everywhere after all that was sent before: nothing more can come.
    async fn settle(&self) {
        for (index, node) in self.rs.iter().enumerate() {
            let event = format!("order.settled-rs-{index}");
            broker::broadcast(node, &event, &json!(0), &[]).await;
            self.per_group(&event, 6).await;
        }
        for (index, peer) in self.js.iter().enumerate() {
            let event = format!("order.settled-js-{index}");
            let args = json!({"event": event, "data": value(&json!(0))});
            peer.ask("broadcast", args).await.unwrap();
            self.per_group(&event, 6).await;
        }
    }
}

#[tokio::test]
async fn server_an_event_reaches_one_node_of_each_group() {
    let all = listeners().await;
    for n in 0..20 {
        broker::emit(&all.rs[0], "order.created", &json!({"n": n}), &[]).await;
        let args = json!({"event": "order.paid", "data": value(&json!({"n": n}))});
        all.js[0].ask("emit", args).await.unwrap();
    }
    assert_eq!(all.per_group("order.created", 40).await, (20, 20));
    assert_eq!(all.per_group("order.paid", 40).await, (20, 20));
    all.settle().await;
    assert_eq!(all.count("order.created").await, (20, 20));
    assert_eq!(all.count("order.paid").await, (20, 20));
}

#[tokio::test]
async fn server_a_broadcast_reaches_every_listener_and_groups_narrow_it() {
    let all = listeners().await;
    broker::broadcast(&all.rs[1], "order.all", &json!(1), &[]).await;
    all.js[1]
        .ask("broadcast", json!({"event": "order.all", "data": value(&json!(1))}))
        .await
        .unwrap();
    assert_eq!(all.per_group("order.all", 12).await, (8, 4));
    broker::broadcast(&all.rs[1], "order.stock", &json!(1), &["stock"]).await;
    let groups = json!({"groups": ["stock"]});
    let args = json!({"event": "order.stock", "data": value(&json!(1)), "options": groups});
    all.js[1].ask("broadcast", args).await.unwrap();
    assert_eq!(all.per_group("order.stock", 4).await, (0, 4));
    broker::emit(&all.rs[1], "order.mail", &json!(1), &["mail"]).await;
    assert_eq!(all.per_group("order.mail", 1).await, (1, 0));
    all.settle().await;
    assert_eq!(all.count("order.all").await, (8, 4));
    assert_eq!(all.count("order.stock").await, (0, 4));
    assert_eq!(all.count("order.mail").await, (1, 0));
}

#[tokio::test]
async fn server_a_listener_sees_the_context_of_the_event() {
    let all = listeners().await;
    let args = json!({"event": "order.seen", "data": value(&json!({"n": 1})),
        "options": {"meta": {"m": 1}, "requestID": "r-9"}});
    all.js[1].ask("broadcast", args).await.unwrap();
    all.per_group("order.seen", 6).await;
    let (_, _, received) = &all.got[0];
    let seen = received.now().into_iter().find(|item| item["event"] == "order.seen").unwrap();
    assert_eq!((&seen["type"], &seen["nodeID"]), (&json!("broadcast"), &json!("js-2")));
    assert_eq!((&seen["params"], &seen["meta"]), (&json!({"n": 1}), &json!({"m": 1})));
    assert_eq!(seen["requestID"], "r-9");
}
