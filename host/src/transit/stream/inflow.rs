//! Streams that other nodes send: the packets of each, by the ID of its request, put into order and given
//! to who reads.
//!
//! Invariants: no more streams than are allowed, no more bytes than are allowed, in one and in all
//! together; a stream from which nothing comes, or in which a chunk is missing, fails in the end. A stream
//! is its sender's: packets of others are refused. Time comes from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Instant;
use crate::config;
use crate::error::MoleculerError;
use crate::metrics::Metric;
use crate::payload::stream::{self, Budget, Reserved, Stream, StreamWriter};
use crate::payload::{Payload, stream::Refused as NotTaken};
use crate::transit::counters::Refusal;
use crate::transit::stream::chunk;
use crate::transit::stream::order::{Order, Placed, WINDOW};

/// The streams of one direction: of requests, or of responses. `H` is the packet that begins one.
pub(super) struct Inflows<H> {
    entries: Mutex<HashMap<Arc<str>, Inflow<H>>>,
    closed: Closed,
    options: config::Streams,
    budget: Budget,
    counters: Counters,
}

/// What happens to a stream that nobody reads any more, while its packets still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is remembered until its end, or its packets would be taken for those of a new one.
    Remember,
    /// It is forgotten: something else tells that its packets are late.
    Forget,
}

/// What is counted.
#[derive(Clone)]
pub(super) struct Counters {
    /// Streams that are open.
    pub(super) open: Metric,
    /// Packets that nobody wanted: doubled, or of a stream that nobody reads any more.
    pub(super) dropped: Metric,
    /// Streams that were given up here.
    pub(super) failed: Metric,
}

struct Inflow<H> {
    sender: Arc<str>,
    order: Order<(Part<H>, Option<Reserved>)>,
    /// What the packets weigh that wait for their turn.
    early: usize,
    /// The stream, until its first packet has come.
    stream: Option<Stream>,
    /// `None` when nobody reads any more.
    writer: Option<Writer>,
    /// When the last packet came.
    last: Instant,
    /// Since when one is missing.
    gap_since: Option<Instant>,
}

/// The writing end, which is counted.
struct Writer {
    end: StreamWriter,
    open: Metric,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.open.add(-1);
    }
}

/// What a packet brings.
#[derive(Debug)]
pub(super) enum Part<H> {
    /// Number 0: the request or response itself.
    Head(Box<H>),
    /// A chunk.
    Chunk(Payload),
    /// The end, or the failure of the source.
    End(Result<(), MoleculerError>),
}

impl<H> Part<H> {
    /// What it counts while it waits for its turn. Heads are the first: they never wait.
    fn weight(&self) -> usize {
        match self {
            Self::Head(_) | Self::End(Ok(())) => stream::weight(&Payload::Absent),
            Self::Chunk(chunk) => stream::weight(chunk),
            // An error can hold as much as a packet; its text is about as large as itself.
            Self::End(Err(error)) => {
                stream::weight(&Payload::Absent) + error.to_wire("").to_string().len()
            }
        }
    }
}

