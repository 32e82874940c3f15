//! One instance of a service or middleware: a store, its bindings, and one call at a time in it.
//!
//! An instance is healthy until something happens from which a store does not come back: a trap, the end of
//! the fuel, a time-out, a call that was abandoned half-way. It is marked as broken before each call and
//! healthy again after it, so a dropped future leaves a broken instance behind. Nobody may use one again.

use std::sync::Arc;

use wasmtime::Store;

use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::deadline::{Deadline, Stop, within, within_answer};
use crate::runtime::engine::FUEL_SLICE;
use crate::runtime::environment::{CallLimits, Environment};
use crate::runtime::failure::{check_len, error_from_guest, payload_from_guest};
use crate::runtime::handlers::{FIRST_HANDLER, Running};
use crate::runtime::state::State;
use crate::runtime::verdict::{self, Cause};
use crate::runtime::world::{Guest, Pre};
use crate::task::CancellationToken;

pub(super) mod crowd;
pub(super) mod intercept;

/// What a guest may hand over in one host call beyond a payload: names, options, the parts of a failure.
/// Up to here a text that is too large is a failure that the guest can read; beyond it is a trap.
const HOSTCALL_ROOM: usize = 256 << 10;

/// A store with a running component.
pub(super) struct Instance {
    store: Store<State>,
    guest: Guest,
    healthy: bool,
    n_calls: u64,
    fuel_used: u64,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data().environment.counters.instances.add(-1);
    }
}

impl Instance {
    /// Makes an instance. Its start functions run under the limits of a call.
    pub(super) async fn new(
        pre: &Pre,
        environment: &Arc<Environment>,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<Self, MoleculerError> {
        let mut store = Store::new(pre.engine(), State::new(environment)?);
        let made = match configure(&mut store, limits) {
            Err(error) => Ok(Err(error)),
            Ok(()) => within(deadline, closed, pre.instantiate(&mut store)).await,
        };
        let cause = match made {
            Ok(Ok(guest)) => {
                environment.counters.instances.increment();
                store.data_mut().limiter.instantiated();
                return Ok(Self { store, guest, healthy: true, n_calls: 0, fuel_used: 0 });
            }
            Ok(Err(error)) => Cause::Ended(error),
            Err(stop) => Cause::Stopped(stop),
        };
        Err(verdict::error(&mut store, limits, verdict::INSTANTIATE, cause))
    }

    /// Whether it may be used again.
    pub(super) fn healthy(&self) -> bool {
        self.healthy
    }

    /// Calls and events that it has handled.
    pub(super) fn n_calls(&self) -> u64 {
        self.n_calls
    }

    /// Bytes of its memories now.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limiter.memory()
    }

