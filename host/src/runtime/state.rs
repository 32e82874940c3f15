//! What the host keeps in the store of one instance.
//!
//! A guest holds a context only while its handler runs: no function gives it one to keep, and wasmtime
//! checks that borrowed handles are returned. So there is one context per store, and its handle needs no
//! table entry.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::clock::Instant;
use crate::context::Context;
use crate::error::MoleculerError;
use crate::runtime::environment::{CallLimits, Environment};
use crate::runtime::limiter::Limiter;
use crate::runtime::streams::Streams;
use crate::runtime::wasi::{self, Output};

/// Type of the guest's handle on the context of the running handler.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct CurrentContext;

/// Every context handle has this representation.
const CONTEXT_REP: u32 = 1;

/// The handle that a handler gets.
pub(super) fn context_handle() -> Resource<CurrentContext> {
    Resource::new_borrow(CONTEXT_REP)
}

/// Data of a store.
pub(super) struct State {
    pub environment: Arc<Environment>,
    pub limiter: Limiter,
    pub table: ResourceTable,
    pub output: Output,
    /// The handler that runs now.
    pub running: Option<Running>,
    /// What it reads and writes.
    pub streams: Streams,
    /// One permit for each call that may be in flight.
    pub calls: Arc<Semaphore>,
    wasi: WasiCtx,
}

/// A handler that runs.
pub(super) struct Running {
    pub ctx: Context,
    pub limits: CallLimits,
    /// When the host will stop it.
    pub until: Instant,
    /// Whether it is an action, which may have streams of its caller.
    pub action: bool,
    /// The error that it answers for, when it is a fallback.
    pub cause: Option<MoleculerError>,
}

/// A context was used outside of its handler, which a guest cannot do with the handles that it gets.
#[derive(Debug, thiserror::Error)]
#[error("a context was used while no handler runs")]
struct NoHandler;

impl State {
    pub(super) fn new(environment: &Arc<Environment>) -> Self {
        let limits = &environment.limits;
        let (wasi, output) = wasi::context(environment);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            environment: Arc::clone(environment),
            limiter: Limiter::new(limits),
            table,
            output,
            running: None,
            streams: Streams::new(limits, &environment.counters.streams),
            calls: Arc::new(Semaphore::new(limits.calls_in_flight.min(Semaphore::MAX_PERMITS))),
            wasi,
        }
    }

    /// The handler that runs now.
    pub(super) fn running(&self) -> wasmtime::Result<&Running> {
        self.running.as_ref().ok_or_else(|| NoHandler.into())
    }

    /// The most bytes of a payload of the handler that runs now.
    pub(super) fn payload_len_max(&self) -> Result<usize, MoleculerError> {
        let no_handler = |error: wasmtime::Error| MoleculerError::internal(error.to_string());
        self.running().map(|running| running.limits.payload).map_err(no_handler)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Gives the generated bindings access to the [`State`] as a whole.
pub(super) struct Whole;

impl HasData for Whole {
    type Data<'a> = &'a mut State;
}
