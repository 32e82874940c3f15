//! Who is in the mesh: announces this node, listens to the others, declares the silent ones lost.
//!
//! What a packet means is decided by the registry, which is pure; here its effects are carried out. Timers
//! and sending are tasks on the mesh runtime: they never wait for guests, and nothing of the handling of a
//! packet waits for the network. Follows moleculer: src/registry/discoverers/base.js and local.js.
//!
//! Nodes find each other over the transporter ([`local`]), or in a store that they share ([`store`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock;
use crate::config::{self, BrokerOptions};
use crate::packet::Body;
use crate::registry::{Effect, Registry};
use crate::task::CancellationToken;
use crate::transit::Transit;

mod cpu;
mod gossip;
mod local;
pub mod store;
#[cfg(test)]
mod tests;

use store::Directory;

/// Answers and questions that wait to be sent. More are dropped: whoever asked will ask again.
const OUTBOX_SIZE: usize = 1_000;

/// How long a stop waits for its keys to be taken out of the store, and a start for the first look into it
/// (moleculer: src/transit.js afterConnect).
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// Sends an event of the node to its own services, such as `$node.connected`.
pub type LocalEvent = Arc<dyn Fn(&'static str, Value) + Send + Sync>;

/// The times of a discoverer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two signs of life; zero: no signs, and no watch over those of others.
    pub heartbeat_interval: Duration,
    /// After which silence a node is lost.
    pub heartbeat_timeout: Duration,
    /// Changes within this time go out as one INFO.
    pub debounce: Duration,
    /// Between the last INFO of a stopping node and its refusal of requests.
    pub stop_delay: Duration,
    /// How the others are watched over.
    pub options: config::Discoverer,
}

impl From<&BrokerOptions> for Settings {
    fn from(options: &BrokerOptions) -> Self {
        Self {
            heartbeat_interval: options.heartbeat_interval,
            heartbeat_timeout: options.heartbeat_timeout,
            debounce: options.transit.service_changed_debounce_time,
            stop_delay: options.registry.stop_delay,
            options: options.registry.discoverer.clone(),
        }
    }
}

/// The discoverer of a node. Cheap to clone; ends with the token it was made with.
#[derive(Clone)]
pub struct Discoverer(Arc<Shared>);

struct Shared {
    settings: Settings,
    registry: Arc<RwLock<Registry>>,
    transit: Transit,
    local_event: LocalEvent,
    runtime: Handle,
    cancel: CancellationToken,
    /// Ends the timers; there is one set of them for each time that the node is connected.
    timers: Mutex<CancellationToken>,
    outbox: mpsc::Sender<Outgoing>,
    /// Rings when something changed that the others should know.
    changed: Notify,
    /// Where nodes find each other; `None` is the transporter.
    directory: Option<Arc<Directory>>,
    /// Services that lost an action or event since the last INFO.
    shrunk: Mutex<Vec<Arc<str>>>,
    /// True once the node has said that it offers nothing any more.
    leaving: AtomicBool,
    /// Gossip that waits to be handled.
    gossip: mpsc::Sender<gossip::Job>,
    /// Nodes that were asked out of turn since the last round of gossip.
    asks: AtomicUsize,
}

/// A packet to be sent.
#[derive(Debug)]
enum Outgoing {
    Info {
        target: Option<Arc<str>>,
    },
    Discover {
        target: Arc<str>,
    },
    /// To all nodes after a reconnect, whoever they are now: what this node offers, and who is there.
    Greeting,
    /// To the store: a sign of life.
    Beat,
    /// The store is there again.
    Returned,
    /// The last INFO, which offers nothing; tells when it is said.
    Farewell {
        said: oneshot::Sender<()>,
    },
    /// To the store: this node is gone; tells when it is said.
    Remove {
        said: oneshot::Sender<()>,
    },
}

impl Discoverer {
    /// A discoverer that is quiet until [`Discoverer::handle_connected`]. Its tasks run on `runtime`.
    #[must_use]
    pub fn new(
        settings: Settings,
        directory: Option<Directory>,
        registry: Arc<RwLock<Registry>>,
        transit: Transit,
        local_event: LocalEvent,
        runtime: Handle,
        cancel: &CancellationToken,
    ) -> Self {
        let (outbox, outgoing) = mpsc::channel(OUTBOX_SIZE);
        let (gossip, jobs) = mpsc::channel(gossip::QUEUE_SIZE);
        let shared = Arc::new(Shared {
            directory: directory.map(Arc::new),
            settings,
            registry,
            transit,
            local_event,
            runtime,
            cancel: cancel.clone(),
            timers: Mutex::new(cancel.child_token()),
            outbox,
            changed: Notify::new(),
            shrunk: Mutex::default(),
            leaving: AtomicBool::new(false),
            gossip,
            asks: AtomicUsize::new(0),
        });
        local::start_sending(&shared, outgoing);
        local::start_directory(&shared);
        gossip::start_hearing(&shared, jobs);
        Self(shared)
    }

    /// Waits until the nodes of a shared store have been looked for; not longer than a moment, since it may be
    /// away. With the transporter there is nothing to wait for.
    pub async fn first_look(&self) {
        if let Some(directory) = &self.0.directory {
            directory.first_look(FIRST_LOOK_TIMEOUT).await;
        }
    }

