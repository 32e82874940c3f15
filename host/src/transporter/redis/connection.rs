//! A connection's life: it is read and written, kept alive, lost, and made again for ever.
//!
//! Both connections to a server live and die together: a node that hears nothing must not speak, and one
//! that cannot speak need not listen. One task does all of it, so that messages are handed on in their order
//! and without a queue in between: who listens is called in the read loop. A listener that is slow fills the
//! server's buffer, whose limit (`client-output-buffer-limit pubsub`) ends the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::backoff;
use crate::clock;
use crate::transporter::redis::address::Server;
use crate::transporter::redis::outbox::{Line, Outbox};
use crate::transporter::redis::protocol::{self, Fault, Op, Parsed};
use crate::transporter::redis::session::{Lost, READ_SIZE, Session, Stream, read_more};
use crate::transporter::{Event, Listener};

/// How often the server is asked whether it is alive. Two questions without an answer end the connection:
/// half a minute at most, which is less than the usual time-out of heartbeats.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer that end the connection.
const PINGS_MAX: u32 = 2;

/// Longest pause between two attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// A read buffer that grew larger, for a large message, is given back.
const BUFFER_KEPT_MAX: usize = 4 * READ_SIZE;

/// A connection and where else it could be.
pub(super) struct Connection {
    pub(super) outbox: Arc<Outbox>,
    listener: Arc<dyn Listener>,
    /// Tried in turn.
    servers: Vec<Server>,
    next: usize,
    /// Largest message that is read, in bytes.
    message_max: usize,
    client_name: String,
}

impl Connection {
    /// A connection that is not made yet.
    pub(super) fn new(
        servers: Vec<Server>,
        message_max: usize,
        client_name: String,
        listener: Arc<dyn Listener>,
    ) -> Self {
        Self { outbox: Arc::default(), listener, servers, next: 0, message_max, client_name }
    }

    /// Tries each server once. The error names all that failed.
    pub(super) async fn connect(&mut self) -> Result<Session, String> {
        let mut causes = Vec::new();
        for _ in 0..self.servers.len() {
            let Some(server) = self.servers.get(self.next % self.servers.len()) else { break };
            self.next = self.next.wrapping_add(1);
            match Session::open(server, &self.client_name).await {
                Ok(session) => {
                    self.outbox.open(&session);
                    return Ok(session);
                }
                Err(lost) => causes.push((server, lost)),
            }
        }
        Err(match causes.as_slice() {
            [(_, lost)] => lost.to_string(),
            _ => {
                let causes: Vec<_> =
                    causes.iter().map(|(server, lost)| format!("{server}: {lost}")).collect();
                causes.join("; ")
            }
        })
    }

    /// Serves a session and those that follow it, until the task is cancelled.
    pub(super) async fn run(mut self, session: Session) {
        let mut trouble = String::new();
        let mut attempt = 0;
        let mut began = clock::now();
        let mut ended = self.serve(session, Phase::Serving).await;
        loop {
            self.outbox.close();
            // One that never served is a failed attempt to reconnect, which is told as trouble alone.
            if ended.phase == Phase::Serving {
                self.listener.handle_event(Event::Disconnected);
                trouble.clear();
            }
            // A server that accepts us and throws us out again is not asked without a pause.
            if clock::now().saturating_duration_since(began) > RECONNECT_DELAY_MAX {
                attempt = 0;
            }
            self.tell(&mut trouble, ended.cause.to_string());
            let session = self.reconnect(&mut attempt, &mut trouble).await;
            began = clock::now();
            ended = self.serve(session, Phase::Subscribing).await;
        }
    }

    /// Tries until it works.
    async fn reconnect(&mut self, attempt: &mut u32, last_trouble: &mut String) -> Session {
        loop {
            tokio::time::sleep(backoff::delay(*attempt, RECONNECT_DELAY_MAX)).await;
            *attempt = attempt.saturating_add(1);
            match self.connect().await {
                Ok(session) => return session,
                Err(trouble) => self.tell(last_trouble, trouble),
            }
        }
    }

    /// Tells trouble; the same as before is told once.
    fn tell(&self, last: &mut String, trouble: String) {
        if trouble != *last {
            last.clone_from(&trouble);
            self.listener.handle_event(Event::Trouble(trouble));
        }
    }

    /// Reads, writes and asks for signs of life until one of them fails.
    async fn serve(&self, session: Session, phase: Phase) -> Ended {
        let Session { mut publisher, mut subscriber } = session;
        let outbox = &*self.outbox;
        let mut incoming = Incoming {
            outbox,
            listener: &*self.listener,
            message_max: self.message_max,
            skip: 0,
            phase,
            publisher: publisher.sink.socket(),
        };
        let cause = {
            let Stream { source: answers, sink: out, buffer: answered } = &mut publisher;
            let Stream { source: messages, sink: questions, buffer: arrived } = &mut subscriber;
            tokio::select! {
                lost = incoming.read(&mut **messages, arrived) => lost,
                lost = read_answers(outbox, &*self.listener, &mut **answers, answered) => lost,
                error = outbox.publisher.writer.write_rest(out) => Lost::Io(error),
                error = outbox.subscriber.writer.write_rest(questions) => Lost::Io(error),
                lost = keep_alive(outbox) => lost,
            }
        };
        Ended { cause, phase: incoming.phase }
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The topics are not all confirmed yet after a reconnect.
    Subscribing,
    /// Messages come and go.
    Serving,
}

/// How a session ended.
struct Ended {
    cause: Lost,
    phase: Phase,
}

/// What comes in on the subscriber.
struct Incoming<'a> {
    outbox: &'a Outbox,
    listener: &'a dyn Listener,
    message_max: usize,
    /// Bytes of a message that is too large which are still to come.
    skip: usize,
    phase: Phase,
    /// Where publishing begins when all topics are confirmed.
    publisher: Option<Arc<OwnedWriteHalf>>,
}

