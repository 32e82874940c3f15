//! What the host keeps in the store of one instance.
//!
//! A guest holds a context only while its handler runs: the handle is lent, and wasmtime checks that borrowed
//! handles are returned. So a handle needs no table entry; its number is the place of the handler here.

use std::sync::Arc;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::error::MoleculerError;
use crate::runtime::accounts::Accounts;
use crate::runtime::environment::Environment;
use crate::runtime::handlers::{Handle, Handlers, NoHandler, Running};
use crate::runtime::holds::Holds;
use crate::runtime::limiter::Limiter;
use crate::runtime::reach::http::{FIELDS_LEN_MAX, Hooks};
use crate::runtime::reach::sockets::Names;
use crate::runtime::streams::Streams;
use crate::runtime::wasi::{self, Output};

/// Type of the guest's handle on the context of the running handler.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct CurrentContext;

/// Data of a store.
pub(super) struct State {
    pub environment: Arc<Environment>,
    pub limiter: Limiter,
    pub table: ResourceTable,
    pub output: Output,
    /// The handlers that run now.
    pub handlers: Handlers,
    /// What they read and write.
    pub streams: Streams,
    /// Who waits for a `release` (world `service-async`).
    pub holds: Holds,
    /// The fuel of each call, when many run at once.
    pub accounts: Option<Accounts>,
    /// What it was told of names that it may reach.
    pub names: Names,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    requests: Hooks,
}

impl State {
    /// # Errors
    /// A grant that is not possible.
    pub(super) fn new(environment: &Arc<Environment>) -> Result<Self, MoleculerError> {
        let limits = &environment.limits;
        let names = Names::default();
        let (wasi, output) = wasi::context(environment, &names)?;
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_LEN_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Ok(Self {
            environment: Arc::clone(environment),
            limiter: Limiter::new(limits, &environment.room),
            table,
            output,
            handlers: Handlers::new(limits.calls_in_flight),
            streams: Streams::new(limits, &environment.counters.streams),
            holds: Holds::default(),
            accounts: None,
            names,
            wasi,
            http,
            requests: Hooks::new(environment),
        })
    }

    /// The handler of a context.
    pub(super) fn running(&self, ctx: Handle) -> wasmtime::Result<&Running> {
        Ok(self.handlers.get(ctx)?)
    }

    /// The most bytes of a payload of the handler of a context.
    pub(super) fn payload_len_max(&self, ctx: Handle) -> Result<usize, MoleculerError> {
        Ok(self.handlers.get(ctx)?.limits.payload)
    }

    /// The most bytes of a payload for whom the guest does not name: the only handler, or the service.
    pub(super) fn any_payload_len_max(&self) -> Result<usize, MoleculerError> {
        match self.handlers.only() {
            Some(running) => Ok(running.limits.payload),
            None if self.handlers.any() => Ok(self.environment.limits.payload),
            None => Err(NoHandler.into()),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.requests.end_with(self.handlers.only_mut().map(Running::ended));
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Gives the generated bindings access to the [`State`] as a whole.
pub(super) struct Whole;

impl HasData for Whole {
    type Data<'a> = &'a mut State;
}
