//! Why a guest ended badly, as the error that its caller gets: one name for each cause, never two.

use std::sync::Arc;

use serde_json::json;
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::error::MoleculerError;
use crate::memory::room::Full;
use crate::runtime::deadline::Stop;
use crate::runtime::environment::{CallLimits, Environment};
use crate::runtime::limiter::Denied;
use crate::runtime::state::State;

/// What `wasmtime` says when a guest hands over more than the hostcall fuel allows. It has no type of its
/// own, so this text is the only sign; `tests/it/runtime_limits.rs` notices when it changes.
const HOSTCALL_FUEL_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
/// What is run while an instance is made.
pub(super) const INSTANTIATE: &str = "instantiate";
/// Longest text of a cause, in bytes: the guest's last line may be part of it.
const CAUSE_LEN_MAX: usize = 500;

/// How a guest ended.
#[derive(Debug)]
pub(super) enum Cause {
    /// By itself.
    Ended(wasmtime::Error),
    /// From outside.
    Stopped(Stop),
}

/// The error for the caller, counted; what is left of a guest that has trapped is kept if it should be. `what` is the action or the function that ran.
pub(super) fn error(
    store: &mut Store<State>,
    limits: &CallLimits,
    what: &str,
    cause: Cause,
) -> MoleculerError {
    let environment = Arc::clone(&store.data().environment);
    match cause {
        Cause::Stopped(stop) => stopped(&environment, what, stop),
        Cause::Ended(error) => {
            let used = limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
            let told = ended(store.data(), limits, used, what, &error);
            if let (Some(dumps), "SERVICE_TRAPPED") = (&environment.core_dumps, told.kind()) {
                dumps.keep(store, &error);
            }
            told
        }
    }
}

/// The error for a call that was stopped, also while it waited for an instance.
pub(super) fn stopped(environment: &Environment, what: &str, stop: Stop) -> MoleculerError {
    let node_id = &*environment.node_id;
    match stop {
        Stop::Closed => MoleculerError::request_rejected(what, node_id),
        Stop::Caller => {
            environment.counters.timed_out.increment();
            MoleculerError::request_timeout(what, node_id)
        }
        Stop::Service => {
            environment.counters.timed_out.increment();
            MoleculerError::request_timeout(what, node_id)
                .with_data(&json!({"action": what, "nodeID": node_id, "limit": "service"}))
        }
    }
}

fn ended(
    state: &State,
    limits: &CallLimits,
    fuel_used: u64,
    what: &str,
    error: &wasmtime::Error,
) -> MoleculerError {
    let environment = &*state.environment;
    let counters = &environment.counters;
    let service = &*environment.service;
    match state.limiter.denied() {
        Some(Denied::Instance { limit, asked }) => {
            counters.memory_limit.increment();
            return MoleculerError::memory_limit(service, wide(limit), wide(asked));
        }
        Some(Denied::Node(Full { limit, used })) => {
            counters.node_memory.increment();
            // Whoever had no instance yet has done nothing that must not be done twice.
            let again = what == INSTANTIATE;
            return MoleculerError::node_memory(service, &environment.node_id, limit, used, again);
        }
        None => {}
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::OutOfFuel) {
        counters.fuel_exhausted.increment();
        return MoleculerError::fuel_exhausted(service, limits.fuel, fuel_used);
    }
    let cause = error.root_cause().to_string();
    if cause.contains(HOSTCALL_FUEL_TEXT) {
        counters.payload_too_large.increment();
        let mut error = MoleculerError::payload_too_large("payload", limits.payload, 0);
        error.fields_mut().message =
            format!("Service '{service}' handed over more than {} bytes.", limits.payload);
        return error
            .with_data(&json!({"what": "payload", "limit": limits.payload, "service": service}));
    }
    counters.trapped.increment();
    environment.traps.note();
    trapped(state, service, &trap.map_or(cause, |trap| trap.to_string()), error)
}

/// The error of a trap: its cause, the guest's last words, and where it happened.
fn trapped(state: &State, service: &str, cause: &str, error: &wasmtime::Error) -> MoleculerError {
    let printed = state.output.last_lines();
    // A Rust panic prints its message and then executes `unreachable`, which alone says nothing.
    let mut cause = match printed.iter().rfind(|line| line.contains("panicked at")) {
        Some(line) => format!("{cause}: {line}"),
        None => cause.to_owned(),
    };
    cause.truncate(cause.floor_char_boundary(CAUSE_LEN_MAX));
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::to_string);
    let mut stack = format!("ServiceTrappedError: {cause}\n{}", backtrace.unwrap_or_default());
    if !printed.is_empty() {
        // Only some of its frames end with a line of their own.
        if !stack.ends_with('\n') {
            stack.push('\n');
        }
        stack.push_str("last output:\n  ");
        stack.push_str(&printed.join("\n  "));
    }
    let mut error = MoleculerError::service_trapped(service, &cause);
    error.fields_mut().stack = Some(stack);
    error
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