impl Incoming<'_> {
    async fn read(
        &mut self,
        source: &mut (dyn AsyncRead + Send + Unpin),
        buffer: &mut BytesMut,
    ) -> Lost {
        loop {
            let missing = match self.handle_all(buffer) {
                Ok(missing) => missing,
                Err(lost) => return lost,
            };
            if let Err(lost) = read_some(&self.outbox.subscriber, source, buffer, missing).await {
                return lost;
            }
        }
    }

    /// Handles all that is whole. Returns how much of the rest is missing at least.
    fn handle_all(&mut self, buffer: &mut BytesMut) -> Result<usize, Lost> {
        let listener = self.listener;
        let mut arrived = Messages { incoming: self, bytes: buffer, done: 0, end: None };
        let end = loop {
            listener.handle_messages(&mut arrived);
            // Unless the listener left some.
            if let Some(end) = arrived.end.take() {
                break end;
            }
        };
        let done = arrived.done;
        buffer.advance(done);
        end
    }

    fn handle(&mut self, op: &Op<'_>) -> Result<(), Lost> {
        match op {
            // Messages go another way.
            Op::Pong | Op::Text(_) | Op::Message { .. } => Ok(()),
            Op::Subscribed { topics } => {
                if self.outbox.confirm(*topics) && self.phase == Phase::Subscribing {
                    self.phase = Phase::Serving;
                    self.outbox.publisher.writer.open(self.publisher.clone(), |_| {});
                    self.listener.handle_event(Event::Reconnected);
                }
                Ok(())
            }
            // A node that does not hear what it must is no part of the mesh.
            Op::Error(cause) => Err(Lost::Refused((*cause).to_owned())),
            Op::Number(_) => Err(Fault::Malformed("a number that nobody asked for".into()).into()),
        }
    }
}

/// The messages in what was read. What else the server says between them is handled on the way.
struct Messages<'a, 'b> {
    incoming: &'a mut Incoming<'b>,
    bytes: &'a [u8],
    /// Bytes that were handled.
    done: usize,
    /// How much is missing, or what is wrong, once that is reached.
    end: Option<Result<usize, Lost>>,
}

impl<'a> Messages<'a, '_> {
    fn parse(&mut self) -> Result<Parsed<'a>, Lost> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        let skipped = self.incoming.skip.min(rest.len());
        self.incoming.skip -= skipped;
        self.done += skipped;
        let rest = rest.get(skipped..).unwrap_or_default();
        Ok(protocol::parse(rest, self.incoming.message_max)?)
    }
}

impl<'a> Iterator for Messages<'a, '_> {
    type Item = (&'a str, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let handled = match self.parse() {
                Ok(Parsed::Whole { op: Op::Message { topic, payload }, size }) => {
                    self.done += size;
                    // Copied, so that a small message that is kept does not keep all that was read with it.
                    return Some((topic, Bytes::copy_from_slice(payload)));
                }
                Ok(Parsed::Whole { op, size }) => {
                    self.done += size;
                    self.incoming.handle(&op)
                }
                Ok(Parsed::TooLarge { payload, size, rest }) => {
                    self.done += size;
                    self.incoming.skip = rest;
                    self.incoming.listener.handle_event(Event::TooLarge { size: payload });
                    Ok(())
                }
                Ok(Parsed::Partial { missing }) => {
                    self.end = Some(Ok(missing));
                    return None;
                }
                Err(lost) => Err(lost),
            };
            if let Err(lost) = handled {
                self.end = Some(Err(lost));
                return None;
            }
        }
    }
}

/// Reads what the server answers to what was published.
async fn read_answers(
    outbox: &Outbox,
    listener: &dyn Listener,
    source: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut BytesMut,
) -> Lost {
    // A server that refuses every message is told once.
    let mut last_trouble = String::new();
    loop {
        let mut n_answers = 0;
        let missing = loop {
            let (op, size) = match protocol::parse(buffer, 0) {
                Ok(Parsed::Whole { op, size }) => (op, size),
                Ok(Parsed::Partial { missing }) => break missing,
                Ok(Parsed::TooLarge { .. }) => {
                    return Fault::Malformed("a message that nobody asked for".into()).into();
                }
                Err(fault) => return fault.into(),
            };
            match op {
                Op::Number(_) | Op::Text(_) => {}
                Op::Error(trouble) => {
                    if trouble != last_trouble {
                        trouble.clone_into(&mut last_trouble);
                        listener.handle_event(Event::Trouble(trouble.to_owned()));
                    }
                }
                Op::Message { .. } | Op::Subscribed { .. } | Op::Pong => {
                    return Fault::Malformed("no answer to what was asked".into()).into();
                }
            }
            n_answers += 1;
            buffer.advance(size);
        };
        outbox.answer(n_answers);
        if let Err(lost) = read_some(&outbox.publisher, source, buffer, missing).await {
            return lost;
        }
    }
}

/// Reads once, into a buffer that has room for what is missing.
async fn read_some(
    line: &Line,
    source: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut BytesMut,
    missing: usize,
) -> Result<(), Lost> {
    if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT_MAX {
        *buffer = BytesMut::new();
    }
    buffer.reserve(missing.max(READ_SIZE));
    read_more(source, buffer).await?;
    line.heard();
    Ok(())
}

async fn keep_alive(outbox: &Outbox) -> Lost {
    let mut ticks = interval_at(clock::now() + PING_INTERVAL, PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if outbox.ping() > PINGS_MAX {
            return Lost::Silent;
        }
    }
}
