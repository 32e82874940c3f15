//! The registry as services and tools see it: `$node`, the node's own events, strategies, pings; and the same
//! asked of a real Moleculer broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::tracing::{Receiver, TraceExporter, Upload};
use isomer_host::config::{BrokerOptions, Strategy, StrategyOptions};
use isomer_host::context::{CallOptions, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::broker::{self, call, to};
use tests::cluster::Cluster;
use tests::host::Host;
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, value};
use tests::{mirror, wait};

fn alone(change: impl FnOnce(&mut BrokerOptions)) -> ServiceBroker {
    let mut options = BrokerOptions { node_id: Some("me".into()), ..BrokerOptions::default() };
    change(&mut options);
    ServiceBroker::new(options).unwrap()
}

async fn ask(broker: &ServiceBroker, action: &str, params: Value) -> Result<Value, MoleculerError> {
    call(broker, action, &params, CallOptions::default()).await
}

fn named<'a>(rows: &'a Value, key: &str, name: &str) -> &'a Value {
    let mut rows = rows.as_array().unwrap().iter();
    rows.find(|row| row[key] == name).unwrap_or_else(|| panic!("no '{name}'"))
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_lists_of_node_are_filtered_by_their_params() {
    let broker = alone(|_| {});
    broker.start().await.unwrap();
    mirror::add(&broker).await;
    mirror::listen(&broker, "mail", "order.*", "post").await;
    mirror::listen(&broker, "own", "$node.*", "").await;
    let all = ask(&broker, "$node.services", json!({})).await.unwrap();
    assert_eq!(names(&all), ["$node", "mail", "own", "rs"]);
    assert!(named(&all, "name", "rs").get("actions").is_none());
    let params =
        json!({"skipInternal": "true", "withActions": 1, "withEvents": "on", "grouping": "false"});
    let some = ask(&broker, "$node.services", params).await.unwrap();
    assert_eq!(names(&some), ["mail", "own", "rs"]);
    let rs = named(&some, "name", "rs");
    assert_eq!((&rs["nodeID"], &rs["nodes"]), (&json!("me"), &Value::Null));
    assert_eq!(rs["actions"]["rs.echo"]["rawName"], "echo");
    let mail = json!({"order.*": {"group": "post", "name": "order.*"}});
    assert_eq!(named(&some, "name", "mail")["events"], mail);
    assert_eq!(named(&some, "name", "own")["events"], json!({}), "not those of the node");

    let params = json!({"skipInternal": true, "withEndpoints": true});
    let actions = ask(&broker, "$node.actions", params).await.unwrap();
    assert!(names(&actions).iter().all(|name| name.starts_with("rs.")), "{actions}");
    let echo = named(&actions, "name", "rs.echo");
    assert_eq!(
        (&echo["count"], &echo["hasLocal"], &echo["available"]),
        (&json!(1), &json!(true), &json!(true))
    );
    assert_eq!(echo["endpoints"], json!([{"nodeID": "me", "state": true, "available": true}]));
    let events = ask(&broker, "$node.events", json!({"skipInternal": true})).await.unwrap();
    assert_eq!(names(&events), ["order.*"]);
    assert_eq!(events[0]["group"], "post");
    assert_eq!(events[0]["event"], json!({"group": "post", "name": "order.*"}));

    let error = ask(&broker, "$node.list", json!({"onlyAvailable": "perhaps"})).await.unwrap_err();
    assert_eq!((error.name(), error.code()), ("ValidationError", 422));
    let nodes = ask(&broker, "$node.list", json!({"withServices": true})).await.unwrap();
    assert_eq!(nodes[0]["services"].as_array().unwrap().len(), 4);
    let nodes = ask(&broker, "$node.list", json!({})).await.unwrap();
    assert!(nodes[0].get("services").is_none());
}

