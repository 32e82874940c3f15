//! The nodes of the mesh, this one included, and when each was last heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Instant;
use crate::packet::Info;
use crate::strategy::NodeLoad;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its ID.
    pub id: Arc<str>,
    /// Whether it is this one.
    pub local: bool,
    /// Whether it can be reached.
    pub available: bool,
    /// Its latest INFO, without the services.
    pub info: Info,
    /// Its load, shared with its endpoints.
    pub load: Arc<NodeLoad>,
    /// How often its CPU load has changed.
    pub cpu_seq: u64,
    /// When it was last heard.
    pub last_heartbeat: Instant,
    /// Since when it cannot be reached.
    pub offline_since: Option<Instant>,
    /// How it was found, where nodes reach each other without a server.
    pub contact: Contact,
}

/// What is known of the way to a node beside what it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The address that its packets came from; goes before those that it names.
    pub udp_address: Option<Arc<str>>,
    /// The host under which the operator named it; such a node is never forgotten.
    pub fixed: Option<Arc<str>>,
}

impl Node {
    /// Sets the CPU load and counts its changes (moleculer: src/registry/node.js updateLocalInfo).
    pub(super) fn set_cpu(&mut self, cpu: Option<f64>) {
        if cpu != self.load.cpu() {
            self.cpu_seq += 1;
            self.load.set_cpu(cpu);
        }
    }

    /// Sets the CPU load as another node tells it.
    pub(super) fn set_foreign_cpu(&mut self, cpu: f64, cpu_seq: u64, now: Instant) {
        self.load.set_cpu(Some(cpu));
        self.cpu_seq = cpu_seq;
        self.last_heartbeat = now;
    }

    /// As `$node.list` shows it, without services; times are whole seconds since this node `started`
    /// (moleculer: src/registry/node-catalog.js list, where they are those of `process.uptime()`).
    #[must_use]
    pub fn to_value(&self, started: Instant) -> Value {
        let seconds = |at: Instant| at.saturating_duration_since(started).as_secs_f64().round();
        json!({
            "id": &*self.id,
            "instanceID": self.info.instance_id.as_deref(),
            "available": self.available,
            "local": self.local,
            "lastHeartbeatTime": seconds(self.last_heartbeat),
            "config": self.info.config,
            "client": self.info.client,
            "metadata": self.info.metadata,
            "ipList": self.info.ip_list,
            "port": self.info.port,
            "hostname": self.info.hostname,
            "udpAddress": self.contact.udp_address.as_deref(),
            "cpu": self.load.cpu(),
            "cpuSeq": (self.cpu_seq > 0).then_some(self.cpu_seq),
            "seq": self.info.seq,
            "offlineSince": self.offline_since.map(seconds),
        })
    }
}

/// All nodes by ID.
#[derive(Debug, Default)]
pub struct NodeCatalog {
    nodes: BTreeMap<Arc<str>, Node>,
}

impl NodeCatalog {
    /// One node.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    pub(super) fn insert(&mut self, node: Node) {
        self.nodes.insert(Arc::clone(&node.id), node);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Node> {
        self.nodes.remove(id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Remote nodes (available or not, as asked) that were not heard for longer than `silence`.
    pub(super) fn silent(&self, now: Instant, silence: Duration, available: bool) -> Vec<Arc<str>> {
        self.nodes
            .values()
            .filter(|node| !node.local && node.available == available)
            .filter(|node| now.saturating_duration_since(node.last_heartbeat) > silence)
            .map(|node| Arc::clone(&node.id))
            .collect()
    }
}
