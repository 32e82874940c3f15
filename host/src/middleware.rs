//! The chain around every action and event: middlewares wrap a handler, once, when it is registered.
//!
//! Order is Moleculer's, innermost first (moleculer: src/service-broker.js registerMiddlewares): those of
//! the embedding program, action hooks, validator, bulkhead, cacher, components, context tracker, circuit
//! breaker, timeout, retry, fallback, error handler, tracing, metrics, debounce, throttle. Retry and fallback
//! choose an endpoint anew or answer without one, so the broker applies them around the chain. A middleware
//! that has nothing to do for an action returns the handler itself, so that it costs nothing.
//!
//! The other hooks of Moleculer's middlewares are here as well: functions of the broker, the lives of
//! services and broker, packets and bytes. They are wrapped once too, and left out where nobody wraps.

use std::sync::{Arc, Weak};

use crate::context::Caller;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::registry::Endpoint;
use crate::schema::{ActionSchema, EventSchema, ServiceSchema};
use crate::transit::{HandleMessage, Publish};

pub mod bulkhead;
pub mod cacher;
pub mod circuit_breaker;
pub mod component;
pub mod compression;
pub mod context_tracker;
pub mod debounce;
pub mod debugging;
mod delivery;
pub mod encryption;
pub mod fallback;
pub mod hook;
pub mod metrics;
pub mod refused;
pub mod retry;
pub mod spans;
pub mod stats;
pub mod throttle;
pub mod timeout;
pub mod validator;
pub mod wire;

pub use bulkhead::Bulkhead;
pub use cacher::Cacher;
pub use circuit_breaker::CircuitBreaker;
pub use component::ComponentMiddleware;
pub use compression::Compression;
pub use context_tracker::ContextTracker;
pub use debounce::Debounce;
pub use debugging::{ActionLogger, TransitLogger};
pub use encryption::Encryption;
pub use metrics::Metrics;
pub use spans::Tracing;
pub use throttle::Throttle;
pub use timeout::Timeout;
pub use validator::Validator;

use hook::{
    Call, CreateService, DestroyService, Emit, Mcall, ReceiveBytes, RegisterService, SendBytes,
    Step, nothing,
};

