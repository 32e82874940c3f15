//! The broker as a library: hooks of middlewares in their order, services in Rust, own parts.

use std::sync::{Arc, Weak};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::context::{CallItem, CallOptions, Caller, EmitOptions};
use isomer_host::error::MoleculerError;
use isomer_host::handler::{EventHandler, Handler};
use isomer_host::middleware::Middleware;
use isomer_host::middleware::hook::{
    Call, CreateService, DestroyService, Emit, Mcall, ReceiveBytes, RegisterService, SendBytes,
    Step,
};
use isomer_host::payload::Payload;
use isomer_host::registry::Endpoint;
use isomer_host::schema::{ActionSchema, EventSchema, ServiceSchema};
use isomer_host::serializer::json::Json;
use isomer_host::service::LocalService;
use isomer_host::transit::{HandleMessage, Publish};
use isomer_host::transporter::fake::{Bus, Fake};
use isomer_host::uid;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::{broker, tree, wait};

#[path = "../../host/examples/embed.rs"]
#[expect(dead_code, reason = "the example's own main is for cargo")]
mod example;

#[tokio::test]
async fn the_example_of_the_documentation_works() {
    assert_eq!(example::run().await.unwrap(), (42.0, 1));
}

/// Writes down which of its hooks run, as `name:hook`.
#[derive(Clone)]
struct Spy {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    fn note(&self, hook: &str) {
        self.log.lock().push(format!("{}:{hook}", self.name));
    }

    /// The node's own service has all hooks too; it is left out to keep the lists short.
    fn note_of(&self, service: &ServiceSchema, hook: &str) {
        if !service.name.starts_with('$') {
            self.note(hook);
        }
    }

    fn step_of<'a>(&'a self, service: &'a ServiceSchema, hook: &'static str) -> Step<'a> {
        Box::pin(async move {
            self.note_of(service, hook);
            Ok(())
        })
    }

    fn step(&self, hook: &'static str) -> Step<'_> {
        Box::pin(async move {
            self.note(hook);
            Ok(())
        })
    }

    fn emit_with(&self, hook: &'static str, next: Emit) -> Emit {
        let spy = self.clone();
        Arc::new(move |event, data, options| {
            if !event.starts_with('$') {
                spy.note(hook);
            }
            next(event, data, options)
        })
    }
}

impl Middleware for Spy {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        if action.name.starts_with('$') {
            return next;
        }
        let spy = self.clone();
        Arc::new(move |ctx| {
            spy.note("localAction");
            next(ctx)
        })
    }

    fn remote_action(&self, next: Handler, _: &Arc<Endpoint>) -> Handler {
        let spy = self.clone();
        Arc::new(move |ctx| {
            spy.note("remoteAction");
            next(ctx)
        })
    }

    fn local_event(&self, next: EventHandler, _event: &EventSchema) -> EventHandler {
        let spy = self.clone();
        Arc::new(move |ctx| {
            spy.note("localEvent");
            next(ctx)
        })
    }

    fn call(&self, next: Call) -> Call {
        let spy = self.clone();
        Arc::new(move |action, params, options| {
            spy.note("call");
            next(action, params, options)
        })
    }

    fn mcall(&self, next: Mcall) -> Mcall {
        let spy = self.clone();
        Arc::new(move |calls, settle| {
            spy.note("mcall");
            next(calls, settle)
        })
    }

    fn emit(&self, next: Emit) -> Emit {
        self.emit_with("emit", next)
    }

    fn broadcast(&self, next: Emit) -> Emit {
        self.emit_with("broadcast", next)
    }

    fn broadcast_local(&self, next: Emit) -> Emit {
        self.emit_with("broadcastLocal", next)
    }

    fn create_service(&self, next: CreateService) -> CreateService {
        let spy = self.clone();
        Arc::new(move |service| {
            spy.note_of(&service.schema, "createService");
            next(service)
        })
    }

    fn register_local_service(&self, next: RegisterService) -> RegisterService {
        let spy = self.clone();
        Arc::new(move |service| {
            spy.note_of(&service.schema, "registerLocalService");
            next(service);
        })
    }

    fn destroy_service(&self, next: DestroyService) -> DestroyService {
        let spy = self.clone();
        Arc::new(move |name| {
            spy.note("destroyService");
            next(name)
        })
    }

    fn service_creating(&self, service: &ServiceSchema) -> Result<(), MoleculerError> {
        self.note_of(service, "serviceCreating");
        match &*service.name {
            "unwanted" => Err(MoleculerError::client(400, "UNWANTED", "no")),
            _ => Ok(()),
        }
    }

    fn service_created(&self, service: &ServiceSchema) {
        self.note_of(service, "serviceCreated");
    }

    fn service_starting<'a>(&'a self, service: &'a ServiceSchema) -> Step<'a> {
        self.step_of(service, "serviceStarting")
    }

    fn service_started<'a>(&'a self, service: &'a ServiceSchema) -> Step<'a> {
        self.step_of(service, "serviceStarted")
    }

    fn service_stopping<'a>(&'a self, service: &'a ServiceSchema) -> Step<'a> {
        self.step_of(service, "serviceStopping")
    }

    fn service_stopped<'a>(&'a self, service: &'a ServiceSchema) -> Step<'a> {
        self.step_of(service, "serviceStopped")
    }

    fn created(&self, broker: &Weak<dyn Caller>) {
        assert!(broker.upgrade().is_some());
        self.note("created");
    }

    fn starting(&self) -> Step<'_> {
        self.step("starting")
    }

    fn started(&self) -> Step<'_> {
        self.step("started")
    }

    fn stopping(&self) -> Step<'_> {
        self.step("stopping")
    }

    fn stopped(&self) -> Step<'_> {
        self.step("stopped")
    }
}

