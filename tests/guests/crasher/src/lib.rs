//! A service that traps as a test asks, built with debug information: the stack tells the lines of this file.

use serde_json::{Value, json};

use crate::exports::isomer::service::handler::{Context, Failure, Guest, Payload};

/// The generated side of the contract.
#[expect(unsafe_code, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service" });
    export!(Crasher);
    use crate::Crasher;
}
use bindings::exports;

struct Crasher;

impl Guest for Crasher {
    fn describe() -> String {
        json!({ "name": "crasher", "actions": { "ok": {}, "panic": {}, "spin": {}, "grow": {} } })
            .to_string()
    }

    fn started(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn stopped(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn call_action(_: &Context, action: String, params: Payload) -> Result<Payload, Failure> {
        let params: Value = match params {
            Payload::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
            _ => Value::Null,
        };
        let n = params.get("n").and_then(Value::as_u64).unwrap_or(0);
        Ok(Payload::Json(match action.as_str() {
            "panic" => outer(n).to_string(),
            "spin" => spin(n).to_string(),
            "grow" => {
                let bytes = vec![1_u8; usize::try_from(n).unwrap_or(0)];
                (outer(0) + std::hint::black_box(bytes).len() as u64).to_string()
            }
            _ => "null".into(),
        }))
    }

    fn handle_event(_: &Context, _: String, _: Payload) -> Result<(), Failure> {
        Ok(())
    }
}

#[inline(never)]
fn outer(n: u64) -> u64 {
    std::hint::black_box(inner(std::hint::black_box(n))) + 1
}

/// Panics, in a line that a test looks for by its text.
#[inline(never)]
#[expect(clippy::panic, reason = "the purpose of this function")]
fn inner(n: u64) -> u64 {
    if n == 0 {
        panic!("this line is told");
    }
    n
}

#[inline(never)]
fn spin(n: u64) -> u64 {
    let mut n = n;
    while std::hint::black_box(n) < u64::MAX {
        n = n.wrapping_mul(3) & 0xFFFF;
    }
    n
}
