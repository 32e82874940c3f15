//! The smallest useful service: two actions, one with params.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Greeter;

#[derive(Deserialize)]
struct Welcome {
    name: String,
}

#[derive(Deserialize)]
struct Hello {
    name: Option<String>,
}

#[service(name = "greeter")]
impl Greeter {
    /// Greets anybody, or whoever is named.
    #[action(params = { name: { type: "string", optional: true } })]
    fn hello(&self, params: Hello) -> String {
        match params.name {
            Some(name) => format!("Hello {name}!"),
            None => "Hello!".to_string(),
        }
    }

    /// Needs a name; without one the caller gets a `ValidationError`.
    #[action(params = { name: "string" }, rest = "GET /welcome")]
    fn welcome(&self, params: Welcome) -> String {
        format!("Welcome, {}!", params.name)
    }
}
