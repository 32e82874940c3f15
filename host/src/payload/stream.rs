//! Streams beside the params of a call or in the place of its result: chunks in order, bounded in bytes.
//!
//! Invariants: what waits to be read never exceeds the capacity by more than one chunk; a writer that goes
//! away without an end, an error or a reader that goes away is noticed by the other side at once. Object
//! mode is a promise of the source (each chunk is one JSON value); outside of it chunks are bytes. Streams
//! that share a [`Budget`] together never hold more than it allows.
//!
//! Not here: chunks as packets and their order (`transit`), what guests see of them (`runtime`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Payload;
use crate::error::MoleculerError;

/// Why a chunk was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody reads any more.
    #[error("the stream is closed by its reader")]
    Closed,
    /// The reader is too slow: as much as may wait is waiting already.
    #[error("the stream's buffer is full")]
    Full,
}

/// Bytes that several streams may hold together.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    used: AtomicUsize,
    limit: usize,
}

/// A part of a [`Budget`]; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Account { used: AtomicUsize::new(0), limit }))
    }

    /// Takes so much of it, if it is there.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let enough = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        let taken = self.0.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough);
        taken.is_ok().then(|| Reserved { budget: self.clone(), bytes })
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A stream that can be handed on like a value. Whoever takes it first reads it; when the last handle is
/// dropped without that, its writer learns that nobody will.
#[derive(Clone, Debug)]
pub struct Stream(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    object_mode: bool,
    reader: Mutex<Option<StreamReader>>,
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Stream {}

impl Stream {
    /// True when each chunk is one JSON value instead of bytes.
    #[must_use]
    pub fn object_mode(&self) -> bool {
        self.0.object_mode
    }

    /// Whether somebody has the reading end already.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.0.reader.lock().is_none()
    }

    /// The reading end; `None` when somebody has it already.
    #[must_use]
    pub fn take(&self) -> Option<StreamReader> {
        self.0.reader.lock().take()
    }
}

#[derive(Debug)]
struct Channel {
    capacity: usize,
    /// Shared with other streams.
    budget: Option<Budget>,
    state: Mutex<State>,
    /// Rings when there is something to read.
    filled: Notify,
    /// Rings when there is room again, or nobody who reads.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<(Payload, Option<Reserved>)>,
    /// What the chunks weigh.
    bytes: usize,
    ended: Option<Result<(), MoleculerError>>,
    reader_gone: bool,
}

/// What a chunk weighs beside its bytes, so that empty ones cannot be piled up.
const CHUNK_WEIGHT: usize = 64;

/// What a chunk counts against a capacity or a [`Budget`].
#[must_use]
pub fn weight(chunk: &Payload) -> usize {
    chunk.len().saturating_add(CHUNK_WEIGHT)
}

/// A stream of which at most `capacity` bytes wait to be read.
#[must_use]
pub fn channel(object_mode: bool, capacity: usize) -> (StreamWriter, Stream) {
    open(object_mode, capacity, None)
}

/// The same, as one of several streams that share a budget: a chunk for which it has no room is refused
/// as by a full buffer, and [`StreamWriter::write`] waits only for this stream's own reader.
#[must_use]
pub fn channel_within(
    object_mode: bool,
    capacity: usize,
    budget: &Budget,
) -> (StreamWriter, Stream) {
    open(object_mode, capacity, Some(budget.clone()))
}

fn open(object_mode: bool, capacity: usize, budget: Option<Budget>) -> (StreamWriter, Stream) {
    let channel = Arc::new(Channel {
        capacity,
        budget,
        state: Mutex::default(),
        filled: Notify::new(),
        drained: Notify::new(),
    });
    let reader = StreamReader { channel: Arc::clone(&channel), object_mode };
    let handle = Handle { object_mode, reader: Mutex::new(Some(reader)) };
    (StreamWriter { channel, object_mode }, Stream(Arc::new(handle)))
}

/// The end into which chunks go. Dropped without [`StreamWriter::end`], it fails the stream.
#[derive(Debug)]
pub struct StreamWriter {
    channel: Arc<Channel>,
    object_mode: bool,
}

impl StreamWriter {
    /// True when each chunk is one JSON value instead of bytes.
    #[must_use]
    pub fn object_mode(&self) -> bool {
        self.object_mode
    }

