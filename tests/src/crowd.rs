//! Hundreds of nodes on the in-process bus that are only scripts: they send the packets of real nodes, and
//! answer those that are sent to them, without a broker behind each.
//!
//! A node is said to join, to fall silent, to live again, to leave. Time is the test's: heartbeats are sent
//! by [`Crowd::pass`], which lets the paused clock run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use isomer_host::transporter::fake::{Bus, Fake};
use isomer_host::transporter::{Event, Listener, Transporter as _};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Services of each node.
pub const SERVICES: usize = 50;
/// Names of services in the whole crowd; each is offered by several nodes.
pub const NAMES: usize = 250;
/// Seconds between the heartbeats of a node.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// The nodes.
pub struct Crowd {
    bus: Arc<Bus>,
    state: Arc<Mutex<BTreeMap<String, Scripted>>>,
    /// The one member of the bus that listens for all of them.
    member: Fake,
}

struct Scripted {
    number: usize,
    awake: bool,
    seq: u64,
    /// How often it was started.
    run: u64,
}

/// Node ID of a number.
#[must_use]
pub fn id(number: usize) -> String {
    format!("node-{number:03}")
}

/// Full names of the services of a node.
pub fn services(number: usize) -> impl Iterator<Item = String> {
    (0..SERVICES).map(move |k| format!("svc-{:03}", (number * SERVICES + k) % NAMES))
}

/// How many of the first `n_nodes` offer a service.
#[must_use]
pub fn offering(n_nodes: usize, service: &str) -> usize {
    (0..n_nodes).filter(|number| services(*number).any(|name| name == service)).count()
}

impl Crowd {
    /// A crowd of nobody.
    pub async fn new(bus: &str) -> Self {
        let bus = Bus::named(bus);
        let state: Arc<Mutex<BTreeMap<String, Scripted>>> = Arc::default();
        let member = Fake::new(Arc::clone(&bus), "crowd");
        let ears = Ears { bus: Arc::clone(&bus), state: Arc::clone(&state) };
        member.connect(Arc::new(ears)).await.unwrap();
        member.subscribe(vec!["MOL.DISCOVER".into()]).await.unwrap();
        Self { bus, state, member }
    }

    /// These nodes join as Moleculer's do: they ask who is there and then say what they offer.
    pub async fn join(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            let id = id(number);
            let topics = ["DISCOVER", "INFO", "REQ", "PING"];
            let topics = topics.map(|kind| format!("MOL.{kind}.{id}")).to_vec();
            self.member.subscribe(topics).await.unwrap();
            let info = {
                let mut state = self.state.lock();
                let scripted = state.entry(id.clone()).or_insert(Scripted {
                    number,
                    awake: true,
                    seq: 0,
                    run: 0,
                });
                scripted.awake = true;
                scripted.run += 1;
                scripted.seq = 1;
                scripted.info(&id)
            };
            self.say("DISCOVER", &json!({"ver": "5", "sender": id}));
            self.say("INFO", &info);
            settle().await;
        }
    }

    /// These nodes say nothing any more, as after a kill or behind a broken cable.
    pub fn silence(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            self.state.lock().get_mut(&id(number)).unwrap().awake = false;
        }
    }

    /// These nodes are heard again; they have not noticed that they were away.
    pub fn wake(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            self.state.lock().get_mut(&id(number)).unwrap().awake = true;
        }
    }

    /// These nodes say goodbye.
    pub async fn leave(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            let id = id(number);
            self.state.lock().remove(&id);
            self.say("DISCONNECT", &json!({"ver": "5", "sender": id}));
            settle().await;
        }
    }

    /// Time passes, in which all that are awake send their heartbeats.
    pub async fn pass(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(HEARTBEAT);
            tokio::time::advance(step).await;
            settle().await;
            left -= step;
            let awake: Vec<String> = {
                let state = self.state.lock();
                let awake = state.iter().filter(|(_, scripted)| scripted.awake);
                awake.map(|(id, _)| id.clone()).collect()
            };
            for id in awake {
                self.say("HEARTBEAT", &json!({"ver": "5", "sender": id, "cpu": 12}));
            }
            settle().await;
        }
    }

    fn say(&self, kind: &str, packet: &Value) {
        self.bus.inject(&format!("MOL.{kind}"), &Bytes::from(packet.to_string()));
    }
}

/// Lets everything run that waits for no timer.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

impl Scripted {
    fn info(&self, id: &str) -> Value {
        let services: Vec<Value> = services(self.number).map(|name| service(&name)).collect();
        json!({"ver": "5", "sender": id, "services": services, "ipList": ["10.0.0.1"],
            "hostname": format!("host-{}", self.number),
            "client": {"type": "nodejs", "version": "0.15.0", "langVersion": "v20.0.0"},
            "config": {}, "metadata": {}, "instanceID": format!("{id}-{}", self.run),
            "seq": self.seq})
    }
}

/// A service with three actions and an event, as Moleculer announces it.
fn service(name: &str) -> Value {
    let action = |action: &str| {
        let full = format!("{name}.{action}");
        let params = json!({"id": {"type": "string", "min": 1}, "limit": "number|optional"});
        (full.clone(), json!({"name": full, "rawName": action, "cache": false, "params": params}))
    };
    let actions: serde_json::Map<String, Value> =
        ["get", "list", "update"].map(action).into_iter().collect();
    let event = format!("{name}.changed");
    json!({"name": name, "fullName": name, "settings": {"page": 20}, "metadata": {},
        "actions": actions, "events": {&event: {"name": event, "group": name}}})
}

/// What the crowd hears.
struct Ears {
    bus: Arc<Bus>,
    state: Arc<Mutex<BTreeMap<String, Scripted>>>,
}

impl Listener for Ears {
    fn handle_message(&self, topic: &str, data: Bytes) {
        let packet: Value = serde_json::from_slice(&data).unwrap();
        let Some(sender) = packet["sender"].as_str() else { return };
        let mut parts = topic.splitn(3, '.').skip(1);
        let (kind, to) = (parts.next().unwrap_or_default(), parts.next());
        let concerned: Vec<(String, Value)> = {
            let state = self.state.lock();
            let all = state.iter().filter(|(id, scripted)| {
                scripted.awake && **id != *sender && to.is_none_or(|to| to == *id)
            });
            // Of nodes that talk among themselves only this one's share is of interest.
            let foreign = |id: &&str| !state.contains_key(*id);
            let Some(_) = Some(sender).filter(foreign) else { return };
            all.map(|(id, scripted)| (id.clone(), scripted.info(id))).collect()
        };
        for (id, info) in concerned {
            let answer = match kind {
                "DISCOVER" => ("INFO", info),
                "REQ" => (
                    "RES",
                    json!({"ver": "5", "sender": id, "id": packet["id"], "meta": {},
                    "success": true, "data": id}),
                ),
                _ => continue,
            };
            let text = Bytes::from(answer.1.to_string());
            self.bus.inject(&format!("MOL.{}.{sender}", answer.0), &text);
        }
    }

    fn handle_event(&self, _event: Event) {}
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.member.disconnect().now_or_never();
    }
}