/// A packet of a stream.
#[derive(Debug)]
pub(super) struct Arrival<H> {
    pub(super) id: Arc<str>,
    pub(super) sender: Arc<str>,
    pub(super) seq: u32,
    pub(super) object_mode: bool,
    pub(super) part: Part<H>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Taken<H> {
    /// It is where it belongs.
    Kept,
    /// The stream begins.
    Begun(Box<H>, Stream),
    /// It is not used. What would have begun is given back.
    Refused(Refusal, &'static str, Option<Box<H>>),
}

impl<H> Inflows<H> {
    pub(super) fn new(
        closed: Closed,
        options: config::Streams,
        budget: Budget,
        counters: Counters,
    ) -> Self {
        Self { entries: Mutex::default(), closed, options, budget, counters }
    }

    /// True when packets of this stream have come and its end has not.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.entries.lock().contains_key(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }

    /// Forgets a stream; its reader learns that it was aborted.
    pub(super) fn forget(&self, id: &str) {
        self.entries.lock().remove(id);
    }

    /// Takes a packet.
    pub(super) fn take(&self, arrival: Arrival<H>, now: Instant) -> Taken<H> {
        let mut entries = self.entries.lock();
        if !entries.contains_key(&arrival.id) {
            if arrival.seq > WINDOW {
                return Taken::Refused(Refusal::Sequence, "a chunk of an unknown stream", None);
            }
            if entries.len() >= self.options.max && !drop_closed(&mut entries) {
                let head = match arrival.part {
                    Part::Head(head) => Some(head),
                    _ => None,
                };
                return Taken::Refused(Refusal::Overload, "too many streams at once", head);
            }
        }
        let inflow = entries
            .entry(Arc::clone(&arrival.id))
            .or_insert_with(|| self.open(Arc::clone(&arrival.sender), arrival.object_mode, now));
        if inflow.sender != arrival.sender {
            return Taken::Refused(Refusal::Malformed, "a chunk of another node's stream", None);
        }
        let Arrival { id, seq, part, .. } = arrival;
        let mut begun = None;
        let state = self.advance(inflow, seq, part, now, &mut begun);
        match state {
            Ok(State::Open) => {}
            Ok(State::Over) => drop(entries.remove(&id)),
            Ok(State::Unread) => self.close(&mut entries, &id),
            Err((refusal, reason)) => return Taken::Refused(refusal, reason, None),
        }
        begun.map_or(Taken::Kept, |(head, stream)| Taken::Begun(head, stream))
    }

    fn open(&self, sender: Arc<str>, object_mode: bool, now: Instant) -> Inflow<H> {
        let (end, stream) = stream::channel_within(object_mode, self.options.buffer, &self.budget);
        self.counters.open.increment();
        Inflow {
            sender,
            order: Order::default(),
            early: 0,
            stream: Some(stream),
            writer: Some(Writer { end, open: self.counters.open.clone() }),
            last: now,
            gap_since: None,
        }
    }

    fn close(&self, entries: &mut HashMap<Arc<str>, Inflow<H>>, id: &Arc<str>) {
        match (self.closed, entries.get_mut(id)) {
            (Closed::Remember, Some(inflow)) => {
                inflow.writer = None;
                inflow.stream = None;
                inflow.order = Order::default();
                inflow.gap_since = None;
            }
            _ => drop(entries.remove(id)),
        }
    }

    fn advance(
        &self,
        inflow: &mut Inflow<H>,
        seq: u32,
        part: Part<H>,
        now: Instant,
        begun: &mut Option<(Box<H>, Stream)>,
    ) -> Result<State, (Refusal, &'static str)> {
        if inflow.writer.is_none() {
            inflow.last = now;
            self.counters.dropped.increment();
            let over = matches!(part, Part::End(_));
            return Ok(if over { State::Over } else { State::Unread });
        }
        let Ok(reserved) = self.room_for_early(inflow, seq, &part) else {
            return Ok(self.fail(inflow, overflow()));
        };
        match inflow.order.place(seq, (part, reserved)) {
            Placed::Turn((part, _)) => {
                inflow.last = now;
                let mut state = self.apply(inflow, part, begun);
                while state == State::Open
                    && let Some((part, reserved)) = inflow.order.next()
                {
                    // Before the same bytes count as waiting for the reader.
                    drop(reserved);
                    inflow.early = inflow.early.saturating_sub(part.weight());
                    state = self.apply(inflow, part, begun);
                }
                inflow.gap_since = inflow.order.has_gap().then_some(now);
                Ok(state)
            }
            Placed::Kept => {
                inflow.last = now;
                inflow.gap_since.get_or_insert(now);
                Ok(State::Open)
            }
            Placed::Duplicate => {
                self.counters.dropped.increment();
                Ok(State::Open)
            }
            Placed::OutOfRange => Err((Refusal::Sequence, "a chunk far ahead of its turn")),
        }
    }

    /// Room for a packet that comes before its turn; others are weighed when they are given on.
    fn room_for_early(
        &self,
        inflow: &mut Inflow<H>,
        seq: u32,
        part: &Part<H>,
    ) -> Result<Option<Reserved>, ()> {
        if seq <= inflow.order.awaited() {
            return Ok(None);
        }
        let weight = part.weight();
        if inflow.early + weight > self.options.buffer {
            return Err(());
        }
        let reserved = self.budget.reserve(weight).ok_or(())?;
        inflow.early += weight;
        Ok(Some(reserved))
    }

    fn apply(
        &self,
        inflow: &mut Inflow<H>,
        part: Part<H>,
        begun: &mut Option<(Box<H>, Stream)>,
    ) -> State {
        match part {
            Part::Head(head) => {
                *begun = inflow.stream.take().map(|stream| (head, stream));
                State::Open
            }
            Part::Chunk(chunk) => self.give_on(inflow, chunk),
            Part::End(end) => {
                inflow.finish(end);
                State::Over
            }
        }
    }

    fn give_on(&self, inflow: &mut Inflow<H>, chunk: Payload) -> State {
        let Some(writer) = &inflow.writer else { return State::Unread };
        let chunk = match chunk::fitting(chunk, writer.end.object_mode()) {
            Ok(chunk) => chunk,
            Err(error) => return self.fail(inflow, error),
        };
        match writer.end.try_write(chunk) {
            Ok(()) => State::Open,
            Err(NotTaken::Closed) => {
                self.counters.dropped.increment();
                State::Unread
            }
            Err(NotTaken::Full) => self.fail(inflow, overflow()),
        }
    }

    /// Gives a stream up.
    fn fail(&self, inflow: &mut Inflow<H>, error: MoleculerError) -> State {
        self.counters.failed.increment();
        inflow.finish(Err(error));
        State::Unread
    }

    /// Fails the streams of a node that is gone.
    pub(super) fn reject_node(&self, node_id: &str) {
        self.end_all(|inflow| &*inflow.sender == node_id, || lost(node_id));
    }

    /// Fails all streams, because this node leaves the mesh.
    pub(super) fn clear(&self) {
        self.end_all(|_| true, MoleculerError::broker_disconnected);
    }

    fn end_all(&self, chosen: impl Fn(&Inflow<H>) -> bool, error: impl Fn() -> MoleculerError) {
        let ended: Vec<_> = self.entries.lock().extract_if(|_, inflow| chosen(inflow)).collect();
        for (_, mut inflow) in ended {
            inflow.finish(Err(error()));
        }
    }

    /// Gives up what has been still for too long. To be called from time to time.
    pub(super) fn sweep(&self, now: Instant) {
        let idle = Some(self.options.idle_timeout).filter(|idle| !idle.is_zero());
        let gap = self.options.gap_timeout;
        // A stream that nobody reads is remembered for some time in any case.
        let remembered = idle.unwrap_or(REMEMBERED);
        let mut entries = self.entries.lock();
        let over = entries.extract_if(|_, inflow| {
            let still = now.saturating_duration_since(inflow.last);
            let missing = inflow.gap_since.map(|since| now.saturating_duration_since(since));
            if inflow.writer.is_none() {
                return still >= remembered;
            }
            if missing.is_some_and(|missing| missing >= gap) {
                self.fail(inflow, missing_chunk(inflow.order.awaited(), gap));
                return self.closed == Closed::Forget;
            }
            if idle.is_some_and(|idle| still >= idle) {
                self.fail(inflow, idle_source(still));
                return true;
            }
            false
        });
        drop(over.collect::<Vec<_>>());
    }
}

/// How long a stream that nobody reads is remembered when there is no other limit.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nobody reads any more, and more may come.
    Unread,
    /// Its end has come.
    Over,
}

impl<H> Inflow<H> {
    fn finish(&mut self, end: Result<(), MoleculerError>) {
        self.gap_since = None;
        self.order = Order::default();
        let Some(writer) = self.writer.take() else { return };
        // Dropped afterwards, the writer has nothing more to say.
        writer.end.finish(end);
    }
}

/// Makes room by forgetting the longest-still stream that nobody reads.
fn drop_closed<H>(entries: &mut HashMap<Arc<str>, Inflow<H>>) -> bool {
    let closed = entries.iter().filter(|(_, inflow)| inflow.writer.is_none());
    let oldest = closed.min_by_key(|(_, inflow)| inflow.last).map(|(id, _)| Arc::clone(id));
    oldest.is_some_and(|id| entries.remove(&id).is_some())
}

fn overflow() -> MoleculerError {
    MoleculerError::server(
        "STREAM_OVERFLOW",
        "The stream came faster than it was read: more waits than 'transit.streams.buffer' or \
         'transit.streams.totalBuffer' allows.",
    )
}

fn missing_chunk(seq: u32, gap: Duration) -> MoleculerError {
    let message = format!("Chunk {seq} of the stream did not come within {gap:?}.");
    MoleculerError::server("STREAM_GAP", message)
}

pub(super) fn idle_source(idle: Duration) -> MoleculerError {
    let message = format!("The source of the stream gave nothing for {} s.", idle.as_secs_f32());
    MoleculerError::server("STREAM_IDLE", message)
}

/// As the pending requests of that node end: whoever asked may try again.
fn lost(node_id: &str) -> MoleculerError {
    let message = format!("The stream broke off because the node '{node_id}' is gone.");
    MoleculerError::temporary(503, "STREAM_LOST", message)
}

#[cfg(test)]
mod tests;
