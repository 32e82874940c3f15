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
use crate::runtime::handlers::Handle;
use crate::runtime::host_imports::Answer;
use crate::runtime::host_imports::at_once::{at_once_of_a_reader, at_once_of_a_writer};
use crate::runtime::host_imports::context::Asked;
use crate::runtime::host_imports::options;
use crate::runtime::pending_call::PendingCall;
use crate::runtime::state::State;
use crate::runtime::streams::{Reader, Writer};

impl State {
    /// The stream of the caller, if this handler may have it and it has not been taken.
    pub(super) fn take_request_stream(
        &mut self,
        ctx: Handle,
    ) -> wasmtime::Result<Option<Resource<Reader>>> {
        let running = self.running(ctx)?;
        let Some(stream) = running.ctx.stream.as_ref().filter(|_| running.action) else {
            return Ok(None);
        };
        let Some(reader) = stream.take() else { return Ok(None) };
        // It is not counted against the limit: there is only one of its kind.
        Ok(Some(self.table.push(self.streams.add_reader(ctx, reader))?))
    }

    /// The stream that a call was answered with; it waits while there are too many others.
    pub(super) fn take_answer_stream(
        &mut self,
        call: &Resource<PendingCall>,
    ) -> wasmtime::Result<Result<Option<Reader>, MoleculerError>> {
        let call = self.table.get_mut(call)?;
        let handler = call.handler;
        let waiting = call.stream();
        if waiting.is_none() {
            return Ok(Ok(None));
        }
        if let Err(error) = self.streams.check_room(handler) {
            return Ok(Err(error));
        }
        let reader = waiting.take().and_then(|stream| stream.take());
        Ok(Ok(reader.map(|reader| self.streams.add_reader(handler, reader))))
    }

    /// Answers the caller with a stream.
    pub(super) fn answer_with_stream(
        &mut self,
        ctx: Handle,
        object_mode: bool,
    ) -> Result<Writer, MoleculerError> {
        let streaming = self.environment.limits.stream_timeout;
        let running = self.handlers.get_mut(ctx)?;
        if !running.action || self.streams.answered(ctx) {
            let message = "Only an action can answer with a stream, and only once.";
            return Err(MoleculerError::client(409, "STREAM_NOT_POSSIBLE", message));
        }
        let (writer, stream) = self.streams.open(ctx, object_mode)?;
        self.streams.answer_with(&writer);
        let now = clock::now();
        running.until = now.checked_add(streaming).or(running.until);
        running.ctx.answer_with(stream, now);
        Ok(writer)
    }

    /// Starts a call that sends a stream.
    pub(super) fn start_with_stream(
        &mut self,
        ctx: Handle,
        asked: Asked<'_>,
        object_mode: bool,
    ) -> (Writer, PendingCall) {
        self.open_and_start(ctx, asked, object_mode)
            .unwrap_or_else(|error| (self.streams.closed_writer(), PendingCall::failed(ctx, error)))
    }

    fn open_and_start(
        &mut self,
        ctx: Handle,
        asked: Asked<'_>,
        object_mode: bool,
    ) -> Result<(Writer, PendingCall), MoleculerError> {
        let mut call_options = options::call_options(asked.options, self.environment.limits.meta)?;
        let (writer, stream) = self.streams.open(ctx, object_mode)?;
        call_options.stream = Some(stream);
        match self.start(ctx, asked.action, asked.params, call_options) {
            Ok(call) => Ok((writer, call)),
            Err(error) => {
                self.streams.drop_writer(writer.0);
                Err(error)
            }
        }
    }

    /// Waits for the next chunk of a stream.
    pub(super) fn read_chunk(
        &self,
        reader: u64,
    ) -> impl Future<Output = Result<Option<PayloadResult>, MoleculerError>> + Send + use<> {
        let len_max = self.chunk_len_max(self.streams.handler_of_reader(reader));
        let chunk = len_max.map(|len_max| self.streams.read(reader, len_max));
        async move { Ok(chunk?.await?.map(payload_to_result)) }
    }

    /// Waits until a chunk has been added to a stream.
    pub(super) fn write_chunk(
        &self,
        writer: u64,
        chunk: PayloadResult,
    ) -> impl Future<Output = Result<(), MoleculerError>> + Send + use<> {
        let written = self
            .chunk_len_max(self.streams.handler_of_writer(writer))
            .and_then(|len_max| payload_from_guest("chunk", chunk, len_max))
            .map(|chunk| self.streams.write(writer, chunk));
        async move { written?.await }
    }

    /// A stream whose handler has ended is closed, whatever its chunks are.
    fn chunk_len_max(&self, handler: Option<Handle>) -> Result<usize, MoleculerError> {
        handler.map_or(Ok(self.environment.limits.payload), |handler| self.payload_len_max(handler))
    }
}

impl HostReader for State {
    at_once_of_a_reader!();

    async fn read(&mut self, reader: Resource<Reader>) -> Answer<Option<PayloadResult>> {
        let id = self.table.get(&reader)?.0;
        Ok(self.read_chunk(id).await.map_err(|error| failure_from(&error)))
    }
}

impl HostWriter for State {
    at_once_of_a_writer!();

    async fn write(&mut self, writer: Resource<Writer>, chunk: PayloadResult) -> Answer<()> {
        let id = self.table.get(&writer)?.0;
        Ok(self.write_chunk(id, chunk).await.map_err(|error| failure_from(&error)))
    }
}

impl Host for State {}
