//! What a guest sees and can do: its context, its calls, its events, its log.

use std::sync::Arc;

use isomer_host::config::Limits;
use isomer_host::config::limits::{Grants, Instances};
use isomer_host::context::ContextBuilder;
use isomer_host::payload::{Object, Payload};
use serde_json::{Value, json};
use tests::rig::{Rig, Setup, context, within_ms};

fn object(text: &'static str) -> Object {
    Object::from_json_text(text.into()).unwrap()
}

#[tokio::test]
async fn payloads_of_every_kind_cross_unchanged() {
    let rig = Rig::new(Setup::default()).await;
    for text in ["null", "{\"b\":1,\"a\":1.0}", "\"\u{e9}\\u0000\"", " [1] "] {
        let payload = Payload::Json(text.into());
        assert_eq!(rig.call_raw("echo", payload.clone()).await, Ok(payload));
    }
    let bytes = Payload::Bytes(vec![0, 255].into());
    assert_eq!(rig.call_raw("echo", bytes.clone()).await, Ok(bytes));
    assert_eq!(rig.call_raw("echo", Payload::Absent).await, Ok(Payload::Absent));
}

#[tokio::test(start_paused = true)]
async fn a_guest_reads_its_context_and_configuration_and_nothing_of_the_machine() {
    let rig = Rig::new(Setup {
        settings: json!({"a": 1}),
        env: vec![("GREETING".into(), "hello".into())],
        ..Setup::default()
    })
    .await;
    let ctx = context("fields", Payload::empty_object())
        .with(|ctx| {
            ctx.request_id = Arc::from("r");
            ctx.parent_id = Some(Arc::from("p"));
            ctx.level = 3;
            ctx.headers = object("{\"h\":1}");
        })
        .meta(object("{\"m\":1}"))
        .deadline(within_ms(1500))
        .build();
    let id = ctx.id.to_string();
    let mut fields: Value = rig.call_ctx("fields", ctx).await.unwrap().parse().unwrap();
    let socket_error = fields["socketError"].take();
    assert!(socket_error.is_string(), "{socket_error}");
    assert_eq!(
        fields,
        json!({
            "id": id, "requestID": "r", "parentID": "p", "caller": "v2.posts", "level": 3,
            "nodeID": "node-2", "name": "probe.fields", "isEvent": false, "groups": [],
            "meta": "{\"m\":1}", "headers": "{\"h\":1}", "remaining": 1500,
            "settings": "{\"a\":1}", "localNodeID": "node-1", "namespace": "ns",
            "env": [["GREETING", "hello"]], "args": 0, "fileIsRefused": true, "socketError": null,
        })
    );
}

