//! Two or more transits on one in-process bus, with a paused clock.

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::context::{CallOptions, ContextBuilder, EventInfo, EventType};
use crate::handler::Handler;
use crate::payload::{Object, Payload};
use crate::serializer::Json;
use crate::transporter::Fake;
use crate::transporter::fake::{Bus, Verdict};

/// A node whose handlers do what the name of the action says.
pub(super) struct Node {
    pub(super) transit: Transit,
    metrics: MetricRegistry,
    notices: Mutex<Vec<Notice>>,
    nodes: Mutex<Vec<(Arc<str>, Body)>>,
    requests: Mutex<Vec<Context>>,
    events: Mutex<Vec<Context>>,
    /// What `x.own` does.
    pub(super) own: Mutex<Option<Handler>>,
    started: Notify,
    release: Arc<Notify>,
}

impl Node {
    fn new(bus: &Arc<Bus>, node_id: &str) -> Arc<Self> {
        Self::with_options(bus, node_id, |_| {})
    }

    pub(super) fn with_options(
        bus: &Arc<Bus>,
        node_id: &str,
        change: impl FnOnce(&mut config::Transit),
    ) -> Arc<Self> {
        let mut options = config::BrokerOptions::default().transit;
        change(&mut options);
        let settings = Settings {
            disable_balancer: false,
            namespace: "t".into(),
            node_id: node_id.into(),
            chosen_id: true,
            instance_id: crate::uid::new(),
            options,
            work: Handle::current(),
            discovers: true,
        };
        let metrics = MetricRegistry::default();
        Arc::new_cyclic(|this: &Weak<Self>| {
            let inbound: Weak<dyn Inbound> = this.clone();
            let transporter = Arc::new(Fake::new(Arc::clone(bus), node_id));
            let transit = Transit::new(settings, transporter, Arc::new(Json), inbound, &metrics);
            Self {
                transit,
                metrics,
                notices: Mutex::default(),
                nodes: Mutex::default(),
                requests: Mutex::default(),
                events: Mutex::default(),
                own: Mutex::default(),
                started: Notify::new(),
                release: Arc::default(),
            }
        })
    }

    pub(super) async fn joined(bus: &Arc<Bus>, node_id: &str) -> Arc<Self> {
        let node = Self::new(bus, node_id);
        node.transit.connect().await.unwrap();
        node
    }

    pub(super) fn metric(&self, name: &'static str) -> i64 {
        self.metrics.metric(name).get()
    }

    async fn call(&self, action: &str, target: &str) -> Outcome {
        self.transit.request(&context(action, target)).await
    }
}

impl Inbound for Node {
    fn handle_request(&self, ctx: Context) -> BoxFuture<'static, Reply> {
        if &*ctx.name != "x.own" {
            self.requests.lock().push(ctx.clone());
        }
        self.started.notify_one();
        let release = Arc::clone(&self.release);
        let name = Arc::clone(&ctx.name);
        let answered = ctx.clone();
        let done = |outcome| Reply { ctx: answered, outcome, resolved: true };
        match &*name {
            "x.own" => {
                let own = self.own.lock().clone();
                async move { done(own.unwrap()(ctx).await) }.boxed()
            }
            "x.panic-early" => panic!("early"),
            "x.panic" => async { panic!("late") }.boxed(),
            "x.wait" => async move {
                release.notified().await;
                done(Ok(Payload::null()))
            }
            .boxed(),
            "x.large" => {
                let large = Payload::from_value(&"x".repeat(2_000)).unwrap();
                std::future::ready(done(Ok(large))).boxed()
            }
            "x.fail" => {
                let error =
                    MoleculerError::client(409, "CONFLICT", "no").with_data(&json!({"x": 1}));
                ctx.merge_meta(&object("{\"b\":2}"));
                std::future::ready(done(Err(error))).boxed()
            }
            "x.unknown" => {
                let outcome = Err(MoleculerError::service_not_found(&name, Some("b")));
                std::future::ready(Reply { ctx, outcome, resolved: false }).boxed()
            }
            _ => {
                ctx.merge_meta(&object("{\"b\":2}"));
                ctx.merge_response_headers(&object("{\"r\":1}"));
                std::future::ready(done(Ok(ctx.params.clone()))).boxed()
            }
        }
    }

    fn handle_event(&self, ctx: Context) -> BoxFuture<'static, ()> {
        assert_ne!(&*ctx.name, "x.panic");
        let waits = &*ctx.name == "x.wait";
        self.events.lock().push(ctx);
        let release = Arc::clone(&self.release);
        async move {
            if waits {
                release.notified().await;
            }
        }
        .boxed()
    }

    fn handle_node(&self, sender: Arc<str>, body: Body) {
        assert_ne!(&*sender, "panic");
        self.nodes.lock().push((sender, body));
    }

    fn handle_notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }
}