struct Spied {
    broker: ServiceBroker,
    log: Arc<Mutex<Vec<String>>>,
    /// What Moleculer does in each step.
    expected: Value,
}

impl Spied {
    fn new() -> Self {
        let log = Arc::<Mutex<Vec<String>>>::default();
        let spy = |name| Arc::new(Spy { name, log: Arc::clone(&log) });
        let broker = ServiceBroker::builder(BrokerOptions::default())
            .middleware(spy("a"))
            .middleware(spy("b"))
            .build()
            .unwrap();
        let text = tree::read(&tree::top().join("tests/vectors/middlewares.json"));
        Self { broker, log, expected: serde_json::from_str(&text).unwrap() }
    }

    /// What has been written down since the last look is what Moleculer does in this step.
    fn check(&self, step: &str) {
        let expected: Vec<&str> =
            self.expected[step].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(!expected.is_empty(), "{step} is recorded");
        assert_eq!(std::mem::take(&mut *self.log.lock()), expected, "{step}");
    }
}

fn service(name: &str) -> LocalService {
    LocalService::builder(name)
        .action("echo", json!({}), |_, value: Value| async move { Ok(value) })
        .event("it.happened", json!({}), |_, _: Value| async { Ok(()) })
        .build()
        .unwrap()
}

// moleculer: src/middleware.js; recorded by tests/vectors/middlewares.js
#[tokio::test]
async fn hooks_of_broker_and_services_run_in_moleculers_order() {
    let spied = Spied::new();
    spied.check("build");
    spied.broker.start().await.unwrap();
    spied.check("start");
    spied.broker.add_service(service("one")).await.unwrap();
    spied.check("create");
    let unwanted = spied.broker.add_service(service("unwanted")).await.unwrap_err();
    assert_eq!(unwanted.kind(), "UNWANTED");
    assert!(spied.broker.get_local_service("unwanted").is_none());
    spied.log.lock().clear();
    spied.broker.destroy_service("one").await.unwrap();
    spied.check("destroy");
    spied.broker.add_service(service("two")).await.unwrap();
    spied.log.lock().clear();
    spied.broker.stop().await;
    spied.check("stop");
}

// moleculer: src/middleware.js; recorded by tests/vectors/middlewares.js
#[tokio::test]
async fn hooks_around_calls_and_events_wrap_each_other() {
    let mut spied = Spied::new();
    // Moleculer broadcasts to its own services by another broadcast; here that is one and the same.
    let broadcast = spied.expected["broadcast"].as_array_mut().unwrap();
    broadcast.retain(|hook| !hook.as_str().unwrap().ends_with(":broadcastLocal"));
    spied.broker.start().await.unwrap();
    spied.broker.add_service(service("one")).await.unwrap();
    spied.log.lock().clear();
    let echo = || CallItem {
        action: "one.echo".into(),
        params: Payload::null(),
        options: CallOptions::default(),
    };
    let item = echo();
    spied.broker.call(&item.action, item.params, item.options).await.unwrap();
    spied.check("call");
    assert_eq!(spied.broker.mcall(vec![echo()]).await.unwrap().len(), 1);
    spied.check("mcall");
    assert_eq!(spied.broker.mcall_settled(vec![echo()]).await.len(), 1);
    spied.check("mcall");
    let heard = || EmitOptions { throw_error: true, ..EmitOptions::default() };
    spied.broker.emit("it.happened", Payload::null(), heard()).await.unwrap();
    spied.check("emit");
    spied.broker.broadcast("it.happened", Payload::null(), heard()).await.unwrap();
    spied.check("broadcast");
    spied.broker.broadcast_local("it.happened", Payload::null(), heard()).await.unwrap();
    spied.check("broadcastLocal");
}