#[tokio::test]
async fn secrets_are_masked_in_the_options_that_everybody_can_ask_for() {
    let broker = alone(|options| {
        let metadata = json!({"region": "eu", "apiKey": "k-1", "db": {"url": "pg://u:p@h/x", "password": "x"}});
        options.metadata = metadata.as_object().cloned().unwrap();
        let base_url = "https://h".parse().unwrap();
        let to =
            Receiver::NewRelic { base_url, insert_key: "k-2".into(), debug: false, shared: false };
        options.tracing.exporters = vec![TraceExporter::Upload(Upload::new(to))];
    });
    broker.start().await.unwrap();
    let shown = ask(&broker, "$node.options", json!({})).await.unwrap();
    let expected =
        json!({"region": "eu", "apiKey": "***", "db": {"url": "pg://***@h/x", "password": "***"}});
    assert_eq!(shown["metadata"], expected);
    assert_eq!(shown["tracing"]["exporter"], json!(["NewRelic"]));
    assert!(!shown.to_string().contains("k-2"));
    assert_eq!(shown["registry"]["strategy"], "RoundRobin");
    assert_eq!((&shown["nodeID"], &shown["requestTimeout"]), (&json!("me"), &json!(0)));
}

#[tokio::test]
async fn metrics_and_statistics_are_told_when_they_are_kept() {
    let off = alone(|_| {});
    off.start().await.unwrap();
    let error = ask(&off, "$node.metrics", json!({})).await.unwrap_err();
    assert_eq!(
        (error.name(), error.code(), error.kind()),
        ("MoleculerClientError", 400, "METRICS_DISABLED")
    );
    let error = ask(&off, "$node.stats", json!({})).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");

    let on = alone(|options| {
        options.metrics.enabled = true;
        options.statistics = true;
    });
    on.start().await.unwrap();
    mirror::add(&on).await;
    for _ in 0..3 {
        ask(&on, "rs.echo", json!({})).await.unwrap();
    }
    ask(&on, "rs.fail", json!({"className": "X", "code": 418})).await.unwrap_err();
    let stats = ask(&on, "$node.stats", json!({})).await.unwrap();
    let requests = &stats["requests"];
    assert_eq!(
        (&requests["total"]["count"], &requests["total"]["errors"]),
        (&json!(4), &json!({"418": 1}))
    );
    let echo = &requests["actions"]["rs.echo"];
    assert_eq!((&echo["count"], &echo["errors"]), (&json!(3), &json!({})));
    for key in ["mean", "median", "90th", "95th", "99th", "99.5th"] {
        assert!(echo["latency"][key].is_number(), "{key}: {echo}");
    }
    assert!(echo["rps"]["values"].is_array());
    let time = json!({"includes": "moleculer.request.time"});
    let time = ask(&on, "$node.metrics", time).await.unwrap();
    let of_echo = time[0]["values"].as_array().unwrap().iter();
    let of_echo =
        of_echo.filter(|value| value["labels"]["action"] == "rs.echo").collect::<Vec<_>>();
    assert_eq!(of_echo.len(), 1, "{time}");
    assert_eq!(of_echo[0]["count"], 3);
    assert_eq!(
        of_echo[0]["labels"],
        json!({"service": "rs", "action": "rs.echo", "type": "local", "caller": null})
    );
    let errors = json!({"includes": "moleculer.request.error.total"});
    let errors = ask(&on, "$node.metrics", errors).await.unwrap();
    assert_eq!(
        (&errors[0]["values"][0]["value"], &errors[0]["values"][0]["labels"]["errorCode"]),
        (&json!(1), &json!(418))
    );
    let process = json!({"includes": "process.**"});
    let process = ask(&on, "$node.metrics", process).await.unwrap();
    let expected = ["process.pid", "process.ppid", "process.uptime", "process.memory.rss"];
    assert_eq!(names(&process), expected);
    let endpoints = json!({"includes": "moleculer.registry.*.endpoints.total"});
    let endpoints = ask(&on, "$node.metrics", endpoints).await.unwrap();
    for (row, (label, name)) in endpoints.as_array().unwrap().iter().zip([
        ("service", "$node"),
        ("action", "$node.metrics"),
        ("event", ""),
    ]) {
        assert_eq!(row["labelNames"], json!([label]));
        let values = row["values"].as_array().unwrap();
        let value = values.iter().find(|value| value["labels"][label] == name);
        assert_eq!(value.map(|value| &value["value"]), (label != "event").then_some(&json!(1)));
    }
    let params = json!({"types": "counter", "includes": ["moleculer.request.**"], "excludes": "**.fallback.**"});
    let metrics = ask(&on, "$node.metrics", params).await.unwrap();
    assert!(names(&metrics).contains(&"moleculer.request.timeout.total"), "{metrics}");
    assert!(names(&metrics).iter().all(|name| name.starts_with("moleculer.request.")));
}

