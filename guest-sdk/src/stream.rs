//! Streams: what a caller sends beside its params, what an action answers with instead of one value, and both
//! from the side of a caller.
//!
//! A stream is made of bytes or, in object mode, of JSON values. Reading and writing wait in the host while
//! the other side is behind; the node does other work meanwhile.

use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::executor::Message;
use crate::host::{Pending, Promise, Sink, Source};
use crate::request::{CallFuture, Request, read_result};
use crate::{Context, Error, Payload, Result};

/// How a step waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In the host; such a step is done when it has been polled once.
    Blocking,
    /// Beside other calls of the instance, where it has any.
    Beside,
}

/// A step that has been begun.
type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// One step of a stream that may have to wait: done by `.await` or, in a handler that is no `async fn`, by
/// `.wait()`.
///
/// Awaited in a service of the mode `shared`, it does not hold up the other calls of the instance. A step that
/// is dropped before it is done may or may not have written; nothing is lost of what is read.
#[must_use = "nothing is read or written before `.await` or `.wait()`"]
pub struct Step<'a, T>(Box<dyn FnOnce(Way) -> Running<'a, T> + 'a>);

impl<'a, T> Step<'a, T> {
    fn new<Work>(work: impl FnOnce(Way) -> Work + 'a) -> Self
    where
        Work: Future<Output = Result<T>> + 'a,
    {
        Self(Box::new(|way| Box::pin(work(way))))
    }

    /// Does it and waits for it.
    ///
    /// # Errors
    /// As the method says that made it.
    pub fn wait(self) -> Result<T> {
        let mut running = (self.0)(Way::Blocking);
        match running.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(Error::new(500, "STREAM_WAITS", "The stream did not wait.")),
        }
    }
}

impl<'a, T> IntoFuture for Step<'a, T> {
    type Output = Result<T>;
    type IntoFuture = Running<'a, T>;

    fn into_future(self) -> Self::IntoFuture {
        (self.0)(Way::Beside)
    }
}

/// A stream to be read, from [`Context::stream`] or [`Request::into_stream`]. Dropping it tells the writer
/// that nobody reads any more. It is closed when the handler ends.
///
/// ```
/// # use isomer_sdk::prelude::*;
/// async fn count_bytes(ctx: &Context) -> Result<usize> {
///     let mut stream = ctx.stream().ok_or_else(|| Error::validation("send a stream"))?;
///     let mut n_bytes = 0;
///     while let Some(bytes) = stream.next_bytes().await? {
///         n_bytes += bytes.len();
///     }
///     Ok(n_bytes)
/// }
/// ```
pub struct Reader {
    /// A chunk that was waited for when its step was dropped: it belongs to the next one.
    reading: Option<Promise<Option<Payload>>>,
    source: Box<dyn Source>,
}

