//! Events that a guest sends.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::context::EventType;
use crate::error::MoleculerError;
use crate::runtime::bindings::isomer::service::types::PayloadResult;
use crate::runtime::environment::Permission;
use crate::runtime::failure::payload_from_guest;
use crate::runtime::handlers::{Handle, OWN_CONTEXT};
use crate::runtime::host_imports::options;
use crate::runtime::state::State;

/// An event on its way.
pub(super) type Sending = BoxFuture<'static, Result<(), MoleculerError>>;

/// Checks an event of a handler and makes it a future, which sends it as a child of the running call. The
/// service's own context sends it as the root of a chain.
pub(super) fn prepare(
    state: &mut State,
    ctx: Handle,
    kind: EventType,
    event: &str,
    data: PayloadResult,
    options: Option<&str>,
) -> Result<Sending, MoleculerError> {
    state.environment.permit(Permission::Emit, event)?;
    count(state, ctx, event)?;
    let running = state.handlers.get(ctx)?;
    let mut options = options::emit_options(options, state.environment.limits.meta)?;
    options.parent = (ctx != OWN_CONTEXT).then(|| running.ctx.clone());
    let data = payload_from_guest("data of the event", data, running.limits.payload)?;
    let Some(caller) = state.environment.caller() else {
        // A node that has stopped sends nothing; nobody could hear it either.
        return Ok(Box::pin(async { Ok(()) }));
    };
    Ok(caller.send(kind, event, data, options))
}

/// Counts an event of a handler, or refuses one too many: each is work for every node that hears it, which no
/// fuel of the sender pays for. The service's own context, which has no end, is not counted.
fn count(state: &mut State, ctx: Handle, event: &str) -> Result<(), MoleculerError> {
    let environment = Arc::clone(&state.environment);
    let limit = environment.limits.events;
    let running = state.handlers.get_mut(ctx)?;
    if ctx == OWN_CONTEXT || running.events < limit {
        running.events += 1;
        return Ok(());
    }
    environment.counters.queue_full.increment();
    Err(MoleculerError::too_many_events(event, &environment.service, limit))
}
