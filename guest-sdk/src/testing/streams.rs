//! Streams of the mock: lists of chunks that are read, and lists that remember what was written.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::host::{Sink, Source};
use crate::{Error, Payload, Result};

/// A stream that the service under test has written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenStream {
    /// Whether its chunks are JSON values.
    pub object_mode: bool,
    /// What was written, in order.
    pub chunks: Vec<Payload>,
    /// How it ended; `None` when the service forgot to end it, which on a node fails the stream.
    pub end: Option<Result<()>>,
}

impl WrittenStream {
    /// All bytes of the chunks, one after the other.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = self.chunks.iter().filter_map(|chunk| match chunk {
            Payload::Bytes(bytes) => Some(bytes.as_slice()),
            Payload::Absent | Payload::Json(_) => None,
        });
        bytes.collect::<Vec<_>>().concat()
    }
}

/// A stream that is read.
#[derive(Clone)]
pub(super) struct MockSource {
    object_mode: bool,
    chunks: RefCell<VecDeque<Payload>>,
}

impl MockSource {
    pub(super) fn new(object_mode: bool, chunks: impl IntoIterator<Item = Payload>) -> Self {
        Self { object_mode, chunks: RefCell::new(chunks.into_iter().collect()) }
    }
}

impl Source for MockSource {
    fn object_mode(&self) -> bool {
        self.object_mode
    }

    fn read(&self) -> Result<Option<Payload>> {
        Ok(self.chunks.borrow_mut().pop_front())
    }
}

/// A stream that is written, and remembered.
pub(super) struct MockSink(Rc<RefCell<WrittenStream>>);

impl MockSink {
    pub(super) fn new(object_mode: bool) -> (Self, Rc<RefCell<WrittenStream>>) {
        let written =
            Rc::new(RefCell::new(WrittenStream { object_mode, ..WrittenStream::default() }));
        (Self(Rc::clone(&written)), written)
    }

    fn finish(&self, end: Result<()>) -> Result<()> {
        let mut written = self.0.borrow_mut();
        if written.end.is_some() {
            return Err(Error::client(410, "STREAM_CLOSED", "The stream is closed."));
        }
        written.end = Some(end);
        Ok(())
    }
}

impl Sink for MockSink {
    fn object_mode(&self) -> bool {
        self.0.borrow().object_mode
    }

    fn write(&self, chunk: Payload) -> Result<()> {
        let mut written = self.0.borrow_mut();
        let fits = match &chunk {
            Payload::Bytes(_) => !written.object_mode,
            Payload::Json(text) => written.object_mode && text != "null",
            Payload::Absent => false,
        };
        if !fits {
            let message = "The chunk is not of the kind of its stream.";
            let error = Error::new(422, "INVALID_PAYLOAD", message);
            return Err(error.named("InvalidPayloadError"));
        }
        written.chunks.push(chunk);
        Ok(())
    }

    fn end(&self) -> Result<()> {
        self.finish(Ok(()))
    }

    fn fail(&self, error: Error) {
        // A stream that has ended stays as it ended.
        let _ = self.finish(Err(error));
    }
}

/// What the mock answers a call with, until it is taken.
pub(crate) struct MockAnswer {
    result: RefCell<Option<Result<Payload>>>,
    stream: RefCell<Option<MockSource>>,
}

impl MockAnswer {
    pub(super) fn new(result: Result<Payload>, stream: Option<MockSource>) -> Self {
        Self { result: RefCell::new(Some(result)), stream: RefCell::new(stream) }
    }

    pub(crate) fn take(&self) -> Option<Result<Payload>> {
        self.result.borrow_mut().take()
    }

    pub(crate) fn take_stream(&self) -> Option<Box<dyn Source>> {
        self.stream.borrow_mut().take().map(|source| Box::new(source) as Box<dyn Source>)
    }
}