impl Reader {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self { reading: None, source }
    }

    async fn chunk(&mut self, way: Way) -> Result<Option<Payload>> {
        if self.reading.is_none() && way == Way::Beside {
            self.reading = self.source.start_read();
        }
        let chunk = match (&mut self.reading, way) {
            (None, _) => return self.source.read(),
            (Some(reading), Way::Beside) => reading.await,
            (Some(reading), Way::Blocking) => self.source.finish_read(reading),
        };
        self.reading = None;
        chunk
    }

    async fn bytes(&mut self, way: Way) -> Result<Option<Vec<u8>>> {
        match self.chunk(way).await? {
            None => Ok(None),
            Some(Payload::Bytes(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(Error::validation("the stream is not one of bytes")),
        }
    }

    async fn rest(&mut self, len_max: usize, way: Way) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = self.bytes(way).await? {
            if all.len() + bytes.len() > len_max {
                let message = format!("The stream has more than {len_max} bytes.");
                let error = Error::client(413, "PAYLOAD_TOO_LARGE", message);
                return Err(error.named("PayloadTooLargeError"));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// True when each chunk is one JSON value, false when each is some bytes.
    #[must_use]
    pub fn object_mode(&self) -> bool {
        self.source.object_mode()
    }

    /// The next chunk as it is; `None` at the end.
    ///
    /// # Errors
    /// The error of the source; type `STREAM_ABORTED` when it went away before the end, `STREAM_IDLE` when
    /// it was silent for too long. What was read before an error is not the whole.
    #[expect(
        clippy::should_implement_trait,
        reason = "it waits, so it is no iterator; streams of all libraries call it so"
    )]
    pub fn next(&mut self) -> Step<'_, Option<Payload>> {
        Step::new(|way| self.chunk(way))
    }

    /// The next bytes, in pieces of any size; `None` at the end.
    ///
    /// # Errors
    /// As [`Reader::next`]; a `ValidationError` when the stream is in object mode.
    pub fn next_bytes(&mut self) -> Step<'_, Option<Vec<u8>>> {
        Step::new(|way| self.bytes(way))
    }

    /// The next value of a stream in object mode; `None` at the end.
    ///
    /// # Errors
    /// As [`Reader::next`]; type `UNEXPECTED_FORM` when the value is no `T`.
    pub fn next_as<'a, T: DeserializeOwned + 'a>(&'a mut self) -> Step<'a, Option<T>> {
        Step::new(async move |way| match self.chunk(way).await? {
            None => Ok(None),
            Some(chunk) => read_result("stream", chunk).map(Some),
        })
    }

    /// All bytes that are left, if they are at most `len_max`.
    ///
    /// # Errors
    /// As [`Reader::next_bytes`]; type `PAYLOAD_TOO_LARGE` (413) when there are more.
    pub fn read_to_end(&mut self, len_max: usize) -> Step<'_, Vec<u8>> {
        Step::new(move |way| self.rest(len_max, way))
    }
}

/// A stream to be written, from [`Context::respond_stream`] or [`Request::with_stream`]. It has to be ended
/// by [`Writer::end`]: one that is dropped without that fails, because its reader could not tell a part from
/// the whole.
pub struct Writer(Box<dyn Sink>);

impl Writer {
    pub(crate) fn new(sink: Box<dyn Sink>) -> Self {
        Self(sink)
    }

    async fn put(&mut self, chunk: Payload, way: Way) -> Result<()> {
        match way {
            Way::Blocking => self.0.write(chunk),
            Way::Beside => match self.0.start_write(chunk) {
                Ok(written) => written.await,
                Err(chunk) => self.0.write(chunk),
            },
        }
    }

    /// True when each chunk has to be one JSON value, false when each has to be bytes.
    #[must_use]
    pub fn object_mode(&self) -> bool {
        self.0.object_mode()
    }

    /// Adds bytes; waits while the reader is behind.
    ///
    /// # Errors
    /// Type `STREAM_CLOSED` when nobody reads any more, `STREAM_IDLE` when nobody has read for too long,
    /// `INVALID_PAYLOAD` when the stream is in object mode.
    pub fn write(&mut self, bytes: impl Into<Vec<u8>>) -> Step<'_, ()> {
        let chunk = Payload::Bytes(bytes.into());
        Step::new(move |way| self.put(chunk, way))
    }

    /// Adds a value to a stream in object mode; waits while the reader is behind. `null` cannot be sent,
    /// because JavaScript's streams have none.
    ///
    /// # Errors
    /// As [`Writer::write`]; also when the value has no JSON form.
    pub fn write_object(&mut self, value: impl Serialize) -> Step<'_, ()> {
        let chunk = serde_json::to_string(&value);
        Step::new(async move |way| self.put(Payload::Json(chunk?), way).await)
    }

    /// All is written.
    ///
    /// # Errors
    /// Type `STREAM_CLOSED` when the stream has ended before, because nobody reads any more.
    pub fn end(self) -> Result<()> {
        self.0.end()
    }

    /// Ends the stream with an error, which the reader gets after what it has not read yet.
    pub fn fail(self, error: Error) {
        self.0.fail(error);
    }
}

/// Streams of the running handler.
impl Context {
    /// The stream that the caller sends beside the params; `None` when there is none, or it has been taken.
    #[must_use]
    pub fn stream(&self) -> Option<Reader> {
        self.host().stream().map(Reader::new)
    }

