//! A service on the bare bindings: what a guest may send that no SDK would.
//!
//! Each action is one kind of nonsense in an error or in the arguments of an import.
#![cfg(target_family = "wasm")]

use isomer_sdk::__private::bindings::exports::isomer::service::handler::Guest;
use isomer_sdk::__private::bindings::isomer::service::broker::{Context, wait_any};
use isomer_sdk::__private::bindings::isomer::service::types::{Failure, Payload};
use isomer_sdk::__private::export_component;

struct Raw;

const SCHEMA: &str = r#"{"name": "raw", "actions": {
    "error-data": {}, "error-extra": {}, "error-code": {}, "error-empty": {},
    "options-text": {}, "options-unknown": {}, "params-text": {}, "meta-array": {},
    "mcall-text": {}, "event-text": {}, "wait-nothing": {}, "take-twice": {}
}, "isomer": {"sdk": "raw"}}"#;

fn failure(message: &str) -> Failure {
    Failure {
        name: "RawError".into(),
        message: message.into(),
        code: Some(500),
        type_: Some("RAW".into()),
        retryable: false,
        data: None,
        stack: None,
        extra: None,
    }
}

impl Guest for Raw {
    fn describe() -> String {
        SCHEMA.into()
    }

    fn started(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn stopped(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn call_action(ctx: &Context, action: String, _: Payload) -> Result<Payload, Failure> {
        let json = |text: &str| Payload::Json(text.into());
        match action.as_str() {
            "error-data" => Err(Failure { data: Some("{".into()), ..failure("data is no JSON") }),
            "error-extra" => {
                Err(Failure { extra: Some("[1]".into()), ..failure("extra is an array") })
            }
            "error-code" => Err(Failure { code: Some(u32::MAX), ..failure("the code is huge") }),
            "error-empty" => {
                Err(Failure { name: String::new(), code: None, type_: None, ..failure("") })
            }
            "options-text" => ctx.call("$node.list", &Payload::Absent, Some("no JSON")),
            "options-unknown" => ctx.call("$node.list", &Payload::Absent, Some("{\"timeOut\":5}")),
            "params-text" => ctx.call("$node.list", &json("{\"a\":"), None),
            "meta-array" => ctx.set_meta("[1]").map(|()| Payload::Absent),
            "mcall-text" => ctx.mcall("5", None),
            "event-text" => ctx.emit("raw.event", &json("}"), None).map(|()| Payload::Absent),
            "wait-nothing" => Ok(json(if wait_any(&[]).is_none() { "true" } else { "false" })),
            "take-twice" => {
                let call = ctx.start_call("$node.list", &Payload::Absent, None);
                wait_any(&[&call]);
                let (first, second) = (call.take().is_some(), call.take().is_some());
                Ok(Payload::Json(format!("[{first},{second}]")))
            }
            _ => Err(failure("no such action")),
        }
    }

    fn handle_event(_: &Context, _: String, _: Payload) -> Result<(), Failure> {
        Ok(())
    }
}

export_component!(Raw);
