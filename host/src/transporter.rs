//! How bytes get to other nodes: topics and bytes, nothing of what they mean.
//!
//! A transporter keeps its connection by itself: after [`Transporter::connect`] succeeded once, losses and
//! recoveries are told as [`Event`]s and subscriptions are made again without anybody's help. Its read
//! loops end only with [`Transporter::disconnect`]. All its tasks run on the runtime on which `connect`
//! was awaited; publishing works from any other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

mod address;
pub mod amqp;
pub mod fake;
mod gather;
pub mod kafka;
mod link;
pub mod mqtt;
pub mod nats;
pub mod receipt;
pub mod redis;
mod room;
pub mod tcp;
mod writer;

pub use amqp::Amqp;
pub use fake::Fake;
pub use kafka::Kafka;
pub use mqtt::Mqtt;
pub use nats::Nats;
pub use redis::Redis;
pub use tcp::Tcp;

/// Whom a transporter tells what happens. Implemented by `transit`.
///
/// All functions are called in the read loop: they must not block, and what takes longer is their own
/// task.
pub trait Listener: Send + Sync {
    /// A message of a topic that was subscribed to. Messages of one topic come in their order. One that a
    /// message broker wants to hear of comes with a [`receipt`].
    fn handle_message(&self, topic: &str, data: Bytes);

    /// Messages that came together, in their order; all of them are taken. What they cause may be started
    /// together.
    fn handle_messages(&self, messages: &mut dyn Iterator<Item = (&str, Bytes)>) {
        for (topic, data) in messages {
            self.handle_message(topic, data);
        }
    }

    /// Something happened to the connection.
    fn handle_event(&self, event: Event);
}

/// What happens to a connection after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is lost; the transporter is trying to get it back.
    Disconnected,
    /// It is back, with all subscriptions.
    Reconnected,
    /// At least one message was dropped because they came faster than they were taken.
    SlowConsumer,
    /// A message of so many bytes was left unread, because it is larger than this node takes.
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The server or the client library reported something that is worth a person's look.
    Trouble(String),
    /// A node has shown itself that is not known to be online; it can be asked what it is. Only where nodes
    /// gossip, as is the next one.
    NodeFound {
        /// Its ID.
        node_id: Arc<str>,
    },
    /// A node has ended its connection, or cannot be reached.
    NodeLost {
        /// Its ID.
        node_id: Arc<str>,
        /// False when it closed the connection.
        unexpected: bool,
    },
    /// Another process has shown itself under this node's ID.
    Twin,
}

/// Why a transporter could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made. Trying again later may help.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Where to, without credentials.
        address: String,
        /// Why not.
        cause: String,
    },
    /// The address can never work.
    #[error("{address:?} is not an address of this transporter: {cause}")]
    Address {
        /// As it was given, without credentials.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There is no connection at the moment.
    #[error("not connected")]
    NotConnected,
    /// The message is larger than the server takes.
    #[error("the message has {size} bytes, the server takes {limit}")]
    PayloadTooLarge {
        /// The server's limit in bytes.
        limit: usize,
        /// The message's size in bytes.
        size: usize,
    },
    /// The server or the client library refused for another reason.
    #[error("refused: {0}")]
    Refused(String),
}

/// A queue that the nodes which listen to it share: each message goes to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its topic. That of an event ends with the pattern, in Moleculer's notation.
    pub topic: String,
    /// What those who share it have in common: the action, or the group of the event.
    pub group: String,
}

/// What became of an attempt to send without waiting.
#[derive(Debug)]
pub enum Attempt {
    /// It is over: the message is on its way, or failed.
    Done(Result<(), Error>),
    /// It would have to wait; here is the message again.
    MustWait(Bytes),
}

/// A way to reach other nodes.
pub trait Transporter: Send + Sync {
    /// Connects: one attempt.
    ///
    /// # Errors
    /// [`Error::Connect`] when it may work later, [`Error::Address`] when not.
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>>;

    /// Subscribes. When it returns, whatever is published afterwards on this connection comes after the
    /// subscriptions, so an answer to it cannot be missed.
    ///
    /// # Errors
    /// [`Error::NotConnected`] or [`Error::Refused`].
    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>>;

    /// Sends to all who subscribed to the topic. Waits only while the connection's send queue is full.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::PayloadTooLarge`] or [`Error::Refused`].
    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>>;

    /// Sends as [`Transporter::publish`] does, when that needs no waiting. It costs no future then; a
    /// transporter that cannot tell leaves it at that.
    fn try_publish(&self, _topic: &str, data: Bytes) -> Attempt {
        Attempt::MustWait(data)
    }

    /// Whether it can give each message to one of several nodes, so that nodes need not choose
    /// (moleculer: src/transporters/base.js hasBuiltInBalancer).
    fn has_balancer(&self) -> bool {
        false
    }

    /// Takes messages from these queues from now on, and from no others; those that stay are not
    /// interrupted. Without a balancer nothing happens.
    ///
    /// # Errors
    /// [`Error::NotConnected`], or [`Error::Refused`] for queues that cannot be; the others are shared.
    fn share(&self, _queues: Vec<Queue>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends what is queued, within a short time, and closes the connection for good.
    fn disconnect(&self) -> BoxFuture<'_, ()>;

    /// Where it connects to, without credentials.
    fn address(&self) -> String;

    /// How nodes tell each other what they know where there is nobody that tells it to all: then there are no
    /// DISCOVER, INFO, HEARTBEAT and DISCONNECT. `None` where these reach everybody. Asked after
    /// [`Transporter::connect`].
    fn gossip(&self) -> Option<Gossip> {
        None
    }
}

/// How nodes gossip.
#[derive(Clone, Debug, PartialEq)]
pub struct Gossip {
    /// Between two rounds.
    pub period: Duration,
    /// How many nodes are told at once that something of this node changed; the others hear it in the rounds.
    pub push_max: usize,
    /// Size in bytes above which an answer is sent in parts.
    pub packet_max: usize,
    /// The fields of this node's GOSSIP_HELLO. It is published once, without a target, before anything else.
    pub hello: Map<String, Value>,
}
