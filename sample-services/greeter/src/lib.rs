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

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn it_greets() {
        let check = |action: &str, params: Value, expected: &str| {
            assert_eq!(MockBroker::new().call(&mut Greeter, action, params).unwrap(), expected);
        };
        check("greeter.hello", json!({}), "Hello!");
        check("greeter.hello", json!({ "name": "Ada" }), "Hello Ada!");
        check("greeter.welcome", json!({ "name": "Ada" }), "Welcome, Ada!");
    }

    #[test]
    fn a_welcome_needs_a_name() {
        let error = MockBroker::new().call(&mut Greeter, "greeter.welcome", json!({}));
        assert_eq!(error.unwrap_err().name(), "ValidationError");
    }
}
