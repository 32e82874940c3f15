//! A large mesh in one process: a broker of ours among simulated peers, on the in-process bus with a paused clock.
//!
//! The broker is a whole one, with real transit and registry. The peers are no brokers: they send the packets that
//! nodes of Moleculer send, and answer those that the broker sends. What goes over the bus is counted by kind. Tests
//! that use it have `start_paused = true`: to sleep here is to let that clock go on.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Weak};
use std::time::Duration;
#[expect(
    clippy::disallowed_types,
    reason = "how long work takes, while the clock of tokio is paused"
)]
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use isomer_host::broker::ServiceBroker;
use isomer_host::memory;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use isomer_host::transporter::fake::{Bus, Fake, Verdict};
use isomer_host::transporter::{Event, Listener, Transporter as _};
use isomer_host::uid;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{broker, mirror};

/// The broker in the midst.
const OBSERVER: &str = "observer";

/// All peers together are one member of the bus, so that the bus does not have to serve each.
const CROWD: &str = "crowd";

/// Of each service.
const ACTIONS: [&str; 3] = ["list", "get", "create"];

/// Time between two heartbeats of a peer, and after which silence it is lost: the defaults of both sides.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LOST: Duration = Duration::from_secs(30);

/// How large a mesh is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes, the broker included.
    pub nodes: usize,
    /// Services of each node, the broker included.
    pub services: usize,
}

/// Packets and their bytes by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic(BTreeMap<String, (u64, u64)>);

impl Traffic {
    fn count(&mut self, kind: &str, size: usize) {
        let (packets, bytes) = self.0.entry(kind.to_owned()).or_default();
        *packets += 1;
        *bytes += size as u64;
    }

    /// Packets by kind.
    #[must_use]
    pub fn packets(&self) -> BTreeMap<&str, u64> {
        self.0.iter().map(|(kind, (packets, _))| (kind.as_str(), *packets)).collect()
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |(kind, (packets, bytes)): (&String, &(u64, u64))| {
            format!("{packets} {kind} ({})", kib(*bytes))
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        if rows.is_empty() { f.write_str("–") } else { f.write_str(&rows.join(", ")) }
    }
}

fn kib(bytes: u64) -> String {
    if bytes < 10 << 10 { format!("{bytes} B") } else { format!("{} KiB", bytes >> 10) }
}

/// What the broker saw and did while something happened.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What happened.
    pub name: &'static str,
    /// What came to the broker.
    pub received: Traffic,
    /// What it sent, counted once even if all were meant.
    pub sent: Traffic,
    /// Time for which the broker worked on what came.
    pub busy: Duration,
    /// Other nodes that the broker can reach afterwards.
    pub reachable: usize,
    /// Endpoints of other nodes that it knows afterwards: actions and events.
    pub endpoints: usize,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Report {
    /// Of the mesh.
    pub size: Size,
    /// In their order.
    pub stages: Vec<Stage>,
    /// Physical memory of this process before others joined, with all of them, and after they were forgotten.
    pub resident: [u64; 3],
    /// Size of one INFO of a peer.
    pub info_size: usize,
}

/// Packets on their way, and the time that their taking in took.
#[derive(Debug, Default)]
struct Seen {
    received: Traffic,
    sent: Traffic,
    busy: Duration,
}

/// A peer and its packets.
struct Peer {
    id: String,
    info: Bytes,
    heartbeat: Bytes,
    silent: bool,
}

/// All peers.
struct Crowd {
    fake: Fake,
    peers: Mutex<Vec<Peer>>,
    seen: Arc<Mutex<Seen>>,
}

/// What comes for the peers.
struct Ears(Weak<Crowd>);

impl Listener for Ears {
    fn handle_message(&self, topic: &str, data: Bytes) {
        let Some(crowd) = self.0.upgrade() else { return };
        let packet: Value = serde_json::from_slice(&data).unwrap();
        let Some(asked) = topic.strip_prefix("MOL.DISCOVER") else { return };
        if packet["sender"] != OBSERVER {
            return;
        }
        let asked = asked.trim_start_matches('.');
        let answers: Vec<_> = {
            let peers = crowd.peers.lock();
            let asked = peers.iter().filter(|peer| asked.is_empty() || peer.id == asked);
            asked.filter(|peer| !peer.silent).map(|peer| peer.info.clone()).collect()
        };
        for info in answers {
            crowd.send(&format!("MOL.INFO.{OBSERVER}"), info);
        }
    }

