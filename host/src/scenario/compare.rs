//! What differs between two values, place by place, so that a person sees the one thing that is wrong.

use serde::Serialize;
use serde_json::Value;

/// Something that is not as expected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Where, such as `result.items[2].name`; empty when it concerns no value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// What should be there; `None` when nothing should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What is there; `None` when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<Value>,
    /// A sentence that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Difference {
    /// A sentence only.
    pub(super) fn said(message: String) -> Self {
        Self { message: Some(message), ..Self::default() }
    }
}

/// How much of a value is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// All of it.
    Equals,
    /// Of objects, at any depth, some keys.
    Contains,
}

/// Adds what differs.
pub(super) fn compare(
    expected: &Value,
    got: &Value,
    at: &str,
    manner: Manner,
    found: &mut Vec<Difference>,
) {
    let difference = |at: String, expected: Option<&Value>, got: Option<&Value>| Difference {
        at,
        expected: expected.cloned(),
        got: got.cloned(),
        message: None,
    };
    match (expected, got) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (key, wanted) in wanted {
                let at = format!("{at}.{key}");
                match there.get(key) {
                    Some(there) => compare(wanted, there, &at, manner, found),
                    None => found.push(difference(at, Some(wanted), None)),
                }
            }
            if manner == Manner::Equals {
                let more = there.iter().filter(|(key, _)| !wanted.contains_key(*key));
                found.extend(
                    more.map(|(key, value)| difference(format!("{at}.{key}"), None, Some(value))),
                );
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            for index in 0..wanted.len().max(there.len()) {
                let at = format!("{at}[{index}]");
                match (wanted.get(index), there.get(index)) {
                    (Some(wanted), Some(there)) => compare(wanted, there, &at, manner, found),
                    (wanted, there) => found.push(difference(at, wanted, there)),
                }
            }
        }
        _ if same(expected, got) => {}
        _ => found.push(difference(at.to_owned(), Some(expected), Some(got))),
    }
}

/// Compares what happened, in its order. Of each, the keys that are expected are looked at; their values must
/// be the same.
pub(super) fn compare_list(
    expected: &[Value],
    got: &[Value],
    at: &str,
    found: &mut Vec<Difference>,
) {
    for index in 0..expected.len().max(got.len()) {
        let at = format!("{at}[{index}]");
        match (expected.get(index), got.get(index)) {
            (Some(Value::Object(wanted)), Some(there)) => {
                for (key, wanted) in wanted {
                    let there = there.get(key).unwrap_or(&Value::Null);
                    compare(wanted, there, &format!("{at}.{key}"), Manner::Equals, found);
                }
            }
            (wanted, there) => found.push(Difference {
                at,
                expected: wanted.cloned(),
                got: there.cloned(),
                message: None,
            }),
        }
    }
}

/// True when `got` has at least what is in `expected`.
pub(super) fn contains(expected: &Value, got: &Value) -> bool {
    let mut found = Vec::new();
    compare(expected, got, "", Manner::Contains, &mut found);
    found.is_empty()
}

/// Numbers are the same when JavaScript says so: 1 is 1.0.
fn same(expected: &Value, got: &Value) -> bool {
    expected == got || matches!((expected.as_f64(), got.as_f64()), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(expected: Value, got: Value, manner: Manner, places: &[&str]) {
        let mut found = Vec::new();
        compare(&expected, &got, "result", manner, &mut found);
        let at: Vec<_> = found.iter().map(|difference| difference.at.as_str()).collect();
        assert_eq!(at, places, "{expected} and {got}");
    }

    #[test]
    fn the_places_that_differ_are_named() {
        let equals = Manner::Equals;
        check(json!("a"), json!("b"), equals, &["result"]);
        check(json!(1), json!(1.0), equals, &[]);
        check(json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), equals, &["result.a.b"]);
        check(json!({"a": 1}), json!({"b": 1}), equals, &["result.a", "result.b"]);
        check(json!([1, 2]), json!([1, 3, 4]), equals, &["result[1]", "result[2]"]);
        check(json!({"a": null}), json!({}), equals, &["result.a"]);
    }

    #[test]
    fn what_contains_more_is_well_when_keys_are_asked_for() {
        let contains = Manner::Contains;
        check(json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "d": 3}), contains, &[]);
        check(json!({"a": {"b": 1}}), json!({"a": {"c": 2}}), contains, &["result.a.b"]);
        check(json!([{"a": 1}]), json!([{"a": 1, "b": 2}]), contains, &[]);
        check(json!([]), json!([1]), contains, &["result[0]"]);
    }

    #[test]
    fn lists_of_what_happened_are_compared_by_their_given_keys() {
        let got = [json!({"event": "a", "data": 1, "kind": "emit"})];
        let check = |expected: &[Value], places: &[&str]| {
            let mut found = Vec::new();
            compare_list(expected, &got, "events", &mut found);
            let at: Vec<_> = found.iter().map(|difference| difference.at.as_str()).collect();
            assert_eq!(at, places);
        };
        check(&[json!({"event": "a"})], &[]);
        check(&[json!({"event": "a", "data": 2})], &["events[0].data"]);
        check(&[], &["events[0]"]);
        check(&[json!({"event": "a"}), json!({"event": "b"})], &["events[1]"]);
    }
}
