//! Rule `equal` (fastest-validator: lib/rules/equal.js).

use serde_json::Value;

use super::item::{Place, Run, Words};
use super::javascript;
use super::rule::Outcome;

/// The rule.
#[derive(Debug)]
pub(super) struct Equal {
    pub(super) to: To,
    /// Compare with `===`.
    pub(super) strict: bool,
}

/// What the value must be equal to.
#[derive(Debug)]
pub(super) enum To {
    /// Another field of the same object.
    Field(String),
    /// A value; none for a rule that names neither, which nothing fits.
    Value(Option<Value>),
}

impl Equal {
    pub(super) fn check(
        &self,
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let (kind, other, expected) = match &self.to {
            To::Field(name) => {
                let other = place.parent.and_then(|parent| parent.get(name));
                ("equalField", other, Some(Value::from(name.as_str())))
            }
            To::Value(other) => ("equalValue", other.as_ref(), other.clone()),
        };
        let equal =
            if self.strict { javascript::strictly_equal } else { javascript::loosely_equal };
        if !other.is_some_and(|other| equal(value, other)) {
            run.fail(words, place, kind, expected, Some(value));
        }
        Outcome::Kept
    }
}
