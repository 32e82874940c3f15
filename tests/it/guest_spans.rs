//! Spans that guests make, as the exporter `Event` gives them.

use isomer_host::config::BrokerOptions;
use isomer_host::config::tracing::Sampling;
use serde_json::{Value, json};
use tests::host::Host;
use tests::mirror;
use tokio::sync::mpsc;

use crate::tracing::{find, listen, take, traced};

/// A node with a component, this sidecar and these options, and what its tracer exports.
async fn host(
    component: &str,
    sidecar: &str,
    options: BrokerOptions,
) -> (Host, mpsc::Receiver<Value>) {
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put(component, folder.path(), &format!("{component}.wasm"));
    std::fs::write(folder.path().join(format!("{component}.toml")), sidecar).unwrap();
    let host = Host::start_on(options, folder).await;
    mirror::add(&host.broker).await;
    let spans = listen(&host.broker).await;
    (host, spans)
}

fn tracing() -> BrokerOptions {
    let mut options = BrokerOptions::default();
    traced(&mut options);
    options
}

#[tokio::test]
async fn spans_of_a_guest_are_children_of_its_action_and_parents_of_its_calls() {
    let (host, mut spans) = host("kit", "", tracing()).await;
    let params = json!({"n": 1, "text": 3, "action": "rs.echo"});
    host.call("kit.spans", &params).await.unwrap();
    let spans = take(&mut spans, 6).await;
    let action = find(&spans, "action 'kit.spans'");
    let (left, work) = (find(&spans, "left"), find(&spans, "work"));
    assert_eq!((&left["parentID"], &left["traceID"]), (&action["id"], &action["traceID"]));
    assert_eq!((&left["type"], &left["tags"]), (&json!("db"), &json!({"a": 1})));
    assert_eq!(left["service"]["fullName"], "kit");
    assert!(left["duration"].is_number(), "it ends with the handler");
    assert_eq!((&work["parentID"], &work["type"]), (&left["id"], &json!("custom")));
    assert_eq!(work["tags"], json!({"n": 1, "text": "xxx"}));
    assert_eq!(
        (&work["logs"][0]["name"], &work["logs"][0]["fields"]),
        (&json!("half"), &json!({"of": 2}))
    );
    assert_eq!((&work["error"]["code"], &work["error"]["type"]), (&json!(409), &json!("CONFLICT")));
    for child in ["part", "many", "action 'rs.echo'"] {
        let child = find(&spans, child);
        assert_eq!((&child["parentID"], &child["traceID"]), (&work["id"], &action["traceID"]));
    }
}

#[tokio::test]
async fn what_a_guest_records_beyond_its_limits_is_left_out_and_counted() {
    let sidecar = "[limits]\nspans = 5\nopenSpans = 4\nspanBytes = \"1KiB\"\n";
    let (host, mut spans) = host("kit", sidecar, tracing()).await;
    host.call("kit.spans", &json!({"n": 10, "text": 2_000})).await.unwrap();
    let taken = take(&mut spans, 6).await;
    assert_eq!(taken.iter().filter(|span| span["name"] == "many").count(), 2);
    assert_eq!(find(&taken, "work")["tags"], json!({"n": 10}));
    let refused = host.broker.metrics().metric("isomer.guest.spansRefused.total");
    assert_eq!(refused.get(), 9, "eight spans and a tag");
    // Each handler may make as many.
    host.call("kit.spans", &json!({})).await.unwrap();
    assert_eq!(find(&take(&mut spans, 4).await, "work")["tags"], json!({"n": 0, "text": ""}));
}

#[tokio::test]
async fn who_is_not_traced_need_not_know() {
    let mut options = tracing();
    options.tracing.sampling = Sampling { rate: 0.0, ..Sampling::default() };
    for options in [options, BrokerOptions::default()] {
        let (host, mut spans) = host("kit", "[limits]\nspans = 5\n", options).await;
        let params = json!({"n": 300, "text": 20_000, "action": "rs.echo"});
        host.call("kit.spans", &params).await.unwrap();
        assert!(spans.try_recv().is_err());
        let refused = host.broker.metrics().metric("isomer.guest.spansRefused.total");
        assert_eq!(refused.get(), 0);
    }
}

#[tokio::test]
async fn a_span_in_a_call_that_has_none_belongs_to_its_chain() {
    let mut options = tracing();
    options.tracing.actions = false;
    let (host, mut spans) = host("kit", "", options).await;
    host.call("kit.spans", &json!({})).await.unwrap();
    let spans = take(&mut spans, 3).await;
    let (left, work) = (find(&spans, "left"), find(&spans, "work"));
    assert_eq!((&left["parentID"], left["traceID"] == left["id"]), (&Value::Null, false));
    assert_eq!((&work["parentID"], &work["traceID"]), (&left["id"], &left["traceID"]));
}

#[tokio::test]
async fn a_shared_instance_makes_spans_too() {
    let (host, mut spans) = host("lobby", "", tracing()).await;
    host.call("lobby.bring", &json!({"size": 2})).await.unwrap();
    let spans = take(&mut spans, 4).await;
    let bringing = find(&spans, "bringing");
    assert_eq!(bringing["tags"], json!({"size": 2}));
    assert_eq!(bringing["parentID"], find(&spans, "action 'lobby.bring'")["id"]);
    let joins: Vec<_> = spans.iter().filter(|span| span["name"] == "action 'lobby.join'").collect();
    assert_eq!(joins.len(), 2);
    assert!(joins.iter().all(|join| join["parentID"] == bringing["id"]));
}

#[tokio::test]
async fn server_spans_of_a_service_in_javascript() {
    let folder = tempfile::tempdir().unwrap();
    tests::javascript::build("spans.service.js", folder.path()).await;
    let host = Host::start_on(tracing(), folder).await;
    mirror::add(&host.broker).await;
    let mut spans = listen(&host.broker).await;
    assert_eq!(host.call("jspans.run", &json!({"x": 1})).await.unwrap(), json!({"x": 1}));
    let spans = take(&mut spans, 5).await;
    let action = find(&spans, "action 'jspans.run'");
    let (work, left) = (find(&spans, "work"), find(&spans, "left"));
    assert_eq!((&work["parentID"], &work["type"]), (&action["id"], &json!("db")));
    assert_eq!(work["tags"], json!({"a": 1, "b": 2}));
    assert_eq!(work["logs"][0]["fields"], json!({"of": 2}));
    assert_eq!((&left["parentID"], &left["error"]["message"]), (&action["id"], &json!("no")));
    for child in ["part", "action 'rs.echo'"] {
        assert_eq!(find(&spans, child)["parentID"], work["id"]);
    }
}
