//! Rules of services on one node: private actions, and what special settings say about time.

use tokio::time::Instant;

use super::*;

/// A service of this name and version with a private action `hidden` and an action `ask` that calls what its
/// params say.
async fn add(broker: &ServiceBroker, name: &str, settings: Value) {
    let caller = broker.caller();
    let ask = action(move |ctx| {
        let caller = caller.upgrade().unwrap();
        async move {
            let params: Value = ctx.params.parse().unwrap();
            let node_id = params["nodeID"].as_str().map(Arc::from);
            let options =
                CallOptions { parent: Some(ctx.clone()), node_id, ..CallOptions::default() };
            caller.call(params["to"].as_str().unwrap(), Payload::Absent, options).await
        }
    });
    let hidden = action(|ctx| async move { Ok(json(&json!([ctx.caller.as_deref(), ctx.level]))) });
    let sleep = action(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(Payload::null())
    });
    let schema = json!({"name": name, "settings": settings,
        "actions": {"ask": {}, "hidden": {"visibility": "private"}, "sleep": {}}});
    let handlers = vec![("ask", ask), ("hidden", hidden), ("sleep", sleep)];
    broker.add_service(LocalService::native(&schema, handlers, Vec::new()).unwrap()).await.unwrap();
}

async fn ask(broker: &ServiceBroker, action: &str, to: &str) -> Result<Value, String> {
    let outcome = call(broker, action, json!({"to": to}), CallOptions::default()).await;
    outcome.map_err(|error| error.kind().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_private_action_is_there_for_its_own_service_only() {
    let broker = broker(|_| {});
    for name in ["one", "two"] {
        add(&broker, name, json!({})).await;
    }
    let not_found = Err("SERVICE_NOT_FOUND".to_owned());
    assert_eq!(ask(&broker, "one.ask", "one.hidden").await, Ok(json!(["one", 2])));
    assert_eq!(ask(&broker, "two.ask", "two.hidden").await, Ok(json!(["two", 2])));
    assert_eq!(ask(&broker, "two.ask", "one.hidden").await, not_found);
    let outside = call(&broker, "one.hidden", json!({}), CallOptions::default()).await;
    assert_eq!(outside.unwrap_err().name(), "ServiceNotFoundError");
    let on_node = |node: &str| {
        let params = json!({"to": "one.hidden", "nodeID": node});
        let broker = broker.clone();
        async move { call(&broker, "one.ask", params, CallOptions::default()).await.is_ok() }
    };
    assert!(on_node("me").await, "the node itself may be named");
    assert!(!on_node("other").await, "no other node has it");
}

#[tokio::test(start_paused = true)]
async fn a_private_action_goes_with_its_service_and_comes_back() {
    let broker = broker(|_| {});
    add(&broker, "one", json!({})).await;
    add(&broker, "one", json!({"$noServiceNamePrefix": true})).await;
    assert_eq!(ask(&broker, "ask", "hidden").await, Ok(json!(["one", 2])));
    assert!(ask(&broker, "ask", "one.hidden").await.is_err(), "the old name went");
    assert!(broker.remove_service(&"one".into()).await);
    let routes = || broker.0.chains.read().actions.len();
    let left = routes();
    add(&broker, "one", json!({})).await;
    broker.remove_service(&"one".into()).await;
    assert_eq!(routes(), left, "no route is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_service_says_how_long_its_calls_may_run_on_when_it_ends() {
    let check = async |settings: Value, seconds: u64| {
        let broker = broker(|options| {
            options.tracking.shutdown_timeout = Duration::from_secs(5);
        });
        add(&broker, "one", settings).await;
        let name = "one".into();
        let running = broker.call("one.sleep", Payload::Absent, CallOptions::default());
        let begun = Instant::now();
        tokio::select! {
            biased;
            outcome = running => panic!("the call ended before its service: {outcome:?}"),
            _ = broker.remove_service(&name) => {}
        }
        assert_eq!(begun.elapsed().as_secs(), seconds);
    };
    check(json!({}), 5).await;
    check(json!({"$shutdownTimeout": 2000}), 2).await;
    check(json!({"$shutdownTimeout": 9000}), 9).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_says_how_long_it_waits_for_its_dependencies() {
    let check = async |settings: Value, seconds: u64| {
        let broker = broker(|options| options.dependency_timeout = Duration::from_secs(3));
        let schema = json!({"name": "x", "settings": settings,
            "dependencies": [{"name": "users", "version": [1, 2]}, "mailer"]});
        let service = LocalService::native(&schema, Vec::new(), Vec::new()).unwrap();
        let begun = Instant::now();
        let error = broker.add_service(service).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), seconds);
        assert_eq!((error.name(), error.kind()), ("MoleculerServerError", "WAITFOR_SERVICES"));
        assert!(error.message().contains("v1.users or v2.users"), "{error}");
    };
    check(json!({}), 3).await;
    check(json!({"$dependencyTimeout": 1000, "$dependencyInterval": 10}), 1).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_host_may_say_who_calls() {
    let broker = broker(|_| {});
    add(&broker, "one", json!({})).await;
    let parent = crate::context::ContextBuilder::new("root".into(), "me".into())
        .with(|ctx| ctx.service = "one".into())
        .build();
    let options = |caller: Option<&str>| CallOptions {
        parent: Some(parent.clone()),
        caller: caller.map(Arc::from),
        ..CallOptions::default()
    };
    let caller =
        async |caller| call(&broker, "one.hidden", json!({}), options(caller)).await.unwrap();
    assert_eq!(caller(None).await, json!(["one", 2]));
    assert_eq!(caller(Some("gateway")).await, json!(["gateway", 2]));
}
