//! Brings the short forms of a rule into the full one: `"string|min:3"`, `"number[]"`, `["string", "number"]`,
//! `{$$type: "object", …}`, aliases and defaults (fastest-validator: lib/validator.js getRuleFromSchema,
//! resolveType, parseShortHand; lib/helpers/deep-extend.js).

use serde_json::{Map, Value, json};

use super::javascript::{self, number_value};
use crate::config::validator::FastestOptions;

/// The rules of fastest-validator, those that need functions as well.
const RULES: [&str; 23] = [
    "any",
    "array",
    "boolean",
    "class",
    "currency",
    "custom",
    "date",
    "email",
    "enum",
    "equal",
    "forbidden",
    "function",
    "luhn",
    "mac",
    "multi",
    "number",
    "object",
    "objectID",
    "record",
    "string",
    "tuple",
    "url",
    "uuid",
];

/// A rule in its full form: `type` is that of a rule, aliases and defaults have been put in.
///
/// # Errors
/// What is wrong with it.
pub(super) fn full_form(
    schema: &Value,
    options: &FastestOptions,
) -> Result<Map<String, Value>, String> {
    let mut schema = resolve_type(schema, options)?;
    let name = schema.get("type").and_then(Value::as_str).map(str::to_owned);
    if let Some(alias) = name.and_then(|name| options.aliases.get(&name)) {
        schema.shift_remove("type");
        extend(&mut schema, alias);
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) if RULES.contains(&name.as_str()) => name.clone(),
        Some(found) => return Err(unknown_rule(found, options)),
        None => return Err("must have a 'type'".into()),
    };
    if let Some(defaults) = options.defaults.get(&name) {
        extend(&mut schema, defaults);
    }
    Ok(schema)
}

fn unknown_rule(found: &Value, options: &FastestOptions) -> String {
    let names = options.aliases.keys().map(String::as_str);
    let names: Vec<_> = RULES.into_iter().chain(names).collect();
    format!("has the type {found}, which is no rule; allowed are {}", names.join(", "))
}

fn resolve_type(schema: &Value, options: &FastestOptions) -> Result<Map<String, Value>, String> {
    let mut schema = match schema {
        Value::String(text) => shorthand(text, options)?,
        Value::Array(rules) => alternatives(rules, options)?,
        Value::Object(schema) => schema.clone(),
        other => return Err(format!("must be a text, an array or an object, found {other}")),
    };
    if let Some(kind) = schema.get("$$type").filter(|kind| javascript::truthy(Some(kind))) {
        let mut outer = full_form(kind, options)?;
        schema.shift_remove("$$type");
        outer.insert("props".into(), Value::Object(schema));
        return Ok(outer);
    }
    Ok(schema)
}

/// `"string|min:3|no-empty"`.
fn shorthand(text: &str, options: &FastestOptions) -> Result<Map<String, Value>, String> {
    let mut parts = text.split('|').map(|part| part.trim_matches(javascript::is_space));
    let name = parts.next().unwrap_or_default();
    let mut schema = match name.strip_suffix("[]") {
        Some(items) => full_form(&json!({"type": "array", "items": items}), options)?,
        None => Map::from_iter([("type".to_owned(), name.into())]),
    };
    for part in parts {
        let (key, value) = match part.split_once(':') {
            Some((key, value)) => {
                let trim = |text: &str| text.trim_matches(javascript::is_space).to_owned();
                (trim(key), word(&trim(value)))
            }
            None => match part.strip_prefix("no-") {
                Some(key) => (key.to_owned(), false.into()),
                None => (part.to_owned(), true.into()),
            },
        };
        schema.insert(key, value);
    }
    Ok(schema)
}

/// The value of an option in a shorthand.
fn word(text: &str) -> Value {
    let number = javascript::text_number(text);
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ if number.is_finite() => number_value(number),
        _ => text.into(),
    }
}

/// An array: one of its rules must fit. It may be missing when it may be missing for each of them.
fn alternatives(rules: &[Value], options: &FastestOptions) -> Result<Map<String, Value>, String> {
    if rules.is_empty() {
        return Err("must have at least one rule, found an empty array".into());
    }
    let null_check = !options.consider_null_as_a_value;
    let (mut optional, mut nullable) = (true, true);
    for rule in rules {
        let rule = full_form(rule, options)?;
        optional &= rule.get("optional") == Some(&Value::Bool(true));
        nullable &= rule.get("nullable") == Some(&Value::Bool(null_check));
    }
    let mut schema = Map::from_iter([
        ("type".to_owned(), "multi".into()),
        ("rules".to_owned(), rules.to_vec().into()),
    ]);
    if optional {
        schema.insert("optional".into(), true.into());
    }
    if nullable {
        schema.insert("nullable".into(), null_check.into());
    }
    Ok(schema)
}

/// Puts in what is not there yet, deep.
fn extend(schema: &mut Map<String, Value>, with: &Value) {
    for (key, value) in with.as_object().into_iter().flatten() {
        match (schema.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(_)) => extend(inner, value),
            (Some(Value::Null), Value::Object(more)) if !more.is_empty() => {
                schema.insert(key.clone(), value.clone());
            }
            (Some(_), _) => {}
            (None, _) => {
                schema.insert(key.clone(), value.clone());
            }
        }
    }
}
