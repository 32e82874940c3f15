//! The names of topics: `MOL[-<namespace>].<CMD>[.<node ID>]`, and those of the queues that nodes share:
//! `MOL[-<namespace>].REQB.<action>`, `….EVENTB.<group>.<event>`
//! (moleculer: src/transporters/base.js getTopicName, src/transit.js makeSubscriptions).

use std::sync::Arc;

use serde_json::Value;

use crate::packet::{PacketType, ServiceItem};
use crate::transporter::Queue;

/// What stands in the topics of shared queues for a kind of packet.
const SHARED: [(&str, PacketType); 2] =
    [("REQB", PacketType::Request), ("EVENTB", PacketType::Event)];

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
        let (word, node_len) = (kind.as_str(), target.map_or(0, |node| node.len() + 1));
        let mut topic = String::with_capacity(self.prefix.len() + word.len() + node_len);
        topic.extend([self.prefix.as_str(), word]);
        if let Some(node) = target {
            topic.extend([".", node]);
        }
        topic
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

    /// The queue of an action.
    #[must_use]
    pub fn of_action(&self, action: &str) -> Queue {
        Queue { topic: format!("{}REQB.{action}", self.prefix), group: action.to_owned() }
    }

    /// The queue of an event in a group; of a pattern for those who listen.
    #[must_use]
    pub fn of_event(&self, group: &str, event: &str) -> Queue {
        Queue { topic: format!("{}EVENTB.{group}.{event}", self.prefix), group: group.to_owned() }
    }

    /// The queues of everything that services offer (moleculer: src/transporters/base.js
    /// makeBalancedSubscriptions).
    #[must_use]
    pub fn queues(&self, services: &[ServiceItem]) -> Vec<Queue> {
        let mut queues: Vec<Queue> = Vec::new();
        for service in services {
            let actions = service.actions.keys().map(|action| self.of_action(action));
            let events = service.events.iter().map(|(event, definition)| {
                let group = definition.get("group").and_then(Value::as_str);
                self.of_event(group.unwrap_or(&service.name), event)
            });
            // Two versions of a service may share one.
            for queue in actions.chain(events) {
                if !queues.contains(&queue) {
                    queues.push(queue);
                }
            }
        }
        queues
    }

    /// The kind of packet that a topic carries. The prefix is cut off first: a namespace may hold dots.
    #[must_use]
    pub fn kind_of(&self, topic: &str) -> Option<PacketType> {
        let rest = topic.strip_prefix(&self.prefix)?;
        let word = rest.split_once('.').map_or(rest, |(word, _)| word);
        let shared = || SHARED.into_iter().find(|(shared, _)| *shared == word);
        PacketType::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .or_else(|| shared().map(|(_, kind)| kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    #[test]
    fn queues_have_moleculers_names_and_are_listed_once() {
        let topics = Topics::new("bal", &"a".into());
        let item = |name: &str| ServiceItem {
            name: name.into(),
            actions: [("w.x".to_owned(), Value::Null)].into_iter().collect(),
            events: [
                ("user.**".to_owned(), serde_json::json!({})),
                ("e.one".to_owned(), serde_json::json!({"group": "g2"})),
            ]
            .into_iter()
            .collect(),
            ..ServiceItem::default()
        };
        let queues = topics.queues(&[item("w"), item("w")]);
        let mut queues: Vec<_> = queues.iter().map(|q| (&*q.topic, &*q.group)).collect();
        queues.sort_unstable();
        let expected = [
            ("MOL-bal.EVENTB.g2.e.one", "g2"),
            ("MOL-bal.EVENTB.w.user.**", "w"),
            ("MOL-bal.REQB.w.x", "w.x"),
        ];
        assert_eq!(queues, expected);
        assert_eq!(topics.kind_of("MOL-bal.REQB.w.x"), Some(PacketType::Request));
        assert_eq!(topics.kind_of("MOL-bal.EVENTB.g2.e.one"), Some(PacketType::Event));
    }

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
