//! Rules of fault tolerance on the way of a call, with native services and a paused clock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::Transporter;
use crate::handler::FallbackHandler;
use crate::uid;

/// A broker on a bus of its own or of others.
async fn on_bus(
    node_id: &str,
    bus: &str,
    change: impl FnOnce(&mut BrokerOptions),
) -> ServiceBroker {
    let broker = broker(|options| {
        options.node_id = Some(node_id.into());
        options.transporter = Some(Transporter::Fake { bus: bus.into() });
        options.registry.prefer_local = false;
        change(options);
    });
    broker.start().await.unwrap();
    broker
}

/// Adds a service `s` with one action `s.a` and gives how often it was called.
async fn with_action(
    broker: &ServiceBroker,
    definition: Value,
    outcome: impl Fn(u32) -> Outcome + Send + Sync + 'static,
) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let handler = action(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(outcome(n))
    });
    let schema = json!({"name": "s", "actions": {"a": definition}});
    let service = LocalService::native(&schema, vec![("a", handler)], Vec::new()).unwrap();
    broker.add_service(service).await.unwrap();
    calls
}

fn busy() -> Outcome {
    Err(MoleculerError::server("BUSY", "busy"))
}

async fn ask(broker: &ServiceBroker) -> Result<Value, MoleculerError> {
    call(broker, "s.a", json!({}), CallOptions::default()).await
}

