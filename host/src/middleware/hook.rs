//! What hooks wrap besides handlers: the functions of the broker, and the way of packets and bytes.
//!
//! Each is a function behind an `Arc`. A middleware returns the function that it was given, or one of its
//! own that calls it; the broker compares the two, so that a hook nobody uses is not there at all.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::context::{CallItem, CallOptions, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::service::LocalService;
use crate::transporter;

/// `broker.call`: action, params, options. Guests' calls come through here as well.
pub type Call =
    Arc<dyn Fn(Arc<str>, Payload, CallOptions) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// What several calls at once end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The first error ends all of them.
    FirstError,
    /// Every outcome is given.
    All,
}

/// `broker.mcall`. With [`Settle::FirstError`] the outcomes of a success are all `Ok`.
pub type Mcall = Arc<
    dyn Fn(Vec<CallItem>, Settle) -> BoxFuture<'static, Result<Vec<Outcome>, MoleculerError>>
        + Send
        + Sync,
>;

/// `broker.emit`, `broadcast` and `broadcastLocal`: event, data, options.
pub type Emit = Arc<
    dyn Fn(Arc<str>, Payload, EmitOptions) -> BoxFuture<'static, Result<(), MoleculerError>>
        + Send
        + Sync,
>;

/// Brings a service into this node: from its schema to its registration.
pub type CreateService =
    Arc<dyn Fn(LocalService) -> BoxFuture<'static, Result<(), MoleculerError>> + Send + Sync>;

/// Makes a started service known.
pub type RegisterService = Arc<dyn Fn(LocalService) + Send + Sync>;

/// Takes the service with this full name away. False when there is none.
pub type DestroyService = Arc<dyn Fn(Arc<str>) -> BoxFuture<'static, bool> + Send + Sync>;

/// Sends bytes to a topic.
pub type SendBytes = Arc<
    dyn Fn(Arc<str>, Bytes) -> BoxFuture<'static, Result<(), transporter::Error>> + Send + Sync,
>;

/// Takes bytes that came in under a topic. Called in the read loop: it must not wait.
pub type ReceiveBytes = Arc<dyn Fn(&str, Bytes) + Send + Sync>;

/// One step in the life of a broker or service.
pub type Step<'a> = BoxFuture<'a, Result<(), MoleculerError>>;

/// A step with nothing to do.
#[must_use]
pub fn nothing<'a>() -> Step<'a> {
    Box::pin(std::future::ready(Ok(())))
}

/// What middlewares made of a function; `None` when all of them left it alone.
pub fn wrapped<F: ?Sized>(function: Arc<F>, wrap: impl FnOnce(Arc<F>) -> Arc<F>) -> Option<Arc<F>> {
    let outer = wrap(Arc::clone(&function));
    (!Arc::ptr_eq(&outer, &function)).then_some(outer)
}
