//! Middlewares that are components: what they decide, how they fail, and how they are loaded.
//!
//! The guest `auth` asks for a token in the meta; other tokens make it go wrong. `audit` reports what ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Cacher, Transporter};
use isomer_host::context::{CallOptions, ContextBuilder, EmitOptions};
use isomer_host::error::MoleculerError;
use isomer_host::reload::{Middlewares, Reloader};
use isomer_host::service::LocalService;
use isomer_host::task::CancellationToken;
use isomer_host::uid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::mirror::{self, Received};
use tests::{broker, guests, host, node, wait};

/// A node with guarded services.
struct Guarded {
    broker: ServiceBroker,
    middlewares: Middlewares,
    folder: TempDir,
    /// How often the service was entered.
    entered: Arc<AtomicUsize>,
    cancel: CancellationToken,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// A service whose action says what it sees.
fn service(entered: &Arc<AtomicUsize>) -> LocalService {
    let entered_by_kept = entered;
    let entered = Arc::clone(entered);
    LocalService::builder("kit")
        .action("seen", json!({}), move |ctx, params: Value| {
            entered.fetch_add(1, Ordering::SeqCst);
            async move {
                let caller = ctx.caller.as_deref().map(str::to_owned);
                Ok(json!({"params": params, "meta": ctx.meta().to_map(), "caller": caller}))
            }
        })
        .action("kept", json!({"cache": true}), {
            let entered = Arc::clone(entered_by_kept);
            move |_, _: Value| {
                entered.fetch_add(1, Ordering::SeqCst);
                async { Ok("secret") }
            }
        })
        .action("divide", json!({}), |_, _: Value| async move {
            Err::<(), _>(MoleculerError::client(422, "DIVISION_BY_ZERO", "no"))
        })
        .build()
        .unwrap()
}

impl Guarded {
    async fn start(names: &[&str], sidecar: &str) -> Self {
        Self::start_with(BrokerOptions::default(), names, sidecar).await
    }

    async fn start_with(options: BrokerOptions, names: &[&str], sidecar: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            guests::put(name, folder.path(), &format!("{name}.wasm"));
            std::fs::write(folder.path().join(format!("{name}.toml")), sidecar).unwrap();
        }
        let middlewares = names.iter().map(|name| (*name).to_owned()).collect();
        let broker = ServiceBroker::new(BrokerOptions { middlewares, ..options }).unwrap();
        let runtime = host::runtime(&broker);
        let middlewares = Middlewares::new(broker.clone(), runtime, folder.path().to_owned());
        wait::for_result("the middlewares", middlewares.load()).await.unwrap();
        wait::for_result("the start", broker.start()).await.unwrap();
        let entered = Arc::new(AtomicUsize::new(0));
        broker.add_service(service(&entered)).await.unwrap();
        Self { broker, middlewares, folder, entered, cancel: CancellationToken::new() }
    }

    async fn call(&self, action: &str, params: &Value, token: &str) -> Outcome {
        self.call_with_meta(action, params, &json!({"token": token})).await
    }

    async fn call_with_meta(&self, action: &str, params: &Value, meta: &Value) -> Outcome {
        let options = CallOptions { meta: Some(broker::object(meta)), ..CallOptions::default() };
        broker::call(&self.broker, action, params, options).await
    }

    /// A call that the guard must end, with an error of this type that names it.
    async fn check_closed(&self, token: &str, kind: &str) {
        let before = self.entered.load(Ordering::SeqCst);
        let error = self.call("kit.seen", &json!({}), token).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains("$middleware.auth"), "{error}");
        assert_eq!(self.entered.load(Ordering::SeqCst), before, "the service was not entered");
    }
}

type Outcome = Result<Value, MoleculerError>;

async fn emit(broker: &ServiceBroker, event: &str, token: &str) -> Result<(), MoleculerError> {
    let options = EmitOptions {
        meta: Some(broker::object(&json!({"token": token}))),
        throw_error: true,
        ..EmitOptions::default()
    };
    broker.emit(event, broker::json(&json!({"n": 1})), options).await
}

