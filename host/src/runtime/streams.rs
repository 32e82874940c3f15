//! The streams that a handler has open: what it reads, what it writes, and the one that it answers with.
//!
//! A guest holds numbers; the streams themselves belong to the handler that runs and are closed when it has
//! ended, however it ended and whatever the guest still holds. There are at most `limits.streams` at once,
//! and in each wait at most `limits.streamBuffer` bytes and one chunk, so what they keep is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::config::Limits;
use crate::context::Outcome;
use crate::error::MoleculerError;
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::payload::stream::{Refused, Stream, StreamReader, StreamWriter, channel};
use crate::runtime::failure::check_len;
use crate::runtime::handlers::Handle;

/// The guest's handle on a stream that it reads.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Reader(pub(super) u64);

/// The guest's handle on a stream that it writes.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Writer(pub(super) u64);

/// The streams of one instance. Numbers are never used twice, so a handle of an earlier handler finds nothing.
#[derive(Debug)]
pub(super) struct Streams {
    n_made: u64,
    readers: HashMap<u64, Source>,
    writers: HashMap<u64, Sink>,
    n_streams_max: usize,
    buffer: usize,
    waiting: Waiting,
}

/// What streams are counted by.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    /// Open now.
    pub open: Metric,
    /// Ended because the other side kept a guest waiting for too long.
    pub idle: Metric,
}

/// A stream that a guest reads. Who waits for a chunk holds its lock, so there is one at a time.
#[derive(Debug)]
struct Source {
    handler: Handle,
    object_mode: bool,
    reading: Arc<Mutex<Reading>>,
    _open: Open,
}

#[derive(Debug)]
struct Reading {
    /// `None` when it was closed because nothing came.
    reader: Option<StreamReader>,
    /// What is left of a chunk that was too large to be given at once.
    rest: Bytes,
}

/// A stream that a guest writes.
#[derive(Debug)]
struct Sink {
    handler: Handle,
    object_mode: bool,
    /// Whether the caller of its handler has been answered with it.
    answer: bool,
    /// `None` once it has ended.
    writer: Arc<Mutex<Option<StreamWriter>>>,
    _open: Open,
}

/// How long a guest waits for the other side, and what counts that it waited for too long.
#[derive(Clone, Debug)]
struct Waiting {
    idle: Duration,
    counters: Counters,
}

/// Counts a stream as open.
#[derive(Debug)]
struct Open(Metric);

