//! Middlewares: what stands around the actions and events of a node's services.
//!
//! A middleware implements some functions of [`Middleware`] under [`macro@crate::middleware`]; only those
//! are ever called.

use serde::Serialize;

use crate::{Context, Error, Payload, Result};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It goes on as it is.
    Proceed,
    /// It goes on with these params.
    ProceedWith(Payload),
    /// The caller gets this result; the service is not asked.
    Answer(Payload),
}

impl Decision {
    /// Goes on with other params.
    ///
    /// # Errors
    /// A `MoleculerError` when they have no JSON form.
    pub fn with<T: Serialize + ?Sized>(params: &T) -> Result<Self> {
        Payload::from_value(params).map(Self::ProceedWith)
    }

    /// Answers in the place of the service.
    ///
    /// # Errors
    /// A `MoleculerError` when the result has no JSON form.
    pub fn answer<T: Serialize + ?Sized>(result: &T) -> Result<Self> {
        Payload::from_value(result).map(Self::Answer)
    }
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// The service gets it as it is.
    Deliver,
    /// The service gets it with this data.
    DeliverWith(Payload),
    /// The service does not get it.
    Skip,
}

/// The hooks of a middleware. Write those that you need; an error of a hook is what the caller gets.
///
/// The context is that of the action or event: its name, caller, meta and headers. Meta that is set in it
/// is seen by the service. Calls and events made through it do not come through this middleware again.
///
/// Two hooks of one call may run in different instances, so what one leaves for the other goes into the
/// meta and not into `self`.
pub trait Middleware: Sized + 'static {
    /// Runs once in every new instance before its first hook; settings are there already.
    fn started(&mut self, _ctx: &Context) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// Runs in an instance that is retired.
    fn stopped(&mut self, _ctx: &Context) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// Runs before an action, before its params are validated and a cached result is looked for.
    fn before_call(
        &mut self,
        _ctx: &Context,
        _action: &str,
        _params: Payload,
    ) -> impl Future<Output = Result<Decision>> {
        async { Ok(Decision::Proceed) }
    }

    /// Runs when the action has ended well. `None` leaves the result as it is.
    fn after_call(
        &mut self,
        _ctx: &Context,
        _action: &str,
        _returned: Payload,
    ) -> impl Future<Output = Result<Option<Payload>>> {
        async { Ok(None) }
    }

    /// Runs when the action has failed: gives another result, or the error that the caller gets.
    fn on_error(
        &mut self,
        _ctx: &Context,
        _action: &str,
        error: Error,
    ) -> impl Future<Output = Result<Payload>> {
        async { Err(error) }
    }

    /// Runs before a service handles an event.
    fn before_event(
        &mut self,
        _ctx: &Context,
        _event: &str,
        _data: Payload,
    ) -> impl Future<Output = Result<Delivery>> {
        async { Ok(Delivery::Deliver) }
    }
}

/// What [`macro@crate::middleware`] adds.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no middleware",
    note = "write `#[middleware(name = \"…\")] impl Middleware for {Self} {{ … }}`"
)]
pub trait Described: Middleware {
    /// What the middleware wants to see, as the text of one JSON object.
    const SCHEMA: &'static str;

    /// A new instance.
    fn create() -> Self;
}