#[tokio::test]
async fn a_failure_keeps_all_its_fields() {
    let rig = Rig::new(Setup::default()).await;
    let error = rig.call("fail", json!({})).await.unwrap_err();
    assert_eq!(
        error.to_wire("n"),
        json!({"name": "OddError", "message": "as the test asked", "nodeID": "n", "code": 418,
            "type": "T", "retryable": true, "data": {"a": 1}, "hint": [1]})
    );
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

#[tokio::test]
async fn text_that_is_not_json_does_not_leave_the_guest() {
    let rig = Rig::new(Setup::default()).await;
    let error = rig.call_raw("raw", Payload::Bytes("{}}".into())).await.unwrap_err();
    assert_eq!(error.kind(), "INVALID_PAYLOAD");
    assert!(error.message().contains("result"), "{error}");
    let error = rig.call("fail_badly", json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "INVALID_PAYLOAD");
    let error = rig.call("set_meta", json!({"text": "[]"})).await.unwrap_err();
    assert_eq!(error.kind(), "INVALID_PAYLOAD");
}

#[tokio::test]
async fn what_a_guest_adds_to_the_meta_is_seen_outside() {
    let rig = Rig::new(Setup::default()).await;
    let params = Payload::from_value(&json!({"text": "{\"b\":2}"})).unwrap();
    let ctx = context("set_meta", params).meta(object("{\"a\":1}")).build();
    rig.call_ctx("set_meta", ctx.clone()).await.unwrap();
    assert_eq!(ctx.meta().as_str(), "{\"a\":1,\"b\":2}");
}

#[tokio::test]
async fn a_call_is_a_child_of_the_running_context() {
    let rig = Rig::new(Setup::default()).await;
    let params = json!({"action": "other.echo", "params": {"x": 1},
        "options": {"timeout": 100, "meta": {"a": 1}}});
    let ctx = context("call", Payload::from_value(&params).unwrap()).build();
    let result = rig.call_ctx("call", ctx.clone()).await.unwrap();
    assert_eq!(result, Payload::Json("{\"x\":1}".into()));
    let options = rig.mesh.last_options.lock().clone().unwrap();
    assert_eq!(options.parent.unwrap().id, ctx.id);
    assert_eq!(options.timeout.unwrap().as_millis(), 100);
    assert_eq!(options.meta.unwrap().as_str(), "{\"a\":1}");
}

#[tokio::test]
async fn errors_of_calls_reach_the_guest_and_its_caller() {
    let rig = Rig::new(Setup::default()).await;
    let check = async |params: Value, kind: &str| {
        let error = rig.call("call", params).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    };
    check(json!({"action": "no.such"}), "SERVICE_NOT_FOUND").await;
    check(json!({"action": "other.echo", "options": {"timeOut": 1}}), "VALIDATION_ERROR").await;
    check(json!({"action": "other.panic"}), "").await;
    assert_eq!(rig.call("call", json!({"action": "other.absent"})).await, Ok(Value::Null));
}

#[tokio::test]
async fn a_service_can_call_itself_through_another_instance() {
    let rig = Rig::new(Setup::default()).await;
    let params = json!({"action": "probe.call", "params":
        {"action": "probe.echo", "params": {"deep": true}}});
    assert_eq!(rig.call("call", params).await, Ok(json!({"deep": true})));
    assert_eq!(rig.pool.stats().idle, 3);
}

#[tokio::test]
async fn several_calls_are_in_flight_at_once() {
    let rig = Rig::new(Setup::default()).await;
    let call = rig.call("start_calls", json!({"action": "other.wait", "n": 5}));
    let release = async {
        rig.until_waiting(5).await;
        rig.mesh.go_on.notify_waiters();
    };
    let (ends, ()) = tokio::join!(call, release);
    assert_eq!(ends, Ok(json!([null, null, null, null, null])));
}

#[tokio::test]
async fn mcall_answers_in_the_form_of_the_question() {
    let rig = Rig::new(Setup::default()).await;
    let check = async |params: Value, expected: Value| {
        assert_eq!(rig.call("mcall", params).await, Ok(expected));
    };
    let echo = |x: u32| json!({"action": "other.echo", "params": {"x": x}});
    check(json!({"calls": [echo(1), echo(2)]}), json!([{"x": 1}, {"x": 2}])).await;
    check(json!({"calls": {"b": echo(1), "a": echo(2)}}), json!({"b": {"x": 1}, "a": {"x": 2}}))
        .await;
    let absent = json!({"action": "other.absent"});
    check(json!({"calls": [absent]}), json!([null])).await;
    check(json!({"calls": {"a": absent}}), json!({})).await;
    check(json!({"calls": []}), json!([])).await;
    let missing = json!({"action": "no.such"});
    let settled = json!({"calls": [echo(1), missing], "options": {"settled": true}});
    let ends = rig.call("mcall", settled).await.unwrap();
    assert_eq!(ends[0], json!({"status": "fulfilled", "value": {"x": 1}}));
    assert_eq!(ends[1]["status"], "rejected");
    assert_eq!(ends[1]["reason"]["type"], "SERVICE_NOT_FOUND");
    let error = rig.call("mcall", json!({"calls": [echo(1), missing]})).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_NOT_FOUND");
    let error = rig.call("mcall", json!({"calls": [{"actoin": 1}]})).await.unwrap_err();
    assert_eq!(error.kind(), "INVALID_PAYLOAD");
}

#[tokio::test]
async fn events_go_out_and_come_in() {
    let rig = Rig::new(Setup::default()).await;
    rig.call("emit", json!({"event": "a.b", "params": [1]})).await.unwrap();
    rig.event("probe.x", json!({})).await.unwrap();
    let error = rig.event("probe.x", json!({"do": "fail"})).await.unwrap_err();
    assert_eq!(error.name(), "EventError");
    let events = rig.mesh.events.lock().clone();
    let seen = "[\"probe.*\",\"probe.x\"]".to_owned();
    assert_eq!(events, [("emit", "a.b".into(), "[1]".into()), ("emit", "seen".into(), seen)]);
}

#[tokio::test]
async fn grants_narrow_calls_and_events() {
    let grants = Grants {
        call: Some(vec!["other.*".into()]),
        emit: Some(vec!["user.**".into()]),
        ..Grants::default()
    };
    let rig = Rig::new(Setup { grants, ..Setup::default() }).await;
    rig.call("call", json!({"action": "other.absent"})).await.unwrap();
    rig.call("emit", json!({"event": "user.a.b"})).await.unwrap();
    for (action, params) in [
        ("call", json!({"action": "probe.echo"})),
        ("emit", json!({"event": "order.a"})),
        ("mcall", json!({"calls": [{"action": "probe.echo"}]})),
    ] {
        let error = rig.call(action, params).await.unwrap_err();
        assert_eq!(error.kind(), "PERMISSION_DENIED", "{error}");
    }
    let ends = rig.call("start_calls", json!({"action": "probe.echo", "n": 1})).await;
    assert_eq!(ends, Ok(json!(["PERMISSION_DENIED"])));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_services_ends_when_they_are_there_or_the_time_is_over() {
    let rig = Rig::new(Setup::default()).await;
    rig.call("wait", json!({"service": "there"})).await.unwrap();
    let error = rig.call("wait", json!({"service": "missing"})).await.unwrap_err();
    assert_eq!(error.kind(), "WAITFOR_SERVICES");
}

#[tokio::test]
async fn a_trap_names_its_cause_and_place() {
    let rig = Rig::new(Setup::default()).await;
    let error = rig.call("panic", json!({})).await.unwrap_err();
    assert_eq!((error.name(), error.kind()), ("ServiceTrappedError", "SERVICE_TRAPPED"));
    assert!(error.message().contains("panicked at"), "{error}");
    let stack = error.fields().stack.clone().unwrap();
    assert!(stack.contains("probe") && stack.contains("as the test asked"), "{stack}");
    // The function is named, as the component's names are kept by the profile of guests.
    assert!(stack.contains("wasm backtrace") && stack.contains("trap"), "{stack}");
}

#[tokio::test]
async fn a_trap_brings_the_last_lines_of_its_own_call_only() {
    let limits = Limits {
        instances: Instances { max: 1, ..Limits::default().instances },
        ..Limits::default()
    };
    let rig = Rig::new(Setup { limits, ..Setup::default() }).await;
    rig.call("log", json!({"n": 1, "text": "of the call before"})).await.unwrap();
    let error = rig.call("log_and_panic", json!({"text": "just before"})).await.unwrap_err();
    let stack = error.fields().stack.clone().unwrap();
    assert!(stack.contains("just before") && !stack.contains("of the call before"), "{stack}");
}

#[tokio::test]
async fn fuel_is_told_exactly_and_to_who_asks() {
    let rig = Rig::new(Setup::default()).await;
    let used = async |meta: &'static str| {
        let before = rig.pool.stats().fuel;
        let ctx = context("echo", Payload::Json("{}".into())).meta(object(meta)).build();
        rig.call_ctx("echo", ctx.clone()).await.unwrap();
        (rig.pool.stats().fuel - before, ctx.fuel(), ctx.meta().as_str().to_owned())
    };
    let (spent, fuel, meta) = used("{\"$fuel\":true}").await;
    assert!(fuel > 0 && fuel == spent);
    assert_eq!(meta, format!("{{\"$fuel\":{fuel}}}"));
    assert_eq!(used("{}").await.2, "{}", "nobody asked");
    // A warm instance does the same work for the same fuel.
    assert_eq!(used("{}").await.1, used("{}").await.1);
}

#[tokio::test]
async fn a_context_without_a_service_is_a_root() {
    let rig = Rig::new(Setup::default()).await;
    let ctx = ContextBuilder::new(Arc::from("probe.echo"), Arc::from("n")).build();
    assert_eq!(rig.call_ctx("echo", ctx).await, Ok(Payload::Absent));
}
