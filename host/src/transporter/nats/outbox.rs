//! What is to be written to a connection: one buffer, filled by all who publish.
//!
//! A packet costs a copy into the buffer; the system call and the wake-up of the server are paid once for
//! all packets of a moment. Whoever puts the first packet into an empty buffer starts a task on its own
//! runtime, which lets everything else that is ready to run there go first and then writes what has come
//! together. So a lone packet leaves at once, without a timer and without a change of threads, and the
//! busier the node, the fewer the writes. Handlers that never yield could keep that task from running:
//! after [`PATIENCE`] nobody relies on it, so that heartbeats, which come from another runtime, write
//! themselves and all that lies before them. What the socket does not take at once, and everything on
//! TLS, is written by the connection's task.
//!
//! Invariants: bytes are written in the order in which they were put in, by one writer at a time. What is
//! not written when a connection ends is dropped: a message is delivered at most once, and half of one
//! must never begin another connection. Subscriptions are kept, and said again. The buffer takes nothing
//! more while it holds [`BUFFER_MAX`]; publishing waits then.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use crate::clock::{self, Instant};
use crate::task;
use crate::transporter::nats::protocol;
use crate::transporter::{Error, Queue};

/// Bytes in the buffer from which on publishing waits: some thousand calls. As many may be in a writer's
/// hands at that time.
const BUFFER_MAX: usize = 4 << 20;

/// How long others rely on the one that promised to write.
const PATIENCE: Duration = Duration::from_millis(1);

/// Buffers that grew larger are given back when they are empty.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// Where bytes go.
pub(super) enum Sink {
    /// A socket on which anybody may write.
    Plain(Arc<OwnedWriteHalf>),
    /// A stream that only the connection's task writes.
    Task(Box<dyn AsyncWrite + Send + Unpin>),
}

/// The buffer and its state.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// There is work for the connection's task.
    work: Notify,
    /// There is room again, or the connection is lost.
    room: Notify,
    /// A PONG came, or the connection is lost.
    pong: Notify,
}

#[derive(Default)]
struct State {
    /// True while there is a connection.
    open: bool,
    /// Grows with every connection, so that a writer of an old one does no harm to a new one.
    connection: u64,
    /// Written by publishers, when they may.
    socket: Option<Arc<OwnedWriteHalf>>,
    buffer: Vec<u8>,
    /// The last writer's buffer, to be used again.
    spare: Vec<u8>,
    /// What a publisher could not write; goes before the buffer. The connection's task takes it.
    rest: Vec<u8>,
    /// True while somebody has bytes in its hands, or `rest` waits for the connection's task.
    writing: bool,
    /// When somebody promised to write what is in the buffer.
    promised: Option<Instant>,
    /// Largest message that the server takes, in bytes.
    payload_max: usize,
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
    fn subscribe(&mut self, subject: String, group: Option<String>) {
        self.last_subscription += 1;
        let subscription = Subscription { number: self.last_subscription, subject, group };
        subscription.say(&mut self.buffer);
        self.subscriptions.push(subscription);
    }
}

/// A promise to write. It is kept also when the task that made it ends without having run.
struct Promise(Arc<Outbox>);

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.write_now();
    }
}

/// What became of an attempt to put a packet in.
enum Put {
    /// It is in, and somebody has promised to write it.
    Promised,
    /// It is in, and is the first.
    First,
    /// It is in, and the promise to write is too old.
    Late,
    /// There is no room.
    Full,
}

impl Outbox {
    /// Puts a message in and sees to it that it is written. Waits only while the buffer is full.
    pub(super) async fn publish(self: &Arc<Self>, topic: &str, data: &[u8]) -> Result<(), Error> {
        loop {
            let room = self.room.notified();
            if let Some(done) = self.try_publish(topic, data) {
                return done;
            }
            room.await;
        }
    }

