//! What publishers and subscribers put in, and what they wait for: room, and the server's confirmations.
//!
//! Publishing is possible only while all topics are subscribed to, because an answer that comes before its
//! subscription is lost. Invariant: what waits here ends with the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::transporter::Error;
use crate::transporter::redis::protocol;
use crate::transporter::redis::session::Session;
use crate::transporter::writer::Writer;

/// Both connections to a server, for those who use them.
pub(super) struct Outbox {
    pub(super) publisher: Line,
    pub(super) subscriber: Line,
    /// All topics, in the order in which they were asked for.
    topics: Mutex<Vec<String>>,
    /// How many of them the server has confirmed; `None` while there is no connection.
    confirmed: watch::Sender<Option<usize>>,
    /// Commands that were put into the publisher, of all connections.
    sent: AtomicU64,
    /// How many of them were answered, or lost with their connection.
    answered: watch::Sender<u64>,
}

/// One connection.
#[derive(Default)]
pub(super) struct Line {
    pub(super) writer: Arc<Writer>,
    /// Signs of life that were asked for since the server said anything.
    unanswered: AtomicU32,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            publisher: Line::default(),
            subscriber: Line::default(),
            topics: Mutex::default(),
            confirmed: watch::Sender::new(None),
            sent: AtomicU64::new(0),
            answered: watch::Sender::new(0),
        }
    }
}

impl Line {
    /// The server said something.
    pub(super) fn heard(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Asks the server whether it is alive. Returns how many such questions are open, this one included.
    fn ping(&self, count: impl FnOnce()) -> u32 {
        // A connection that is lost is noticed by whoever reads it.
        let _ = self.writer.say(|out| {
            protocol::command(out, &[b"PING"]);
            count();
        });
        self.unanswered.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Outbox {
    /// Puts a message in and sees to it that it is written. Waits only while the buffer is full.
    pub(super) async fn publish(&self, topic: &str, data: &[u8]) -> Result<(), Error> {
        let published = self.publisher.writer.publish(|out| {
            protocol::publish(out, topic, data);
            self.sent.fetch_add(1, Ordering::Relaxed);
        });
        published.await
    }

    /// Remembers topics for this and all later connections, and waits until their messages are sent to us.
    pub(super) async fn subscribe(&self, more: Vec<String>) -> Result<(), Error> {
        let mut confirmed = self.confirmed.subscribe();
        let wanted = {
            let mut topics = self.topics.lock();
            self.subscriber.writer.say(|out| protocol::subscribe(out, &more))?;
            for topic in more {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
            topics.len()
        };
        let done = confirmed.wait_for(|state| state.is_none_or(|n| n >= wanted)).await;
        // The sender is a field of this value, so it is there.
        let there = done.is_ok_and(|state| state.is_some());
        if there { Ok(()) } else { Err(Error::NotConnected) }
    }

    /// There are new connections. All topics are asked for; publishing begins at once when there are none,
    /// and with [`Outbox::confirm`] else.
    pub(super) fn open(&self, session: &Session) {
        let topics = self.topics.lock();
        self.publisher.heard();
        self.subscriber.heard();
        self.confirmed.send_replace(Some(0));
        let greet = |out: &mut Vec<u8>| {
            if !topics.is_empty() {
                protocol::subscribe(out, &topics);
            }
        };
        self.subscriber.writer.open(session.subscriber.sink.socket(), greet);
        if topics.is_empty() {
            self.publisher.writer.open(session.publisher.sink.socket(), |_| {});
        }
    }

    /// The server has confirmed so many topics; `true` when those are all.
    pub(super) fn confirm(&self, topics: usize) -> bool {
        let all = topics >= self.topics.lock().len();
        self.confirmed.send_replace(Some(topics));
        all
    }

    /// So many commands of the publisher were answered.
    pub(super) fn answer(&self, commands: u64) {
        self.answered.send_modify(|answered| *answered += commands);
    }

    /// The connections are lost: what is not written is dropped, and nobody waits any more.
    pub(super) fn close(&self) {
        self.publisher.writer.close();
        self.subscriber.writer.close();
        self.confirmed.send_replace(None);
        self.answered.send_replace(self.sent.load(Ordering::Relaxed));
    }

    /// Asks both connections for signs of life. Returns how many such questions are open on the worse one.
    pub(super) fn ping(&self) -> u32 {
        let count = || {
            self.sent.fetch_add(1, Ordering::Relaxed);
        };
        self.publisher.ping(count).max(self.subscriber.ping(|| {}))
    }

    /// Waits until the server has handled everything that has been published, or the connection is lost.
    pub(super) async fn flush(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        // The sender is a field of this value, so it is there.
        let _ = self.answered.subscribe().wait_for(|answered| *answered >= sent).await;
    }
}