    /// Adds a chunk; waits while the reader is behind.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub async fn write(&self, chunk: Payload) -> Result<(), Refused> {
        loop {
            let drained = self.channel.drained.notified();
            match self.try_write(chunk.clone()) {
                Err(Refused::Full) => drained.await,
                other => return other,
            }
        }
    }

    /// Adds a chunk if there is room. One chunk always fits into an empty buffer.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_write(&self, chunk: Payload) -> Result<(), Refused> {
        let mut state = self.channel.state.lock();
        if state.reader_gone {
            return Err(Refused::Closed);
        }
        let weight = weight(&chunk);
        if !state.chunks.is_empty() && state.bytes + weight > self.channel.capacity {
            return Err(Refused::Full);
        }
        let reserve = |budget: &Budget| budget.reserve(weight).ok_or(Refused::Full);
        let reserved = self.channel.budget.as_ref().map(reserve).transpose()?;
        state.bytes += weight;
        state.chunks.push_back((chunk, reserved));
        drop(state);
        self.channel.filled.notify_one();
        Ok(())
    }

    /// All chunks are written.
    pub fn end(self) {
        self.finish(Ok(()));
    }

    /// The source failed: the reader gets the chunks that wait, and then this.
    pub fn fail(self, error: MoleculerError) {
        self.finish(Err(error));
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        loop {
            let drained = self.channel.drained.notified();
            if self.channel.state.lock().reader_gone {
                return;
            }
            drained.await;
        }
    }

    /// The same with either end, for who holds the writer in another value. Only the first counts.
    pub fn finish(&self, end: Result<(), MoleculerError>) {
        self.channel.state.lock().ended.get_or_insert(end);
        self.channel.filled.notify_one();
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.finish(Err(MoleculerError::server(
            "STREAM_ABORTED",
            "The stream ended before its end: its source is gone.",
        )));
    }
}

/// The end from which chunks are read. Dropping it tells the writer that nobody reads any more.
#[derive(Debug)]
pub struct StreamReader {
    channel: Arc<Channel>,
    object_mode: bool,
}

impl StreamReader {
    /// True when each chunk is one JSON value instead of bytes.
    #[must_use]
    pub fn object_mode(&self) -> bool {
        self.object_mode
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// What the source failed with; after it, `None`.
    pub async fn next(&mut self) -> Result<Option<Payload>, MoleculerError> {
        loop {
            let filled = self.channel.filled.notified();
            {
                let mut state = self.channel.state.lock();
                if let Some((chunk, _)) = state.chunks.pop_front() {
                    state.bytes -= weight(&chunk);
                    drop(state);
                    self.channel.drained.notify_waiters();
                    return Ok(Some(chunk));
                }
                match &mut state.ended {
                    None => {}
                    Some(end) => return std::mem::replace(end, Ok(())).map(|()| None),
                }
            }
            filled.await;
        }
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        state.reader_gone = true;
        state.chunks.clear();
        state.bytes = 0;
        drop(state);
        self.channel.drained.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt as _;

    fn chunk(text: &'static str) -> Payload {
        Payload::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn chunks_come_in_their_order_and_then_the_end() {
        let (writer, stream) = channel(false, 1 << 16);
        let mut reader = stream.take().unwrap();
        assert!(stream.taken() && stream.take().is_none());
        writer.write(chunk("a")).await.unwrap();
        writer.write(chunk("b")).await.unwrap();
        writer.end();
        assert_eq!(reader.next().await.unwrap(), Some(chunk("a")));
        assert_eq!(reader.next().await.unwrap(), Some(chunk("b")));
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_full_buffer_makes_the_writer_wait_and_refuses_who_cannot() {
        let (writer, stream) = channel(false, 100);
        let mut reader = stream.take().unwrap();
        writer.write(chunk("first")).await.unwrap();
        assert_eq!(writer.try_write(chunk("second")), Err(Refused::Full));
        let mut waiting = std::pin::pin!(writer.write(chunk("second")));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(reader.next().await.unwrap(), Some(chunk("first")));
        waiting.await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(chunk("second")));
    }

    #[tokio::test]
    async fn streams_with_one_budget_share_it_and_give_back_what_is_read_or_dropped() {
        let budget = Budget::new(200);
        let (first, one) = channel_within(false, 1_000, &budget);
        let (second, two) = channel_within(false, 1_000, &budget);
        first.try_write(chunk("a")).unwrap();
        first.try_write(chunk("b")).unwrap();
        second.try_write(chunk("c")).unwrap();
        assert_eq!(second.try_write(chunk("d")), Err(Refused::Full));
        let mut reader = one.take().unwrap();
        reader.next().await.unwrap();
        second.try_write(chunk("d")).unwrap();
        drop((reader, two));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn who_goes_away_is_noticed() {
        let (writer, stream) = channel(true, 100);
        let mut reader = stream.take().unwrap();
        writer.write(Payload::null()).await.unwrap();
        drop(writer);
        assert_eq!(reader.next().await.unwrap(), Some(Payload::null()));
        assert_eq!(reader.next().await.unwrap_err().kind(), "STREAM_ABORTED");

        let (writer, stream) = channel(true, 100);
        writer.write(Payload::null()).await.unwrap();
        let mut waiting = std::pin::pin!(writer.write(Payload::null()));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(stream);
        assert_eq!(waiting.await, Err(Refused::Closed));
        writer.closed().await;
    }
}