/// Turns every byte around on its way, and counts packets.
struct Scrambler {
    key: u8,
    packets: Arc<Mutex<Vec<&'static str>>>,
    remote_calls: Arc<Mutex<usize>>,
}

impl Middleware for Scrambler {
    fn remote_action(&self, next: Handler, _: &Arc<Endpoint>) -> Handler {
        let calls = Arc::clone(&self.remote_calls);
        Arc::new(move |ctx| {
            *calls.lock() += 1;
            next(ctx)
        })
    }

    fn transit_publish(&self, next: Publish) -> Publish {
        let packets = Arc::clone(&self.packets);
        Arc::new(move |packet, target| {
            packets.lock().push(packet.body.kind().as_str());
            next(packet, target)
        })
    }

    fn transit_message_handler(&self, next: HandleMessage) -> HandleMessage {
        let packets = Arc::clone(&self.packets);
        Arc::new(move |packet| {
            packets.lock().push(packet.body.kind().as_str());
            next(packet);
        })
    }

    fn transporter_send(&self, next: SendBytes) -> SendBytes {
        let key = self.key;
        Arc::new(move |topic, data| {
            let data: Vec<u8> = data.iter().map(|byte| (byte ^ key).wrapping_add(key)).collect();
            next(topic, data.into())
        })
    }

    fn transporter_receive(&self, next: ReceiveBytes) -> ReceiveBytes {
        let key = self.key;
        Arc::new(move |topic, data| {
            let data: Vec<u8> = data.iter().map(|byte| byte.wrapping_sub(key) ^ key).collect();
            next(topic, data.into());
        })
    }
}

#[tokio::test]
async fn packets_and_bytes_pass_through_their_hooks_and_a_transporter_of_ones_own() {
    let bus = Bus::named(&uid::new());
    let packets = Arc::<Mutex<Vec<&'static str>>>::default();
    let remote_calls = Arc::<Mutex<usize>>::default();
    let mut nodes = Vec::new();
    for name in ["node-a", "node-b"] {
        let options = BrokerOptions { node_id: Some(name.into()), ..BrokerOptions::default() };
        // Two that do not commute: the second one must be undone first.
        let scrambler = |key| {
            let (packets, remote_calls) = (Arc::clone(&packets), Arc::clone(&remote_calls));
            Arc::new(Scrambler { key, packets, remote_calls })
        };
        let node = ServiceBroker::builder(options)
            .transporter(Arc::new(Fake::new(Arc::clone(&bus), name)))
            .serializer(Arc::new(Json))
            .middleware(scrambler(0x55))
            .middleware(scrambler(0x17))
            .service(service(name))
            .build()
            .unwrap();
        wait::for_result("the start", node.start()).await.unwrap();
        nodes.push(node);
    }
    broker::wait_for(&nodes[0], &["node-b"]).await;
    packets.lock().clear();
    let answer = nodes[0].call("node-b.echo", broker::json(&json!([1])), CallOptions::default());
    assert_eq!(wait::for_result("an answer", answer).await.unwrap(), broker::json(&json!([1])));
    assert_eq!(*remote_calls.lock(), 2, "each middleware wraps calls to other nodes");
    let seen = packets.lock().clone();
    let count = |kind| seen.iter().filter(|seen| **seen == kind).count();
    assert_eq!((count("REQ"), count("RES")), (4, 4), "{seen:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn callbacks_run_and_refusals_end_the_start() {
    let log = Arc::<Mutex<Vec<&'static str>>>::default();
    let note = |what| {
        let log = Arc::clone(&log);
        move || log.lock().push(what)
    };
    let (created, started, stopped) = (note("created"), note("started"), note("stopped"));
    let node = ServiceBroker::builder(BrokerOptions::default())
        .service(service("one"))
        .created(move |_| created())
        .started(move |broker| async move {
            assert!(broker.get_local_service("one").is_some(), "services come first");
            started();
            Ok(())
        })
        .stopped(move |_| async move {
            stopped();
            Ok(())
        })
        .build()
        .unwrap();
    node.start().await.unwrap();
    let schema = node.get_local_service("one").unwrap();
    assert_eq!(schema.actions.len(), 1);
    let missing = node.destroy_service("two").await.unwrap_err();
    assert_eq!(missing.kind(), "SERVICE_NOT_FOUND");
    node.stop().await;
    assert_eq!(*log.lock(), ["created", "started", "stopped"]);

    let failing = service("failing");
    let failing = LocalService {
        started: Some(Box::new(|| {
            Box::pin(async { Err(MoleculerError::server("NOT_TODAY", "not today")) })
        })),
        ..failing
    };
    let node = ServiceBroker::builder(BrokerOptions::default()).service(failing).build().unwrap();
    let error = node.start().await.unwrap_err().to_string();
    assert!(error.contains("service 'failing'") && error.contains("not today"), "{error}");
    node.stop().await;
}
