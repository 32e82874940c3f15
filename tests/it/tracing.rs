//! Spans of calls and events among nodes of ours, and reports of metrics.

use std::sync::Arc;
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::metrics::{MetricReporter, ReporterKind};
use isomer_host::config::tracing::{EventExporter, Sampling, TraceExporter};
use isomer_host::config::{BrokerOptions, Tracing};
use isomer_host::context::{CallOptions, Context, EmitOptions};
use isomer_host::error::MoleculerError;
use isomer_host::handler::{EventHandler, Handler};
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use isomer_host::tracer::SpanOptions;
use serde_json::{Map, Value, json};
use tests::broker::{self, call};
use tests::cluster::Cluster;
use tokio::sync::mpsc;

/// Options of a node whose spans are events, each sent at once.
pub(super) fn traced(options: &mut BrokerOptions) {
    let exporter = EventExporter { interval: Duration::ZERO, ..EventExporter::default() };
    options.tracing = Tracing {
        enabled: true,
        events: true,
        exporters: vec![TraceExporter::Event(exporter)],
        ..Tracing::default()
    };
}

/// Adds a service that gives every exported span, but for those of itself.
pub(super) async fn listen(broker: &ServiceBroker) -> mpsc::Receiver<Value> {
    let (spans, received) = mpsc::channel(100);
    let schema = json!({"name": "collector", "events": {"$tracing.spans": {"tracing": false}}});
    let handler: EventHandler = Arc::new(move |ctx: Context| {
        for span in ctx.params.parse::<Vec<Value>>().unwrap() {
            spans.try_send(span).unwrap();
        }
        Box::pin(std::future::ready(Ok(())))
    });
    let service = LocalService::native(&schema, vec![], vec![("$tracing.spans", handler)]).unwrap();
    broker.add_service(service).await.unwrap();
    received
}

fn chain(next: Option<(&'static str, ServiceBroker)>) -> Handler {
    Arc::new(move |ctx: Context| {
        let next = next.clone();
        Box::pin(async move {
            let Some((action, broker)) = next else {
                return Err(MoleculerError::client(409, "CONFLICT", "no"));
            };
            let span = ctx.span().unwrap().start_span("preparing", SpanOptions::default());
            ctx.enter_span(span.clone());
            let called = broker.call(action, Payload::Absent, CallOptions::child_of(&ctx)).await;
            ctx.finish_span(&span);
            broker
                .emit(
                    "done",
                    Payload::null(),
                    EmitOptions { parent: Some(ctx.clone()), ..EmitOptions::default() },
                )
                .await?;
            Ok(Payload::from_value(&json!({"failed": called.is_err()})).unwrap())
        })
    })
}

async fn add(broker: &ServiceBroker, schema: Value, handler: Handler) {
    let done: EventHandler = Arc::new(|_| Box::pin(std::future::ready(Ok(()))));
    let events = match schema.get("events") {
        Some(_) => vec![("done", done)],
        None => vec![],
    };
    let service = LocalService::native(&schema, vec![("run", handler)], events).unwrap();
    broker.add_service(service).await.unwrap();
}

pub(super) async fn take(spans: &mut mpsc::Receiver<Value>, n: usize) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < n {
        taken.push(spans.recv().await.unwrap());
    }
    taken
}

