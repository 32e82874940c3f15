//! Topics, which are how the rest of the node speaks of packets: here they stand for types of frames and
//! for nodes.

use std::net::IpAddr;

use crate::packet::PacketType;

/// The topics of this node.
pub(super) struct Topics {
    /// `MOL.` or `MOL-<namespace>.`
    prefix: String,
    /// What comes in, by kind.
    incoming: Vec<(PacketType, String)>,
}

impl Topics {
    pub(super) fn new(namespace: &str, node_id: &str) -> Self {
        let prefix =
            if namespace.is_empty() { "MOL.".to_owned() } else { format!("MOL-{namespace}.") };
        let own = |kind: PacketType| (kind, format!("{prefix}{}.{node_id}", kind.as_str()));
        let incoming = PacketType::ALL.into_iter().map(own).collect();
        Self { prefix, incoming }
    }

    /// The kind and the target of something that is published; `None` for what is no topic of this mesh.
    pub(super) fn outgoing<'a>(&self, topic: &'a str) -> Option<(PacketType, Option<&'a str>)> {
        let rest = topic.strip_prefix(self.prefix.as_str())?;
        let (word, target) = match rest.split_once('.') {
            Some((word, target)) => (word, Some(target)),
            None => (rest, None),
        };
        let kind = PacketType::ALL.into_iter().find(|kind| kind.as_str() == word)?;
        Some((kind, target))
    }

    /// The topic of a packet for this node.
    pub(super) fn incoming(&self, kind: PacketType) -> &str {
        let found = self.incoming.iter().find(|(known, _)| *known == kind);
        found.map_or("", |(_, topic)| topic)
    }

    /// The topic of a HELLO that came from an address.
    pub(super) fn hello_from(&self, address: IpAddr) -> String {
        format!("{}{}.{address}", self.prefix, PacketType::GossipHello.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_stand_for_frames_and_nodes() {
        let topics = Topics::new("a.b", "me");
        let outgoing = |topic: &'static str| topics.outgoing(topic);
        assert_eq!(outgoing("MOL-a.b.REQ.n.1"), Some((PacketType::Request, Some("n.1"))));
        assert_eq!(outgoing("MOL-a.b.DISCOVER"), Some((PacketType::Discover, None)));
        assert_eq!(outgoing("MOL-a.b.REQB.posts.get"), None);
        assert_eq!(outgoing("MOL.REQ.n"), None);
        assert_eq!(topics.incoming(PacketType::Event), "MOL-a.b.EVENT.me");
        assert_eq!(topics.hello_from([127, 0, 0, 1].into()), "MOL-a.b.GOSSIP_HELLO.127.0.0.1");
    }
}