    /// Answers the caller at once with a stream of bytes, which is then written. What the handler returns
    /// is ignored; its error, or a writer that was not ended, fails the stream. Meta and response headers
    /// have to be set before.
    ///
    /// ```
    /// # use isomer_sdk::prelude::*;
    /// async fn thousand_lines(ctx: &Context) -> Result<()> {
    ///     let mut answer = ctx.respond_stream()?;
    ///     for n in 0..1_000 {
    ///         answer.write(format!("line {n}\n")).await?;
    ///     }
    ///     answer.end()
    /// }
    /// ```
    ///
    /// # Errors
    /// In a handler that is no action, and when it has answered already.
    pub fn respond_stream(&self) -> Result<Writer> {
        self.host().respond_stream(false).map(Writer::new)
    }

    /// Answers the caller at once with a stream of JSON values; else as [`Context::respond_stream`].
    ///
    /// # Errors
    /// As [`Context::respond_stream`].
    pub fn respond_objects(&self) -> Result<Writer> {
        self.host().respond_stream(true).map(Writer::new)
    }
}

/// Calls with streams.
impl<'a, T: DeserializeOwned> Request<'a, T> {
    /// Starts the call with a stream of bytes beside its params. The result is awaited when all is written,
    /// or when writing fails because the callee has closed the stream.
    ///
    /// ```
    /// # use isomer_sdk::prelude::*;
    /// async fn upload(ctx: &Context, text: &str) -> Result<Value> {
    ///     let (mut writer, call) = ctx.call("files.checksum", ()).with_stream()?;
    ///     for line in text.lines() {
    ///         writer.write(line).await?;
    ///     }
    ///     writer.end()?;
    ///     call.await
    /// }
    /// ```
    ///
    /// # Errors
    /// When params or options have no JSON form. Everything else is the result's error.
    pub fn with_stream(self) -> Result<(Writer, StreamCall<'a, T>)> {
        self.start(false)
    }

    /// Starts the call with a stream of JSON values; else as [`Request::with_stream`].
    ///
    /// # Errors
    /// As [`Request::with_stream`].
    pub fn with_objects(self) -> Result<(Writer, StreamCall<'a, T>)> {
        self.start(true)
    }

    /// Sends the call and gives the stream that it is answered with.
    ///
    /// # Errors
    /// Those of the call; type `UNEXPECTED_FORM` when the answer is no stream.
    pub fn into_stream(self) -> Step<'a, Reader> {
        let (ctx, message) = self.into_message();
        Step::new(async move |way| {
            let Message { action, params, options } = message?;
            let pending = ctx.host().start_call(&action, params, options.as_deref());
            answer_stream(ctx, &action, &pending, way).await
        })
    }

    fn start(self, object_mode: bool) -> Result<(Writer, StreamCall<'a, T>)> {
        let (ctx, message) = self.into_message();
        let Message { action, params, options } = message?;
        let (sink, pending) =
            ctx.host().start_stream_call(&action, params, options.as_deref(), object_mode);
        let call = CallFuture::sent(ctx, action.clone(), pending);
        Ok((Writer::new(sink), StreamCall { ctx, action, call }))
    }
}

/// A call that was started with a stream. Dropping it abandons the call.
#[must_use = "its result is got by `.await`, `.wait()` or `into_stream`"]
pub struct StreamCall<'a, T> {
    ctx: &'a Context,
    action: String,
    call: CallFuture<'a, T>,
}

impl<'a, T: DeserializeOwned> StreamCall<'a, T> {
    /// Waits for the result: `.await` for handlers that are not `async`.
    ///
    /// # Errors
    /// As [`Request::wait`].
    pub fn wait(self) -> Result<T> {
        self.call.wait()
    }

    /// The stream that the call is answered with. It can be read while the other is written, by turns; a
    /// callee that answers with much for little may have to be read first.
    ///
    /// # Errors
    /// As [`Request::into_stream`].
    pub fn into_stream(self) -> Step<'a, Reader> {
        let Self { ctx, action, call } = self;
        let pending = call.into_pending();
        Step::new(async move |way| match pending {
            Some(pending) => answer_stream(ctx, &action, &pending, way).await,
            None => Err(no_stream(&action)),
        })
    }
}

