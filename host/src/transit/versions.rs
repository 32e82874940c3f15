//! Which version of the protocol is spoken to whom.
//!
//! A node that speaks one version remembers nothing. One that speaks several, or takes packets of any
//! version, remembers from every packet what its sender speaks. Two such nodes use the latest version
//! between them: each also hears the other's announcements in the earlier one, which change nothing.
//!
//! What is remembered is forgotten when its node is gone, and all of it when others make up too many names;
//! every living node is known again with its next packet, a heartbeat at the latest.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::config::{self, Protocol};
use crate::packet::{Body, Packet, ProtocolVersion};

/// Nodes that are remembered at once: as many as the registry knows.
const PEERS_MAX: usize = 10_000;

/// What this node speaks, and what the others do.
pub(super) struct Versions {
    /// What it speaks, the preferred one first.
    spoken: &'static [ProtocolVersion],
    /// Takes packets of any version (`transit.disableVersionCheck`).
    any: bool,
    peers: RwLock<HashMap<Arc<str>, Peer>>,
}

struct Peer {
    version: ProtocolVersion,
    /// Of its last INFO.
    instance_id: Option<Arc<str>>,
}

impl Versions {
    pub(super) fn new(options: &config::Transit) -> Self {
        let spoken: &[_] = match options.protocol {
            Protocol::V5 => &[ProtocolVersion::V5],
            Protocol::V4 => &[ProtocolVersion::V4],
            Protocol::Auto => &ProtocolVersion::ALL,
        };
        Self { spoken, any: options.disable_version_check, peers: RwLock::default() }
    }

    /// The version for whoever is not known.
    pub(super) fn preferred(&self) -> ProtocolVersion {
        self.spoken.first().copied().unwrap_or(ProtocolVersion::V5)
    }

    /// Everything that this node speaks.
    pub(super) fn spoken(&self) -> &'static [ProtocolVersion] {
        self.spoken
    }

    /// Whether packets of this version are taken.
    pub(super) fn accepts(&self, ver: &str) -> bool {
        self.any || self.spoken.iter().any(|version| version.as_str() == ver)
    }

    fn remembers(&self) -> bool {
        self.any || self.spoken.len() > 1
    }

    /// The version in which a node is spoken to.
    pub(super) fn of(&self, node_id: &str) -> ProtocolVersion {
        if !self.remembers() {
            return self.preferred();
        }
        self.peers.read().get(node_id).map_or_else(|| self.preferred(), |peer| peer.version)
    }

    /// Whether it matters which version a node speaks, and nothing has been heard of it yet.
    pub(super) fn missing(&self, node_id: &str) -> bool {
        self.remembers() && !self.peers.read().contains_key(node_id)
    }

    /// The versions in which all nodes are spoken to: those that somebody alive speaks.
    pub(super) fn alive(&self) -> Vec<ProtocolVersion> {
        let mut alive = self.spoken.to_vec();
        if alive.len() > 1 {
            let peers = self.peers.read();
            alive.retain(|version| peers.values().any(|peer| peer.version == *version));
        }
        if alive.is_empty() {
            alive.push(self.preferred());
        }
        alive
    }

    /// A packet that is taken came in. Pings are answered in their own version: who only asks whether
    /// somebody is there (`twin`) is no node.
    pub(super) fn remember(&self, packet: &Packet) {
        if !self.remembers() || matches!(packet.body, Body::Ping(_)) {
            return;
        }
        let Some(version) = ProtocolVersion::from_wire(&packet.ver) else { return };
        let instance_id = match &packet.body {
            Body::Info(info) => info.instance_id.as_ref(),
            _ => None,
        };
        let known = self.peers.read().get(&packet.sender).is_some_and(|peer| {
            let same_run = instance_id.is_none() || instance_id == peer.instance_id.as_ref();
            same_run && version <= peer.version
        });
        if !known {
            self.note(&packet.sender, version, instance_id);
        }
    }

    fn note(&self, node_id: &Arc<str>, version: ProtocolVersion, instance_id: Option<&Arc<str>>) {
        let mut peers = self.peers.write();
        if peers.len() >= PEERS_MAX && !peers.contains_key(node_id) {
            peers.clear();
        }
        let peer = peers
            .entry(Arc::clone(node_id))
            .or_insert_with(|| Peer { version, instance_id: instance_id.cloned() });
        if let Some(instance_id) = instance_id
            && peer.instance_id.as_ref() != Some(instance_id)
        {
            // Another process than before: it may be of an earlier version. The first INFO of a process
            // that is known by its other packets already is no such sign.
            if peer.instance_id.replace(Arc::clone(instance_id)).is_some() {
                peer.version = version;
            }
        }
        peer.version = peer.version.max(version);
    }

    /// A node is gone.
    pub(super) fn forget(&self, node_id: &str) {
        if self.remembers() {
            self.peers.write().remove(node_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Info;

    fn versions(protocol: Protocol) -> Versions {
        let options = config::BrokerOptions::default().transit;
        Versions::new(&config::Transit { protocol, ..options })
    }

    fn packet(ver: &str, sender: &str, body: Body) -> Packet {
        Packet { ver: ver.into(), sender: sender.into(), body }
    }

    fn info(ver: &str, sender: &str, instance_id: &str) -> Packet {
        let info = Info { instance_id: Some(instance_id.into()), ..Info::default() };
        packet(ver, sender, Body::Info(Box::new(info)))
    }

    #[test]
    fn one_version_remembers_nothing() {
        let versions = versions(Protocol::V4);
        versions.remember(&packet("5", "a", Body::Discover));
        assert_eq!(versions.of("a"), ProtocolVersion::V4);
        assert!(versions.accepts("4") && !versions.accepts("5"));
        assert_eq!(versions.alive(), [ProtocolVersion::V4]);
    }

    #[test]
    fn every_node_is_known_by_its_packets() {
        use ProtocolVersion::{V4, V5};
        let versions = versions(Protocol::Auto);
        assert_eq!(versions.alive(), [V5]);
        versions.remember(&packet("4", "old", Body::Discover));
        assert_eq!((versions.of("old"), versions.alive()), (V4, vec![V4]));
        versions.remember(&packet("5", "new", Body::Discover));
        assert_eq!((versions.of("new"), versions.alive()), (V5, vec![V5, V4]));
        assert!(versions.accepts("4") && versions.accepts("5") && !versions.accepts("3"));
        versions.forget("old");
        assert_eq!((versions.of("old"), versions.alive()), (V5, vec![V5]));
    }

    #[test]
    fn a_node_that_speaks_both_is_spoken_to_in_the_latest_until_another_process_has_its_name() {
        use ProtocolVersion::{V4, V5};
        let versions = versions(Protocol::Auto);
        for ver in ["5", "4"] {
            versions.remember(&packet(ver, "n", Body::Discover));
            versions.remember(&info(ver, "n", "run-1"));
        }
        assert_eq!(versions.of("n"), V5);
        versions.remember(&info("4", "n", "run-2"));
        assert_eq!(versions.of("n"), V4);
        versions.remember(&info("5", "n", "run-2"));
        assert_eq!(versions.of("n"), V5);
    }

    #[test]
    fn invented_names_do_not_fill_the_memory() {
        let versions = versions(Protocol::Auto);
        for n in 0..=PEERS_MAX {
            versions.remember(&packet("4", &n.to_string(), Body::Discover));
        }
        assert_eq!(versions.peers.read().len(), 1);
    }
}
