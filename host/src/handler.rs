//! The unit that the chain is made of: a function from a context to the outcome of a call.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;

/// Runs something that answers with a `T`: for what is the same around actions and events.
pub type HandlerOf<T> =
    Arc<dyn Fn(Context) -> BoxFuture<'static, Result<T, MoleculerError>> + Send + Sync>;

/// Runs an action, locally or on another node. Middlewares wrap one into another.
pub type Handler = HandlerOf<Payload>;

/// Answers in the place of an action that failed, from the context of the call and its error.
pub type FallbackHandler =
    Arc<dyn Fn(Context, MoleculerError) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Handles an event on this node.
pub type EventHandler = HandlerOf<()>;
