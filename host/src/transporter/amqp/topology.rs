//! Which queues and exchanges there are, declared with exactly the arguments that Moleculer's nodes use: a
//! server refuses to declare a queue again with others (moleculer: src/transporters/amqp.js subscribe,
//! subscribeBalancedRequest, subscribeBalancedEvent, _getQueueOptions).
//!
//! A topic for one node is a queue of that name. A topic for all is a fanout exchange, to which every node
//! binds a queue of its own. A shared queue is a queue.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::transporter::amqp::{Declared, Options};
use crate::transporter::amqp::protocol::{CHANNEL, method};

/// Longest name on the wire.
const NAME_MAX: usize = 255;

/// Names within a namespace.
pub(super) struct Names {
    /// `MOL` or `MOL-<namespace>`, and a dot.
    prefix: String,
    node_id: String,
}

/// A queue that this node listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listened {
    /// Its name, which is the topic of its messages.
    pub(super) queue: String,
    /// Bound to it.
    pub(super) exchange: Option<String>,
    /// What decides over its arguments: the command of its topic.
    command: String,
    /// Whether its messages stay with the server until they have been handled.
    pub(super) acknowledged: bool,
}

/// Where a message goes: exchange and routing key.
pub(super) type Way<'a> = (&'a str, &'a str);

impl Names {
    pub(super) fn new(namespace: &str, node_id: &str) -> Self {
        let prefix =
            if namespace.is_empty() { "MOL.".to_owned() } else { format!("MOL-{namespace}.") };
        Self { prefix, node_id: node_id.to_owned() }
    }

    /// Command and the rest of a topic.
    fn split<'a>(&self, topic: &'a str) -> Option<(&'a str, Option<&'a str>)> {
        let rest = topic.strip_prefix(&self.prefix)?;
        Some(match rest.split_once('.') {
            Some((command, rest)) => (command, Some(rest)),
            None => (rest, None),
        })
    }

    /// How a topic is listened to; `None` when it cannot be.
    pub(super) fn listened(&self, topic: &str) -> Option<Listened> {
        let (command, rest) = self.split(topic)?;
        let (queue, exchange) = match rest {
            Some(_) => (topic.to_owned(), None),
            None => (format!("{topic}.{}", self.node_id), Some(topic.to_owned())),
        };
        let acknowledged = matches!(command, "REQ" | "REQB" | "EVENTB");
        let command = command.to_owned();
        (queue.len() <= NAME_MAX).then_some(Listened { queue, exchange, command, acknowledged })
    }

    /// Where a message of a topic goes; `None` when there is no way.
    pub(super) fn way<'a>(&self, topic: &'a str) -> Option<Way<'a>> {
        let (_, rest) = self.split(topic)?;
        (topic.len() <= NAME_MAX).then_some(if rest.is_some() { ("", topic) } else { (topic, "") })
    }
}

impl Listened {
    /// Declares the queue and what belongs to it, and listens as `consumer`.
    pub(super) fn begin(&self, out: &mut Vec<u8>, consumer: usize, options: &Options) {
        if let Some(exchange) = &self.exchange {
            declare_exchange(out, exchange, &options.exchange);
        }
        declare_queue(out, &self.queue, &self.declared(options));
        if let Some(exchange) = &self.exchange {
            method(out, CHANNEL, (50, 20), |out| {
                out.short(0).short_text(&self.queue).short_text(exchange).short_text("");
                out.byte(NO_WAIT).table(&Map::new());
            });
        }
        let consume = &options.consume;
        let flags = u8::from(consume.no_local)
            | u8::from(!self.acknowledged) << 1
            | u8::from(consume.exclusive) << 2
            | NO_WAIT << 3;
        method(out, CHANNEL, (60, 20), |out| {
            out.short(0).short_text(&self.queue).short_text(&consumer.to_string());
            out.byte(flags).table(&consume.arguments);
        });
    }

    /// Takes the queue away from its exchange, so that nothing more is put into it.
    pub(super) fn unbind(&self, out: &mut Vec<u8>) {
        let Some(exchange) = &self.exchange else { return };
        method(out, CHANNEL, (50, 50), |out| {
            out.short(0).short_text(&self.queue).short_text(exchange).short_text("");
            out.table(&Map::new());
        });
    }

    /// How the queue is declared.
    fn declared(&self, options: &Options) -> Declared {
        let mut declared = Declared::default();
        let mut argument = |name: &str, time: Option<Duration>| {
            let ms = time.and_then(|time| u64::try_from(time.as_millis()).ok());
            if let Some(ms) = ms {
                declared.arguments.insert(name.to_owned(), Value::from(ms));
            }
        };
        match self.command.as_str() {
            "REQB" => {}
            "REQ" | "RES" => argument("x-expires", options.auto_delete_queues),
            "EVENT" | "EVENTB" => {
                argument("x-expires", options.auto_delete_queues);
                argument("x-message-ttl", options.event_time_to_live);
            }
            "HEARTBEAT" => {
                argument("x-message-ttl", options.heartbeat_time_to_live);
                declared.auto_delete = Some(true);
            }
            _ => declared.auto_delete = Some(true),
        }
        let over = &options.queue;
        declared.durable = over.durable;
        declared.auto_delete = over.auto_delete.or(declared.auto_delete);
        declared.exclusive = over.exclusive;
        declared.arguments.extend(over.arguments.clone());
        declared
    }
}