pub(super) fn find<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans
        .iter()
        .find(|span| span["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {spans:#?}"))
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_chain_hang_together_across_nodes() {
    let mut cluster = Cluster::start(&[], |_| {}).await;
    let a = cluster.add("a", traced).await;
    let b = cluster.add("b", traced).await;
    let mut of_a = listen(&a).await;
    let mut of_b = listen(&b).await;
    let first = json!({"name": "first", "version": 2, "events": {"done": {"group": "g"}},
        "actions": {"run": {"tracing": {"tags": {"params": ["x.y"], "meta": true, "response": true}}}}});
    add(
        &b,
        json!({"name": "second", "actions": {"run": {"tracing": {"spanName": "work"}}}}),
        chain(None),
    )
    .await;
    add(&a, first, chain(Some(("second.run", a.clone())))).await;
    broker::wait_for(&a, &["second"]).await;

    let options =
        CallOptions { meta: Some(broker::object(&json!({"user": 1}))), ..CallOptions::default() };
    let params = json!({"x": {"y": 1, "z": 2}});
    let outcome = call(&a, "v2.first.run", &params, options).await.unwrap();
    assert_eq!(outcome, json!({"failed": true}));
    let (on_a, on_b) = (take(&mut of_a, 3).await, take(&mut of_b, 1).await);

    let root = find(&on_a, "action 'v2.first.run'");
    let preparing = find(&on_a, "preparing");
    let event = find(&on_a, "event 'done' in 'v2.first'");
    let work = find(&on_b, "work");
    assert_eq!((&root["id"], &root["type"]), (&root["traceID"], &json!("action")));
    assert_eq!(root["service"], json!({"name": "first", "version": 2, "fullName": "v2.first"}));
    let tags = &root["tags"];
    assert_eq!(tags["action"], json!({"name": "v2.first.run", "rawName": "run"}));
    assert_eq!(tags["params"], json!({"x": {"y": 1}}));
    assert_eq!((&tags["meta"], &tags["response"]), (&json!({"user": 1}), &json!({"failed": true})));
    assert_eq!((&tags["fromCache"], &tags["remoteCall"]), (&json!(false), &json!(false)));
    assert_eq!((&tags["callingLevel"], &tags["nodeID"]), (&json!(1), &json!("a")));
    assert_eq!(preparing["parentID"], root["id"]);
    assert_eq!((&work["parentID"], &work["traceID"]), (&preparing["id"], &root["id"]));
    assert_eq!(
        (&work["tags"]["remoteCall"], &work["tags"]["callerNodeID"]),
        (&json!(true), &json!("a"))
    );
    assert_eq!(
        work["error"],
        json!({"name": "MoleculerClientError", "message": "no", "code": 409, "type": "CONFLICT"})
    );
    assert_eq!((&event["parentID"], &event["tags"]["eventType"]), (&root["id"], &json!("emit")));
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_is_not_sampled_is_not_traced_anywhere() {
    let mut cluster = Cluster::start(&[], |_| {}).await;
    let never = |options: &mut BrokerOptions| {
        traced(options);
        options.tracing.sampling = Sampling { rate: 0.0, ..Sampling::default() };
    };
    let a = cluster.add("a", never).await;
    let b = cluster.add("b", traced).await;
    let mut of_b = listen(&b).await;
    add(&b, json!({"name": "second", "actions": {"run": {}}}), chain(None)).await;
    add(
        &a,
        json!({"name": "first", "actions": {"run": {}}}),
        chain(Some(("second.run", a.clone()))),
    )
    .await;
    add(&b, json!({"name": "quiet", "actions": {"run": {"tracing": false}}}), chain(None)).await;
    broker::wait_for(&a, &["second"]).await;
    call(&a, "first.run", &json!({}), CallOptions::default()).await.unwrap();
    let _ = call(&b, "quiet.run", &json!({}), CallOptions::default()).await;
    // The one that decides for itself comes first, because the others never come.
    let _ = call(&b, "second.run", &json!({}), CallOptions::default()).await;
    let first = of_b.recv().await.unwrap();
    assert_eq!(
        (&first["name"], &first["tags"]["callerNodeID"]),
        (&json!("action 'second.run'"), &json!("b"))
    );
    assert!(of_b.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_together_and_at_the_stop() {
    let mut cluster = Cluster::start(&[], |_| {}).await;
    let a = cluster
        .add("a", |options| {
            traced(options);
            let exporter = EventExporter {
                default_tags: Map::from_iter([("zone".into(), json!(1))]),
                ..EventExporter::default()
            };
            options.tracing.exporters = vec![
                TraceExporter::Event(exporter),
                TraceExporter::Console { width: 80, gauge_width: 20 },
            ];
        })
        .await;
    let mut spans = listen(&a).await;
    add(&a, json!({"name": "second", "actions": {"run": {}}}), chain(None)).await;
    let begin = tokio::time::Instant::now();
    for _ in 0..3 {
        let _ = call(&a, "second.run", &json!({}), CallOptions::default()).await;
    }
    let three = take(&mut spans, 3).await;
    assert!(begin.elapsed() <= Duration::from_secs(5));
    assert!(three.iter().all(|span| span["tags"]["zone"] == 1));
}

#[tokio::test(start_paused = true)]
async fn metrics_are_reported_as_events() {
    let mut cluster = Cluster::start(&[], |_| {}).await;
    let a = cluster
        .add("a", |options| {
            options.metrics.enabled = true;
            options.metrics.default_buckets = vec![1.0, 1_000.0];
            options.metrics.reporters = vec![MetricReporter {
                kind: ReporterKind::Event {
                    event_name: "$metrics.snapshot".into(),
                    broadcast: false,
                    groups: vec![],
                },
                interval: Duration::from_secs(5),
                only_changes: true,
                includes: Some(vec!["moleculer.request.**".into()]),
                excludes: vec!["moleculer.request.levels".into()],
                name_prefix: String::new(),
                name_suffix: String::new(),
            }];
        })
        .await;
    let (reports, mut received) = mpsc::channel(10);
    let schema = json!({"name": "collector", "events": {"$metrics.snapshot": {}}});
    let handler: EventHandler = Arc::new(move |ctx: Context| {
        reports.try_send(ctx.params.parse::<Vec<Value>>().unwrap()).unwrap();
        Box::pin(std::future::ready(Ok(())))
    });
    let service =
        LocalService::native(&schema, vec![], vec![("$metrics.snapshot", handler)]).unwrap();
    a.add_service(service).await.unwrap();
    add(&a, json!({"name": "second", "actions": {"run": {}}}), chain(None)).await;
    let _ = call(&a, "second.run", &json!({}), CallOptions::default()).await;
    let report = loop {
        let report = received.recv().await.unwrap();
        if report.iter().any(|row| row["name"] == "moleculer.request.error.total") {
            break report;
        }
    };
    let find = |name: &str| report.iter().find(|row| row["name"] == name).unwrap();
    let time = &find("moleculer.request.time")["values"][0];
    assert_eq!((&time["count"], &time["labels"]["action"]), (&json!(1), &json!("second.run")));
    assert_eq!(time["buckets"], json!({"1": 1, "1000": 1}));
    assert!(report.iter().all(|row| row["name"] != "moleculer.request.levels"));
    let _ = call(&a, "second.run", &json!({}), CallOptions::default()).await;
    let report = received.recv().await.unwrap();
    assert!(report.iter().any(|row| row["name"] == "moleculer.request.total"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn metrics_of_events_have_moleculers_names_and_labels() {
    let mut cluster = Cluster::start(&[], |_| {}).await;
    let a = cluster.add("a", |options| options.metrics.enabled = true).await;
    let schema = json!({"name": "heard", "events": {"done": {"group": "g"}}});
    let handler: EventHandler = Arc::new(|ctx: Context| {
        let failed = ctx.params.parse::<Value>().unwrap().is_string();
        let fault = || MoleculerError::client(409, "CONFLICT", "no");
        Box::pin(std::future::ready(if failed { Err(fault()) } else { Ok(()) }))
    });
    let service = LocalService::native(&schema, vec![], vec![("done", handler)]).unwrap();
    a.add_service(service).await.unwrap();
    let options = || EmitOptions { throw_error: true, ..EmitOptions::default() };
    let data = |value: Value| Payload::from_value(&value).unwrap();
    a.emit("done", data(json!(1)), options()).await.unwrap();
    a.broadcast("done", data(json!(1)), options()).await.unwrap();
    a.broadcast_local("done", data(json!("fail")), options()).await.unwrap_err();
    let wanted = json!({"includes": "moleculer.event.**"});
    let rows = call(&a, "$node.metrics", &wanted, CallOptions::default()).await.unwrap();
    let of = |name: &str| {
        let name = format!("moleculer.event.{name}");
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name.as_str());
        let values = row.unwrap_or_else(|| panic!("no {name}: {rows:#}"))["values"].clone();
        let is_ours = |value: &&Value| value["labels"]["event"] == "done";
        values.as_array().unwrap().iter().find(is_ours).unwrap().clone()
    };
    for name in ["emit.total", "broadcast.total", "broadcast-local.total"] {
        assert_eq!(of(name)["value"], 1, "{name}");
    }
    let labels = json!({"service": "heard", "group": "g", "event": "done", "caller": null});
    assert_eq!(
        (&of("received.total")["value"], &of("received.total")["labels"]),
        (&json!(3), &labels)
    );
    assert_eq!(
        (&of("received.active")["value"], &of("received.time")["count"]),
        (&json!(0), &json!(3))
    );
    let errors = of("received.error.total");
    assert_eq!((&errors["value"], &errors["labels"]["errorType"]), (&json!(1), &json!("CONFLICT")));
}
