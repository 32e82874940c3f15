//! Events that a guest sends.

use futures_util::future::BoxFuture;

use crate::error::MoleculerError;
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::environment::Permission;
use crate::runtime::failure::{failure_from, payload_from_guest};
use crate::runtime::host_imports::options;
use crate::runtime::pending_call::beside;
use crate::runtime::state::State;

/// Who gets an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// One instance of every group.
    Emit,
    /// Every instance on every node.
    Broadcast,
    /// Every instance on this node.
    BroadcastLocal,
}

/// An event on its way.
type Sending = BoxFuture<'static, Result<(), MoleculerError>>;

/// Sends an event as a child of the running call.
pub(super) async fn send(
    state: &mut State,
    scope: Scope,
    event: &str,
    data: PayloadResult,
    options: Option<&str>,
) -> Result<(), Failure> {
    let sent = match prepare(state, scope, event, data, options) {
        Ok(Some(sending)) => beside(sending).await,
        // A node that has stopped sends nothing; nobody could hear it either.
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    sent.map_err(|error| failure_from(&error))
}

/// Checks an event and makes it a future; `None` when the broker is gone.
fn prepare(
    state: &State,
    scope: Scope,
    event: &str,
    data: PayloadResult,
    options: Option<&str>,
) -> Result<Option<Sending>, MoleculerError> {
    let running = state.running().map_err(|error| MoleculerError::internal(error.to_string()))?;
    state.environment.permit(Permission::Emit, event)?;
    let mut options = options::emit_options(options, state.environment.limits.meta)?;
    options.parent = Some(running.ctx.clone());
    let data = payload_from_guest("data of the event", data, running.limits.payload)?;
    let Some(caller) = state.environment.caller() else { return Ok(None) };
    Ok(Some(match scope {
        Scope::Emit => caller.emit(event, data, options),
        Scope::Broadcast => caller.broadcast(event, data, options),
        Scope::BroadcastLocal => caller.broadcast_local(event, data, options),
    }))
}
