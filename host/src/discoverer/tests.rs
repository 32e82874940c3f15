//! Nodes that find and lose each other on an in-process bus, with a paused clock.

use std::sync::Weak;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Map;

use super::*;
use crate::context::{Context, ContextBuilder};
use crate::metrics::MetricRegistry;
use crate::packet::{Info, PROTOCOL_VERSION};
use crate::payload::Payload;
use crate::registry::Lookup;
use crate::schema::{Bounds, ServiceSchema};
use crate::serializer::Json;
use crate::strategy::Subject;
use crate::transit::{self, Inbound, Notice, Reply};
use crate::transporter::Fake;
use crate::transporter::fake::{Bus, Verdict};

mod stored;

struct Node {
    id: Arc<str>,
    registry: Arc<RwLock<Registry>>,
    transit: Transit,
    discoverer: Discoverer,
    events: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

impl Node {
    fn new(bus: &Arc<Bus>, id: &str) -> Arc<Self> {
        Self::finding(bus, id, |_| None)
    }

    /// A node that finds others in a store, which is made with the ID of its run.
    fn finding(
        bus: &Arc<Bus>,
        id: &str,
        directory: impl FnOnce(&Arc<str>) -> Option<Directory>,
    ) -> Arc<Self> {
        let options = BrokerOptions::default();
        let instance_id = crate::uid::new();
        let info = Info { instance_id: Some(Arc::clone(&instance_id)), ..Info::default() };
        let registry = Registry::new(id.into(), info, &options.registry, clock::now());
        let registry = Arc::new(RwLock::new(registry));
        let events: Arc<Mutex<Vec<(&'static str, Value)>>> = Arc::default();
        let directory = directory(&instance_id);
        Arc::new_cyclic(|this: &Weak<Self>| {
            let inbound: Weak<dyn Inbound> = this.clone();
            let transit = Transit::new(
                transit::Settings {
                    disable_balancer: false,
                    namespace: String::new(),
                    node_id: id.into(),
                    chosen_id: false,
                    instance_id,
                    options: options.transit,
                    work: Handle::current(),
                    discovers: directory.is_none(),
                },
                Arc::new(Fake::new(Arc::clone(bus), id)),
                Arc::new(Json),
                inbound,
                &MetricRegistry::default(),
            );
            let told = Arc::clone(&events);
            let discoverer = Discoverer::new(
                Settings::from(&options),
                directory,
                Arc::clone(&registry),
                transit.clone(),
                Arc::new(move |name, data| told.lock().push((name, data))),
                Handle::current(),
                &CancellationToken::new(),
            );
            Self { id: id.into(), registry, transit, discoverer, events }
        })
    }

    async fn joined(bus: &Arc<Bus>, id: &str, actions: &[&str]) -> Arc<Self> {
        let node = Self::new(bus, id);
        node.offer(actions);
        node.transit.connect().await.unwrap();
        settle().await;
        node
    }

    /// Offers the service `s` with these actions.
    fn offer(&self, actions: &[&str]) {
        let actions: Map<String, Value> =
            actions.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let text = json!({"name": "s", "actions": actions}).to_string();
        let bounds = Bounds { len: 10_000, items: 100, internal: false };
        let schema = ServiceSchema::read(&text, &Map::new(), bounds).unwrap();
        let registered = self.registry.write().register_local(&schema, None);
        self.discoverer.announce(registered.shrunk.then(|| "s".into()));
    }

    fn knows(&self, action: &str) -> bool {
        matches!(
            self.registry.read().actions.next(action, true, Subject::default()),
            Lookup::Found(_)
        )
    }

    fn sees(&self, node: &str) -> Option<bool> {
        self.registry.read().nodes.get(node).map(|node| node.available)
    }

    fn told(&self, event: &str) -> usize {
        self.events.lock().iter().filter(|(name, _)| *name == event).count()
    }
}

impl Inbound for Node {
    fn handle_request(&self, _ctx: Context) -> BoxFuture<'static, Reply> {
        std::future::pending().boxed()
    }