    fn handle_event(&self, _event: Event) {}
}

/// The services that every node offers.
fn services(count: usize) -> impl Iterator<Item = (String, Map<String, Value>)> {
    (0..count).map(|n| {
        let name = format!("service-{n}");
        let params = json!({"id": {"type": "string", "min": 1}, "limit": "number|optional"});
        let actions = ACTIONS.map(|action| {
            let definition = json!({"rawName": action, "params": params, "cache": false});
            (action.to_owned(), definition)
        });
        (name, Map::from_iter(actions))
    })
}

fn info(id: &str, run: usize, count: usize) -> Bytes {
    let items: Vec<_> = services(count)
        .map(|(name, actions)| {
            let actions = actions.into_iter().map(|(action, mut definition)| {
                let full_name = format!("{name}.{action}");
                definition["name"] = full_name.clone().into();
                (full_name, definition)
            });
            json!({
                "name": name, "fullName": name, "settings": {}, "metadata": {},
                "actions": Map::from_iter(actions),
                "events": {"user.created": {"name": "user.created"}, (format!("{name}.*")): {"name": format!("{name}.*")}},
            })
        })
        .collect();
    let packet = json!({
        "ver": "5", "sender": id, "services": items, "config": {}, "ipList": ["10.0.0.1"],
        "hostname": format!("host-{id}"), "metadata": {}, "seq": 1,
        "client": {"type": "nodejs", "version": "0.15.0", "langVersion": "v22.0.0"},
        "instanceID": format!("{id}-{run}"),
    });
    packet.to_string().into()
}

impl Crowd {
    async fn join(bus: &Arc<Bus>, size: Size) -> Arc<Self> {
        let peers = (1..size.nodes).map(|n| {
            let id = format!("peer-{n:03}");
            let heartbeat = json!({"ver": "5", "sender": id, "cpu": 7}).to_string().into();
            Peer { info: info(&id, 1, size.services), heartbeat, silent: true, id }
        });
        let crowd = Arc::new(Self {
            fake: Fake::new(Arc::clone(bus), CROWD),
            peers: Mutex::new(peers.collect()),
            seen: Arc::default(),
        });
        crowd.fake.connect(Arc::new(Ears(Arc::downgrade(&crowd)))).await.unwrap();
        let mut topics: Vec<String> = ["DISCOVER", "INFO", "HEARTBEAT", "DISCONNECT"]
            .map(|kind| format!("MOL.{kind}"))
            .into();
        for peer in crowd.peers.lock().iter() {
            topics.extend(["DISCOVER", "INFO"].map(|kind| format!("MOL.{kind}.{}", peer.id)));
        }
        crowd.fake.subscribe(topics).await.unwrap();
        let seen = Arc::clone(&crowd.seen);
        bus.set_rule(move |delivery| {
            let kind = delivery.topic.split('.').nth(1).unwrap_or_default();
            let mut seen = seen.lock();
            match (delivery.from, delivery.to) {
                (OBSERVER, CROWD) => seen.sent.count(kind, delivery.data.len()),
                (CROWD, OBSERVER) => seen.received.count(kind, delivery.data.len()),
                _ => {}
            }
            Verdict::Deliver
        });
        crowd
    }

    /// Sends a packet; whoever receives it has taken it in afterwards.
    #[expect(clippy::disallowed_types, reason = "as above")]
    fn send(&self, topic: &str, packet: Bytes) {
        let begin = Instant::now();
        let sent = self.fake.publish(topic, packet).now_or_never();
        self.seen.lock().busy += begin.elapsed();
        assert!(matches!(sent, Some(Ok(()))), "{topic}: {sent:?}");
    }

    fn say(&self, kind: &str, peer: usize) {
        let id = self.peers.lock()[peer].id.clone();
        let packet = json!({"ver": "5", "sender": id}).to_string();
        self.send(&format!("MOL.{kind}"), packet.into());
    }

    /// A peer joins as Moleculer's do: it asks who is there, tells what it offers, and shows that it lives.
    async fn enter(&self, peer: usize) {
        self.say("DISCOVER", peer);
        let (info, heartbeat) = {
            let mut peers = self.peers.lock();
            let peer = &mut peers[peer];
            peer.silent = false;
            (peer.info.clone(), peer.heartbeat.clone())
        };
        self.send("MOL.INFO", info);
        self.send("MOL.HEARTBEAT", heartbeat);
        settle().await;
    }

    fn leave(&self, peer: usize) {
        self.peers.lock()[peer].silent = true;
        self.say("DISCONNECT", peer);
    }

    /// All that are not silent show that they live, for so long.
    async fn live(&self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let step = left.min(HEARTBEAT);
            tokio::time::sleep(step).await;
            let beats: Vec<_> = {
                let peers = self.peers.lock();
                let live = peers.iter().filter(|peer| !peer.silent);
                live.map(|peer| peer.heartbeat.clone()).collect()
            };
            for beat in beats {
                self.send("MOL.HEARTBEAT", beat);
            }
            settle().await;
            left -= step;
        }
    }
}