    /// A node packet of another node came in.
    pub fn handle_node(&self, sender: Arc<str>, body: Body) {
        if self.0.directory.is_some() && !matches!(body, Body::Disconnect) {
            // Nodes that find each other in another way are none of ours: whoever has no sign of life in the
            // store would be lost again at the next look.
            return;
        }
        let now = clock::now();
        let registry = &self.0.registry;
        let effects = match body {
            Body::Info(info) => registry.write().apply_info(&sender, *info, now),
            Body::Heartbeat(heartbeat) => {
                registry.write().apply_heartbeat(&sender, heartbeat.cpu, now)
            }
            Body::Disconnect => registry.write().apply_disconnect(&sender, false, now),
            Body::Discover => {
                self.0.post(Outgoing::Info { target: Some(sender) });
                return;
            }
            Body::GossipHello(_) | Body::GossipRequest(_) | Body::GossipResponse(_) => {
                self.0.handle_gossip(sender, body);
                return;
            }
            Body::Request(_)
            | Body::Response(_)
            | Body::Event(_)
            | Body::Ping(_)
            | Body::Pong(_) => return,
        };
        self.0.carry_out(effects);
    }

    /// The node is connected: starts the timers and introduces the node. After a reconnect it also asks who
    /// is there, because what was said meanwhile is lost; NATS reconnects of JS nodes go without this, so
    /// that they are forgotten and found again by their heartbeats.
    pub fn handle_connected(&self, was_reconnect: bool) {
        local::start_timers(&self.0);
        let greets = was_reconnect && self.0.directory.is_none();
        self.0.post(if greets { Outgoing::Greeting } else { Outgoing::Info { target: None } });
    }

    /// The connection is lost or closed: nobody can be heard, so nobody is declared lost.
    pub fn handle_disconnected(&self) {
        self.0.timers.lock().cancel();
    }

    /// The transporter has found a node that is not online, as far as is known.
    pub fn handle_found(&self, node_id: &Arc<str>) {
        self.0.queue(gossip::Job::Ask { node_id: Arc::clone(node_id) });
    }

    /// The transporter has lost a node.
    pub fn handle_lost(&self, node_id: &Arc<str>, unexpected: bool) {
        let effects = self.0.registry.write().apply_disconnect(node_id, unexpected, clock::now());
        self.0.carry_out(effects);
    }

    /// The services of this node changed: the others are told after the debounce time. `shrunk` names a
    /// service that has lost an action or event: it is left out of one INFO first, because JS nodes only
    /// ever add to the items of a service that they know (moleculer: src/registry/service-item.js update).
    pub fn announce(&self, shrunk: Option<Arc<str>>) {
        self.0.shrunk.lock().extend(shrunk);
        self.0.changed.notify_one();
    }

    /// Tells the others that this node offers nothing any more and gives them the time to hear it. Nothing
    /// is announced afterwards.
    pub async fn say_offering_nothing(&self) {
        if self.0.leaving.swap(true, Ordering::AcqRel) || !self.0.transit.connected() {
            return;
        }
        match self.0.directory {
            None => self.0.send_info(None).await,
            Some(_) => self.0.wait_for(|said| Outgoing::Farewell { said }).await,
        }
        tokio::time::sleep(self.0.settings.stop_delay).await;
    }

    /// Takes what this node has written out of the store. Before the good-bye: a node that has said good-bye
    /// and still has a sign of life is taken for one that has come back.
    pub async fn remove(&self) {
        self.0.timers.lock().cancel();
        if self.0.directory.is_some() {
            self.0.wait_for(|said| Outgoing::Remove { said }).await;
        }
    }
}

impl Shared {
    fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Puts something into the outbox and waits, not for long, until it is done.
    async fn wait_for(&self, outgoing: impl FnOnce(oneshot::Sender<()>) -> Outgoing) {
        let (said, done) = oneshot::channel();
        let wait = async {
            if self.outbox.send(outgoing(said)).await.is_ok() {
                // It is dropped with a task that ends before.
                let _ = done.await;
            }
        };
        if tokio::time::timeout(REMOVE_TIMEOUT, wait).await.is_err() {
            tracing::warn!(
                "the discoverer's store does not answer; signs of this node end by themselves"
            );
        }
    }

    /// Puts a packet into the outbox.
    fn post(&self, outgoing: Outgoing) {
        if let Err(mpsc::error::TrySendError::Full(outgoing)) = self.outbox.try_send(outgoing) {
            tracing::warn!(?outgoing, "too many node packets wait to be sent; one was dropped");
        }
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::NodeConnected { node, reconnected } => {
                    tracing::info!(node = node_id(&node), reconnected, "node connected");
                    self.tell("$node.connected", json!({"node": node, "reconnected": reconnected}));
                }
                Effect::NodeUpdated { node } => {
                    tracing::debug!(node = node_id(&node), "node updated");
                    self.tell("$node.updated", json!({"node": node}));
                }
                Effect::NodeDisconnected { node, unexpected } => {
                    if unexpected && self.transit.gossip().is_some() {
                        tracing::warn!(node = node_id(&node), "node lost: it cannot be reached");
                    } else if unexpected {
                        tracing::warn!(node = node_id(&node), "node lost: no sign of life");
                    } else {
                        tracing::info!(node = node_id(&node), "node disconnected");
                    }
                    let data = json!({"node": node, "unexpected": unexpected});
                    self.tell("$node.disconnected", data);
                }
                Effect::ServicesChanged { local_service } => {
                    self.tell("$services.changed", json!({"localService": local_service}));
                }
                Effect::RejectPending { node_id } => self.transit.reject_node(&node_id),
                Effect::Discover { node_id } => {
                    self.post(Outgoing::Discover { target: node_id });
                }
                Effect::Refused { node_id, what } => self.transit.refuse_info(&node_id, &what),
            }
        }
    }

    fn tell(&self, event: &'static str, data: Value) {
        (self.local_event)(event, data);
    }
}

fn node_id(node: &Value) -> &str {
    node.get("id").and_then(Value::as_str).unwrap_or("")
}
