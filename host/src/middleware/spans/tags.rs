//! What exporters have in common: tags on one level, IDs as hexadecimal digits, times as whole numbers
//! (moleculer: src/tracing/exporters/base.js).
//!
//! Unlike there, the number of tags and the length of their texts are bounded, since servers refuse what is
//! larger, and an ID that is not hexadecimal (a request ID of the caller's own) becomes one that is, the same on
//! all nodes.

use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

/// Most tags of a span; further ones are left out.
pub(super) const TAGS_MAX: usize = 500;

/// Longest text of a tag, in bytes; longer ones are cut.
pub(super) const TEXT_MAX: usize = 16 << 10;

/// Deepest level of a tag that is looked into.
const DEPTH_MAX: usize = 100;

/// Adds what is in a value under dotted names. Lists count as objects whose keys are their places.
pub(super) fn flatten(into: &mut Map<String, Value>, path: &str, value: &Value) {
    flatten_to(into, path, value, 0);
}

fn flatten_to(into: &mut Map<String, Value>, path: &str, value: &Value, depth: usize) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if into.len() >= TAGS_MAX || depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().take(TAGS_MAX) {
                flatten_to(into, &below(key), value, depth + 1);
            }
        }
        Value::Array(items) => {
            for (place, value) in items.iter().take(TAGS_MAX).enumerate() {
                flatten_to(into, &below(&place.to_string()), value, depth + 1);
            }
        }
        Value::String(text) => {
            into.insert(path.to_owned(), cut(text).into());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            into.insert(path.to_owned(), value.clone());
        }
    }
}

/// The same with every value as text.
pub(super) fn flatten_text(into: &mut Map<String, Value>, path: &str, value: &Value) {
    let mut flat = Map::new();
    flatten(&mut flat, path, value);
    into.extend(flat.into_iter().map(|(key, value)| (key, Value::String(text(&value)))));
}

/// A value as JavaScript's `String` gives it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // 1.0 is 1 in JavaScript.
        Value::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() => double.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// A field of a span that is text.
pub(super) fn field<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    span.get(key).and_then(Value::as_str)
}

/// The full name of its service.
pub(super) fn service(span: &Value) -> Option<&str> {
    span.get("service").and_then(|service| field(service, "fullName"))
}

/// What failed, where it did.
pub(super) fn error(span: &Value) -> Option<&Value> {
    span.get("error").filter(|error| !error.is_null())
}

/// Exactly so many lower-case hexadecimal digits for an ID, 32 at most: its own first ones, where it is
/// hexadecimal and not nothing but zeros.
pub(super) fn hex(id: &str, digits: usize) -> String {
    let own: String = id.chars().filter(|c| *c != '-').take(digits).collect();
    let fits = own.chars().all(|c| c.is_ascii_hexdigit()) && own.chars().any(|c| c != '0');
    if fits {
        return format!("{:0>digits$}", own.to_ascii_lowercase());
    }
    let made: String = Md5::digest(id).iter().map(|byte| format!("{byte:02x}")).collect();
    made.chars().take(digits).collect()
}

/// The first 64 bits of an ID.
pub(super) fn id64(id: &str) -> u64 {
    u64::from_str_radix(&hex(id, 16), 16).unwrap_or(0)
}

/// A field that is a time in milliseconds, in a unit of which `scale` are one.
pub(super) fn time(span: &Value, key: &str, scale: f64) -> Option<u64> {
    let time = (span.get(key).and_then(Value::as_f64)? * scale).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion stays in its range"
    )]
    let whole = time as u64;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_flattened_as_in_moleculer_and_bounded() {
        let mut flat = Map::new();
        let tags = json!({"a": {"b": 1.0, "c": [true, {"d": null}]}, "e": {}, "f": "x", "g": 2.5});
        flatten_text(&mut flat, "", &tags);
        let expected =
            json!({"a.b": "1", "a.c.0": "true", "a.c.1.d": "null", "f": "x", "g": "2.5"});
        assert_eq!(Value::from(flat), expected);
        let mut flat = Map::new();
        flatten(&mut flat, "error", &json!({"code": 5, "data": {"x": false}}));
        assert_eq!(Value::from(flat), json!({"error.code": 5, "error.data.x": false}));

        let mut flat = Map::new();
        flatten(&mut flat, "", &json!({"list": vec![0; 10_000], "text": "x"}));
        assert_eq!(flat.len(), TAGS_MAX);
        let mut flat = Map::new();
        flatten(&mut flat, "", &json!({"text": "ü".repeat(TEXT_MAX)}));
        assert_eq!(flat["text"].as_str().unwrap().len(), TEXT_MAX);
    }

    #[test]
    fn ids_are_hexadecimal_whatever_they_were() {
        let uuid = "0123ABCD-4567-89ab-cdef-0123456789ab";
        assert_eq!(hex(uuid, 16), "0123abcd456789ab");
        assert_eq!(hex(uuid, 32), "0123abcd456789abcdef0123456789ab");
        assert_eq!((hex("12", 16).as_str(), id64("12")), ("0000000000000012", 0x12));
        for odd in ["", "order-17", "ffffäffff", "0000-0000"] {
            let made = hex(odd, 32);
            assert_eq!((made.len(), hex(odd, 16).as_str()), (32, &made[..16]));
            assert!(made.bytes().all(|c| c.is_ascii_hexdigit()) && id64(odd) != 0, "{made}");
        }
    }
}
