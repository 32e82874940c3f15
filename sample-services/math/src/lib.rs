//! Numbers in, numbers out, and an error that the caller can act on.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Math;

#[derive(Deserialize)]
struct Operands {
    a: f64,
    b: f64,
}

#[service(name = "math")]
impl Math {
    #[action(params = { a: "number", b: "number" })]
    fn add(&self, params: Operands) -> f64 {
        params.a + params.b
    }

    #[action(params = { a: "number", b: "number" })]
    fn sub(&self, params: Operands) -> f64 {
        params.a - params.b
    }

    #[action(params = { a: "number", b: "number" }, cache = true)]
    fn mult(&self, params: Operands) -> f64 {
        params.a * params.b
    }

    /// A result that is no number would arrive as `null`, so the caller is told instead.
    #[action(params = { a: "number", b: "number" })]
    fn div(&self, Operands { a, b }: Operands) -> Result<f64> {
        if b == 0.0 {
            return Err(Error::client(422, "DIVISION_BY_ZERO", "nothing can be divided by zero")
                .data(json!({ "a": a, "b": b })));
        }
        Ok(a / b)
    }
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn numbers_are_computed() {
        let check = |action: &str, expected: f64| {
            let result = MockBroker::new().call(&mut Math, action, json!({ "a": 6, "b": 3 }));
            assert_eq!(result.unwrap(), json!(expected), "{action}");
        };
        check("math.add", 9.0);
        check("math.sub", 3.0);
        check("math.mult", 18.0);
        check("math.div", 2.0);
    }

    #[test]
    fn dividing_by_zero_is_the_callers_mistake() {
        let error = MockBroker::new().call(&mut Math, "math.div", json!({ "a": 1, "b": 0 }));
        let error = error.unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(422), "DIVISION_BY_ZERO"));
        assert_eq!(error.data_as::<Value>(), Some(json!({ "a": 1.0, "b": 0.0 })));
    }
}
