//! The chain around every action and event: middlewares wrap a handler, once, when it is registered.
//!
//! Order is Moleculer's, innermost first (moleculer: src/service-broker.js registerMiddlewares): action
//! hooks, validator, bulkhead, cacher, **context tracker**, circuit breaker, **timeout**, retry, fallback,
//! error handler, tracing, metrics. Those in bold wrap here. Retry and fallback choose an endpoint anew or
//! answer without one, so the broker applies them around the chain. A middleware that has nothing to do for
//! an action returns the handler itself, so that it costs nothing.

use std::sync::Arc;

use crate::handler::{EventHandler, Handler};
use crate::registry::Endpoint;
use crate::schema::{ActionSchema, EventSchema};

pub mod circuit_breaker;
pub mod context_tracker;
pub mod fallback;
pub mod retry;
pub mod timeout;

pub use circuit_breaker::CircuitBreaker;
pub use context_tracker::ContextTracker;
pub use timeout::Timeout;

/// Something that wraps handlers.
pub trait Middleware: Send + Sync {
    /// Wraps an action of this node.
    fn local_action(&self, next: Handler, _action: &ActionSchema) -> Handler {
        next
    }

    /// Wraps the calls of an action of another node. Runs when the endpoint is first called; the wrapped
    /// handler is dropped when the endpoint goes. What the callee declares is in its definition: it comes
    /// from another node, so whatever is wrong in it is ignored.
    fn remote_action(&self, next: Handler, _endpoint: &Arc<Endpoint>) -> Handler {
        next
    }

    /// Wraps an event handler of this node.
    fn local_event(&self, next: EventHandler, _event: &EventSchema) -> EventHandler {
        next
    }
}

/// The middlewares of a broker, innermost first.
#[derive(Clone)]
pub struct Chain(Arc<[Arc<dyn Middleware>]>);

impl Chain {
    /// A chain of these, innermost first.
    #[must_use]
    pub fn new(middlewares: Vec<Arc<dyn Middleware>>) -> Self {
        Self(middlewares.into())
    }

    /// Wraps the handler of an action of this node.
    #[must_use]
    pub fn local_action(&self, handler: Handler, action: &ActionSchema) -> Handler {
        self.0.iter().fold(handler, |next, middleware| middleware.local_action(next, action))
    }

    /// Wraps the sending of requests to an action of another node.
    #[must_use]
    pub fn remote_action(&self, handler: Handler, endpoint: &Arc<Endpoint>) -> Handler {
        self.0.iter().fold(handler, |next, middleware| middleware.remote_action(next, endpoint))
    }

    /// Wraps an event handler of this node.
    #[must_use]
    pub fn local_event(&self, handler: EventHandler, event: &EventSchema) -> EventHandler {
        self.0.iter().fold(handler, |next, middleware| middleware.local_event(next, event))
    }
}
