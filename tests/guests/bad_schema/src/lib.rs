//! A component of the right world whose `describe` returns something that is no schema.
#![cfg(target_family = "wasm")]

use isomer_sdk::__private::bindings::exports::isomer::service::handler::Guest;
use isomer_sdk::__private::bindings::isomer::service::broker::Context;
use isomer_sdk::__private::bindings::isomer::service::types::{Failure, Payload};
use isomer_sdk::__private::export_component;

struct BadSchema;

impl Guest for BadSchema {
    fn describe() -> String {
        "{\"name\": 5".into()
    }

    fn started(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn stopped(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn call_action(_: &Context, _: String, _: Payload) -> Result<Payload, Failure> {
        Ok(Payload::Absent)
    }

    fn handle_event(_: &Context, _: String, _: Payload) -> Result<(), Failure> {
        Ok(())
    }
}

export_component!(BadSchema);