#[tokio::test]
async fn a_guard_refuses_lets_in_and_leaves_its_meta() {
    let node = Guarded::start(&["auth"], "").await;
    let refused = node.call("kit.seen", &json!({}), "bad").await.unwrap_err();
    assert_eq!((refused.name(), refused.code()), ("UnauthorizedError", 401));
    assert_eq!(node.entered.load(Ordering::SeqCst), 0);
    let seen = node.call("kit.seen", &json!({"n": 1}), "good").await.unwrap();
    assert_eq!(seen["params"], json!({"n": 1}));
    assert_eq!(seen["meta"], json!({"token": "good", "user": {"id": 7}, "seenBefore": 1}));
    // The caller sees the guard's meta as it sees that of a service.
    let root = ContextBuilder::new("root".into(), "n".into()).build();
    root.merge_meta(&broker::object(&json!({"token": "good"})));
    let options = CallOptions::child_of(&root);
    broker::call(&node.broker, "kit.seen", &json!({}), options).await.unwrap();
    assert_eq!(root.meta().get("user"), Some("{\"id\":7}"));
    // The node's own actions are not asked about, or nobody could look into it.
    assert!(node.call("$node.services", &json!({}), "bad").await.is_ok());
}

#[tokio::test]
async fn a_middleware_answers_by_itself_and_changes_params() {
    let node = Guarded::start(&["auth"], "").await;
    let answer = node.call("kit.seen", &json!({}), "answer").await.unwrap();
    assert_eq!(answer, json!({"answered": "kit.seen"}));
    assert_eq!(node.entered.load(Ordering::SeqCst), 0);
    let seen = node.call("kit.seen", &json!({"a": 4, "b": 5}), "double").await.unwrap();
    assert_eq!(seen["params"], json!({"a": 8.0, "b": 5.0}));
    assert_eq!(seen["meta"]["user"], json!({"id": 7}), "meta of a changed call");
}

#[tokio::test]
async fn whatever_goes_wrong_in_a_guard_fails_the_call() {
    let node = Guarded::start(&["auth"], "[limits]\nfuel = 10_000_000\n").await;
    node.check_closed("trap", "SERVICE_TRAPPED").await;
    node.check_closed("loop", "FUEL_EXHAUSTED").await;
    assert!(node.call("kit.seen", &json!({}), "good").await.is_ok(), "only that call");
    let slow =
        Guarded::start(&["auth"], "[limits]\nfuel = 1_000_000_000_000\ntimeout = 2_000\n").await;
    slow.check_closed("loop", "REQUEST_TIMEOUT").await;
    let unloaded = BrokerOptions { middlewares: vec!["auth".into()], ..BrokerOptions::default() };
    let unloaded = ServiceBroker::new(unloaded).unwrap();
    unloaded.add_service(service(&Arc::default())).await.unwrap();
    let error = broker::call(&unloaded, "kit.seen", &json!({}), CallOptions::default()).await;
    assert_eq!(error.unwrap_err().kind(), "SERVICE_NOT_AVAILABLE");
    let error = unloaded.start().await.unwrap_err().to_string();
    assert!(error.contains("'auth'") && error.contains("not loaded"), "{error}");
}