    /// Fuel of the last call.
    pub(super) fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// The text of the schema.
    pub(super) async fn describe(
        &mut self,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<String, MoleculerError> {
        let armed = self.arm(limits);
        let call = self.guest.describe(&mut self.store);
        let ended = within(deadline, closed, after(armed, call)).await;
        self.settle("describe", limits, ended)
    }

    /// Runs `started`.
    pub(super) async fn started(
        &mut self,
        ctx: Context,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<(), MoleculerError> {
        let armed = self.begin(Running::new(ctx, *limits, Some(deadline.at())));
        let call = self.guest.started(&mut self.store);
        let ended = within(deadline, closed, after(armed, call)).await;
        self.settle("started", limits, ended)?
    }

    /// Runs `stopped`.
    pub(super) async fn stopped(
        &mut self,
        ctx: Context,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<(), MoleculerError> {
        let armed = self.begin(Running::new(ctx, *limits, Some(deadline.at())));
        let call = self.guest.stopped(&mut self.store);
        let ended = within(deadline, closed, after(armed, call)).await;
        self.settle("stopped", limits, ended)?
    }

    /// Runs an action with the params of the context; a fallback when there is an error to answer for.
    pub(super) async fn call_action(
        &mut self,
        ctx: Context,
        cause: Option<MoleculerError>,
        key: &str,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Outcome {
        let params = check_payload("params", &ctx, limits, &self.store.data().environment)?;
        let name = Arc::clone(&ctx.name);
        let mut running = Running::new(ctx.clone(), *limits, Some(deadline.at()));
        (running.action, running.cause) = (true, cause);
        let armed = self.begin(running);
        let streaming = self.store.data().environment.limits.stream_timeout;
        let call = self.guest.call_action(&mut self.store, FIRST_HANDLER, key, &params);
        let ended = within_answer(&ctx, deadline, streaming, closed, after(armed, call)).await;
        let outcome = self.settle(&name, limits, ended).and_then(|result| match result {
            // The caller has its answer.
            Ok(_) if ctx.answered_at().is_some() => Ok(Payload::Absent),
            Ok(result) => payload_from_guest("result", result, limits.payload)
                .inspect_err(|error| self.count_too_large(error)),
            Err(failure) => Err(error_from_guest(failure)),
        });
        self.store.data_mut().streams.close(FIRST_HANDLER, outcome.as_ref().err());
        close_request_stream(&ctx);
        outcome
    }

    /// Handles an event with the data of the context.
    pub(super) async fn handle_event(
        &mut self,
        ctx: Context,
        key: &str,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<(), MoleculerError> {
        let data = check_payload("data", &ctx, limits, &self.store.data().environment)?;
        let name = Arc::clone(&ctx.name);
        let armed = self.begin(Running::new(ctx, *limits, Some(deadline.at())));
        let call = self.guest.handle_event(&mut self.store, FIRST_HANDLER, key, &data);
        let ended = within(deadline, closed, after(armed, call)).await;
        self.settle(&name, limits, ended)?.map_err(error_from_guest)
    }

    /// Prepares a handler: context, limits, fuel. It takes the first place, because there is no other one.
    fn begin(&mut self, running: Running) -> wasmtime::Result<()> {
        let limits = running.limits;
        let state = self.store.data_mut();
        state.output.forget();
        state.handlers.begin(running);
        self.n_calls += 1;
        self.arm(&limits)
    }

    fn arm(&mut self, limits: &CallLimits) -> wasmtime::Result<()> {
        self.healthy = false;
        self.store.data_mut().limiter.set_memory_limit(limits.memory);
        self.store.set_hostcall_fuel(limits.payload.saturating_add(HOSTCALL_ROOM));
        self.store.set_fuel(limits.fuel)
    }

    /// Ends a handler: a clean end makes the instance healthy again, all others become errors.
    fn settle<T>(
        &mut self,
        what: &str,
        limits: &CallLimits,
        ended: Result<wasmtime::Result<T>, Stop>,
    ) -> Result<T, MoleculerError> {
        self.fuel_used = limits.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0));
        let state = self.store.data_mut();
        state.handlers.end(FIRST_HANDLER);
        state.output.flush();
        let fuel = i64::try_from(self.fuel_used).unwrap_or(i64::MAX);
        state.environment.counters.fuel.add(fuel);
        let cause = match ended {
            Ok(Ok(value)) => {
                self.healthy = true;
                return Ok(value);
            }
            Ok(Err(error)) => Cause::Ended(error),
            Err(stop) => Cause::Stopped(stop),
        };
        Err(verdict::error(&mut self.store, limits, what, cause))
    }

    fn count_too_large(&self, error: &MoleculerError) {
        if error.kind() == "PAYLOAD_TOO_LARGE" {
            self.store.data().environment.counters.payload_too_large.increment();
        }
    }
}

/// Gives a new store its limits.
fn configure(store: &mut Store<State>, limits: &CallLimits) -> wasmtime::Result<()> {
    store.limiter(|state| &mut state.limiter);
    store.set_max_component_handles(store.data().environment.limits.handles);
    store.set_hostcall_fuel(limits.payload.saturating_add(HOSTCALL_ROOM));
    store.set_fuel(limits.fuel)?;
    store.fuel_async_yield_interval(Some(FUEL_SLICE))
}

/// A stream that the handler has not taken will not be read any more.
fn close_request_stream(ctx: &Context) {
    if let Some(stream) = &ctx.stream {
        drop(stream.take());
    }
}

/// Goes on with a call if the store could be armed for it.
async fn after<T>(
    armed: wasmtime::Result<()>,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    armed?;
    call.await
}

/// Refuses params, data or meta that are too large, before the guest sees them.
pub(super) fn check_payload(
    what: &str,
    ctx: &Context,
    limits: &CallLimits,
    environment: &Environment,
) -> Outcome {
    check_len(what, ctx.params().len(), limits.payload)
        .and_then(|()| check_len("meta", ctx.meta().len(), environment.limits.meta))
        .and_then(|()| check_len("headers", ctx.headers.len(), environment.limits.meta))
        .inspect_err(|_| environment.counters.payload_too_large.increment())?;
    Ok(ctx.params().clone())
}