impl Open {
    fn new(metric: &Metric) -> Self {
        metric.increment();
        Self(metric.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Streams {
    pub(super) fn new(limits: &Limits, counters: &Counters) -> Self {
        Self {
            n_made: 0,
            readers: HashMap::new(),
            writers: HashMap::new(),
            n_streams_max: limits.streams,
            buffer: limits.stream_buffer,
            waiting: Waiting { idle: limits.stream_idle, counters: counters.clone() },
        }
    }

    /// Takes a reading end for a handler.
    pub(super) fn add_reader(&mut self, handler: Handle, reader: StreamReader) -> Reader {
        let id = self.next_id();
        let object_mode = reader.object_mode();
        let reading = Arc::new(Mutex::new(Reading { reader: Some(reader), rest: Bytes::new() }));
        let open = Open::new(&self.waiting.counters.open);
        self.readers.insert(id, Source { handler, object_mode, reading, _open: open });
        Reader(id)
    }

    /// Opens a stream that a handler writes.
    pub(super) fn open(
        &mut self,
        handler: Handle,
        object_mode: bool,
    ) -> Result<(Writer, Stream), MoleculerError> {
        self.check_room(handler)?;
        let (writer, stream) = channel(object_mode, self.buffer);
        let id = self.next_id();
        let open = Open::new(&self.waiting.counters.open);
        let writer = Arc::new(Mutex::new(Some(writer)));
        let sink = Sink { handler, object_mode, answer: false, writer, _open: open };
        self.writers.insert(id, sink);
        Ok((Writer(id), stream))
    }

    /// A writer whose stream never was.
    pub(super) fn closed_writer(&mut self) -> Writer {
        Writer(self.next_id())
    }

    /// The caller of its handler is answered with what is written here.
    pub(super) fn answer_with(&mut self, writer: &Writer) {
        if let Some(sink) = self.writers.get_mut(&writer.0) {
            sink.answer = true;
        }
    }

    /// Whether the caller of a handler has its answer.
    pub(super) fn answered(&self, handler: Handle) -> bool {
        self.writers.values().any(|sink| sink.answer && sink.handler == handler)
    }

    pub(super) fn reader_object_mode(&self, reader: u64) -> bool {
        self.readers.get(&reader).is_some_and(|source| source.object_mode)
    }

    pub(super) fn writer_object_mode(&self, writer: u64) -> bool {
        self.writers.get(&writer).is_some_and(|sink| sink.object_mode)
    }

    /// Whose streams these are; `None` when the handler has ended.
    pub(super) fn handler_of_reader(&self, reader: u64) -> Option<Handle> {
        self.readers.get(&reader).map(|source| source.handler)
    }

    /// As [`Streams::handler_of_reader`].
    pub(super) fn handler_of_writer(&self, writer: u64) -> Option<Handle> {
        self.writers.get(&writer).map(|sink| sink.handler)
    }

    /// Waits for the next chunk, of at most `len_max` bytes.
    pub(super) fn read(
        &self,
        reader: u64,
        len_max: usize,
    ) -> impl Future<Output = Result<Option<Payload>, MoleculerError>> + Send + use<> {
        let reading = self.readers.get(&reader).map(|source| Arc::clone(&source.reading));
        let waiting = self.waiting.clone();
        async move {
            let reading = reading.ok_or_else(closed)?;
            let mut reading = reading.try_lock().map_err(|_| busy())?;
            reading.next(len_max, &waiting).await
        }
    }

    /// Waits until a chunk has been added, which has been checked to be a well-formed payload.
    pub(super) fn write(
        &self,
        writer: u64,
        chunk: Payload,
    ) -> impl Future<Output = Result<(), MoleculerError>> + Send + use<> {
        let sink = self.writers.get(&writer);
        let sink = sink.map(|sink| (sink.object_mode, Arc::clone(&sink.writer)));
        let (waiting, buffer) = (self.waiting.clone(), self.buffer);
        async move {
            let (object_mode, writer) = sink.ok_or_else(closed)?;
            check_kind(&chunk, object_mode)?;
            let mut writer = writer.try_lock().map_err(|_| busy())?;
            let Some(open) = &*writer else { return Err(closed()) };
            match tokio::time::timeout(waiting.idle, write_pieces(open, chunk, buffer)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => {
                    *writer = None;
                    Err(closed())
                }
                Err(_) => {
                    let error = waiting.too_long("nobody read what was written");
                    if let Some(writer) = writer.take() {
                        writer.fail(error.clone());
                    }
                    Err(error)
                }
            }
        }
    }

    /// Ends a stream well, or with an error.
    pub(super) fn finish(
        &mut self,
        writer: u64,
        end: Result<(), MoleculerError>,
    ) -> Result<(), MoleculerError> {
        let sink = self.writers.get(&writer).ok_or_else(closed)?;
        let mut writer = sink.writer.try_lock().map_err(|_| busy())?;
        let writer = writer.take().ok_or_else(closed)?;
        match end {
            Ok(()) => writer.end(),
            Err(error) => writer.fail(error),
        }
        Ok(())
    }

    pub(super) fn drop_reader(&mut self, reader: u64) {
        self.readers.remove(&reader);
    }

    /// The guest has dropped a writer. The caller's answer stays until the handler has ended, because the
    /// reason why it was not ended is what the handler ends with.
    pub(super) fn drop_writer(&mut self, writer: u64) {
        if self.writers.get(&writer).is_some_and(|sink| !sink.answer) {
            self.writers.remove(&writer);
        }
    }

    /// A handler has ended: nothing is read any more, and what it has not ended fails, the answer with the
    /// handler's own error. Who still waited has been told before (`Running::ended`).
    pub(super) fn close(&mut self, handler: Handle, error: Option<&MoleculerError>) {
        if self.readers.is_empty() && self.writers.is_empty() {
            return;
        }
        for sink in self.writers.values().filter(|sink| sink.answer && sink.handler == handler) {
            if let (Some(error), Ok(mut writer)) = (error, sink.writer.try_lock())
                && let Some(writer) = writer.take()
            {
                writer.fail(error.clone());
            }
        }
        self.readers.retain(|_, source| source.handler != handler);
        self.writers.retain(|_, sink| sink.handler != handler);
    }

    /// Refuses one stream more than a handler may have.
    pub(super) fn check_room(&self, handler: Handle) -> Result<(), MoleculerError> {
        let n_readers = self.readers.values().filter(|source| source.handler == handler).count();
        let n_writers = self.writers.values().filter(|sink| sink.handler == handler).count();
        if n_readers + n_writers < self.n_streams_max {
            return Ok(());
        }
        let message =
            format!("The handler has {} streams open; that is the limit.", self.n_streams_max);
        Err(MoleculerError::client(429, "TOO_MANY_STREAMS", message))
    }

    fn next_id(&mut self) -> u64 {
        self.n_made += 1;
        self.n_made
    }
}

impl Reading {
    async fn next(
        &mut self,
        len_max: usize,
        waiting: &Waiting,
    ) -> Result<Option<Payload>, MoleculerError> {
        if !self.rest.is_empty() {
            let len = self.rest.len().min(len_max);
            return Ok(Some(Payload::Bytes(self.rest.split_to(len))));
        }
        let reader = self.reader.as_mut().ok_or_else(closed)?;
        let Ok(next) = tokio::time::timeout(waiting.idle, reader.next()).await else {
            self.reader = None;
            return Err(waiting.too_long("nothing came to be read"));
        };
        let Some(chunk) = next? else { return Ok(None) };
        match chunk {
            Payload::Bytes(mut bytes) => {
                if bytes.len() > len_max {
                    self.rest = bytes.split_off(len_max);
                }
                Ok(Some(Payload::Bytes(bytes)))
            }
            chunk => {
                check_len("chunk", chunk.len(), len_max)?;
                Ok(Some(chunk))
            }
        }
    }
}

impl Waiting {
    fn too_long(&self, what: &str) -> MoleculerError {
        self.counters.idle.increment();
        let message = format!("The stream is closed: for {:?} {what}.", self.idle);
        MoleculerError::temporary(504, "STREAM_IDLE", message)
    }
}

/// Writes a chunk; bytes in pieces that fit into the buffer, each with its own memory, so that a large chunk
/// is not held by its last piece.
async fn write_pieces(
    writer: &StreamWriter,
    chunk: Payload,
    len_max: usize,
) -> Result<(), Refused> {
    match chunk {
        Payload::Bytes(bytes) if bytes.len() > len_max => {
            for piece in bytes.chunks(len_max) {
                writer.write(Payload::Bytes(Bytes::copy_from_slice(piece))).await?;
            }
            Ok(())
        }
        chunk => writer.write(chunk).await,
    }
}

fn check_kind(chunk: &Payload, object_mode: bool) -> Result<(), MoleculerError> {
    let reason = match (chunk, object_mode) {
        (Payload::Bytes(_), false) => return Ok(()),
        (Payload::Json(text), true) if text.trim() != "null" => return Ok(()),
        (_, false) => "no bytes, and the stream is one of bytes",
        (Payload::Json(_), true) => "null, which JavaScript's streams cannot carry",
        (_, true) => "no JSON value, and the stream is in object mode",
    };
    Err(MoleculerError::invalid_payload("chunk", reason))
}

/// The result of a call in the place where only a payload can stand.
pub(super) fn without_stream(outcome: Outcome) -> Outcome {
    match outcome {
        Ok(Payload::Stream(_)) => Err(MoleculerError::invalid_payload(
            "result of the call",
            "a stream; use start-call and pending-call.take-stream",
        )),
        outcome => outcome,
    }
}

fn busy() -> MoleculerError {
    let message = "The stream is being read or written already; wait for that first.";
    MoleculerError::client(409, "STREAM_BUSY", message)
}

fn closed() -> MoleculerError {
    MoleculerError::client(410, "STREAM_CLOSED", "The stream is closed.")
}
