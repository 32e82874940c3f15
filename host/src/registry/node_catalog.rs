//! The nodes of the mesh, this one included, and when each was last heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Instant;
use crate::packet::Info;

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
    /// CPU load in percent.
    pub cpu: Option<f64>,
    /// When it was last heard.
    pub last_heartbeat: Instant,
    /// The same in milliseconds since 1970, for people.
    pub last_heartbeat_ms: u64,
}

impl Node {
    /// As `$node.list` shows it, without services (moleculer: src/registry/node-catalog.js list).
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({
            "id": &*self.id,
            "available": self.available,
            "local": self.local,
            "lastHeartbeatTime": self.last_heartbeat_ms,
            "config": self.info.config,
            "client": self.info.client,
            "metadata": self.info.metadata,
            "ipList": self.info.ip_list,
            "port": null,
            "hostname": self.info.hostname,
            "udpAddress": null,
            "cpu": self.cpu,
            "cpuSeq": null,
            "seq": self.info.seq,
            "offlineSince": null,
            "instanceID": self.info.instance_id.as_deref(),
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