#[tokio::test]
async fn what_a_middleware_calls_itself_passes_it_by_and_names_it() {
    let node = Guarded::start(&["auth"], "").await;
    let math = LocalService::builder("math")
        .action("add", json!({}), |ctx, _: Value| async move {
            assert_eq!(ctx.caller.as_deref(), Some("$middleware.auth"));
            Ok(2)
        })
        .build();
    node.broker.add_service(math.unwrap()).await.unwrap();
    let seen = node.call("kit.seen", &json!({}), "ask").await.unwrap();
    assert_eq!(seen["meta"]["asked"], json!(2.0));
    // Somebody who only says that it is the middleware is asked.
    let liar = CallOptions { caller: Some("$middleware.auth".into()), ..CallOptions::default() };
    let refused = broker::call(&node.broker, "kit.seen", &json!({}), liar).await.unwrap_err();
    assert_eq!(refused.code(), 401);
    let denied = Guarded::start(&["auth"], "[grants]\ncall = []\n").await;
    let error = denied.call("kit.seen", &json!({}), "ask").await.unwrap_err();
    assert_eq!(error.kind(), "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_kept_result_is_given_to_nobody_whom_the_guard_refuses() {
    let options = BrokerOptions { cacher: Some(Cacher::default()), ..BrokerOptions::default() };
    let node = Guarded::start_with(options, &["auth"], "").await;
    for _ in 0..2 {
        assert_eq!(node.call("kit.kept", &json!({}), "good").await.unwrap(), "secret");
    }
    assert_eq!(node.entered.load(Ordering::SeqCst), 1, "the second answer was a kept one");
    assert_eq!(node.call("kit.kept", &json!({}), "bad").await.unwrap_err().code(), 401);
}

#[tokio::test]
async fn a_guard_stands_without_the_brokers_own_middlewares() {
    let options = BrokerOptions { internal_middlewares: false, ..BrokerOptions::default() };
    let node = Guarded::start_with(options, &["auth"], "").await;
    assert_eq!(node.call("kit.seen", &json!({}), "bad").await.unwrap_err().code(), 401);
    assert!(node.call("kit.seen", &json!({}), "good").await.is_ok());
}

#[tokio::test]
async fn events_are_refused_dropped_changed_or_delivered() {
    let node = Guarded::start(&["auth"], "").await;
    let exact = mirror::listen(&node.broker, "one", "kit.happened", "").await;
    let pattern = mirror::listen(&node.broker, "two", "**", "").await;
    assert_eq!(emit(&node.broker, "kit.happened", "bad").await.unwrap_err().code(), 401);
    emit(&node.broker, "kit.happened", "skip").await.unwrap();
    assert_eq!((exact.now().len(), ours(&pattern).len()), (0, 0));
    emit(&node.broker, "kit.happened", "change").await.unwrap();
    assert_eq!(exact.at_least(1).await[0]["params"], json!({"was": {"n": 1}}));
    emit(&node.broker, "kit.happened", "good").await.unwrap();
    assert_eq!(exact.at_least(2).await[1]["params"], json!({"n": 1}));
    emit(&node.broker, "other.happened", "bad").await.unwrap();
    assert_eq!(ours(&pattern).len(), 3, "others are not asked about");
    emit(&node.broker, "kit.happened", "echo").await.unwrap();
    wait::until("the guard's own events", || async {
        let echoed = ours(&pattern).iter().filter(|event| event["event"] == "kit.echoed").count();
        // Once for each of the two that were about to get the event.
        (echoed == 2).then_some(())
    })
    .await;
}

/// The events that a listener to everything got, without those of the node.
fn ours(received: &Received) -> Vec<Value> {
    let own = |event: &Value| event["event"].as_str().is_some_and(|name| name.starts_with('$'));
    received.now().into_iter().filter(|event| !own(event)).collect()
}

#[tokio::test]
async fn results_and_errors_are_seen_and_changed_from_the_outer_one_too() {
    let node = Guarded::start(&["auth", "audit"], "").await;
    let ended = mirror::listen(&node.broker, "log", "audit.*", "").await;
    let stamped = json!({"token": "good", "stamp": true});
    let result = node.call_with_meta("kit.seen", &json!({}), &stamped).await.unwrap();
    assert_eq!(result["stamped"]["params"], json!({}));
    let seen = &ended.at_least(1).await[0];
    assert_eq!(
        (&seen["event"], &seen["caller"]),
        (&json!("audit.ended"), &json!("$middleware.audit"))
    );
    assert_eq!(seen["params"]["action"], "kit.seen");
    // The later one of the list stands outside, so it sees what the earlier one refuses.
    node.call("kit.seen", &json!({}), "bad").await.unwrap_err();
    let refused = &ended.at_least(2).await[1];
    assert_eq!(
        refused["params"],
        json!({"action": "kit.seen", "name": "UnauthorizedError", "code": 401})
    );
    let mended = node.call("kit.divide", &json!({}), "good").await.unwrap();
    assert_eq!(mended, "infinite");
}

#[tokio::test]
async fn calls_from_other_nodes_are_guarded_here() {
    let bus = uid::new().to_string();
    let on_bus = |node_id: &str| BrokerOptions {
        node_id: Some(node_id.into()),
        transporter: Some(Transporter::Fake { bus: bus.clone() }),
        ..BrokerOptions::default()
    };
    let node = Guarded::start_with(on_bus("guarded"), &["auth"], "").await;
    let other = broker::start(on_bus("other")).await;
    broker::wait_for(&other, &["kit"]).await;
    for caller in [None, Some("$middleware.auth".into())] {
        let options = CallOptions { caller, ..CallOptions::default() };
        let refused = broker::call(&other, "kit.seen", &json!({}), options).await.unwrap_err();
        assert_eq!((refused.code(), refused.name()), (401, "UnauthorizedError"));
    }
    let meta = Some(broker::object(&json!({"token": "good"})));
    let options = CallOptions { meta, ..CallOptions::default() };
    let seen = broker::call(&other, "kit.seen", &json!({}), options).await.unwrap();
    assert_eq!(seen["meta"]["user"], json!({"id": 7}));
    assert_eq!(node.entered.load(Ordering::SeqCst), 1);
    other.stop().await;
    node.broker.stop().await;
}

/// Loads one file as the middleware `auth` and gives the reason why it cannot be.
async fn refusal(prepare: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let options = BrokerOptions { middlewares: vec!["auth".into()], ..BrokerOptions::default() };
    let broker = ServiceBroker::new(options).unwrap();
    let runtime = host::runtime(&broker);
    let middlewares = Middlewares::new(broker, runtime, folder.path().to_owned());
    let error = wait::for_result("the refusal", middlewares.load()).await.unwrap_err().to_string();
    assert!(error.contains("'auth'") && error.contains("auth.wasm"), "{error}");
    error
}

#[tokio::test]
async fn a_middleware_that_cannot_be_loaded_stops_the_start_with_a_reason() {
    let check = |error: String, part: &str| assert!(error.contains(part), "{error}");
    check(refusal(|_| {}).await, "no such file");
    let put = |name: &'static str| {
        move |folder: &Path| {
            guests::put(name, folder, "auth.wasm");
        }
    };
    check(refusal(put("math")).await, "it is a service");
    check(refusal(put("wrong_world")).await, "isomer:service/handler");
    let broken = refusal(|folder| {
        put("auth")(folder);
        std::fs::write(folder.join("auth.toml"), "[limit]\nfuel = 1\n").unwrap();
    });
    check(broken.await, "limit");
    // And the other way round.
    let broker = broker::start(BrokerOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    guests::put("auth", folder.path(), "auth.wasm");
    let reloader =
        Reloader::new(broker.clone(), host::runtime(&broker), vec![folder.path().to_owned()]);
    let loaded = reloader.start(false, &CancellationToken::new()).await.unwrap();
    assert_eq!(loaded.failed, 1);
    let all = json!({});
    let services = broker::call(&broker, "$node.services", &all, CallOptions::default());
    let services = services.await.unwrap().to_string();
    assert!(services.contains("it is a middleware, not a service"), "{services}");
}

#[tokio::test]
async fn a_new_version_takes_over_and_a_bad_one_does_not() {
    let node = Guarded::start(&["auth"], "").await;
    // One that would see other things is refused, and the guard stays.
    guests::put("audit", node.folder.path(), "auth.wasm");
    let error = node.middlewares.load().await.unwrap_err().to_string();
    assert!(error.contains("restart the node"), "{error}");
    node.middlewares.follow(&node.cancel).unwrap();
    guests::put("auth", node.folder.path(), "auth.wasm");
    let replace = |sidecar: &str| {
        let part = node.folder.path().join(".part");
        std::fs::write(&part, sidecar).unwrap();
        std::fs::rename(&part, node.folder.path().join("auth.toml")).unwrap();
    };
    replace("[settings]\ntoken = \"better\"\n");
    wait::until("the new token to count", || async {
        node.call("kit.seen", &json!({}), "better").await.ok()
    })
    .await;
    assert_eq!(node.call("kit.seen", &json!({}), "good").await.unwrap_err().code(), 401);
    // None at all, then a new token: the guard stands all the time.
    std::fs::remove_file(node.folder.path().join("auth.wasm")).unwrap();
    guests::put("auth", node.folder.path(), "auth.wasm");
    replace("[settings]\ntoken = \"best\"\n");
    wait::until("the last token to count", || async {
        let refused = node.call("kit.seen", &json!({}), "bad").await.unwrap_err();
        assert_eq!(refused.code(), 401);
        node.call("kit.seen", &json!({}), "best").await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_middleware_is_inspected_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = guests::put("auth", folder.path(), "auth.wasm");
    let output = node::run(folder.path(), &["inspect", file.to_str().unwrap()]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str, expected: &str| {
        let found = text.lines().find(|line| line.starts_with(key));
        assert!(found.is_some_and(|line| line.ends_with(expected)), "{key}: {text}");
    };
    line("middleware", " auth");
    line("hooks", " before-call, before-event");
    line("actions", " math.*, kit.*, swapper.*");
    line("events", " kit.*");
}

#[tokio::test]
async fn a_node_that_is_started_with_a_guard_has_it_or_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    let middlewares = folder.path().join("middlewares");
    std::fs::create_dir(&services).unwrap();
    std::fs::create_dir(&middlewares).unwrap();
    std::fs::write(folder.path().join("isomer.toml"), "middlewares = [\"auth\"]\n").unwrap();
    guests::put("math", &services, "math.wasm");
    let output = node::run(folder.path(), &["start", "services"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in ["'auth'", "middlewares/auth.wasm", "no such file"] {
        assert!(said.contains(part), "'{part}' is missing in {said}");
    }
    guests::put("auth", &middlewares, "auth.wasm");
    let node = node::Node::start_in(folder, &[]).await;
    let add = r#"{"a":1,"b":2}"#;
    let refused = node.run(&["call", "math.add", add]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("UnauthorizedError"), "{said}");
    let meta = r#"{"token":"good"}"#;
    let let_in = node.run(&["call", "math.add", add, "--meta", meta, "--json"]).await;
    assert_eq!(String::from_utf8(let_in.stdout).unwrap().trim(), "3.0");
}