/// The flag of methods that want no answer.
const NO_WAIT: u8 = 1;

fn declare_exchange(out: &mut Vec<u8>, name: &str, declared: &Declared) {
    let flags = u8::from(declared.durable.unwrap_or(true)) << 1
        | u8::from(declared.auto_delete.unwrap_or(false)) << 2
        | u8::from(declared.internal.unwrap_or(false)) << 3
        | NO_WAIT << 4;
    method(out, CHANNEL, (40, 10), |out| {
        out.short(0).short_text(name).short_text("fanout").byte(flags).table(&declared.arguments);
    });
}

fn declare_queue(out: &mut Vec<u8>, name: &str, declared: &Declared) {
    let flags = u8::from(declared.durable.unwrap_or(true)) << 1
        | u8::from(declared.exclusive.unwrap_or(false)) << 2
        | u8::from(declared.auto_delete.unwrap_or(false)) << 3
        | NO_WAIT << 4;
    method(out, CHANNEL, (50, 10), |out| {
        out.short(0).short_text(name).byte(flags).table(&declared.arguments);
    });
}

/// Listens no more.
pub(super) fn cancel(out: &mut Vec<u8>, consumer: usize) {
    method(out, CHANNEL, (60, 30), |out| {
        out.short_text(&consumer.to_string()).byte(NO_WAIT);
    });
}

/// How many messages a consumer may have in its hands.
pub(super) fn qos(out: &mut Vec<u8>, prefetch: u16) {
    method(out, CHANNEL, (60, 10), |out| {
        out.long(0).short(prefetch).byte(0);
    });
}

/// A message has been handled.
pub(super) fn ack(out: &mut Vec<u8>, tag: u64) {
    method(out, CHANNEL, (60, 80), |out| {
        out.long_long(tag).byte(0);
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn topics_are_queues_or_exchanges_as_in_moleculer() {
        let names = Names::new("n.s", "me");
        let all = names.listened("MOL-n.s.INFO").unwrap();
        assert_eq!(
            (&*all.queue, all.exchange.as_deref()),
            ("MOL-n.s.INFO.me", Some("MOL-n.s.INFO"))
        );
        let own = names.listened("MOL-n.s.REQ.me").unwrap();
        assert_eq!((&*own.queue, own.exchange, own.acknowledged), ("MOL-n.s.REQ.me", None, true));
        assert!(!names.listened("MOL-n.s.RES.me").unwrap().acknowledged);
        assert!(names.listened("MOL-n.s.EVENTB.g.e").unwrap().acknowledged);
        assert_eq!(names.way("MOL-n.s.REQB.a.b"), Some(("", "MOL-n.s.REQB.a.b")));
        assert_eq!(names.way("MOL-n.s.INFO"), Some(("MOL-n.s.INFO", "")));
        let long = format!("MOL-n.s.REQB.{}", "x".repeat(NAME_MAX));
        assert_eq!((names.listened(&long), names.way(&long)), (None, None));
        assert_eq!(names.way("MOL.INFO"), None);
    }

    /// moleculer: src/transporters/amqp.js _getQueueOptions
    #[test]
    fn arguments_of_queues_are_those_of_moleculer() {
        let names = Names::new("", "me");
        let check = |options: &Options, topic: &str, auto_delete: Option<bool>, expected: Value| {
            let declared = names.listened(topic).unwrap().declared(options);
            assert_eq!(declared.auto_delete, auto_delete, "{topic}");
            assert_eq!(Value::Object(declared.arguments), expected, "{topic}");
        };
        let plain = Options::new(Vec::new());
        for topic in ["MOL.REQ.me", "MOL.RES.me", "MOL.EVENT.me", "MOL.EVENTB.g.e"] {
            check(&plain, topic, None, json!({"x-expires": 120_000}));
        }
        check(&plain, "MOL.REQB.a", None, json!({}));
        for topic in ["MOL.HEARTBEAT", "MOL.INFO", "MOL.PONG.me", "MOL.DISCONNECT"] {
            check(&plain, topic, Some(true), json!({}));
        }
        let options = Options {
            auto_delete_queues: None,
            event_time_to_live: Some(Duration::from_secs(5)),
            heartbeat_time_to_live: Some(Duration::from_secs(6)),
            ..plain
        };
        check(&options, "MOL.REQ.me", None, json!({}));
        check(&options, "MOL.EVENTB.g.e", None, json!({"x-message-ttl": 5_000}));
        check(&options, "MOL.HEARTBEAT", Some(true), json!({"x-message-ttl": 6_000}));
        let over = Declared {
            auto_delete: Some(false),
            arguments: json!({"x-expires": 7}).as_object().cloned().unwrap(),
            ..Declared::default()
        };
        let options = Options { queue: over, ..options };
        check(&options, "MOL.INFO", Some(false), json!({"x-expires": 7}));
    }
}
