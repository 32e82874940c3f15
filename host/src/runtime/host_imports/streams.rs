//! The interface `streams`, and the streams of the running context.
//!
//! Reading and writing wait on a channel and never on another guest, so they may suspend the store.

use wasmtime::component::Resource;

use crate::clock;
use crate::error::MoleculerError;
use crate::runtime::bindings::isomer::service::streams::{Host, HostReader, HostWriter};
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::failure::{
    error_from_guest, failure_from, payload_from_guest, payload_to_result,
};
use crate::runtime::host_imports::options;
use crate::runtime::pending_call::PendingCall;
use crate::runtime::state::State;
use crate::runtime::streams::{Reader, Writer};

/// A result for the guest; the outer one is a trap.
type Answer<T> = wasmtime::Result<Result<T, Failure>>;

impl State {
    /// The stream of the caller, if this handler may have it and it has not been taken.
    pub(super) fn take_request_stream(&mut self) -> wasmtime::Result<Option<Resource<Reader>>> {
        let running = self.running()?;
        let Some(stream) = running.ctx.stream.as_ref().filter(|_| running.action) else {
            return Ok(None);
        };
        let Some(reader) = stream.take() else { return Ok(None) };
        // It is not counted against the limit: there is only one of its kind.
        Ok(Some(self.table.push(self.streams.add_reader(reader))?))
    }

    /// The stream that a call was answered with; it waits while there are too many others.
    pub(super) fn take_answer_stream(
        &mut self,
        call: &Resource<PendingCall>,
    ) -> wasmtime::Result<Result<Option<Reader>, MoleculerError>> {
        let waiting = self.table.get_mut(call)?.stream();
        if waiting.is_none() {
            return Ok(Ok(None));
        }
        if let Err(error) = self.streams.check_room() {
            return Ok(Err(error));
        }
        let reader = waiting.take().and_then(|stream| stream.take());
        Ok(Ok(reader.map(|reader| self.streams.add_reader(reader))))
    }

    /// Answers the caller with a stream.
    pub(super) fn answer_with_stream(
        &mut self,
        object_mode: bool,
    ) -> Result<Writer, MoleculerError> {
        let streaming = self.environment.limits.stream_timeout;
        let answered = self.streams.answered();
        let running =
            self.running.as_mut().filter(|running| running.action && !answered).ok_or_else(
                || {
                    let message = "Only an action can answer with a stream, and only once.";
                    MoleculerError::client(409, "STREAM_NOT_POSSIBLE", message)
                },
            )?;
        let (writer, stream) = self.streams.open(object_mode)?;
        self.streams.answer_with(&writer);
        let now = clock::now();
        running.until = now.checked_add(streaming).unwrap_or(running.until);
        running.ctx.answer_with(stream, now);
        Ok(writer)
    }

    /// Starts a call that sends a stream.
    pub(super) fn start_with_stream(
        &mut self,
        action: &str,
        params: PayloadResult,
        text: Option<&str>,
        object_mode: bool,
    ) -> (Writer, PendingCall) {
        let started = self.open_and_start(action, params, text, object_mode);
        started.unwrap_or_else(|error| (self.streams.closed_writer(), PendingCall::failed(error)))
    }

    fn open_and_start(
        &mut self,
        action: &str,
        params: PayloadResult,
        text: Option<&str>,
        object_mode: bool,
    ) -> Result<(Writer, PendingCall), MoleculerError> {
        let mut call_options = options::call_options(text, self.environment.limits.meta)?;
        let (writer, stream) = self.streams.open(object_mode)?;
        call_options.stream = Some(stream);
        match self.start(action, params, call_options) {
            Ok(call) => Ok((writer, call)),
            Err(error) => {
                self.streams.drop_writer(writer.0);
                Err(error)
            }
        }
    }

    async fn read_chunk(&mut self, reader: u64) -> Result<Option<PayloadResult>, MoleculerError> {
        let len_max = self.payload_len_max()?;
        let chunk = self.streams.read(reader, len_max).await?;
        Ok(chunk.map(payload_to_result))
    }

    async fn write_chunk(
        &mut self,
        writer: u64,
        chunk: PayloadResult,
    ) -> Result<(), MoleculerError> {
        let chunk = payload_from_guest("chunk", chunk, self.payload_len_max()?)?;
        self.streams.write(writer, chunk).await
    }
}

impl HostReader for State {
    fn object_mode(&mut self, reader: Resource<Reader>) -> wasmtime::Result<bool> {
        let id = self.table.get(&reader)?.0;
        Ok(self.streams.reader_object_mode(id))
    }

    async fn read(&mut self, reader: Resource<Reader>) -> Answer<Option<PayloadResult>> {
        let id = self.table.get(&reader)?.0;
        Ok(self.read_chunk(id).await.map_err(|error| failure_from(&error)))
    }

    fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        let Reader(id) = self.table.delete(reader)?;
        self.streams.drop_reader(id);
        Ok(())
    }
}

impl HostWriter for State {
    fn object_mode(&mut self, writer: Resource<Writer>) -> wasmtime::Result<bool> {
        let id = self.table.get(&writer)?.0;
        Ok(self.streams.writer_object_mode(id))
    }

    async fn write(&mut self, writer: Resource<Writer>, chunk: PayloadResult) -> Answer<()> {
        let id = self.table.get(&writer)?.0;
        Ok(self.write_chunk(id, chunk).await.map_err(|error| failure_from(&error)))
    }

    fn end(&mut self, writer: Resource<Writer>) -> Answer<()> {
        let id = self.table.get(&writer)?.0;
        Ok(self.streams.finish(id, Ok(())).map_err(|error| failure_from(&error)))
    }

    fn fail(&mut self, writer: Resource<Writer>, error: Failure) -> wasmtime::Result<()> {
        let id = self.table.get(&writer)?.0;
        // A stream that has ended stays as it ended.
        let _ = self.streams.finish(id, Err(error_from_guest(error)));
        Ok(())
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        let Writer(id) = self.table.delete(writer)?;
        self.streams.drop_writer(id);
        Ok(())
    }
}

impl Host for State {}