impl<'a, T: DeserializeOwned> IntoFuture for StreamCall<'a, T> {
    type Output = Result<T>;
    type IntoFuture = CallFuture<'a, T>;

    fn into_future(self) -> CallFuture<'a, T> {
        self.call
    }
}

/// Waits for the answer of a call, which is to be a stream.
async fn answer_stream(ctx: &Context, action: &str, pending: &Pending, way: Way) -> Result<Reader> {
    match way {
        Way::Blocking => drop(ctx.host().wait_any(&[pending])),
        Way::Beside => pending.done(ctx.host()).await,
    }
    if let Some(source) = pending.take_stream()? {
        return Ok(Reader::new(source));
    }
    match pending.take() {
        Some(Err(error)) => Err(error),
        _ => Err(no_stream(action)),
    }
}

fn no_stream(action: &str) -> Error {
    let message = format!("the result of '{action}' is no stream");
    Error::new(500, "UNEXPECTED_FORM", message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::MockBroker;

    #[test]
    fn a_stream_that_was_sent_is_read_to_its_end() {
        let ctx = MockBroker::new().with_stream(["ab", "c"]).context();
        let all = ctx.run(async {
            let mut reader = ctx.stream().unwrap();
            assert!(ctx.stream().is_none());
            assert_eq!(reader.next_bytes().await?, Some(b"ab".to_vec()));
            let rest = reader.read_to_end(1).await?;
            assert_eq!(reader.next().await?, None);
            Ok(rest)
        });
        assert_eq!(all.unwrap(), b"c");
    }

    #[test]
    fn more_bytes_than_wanted_and_other_kinds_are_errors() {
        let ctx = MockBroker::new().with_stream(["abc"]).context();
        let error = ctx.stream().unwrap().read_to_end(2).wait().unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(413), "PAYLOAD_TOO_LARGE"));
        let ctx = MockBroker::new().with_objects([json!({"n": 1})]).context();
        assert!(ctx.stream().unwrap().next_bytes().wait().is_err());
        let mut writer = ctx.respond_objects().unwrap();
        assert!(writer.write("bytes").wait().is_err());
        assert!(writer.write_object(()).wait().is_err());
        assert!(ctx.respond_stream().is_err());
    }

    #[test]
    fn an_answer_remembers_what_was_written() {
        let mock = MockBroker::new();
        let ctx = mock.context();
        let mut writer = ctx.respond_objects().unwrap();
        assert!(writer.object_mode());
        writer.write_object(json!({"n": 1})).wait().unwrap();
        assert_eq!(mock.answered_streams()[0].end, None);
        writer.end().unwrap();
        let written = &mock.answered_streams()[0];
        assert_eq!(written.chunks, [Payload::from(json!({"n": 1}))]);
        assert_eq!(written.end, Some(Ok(())));
    }

    #[test]
    fn a_call_sends_a_stream_and_is_answered_with_one() {
        let mock = MockBroker::new()
            .on_call("files.save", |params, _| Ok(json!({"saved": params["name"]})))
            .on_call_bytes("files.get", ["x", "y"])
            .on_call_objects("files.list", [json!(1), json!(2)]);
        let ctx = mock.context();
        let read = ctx.run(async {
            let params = json!({"name": "a"});
            let (mut writer, call) = ctx.call::<Value>("files.save", &params).with_stream()?;
            writer.write("12").await?;
            writer.end()?;
            assert_eq!(call.await?, json!({"saved": "a"}));
            let mut list = ctx.call::<()>("files.list", ()).into_stream().await?;
            assert_eq!(list.next_as::<u32>().await?, Some(1));
            let (writer, call) = ctx.call::<()>("files.get", ()).with_objects()?;
            drop(writer);
            call.into_stream().await?.read_to_end(10).await
        });
        assert_eq!(read.unwrap(), b"xy");
        let sent = mock.sent_streams();
        assert_eq!((sent[0].bytes(), sent[0].end.clone()), (b"12".to_vec(), Some(Ok(()))));
        assert_eq!((sent[1].object_mode, &sent[1].end), (true, &None));
        let error = ctx.call::<()>("files.save", ()).into_stream().wait().err().unwrap();
        assert_eq!(error.kind(), "UNEXPECTED_FORM");
    }
}
