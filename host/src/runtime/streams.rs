//! The streams that a handler has open: what it reads, what it writes, and the one that it answers with.
//!
//! A guest holds numbers; the streams themselves belong to the handler that runs and are closed when it has
//! ended, however it ended and whatever the guest still holds. There are at most `limits.streams` at once,
//! and in each wait at most `limits.streamBuffer` bytes and one chunk, so what they keep is bounded.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::config::Limits;
use crate::context::Outcome;
use crate::error::MoleculerError;
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::payload::stream::{Refused, Stream, StreamReader, StreamWriter, channel};
use crate::runtime::failure::check_len;

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
    /// The writer with which the caller of the running handler has been answered.
    answer: Option<u64>,
    n_streams_max: usize,
    buffer: usize,
    idle: Duration,
    counters: Counters,
}

/// What streams are counted by.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    /// Open now.
    pub open: Metric,
    /// Ended because the other side kept a guest waiting for too long.
    pub idle: Metric,
}

#[derive(Debug)]
struct Source {
    reader: StreamReader,
    /// What is left of a chunk that was too large to be given at once.
    rest: Bytes,
    _open: Open,
}

#[derive(Debug)]
struct Sink {
    object_mode: bool,
    /// `None` once it has ended.
    writer: Option<StreamWriter>,
    _open: Open,
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
            answer: None,
            n_streams_max: limits.streams,
            buffer: limits.stream_buffer,
            idle: limits.stream_idle,
            counters: counters.clone(),
        }
    }

    /// Takes a reading end.
    pub(super) fn add_reader(&mut self, reader: StreamReader) -> Reader {
        let id = self.next_id();
        let source = Source { reader, rest: Bytes::new(), _open: Open::new(&self.counters.open) };
        self.readers.insert(id, source);
        Reader(id)
    }

    /// Opens a stream that the guest writes.
    pub(super) fn open(&mut self, object_mode: bool) -> Result<(Writer, Stream), MoleculerError> {
        self.check_room()?;
        let (writer, stream) = channel(object_mode, self.buffer);
        let id = self.next_id();
        let open = Open::new(&self.counters.open);
        self.writers.insert(id, Sink { object_mode, writer: Some(writer), _open: open });
        Ok((Writer(id), stream))
    }

    /// A writer whose stream never was.
    pub(super) fn closed_writer(&mut self) -> Writer {
        Writer(self.next_id())
    }

    /// The caller is answered with what is written here.
    pub(super) fn answer_with(&mut self, writer: &Writer) {
        self.answer = Some(writer.0);
    }

    /// Whether the caller has its answer.
    pub(super) fn answered(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn reader_object_mode(&self, reader: u64) -> bool {
        self.readers.get(&reader).is_some_and(|source| source.reader.object_mode())
    }

    pub(super) fn writer_object_mode(&self, writer: u64) -> bool {
        self.writers.get(&writer).is_some_and(|sink| sink.object_mode)
    }

    /// The next chunk, of at most `len_max` bytes.
    pub(super) async fn read(
        &mut self,
        reader: u64,
        len_max: usize,
    ) -> Result<Option<Payload>, MoleculerError> {
        let source = self.readers.get_mut(&reader).ok_or_else(closed)?;
        if !source.rest.is_empty() {
            let len = source.rest.len().min(len_max);
            return Ok(Some(Payload::Bytes(source.rest.split_to(len))));
        }
        let Ok(next) = tokio::time::timeout(self.idle, source.reader.next()).await else {
            self.readers.remove(&reader);
            return Err(self.idle("nothing came to be read"));
        };
        let Some(chunk) = next? else { return Ok(None) };
        match chunk {
            Payload::Bytes(mut bytes) => {
                if bytes.len() > len_max {
                    source.rest = bytes.split_off(len_max);
                }
                Ok(Some(Payload::Bytes(bytes)))
            }
            chunk => {
                check_len("chunk", chunk.len(), len_max)?;
                Ok(Some(chunk))
            }
        }
    }

    /// Adds a chunk, which has been checked to be a well-formed payload.
    pub(super) async fn write(
        &mut self,
        writer: u64,
        chunk: Payload,
    ) -> Result<(), MoleculerError> {
        let sink = self.writers.get_mut(&writer).ok_or_else(closed)?;
        check_kind(&chunk, sink.object_mode)?;
        let Some(open) = &sink.writer else { return Err(closed()) };
        match tokio::time::timeout(self.idle, write_pieces(open, chunk, self.buffer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                sink.writer = None;
                Err(closed())
            }
            Err(_) => {
                let writer = sink.writer.take();
                let error = self.idle("nobody read what was written");
                if let Some(writer) = writer {
                    writer.fail(error.clone());
                }
                Err(error)
            }
        }
    }

    /// Ends a stream well, or with an error.
    pub(super) fn finish(
        &mut self,
        writer: u64,
        end: Result<(), MoleculerError>,
    ) -> Result<(), MoleculerError> {
        let sink = self.writers.get_mut(&writer).ok_or_else(closed)?;
        let writer = sink.writer.take().ok_or_else(closed)?;
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
        if self.answer != Some(writer) {
            self.writers.remove(&writer);
        }
    }

    /// The handler has ended: nothing is read any more, and what it has not ended fails, the answer with the
    /// handler's own error.
    pub(super) fn close(&mut self, error: Option<&MoleculerError>) {
        let answer = self.answer.take().and_then(|writer| self.writers.remove(&writer));
        if let (Some(writer), Some(error)) = (answer.and_then(|sink| sink.writer), error) {
            writer.fail(error.clone());
        }
        self.readers.clear();
        self.writers.clear();
    }

    /// Refuses one stream more than a handler may have.
    pub(super) fn check_room(&self) -> Result<(), MoleculerError> {
        if self.readers.len() + self.writers.len() < self.n_streams_max {
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

    fn idle(&self, what: &str) -> MoleculerError {
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

fn closed() -> MoleculerError {
    MoleculerError::client(410, "STREAM_CLOSED", "The stream is closed.")
}
