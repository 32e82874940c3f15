//! Who offers what: the nodes, services, actions and events of the mesh as this node knows them.
//!
//! The registry is pure: it is told what happened and when, and answers with [`Effect`]s for others to carry
//! out. It holds no handler, channel, timer or socket. Its rules are those of moleculer: src/registry/.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Instant;
use crate::config;
use crate::packet::Info;
use crate::strategy::NodeLoad;

pub mod action_catalog;
pub mod endpoint_list;
pub mod event_catalog;
pub mod gossip;
pub mod latency;
pub mod listing;
mod local;
pub mod node_catalog;
mod remote;
pub mod service_catalog;

pub use action_catalog::{ActionCatalog, Lookup};
pub use endpoint_list::{Endpoint, EndpointList};
pub use event_catalog::EventCatalog;
pub use local::Registered;
pub use node_catalog::{Contact, Node, NodeCatalog};
pub use service_catalog::{ServiceCatalog, ServiceEntry};

/// What a node leaves in a store to show that it lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// Number of its INFO, when it tells.
    pub seq: Option<u64>,
    /// What the ID of its run begins with.
    pub instance: String,
    /// Its load in percent, when it tells.
    pub cpu: Option<f64>,
}

/// Most nodes that are remembered, this one included. A peer that invents more is not believed.
pub const NODES_MAX: usize = 10_000;

/// Most actions, and most events, that one remote service may offer.
pub const REMOTE_ITEMS_MAX: usize = 10_000;

/// Most services that one node may offer.
pub const REMOTE_SERVICES_MAX: usize = 10_000;

/// Longest way of a ping there and back that is believed, in milliseconds. Nobody waits longer for one.
const PONG_MS_MAX: f64 = 60_000.0;

/// What the rest of the node must do after a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Broadcast `$node.connected` locally. `node` is the form of `$node.list`.
    NodeConnected {
        /// The node.
        node: Value,
        /// Whether it was known before.
        reconnected: bool,
    },
    /// Broadcast `$node.updated` locally.
    NodeUpdated {
        /// The node.
        node: Value,
    },
    /// Broadcast `$node.disconnected` locally.
    NodeDisconnected {
        /// The node.
        node: Value,
        /// False when it said good-bye.
        unexpected: bool,
    },
    /// Broadcast `$services.changed` locally.
    ServicesChanged {
        /// Whether a service of this node changed.
        local_service: bool,
    },
    /// Reject all requests that wait for this node.
    RejectPending {
        /// The node.
        node_id: Arc<str>,
    },
    /// Ask this node for its INFO.
    Discover {
        /// The node.
        node_id: Arc<str>,
    },
    /// Count and log that a node told more than is believed.
    Refused {
        /// The node.
        node_id: Arc<str>,
        /// What was left out.
        what: &'static str,
    },
}

/// The registry of one node.
#[derive(Debug)]
pub struct Registry {
    /// Nodes.
    pub nodes: NodeCatalog,
    /// Services.
    pub services: ServiceCatalog,
    /// Actions.
    pub actions: ActionCatalog,
    /// Private actions of this node by service and full name. No look-up by name alone finds them.
    private: HashMap<Arc<str>, HashMap<Arc<str>, Arc<Endpoint>>>,
    /// Events.
    pub events: EventCatalog,
    local_id: Arc<str>,
    /// When this node was made; `$node.list` counts its seconds from here.
    started: Instant,
    /// How fast hosts answer, when a strategy asks for it.
    latency: latency::Hosts,
    next_endpoint: u64,
    info_stale: bool,
    /// Remote endpoints that are gone, until the broker has heard of it.
    retired: Vec<u64>,
    /// Files of this node that hold no usable service, and why; shown in `$node.services`.
    broken: BTreeMap<String, Value>,
}

impl Registry {
    /// A registry that knows only its own node. `info` describes that node; its `services` are ignored.
    #[must_use]
    pub fn new(local_id: Arc<str>, info: Info, options: &config::Registry, now: Instant) -> Self {
        let mut nodes = NodeCatalog::default();
        nodes.insert(Node {
            id: Arc::clone(&local_id),
            local: true,
            available: true,
            info: Info { services: None, seq: 1, ..info },
            load: Arc::default(),
            cpu_seq: 0,
            last_heartbeat: now,
            offline_since: None,
            contact: Contact::default(),
        });
        Self {
            nodes,
            services: ServiceCatalog::default(),
            actions: ActionCatalog::new(options.balance()),
            private: HashMap::new(),
            events: EventCatalog::new(options.balance()),
            local_id,
            started: now,
            latency: latency::Hosts::default(),
            next_endpoint: 0,
            info_stale: true,
            retired: Vec::new(),
            broken: BTreeMap::new(),
        }
    }

    /// ID of this node.
    #[must_use]
    pub fn local_id(&self) -> &Arc<str> {
        &self.local_id
    }

    /// A node as `$node.list` shows it, without services; `None` when it is not known.
    #[must_use]
    pub fn node_value(&self, node_id: &str) -> Option<Value> {
        self.nodes.get(node_id).map(|node| node.to_value(self.started))
    }

