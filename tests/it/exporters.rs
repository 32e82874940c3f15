//! Exporters of spans and the Datadog reporter against servers of our own, and beside those of Moleculer JS.

use std::collections::BTreeMap;
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::metrics::{MetricReporter, ReporterKind};
use isomer_host::config::tracing::{Jaeger, Receiver, TraceExporter, Upload};
use isomer_host::config::{BrokerOptions, HttpUrl};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::collector::{Collector, shape, thrift, thrift_call};
use tests::peer::Peer;
use tests::{broker, mirror, wait};
use tokio::net::UdpSocket;

/// What both kinds of nodes are asked: one call that calls another, and one whose second fails.
const CALLS: [&str; 2] = ["js.echo", "js.metaThenFail"];

fn params(action: &str) -> Value {
    json!({"action": action, "params": {"a": {"b": [1, true, "x"]}, "n": 1.5}})
}

fn url(text: &str) -> HttpUrl {
    text.parse().unwrap()
}

/// A node whose spans go to a server soon, with the same service as the peer.
async fn node(to: Receiver) -> ServiceBroker {
    let mut options = BrokerOptions { node_id: Some("n-1".into()), ..BrokerOptions::default() };
    options.tracing.enabled = true;
    let default_tags = json!({"zone": {"name": "eu", "n": 1}}).as_object().cloned().unwrap();
    let interval = Duration::from_millis(50);
    let upload = Upload { to, interval, default_tags };
    options.tracing.exporters = vec![TraceExporter::Upload(upload)];
    let node = broker::start(options).await;
    mirror::add_as(&node, "js").await;
    node
}

/// The same in JavaScript.
async fn peer(exporter: &str, mut options: Value) -> Peer {
    options["defaultTags"] = json!({"zone": {"name": "eu", "n": 1}});
    let exporter = json!({"type": exporter, "options": options});
    let options = json!({"transporter": null, "tracing": {"enabled": true, "exporter": exporter}});
    Peer::start("js-1", "", options).await
}

async fn call(node: &ServiceBroker) {
    for action in CALLS {
        let _ = broker::call(node, "js.relay", &params(action), CallOptions::default()).await;
    }
}

async fn call_peer(peer: &Peer) {
    for action in CALLS {
        let _ = peer.call("js.relay", params(action)).await;
    }
}

/// The four spans of the calls, whatever requests they came with.
async fn spans(collector: &mut Collector, of: impl Fn(&Value) -> Vec<Value>) -> Vec<Value> {
    let mut spans = Vec::new();
    while spans.len() < 4 {
        spans.extend(of(&collector.next().await.json()));
    }
    spans
}

/// What spans look like, by name and whether they failed.
fn shapes(spans: &[Value], name: &str, failed: impl Fn(&Value) -> bool) -> BTreeMap<String, Value> {
    let shapes: BTreeMap<_, _> = spans
        .iter()
        .map(|span| (format!("{} {}", span[name], failed(span)), shape(span)))
        .collect();
    assert_eq!(shapes.len(), 4, "{spans:#?}");
    shapes
}

fn list(body: &Value) -> Vec<Value> {
    body.as_array().cloned().unwrap()
}

fn zipkin(collector: &Collector) -> Receiver {
    let headers = vec![("Authorization".to_owned(), "Bearer t".to_owned())];
    Receiver::Zipkin { base_url: url(&collector.url()), debug: false, shared: false, headers }
}

/// Whether spans of one chain hang together.
fn linked(spans: &[Value], id: &str, parent: &str, trace: &str) {
    for span in spans.iter().filter(|span| !span[parent].is_null()) {
        let above = spans.iter().find(|other| other[id] == span[parent]).unwrap();
        assert_eq!(above[trace], span[trace]);
    }
    let roots = spans.iter().filter(|span| span[parent].is_null()).count();
    assert_eq!(roots, 2, "{spans:#?}");
}

