//! Params that do not fit are refused before a guest is entered, with the errors of Moleculer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::validator::FastestOptions;
use isomer_host::config::{BrokerOptions, Validator};
use isomer_host::context::{CallOptions, Context, EmitOptions};
use isomer_host::error::MoleculerError;
use isomer_host::handler::{EventHandler, Handler};
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tests::broker;
use tests::host::Host;
use tests::nats_server::NatsServer;
use tests::peer::Peer;

/// A broker with one native service whose action and event have this schema, and how often the event was
/// handled. The action answers with what it saw.
async fn checked(
    validator: Validator,
    params: &Value,
) -> Result<(ServiceBroker, Arc<AtomicUsize>), MoleculerError> {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let echo: Handler =
        Arc::new(|ctx: Context| Box::pin(std::future::ready(Ok(ctx.params().clone()))));
    let hear: EventHandler = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    });
    let schema = json!({
        "name": "checked",
        "actions": {"echo": {"params": params}},
        "events": {"checked.*": {"params": params}},
    });
    let service =
        LocalService::native(&schema, vec![("echo", echo)], vec![("checked.*", hear)]).unwrap();
    let options = BrokerOptions { validator, ..BrokerOptions::default() };
    let broker = broker::start(options).await;
    broker.add_service(service).await?;
    Ok((broker, handled))
}

async fn echo(broker: &ServiceBroker, params: &Value) -> Result<Value, MoleculerError> {
    broker::call(broker, "checked.echo", params, CallOptions::default()).await
}