#[tokio::test]
async fn the_service_of_the_node_can_be_extended_or_left_out() {
    let none = alone(|options| options.internal_services = false);
    none.start().await.unwrap();
    let error = ask(&none, "$node.list", json!({})).await.unwrap_err();
    assert_eq!(error.name(), "ServiceNotFoundError");

    let extend =
        |over: Value| alone(|options| options.internal_schema = over.as_object().cloned().unwrap());
    let broker = extend(json!({"settings": {"rest": true}, "metadata": {"team": "ops"},
        "actions": {"options": false, "health": {"visibility": "protected"}}}));
    broker.start().await.unwrap();
    let params = json!({"withActions": true});
    let services = ask(&broker, "$node.services", params).await.unwrap();
    let node = named(&services, "name", "$node");
    assert_eq!(
        (&node["settings"], &node["metadata"]),
        (&json!({"rest": true}), &json!({"team": "ops"}))
    );
    assert_eq!(node["actions"]["$node.health"]["visibility"], "protected");
    assert!(node["actions"].get("$node.options").is_none());

    let error = extend(json!({"actions": {"mine": {}}})).start().await.unwrap_err();
    assert!(error.to_string().contains("action 'mine' has no handler"), "{error}");
}

#[tokio::test]
async fn a_node_tells_about_itself_without_a_call() {
    let broker = alone(|_| {});
    broker.start().await.unwrap();
    mirror::listen(&broker, "mail", "order.*", "").await;
    let info = broker.local_node_info();
    assert_eq!(info.services.unwrap().len(), 2);
    assert!(broker.health_status()["cpu"]["cores"].as_u64().unwrap() > 0);
    assert!(
        broker.has_event_listener("order.created") && !broker.has_event_listener("user.created")
    );
    let listeners = broker.event_listeners("order.created");
    assert_eq!((listeners.len(), &*listeners[0].service), (1, "mail"));
}

// moleculer: src/service-broker.js ping
#[tokio::test(start_paused = true)]
async fn one_some_or_all_nodes_are_pinged() {
    let cluster = Cluster::start(&["a", "b", "c"], |_| {}).await;
    let a = &cluster.nodes[0];
    let all = a.ping_nodes(&[], Duration::from_secs(2)).await;
    let answered: Vec<_> = all.iter().map(|(id, pong)| (&**id, pong.is_some())).collect();
    assert_eq!(answered, [("b", true), ("c", true)]);
    let some = a.ping_nodes(&["c".into(), "nobody".into()], Duration::from_secs(2)).await;
    assert_eq!((some["c"].is_some(), some["nobody"].is_some()), (true, false));
    let pong = a.ping(&"b".into(), Duration::from_secs(2)).await.unwrap().unwrap();
    assert_eq!(&*pong.node_id, "b");
    let value = a.as_caller().ping(vec!["b".into(), "x".into()], Duration::from_secs(1)).await;
    let value: Value = value.unwrap().parse().unwrap();
    assert_eq!((&value["b"]["nodeID"], &value["x"]), (&json!("b"), &Value::Null));
}

