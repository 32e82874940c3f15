//! Runs the hooks of a middleware in a unit test.

use serde::Serialize;

use super::MockBroker;
use crate::host::EventType;
use crate::middleware::Described;
use crate::{Context, Decision, Delivery, Error, Payload, Result, Value};

/// Hooks of a middleware; its settings are those of the attribute unless the mock has others.
///
/// ```
/// use isomer_sdk::prelude::*;
/// use isomer_sdk::testing::MockBroker;
///
/// #[derive(Default)]
/// struct Auth;
///
/// #[middleware(name = "auth")]
/// impl Middleware for Auth {
///     async fn before_call(&mut self, ctx: &Context, _: &str, _: Payload) -> Result<Decision> {
///         match ctx.meta::<Value>()?["user"] {
///             Value::Null => Err(Error::new(401, "UNAUTHORIZED", "Who are you?")),
///             _ => Ok(Decision::Proceed),
///         }
///     }
/// }
///
/// let mock = MockBroker::new();
/// let refused = mock.before_call(&mut Auth, "posts.get", json!({})).unwrap_err();
/// assert_eq!(refused.code(), Some(401));
/// ```
impl MockBroker {
    /// Runs the hook before an action.
    ///
    /// # Errors
    /// The hook's.
    pub fn before_call<M: Described>(
        &self,
        middleware: &mut M,
        action: &str,
        params: impl Serialize,
    ) -> Result<Decision> {
        let params = Payload::from_value(&params)?;
        let ctx = self.context_of::<M>(action, None)?;
        ctx.run(middleware.before_call(&ctx, action, params))
    }

    /// Runs the hook after an action.
    ///
    /// # Errors
    /// The hook's.
    pub fn after_call<M: Described>(
        &self,
        middleware: &mut M,
        action: &str,
        returned: impl Serialize,
    ) -> Result<Option<Payload>> {
        let returned = Payload::from_value(&returned)?;
        let ctx = self.context_of::<M>(action, None)?;
        ctx.run(middleware.after_call(&ctx, action, returned))
    }

    /// Runs the hook for the error of an action.
    ///
    /// # Errors
    /// The hook's.
    pub fn on_error<M: Described>(
        &self,
        middleware: &mut M,
        action: &str,
        error: Error,
    ) -> Result<Payload> {
        let ctx = self.context_of::<M>(action, None)?;
        ctx.run(middleware.on_error(&ctx, action, error))
    }

    /// Runs the hook before an event is handled.
    ///
    /// # Errors
    /// The hook's.
    pub fn before_event<M: Described>(
        &self,
        middleware: &mut M,
        event: &str,
        data: impl Serialize,
    ) -> Result<Delivery> {
        let data = Payload::from_value(&data)?;
        let ctx = self.context_of::<M>(event, Some(EventType::Emit))?;
        ctx.run(middleware.before_event(&ctx, event, data))
    }

    fn context_of<M: Described>(&self, name: &str, event: Option<EventType>) -> Result<Context> {
        let schema: Value = serde_json::from_str(M::SCHEMA)?;
        Ok(Context::new(self.host_of(name, event, &schema)))
    }
}