fn items(error: &MoleculerError) -> Value {
    serde_json::from_str(error.fields().data.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_guest_is_not_entered_with_params_that_do_not_fit() {
    let host = Host::start(BrokerOptions::default(), &["math"]).await;
    let fuel = || broker::metric(&host.broker, "isomer.guest.fuel.total");
    let before = fuel();
    let error = host.call("math.add", &json!({"a": "one"})).await.unwrap_err();
    assert_eq!((error.name(), error.code()), ("ValidationError", 422));
    let node = host.broker.node_id();
    let expected = json!([
        {"type": "number", "message": "The 'a' field must be a number.", "field": "a",
            "actual": "one", "nodeID": node, "action": "math.add"},
        {"type": "required", "message": "The 'b' field is required.", "field": "b",
            "nodeID": node, "action": "math.add"},
    ]);
    assert_eq!(items(&error), expected);
    assert_eq!(fuel(), before);
    host.call("math.add", &json!({"a": 1, "b": 2})).await.unwrap();
    assert!(fuel() > before);
}

#[tokio::test]
async fn a_guest_sees_params_with_conversions() {
    let host = Host::start(BrokerOptions::default(), &["posts", "users"]).await;
    let post = json!({"title": "Notes", "author": 1});
    host.call("posts.create", &post).await.unwrap();
    // As they come from an address: a text that the schema converts.
    let post = host.call("posts.get", &json!({"id": "1"})).await.unwrap();
    assert_eq!(post["title"], "Notes");
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_keeps_its_service_out() {
    let error = checked(Validator::default(), &json!({"id": "objectID"})).await.err().unwrap();
    assert_eq!(error.kind(), "SERVICE_SCHEMA_ERROR");
    for part in ["'checked'", "'actions.echo.params'", "'events.checked.*.params'", "hex: true"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn an_event_with_data_that_does_not_fit_is_not_handled() {
    let (broker, handled) = checked(Validator::default(), &json!({"id": "number"})).await.unwrap();
    let emit = |data: Value| {
        let options = EmitOptions { throw_error: true, ..EmitOptions::default() };
        broker.emit("checked.now", broker::json(&data), options)
    };
    let error = emit(json!({"id": "x"})).await.unwrap_err();
    assert_eq!(items(&error)[0]["event"], "checked.*");
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    emit(json!({"id": 1})).await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn aliases_defaults_and_messages_are_options_of_the_broker() {
    let map = |value: Value| value.as_object().cloned().unwrap();
    let options = FastestOptions {
        aliases: map(json!({"username": {"type": "string", "min": 3}})),
        defaults: map(json!({"string": {"trim": true}})),
        messages: map(json!({"stringMin": "{field} needs {expected}, not {actual}"})),
        ..FastestOptions::default()
    };
    let schema = json!({"name": "username"});
    let (broker, _) = checked(Validator::Fastest(options), &schema).await.unwrap();
    assert_eq!(echo(&broker, &json!({"name": " Ada "})).await.unwrap(), json!({"name": "Ada"}));
    let error = echo(&broker, &json!({"name": " A "})).await.unwrap_err();
    assert_eq!(items(&error)[0]["message"], "name needs 3, not 1");
}

#[tokio::test]
async fn json_schema_is_the_other_validator() {
    let schema =
        json!({"type": "object", "required": ["id"], "properties": {"id": {"minimum": 1}}});
    let (broker, _) = checked(Validator::JsonSchema, &schema).await.unwrap();
    assert_eq!(echo(&broker, &json!({"id": 1})).await.unwrap(), json!({"id": 1}));
    let error = echo(&broker, &json!({"id": 0})).await.unwrap_err();
    assert_eq!((error.name(), error.kind()), ("ValidationError", "VALIDATION_ERROR"));
    let item = &items(&error)[0];
    let told = (&item["type"], &item["field"], &item["actual"], &item["action"]);
    assert_eq!(told, (&json!("minimum"), &json!("id"), &json!(0), &json!("checked.echo")));
    let wrong = checked(Validator::JsonSchema, &json!({"type": "nummer"})).await.err().unwrap();
    assert!(wrong.message().contains("'actions.echo.params' is no JSON Schema"), "{wrong}");
}

#[tokio::test]
async fn without_a_validator_params_are_not_looked_at() {
    let (broker, _) = checked(Validator::Off, &json!({"id": "objectID"})).await.unwrap();
    assert_eq!(echo(&broker, &json!({"id": "x"})).await.unwrap(), json!({"id": "x"}));
}

// moleculer: src/validators/base.js middleware
#[tokio::test]
async fn server_javascript_callers_and_callees_agree_on_what_does_not_fit() {
    let nats = NatsServer::start().await;
    let schema = json!({"$$strict": true, "id": "number|positive", "tags": "string[]|optional"});
    let native = {
        let echo: Handler =
            Arc::new(|ctx: Context| Box::pin(std::future::ready(Ok(ctx.params().clone()))));
        let schema = json!({"name": "rs.checked", "actions": {"echo": {"params": schema}}});
        LocalService::native(&schema, vec![("echo", echo)], Vec::new()).unwrap()
    };
    let node = broker::start(broker::on_nats("rs-1", &nats.url())).await;
    node.add_service(native).await.unwrap();
    let js = Peer::start("js-1", &nats.url(), json!({})).await;
    js.wait_for_services(&["rs.checked"]).await;
    broker::wait_for(&node, &["js.checked"]).await;
    for params in [json!({"id": -1, "tags": ["a", 5], "x": 1}), json!({}), json!({"tags": "a"})] {
        let theirs = broker::call(&node, "js.checked.echo", &params, CallOptions::default()).await;
        let theirs = theirs.unwrap_err();
        let ours = js.call("rs.checked.echo", params).await.unwrap_err();
        assert_eq!((&ours["name"], &ours["code"]), (&json!("ValidationError"), &json!(422)));
        assert_eq!(ours["type"], "VALIDATION_ERROR");
        // Each names the node that called and its own action; the rest is the same.
        let mut expected = items(&theirs);
        for item in expected.as_array_mut().unwrap() {
            assert_eq!(
                (&item["nodeID"], &item["action"]),
                (&json!("rs-1"), &json!("js.checked.echo"))
            );
            item["nodeID"] = json!("js-1");
            item["action"] = json!("rs.checked.echo");
        }
        assert_eq!(ours["data"], expected);
        assert_eq!(ours["message"], theirs.message());
    }
}