// moleculer: src/strategies/latency.js
#[tokio::test(start_paused = true)]
async fn hosts_are_pinged_when_a_strategy_asks_for_it() {
    let latency_of = |node: &ServiceBroker, of: &str| {
        node.registry().read().nodes.get(of).unwrap().load.latency()
    };
    let cluster = Cluster::start(&["a", "b"], |options| {
        options.registry.strategy = Strategy::Latency;
        options.registry.strategy_options =
            StrategyOptions { ping_interval: Duration::from_secs(1), ..StrategyOptions::default() };
    })
    .await;
    wait::until("a measured host", || async {
        latency_of(&cluster.nodes[0], "b").is_some().then_some(())
    })
    .await;
    let quiet = Cluster::start(&["a", "b"], |_| {}).await;
    let pong = quiet.nodes[0].ping(&"b".into(), Duration::from_secs(1)).await.unwrap();
    assert!(pong.is_some());
    assert_eq!(latency_of(&quiet.nodes[0], "b"), None, "nobody asks for it");
}

#[tokio::test(start_paused = true)]
async fn the_node_that_says_it_is_idle_is_called() {
    let cluster = Cluster::start(&["a", "b", "c"], |options| {
        options.registry.strategy = Strategy::CpuUsage;
        options.registry.prefer_local = false;
        options.heartbeat_interval = Duration::ZERO;
    })
    .await;
    let a = &cluster.nodes[0];
    let load = |node: &str, cpu: f64| {
        a.registry().read().nodes.get(node).unwrap().load.set_cpu(Some(cpu));
    };
    for (idle, expected) in [([50.0, 5.0, 50.0], "b"), ([50.0, 60.0, 40.0], "c")] {
        ["a", "b", "c"].into_iter().zip(idle).for_each(|(node, cpu)| load(node, cpu));
        for _ in 0..4 {
            assert_eq!(ask(a, "rs.node", json!({})).await.unwrap(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dollar_events_stay_here_when_the_options_say_so() {
    let cluster =
        Cluster::start(&["a", "b"], |options| options.local_only_dollar_events = true).await;
    let mut heard = Vec::new();
    for node in &cluster.nodes {
        heard.push(mirror::listen(node, "watch", "*.y", "").await);
        heard.push(mirror::listen(node, "dollar", "$x.*", "").await);
    }
    for node in &cluster.nodes {
        for other in ["a", "b"] {
            broker::wait_for_service_on(node, "dollar", other).await;
        }
    }
    let a = &cluster.nodes[0];
    broker::emit(a, "$x.y", &json!(1), &[]).await;
    broker::broadcast(a, "$x.y", &json!(2), &[]).await;
    // What is not the node's own goes everywhere, and after what was sent before.
    broker::broadcast(a, "x.y", &json!(3), &[]).await;
    heard[2].at_least(1).await;
    let dollars = |index: usize| {
        let events: &mirror::Received = &heard[index];
        events.now().iter().filter(|event| event["event"] == "$x.y").count()
    };
    heard[1].at_least(2).await;
    assert_eq!((dollars(1), dollars(3)), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn two_versions_on_one_node_and_overlapping_patterns_each_hear_an_event_once() {
    let cluster =
        Cluster::start(&["a", "b"], |options| options.registry.prefer_local = false).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    for node in &cluster.nodes {
        for version in [1, 2] {
            let schema = json!({"name": "users", "version": version,
                "events": {"user.*": {}, "user.created": {"strategy": "Random"}}});
            let handler = |pattern: &'static str| -> isomer_host::handler::EventHandler {
                let (log, node_id) = (Arc::clone(&log), node.node_id().to_string());
                Arc::new(move |ctx| {
                    log.lock().push((
                        ctx.params.to_json_text().to_string(),
                        node_id.clone(),
                        version,
                        pattern,
                    ));
                    Box::pin(async { Ok(()) })
                })
            };
            let handlers =
                vec![("user.*", handler("user.*")), ("user.created", handler("user.created"))];
            let service = LocalService::native(&schema, vec![], handlers).unwrap();
            node.add_service(service).await.unwrap();
        }
    }
    for node in &cluster.nodes {
        for (service, other) in
            [("v1.users", "a"), ("v2.users", "a"), ("v1.users", "b"), ("v2.users", "b")]
        {
            broker::wait_for_service_on(node, service, other).await;
        }
    }
    // Both versions are one group: of each pattern one handler runs, both on one node
    // (Moleculer may run them on two, and knows only one of the versions).
    for n in 0..20 {
        broker::emit(&cluster.nodes[0], "user.created", &json!(n), &[]).await;
    }
    wait::until("40 handlers", || async { (log.lock().len() >= 40).then_some(()) }).await;
    for n in 0..20 {
        let ran: Vec<_> =
            log.lock().iter().filter(|entry| entry.0 == n.to_string()).cloned().collect();
        assert_eq!(ran.len(), 2, "{ran:?}");
        assert!(ran[0].1 == ran[1].1 && ran[0].3 != ran[1].3, "{ran:?}");
    }
    log.lock().clear();
    broker::broadcast(&cluster.nodes[0], "user.created", &json!("all"), &[]).await;
    wait::until("8 handlers", || async { (log.lock().len() >= 8).then_some(()) }).await;
    let ran: BTreeSet<_> = log.lock().iter().cloned().collect();
    assert_eq!(ran.len(), 8, "every handler of every version on every node: {ran:?}");
}

// moleculer: src/registry/discoverers/base.js checkRemoteNodes, checkOfflineNodes
#[tokio::test(start_paused = true)]
async fn silent_nodes_are_lost_and_lost_ones_forgotten_unless_that_is_switched_off() {
    let cluster = Cluster::start(&["a", "b", "c"], |options| {
        options.heartbeat_interval = Duration::from_secs(1);
        options.heartbeat_timeout = Duration::from_secs(3);
        let discoverer = &mut options.registry.discoverer;
        discoverer.clean_offline_nodes_timeout = Duration::from_secs(5);
        let careless = options.node_id.as_deref() == Some("a");
        discoverer.disable_heartbeat_checks = careless;
        discoverer.disable_offline_node_removing = careless;
    })
    .await;
    let (a, b, c) = (&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[2]);
    let known = |node: &ServiceBroker| node.registry().read().nodes.get("b").map(|b| b.available);
    cluster.bus.cut("b");
    broker::wait_for_node(c, "b", false).await;
    assert_eq!(known(a), Some(true));
    cluster.bus.restore("b");
    broker::wait_for_node(c, "b", true).await;
    b.stop().await;
    broker::wait_for_node(c, "b", false).await;
    // Who is long gone is looked for once a minute.
    let _ = tokio::time::timeout(Duration::from_secs(70), std::future::pending::<()>()).await;
    assert_eq!((known(a), known(c)), (Some(false), None));
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_another_protocol_is_told_to_the_services() {
    let cluster = Cluster::start(&["a"], |_| {}).await;
    let heard = mirror::listen(&cluster.nodes[0], "watch", "$transit.*", "").await;
    let packet = r#"{"ver":"4","sender":"x","id":"1","action":"rs.node"}"#;
    cluster.bus.inject("MOL.REQ.a", &bytes::Bytes::from_static(packet.as_bytes()));
    let told = &heard.at_least(1).await[0]["params"];
    assert_eq!(
        (&told["module"], &told["type"]),
        (&json!("transit"), &json!("failedProcessingPacket"))
    );
    assert!(told["error"]["message"].is_string(), "{told}");
}

#[tokio::test]
async fn server_the_loss_and_the_return_of_the_connection_are_told() {
    let mut nats = NatsServer::start().await;
    let node = ServiceBroker::new(broker::on_nats("rs-1", &nats.url())).unwrap();
    let heard = mirror::listen(&node, "watch", "$transporter.*connected", "").await;
    wait::for_result("the start", node.start()).await.unwrap();
    heard.at_least(1).await;
    nats.kill().await;
    heard.at_least(2).await;
    nats.restart().await;
    let events = heard.at_least(3).await;
    let told: Vec<_> = events.iter().map(|event| (&event["event"], &event["params"])).collect();
    let expected = [
        (&json!("$transporter.connected"), &json!({"wasReconnect": false})),
        (&json!("$transporter.disconnected"), &json!({"graceFul": false})),
        (&json!("$transporter.connected"), &json!({"wasReconnect": true})),
    ];
    assert_eq!(told, expected);
}

/// The service `sink`, whose action `note` remembers its params.
async fn sink(broker: &ServiceBroker) -> Arc<Mutex<Vec<Value>>> {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&notes);
    let note: Handler = mirror::action(move |ctx| {
        log.lock().push(ctx.params.parse().unwrap());
        async { Outcome::Ok(Payload::null()) }
    });
    let schema = json!({"name": "sink", "actions": {"note": {}}});
    let service = LocalService::native(&schema, vec![("note", note)], vec![]).unwrap();
    broker.add_service(service).await.unwrap();
    notes
}

#[tokio::test]
async fn a_component_hears_the_nodes_own_events() {
    let bus = isomer_host::uid::new().to_string();
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put("watcher", folder.path(), "watcher.wasm");
    let broker = ServiceBroker::new(broker::on_bus("me", &bus)).unwrap();
    let notes = sink(&broker).await;
    let host = Host::start_broker(broker, folder).await;
    let heard = async |event: &str| {
        wait::until(&format!("'{event}'"), || async {
            let notes = notes.lock();
            notes.iter().find(|note| note["event"] == event).map(|note| note["data"].clone())
        })
        .await
    };
    assert_eq!(heard("$broker.started").await, Value::Null);
    let other = broker::start(broker::on_bus("other", &bus)).await;
    let connected = heard("$node.connected").await;
    assert_eq!(
        (&connected["node"]["id"], &connected["reconnected"]),
        (&json!("other"), &json!(false))
    );
    mirror::add(&other).await;
    assert_eq!(heard("$node.updated").await["node"]["id"], "other");
    broker::wait_for_service_on(&host.broker, "rs", "other").await;
    assert!(host.broker.ping(&"other".into(), Duration::from_secs(10)).await.unwrap().is_some());
    assert_eq!(heard("$node.pong").await["nodeID"], "other");
    other.stop().await;
    let gone = heard("$node.disconnected").await;
    assert_eq!((&gone["node"]["available"], &gone["unexpected"]), (&json!(false), &json!(false)));
    wait::until("changes of both kinds", || async {
        let notes = notes.lock();
        let changed = |local: bool| {
            let mut notes = notes.iter().filter(|note| note["event"] == "$services.changed");
            notes.any(|note| note["data"] == json!({"localService": local}))
        };
        (changed(true) && changed(false)).then_some(())
    })
    .await;
    std::fs::write(host.folder().join("broken.wasm"), "no component").unwrap();
    let error = heard("$broker.error").await;
    assert_eq!((&error["module"], &error["type"]), (&json!("broker"), &json!("failedServiceLoad")));
    assert!(error["error"]["message"].as_str().unwrap().len() > 5, "{error}");
    host.broker.stop().await;
    assert!(notes.lock().iter().any(|note| note["event"] == "$broker.stopped"));
}

/// The keys of an object that lead somewhere.
fn keys(value: &Value) -> BTreeSet<&str> {
    let keys = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    keys.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str()).collect()
}

/// Every key that JavaScript has must be there; others only when they are `more`.
fn check_keys(what: &str, ours: &Value, javascript: &Value, without: &[&str], more: &[&str]) {
    let (ours, theirs) = (keys(ours), keys(javascript));
    let missing: Vec<_> = theirs.difference(&ours).filter(|key| !without.contains(key)).collect();
    let added: Vec<_> = ours.difference(&theirs).filter(|key| !more.contains(key)).collect();
    assert!(missing.is_empty() && added.is_empty(), "{what}: without {missing:?}, with {added:?}");
}

struct Both {
    js: Peer,
    rs: ServiceBroker,
    heard: mirror::Received,
    nats: NatsServer,
}

/// A node of each kind, both with metrics and a listener for the node's own events.
async fn both() -> Both {
    let nats = NatsServer::start().await;
    let mut options = broker::on_nats("rs-1", &nats.url());
    options.metrics.enabled = true;
    let rs = broker::start(options).await;
    mirror::add(&rs).await;
    let heard = mirror::listen(&rs, "watch", "$**", "").await;
    let options = json!({"metrics": {"enabled": true}});
    let listen = [("watch", "$**", "")];
    let js = Peer::listening(Version::V15, "js-1", &nats.url(), options, &listen).await;
    js.wait_for_services(&["rs", "watch"]).await;
    broker::wait_for(&rs, &["js"]).await;
    Both { js, rs, heard, nats }
}

#[tokio::test]
async fn server_node_answers_in_the_shape_of_moleculer() {
    let both = both().await;
    let answers = async |action: &str, params: Value| {
        let ours = call(&both.rs, action, &params, to("rs-1")).await.unwrap();
        (ours, both.js.call(action, params).await.unwrap())
    };
    // With services, Moleculer answers only from afar: its own list of them has a circle.
    let (ours, theirs) = answers("$node.list", json!({"onlyAvailable": "true"})).await;
    // Each shows the other, which it knows from its INFO.
    let (ours, theirs) = (named(&ours, "id", "js-1"), named(&theirs, "id", "rs-1"));
    check_keys("$node.list", ours, theirs, &["cpu", "cpuSeq"], &["cpu", "cpuSeq"]);

    let flags = json!({"withActions": "true", "withEvents": "true", "skipInternal": "true"});
    let (ours, theirs) = answers("$node.services", flags).await;
    check_keys(
        "$node.services",
        named(&ours, "name", "js"),
        named(&theirs, "name", "rs"),
        &[],
        &[],
    );
    let versioned = named(&ours, "name", "js.versioned");
    let own = named(&theirs, "name", "js.versioned");
    assert_eq!(versioned["actions"], own["actions"]);
    assert_eq!(
        (&versioned["version"], &versioned["fullName"]),
        (&own["version"], &own["fullName"])
    );

    let flags = json!({"withEndpoints": true, "onlyAvailable": true});
    let (ours, theirs) = answers("$node.actions", flags.clone()).await;
    for action in ["js.echo", "rs.echo", "$node.services", "v3.js.versioned.version"] {
        let (ours, theirs) = (named(&ours, "name", action), named(&theirs, "name", action));
        check_keys(action, ours, theirs, &[], &[]);
        let at = "/endpoints/0";
        check_keys(action, ours.pointer(at).unwrap(), theirs.pointer(at).unwrap(), &[], &[]);
        // The definitions are the same; `$node` says more of its params on neither side.
        assert_eq!(ours["action"], theirs["action"], "{action}");
        assert_eq!(ours["count"], theirs["count"], "{action}");
    }
    let (ours, theirs) = answers("$node.events", flags).await;
    let (ours, theirs) = (named(&ours, "name", "$**"), named(&theirs, "name", "$**"));
    check_keys("$node.events", ours, theirs, &[], &[]);
    assert_eq!((&ours["group"], &ours["count"]), (&theirs["group"], &theirs["count"]));

    let (ours, theirs) = answers("$node.health", json!({})).await;
    check_keys("$node.health", &ours, &theirs, &[], &[]);
    for section in ["cpu", "mem", "os", "process", "client", "net", "time"] {
        check_keys(section, &ours[section], &theirs[section], &[], &[]);
    }
    check_keys("user", &ours["os"]["user"], &theirs["os"]["user"], &[], &[]);
    let filter = json!({"includes": "moleculer.transit.**", "types": ["counter"]});
    let (ours, theirs) = answers("$node.metrics", filter).await;
    check_keys("$node.metrics", &ours[0], &theirs[0], &["description", "unit"], &[]);
    assert_eq!(ours[0]["type"], "counter");
}

#[tokio::test]
async fn server_the_nodes_own_events_have_the_payloads_of_moleculer() {
    let both = both().await;
    let third = broker::start(broker::on_nats("rs-2", &both.nats.url())).await;
    broker::wait_for_node(&both.rs, "rs-2", true).await;
    both.js.wait_for_node("rs-2", true).await;
    mirror::add_as(&third, "third").await;
    both.js.wait_for_services(&["third"]).await;
    broker::wait_for(&both.rs, &["third"]).await;
    both.js.ask("ping", json!({"nodeID": "rs-2", "timeout": 10_000})).await.unwrap();
    both.rs.ping(&"rs-2".into(), Duration::from_secs(10)).await.unwrap().unwrap();
    third.stop().await;
    let about_third = |event: &Value, data: &Value| {
        let id = data.pointer("/node/id").or_else(|| data.get("nodeID"));
        id.is_none_or(|id| id == "rs-2").then(|| (event.clone(), data.clone()))
    };
    for name in [
        "$node.connected",
        "$node.updated",
        "$node.pong",
        "$node.disconnected",
        "$services.changed",
    ] {
        let ours = wait::until(&format!("'{name}' on our node"), || async {
            let events = both.heard.now();
            let mut events = events.iter().filter(|event| event["event"] == name);
            events.find_map(|event| about_third(&event["type"], &event["params"]))
        })
        .await;
        let theirs = wait::until(&format!("'{name}' on the other node"), || async {
            let events = both.js.received(name, 1).await;
            events.iter().find_map(|event| about_third(&event["type"], &event["data"]["value"]))
        })
        .await;
        assert_eq!(ours.0, theirs.0, "type of {name}");
        check_keys(name, &ours.1, &theirs.1, &[], &[]);
        if ours.1.get("node").is_some() {
            // Moleculer adds the whole INFO, once more; and what it sent was changed when the node left.
            let without = ["services", "rawInfo", "cpu", "cpuSeq", "offlineSince"];
            check_keys(name, &ours.1["node"], &theirs.1["node"], &without, &["cpu", "cpuSeq"]);
        }
    }
}

// moleculer: src/strategies/shard.js
#[tokio::test]
async fn server_the_same_key_goes_to_the_same_node_from_both_sides() {
    let both = both().await;
    let mut nodes = Vec::new();
    for node_id in ["shard-a", "shard-b", "shard-c"] {
        let node = broker::start(broker::on_nats(node_id, &both.nats.url())).await;
        let answer = node_id.to_owned();
        let handler = mirror::action(move |_| std::future::ready(Ok(broker::json(&json!(answer)))));
        let schema = json!({"name": "sharded", "actions": {"node": {"strategy": "Shard",
            "strategyOptions": {"shardKey": "user.id", "vnodes": 4}}}});
        let service = LocalService::native(&schema, vec![("node", handler)], vec![]).unwrap();
        node.add_service(service).await.unwrap();
        nodes.push(node);
    }
    for node in ["shard-a", "shard-b", "shard-c"] {
        broker::wait_for_service_on(&both.rs, "sharded", node).await;
        both.js.wait_for_node(node, true).await;
    }
    wait::until("three endpoints on the other side", || async {
        let list = both.js.call("$node.actions", json!({"skipInternal": true})).await.unwrap();
        let mut rows = list.as_array().unwrap().iter();
        rows.any(|row| row["name"] == "sharded.node" && row["count"] == 3).then_some(())
    })
    .await;
    let mut used = BTreeSet::new();
    for key in [
        json!(1),
        json!(2),
        json!("ada"),
        json!(true),
        json!(7.5),
        json!([1, 2]),
        json!("x"),
        json!("y"),
    ] {
        let params = json!({"user": {"id": key}});
        let ours = ask(&both.rs, "sharded.node", params.clone()).await.unwrap();
        let theirs = both.js.call_with("sharded.node", value(&params), json!({})).await.unwrap();
        assert_eq!(ours, theirs["result"]["value"], "{params}");
        used.insert(ours.to_string());
    }
    assert!(used.len() > 1, "{used:?}");
}