/// Lets the broker do what it has to do now.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Physical memory of this process, without what the allocator keeps for later.
fn resident() -> u64 {
    memory::give_back();
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

struct Simulation {
    bus: Arc<Bus>,
    crowd: Arc<Crowd>,
    observer: ServiceBroker,
    stages: Vec<Stage>,
}

impl Simulation {
    /// Notes what was seen since the last stage.
    fn end_stage(&mut self, name: &'static str) {
        let seen = std::mem::take(&mut *self.crowd.seen.lock());
        let registry = self.observer.registry().read();
        let reachable = registry.nodes.iter().filter(|node| node.available && !node.local).count();
        let actions = registry.actions.iter().map(|(_, list)| list);
        let events = registry.events.lists().map(|entry| &entry.list);
        let remote =
            actions.chain(events).flat_map(|list| list.endpoints()).filter(|one| !one.local);
        let endpoints = remote.count();
        drop(registry);
        let Seen { received, sent, busy } = seen;
        self.stages.push(Stage { name, received, sent, busy, reachable, endpoints });
    }
}

async fn offer(broker: &ServiceBroker, name: &str, actions: &Map<String, Value>) {
    let handler = || mirror::action(|_| async { Ok(Payload::null()) });
    let handlers = actions.keys().map(|name| (name.as_str(), handler())).collect();
    let schema = json!({"name": name, "actions": actions});
    broker.add_service(LocalService::native(&schema, handlers, vec![]).unwrap()).await.unwrap();
}

/// Lets a mesh come, beat, break, heal, change and go, and reports what the broker had to do with it.
///
/// # Panics
/// When a peer or the broker cannot send.
pub async fn simulate(size: Size) -> Report {
    let name = uid::new().to_string();
    let bus = Bus::named(&name);
    let crowd = Crowd::join(&bus, size).await;
    let observer = broker::start(broker::on_bus(OBSERVER, &name)).await;
    for (name, actions) in services(size.services) {
        offer(&observer, &name, &actions).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let info_size = crowd.peers.lock()[0].info.len();
    *crowd.seen.lock() = Seen::default();
    let before = resident();
    let mut mesh = Simulation { bus, crowd, observer, stages: Vec::new() };
    let all = 0..size.nodes - 1;
    let some = 0..(size.nodes / 10).max(1);

    for peer in all.clone() {
        mesh.crowd.enter(peer).await;
    }
    mesh.end_stage("all join, one after the other");
    let joined = resident();

    mesh.crowd.live(6 * HEARTBEAT).await;
    mesh.end_stage("a minute passes");
    for peer in some.clone() {
        mesh.crowd.peers.lock()[peer].silent = true;
    }
    mesh.crowd.live(LOST + HEARTBEAT).await;
    mesh.end_stage("a tenth falls silent for 40 s");
    for peer in some.clone() {
        mesh.crowd.peers.lock()[peer].silent = false;
    }
    mesh.crowd.live(HEARTBEAT).await;
    mesh.end_stage("the silent ones are heard again");
    for peer in some.clone() {
        mesh.crowd.leave(peer);
    }
    settle().await;
    mesh.end_stage("a tenth leaves with a good-bye");
    for peer in some {
        let id = mesh.crowd.peers.lock()[peer].id.clone();
        mesh.crowd.peers.lock()[peer].info = info(&id, 2, size.services);
        mesh.crowd.enter(peer).await;
    }
    mesh.end_stage("it returns, restarted");

    let more = Map::from_iter([("x".to_owned(), json!({})), ("y".to_owned(), json!({}))]);
    offer(&mesh.observer, "more", &more).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    mesh.end_stage("the broker has one more service");
    let fewer = Map::from_iter([("x".to_owned(), json!({}))]);
    offer(&mesh.observer, "more", &fewer).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    mesh.end_stage("one of its actions goes");

    mesh.bus.cut(OBSERVER);
    tokio::time::sleep(Duration::from_secs(5)).await;
    mesh.bus.restore(OBSERVER);
    settle().await;
    mesh.end_stage("the broker loses its connection for 5 s");

    for peer in all {
        mesh.crowd.leave(peer);
    }
    settle().await;
    mesh.end_stage("all leave");
    tokio::time::sleep(Duration::from_secs(700)).await;
    mesh.end_stage("the nodes that have left are forgotten");
    let after = resident();
    mesh.observer.stop().await;
    Report { size, stages: mesh.stages, resident: [before, joined, after], info_size }
}

impl Report {
    /// Bytes of memory for each other node.
    #[must_use]
    pub fn bytes_per_node(&self) -> u64 {
        let [before, joined, _] = self.resident;
        joined.saturating_sub(before) / (self.size.nodes as u64 - 1)
    }

    /// The stage of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn stage(&self, name: &str) -> &Stage {
        self.stages.iter().find(|stage| stage.name.starts_with(name)).unwrap()
    }

    /// As tables for a document.
    #[must_use]
    pub fn render(&self) -> String {
        let Size { nodes, services } = self.size;
        let mut text = format!(
            "{nodes} nodes with {services} services each; an INFO has {}.\n\n",
            kib(self.info_size as u64)
        );
        text.push_str("| what happens | comes to the broker | it sends | nodes, endpoints | busy |\n|---|---|---|---|---|\n");
        for stage in &self.stages {
            let Stage { name, received, sent, busy, reachable, endpoints } = stage;
            let busy = busy.as_millis();
            let _ = writeln!(
                text,
                "| {name} | {received} | {sent} | {reachable}, {endpoints} | {busy} ms |"
            );
        }
        let [before, joined, after] = self.resident.map(|bytes| bytes >> 20);
        let per_node = self.bytes_per_node() >> 10;
        let _ = writeln!(
            text,
            "\nPhysical memory of the process: {before} MiB alone, {joined} MiB with all nodes, {after} MiB after \
             they were forgotten: **{per_node} KiB for each node**.",
        );
        text
    }
}
