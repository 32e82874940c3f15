//! The interface `streams-async`.

use wasmtime::component::{Access, Resource};

use crate::error::MoleculerError;
use crate::runtime::bindings::asynchronous::isomer::service::streams_async::{
    Host, HostReader, HostReaderWithStore, HostWriter, HostWriterWithStore,
};
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::failure::{error_from_guest, failure_from};
use crate::runtime::handlers::Handle;
use crate::runtime::host_imports::Answer;
use crate::runtime::host_imports::asynchronous::{Promise, promise, until};
use crate::runtime::host_imports::at_once::{at_once_of_a_reader, at_once_of_a_writer};
use crate::runtime::state::{State, Whole};
use crate::runtime::streams::{Reader, Writer};

/// Work on a stream ends with the handler that it belongs to.
fn while_running<V: Send + 'static>(
    state: &mut State,
    handler: Option<Handle>,
    work: impl Future<Output = Result<V, MoleculerError>> + Send + 'static,
) -> impl Future<Output = Result<V, MoleculerError>> + Send + 'static {
    let running = handler.and_then(|handler| state.handlers.get_mut(handler).ok());
    let ended = running.map(|running| running.ended());
    async move {
        match ended {
            Some(ended) => until(&ended, work).await,
            // It fails by itself: its stream is gone.
            None => work.await,
        }
    }
}

impl<T: 'static> HostReaderWithStore<T> for Whole {
    fn read(
        mut host: Access<'_, T, Self>,
        reader: Resource<Reader>,
    ) -> Promise<Option<PayloadResult>> {
        let state = host.get();
        let id = state.table.get(&reader)?.0;
        let chunk = state.read_chunk(id);
        let chunk = while_running(state, state.streams.handler_of_reader(id), chunk);
        promise(host, Ok(chunk), |chunk| chunk)
    }
}

impl HostReader for State {
    at_once_of_a_reader!();
}

impl<T: 'static> HostWriterWithStore<T> for Whole {
    fn write(
        mut host: Access<'_, T, Self>,
        writer: Resource<Writer>,
        chunk: PayloadResult,
    ) -> Promise<()> {
        let state = host.get();
        let id = state.table.get(&writer)?.0;
        let written = state.write_chunk(id, chunk);
        let written = while_running(state, state.streams.handler_of_writer(id), written);
        promise(host, Ok(written), |()| ())
    }
}

impl HostWriter for State {
    at_once_of_a_writer!();
}

impl Host for State {}
