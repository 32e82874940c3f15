//! The names of topics: `MOL[-<namespace>].<CMD>[.<node ID>]`
//! (moleculer: src/transporters/base.js getTopicName, src/transit.js makeSubscriptions).

use std::sync::Arc;

use crate::packet::PacketType;

/// The topics of a node.
pub struct Topics {
    /// `MOL` or `MOL-<namespace>`, and a dot.
    prefix: String,
    node_id: Arc<str>,
}

impl Topics {
    /// For a node in a namespace; `""` is the one without a name.
    #[must_use]
    pub fn new(namespace: &str, node_id: &Arc<str>) -> Self {
        let prefix =
            if namespace.is_empty() { "MOL.".to_owned() } else { format!("MOL-{namespace}.") };
        Self { prefix, node_id: Arc::clone(node_id) }
    }

    /// The topic of a kind for one node, or for all.
    #[must_use]
    pub fn of(&self, kind: PacketType, target: Option<&str>) -> String {
        let (prefix, word) = (&self.prefix, kind.as_str());
        target.map_or_else(|| format!("{prefix}{word}"), |node| format!("{prefix}{word}.{node}"))
    }

    /// Everything that a node listens to. There is no topic for an event to all: it is sent to each node.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        use PacketType::{
            Disconnect, Discover, Event, Heartbeat, Info, Ping, Pong, Request, Response,
        };
        let own = |kind| self.of(kind, Some(&self.node_id));
        let all = |kind| self.of(kind, None);
        vec![
            own(Event),
            own(Request),
            own(Response),
            all(Discover),
            own(Discover),
            all(Info),
            own(Info),
            all(Disconnect),
            all(Heartbeat),
            all(Ping),
            own(Ping),
            own(Pong),
        ]
    }

    /// The kind of packet that a topic carries. The prefix is cut off first: a namespace may hold dots.
    #[must_use]
    pub fn kind_of(&self, topic: &str) -> Option<PacketType> {
        let rest = topic.strip_prefix(&self.prefix)?;
        let word = rest.split_once('.').map_or(rest, |(word, _)| word);
        PacketType::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    #[test]
    fn topics_have_moleculers_names() {
        let plain = Topics::new("", &"a".into());
        assert_eq!(plain.of(PacketType::Heartbeat, None), "MOL.HEARTBEAT");
        let named = Topics::new("prod.eu", &"node.1".into());
        assert_eq!(named.of(PacketType::Request, Some("b")), "MOL-prod.eu.REQ.b");
        for topic in named.subscriptions() {
            assert!(named.kind_of(&topic).is_some(), "{topic}");
        }
        assert_eq!(named.subscriptions().len(), 12);
        assert_eq!(named.kind_of("MOL-prod.eu.RES.node.1"), Some(PacketType::Response));
        assert_eq!(named.kind_of("MOL-prod.eu.RESX.node.1"), None);
        assert_eq!(named.kind_of("MOL.RES.node.1"), None);
    }

    static PIECES: [&[u8]; 6] = [b".", b"..", b"REQ", b"MOL-", b"*", b"\xf0\x9f\x98\x80"];

    /// Whatever topic a message comes on, only one with the prefix and a known word is read.
    #[test]
    fn damaged_topics_never_panic() {
        let topics = Topics::new("é.eu", &"n".into());
        let known = topics.of(PacketType::Request, Some("node.1"));
        let mut damage = Damage::new(0x5eed_0003_c0ff_ee03, &PIECES);
        for _ in 0..30_000 {
            let bytes = damage.copy(known.as_bytes());
            let topic = String::from_utf8_lossy(&bytes);
            if let Some(kind) = topics.kind_of(&topic) {
                assert!(topic.starts_with(&topics.of(kind, None)), "{topic}");
            }
        }
    }
}
