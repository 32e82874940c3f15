//! What JavaScript does with values, where the rules of fastest-validator lean on it: conversion to text and
//! number, the two equalities, blanks, lengths in UTF-16 units and the order of keys.
//!
//! Values are those of JSON. Not here: `Date`, `undefined`, and objects with methods of their own.

use serde_json::{Map, Number, Value};

/// Whether `\s` matches and `trim` removes it.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}'
        | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}

/// The characters of [`is_space`] as the inside of a class of a regular expression.
pub(super) const SPACES: &str = r"\x{9}-\x{D}\x{20}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// `text.length`.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// A length as the number that it is compared as.
#[expect(clippy::cast_precision_loss, reason = "no length comes near 2^53")]
pub(super) fn as_number(length: usize) -> f64 {
    length as f64
}

/// A number of JSON as the double that JavaScript has read.
pub(super) fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// A double as a value: whole numbers without a point, and no negative zero, as `JSON.stringify` writes them.
pub(super) fn number_value(number: f64) -> Value {
    /// From here on, doubles are not exact.
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < SAFE {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// `String(value)`.
pub(super) fn string(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(double(number)),
        Value::String(text) => text.clone(),
        Value::Array(items) => join(items, ","),
        Value::Object(_) => "[object Object]".into(),
    }
}

/// `items.join(separator)`.
pub(super) fn join(items: &[Value], separator: &str) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        match item {
            Value::Null => {}
            Value::String(item) => text.push_str(item),
            item => text.push_str(&string(item)),
        }
    }
    text
}

/// `String(number)`: the shortest digits that read back as the same number, which Rust finds as well, in
/// JavaScript's notation.
pub(super) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if number == 0.0 {
        return "0".into();
    }
    let sign = if number < 0.0 { "-" } else { "" };
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    // Place of the point, counted from before the first digit.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    format!("{sign}{}", with_point(&digits, point))
}

fn with_point(digits: &str, point: i32) -> String {
    let place = usize::try_from(point).unwrap_or(0);
    match point {
        1..=21 if place >= digits.len() => format!("{digits}{}", "0".repeat(place - digits.len())),
        1..=21 => {
            let (whole, fraction) = digits.split_at(place);
            format!("{whole}.{fraction}")
        }
        -5..=0 => format!("0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
        _ => {
            let exponent = point - 1;
            let sign = if exponent < 0 { "" } else { "+" };
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{sign}{exponent}")
        }
    }
}

/// `Number(value)`.
pub(super) fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::Number(number) => double(number),
        Value::String(text) => text_number(text),
        Value::Array(_) | Value::Object(_) => text_number(&string(value)),
    }
}

/// `Number(text)`.
pub(super) fn text_number(text: &str) -> f64 {
    let text = text.trim_matches(is_space);
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(['0'])?.strip_prefix(|c: char| prefix.contains(c))?;
        Some(radix_number(digits, radix))
    };
    if text.is_empty() {
        return 0.0;
    }
    if let Some(number) = radix("xX", 16).or_else(|| radix("oO", 8)).or_else(|| radix("bB", 2)) {
        return number;
    }
    match text {
        "Infinity" | "+Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        // Rust reads decimals as JavaScript does, but also words such as `inf`.
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

fn radix_number(digits: &str, radix: u32) -> f64 {
    if digits.is_empty() {
        return f64::NAN;
    }
    let add = |sum: f64, c: char| c.to_digit(radix).map(|d| sum * f64::from(radix) + f64::from(d));
    digits.chars().try_fold(0.0, add).unwrap_or(f64::NAN)
}

/// `left === right`. Objects and arrays are equal to themselves only, and two that are compared here are
/// never the same one.
pub(super) fn strictly_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
        (Value::Number(left), Value::Number(right)) => double(left) == double(right),
        _ => false,
    }
}

/// `left == right`.
pub(super) fn loosely_equal(left: &Value, right: &Value) -> bool {
    let composite = |value: &Value| value.is_array() || value.is_object();
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => left.is_null() && right.is_null(),
        (left, right) if composite(left) && composite(right) => false,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::String(text), other) | (other, Value::String(text)) if composite(other) => {
            *text == string(other)
        }
        #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
        (left, right) => number(left) == number(right),
    }
}

/// `items.indexOf(value) !== -1`.
pub(super) fn includes(items: &[Value], value: &Value) -> bool {
    items.iter().any(|item| strictly_equal(item, value))
}

/// Whether `if (value)` is taken; a missing one is `undefined`.
pub(super) fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => double(number) != 0.0,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

/// `Object.keys(map)`: those that are array indices first, ascending, then the others as they came.
pub(super) fn keys(map: &Map<String, Value>) -> Vec<&str> {
    let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
    if keys.iter().any(|key| index(key).is_some()) {
        keys.sort_by_key(|key| index(key).map_or((1, 0), |index| (0, index)));
    }
    keys
}

/// The array index that a key is.
fn index(key: &str) -> Option<u32> {
    let canonical = key == "0" || !key.starts_with('0');
    let digits = canonical && key.bytes().all(|b| b.is_ascii_digit());
    key.parse().ok().filter(|index| digits && *index < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_have_javascripts_notation() {
        let check = |number: f64, expected: &str| assert_eq!(number_text(number), expected);
        check(0.0, "0");
        check(-0.0, "0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(100.0, "100");
        check(0.1 + 0.2, "0.30000000000000004");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(1.5e300, "1.5e+300");
        check(0.000_001, "0.000001");
        check(0.000_000_1, "1e-7");
        check(1.25e-9, "1.25e-9");
        check(12_345_678_901_234_567_890.0, "12345678901234567000");
    }

    #[test]
    fn texts_become_numbers_as_in_javascript() {
        let check = |text: &str, expected: f64| {
            let number = text_number(text);
            assert!(number == expected || number.is_nan() && expected.is_nan(), "{text}: {number}");
        };
        check("", 0.0);
        check(" \u{feff}12\n", 12.0);
        check("0x1F", 31.0);
        check("-0x1F", f64::NAN);
        check("0b11", 3.0);
        check("0o", f64::NAN);
        check(".5", 0.5);
        check("5.", 5.0);
        check(".", f64::NAN);
        check("1e3", 1000.0);
        check("1_0", f64::NAN);
        check("inf", f64::NAN);
        check("nan", f64::NAN);
        check("-Infinity", f64::NEG_INFINITY);
        check("1 2", f64::NAN);
    }

    #[test]
    fn keys_that_are_indices_come_first() {
        let value = json!({"b": 1, "10": 1, "2": 1, "a": 1, "01": 1, "4294967295": 1});
        let order = keys(value.as_object().unwrap());
        assert_eq!(order, ["2", "10", "b", "a", "01", "4294967295"]);
    }
}