#[tokio::test]
async fn server_zipkin_gets_what_moleculer_sends() {
    let mut theirs = Collector::start().await;
    let mut ours = Collector::start().await;
    let headers = json!({"Authorization": "Bearer t"});
    let peer =
        peer("Zipkin", json!({"baseURL": theirs.url(), "interval": 0.1, "headers": headers})).await;
    let node = node(zipkin(&ours)).await;
    call_peer(&peer).await;
    call(&node).await;
    let (their_spans, our_spans) = (spans(&mut theirs, list).await, spans(&mut ours, list).await);
    let failed = |span: &Value| !span["tags"]["error"].is_null();
    assert_eq!(shapes(&our_spans, "name", failed), shapes(&their_spans, "name", failed));
    linked(&our_spans, "id", "parentId", "traceId");
    let echo = our_spans.iter().find(|span| span["name"] == "action 'js.echo'").unwrap();
    for (tag, value) in [
        ("service", "js"),
        ("span.type", "action"),
        ("zone.n", "1"),
        ("params.a.b.1", "true"),
        ("params.n", "1.5"),
        ("callingLevel", "2"),
    ] {
        assert_eq!(echo["tags"][tag], value, "{tag}");
    }
    call(&node).await;
    call_peer(&peer).await;
    let (our, their) = (ours.next().await, theirs.next().await);
    assert_eq!((&our.line, our.line.as_str()), (&their.line, "POST /api/v2/spans HTTP/1.1"));
    for header in ["authorization", "content-type"] {
        assert_eq!(our.headers.get(header), their.headers.get(header), "{header}");
    }
    peer.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn server_new_relic_gets_what_moleculer_sends() {
    let mut theirs = Collector::start().await;
    let mut ours = Collector::start().await;
    let options = json!({"baseURL": theirs.url(), "interval": 0.1, "insertKey": "k-1"});
    let peer = peer("NewRelic", options).await;
    let node = node(Receiver::NewRelic {
        base_url: url(&ours.url()),
        insert_key: "k-1".into(),
        debug: false,
        shared: false,
    })
    .await;
    call_peer(&peer).await;
    call(&node).await;
    let (their_spans, our_spans) = (spans(&mut theirs, list).await, spans(&mut ours, list).await);
    let failed = |span: &Value| !span["tags"]["error"].is_null();
    assert_eq!(shapes(&our_spans, "name", failed), shapes(&their_spans, "name", failed));
    call(&node).await;
    call_peer(&peer).await;
    let (our, their) = (ours.next().await, theirs.next().await);
    assert_eq!((&our.line, our.line.as_str()), (&their.line, "POST /trace/v1 HTTP/1.1"));
    for header in ["api-key", "data-format", "data-format-version", "content-type"] {
        assert!(our.headers.contains_key(header));
        assert_eq!(our.headers.get(header), their.headers.get(header), "{header}");
    }
    peer.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn server_datadogs_agent_gets_what_moleculer_sends() {
    let mut theirs = Collector::start().await;
    let mut ours = Collector::start().await;
    let agent = format!("{}/v0.4/traces", theirs.url());
    let peer = peer("DatadogSimple", json!({"agentUrl": agent, "interval": 0.1})).await;
    let agent = |simple, url: HttpUrl| Receiver::Datadog {
        url: url.join("/v0.4/traces"),
        simple,
        env: (!simple).then(|| "test".into()),
        sampling_priority: 2,
    };
    let simple = node(agent(true, url(&ours.url()))).await;
    call_peer(&peer).await;
    call(&simple).await;
    let all = |body: &Value| -> Vec<Value> { list(body).iter().flat_map(list).collect() };
    let (their_spans, our_spans) = (spans(&mut theirs, all).await, spans(&mut ours, all).await);
    let failed = |span: &Value| span["error"] == 1;
    assert_eq!(shapes(&our_spans, "name", failed), shapes(&their_spans, "name", failed));
    linked(&our_spans, "span_id", "parent_id", "trace_id");
    assert!(our_spans.iter().all(|span| span["trace_id"].as_u64().unwrap() <= u32::MAX.into()));
    simple.stop().await;
    peer.stop().await;
    // What Datadog's own library would add.
    let node = node(agent(false, url(&ours.url()))).await;
    call(&node).await;
    let spans = spans(&mut ours, all).await;
    linked(&spans, "span_id", "parent_id", "trace_id");
    let wide = |span: &Value| span["trace_id"].as_u64().unwrap() > u32::MAX.into();
    assert!(spans.iter().any(wide), "{spans:#?}");
    let span = &spans[0];
    assert_eq!(span["metrics"], json!({"_sampling_priority_v1": 2}));
    assert_eq!(
        (&span["meta"]["env"], &span["meta"]["span.kind"]),
        (&json!("test"), &json!("server"))
    );
    node.stop().await;
}

/// What spans of Jaeger look like: their fields, and the types of their tags by name. What each library says of
/// itself, and of its sampler, is left out.
fn jaeger_shapes(batch: &Value) -> BTreeMap<String, Value> {
    let own = |key: &str| key.starts_with("sampler.");
    let spans = batch["2"].as_array().unwrap();
    let of = |span: &Value| {
        let tags: BTreeMap<String, Value> = span["10"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|tag| !own(tag["1"].as_str().unwrap()))
            .map(|tag| (tag["1"].as_str().unwrap().to_owned(), tag["2"].clone()))
            .collect();
        let ids = json!([
            span["2"],
            shape(&span["1"]),
            shape(&span["4"]),
            span["4"] == "0000000000000000"
        ]);
        let shown = json!({"ids": ids, "flags": span["7"], "tags": tags});
        (format!("{} {}", span["5"], tags.contains_key("error")), shown)
    };
    spans.iter().map(of).collect()
}

#[tokio::test]
async fn server_jaegers_agent_gets_what_moleculer_sends() {
    let bind = || async { UdpSocket::bind(("127.0.0.1", 0)).await.unwrap() };
    let (theirs, ours) = (bind().await, bind().await);
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let peer = peer("Jaeger", json!({"port": port(&theirs)})).await;
    let node = node(Receiver::Jaeger(Jaeger { port: port(&ours), ..Jaeger::default() })).await;
    call_peer(&peer).await;
    call(&node).await;
    let shapes = async |socket: &UdpSocket| {
        let mut shapes = BTreeMap::new();
        while shapes.len() < 4 {
            let mut datagram = vec![0; 70_000];
            let size = wait::for_result("a datagram", socket.recv(&mut datagram)).await.unwrap();
            let (name, arguments) = thrift_call(&datagram[..size]);
            assert_eq!((&*name, &arguments["1"]["1"]["1"]), ("emitBatch", &json!("js")));
            shapes.extend(jaeger_shapes(&arguments["1"]));
        }
        shapes
    };
    assert_eq!(shapes(&ours).await, shapes(&theirs).await);
    peer.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn server_jaegers_collector_gets_what_moleculer_sends() {
    let mut theirs = Collector::start().await;
    let mut ours = Collector::start().await;
    let endpoint = |collector: &Collector| format!("{}/api/traces", collector.url());
    let peer = peer("Jaeger", json!({"endpoint": endpoint(&theirs), "legacyMode": false})).await;
    let node = node(Receiver::Jaeger(Jaeger {
        endpoint: Some(url(&endpoint(&ours))),
        legacy_mode: false,
        ..Jaeger::default()
    }))
    .await;
    call_peer(&peer).await;
    call(&node).await;
    let shapes = async |collector: &mut Collector| {
        let mut shapes = BTreeMap::new();
        while shapes.len() < 4 {
            let request = collector.next().await;
            assert_eq!(request.line, "POST /api/traces HTTP/1.1");
            assert_eq!(request.headers["content-type"], "application/x-thrift");
            for (name, mut shown) in jaeger_shapes(&thrift(&request.body)) {
                // The upper half of the trace ID.
                shown["ids"][0] = (shown["ids"][0] != "0000000000000000").into();
                shapes.insert(name, shown);
            }
        }
        shapes
    };
    assert_eq!(shapes(&mut ours).await, shapes(&mut theirs).await);
    peer.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn an_otlp_collector_gets_what_the_protocol_says() {
    let mut collector = Collector::start().await;
    let headers = vec![("api-key".to_owned(), "k-1".to_owned())];
    let to = Receiver::Otlp { url: url(&collector.url()).join("/v1/traces"), headers };
    let node = node(to).await;
    call(&node).await;
    let mut spans = Vec::new();
    let mut last = Value::Null;
    while spans.len() < 4 {
        let request = collector.next().await;
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(
            (&*request.headers["api-key"], &*request.headers["content-type"]),
            ("k-1", "application/json")
        );
        last = request.json();
        spans.extend(list(&last["resourceSpans"][0]["scopeSpans"][0]["spans"]));
    }
    let attribute = |of: &Value, key: &str| {
        let all = of["attributes"].as_array().unwrap();
        all.iter().find(|one| one["key"] == key).map(|one| one["value"].clone())
    };
    let resource = &last["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), Some(json!({"stringValue": "js"})));
    assert_eq!(attribute(resource, "service.instance.id"), Some(json!({"stringValue": "n-1"})));
    let hex = |id: &Value, digits: usize| {
        let id = id.as_str().unwrap();
        assert!(id.len() == digits && id.bytes().all(|c| b"0123456789abcdef".contains(&c)), "{id}");
    };
    for span in &spans {
        hex(&span["traceId"], 32);
        hex(&span["spanId"], 16);
        let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
        assert_eq!(span["kind"], 1, "the caller is on this node");
    }
    linked(&spans, "spanId", "parentSpanId", "traceId");
    let failed = spans.iter().find(|span| span["name"] == "action 'js.metaThenFail'").unwrap();
    assert_eq!(failed["status"], json!({"code": 2, "message": "no"}));
    assert_eq!(failed["events"][0]["name"], "exception");
    assert_eq!(
        attribute(&failed["events"][0], "exception.type"),
        Some(json!({"stringValue": "MoleculerClientError"}))
    );
    assert_eq!(attribute(failed, "error.code"), Some(json!({"intValue": "409"})));
    assert_eq!(attribute(failed, "params.n"), Some(json!({"doubleValue": 1.5})));
    assert_eq!(attribute(failed, "params.a.b.1"), Some(json!({"boolValue": true})));
    assert_eq!(attribute(failed, "zone.name"), Some(json!({"stringValue": "eu"})));
    node.stop().await;
}

/// A number of the node's own.
fn number(node: &ServiceBroker, name: &'static str) -> i64 {
    node.metrics().metric(name).get()
}

const SENT: &str = "isomer.tracing.spans.sent.total";
const DROPPED: &str = "isomer.tracing.spans.dropped.total";

#[tokio::test]
async fn spans_wait_for_a_server_that_is_away_and_are_lost_only_to_one_that_refuses() {
    let mut collector = Collector::start().await;
    let node = node(zipkin(&collector)).await;
    collector.answer(503);
    call(&node).await;
    let first = collector.next().await;
    collector.answer(202);
    // The same again, on the same connection.
    assert_eq!(collector.next().await.body, first.body);
    wait::until("all spans to be sent", || async { (number(&node, SENT) == 4).then_some(()) })
        .await;
    assert_eq!((number(&node, DROPPED), collector.connections()), (0, 1));
    collector.answer(400);
    call(&node).await;
    wait::until("the spans to be dropped", || async {
        (number(&node, DROPPED) == 4).then_some(())
    })
    .await;
    assert_eq!(number(&node, SENT), 4);
    node.stop().await;
}

#[tokio::test]
async fn what_is_held_is_sent_at_the_stop() {
    let mut collector = Collector::start().await;
    let mut options = BrokerOptions { node_id: Some("n-1".into()), ..BrokerOptions::default() };
    options.tracing.enabled = true;
    let upload = Upload { interval: Duration::from_secs(3_600), ..Upload::new(zipkin(&collector)) };
    options.tracing.exporters = vec![TraceExporter::Upload(upload)];
    let node = broker::start(options).await;
    mirror::add_as(&node, "js").await;
    call(&node).await;
    assert!(collector.is_empty());
    wait::for_result("the stop", node.stop()).await;
    assert_eq!(list(&collector.next().await.json()).len(), 4);
    assert_eq!((number(&node, SENT), number(&node, DROPPED)), (4, 0));
}

#[tokio::test]
async fn server_datadog_gets_the_series_that_moleculer_sends() {
    let mut theirs = Collector::start().await;
    let mut ours = Collector::start().await;
    let reporter = json!({"type": "Datadog", "options": {"baseUrl": format!("{}/api/", theirs.url()),
        "apiKey": "k-1", "host": "here", "interval": 1, "includes": ["moleculer.request.**"]}});
    let metrics = json!({"enabled": true, "reporter": reporter});
    let peer = Peer::start("n-1", "", json!({"transporter": null, "metrics": metrics})).await;
    let mut options = BrokerOptions { node_id: Some("n-1".into()), ..BrokerOptions::default() };
    options.metrics.enabled = true;
    options.metrics.reporters = vec![MetricReporter {
        kind: ReporterKind::Datadog {
            url: url(&ours.url()).join("/api/v1/series"),
            api_key: "k-1".into(),
            host: Some("here".into()),
            default_labels: None,
        },
        interval: Duration::from_secs(1),
        only_changes: false,
        includes: Some(vec!["moleculer.request.**".into()]),
        excludes: Vec::new(),
        name_prefix: String::new(),
        name_suffix: String::new(),
    }];
    let node = broker::start(options).await;
    mirror::add_as(&node, "js").await;
    call_peer(&peer).await;
    call(&node).await;
    // Series of the two actions, by name and tags; figures differ.
    let series = async |collector: &mut Collector| {
        loop {
            let request = collector.next().await;
            let mut series = BTreeMap::new();
            for one in list(&request.json()["series"]) {
                let tags = one["tags"].to_string();
                // A variance of one value is none, and not sent by us.
                if tags.contains("action:js.") && !one["points"][0][1].is_null() {
                    let shown = json!([one["type"], one["host"], shape(&one["points"][0][0])]);
                    series.insert(format!("{} {tags}", one["metric"]), shown);
                }
            }
            if series.keys().any(|key| key.contains("error.total") && key.contains("js.relay")) {
                return (request, series);
            }
        }
    };
    let (our, ours) = series(&mut ours).await;
    let (their, theirs) = series(&mut theirs).await;
    assert_eq!(ours, theirs);
    // The key is in a header instead of the address.
    assert_eq!(their.line, "POST /api/v1/series?api_key=k-1 HTTP/1.1");
    assert_eq!((&*our.line, &*our.headers["dd-api-key"]), ("POST /api/v1/series HTTP/1.1", "k-1"));
    peer.stop().await;
    node.stop().await;
}
