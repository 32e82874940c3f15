//! What `#[service]` makes of a struct, and the few functions that its code calls.
//!
//! Everything here is public for generated code only and may change with any version.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, Error, Payload, Result};

/// A service: its schema, how an instance comes to be, and who handles what.
///
/// Implemented by [`macro@crate::service`] and not by hand.
pub trait Service: Sized + 'static {
    /// The schema as the text of one JSON object.
    #[doc(hidden)]
    const SCHEMA: &'static str;

    /// A new instance.
    #[doc(hidden)]
    fn create() -> Self;

    /// Runs the function marked `#[started]`, if there is one.
    #[doc(hidden)]
    fn started(&mut self, ctx: &Context) -> impl Future<Output = Result<()>>;

    /// Runs the function marked `#[stopped]`, if there is one.
    #[doc(hidden)]
    fn stopped(&mut self, ctx: &Context) -> impl Future<Output = Result<()>>;

    /// Runs the action of this name in the schema.
    #[doc(hidden)]
    fn call_action(
        &mut self,
        ctx: &Context,
        action: &str,
        params: Payload,
    ) -> impl Future<Output = Result<Payload>>;

    /// Runs the handlers of this pattern in the schema.
    #[doc(hidden)]
    fn handle_event(
        &mut self,
        ctx: &Context,
        event: &str,
        data: Payload,
    ) -> impl Future<Output = Result<()>>;
}

/// A service of the mode `shared`: many of its handlers run in one instance at once, so they share it.
///
/// Implemented by [`macro@crate::service`] and not by hand.
pub trait SharedService: Service {
    /// As [`Service::started`].
    #[doc(hidden)]
    fn started(&self, ctx: &Context) -> impl Future<Output = Result<()>>;

    /// As [`Service::stopped`].
    #[doc(hidden)]
    fn stopped(&self, ctx: &Context) -> impl Future<Output = Result<()>>;

    /// As [`Service::call_action`].
    #[doc(hidden)]
    fn call_action(
        &self,
        ctx: &Context,
        action: &str,
        params: Payload,
    ) -> impl Future<Output = Result<Payload>>;

    /// As [`Service::handle_event`].
    #[doc(hidden)]
    fn handle_event(
        &self,
        ctx: &Context,
        event: &str,
        data: Payload,
    ) -> impl Future<Output = Result<()>>;
}

/// What a handler can take; every owned type that serde can read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the params of an action or the data of an event",
    label = "serde cannot read this type",
    note = "add `#[derive(serde::Deserialize)]` to `{Self}`, whose fields own what they hold"
)]
pub trait Input: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Input for T {}

/// What an action can return; every type that serde can write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an action",
    label = "serde cannot write this type",
    note = "add `#[derive(serde::Serialize)]` to `{Self}`"
)]
pub trait Output: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Output for T {}

/// What the macro can make an instance of by itself.
#[diagnostic::on_unimplemented(
    message = "it is not said how an instance of `{Self}` is made",
    label = "this service has no `Default`",
    note = "add `#[derive(Default)]` to `{Self}`, or mark a function `fn new() -> Self` with `#[created]`"
)]
pub trait Create: Default {}

#[diagnostic::do_not_recommend]
impl<T: Default> Create for T {}

/// Makes an instance.
#[must_use]
pub fn create<T: Create>() -> T {
    T::default()
}

/// Reads the params of an action or the data of an event.
///
/// # Errors
/// A `ValidationError` (422) as Moleculer's validator makes it, with one item in `data`.
pub fn params<T: Input>(payload: Payload) -> Result<T> {
    payload.parse().map_err(|error| invalid(&error))
}

/// The `ValidationError` for a value that serde could not read. serde names a field in its message only,
/// always between the first pair of back quotes of these two sentences.
fn invalid(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    let field = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let kind = match message {
        _ if message.starts_with("missing field") => "required",
        _ if message.starts_with("unknown field") => "forbidden",
        _ => "type",
    };
    Error::validation("Parameters validation error!")
        .data(Value::Array(vec![Error::item(kind, message, field)]))
}

/// Reads the result of an action for an `#[after]` hook.
///
/// # Errors
/// When it has another form than `T`.
pub fn result<T: Input>(payload: Payload) -> Result<T> {
    payload.parse().map_err(|error| {
        let message = format!("a hook cannot read the result of the action: {error}");
        Error::new(500, "UNEXPECTED_FORM", message)
    })
}

/// The error for which a fallback runs.
#[must_use]
pub fn cause(ctx: &Context) -> Error {
    let unknown = || Error::new(500, "NO_CAUSE", "a fallback runs without an error to answer for");
    ctx.cause().unwrap_or_else(unknown)
}

/// Writes the result of an action.
///
/// # Errors
/// When it has no JSON form.
pub fn reply<T: Output>(result: &T) -> Result<Payload> {
    Payload::from_value(result)
}

/// The error for an action that the schema does not have.
#[must_use]
pub fn no_action(service: &str, action: &str) -> Error {
    Error::client(404, "NO_SUCH_ACTION", format!("service '{service}' has no action '{action}'"))
}

/// The error for a pattern that the schema does not have.
#[must_use]
pub fn no_event(service: &str, event: &str) -> Error {
    Error::client(404, "NO_SUCH_EVENT", format!("service '{service}' has no event '{event}'"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn params_that_do_not_fit_are_a_validation_error_with_items() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Params {
            #[expect(dead_code, reason = "only its type matters")]
            id: u32,
        }
        let check = |text: &str, item: Value| {
            let error = params::<Params>(Payload::Json(text.into())).unwrap_err();
            assert_eq!((error.name(), error.code()), ("ValidationError", Some(422)));
            assert_eq!(error.data_as::<Value>(), Some(json!([item])));
        };
        check("{}", json!({"type": "required", "message": "missing field `id`", "field": "id"}));
        check(
            r#"{"id":1,"x":2}"#,
            json!({"type": "forbidden", "message": "unknown field `x`, expected `id`", "field": "x"}),
        );
        check(
            r#"{"id":"a"}"#,
            json!({"type": "type", "message": "invalid type: string \"a\", expected u32"}),
        );
    }
}
