//! The built-in texts of fastest-validator 1.19 and how they are filled (fastest-validator: lib/messages.js).
//!
//! The values are put in at once: one that holds `{actual}` itself is not filled again, which could make a
//! text grow without bound (there, it is).

use serde_json::Value;

use super::javascript;

/// The text of an error type; `undefined`, as there, for one that is not known.
pub(super) fn built_in(kind: &str) -> &'static str {
    match kind {
        "required" => "The '{field}' field is required.",
        "string" => "The '{field}' field must be a string.",
        "stringEmpty" | "emailEmpty" | "urlEmpty" => "The '{field}' field must not be empty.",
        "stringMin" | "emailMin" => {
            "The '{field}' field length must be greater than or equal to {expected} characters long."
        }
        "stringMax" | "emailMax" => {
            "The '{field}' field length must be less than or equal to {expected} characters long."
        }
        "stringLength" => "The '{field}' field length must be {expected} characters long.",
        "stringPattern" => "The '{field}' field fails to match the required pattern.",
        "stringContains" => "The '{field}' field must contain the '{expected}' text.",
        "stringEnum" => "The '{field}' field does not match any of the allowed values.",
        "stringNumeric" => "The '{field}' field must be a numeric string.",
        "stringAlpha" => "The '{field}' field must be an alphabetic string.",
        "stringAlphanum" => "The '{field}' field must be an alphanumeric string.",
        "stringAlphadash" => "The '{field}' field must be an alphadash string.",
        "stringHex" => "The '{field}' field must be a hex string.",
        "stringSingleLine" => "The '{field}' field must be a single line string.",
        "stringBase64" => "The '{field}' field must be a base64 string.",
        "number" => "The '{field}' field must be a number.",
        "numberMin" => "The '{field}' field must be greater than or equal to {expected}.",
        "numberMax" => "The '{field}' field must be less than or equal to {expected}.",
        "numberEqual" => "The '{field}' field must be equal to {expected}.",
        "numberNotEqual" => "The '{field}' field can't be equal to {expected}.",
        "numberInteger" => "The '{field}' field must be an integer.",
        "numberPositive" => "The '{field}' field must be a positive number.",
        "numberNegative" => "The '{field}' field must be a negative number.",
        "array" | "tuple" => "The '{field}' field must be an array.",
        "arrayEmpty" | "tupleEmpty" => "The '{field}' field must not be an empty array.",
        "arrayMin" => "The '{field}' field must contain at least {expected} items.",
        "arrayMax" => "The '{field}' field must contain less than or equal to {expected} items.",
        "arrayLength" | "tupleLength" => "The '{field}' field must contain {expected} items.",
        "arrayContains" => "The '{field}' field must contain the '{expected}' item.",
        "arrayUnique" => {
            "The '{actual}' value in '{field}' field does not unique the '{expected}' values."
        }
        "arrayEnum" => {
            "The '{actual}' value in '{field}' field does not match any of the '{expected}' values."
        }
        "boolean" => "The '{field}' field must be a boolean.",
        "currency" => "The '{field}' must be a valid currency format",
        "date" => "The '{field}' field must be a Date.",
        "enumValue" => {
            "The '{field}' field value '{expected}' does not match any of the allowed values."
        }
        "equalValue" => "The '{field}' field value must be equal to '{expected}'.",
        "equalField" => "The '{field}' field value must be equal to '{expected}' field value.",
        "forbidden" => "The '{field}' field is forbidden.",
        "email" => "The '{field}' field must be a valid e-mail.",
        "luhn" => "The '{field}' field must be a valid checksum luhn.",
        "mac" => "The '{field}' field must be a valid MAC address.",
        "object" | "record" => "The '{field}' must be an Object.",
        "objectStrict" => "The object '{field}' contains forbidden keys: '{actual}'.",
        "objectMinProps" => "The object '{field}' must contain at least {expected} properties.",
        "objectMaxProps" => "The object '{field}' must contain {expected} properties at most.",
        "url" => "The '{field}' field must be a valid URL.",
        "uuid" => "The '{field}' field must be a valid UUID.",
        "uuidVersion" => "The '{field}' field must be a valid UUID version provided.",
        _ => "undefined",
    }
}

/// Puts field, expected and actual value into a text.
pub(super) fn fill(
    template: &str,
    field: &str,
    expected: Option<&Value>,
    actual: Option<&Value>,
) -> String {
    let mut text = String::with_capacity(template.len() + field.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        text.push_str(before);
        let slots = [("{field}", 0), ("{expected}", 1), ("{actual}", 2)];
        let Some((name, slot)) = slots.into_iter().find(|(name, _)| tail.starts_with(name)) else {
            text.push('{');
            rest = tail.get(1..).unwrap_or_default();
            continue;
        };
        match slot {
            0 => push(&mut text, field, name),
            1 => push(&mut text, &shown(expected), name),
            _ => push(&mut text, &shown(actual), name),
        }
        rest = tail.get(name.len()..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// A value as it stands in a text (fastest-validator: lib/helpers/replace.js).
fn shown(value: Option<&Value>) -> String {
    value.filter(|value| !value.is_null()).map(javascript::string).unwrap_or_default()
}

/// `String.replace` gives a meaning to `$$` and `$&` in what it puts in.
fn push(text: &mut String, value: &str, placeholder: &str) {
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        text.push_str(before);
        let (put, len) = match tail.as_bytes().get(1) {
            Some(b'$') => ("$", 2),
            Some(b'&') => (placeholder, 2),
            _ => ("$", 1),
        };
        text.push_str(put);
        rest = tail.get(len..).unwrap_or_default();
    }
    text.push_str(rest);
}