    fn handle_event(&self, _ctx: Context) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    fn handle_node(&self, sender: Arc<str>, body: Body) {
        self.discoverer.handle_node(sender, body);
    }

    fn handle_notice(&self, notice: Notice) {
        match notice {
            Notice::Connected { was_reconnect } => self.discoverer.handle_connected(was_reconnect),
            Notice::Disconnected { .. } => self.discoverer.handle_disconnected(),
            other => panic!("{}: {other:?}", self.id),
        }
    }
}

/// Lets all tasks run that can; no time passes.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass in steps, so that tasks run in between.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// Records everything that is published as `topic from seq services`.
fn watch(bus: &Bus) -> Arc<Mutex<Vec<(String, Value)>>> {
    let packets = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&packets);
    bus.set_rule(move |delivery| {
        let packet = serde_json::from_slice(delivery.data).unwrap();
        seen.lock().push((delivery.topic.to_owned(), packet));
        Verdict::Deliver
    });
    packets
}

fn inject(bus: &Bus, topic: &str, mut packet: Value) {
    packet["ver"] = PROTOCOL_VERSION.into();
    packet["sender"] = "ghost".into();
    bus.inject(topic, &packet.to_string().into());
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_whoever_comes_first() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one"]).await;
    let b = Node::joined(&bus, "b", &["two"]).await;
    assert!(a.knows("s.two") && b.knows("s.one"));
    assert_eq!((a.told("$node.connected"), b.told("$node.connected")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_joining_does_not_answer() {
    let bus = Arc::new(Bus::default());
    let a = Node::new(&bus, "a");
    a.offer(&["one"]);
    let packets = watch(&bus);
    let mut joining = Box::pin(a.transit.connect());
    assert!(joining.as_mut().now_or_never().is_none());
    inject(&bus, "MOL.DISCOVER", json!({}));
    settle().await;
    assert!(packets.lock().iter().all(|(topic, _)| !topic.contains("INFO")));
    joining.await.unwrap();
    settle().await;
    assert!(packets.lock().iter().any(|(topic, _)| topic == "MOL.INFO"));
}

#[tokio::test(start_paused = true)]
async fn changes_within_the_debounce_time_are_one_info_with_a_higher_seq() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one"]).await;
    let b = Node::joined(&bus, "b", &[]).await;
    pass(Duration::from_secs(1)).await;
    let packets = watch(&bus);
    a.offer(&["one", "two"]);
    a.offer(&["one", "two", "three"]);
    pass(Duration::from_millis(100)).await;
    let infos: Vec<_> = packets.lock().drain(..).filter(|(topic, _)| topic == "MOL.INFO").collect();
    // One for each of the two receivers.
    assert_eq!(infos.len(), 2);
    assert!(b.knows("s.three"));
    let seq = b.registry.read().nodes.get("a").unwrap().info.seq;
    a.offer(&["one", "two", "three", "four"]);
    pass(Duration::from_millis(100)).await;
    assert_eq!(b.registry.read().nodes.get("a").unwrap().info.seq, seq + 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_lost_an_action_has_another_name_in_one_info() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one", "two"]).await;
    let _b = Node::joined(&bus, "b", &[]).await;
    pass(Duration::from_secs(1)).await;
    let packets = watch(&bus);
    a.offer(&["one"]);
    pass(Duration::from_millis(100)).await;
    let packets = packets.lock();
    let to_b: Vec<_> = packets.iter().step_by(2).map(|(_, packet)| packet).collect();
    assert_eq!(to_b.len(), 2);
    assert_eq!(to_b[0]["services"][0]["fullName"], "s~");
    assert_eq!(to_b[1]["services"][0]["fullName"], "s");
    assert_eq!(to_b[1]["services"][0]["actions"].as_object().unwrap().len(), 1);
    assert!(to_b[1]["seq"].as_u64() > to_b[0]["seq"].as_u64());
}

#[tokio::test(start_paused = true)]
async fn a_node_lives_as_long_as_it_beats() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &[]).await;
    let b = Node::joined(&bus, "b", &["one"]).await;
    pass(Duration::from_secs(300)).await;
    assert_eq!(a.sees("b"), Some(true));
    // Its packets are lost from now on, without a word.
    bus.set_rule(|delivery| if delivery.from == "b" { Verdict::Drop } else { Verdict::Deliver });
    let ctx = ContextBuilder::new("s.one".into(), "b".into())
        .with(|ctx| ctx.params = Payload::null())
        .build();
    let begun = clock::now();
    let error = a.transit.request(&ctx).await.unwrap_err();
    assert_eq!(error.name(), "RequestRejectedError");
    let took = clock::now() - begun;
    assert!(took > Duration::from_secs(19) && took < Duration::from_secs(38), "{took:?}");
    assert_eq!(a.sees("b"), Some(false));
    assert!(!a.knows("s.one"));
    let lost = a
        .events
        .lock()
        .iter()
        .any(|(name, data)| *name == "$node.disconnected" && data["unexpected"] == true);
    assert!(lost);
    // It is heard again: the heartbeat of a lost node is answered with a question.
    bus.clear_rule();
    pass(Duration::from_secs(12)).await;
    assert!(a.knows("s.one"));
    assert_eq!(b.sees("a"), Some(true));
    let back = a.events.lock().iter().any(|(_, data)| data["reconnected"] == true);
    assert!(back);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_gone_for_long_are_forgotten() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &[]).await;
    inject(&bus, "MOL.INFO", json!({"services": []}));
    inject(&bus, "MOL.DISCONNECT", json!({}));
    pass(Duration::from_secs(590)).await;
    assert_eq!(a.sees("ghost"), Some(false));
    pass(Duration::from_secs(80)).await;
    assert_eq!(a.sees("ghost"), None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lost_makes_nobody_lost() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one"]).await;
    let b = Node::joined(&bus, "b", &["two"]).await;
    bus.cut("a");
    pass(Duration::from_secs(120)).await;
    // The others cannot know better; the node itself hears nobody and says nothing.
    assert_eq!((a.sees("b"), b.sees("a")), (Some(true), Some(false)));
    bus.restore("a");
    settle().await;
    assert!(b.knows("s.one"));
    pass(Duration::from_secs(120)).await;
    assert_eq!((a.sees("b"), b.sees("a")), (Some(true), Some(true)));
    assert_eq!(a.told("$node.disconnected"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_first_offers_nothing_and_then_says_good_bye() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one"]).await;
    let b = Node::joined(&bus, "b", &[]).await;
    let begun = clock::now();
    a.discoverer.say_offering_nothing().await;
    assert!(clock::now() - begun >= Duration::from_millis(100));
    assert!(!b.knows("s.one"));
    assert_eq!(b.sees("a"), Some(true));
    // Nothing is offered again, whoever asks and whatever changes.
    inject(&bus, "MOL.DISCOVER.a", json!({}));
    a.offer(&["one", "two"]);
    pass(Duration::from_secs(1)).await;
    assert!(!b.knows("s.two"));
    a.transit.disconnect().await;
    assert_eq!(b.sees("a"), Some(false));
    let gone = b.events.lock().iter().any(|(_, data)| data["unexpected"] == false);
    assert!(gone);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_questions_is_bounded() {
    let bus = Arc::new(Bus::default());
    let a = Node::joined(&bus, "a", &["one"]).await;
    let packets = watch(&bus);
    for _ in 0..3 * OUTBOX_SIZE {
        inject(&bus, "MOL.DISCOVER", json!({}));
    }
    assert_eq!(a.discoverer.0.outbox.capacity(), 0);
    for _ in 0..100 {
        settle().await;
    }
    assert_eq!(a.discoverer.0.outbox.capacity(), OUTBOX_SIZE);
    // The ghost has no subscription: what is seen are the questions alone.
    assert_eq!(packets.lock().len(), 3 * OUTBOX_SIZE);
}
