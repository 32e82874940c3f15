//! A service from nothing but the WIT package: the example of `docs/wit.md`.

use exports::isomer::service::handler::{Context, Failure, Guest, Payload};

/// What is generated from the package.
#[expect(unsafe_code, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service" });
    export!(Bare);
    use crate::Bare;
}
use bindings::exports;

struct Bare;

impl Guest for Bare {
    fn describe() -> String {
        r#"{"name": "bare", "actions": {"hello": {}}, "events": {"user.*": {}}}"#.into()
    }

    fn started(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn stopped(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn call_action(ctx: &Context, action: String, params: Payload) -> Result<Payload, Failure> {
        match action.as_str() {
            "hello" => ctx.call("rs.echo", &params, None),
            _ => Err(Failure {
                name: "MoleculerClientError".into(),
                message: format!("no action is called {action}"),
                code: Some(404),
                type_: Some("NOT_FOUND".into()),
                retryable: false,
                data: None,
                stack: None,
                extra: None,
            }),
        }
    }

    fn handle_event(ctx: &Context, _pattern: String, data: Payload) -> Result<(), Failure> {
        ctx.emit("bare.seen", &data, None)
    }
}