/// Something that stands between callers and handlers, or takes part in the life of a broker.
///
/// Every hook is optional. A hook that wraps gets the next function and returns it, or one that calls it.
/// Of several middlewares the later one wraps the earlier; hooks of stopping and of receiving run in
/// reverse (moleculer: src/middleware.js).
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

    /// Wraps `broker.call`: every call that is made on this node, whoever runs the action.
    fn call(&self, next: Call) -> Call {
        next
    }

    /// Wraps `broker.mcall`. A guest's `mcall` is seen as the calls that it consists of.
    fn mcall(&self, next: Mcall) -> Mcall {
        next
    }

    /// Wraps `broker.emit`.
    fn emit(&self, next: Emit) -> Emit {
        next
    }

    /// Wraps `broker.broadcast`.
    fn broadcast(&self, next: Emit) -> Emit {
        next
    }

    /// Wraps `broker.broadcastLocal`, which also sends the node's own events.
    fn broadcast_local(&self, next: Emit) -> Emit {
        next
    }

    /// Wraps bringing a service into this node.
    fn create_service(&self, next: CreateService) -> CreateService {
        next
    }

    /// Wraps making a started service known.
    fn register_local_service(&self, next: RegisterService) -> RegisterService {
        next
    }

    /// Wraps taking a service away.
    fn destroy_service(&self, next: DestroyService) -> DestroyService {
        next
    }

    /// A service is about to be created. An error refuses it; to change it, wrap
    /// [`Middleware::create_service`].
    ///
    /// # Errors
    /// Why this service must not be.
    fn service_creating(&self, _service: &ServiceSchema) -> Result<(), MoleculerError> {
        Ok(())
    }

    /// A service has been created and will be started.
    fn service_created(&self, _service: &ServiceSchema) {}

    /// A service is about to start. An error keeps it from starting.
    fn service_starting<'a>(&'a self, _service: &'a ServiceSchema) -> Step<'a> {
        nothing()
    }

    /// A service has started and is known. An error is logged: the service runs.
    fn service_started<'a>(&'a self, _service: &'a ServiceSchema) -> Step<'a> {
        nothing()
    }

    /// A service is about to stop; its calls have ended. An error is logged.
    fn service_stopping<'a>(&'a self, _service: &'a ServiceSchema) -> Step<'a> {
        nothing()
    }

    /// A service has stopped. An error is logged.
    fn service_stopped<'a>(&'a self, _service: &'a ServiceSchema) -> Step<'a> {
        nothing()
    }

    /// The broker has been made. What it gives here is how a middleware calls and sends events later.
    fn created(&self, _broker: &Weak<dyn Caller>) {}

    /// The broker is about to start. An error keeps it from starting.
    fn starting(&self) -> Step<'_> {
        nothing()
    }

    /// The broker has started. An error ends the start.
    fn started(&self) -> Step<'_> {
        nothing()
    }

    /// The broker is about to stop its services. An error is logged.
    fn stopping(&self) -> Step<'_> {
        nothing()
    }

    /// The broker has stopped. An error is logged.
    fn stopped(&self) -> Step<'_> {
        nothing()
    }

    /// Wraps the sending of packets.
    fn transit_publish(&self, next: Publish) -> Publish {
        next
    }

    /// Wraps the handling of packets that came in. It runs in the read loop: it must not wait.
    fn transit_message_handler(&self, next: HandleMessage) -> HandleMessage {
        next
    }

    /// Wraps the sending of bytes.
    fn transporter_send(&self, next: SendBytes) -> SendBytes {
        next
    }

    /// Wraps the taking of bytes that came in. It runs in the read loop: it must not wait.
    fn transporter_receive(&self, next: ReceiveBytes) -> ReceiveBytes {
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

    /// Puts one hook of every middleware around a function.
    pub fn wrap<T>(&self, inner: T, hook: impl Fn(&dyn Middleware, T) -> T) -> T {
        self.0.iter().fold(inner, |next, middleware| hook(&**middleware, next))
    }

    /// Runs one step of every middleware, one after the other.
    ///
    /// # Errors
    /// The first error; the others are not run.
    pub async fn steps<'a>(
        &'a self,
        step: impl Fn(&'a dyn Middleware) -> Step<'a> + Send,
    ) -> Result<(), MoleculerError> {
        for middleware in self.0.iter() {
            step(&**middleware).await?;
        }
        Ok(())
    }

    /// The same in reverse. All of them are run; errors are logged under `what`.
    pub async fn steps_back<'a>(
        &'a self,
        what: &str,
        step: impl Fn(&'a dyn Middleware) -> Step<'a> + Send,
    ) {
        for middleware in self.0.iter().rev() {
            if let Err(error) = step(&**middleware).await {
                tracing::error!(%error, "a middleware failed in its hook '{what}'");
            }
        }
    }

    /// Asks every middleware for its opinion.
    ///
    /// # Errors
    /// The first error.
    pub fn check(
        &self,
        hook: impl Fn(&dyn Middleware) -> Result<(), MoleculerError>,
    ) -> Result<(), MoleculerError> {
        self.0.iter().try_for_each(|middleware| hook(&**middleware))
    }

    /// Tells every middleware something.
    pub fn tell(&self, hook: impl Fn(&dyn Middleware)) {
        self.0.iter().for_each(|middleware| hook(&**middleware));
    }

    /// Wraps the handler of an action of this node.
    #[must_use]
    pub fn local_action(&self, handler: Handler, action: &ActionSchema) -> Handler {
        self.wrap(handler, |middleware, next| middleware.local_action(next, action))
    }

    /// Wraps the sending of requests to an action of another node.
    #[must_use]
    pub fn remote_action(&self, handler: Handler, endpoint: &Arc<Endpoint>) -> Handler {
        self.wrap(handler, |middleware, next| middleware.remote_action(next, endpoint))
    }

    /// Wraps an event handler of this node.
    #[must_use]
    pub fn local_event(&self, handler: EventHandler, event: &EventSchema) -> EventHandler {
        self.wrap(handler, |middleware, next| middleware.local_event(next, event))
    }

    /// Wraps the sending of bytes.
    #[must_use]
    pub fn transporter_send(&self, send: SendBytes) -> SendBytes {
        self.wrap(send, |middleware, next| middleware.transporter_send(next))
    }

    /// Wraps the taking of bytes, in reverse.
    #[must_use]
    pub fn transporter_receive(&self, receive: ReceiveBytes) -> ReceiveBytes {
        self.0.iter().rev().fold(receive, |next, middleware| middleware.transporter_receive(next))
    }
}
