//! The params of the `$node` actions, also where no validator has converted them: JavaScript callers send
//! words for booleans (moleculer: src/internals.js).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::registry::listing::Filter;
use crate::schema;

/// Reads the flags of a list; other keys are nobody's business.
pub(super) fn filter(params: &Payload, flags: &[&str]) -> Result<Filter, MoleculerError> {
    let found = object(params);
    let mut known = Map::new();
    let mut faults = Vec::new();
    for key in flags {
        match found.get(*key).map(boolean) {
            None | Some(Some(None)) => {}
            Some(Some(Some(flag))) => _ = known.insert((*key).to_owned(), flag.into()),
            Some(None) => faults.push(json!({
                "type": "boolean",
                "message": format!("The '{key}' field must be a boolean."),
                "field": key,
                "actual": found.get(*key),
            })),
        }
    }
    refuse(faults)?;
    Filter::deserialize(Value::Object(known))
        .map_err(|error| MoleculerError::internal(error.to_string()))
}

/// What `$node.metrics` is asked for; `None` is everything.
#[derive(Debug, Default)]
pub(super) struct MetricFilter {
    types: Option<Vec<String>>,
    includes: Option<Vec<String>>,
    excludes: Option<Vec<String>>,
}

impl MetricFilter {
    /// Reads `types`, `includes` and `excludes`, each a text or a list.
    pub(super) fn read(params: &Payload) -> Result<Self, MoleculerError> {
        let found = object(params);
        let mut faults = Vec::new();
        let mut list = |key: &str| match found.get(key) {
            None | Some(Value::Null) => None,
            Some(value) => texts(value).or_else(|| {
                let message = format!("The '{key}' field must be a string or an array of strings.");
                faults.push(
                    json!({"type": "string", "message": message, "field": key, "actual": value}),
                );
                None
            }),
        };
        let filter =
            Self { types: list("types"), includes: list("includes"), excludes: list("excludes") };
        refuse(faults)?;
        Ok(filter)
    }

    /// Whether a metric is wanted (moleculer: src/metrics/registry.js list).
    pub(super) fn wants(&self, kind: &str, name: &str) -> bool {
        let any = |patterns: &Vec<String>| patterns.iter().any(|one| schema::matches(one, name));
        self.types.as_ref().is_none_or(|types| types.iter().any(|one| one == kind))
            && self.includes.as_ref().is_none_or(any)
            && !self.excludes.as_ref().is_some_and(any)
    }
}

fn object(params: &Payload) -> Map<String, Value> {
    match params.parse() {
        Ok(Value::Object(found)) => found,
        _ => Map::new(),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn refuse(faults: Vec<Value>) -> Result<(), MoleculerError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(MoleculerError::validation("Parameters validation error!", &Value::Array(faults)))
}

/// The conversion of fastest-validator's rule `boolean`; `Some(None)` for a missing value.
fn boolean(value: &Value) -> Option<Option<bool>> {
    match value {
        Value::Null => Some(None),
        Value::Bool(flag) => Some(Some(*flag)),
        Value::Number(number) if number.as_i64() == Some(1) => Some(Some(true)),
        Value::Number(number) if number.as_i64() == Some(0) => Some(Some(false)),
        Value::String(word) => match word.as_str() {
            "true" | "1" | "on" => Some(Some(true)),
            "false" | "0" | "off" => Some(Some(false)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &'static str) -> Payload {
        Payload::from_json_text(text.into()).unwrap()
    }

    #[test]
    fn flags_are_converted_as_javascript_callers_expect() {
        let flags = ["withActions", "grouping", "onlyLocal"];
        let parse = |text: &'static str| filter(&payload(text), &flags);
        assert!(
            parse(r#"{"withActions":"true","grouping":0}"#)
                .is_ok_and(|f| f.with_actions && !f.grouping)
        );
        assert!(parse("null").is_ok_and(|f| f.grouping));
        assert!(parse(r#"{"onlyLocal":null,"unknown":"text"}"#).is_ok_and(|f| !f.only_local));
        assert_eq!(parse(r#"{"onlyLocal":"maybe"}"#).unwrap_err().kind(), "VALIDATION_ERROR");
    }

    #[test]
    fn metrics_are_picked_by_type_and_name() {
        let check = |text: &'static str, expected: [bool; 2]| {
            let filter = MetricFilter::read(&payload(text)).unwrap();
            let found =
                [filter.wants("counter", "moleculer.a.total"), filter.wants("gauge", "isomer.b")];
            assert_eq!(found, expected, "{text}");
        };
        check("{}", [true, true]);
        check(r#"{"types":"gauge"}"#, [false, true]);
        check(r#"{"types":["gauge","counter"]}"#, [true, true]);
        check(r#"{"types":[]}"#, [false, false]);
        check(r#"{"includes":"moleculer.**"}"#, [true, false]);
        check(r#"{"excludes":["moleculer.**","x"]}"#, [false, true]);
        assert!(MetricFilter::read(&payload(r#"{"types":5}"#)).is_err());
    }
}