pub(super) fn object(text: &'static str) -> Object {
    Object::from_json_text(text.into()).unwrap()
}

pub(super) fn context(action: &str, target: &str) -> Context {
    ContextBuilder::new(action.into(), target.into())
        .with(|ctx| {
            ctx.params = Payload::Json("{\"p\":1}".into());
            ctx.options = CallOptions::default();
        })
        .meta(object("{\"a\":1}"))
        .build()
}

/// Lets all tasks run that can.
pub(super) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Records the packets of one topic as JSON.
fn watch(bus: &Bus, topic: &'static str) -> Arc<Mutex<Vec<Value>>> {
    let packets = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&packets);
    bus.set_rule(move |delivery| {
        if delivery.topic == topic {
            seen.lock().push(serde_json::from_slice(delivery.data).unwrap());
        }
        Verdict::Deliver
    });
    packets
}

pub(super) fn inject(bus: &Bus, topic: &str, packet: &Value) {
    bus.inject(topic, &packet.to_string().into());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_and_meta_goes_both_ways() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let ctx = context("x.echo", "b");
    assert_eq!(a.transit.request(&ctx).await.unwrap(), Payload::Json("{\"p\":1}".into()));
    assert_eq!(ctx.meta().as_str(), r#"{"a":1,"b":2}"#);
    let seen = b.requests.lock().pop().unwrap();
    assert_eq!((&seen.id, &seen.request_id, &*seen.node_id), (&ctx.id, &ctx.request_id, "a"));
    assert!(seen.deadline().is_none());
    assert_eq!(seen.options.timeout, Some(Duration::ZERO));
    assert_eq!(a.transit.pending_requests(), 0);
    assert_eq!(a.metric("moleculer.transit.requests.active"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_fields_and_brings_meta() {
    let bus = Arc::new(Bus::default());
    let (a, _b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let ctx = context("x.fail", "b");
    let error = a.transit.request(&ctx).await.unwrap_err();
    assert_eq!(
        (error.name(), error.code(), error.kind()),
        ("MoleculerClientError", 409, "CONFLICT")
    );
    assert_eq!(error.fields().node_id.as_deref(), Some("b"));
    assert_eq!(error.fields().data.as_deref(), Some("{\"x\":1}"));
    assert_eq!(ctx.meta().as_str(), r#"{"a":1,"b":2}"#);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_time_travels_with_the_request() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let ctx = context("x.echo", "b");
    ctx.start_deadline(crate::clock::now(), Duration::from_secs(2));
    tokio::time::advance(Duration::from_micros(1_500_100)).await;
    a.transit.request(&ctx).await.unwrap();
    let seen = b.requests.lock().pop().unwrap();
    assert_eq!(seen.deadline().unwrap().timeout, Duration::from_millis(500));
    assert_eq!(seen.options.timeout, Some(Duration::from_millis(500)));
}

#[tokio::test(start_paused = true)]
async fn response_headers_go_with_the_answer_and_are_null_for_an_unresolved_action() {
    let bus = Arc::new(Bus::default());
    let (a, _b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let answers = watch(&bus, "MOL-t.RES.a");
    assert_eq!(a.call("x.unknown", "b").await.unwrap_err().kind(), "SERVICE_NOT_FOUND");
    a.call("x.echo", "b").await.unwrap();
    let answers = answers.lock();
    assert_eq!(answers[0]["headers"], Value::Null);
    assert_eq!(answers[1]["headers"], json!({"r": 1}));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_request_leaves_nothing_behind() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let call = tokio::time::timeout(Duration::from_secs(1), a.call("x.wait", "b"));
    assert!(call.await.is_err());
    assert_eq!(a.transit.pending_requests(), 0);
    b.release.notify_one();
    settle().await;
    assert_eq!(a.metric("moleculer.transit.orphan.response.total"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubled_response_is_dropped_and_counted() {
    let bus = Arc::new(Bus::default());
    let (a, _b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    bus.set_rule(|delivery| {
        if delivery.topic.contains(".RES.") { Verdict::Duplicate } else { Verdict::Deliver }
    });
    a.call("x.echo", "b").await.unwrap();
    assert_eq!(a.metric("moleculer.transit.orphan.response.total"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_waiting_requests_is_bounded() {
    let bus = Arc::new(Bus::default());
    let a = Node::with_options(&bus, "a", |options| options.max_queue_size = 1);
    a.transit.connect().await.unwrap();
    let _b = Node::joined(&bus, "b").await;
    let mut first = Box::pin(a.call("x.wait", "b"));
    assert!(first.as_mut().now_or_never().is_none());
    let error = a.call("x.echo", "b").await.unwrap_err();
    assert_eq!(error.name(), "QueueIsFullError");
    drop(first);
    a.call("x.echo", "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_rejects_what_waits_for_it() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let reject = async {
        b.started.notified().await;
        a.transit.reject_node("b");
    };
    let (outcome, ()) = tokio::join!(a.call("x.wait", "b"), reject);
    assert_eq!(outcome.unwrap_err().name(), "RequestRejectedError");
    assert_eq!(a.transit.pending_requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_answered_once() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let answers = watch(&bus, "MOL-t.RES.a");
    for action in ["x.panic", "x.panic-early"] {
        assert_eq!(a.call(action, "b").await.unwrap_err().code(), 500);
    }
    settle().await;
    assert_eq!(answers.lock().len(), 2);
    assert_eq!(b.metric("isomer.transit.inbound.requests.active"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_refuses_and_then_answers_what_still_runs() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let stop = async {
        b.started.notified().await;
        b.transit.stop_intake();
        let refused = a.call("x.echo", "b").await.unwrap_err();
        assert_eq!(refused.name(), "ServiceNotAvailableError");
        b.transit.disconnect().await;
    };
    let (running, ()) = tokio::join!(a.call("x.wait", "b"), stop);
    assert_eq!(running.unwrap_err().name(), "ServiceNotAvailableError");
    let left = a.nodes.lock().pop().unwrap();
    assert!(matches!(left.1, Body::Disconnect));
    assert!(matches!(b.notices.lock().last(), Some(Notice::Disconnected { graceful: true })));
    assert!(!b.transit.connected());
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_the_own_requests_too() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let leave = async {
        b.started.notified().await;
        a.transit.disconnect().await;
    };
    let (outcome, ()) = tokio::join!(a.call("x.wait", "b"), leave);
    assert_eq!(outcome.unwrap_err().name(), "BrokerDisconnectedError");
}

#[tokio::test(start_paused = true)]
async fn another_protocol_version_is_refused_and_told() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    for ver in [json!("4"), json!(5), Value::Null] {
        let packet = json!({"id": "1", "action": "x.echo", "ver": ver, "sender": "a"});
        inject(&bus, "MOL-t.REQ.b", &packet);
    }
    // An older version may lack what this one needs: that is no damage.
    inject(&bus, "MOL-t.PING.b", &json!({"ver": "2", "sender": "old"}));
    settle().await;
    assert_eq!(b.metric("isomer.transit.packets.refused.version"), 4);
    assert!(b.requests.lock().is_empty());
    assert_eq!(a.metric("moleculer.transit.orphan.response.total"), 0);
    let told = |notice: &Notice| {
        matches!(notice, Notice::TransitError { error, kind: "failedProcessingPacket" }
            if error.kind() == "PROTOCOL_VERSION_MISMATCH")
    };
    assert_eq!(b.notices.lock().iter().filter(|notice| told(notice)).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_version_check_can_be_switched_off() {
    let bus = Arc::new(Bus::default());
    let b = Node::with_options(&bus, "b", |options| options.disable_version_check = true);
    b.transit.connect().await.unwrap();
    inject(&bus, "MOL-t.HEARTBEAT", &json!({"cpu": 1, "ver": "4", "sender": "old"}));
    assert_eq!(b.nodes.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn damaged_packets_are_counted_and_change_nothing() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let corpus: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"{\"ver\":\"5\"}",
        b"{\"ver\":\"5\",\"sender\":\"a\",\"id\":{}}",
        b"{\"ver\":\"5\",\"sender\":\"a\",\"id\":\"1\",\"action\":null}",
        b"GET / HTTP/1.1",
    ];
    for data in corpus {
        bus.inject("MOL-t.REQ.b", &Bytes::from_static(data));
    }
    bus.inject("MOL-t.UNKNOWN.b", &Bytes::from_static(b"{}"));
    settle().await;
    assert_eq!(b.metric("isomer.transit.packets.refused.malformed"), 9);
    a.call("x.echo", "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_behind_a_packet_ends_nothing() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    inject(&bus, "MOL-t.HEARTBEAT", &json!({"cpu": 1, "ver": "5", "sender": "panic"}));
    let event = json!({"id": "1", "event": "x.panic", "ver": "5", "sender": "a"});
    inject(&bus, "MOL-t.EVENT.b", &event);
    settle().await;
    assert_eq!(b.metric("isomer.transit.inbound.events.active"), 0);
    a.call("x.echo", "b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn packets_that_are_too_large_give_an_error_on_either_way() {
    let bus = Arc::new(Bus::default());
    let a = Node::with_options(&bus, "a", |options| options.max_packet_size = 1_000);
    let b = Node::with_options(&bus, "b", |options| options.max_packet_size = 1_000);
    let big = Node::joined(&bus, "big").await;
    a.transit.connect().await.unwrap();
    b.transit.connect().await.unwrap();
    let too_large = |outcome: Outcome| {
        assert_eq!(outcome.unwrap_err().name(), "PayloadTooLargeError");
    };
    // The answer does not fit: the callee says so instead of leaving the caller without one.
    too_large(a.call("x.large", "b").await);
    // The request does not fit.
    let ctx = context("x.echo", "b").copy().with(|ctx| {
        ctx.params = Payload::from_value(&"x".repeat(1_000)).unwrap();
    });
    too_large(a.transit.request(&ctx.build()).await);
    assert_eq!(a.transit.pending_requests(), 0);
    // A packet from elsewhere does not fit.
    big.transit.send_event(&context("e", "b"), &"b".into(), None).await.unwrap();
    let data = Payload::from_value(&"x".repeat(1_000)).unwrap();
    let ctx = context("e", "b").copy().with(|ctx| ctx.params = data).build();
    big.transit.send_event(&ctx, &"b".into(), None).await.unwrap();
    settle().await;
    assert_eq!(b.metric("isomer.transit.packets.refused.size"), 1);
    assert_eq!(b.events.lock().len(), 1);
    // The server does not take it.
    bus.set_payload_max(100);
    too_large(big.call("x.echo", "b").await);
}

#[tokio::test(start_paused = true)]
async fn another_process_with_the_same_node_id_is_noticed() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a").await;
    let own = Arc::clone(&a.transit.0.settings.instance_id);
    let info =
        |instance: &str| json!({"services": [], "instanceID": instance, "ver": "5", "sender": "a"});
    inject(&bus, "MOL-t.INFO", &info(&own));
    assert_eq!(a.notices.lock().len(), 1);
    inject(&bus, "MOL-t.INFO", &info("other"));
    assert!(matches!(
        a.notices.lock().last(),
        Some(Notice::DuplicateNodeId { instance_id: Some(_) })
    ));
    // Other packets of its own are nothing to it.
    inject(&bus, "MOL-t.HEARTBEAT", &json!({"cpu": 1, "ver": "5", "sender": "a"}));
    assert!(a.nodes.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_id_is_taken_announces_nothing() {
    let bus = Arc::new(Bus::default());
    let first = Node::joined(&bus, "a").await;
    let heard = watch(&bus, "MOL-t.INFO");
    let second = Node::new(&bus, "a");
    let refused = second.transit.connect().await.unwrap_err();
    assert!(matches!(refused, Error::DuplicateNodeId { .. }), "{refused}");
    assert!(refused.to_string().contains("'a'") && refused.to_string().contains("--node-id"));
    assert!(heard.lock().is_empty(), "{heard:?}");
    assert!(first.notices.lock().iter().all(|n| !matches!(n, Notice::DuplicateNodeId { .. })));
    // Whoever comes after the first has gone is welcome.
    first.transit.disconnect().await;
    Node::joined(&bus, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_process_that_announces_itself_first_is_made_way_for() {
    let bus = Arc::new(Bus::default());
    let node = Node::new(&bus, "a");
    let joining = node.transit.connect();
    let twin = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let info = json!({"services": [], "instanceID": "other", "ver": "5", "sender": "a"});
        inject(&bus, "MOL-t.INFO", &info);
    };
    let (refused, ()) = tokio::join!(joining, twin);
    assert!(matches!(refused, Err(Error::DuplicateNodeId { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_told_and_comes_back() {
    let bus = Arc::new(Bus::default());
    let (a, _b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    bus.cut("a");
    assert!(!a.transit.connected());
    let error = a.call("x.echo", "b").await.unwrap_err();
    assert_eq!(error.name(), "BrokerDisconnectedError");
    bus.restore("a");
    a.call("x.echo", "b").await.unwrap();
    let notices = a.notices.lock();
    assert!(matches!(notices[1], Notice::Disconnected { graceful: false }));
    assert!(matches!(notices.last(), Some(Notice::Connected { was_reconnect: true })));
}

#[tokio::test(start_paused = true)]
async fn connecting_is_tried_again_until_it_works_or_the_node_stops() {
    let bus = Arc::new(Bus::default());
    let a = Node::new(&bus, "a");
    bus.cut("a");
    let begun = crate::clock::now();
    let restore = async {
        tokio::time::advance(Duration::from_secs(7)).await;
        bus.restore("a");
    };
    let (joined, ()) = tokio::join!(a.transit.connect(), restore);
    joined.unwrap();
    // The second attempt comes after 5 s or, when the clock has jumped further, at once.
    assert!(crate::clock::now() - begun >= Duration::from_millis(7_500));

    let impatient = Node::with_options(&bus, "b", |options| options.disable_reconnect = true);
    bus.cut("b");
    assert!(matches!(impatient.transit.connect().await, Err(Error::Transporter(_))));

    let stopped = Node::new(&bus, "b");
    let (joined, ()) = tokio::join!(stopped.transit.connect(), stopped.transit.disconnect());
    assert!(matches!(joined, Err(Error::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_by_transit_itself() {
    let bus = Arc::new(Bus::default());
    let (a, _b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let second = Duration::from_secs(1);
    let result = a.transit.ping(&"b".into(), second).await.unwrap().unwrap();
    assert_eq!(&*result.node_id, "b");
    assert!(matches!(a.notices.lock().last(), Some(Notice::Pong(told)) if *told == result));
    assert_eq!(a.transit.ping(&"nobody".into(), second).await.unwrap(), None);
    assert_eq!(a.metric("isomer.transit.pings.active"), 0);
}

#[tokio::test(start_paused = true)]
async fn events_bring_their_groups_and_their_chain() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let event = |kind: EventType| {
        let info = EventInfo { kind, groups: Arc::new([]) };
        context("user.created", "a").copy().with(|ctx| ctx.event = Some(info)).build()
    };
    let emitted = event(EventType::Emit);
    a.transit.send_event(&emitted, &"b".into(), Some(vec!["g".into()])).await.unwrap();
    a.transit.send_event(&event(EventType::Broadcast), &"b".into(), None).await.unwrap();
    settle().await;
    let events = b.events.lock();
    let info = events[0].event.as_ref().unwrap();
    assert_eq!((info.kind, &*info.groups), (EventType::Emit, &[Arc::from("g")][..]));
    assert_ne!(events[0].id, emitted.id);
    assert_eq!(events[0].request_id, emitted.request_id);
    assert_eq!(events[0].tracing, Some(false));
    assert_eq!(events[1].event.as_ref().unwrap().kind, EventType::Broadcast);
}

#[tokio::test(start_paused = true)]
async fn requests_from_outside_are_bounded() {
    let bus = Arc::new(Bus::default());
    let (_a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let answers = watch(&bus, "MOL-t.RES.a");
    for n in 0..=INBOUND_REQUESTS_MAX {
        let packet = json!({"id": n.to_string(), "action": "x.wait", "ver": "5", "sender": "a"});
        inject(&bus, "MOL-t.REQ.b", &packet);
    }
    while b.requests.lock().len() < INBOUND_REQUESTS_MAX || answers.lock().is_empty() {
        settle().await;
    }
    assert_eq!(b.requests.lock().len(), INBOUND_REQUESTS_MAX);
    assert_eq!(answers.lock().len(), 1);
    assert_eq!(answers.lock()[0]["error"]["name"], "QueueIsFullError");
    b.transit.disconnect().await;
    assert_eq!(answers.lock().len(), INBOUND_REQUESTS_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn events_from_outside_are_bounded() {
    let bus = Arc::new(Bus::default());
    let (_a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let send = |n: usize| {
        let packet = json!({"id": n.to_string(), "event": "x.wait", "data": null, "groups": [],
            "broadcast": false, "ver": "5", "sender": "a"});
        inject(&bus, "MOL-t.EVENT.b", &packet);
    };
    (0..INBOUND_EVENTS_MAX).for_each(send);
    while b.events.lock().len() < INBOUND_EVENTS_MAX {
        settle().await;
    }
    assert_eq!(b.metric("isomer.transit.packets.refused.overload"), 0);
    send(INBOUND_EVENTS_MAX);
    while b.metric("isomer.transit.packets.refused.overload") == 0 {
        settle().await;
    }
    assert_eq!(b.events.lock().len(), INBOUND_EVENTS_MAX);
    b.release.notify_waiters();
    while b.metric("isomer.transit.inbound.events.active") > 0 {
        settle().await;
    }
    send(0);
    while b.events.lock().len() == INBOUND_EVENTS_MAX {
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_bounded_on_either_side() {
    let bus = Arc::new(Bus::default());
    let (a, b) = (Node::joined(&bus, "a").await, Node::joined(&bus, "b").await);
    let (nobody, second): (Arc<str>, _) = ("nobody".into(), Duration::from_secs(1));
    let mut pings: Vec<_> =
        (0..PINGS_MAX).map(|_| Box::pin(a.transit.ping(&nobody, second))).collect();
    for ping in &mut pings {
        assert!(futures_util::poll!(ping.as_mut()).is_pending());
    }
    let refused = a.transit.ping(&nobody, second).await.unwrap_err();
    assert_eq!(refused.kind(), "PING_QUEUE_FULL");
    drop(pings);
    assert_eq!(a.transit.ping(&nobody, second).await.unwrap(), None);
    let answers = watch(&bus, "MOL-t.PONG.a");
    for n in 0..=PONGS_MAX {
        let packet = json!({"time": 1, "id": n.to_string(), "ver": "5", "sender": "a"});
        inject(&bus, "MOL-t.PING.b", &packet);
    }
    while answers.lock().len() < PONGS_MAX {
        settle().await;
    }
    assert_eq!(b.metric("isomer.transit.packets.refused.overload"), 1);
}
