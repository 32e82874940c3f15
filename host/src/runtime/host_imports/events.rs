//! Events that a guest sends.

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
    state: &State,
    ctx: Handle,
    kind: EventType,
    event: &str,
    data: PayloadResult,
    options: Option<&str>,
) -> Result<Sending, MoleculerError> {
    let running = state.handlers.get(ctx)?;
    state.environment.permit(Permission::Emit, event)?;
    let mut options = options::emit_options(options, state.environment.limits.meta)?;
    options.parent = (ctx != OWN_CONTEXT).then(|| running.ctx.clone());
    let data = payload_from_guest("data of the event", data, running.limits.payload)?;
    let Some(caller) = state.environment.caller() else {
        // A node that has stopped sends nothing; nobody could hear it either.
        return Ok(Box::pin(async { Ok(()) }));
    };
    Ok(caller.send(kind, event, data, options))
}
