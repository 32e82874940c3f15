//! Rule `number` (fastest-validator: lib/rules/number.js), and numbers in other rules.

use serde_json::Value;

use super::item::{Place, Run, Words};
use super::javascript::{self, number_value};
use super::rule::Outcome;

/// A number of a schema that values are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) value: f64,
}

impl Bound {
    /// As an error shows it.
    pub(super) fn shown(self) -> Value {
        number_value(self.value)
    }
}

/// The rule.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) convert: bool,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) equal: Option<Bound>,
    pub(super) not_equal: Option<Bound>,
    pub(super) integer: bool,
    pub(super) positive: bool,
    pub(super) negative: bool,
}

impl Number {
    pub(super) fn check(
        &self,
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let number = match value {
            Value::Number(number) => javascript::double(number),
            value if self.convert => javascript::number(value),
            _ => f64::NAN,
        };
        if !number.is_finite() {
            run.fail(words, place, "number", None, Some(value));
            return Outcome::Kept;
        }
        self.compare(number, |kind, expected| {
            run.fail(words, place, kind, expected.map(Bound::shown), Some(value));
        });
        if value.is_number() { Outcome::Kept } else { Outcome::Set(number_value(number)) }
    }

    /// Tells everything that is wrong with a number.
    #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
    pub(super) fn compare(&self, number: f64, mut fail: impl FnMut(&'static str, Option<Bound>)) {
        let mut bound = |bound: Option<Bound>, kind, wrong: fn(f64, f64) -> bool| {
            if bound.is_some_and(|bound| wrong(number, bound.value)) {
                fail(kind, bound);
            }
        };
        bound(self.min, "numberMin", |number, min| number < min);
        bound(self.max, "numberMax", |number, max| number > max);
        bound(self.equal, "numberEqual", |number, equal| number != equal);
        bound(self.not_equal, "numberNotEqual", |number, other| number == other);
        if self.integer && number.fract() != 0.0 {
            fail("numberInteger", None);
        }
        if self.positive && number <= 0.0 {
            fail("numberPositive", None);
        }
        if self.negative && number >= 0.0 {
            fail("numberNegative", None);
        }
    }
}