    /// The same as far as it goes without waiting; `None` when the buffer is full.
    pub(super) fn try_publish(
        self: &Arc<Self>,
        topic: &str,
        data: &[u8],
    ) -> Option<Result<(), Error>> {
        match self.put(topic, data) {
            Ok(Put::Promised) => {}
            Ok(Put::First) => self.promise(),
            Ok(Put::Late) => self.write_now(),
            Ok(Put::Full) => {
                self.write_now();
                return None;
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(()))
    }

    fn put(&self, topic: &str, data: &[u8]) -> Result<Put, Error> {
        let now = clock::now();
        let mut state = self.state.lock();
        if !state.open {
            return Err(Error::NotConnected);
        }
        if data.len() > state.payload_max {
            return Err(Error::PayloadTooLarge { limit: state.payload_max, size: data.len() });
        }
        if state.buffer.len() >= BUFFER_MAX {
            return Ok(Put::Full);
        }
        protocol::publish(&mut state.buffer, topic, data);
        match state.promised {
            None => {
                state.promised = Some(now);
                Ok(Put::First)
            }
            Some(at) if now.saturating_duration_since(at) < PATIENCE => Ok(Put::Promised),
            Some(_) => Ok(Put::Late),
        }
    }

    /// Writes after everything that is ready to run on this runtime now. A runtime of one thread may not
    /// run for as long as its owner likes; there, and outside of any, the connection's task writes.
    fn promise(self: &Arc<Self>) {
        let promise = Promise(Arc::clone(self));
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
                task::spawn_on(&runtime, "nats write", async move {
                    let _promise = promise;
                    tokio::task::yield_now().await;
                });
            }
            _ => drop(promise),
        }
    }

    /// Remembers topics for this and all later connections, and asks for their messages.
    pub(super) fn subscribe(&self, topics: Vec<String>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(Error::NotConnected);
        }
        for topic in topics {
            state.subscribe(topic, None);
        }
        drop(state);
        self.write_now();
        Ok(())
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
        if !state.open {
            return Err(Error::NotConnected);
        }
        let State { subscriptions, buffer, .. } = &mut *state;
        subscriptions.retain(|old| {
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
                |old: &Subscription| old.subject == subject && old.group.as_ref() == Some(group);
            if !state.subscriptions.iter().any(known) {
                state.subscribe(subject, Some(group.clone()));
            }
        }
        drop(state);
        self.write_now();
        match unfit.as_slice() {
            [] => Ok(()),
            _ => Err(Error::Refused(format!("NATS has no such subject: {}", unfit.join(", ")))),
        }
    }

    /// There is a new connection. All topics are subscribed to before anything is published on it.
    pub(super) fn open(&self, sink: &Sink, payload_max: usize) {
        let mut state = self.state.lock();
        state.socket = match sink {
            Sink::Plain(socket) => Some(Arc::clone(socket)),
            Sink::Task(_) => None,
        };
        let State { subscriptions, buffer, .. } = &mut *state;
        subscriptions.iter().for_each(|subscription| subscription.say(buffer));
        state.payload_max = payload_max;
        state.open = true;
        drop(state);
        self.write_now();
    }

    /// The connection is lost: what is not written is dropped, and nobody waits any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        let subscriptions = std::mem::take(&mut state.subscriptions);
        *state = State {
            connection: state.connection + 1,
            subscriptions,
            last_subscription: state.last_subscription,
            ..State::default()
        };
        drop(state);
        self.room.notify_waiters();
        self.pong.notify_waiters();
    }

    /// Asks the server whether it is alive. Returns how many such questions are open, this one included.
    pub(super) fn ping(&self) -> u64 {
        let mut state = self.state.lock();
        if state.open {
            state.buffer.extend_from_slice(b"PING\r\n");
            state.pings += 1;
        }
        let unanswered = state.pings.saturating_sub(state.pongs);
        drop(state);
        self.write_now();
        unanswered
    }

    /// Answers the server's question.
    pub(super) fn answer_ping(&self) {
        let mut state = self.state.lock();
        if state.open {
            state.buffer.extend_from_slice(b"PONG\r\n");
        }
        drop(state);
        self.write_now();
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

    /// Writes what is in the buffer, from this thread, as far as the socket takes it.
    fn write_now(&self) {
        let mut state = self.state.lock();
        state.promised = None;
        if !state.open || state.writing || state.buffer.is_empty() {
            // Whoever writes now looks again when it is done.
            return;
        }
        let Some(socket) = state.socket.clone() else {
            drop(state);
            self.work.notify_one();
            return;
        };
        let connection = state.connection;
        let mut bytes = self.begin(&mut state);
        drop(state);
        loop {
            let written = write_available(&socket, &bytes);
            if written < bytes.len() {
                bytes.drain(..written);
                self.hand_over(connection, bytes);
                return;
            }
            match self.next(connection, bytes) {
                Some(more) => bytes = more,
                None => return,
            }
        }
    }

    /// Writes for publishers that cannot, until the connection fails; why it did.
    pub(super) async fn write_rest(&self, sink: &mut Sink) -> std::io::Error {
        loop {
            self.work.notified().await;
            let Some((connection, mut bytes)) = self.take() else { continue };
            loop {
                if let Err(error) = sink.write(&bytes).await {
                    return error;
                }
                match self.next(connection, bytes) {
                    Some(more) => bytes = more,
                    None => break,
                }
            }
        }
    }

    /// What there is to write for the connection's task.
    fn take(&self) -> Option<(u64, Vec<u8>)> {
        let mut state = self.state.lock();
        let bytes = if !state.rest.is_empty() {
            std::mem::take(&mut state.rest)
        } else if !state.writing && !state.buffer.is_empty() {
            self.begin(&mut state)
        } else {
            return None;
        };
        Some((state.connection, bytes))
    }

    /// Takes the buffer out to write it.
    fn begin(&self, state: &mut State) -> Vec<u8> {
        if state.buffer.len() >= BUFFER_MAX {
            self.room.notify_waiters();
        }
        state.writing = true;
        let spare = std::mem::take(&mut state.spare);
        std::mem::replace(&mut state.buffer, spare)
    }

    /// These bytes are written. Gives those that came meanwhile and that nobody else is going to write.
    fn next(&self, connection: u64, mut written: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        if state.connection != connection {
            return None;
        }
        written.clear();
        if written.capacity() <= BUFFER_KEPT_MAX {
            state.spare = written;
        }
        if state.promised.is_some() || state.buffer.is_empty() {
            state.writing = false;
            return None;
        }
        Some(self.begin(&mut state))
    }

    /// The socket does not take these bytes now, or has failed: the connection's task finds out which.
    fn hand_over(&self, connection: u64, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        if state.connection == connection {
            state.rest = bytes;
            drop(state);
            self.work.notify_one();
        }
    }
}

/// How many of the bytes a socket took without waiting.
fn write_available(socket: &OwnedWriteHalf, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match socket.try_write(rest) {
            Ok(0) | Err(_) => break,
            Ok(n) => written += n,
        }
    }
    written
}

impl Sink {
    async fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Task(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Plain(socket) => {
                while !bytes.is_empty() {
                    socket.writable().await?;
                    match socket.try_write(bytes) {
                        Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                        Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }
}