fn elapsed_ms(since: tokio::time::Instant) -> u128 {
    since.elapsed().as_millis()
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

fn n_routes(broker: &ServiceBroker) -> usize {
    broker.0.chains.read().actions.len()
}

#[tokio::test(start_paused = true)]
async fn routes_to_other_nodes_are_made_when_needed_and_go_with_their_endpoints() {
    let bus = uid::new();
    let a = on_bus("a", &bus, |_| {}).await;
    let own = n_routes(&a);
    for round in 0..3 {
        let b = on_bus(&format!("b{round}"), &bus, |_| {}).await;
        with_action(&b, json!({}), |_| Ok(json(&json!("b")))).await;
        let services = || vec!["s".to_owned()];
        a.wait_for_services(services(), None).await.unwrap();
        assert_eq!(n_routes(&a), own);
        assert_eq!(ask(&a).await.unwrap(), "b");
        assert_eq!(ask(&a).await.unwrap(), "b");
        assert_eq!(n_routes(&a), own + 1);
        b.stop().await;
        until(|| n_routes(&a) == own).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_is_tried_again_unless_the_call_says_so() {
    let broker = broker(|_| {});
    let calls =
        with_action(&broker, json!({}), |n| if n < 4 { busy() } else { Ok(json(&json!(n))) }).await;
    assert_eq!(ask(&broker).await.unwrap_err().kind(), "BUSY");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let options = CallOptions { retries: Some(3), ..CallOptions::default() };
    let start = tokio::time::Instant::now();
    assert_eq!(call(&broker, "s.a", json!({}), options).await.unwrap(), 4);
    assert_eq!(elapsed_ms(start), 100 + 200 + 400);
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_the_action_goes_over_that_of_the_broker_and_the_call_over_its_count() {
    let broker = broker(|options| options.retry_policy.enabled = true);
    let policy = json!({"retryPolicy": {"retries": 2, "delay": 10, "factor": 3, "maxDelay": 20}});
    let calls = with_action(&broker, policy, |_| busy()).await;
    let start = tokio::time::Instant::now();
    ask(&broker).await.unwrap_err();
    assert_eq!((calls.swap(0, Ordering::Relaxed), elapsed_ms(start)), (3, 10 + 20));
    let options = CallOptions { retries: Some(1), ..CallOptions::default() };
    call(&broker, "s.a", json!({}), options).await.unwrap_err();
    assert_eq!(calls.swap(0, Ordering::Relaxed), 2);
    let options = CallOptions { retries: Some(0), ..CallOptions::default() };
    call(&broker, "s.a", json!({}), options).await.unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    // As in Moleculer, the last failure of each call counts too.
    assert_eq!(broker.metrics().snapshot()["moleculer.request.retry.attempts.total"], 3 + 2 + 1);
}

#[tokio::test(start_paused = true)]
async fn an_action_can_switch_its_policy_off_and_choose_what_is_tried_again() {
    let broker = broker(|options| options.retry_policy.enabled = true);
    let calls = with_action(&broker, json!({"retryPolicy": {"enabled": false}}), |_| busy()).await;
    ask(&broker).await.unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let check = json!({"retryPolicy": {"check": {"types": ["TEAPOT"]}}});
    let calls = with_action(&broker, check, |n| match n {
        0 => Err(MoleculerError::client(418, "TEAPOT", "short")),
        _ => busy(),
    })
    .await;
    assert_eq!(ask(&broker).await.unwrap_err().kind(), "BUSY");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_beyond_the_time_of_the_parent() {
    let broker = broker(|options| options.retry_policy.enabled = true);
    let calls = with_action(&broker, json!({}), |_| busy()).await;
    let parent = crate::context::ContextBuilder::new("root".into(), "me".into()).build();
    parent.start_deadline(crate::clock::now(), Duration::from_millis(350));
    let start = tokio::time::Instant::now();
    let options = CallOptions { parent: Some(parent), ..CallOptions::default() };
    let error = call(&broker, "s.a", json!({}), options).await.unwrap_err();
    assert_eq!(error.kind(), "BUSY");
    // After 100 and 200 ms; the next delay of 400 ms would end too late.
    assert_eq!((calls.load(Ordering::Relaxed), elapsed_ms(start)), (3, 300));
}

#[tokio::test(start_paused = true)]
async fn a_retry_may_go_to_another_node_and_only_the_caller_makes_it() {
    let bus = uid::new();
    let policy = |options: &mut BrokerOptions| options.retry_policy.enabled = true;
    let a = on_bus("a", &bus, policy).await;
    let b = on_bus("b", &bus, policy).await;
    let c = on_bus("c", &bus, policy).await;
    // What the callee advertises is carried out by the caller.
    let advertised = json!({"retryPolicy": {"retries": 1, "delay": 7}});
    let failing = with_action(&b, advertised.clone(), |_| busy()).await;
    let working = with_action(&c, advertised, |n| Ok(json(&json!(n)))).await;
    until(|| {
        a.registry().read().actions.get("s.a").is_some_and(|list| list.endpoints().len() == 2)
    })
    .await;
    for round in 1..=4 {
        assert!(ask(&a).await.is_ok());
        assert_eq!(working.load(Ordering::Relaxed), round);
    }
    // Every second call begins at `b`, where nobody tries it again.
    assert!((1..=4).contains(&failing.load(Ordering::Relaxed)));
    let options = CallOptions { node_id: Some("b".into()), ..CallOptions::default() };
    failing.store(0, Ordering::Relaxed);
    let start = tokio::time::Instant::now();
    call(&a, "s.a", json!({}), options).await.unwrap_err();
    assert_eq!(failing.load(Ordering::Relaxed), 2);
    assert!(elapsed_ms(start) >= 7);
}

/// Gives the action `s.a` a fallback that answers with the type of the error.
async fn with_fallback(broker: &ServiceBroker, definition: Value) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let handler = action(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(busy())
    });
    let mut definition = definition;
    definition["fallback"] = "instead".into();
    let schema = json!({"name": "s", "actions": {"a": definition}});
    let mut service = LocalService::native(&schema, vec![("a", handler)], Vec::new()).unwrap();
    assert_eq!(service.schema.actions[0].fallback.as_deref(), Some("instead"));
    let fallback: FallbackHandler = Arc::new(|_, error| {
        let answer = json(&json!(error.kind()));
        Box::pin(async { Ok(answer) })
    });
    service.fallbacks = vec![Some(fallback)];
    broker.add_service(service).await.unwrap();
    calls
}

#[tokio::test(start_paused = true)]
async fn a_fallback_comes_after_the_retries_and_that_of_the_call_goes_first() {
    let broker = broker(|_| {});
    let policy = json!({"retryPolicy": {"enabled": true, "retries": 2}});
    let calls = with_fallback(&broker, policy).await;
    assert_eq!(ask(&broker).await.unwrap(), "BUSY");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let options =
        CallOptions { fallback_response: Some(json(&json!("value"))), ..CallOptions::default() };
    assert_eq!(call(&broker, "s.a", json!({}), options).await.unwrap(), "value");
    assert_eq!(broker.metrics().snapshot()["moleculer.request.fallback.total"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_fallback_of_an_action_answers_callers_on_other_nodes_too() {
    let bus = uid::new();
    let a = on_bus("a", &bus, |_| {}).await;
    let b = on_bus("b", &bus, |_| {}).await;
    with_fallback(&b, json!({})).await;
    a.wait_for_services(vec!["s".to_owned()], None).await.unwrap();
    assert_eq!(ask(&a).await.unwrap(), "BUSY");
    // A JavaScript caller would take the name for a function of its own.
    let registry = a.registry().read();
    let advertised = registry.actions.get("s.a").unwrap().endpoints()[0].definition.clone();
    assert!(!advertised.contains_key("fallback"));
}

/// Adds a listener to `e` and gives the data that it handled.
async fn with_event(broker: &ServiceBroker, definition: Value) -> Arc<Mutex<Vec<Value>>> {
    let handled: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&handled);
    let handler: EventHandler = Arc::new(move |ctx| {
        log.lock().push(ctx.params.parse().unwrap());
        Box::pin(async { Ok(()) })
    });
    let schema = json!({"name": "l", "events": {"e": definition}});
    let service = LocalService::native(&schema, Vec::new(), vec![("e", handler)]).unwrap();
    broker.add_service(service).await.unwrap();
    handled
}

/// Sends `e` after each of these pauses (in ms), the data being the time so far, and waits a second.
async fn emit_after(broker: &ServiceBroker, pauses: &[u64]) {
    let mut time = 0;
    for pause in pauses {
        tokio::time::sleep(Duration::from_millis(*pause)).await;
        time += pause;
        let options = EmitOptions { throw_error: true, ..EmitOptions::default() };
        broker.emit("e", json(&json!(time)), options).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_debounced_event_is_handled_once_when_the_burst_is_over() {
    let broker = broker(|_| {});
    let handled = with_event(&broker, json!({"debounce": 100})).await;
    emit_after(&broker, &[0, 50, 99, 150, 10]).await;
    assert_eq!(*handled.lock(), [149, 309]);
}

#[tokio::test(start_paused = true)]
async fn a_debounced_event_is_not_lost_when_its_service_goes() {
    let broker = broker(|_| {});
    let handled = with_event(&broker, json!({"debounce": 100})).await;
    broker.emit("e", json(&json!(1)), EmitOptions::default()).await.unwrap();
    tokio::task::yield_now().await;
    assert!(broker.remove_service(&"l".into()).await);
    assert_eq!(*handled.lock(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_event_is_handled_first_and_not_again_for_a_while() {
    let broker = broker(|_| {});
    let handled = with_event(&broker, json!({"throttle": 100})).await;
    emit_after(&broker, &[0, 50, 49, 1, 99, 1]).await;
    assert_eq!(*handled.lock(), [0, 100, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_calls_to_other_nodes_too() {
    let bus = uid::new();
    let a = on_bus("a", &bus, |_| {}).await;
    let b = on_bus("b", &bus, |_| {}).await;
    let slow = action(|_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Payload::null())
    });
    let schema = json!({"name": "s", "actions": {"a": {}}});
    b.add_service(LocalService::native(&schema, vec![("a", slow)], Vec::new()).unwrap())
        .await
        .unwrap();
    a.wait_for_services(vec!["s".to_owned()], None).await.unwrap();
    let waiting = crate::task::run(a.call("s.a", Payload::Absent, CallOptions::default()));
    until(|| b.running_contexts() == 1).await;
    assert_eq!(a.running_contexts(), 1);
    // A call that is not tracked is not waited for.
    let untracked = CallOptions { tracking: Some(false), ..CallOptions::default() };
    let untracked = crate::task::run(a.call("s.a", Payload::Absent, untracked));
    until(|| b.running_contexts() == 2).await;
    assert_eq!(a.running_contexts(), 1);
    a.stop().await;
    assert!(waiting.await.unwrap().is_ok());
    drop(untracked);
}

/// What was logged, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_could_not_wait_longer_says_so() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let broker = broker(|_| {});
    let schema = json!({"name": "s", "version": 2, "actions": {"a": {}}});
    let endless = action(|_| std::future::pending());
    let service = LocalService::native(&schema, vec![("a", endless)], Vec::new()).unwrap();
    broker.add_service(service).await.unwrap();
    let call = crate::task::run(broker.call("v2.s.a", Payload::Absent, CallOptions::default()));
    until(|| broker.running_contexts() == 1).await;
    broker.stop().await;
    drop(call);
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    let told = |who: &str| {
        log.lines().any(|line| {
            line.contains("ERROR")
                && line
                    .contains(&format!("GracefulStopTimeoutError: Unable to stop {who} gracefully"))
        })
    };
    assert!(told("ServiceBroker"), "{log}");
    assert!(told("'s' service"), "{log}");
}