    /// The load of a node that is known.
    fn load_of(&self, node_id: &str) -> Arc<NodeLoad> {
        self.nodes.get(node_id).map(|node| Arc::clone(&node.load)).unwrap_or_default()
    }

    fn endpoint_id(&mut self) -> u64 {
        self.next_endpoint += 1;
        self.next_endpoint
    }

    /// A node has shown that it lives. An unknown or lost one is asked for its INFO
    /// (moleculer: src/registry/discoverers/base.js heartbeatReceived).
    pub fn apply_heartbeat(
        &mut self,
        sender: &Arc<str>,
        cpu: Option<f64>,
        now: Instant,
    ) -> Vec<Effect> {
        match self.nodes.get_mut(sender) {
            Some(node) if node.available => {
                // One that does not tell its load leaves the last (moleculer: src/registry/node.js heartbeat).
                if cpu.is_some() {
                    node.set_cpu(cpu);
                }
                node.last_heartbeat = now;
                Vec::new()
            }
            _ => vec![Effect::Discover { node_id: Arc::clone(sender) }],
        }
    }

    /// What the sign of life of this node says: the number of its INFO, and its load.
    #[must_use]
    pub fn local_sign(&self) -> (u64, Option<f64>) {
        let node = self.nodes.get(&self.local_id);
        node.map_or((0, None), |node| (node.info.seq, node.load.cpu()))
    }

    /// Whether a node is known as its sign of life says; it lives then. Otherwise it must be asked what it
    /// offers (moleculer: src/registry/discoverers/base.js heartbeatReceived).
    pub fn apply_sign(&mut self, sender: &Arc<str>, sign: &Sign, now: Instant) -> bool {
        let fits = self.nodes.get(sender).is_some_and(|node| {
            let instance = node.info.instance_id.as_deref().unwrap_or_default();
            node.available
                && sign.seq.is_none_or(|seq| seq == node.info.seq)
                && instance.starts_with(&sign.instance)
        });
        if fits {
            self.apply_heartbeat(sender, sign.cpu, now);
        }
        fits
    }

    /// A node has said good-bye, or was lost (`unexpected`). Stays quiet about unknown and lost ones
    /// (moleculer: src/registry/node-catalog.js disconnected).
    pub fn apply_disconnect(
        &mut self,
        node_id: &Arc<str>,
        unexpected: bool,
        now: Instant,
    ) -> Vec<Effect> {
        let started = self.started;
        let (node, hostname) = match self.nodes.get_mut(node_id) {
            Some(node) if node.available && !node.local => {
                node.available = false;
                // What a peer told is not believed to be small.
                node.info.seq = node.info.seq.saturating_add(1);
                node.offline_since = Some(now);
                (node.to_value(started), node.info.hostname.clone())
            }
            _ => return Vec::new(),
        };
        if !self.nodes.iter().any(|node| node.available && node.info.hostname == hostname) {
            self.latency.forget(&hostname);
        }
        self.remove_remote_services(node_id);
        vec![
            Effect::RejectPending { node_id: Arc::clone(node_id) },
            Effect::NodeDisconnected { node, unexpected },
            Effect::ServicesChanged { local_service: false },
        ]
    }

    /// Declares lost every node that was silent for longer than `timeout`.
    pub fn expire_nodes(&mut self, now: Instant, timeout: Duration) -> Vec<Effect> {
        let lost = self.nodes.silent(now, timeout, true);
        lost.iter().flat_map(|node_id| self.apply_disconnect(node_id, true, now)).collect()
    }

    /// Forgets nodes that have been gone for longer than `timeout`.
    pub fn remove_offline(&mut self, now: Instant, timeout: Duration) {
        for node_id in self.nodes.silent(now, timeout, false) {
            self.nodes.remove(&node_id);
        }
    }

    /// The nodes to ping in this round, one for each host, and the time until the next round; `None` when no
    /// strategy asks for it (moleculer: src/strategies/latency.js pingHosts).
    pub fn latency_round(&mut self) -> Option<(Vec<Arc<str>>, Duration)> {
        let events = self.events.lists().map(|entry| &entry.list);
        let lists = self.actions.iter().map(|(_, list)| list).chain(events);
        let interval = self.latency.plan(lists.map(EndpointList::balance))?;
        Some((latency::one_of_each_host(&self.nodes), interval))
    }

    /// A node has answered a ping; the figures of its host are those of all its nodes.
    pub fn apply_pong(&mut self, node_id: &str, elapsed_ms: f64) {
        // A wall clock that jumped, or a peer that invents.
        if !(0.0..=PONG_MS_MAX).contains(&elapsed_ms) {
            return;
        }
        let Some(node) = self.nodes.get(node_id).filter(|node| node.available) else { return };
        let Some(average) = self.latency.record(&node.info.hostname, elapsed_ms) else { return };
        for other in self.nodes.iter().filter(|one| one.info.hostname == node.info.hostname) {
            other.load.set_latency(Some(average));
        }
    }
}

#[cfg(test)]
mod tests;
