//! What goes to a NATS server: messages, and the subscriptions that every connection begins with.
//!
//! Bytes are gathered and written by [`Writer`]. Invariants: a message is delivered at most once.
//! Subscriptions are kept, and said again before anything else on a new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::transporter::nats::protocol;
use crate::transporter::writer::{Sink, Writer};
use crate::transporter::{Error, Queue};

/// The buffer of a connection, and what is known of it.
pub(super) struct Outbox {
    pub(super) writer: Arc<Writer>,
    /// Largest message that the server takes, in bytes.
    payload_max: AtomicUsize,
    state: Mutex<State>,
    /// A PONG came, or the connection is lost.
    pong: Notify,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            writer: Arc::default(),
            payload_max: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
            pong: Notify::new(),
        }
    }
}

#[derive(Default)]
struct State {
    /// Grows with every connection.
    connection: u64,
    subscriptions: Vec<Subscription>,
    last_subscription: u64,
    pings: u64,
    pongs: u64,
}

/// What the server is asked for, on this and all later connections.
struct Subscription {
    number: u64,
    subject: String,
    /// Of a shared queue.
    group: Option<String>,
}

impl Subscription {
    fn say(&self, buffer: &mut Vec<u8>) {
        protocol::subscribe(buffer, &self.subject, self.group.as_deref(), self.number);
    }
}

impl State {
    fn subscribe(&mut self, subject: String, group: Option<String>, buffer: &mut Vec<u8>) {
        self.last_subscription += 1;
        let subscription = Subscription { number: self.last_subscription, subject, group };
        subscription.say(buffer);
        self.subscriptions.push(subscription);
    }

    /// Shares these queues, and no others.
    fn share(&mut self, wanted: &[(String, &String)], buffer: &mut Vec<u8>) {
        self.subscriptions.retain(|old| {
            let Some(group) = &old.group else { return true };
            let wanted =
                wanted.iter().any(|(subject, other)| (subject, *other) == (&old.subject, group));
            if !wanted {
                protocol::unsubscribe(buffer, old.number);
            }
            wanted
        });
        for (subject, group) in wanted {
            let known =
                |old: &Subscription| old.subject == *subject && old.group.as_ref() == Some(*group);
            if !self.subscriptions.iter().any(known) {
                self.subscribe(subject.clone(), Some((*group).clone()), buffer);
            }
        }
    }
}

impl Outbox {
    /// Puts a message in and sees to it that it is written. Waits only while the buffer is full.
    pub(super) async fn publish(&self, topic: &str, data: &[u8]) -> Result<(), Error> {
        self.check(data)?;
        self.writer.publish(|out| protocol::publish(out, topic, data)).await
    }

    /// The same as far as it goes without waiting; `None` when the buffer is full.
    pub(super) fn try_publish(&self, topic: &str, data: &[u8]) -> Option<Result<(), Error>> {
        if let Err(error) = self.check(data) {
            return Some(Err(error));
        }
        self.writer.try_publish(|out| protocol::publish(out, topic, data))
    }

    /// Without a connection there is no limit: then the writer refuses.
    fn check(&self, data: &[u8]) -> Result<(), Error> {
        let (size, limit) = (data.len(), self.payload_max.load(Ordering::Relaxed));
        if size > limit { Err(Error::PayloadTooLarge { limit, size }) } else { Ok(()) }
    }

    /// Remembers topics for this and all later connections, and asks for their messages.
    pub(super) fn subscribe(&self, topics: Vec<String>) -> Result<(), Error> {
        let mut state = self.state.lock();
        self.writer.say(|out| {
            topics.into_iter().for_each(|topic| state.subscribe(topic, None, out));
        })
    }

    /// Shares these queues, and no others, on this and all later connections.
    pub(super) fn share(&self, queues: &[Queue]) -> Result<(), Error> {
        let (mut wanted, mut unfit) = (Vec::new(), Vec::new());
        for queue in queues {
            match protocol::subject(queue) {
                Some(subject) => wanted.push((subject, &queue.group)),
                None => unfit.push(format!("{:?}", queue.topic)),
            }
        }
        let mut state = self.state.lock();
        self.writer.say(|out| state.share(&wanted, out))?;
        drop(state);
        match unfit.as_slice() {
            [] => Ok(()),
            _ => Err(Error::Refused(format!("NATS has no such subject: {}", unfit.join(", ")))),
        }
    }

    /// There is a new connection. All topics are subscribed to before anything is published on it.
    pub(super) fn open(&self, sink: &Sink, payload_max: usize) {
        let state = self.state.lock();
        self.payload_max.store(payload_max, Ordering::Relaxed);
        self.writer.open(sink.socket(), |out| {
            state.subscriptions.iter().for_each(|subscription| subscription.say(out));
        });
    }

    /// The connection is lost: what is not written is dropped, and nobody waits any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.connection += 1;
        (state.pings, state.pongs) = (0, 0);
        self.payload_max.store(usize::MAX, Ordering::Relaxed);
        self.writer.close();
        drop(state);
        self.pong.notify_waiters();
    }

    /// Asks the server whether it is alive. Returns how many such questions are open, this one included.
    pub(super) fn ping(&self) -> u64 {
        let mut state = self.state.lock();
        // Without a connection nobody is asked; whoever reads notices that it is lost.
        let _ = self.writer.say(|out| {
            out.extend_from_slice(b"PING\r\n");
            state.pings += 1;
        });
        state.pings.saturating_sub(state.pongs)
    }

    /// Answers the server's question.
    pub(super) fn answer_ping(&self) {
        // Without a connection there is no answer to be given.
        let _ = self.writer.say(|out| out.extend_from_slice(b"PONG\r\n"));
    }

    /// The server answered a question.
    pub(super) fn handle_pong(&self) {
        let mut state = self.state.lock();
        state.pongs = state.pings.min(state.pongs + 1);
        drop(state);
        self.pong.notify_waiters();
    }

    /// Waits until the server has handled everything that has been put in, or the connection is lost.
    pub(super) async fn flush(&self) {
        self.ping();
        let (target, connection) = {
            let state = self.state.lock();
            (state.pings, state.connection)
        };
        loop {
            let pong = self.pong.notified();
            {
                let state = self.state.lock();
                if state.pongs >= target || state.connection != connection {
                    return;
                }
            }
            pong.await;
        }
    }
}
