//! Nodes that are known by where they can be reached, before they have said what they are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Instant;
use crate::packet::{self, Info};
use crate::registry::{Contact, NODES_MAX, Node, Registry};

/// Most nodes that were heard of and never reached. Anybody can send datagrams; more are not remembered.
pub(super) const STRANGERS_MAX: usize = 1_000;

/// Most addresses of one node that are tried.
const ADDRESSES_MAX: usize = 6;

impl Registry {
    /// This node listens: what it tells of itself has changed
    /// (moleculer: src/transporters/tcp.js connect).
    pub fn set_local_port(&mut self, port: u16) {
        let local_id = Arc::clone(&self.local_id);
        if let Some(node) = self.nodes.get_mut(&local_id)
            && node.info.port != Some(port)
        {
            node.info.port = Some(port);
            node.info.seq += 1;
        }
    }

    /// A node that the operator named. It is offline until it answers, and never forgotten.
    pub fn add_fixed(&mut self, node_id: &str, host: &str, port: u16, now: Instant) {
        if !self.nodes.get(node_id).is_some_and(|node| node.available) {
            self.stranger(node_id, host, port, now);
        }
        if let Some(node) = self.nodes.get_mut(node_id) {
            node.contact.fixed = Some(host.into());
        }
    }

    /// A node has been heard by UDP. True when it should be asked what it is: it is not online, as far as
    /// is known here. False also when it is not remembered (moleculer: src/transporters/tcp.js
    /// startUdpServer).
    pub fn apply_datagram(
        &mut self,
        node_id: &str,
        address: &str,
        port: u16,
        now: Instant,
    ) -> bool {
        if *node_id == *self.local_id {
            return false;
        }
        let offline = !self.nodes.get(node_id).is_some_and(|node| node.available);
        if offline && !self.stranger(node_id, address, port, now) {
            return false;
        }
        if let Some(node) = self.nodes.get_mut(node_id) {
            node.contact.udp_address = Some(address.into());
        }
        offline
    }

    /// A node has opened a connection and says where it can be reached. As [`Registry::apply_datagram`];
    /// `None` when the greeting makes no sense (moleculer: src/transporters/tcp.js processGossipHello).
    pub fn apply_hello(
        &mut self,
        sender: &Arc<str>,
        hello: &Map<String, Value>,
        now: Instant,
    ) -> Option<bool> {
        let host = hello.get("host").and_then(Value::as_str).unwrap_or_default();
        let port = hello.get("port").and_then(super::count);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
        let seen = hello.get(SEEN_ADDRESS).and_then(Value::as_str);
        let offline = !self.nodes.get(sender).is_some_and(|node| node.available);
        let known = self.nodes.get(sender).is_some();
        // One that was known and is offline has been started again, perhaps on another port. (Moleculer
        // keeps the old one until a datagram comes.)
        if offline && !self.stranger(sender, if host.is_empty() { seen? } else { host }, port, now)
        {
            return Some(false);
        }
        if let (Some(node), Some(seen)) = (self.nodes.get_mut(sender), seen)
            && (offline || !known || node.contact.udp_address.is_none())
        {
            node.contact.udp_address = Some(seen.into());
        }
        Some(offline)
    }

    /// Remembers where a node that is not online can be reached; false when there are too many of them, or
    /// it has a name that no node can have.
    fn stranger(&mut self, node_id: &str, host: &str, port: u16, now: Instant) -> bool {
        if let Some(node) = self.nodes.get_mut(node_id) {
            node.info.port = Some(port);
            host.clone_into(&mut node.info.hostname);
            if !node.info.ip_list.iter().any(|known| known == host) {
                node.info.ip_list.insert(0, host.to_owned());
                node.info.ip_list.truncate(ADDRESSES_MAX);
            }
            return true;
        }
        let strangers = self.nodes.iter().filter(|node| !node.available && node.info.seq == 0);
        if packet::check_node_id(node_id).is_err()
            || self.nodes.len() >= NODES_MAX
            || strangers.count() >= STRANGERS_MAX
        {
            return false;
        }
        let info = Info {
            hostname: host.to_owned(),
            ip_list: vec![host.to_owned()],
            port: Some(port),
            ..Info::default()
        };
        self.nodes.insert(Node {
            id: node_id.into(),
            local: false,
            available: false,
            info,
            load: Arc::default(),
            cpu_seq: 0,
            last_heartbeat: now,
            offline_since: Some(now),
            contact: Contact::default(),
        });
        true
    }

    /// Where a node can be reached, the best address first; `None` when nothing is known of it
    /// (moleculer: src/transporters/tcp.js getNodeAddress, which tries the first one only).
    #[must_use]
    pub fn addresses(&self, node_id: &str, use_hostname: bool) -> Option<(Vec<Arc<str>>, u16)> {
        let node = self.nodes.get(node_id)?;
        let hostname = Some(node.info.hostname.as_str()).filter(|_| use_hostname);
        let named = hostname.into_iter().chain(node.info.ip_list.iter().map(String::as_str));
        let seen = node.contact.udp_address.as_deref();
        let mut addresses: Vec<Arc<str>> = Vec::new();
        for address in seen.into_iter().chain(named).chain(node.contact.fixed.as_deref()) {
            if !address.is_empty() && !addresses.iter().any(|known| **known == *address) {
                addresses.push(address.into());
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        Some((addresses, node.info.port?))
    }

    /// Forgets nodes that have been gone for longer than `kept`, but not those that the operator named.
    pub fn forget_strangers(&mut self, now: Instant, kept: Duration) {
        let gone = |node: &&Node| {
            let since = node.offline_since.filter(|_| !node.available && !node.local);
            node.contact.fixed.is_none()
                && since.is_some_and(|since| now.saturating_duration_since(since) > kept)
        };
        let gone: Vec<_> =
            self.nodes.iter().filter(gone).map(|node| Arc::clone(&node.id)).collect();
        for node_id in gone {
            self.nodes.remove(&node_id);
        }
    }
}

/// The key of a HELLO under which its receiver notes the address that it came from.
pub const SEEN_ADDRESS: &str = "udpAddress";
