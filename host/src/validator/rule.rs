//! A compiled rule, and how it is applied to a value.
//!
//! fastest-validator changes params in place while it checks them, and later rules see the changes. Here the
//! same code runs on params that are only lent ([`Slot::Lent`]) and on a copy ([`Slot::Owned`]): the first
//! change that lent params would need ends the run, which is then repeated on a copy. Params that are valid
//! as they are, which most are, are never copied.

use std::mem;

use serde_json::{Map, Value};

use super::array::{Array, Tuple};
use super::date;
use super::equal::Equal;
use super::format::{self, Email, Uuid};
use super::item::{Path, Place, Run, Words, weight};
use super::javascript;
use super::number::Number;
use super::object::Object;
use super::pattern::Pattern;
use super::record::Record;
use super::text::Text;

/// A value that is being checked.
pub(super) enum Slot<'a> {
    /// It cannot be changed.
    Lent(&'a Value),
    /// It is a copy of our own.
    Owned(&'a mut Value),
}

impl Slot<'_> {
    pub(super) fn value(&self) -> &Value {
        match self {
            Self::Lent(value) => value,
            Self::Owned(value) => value,
        }
    }

    /// The same value, for a shorter time.
    pub(super) fn again(&mut self) -> Slot<'_> {
        match self {
            Self::Lent(value) => Slot::Lent(value),
            Self::Owned(value) => Slot::Owned(value),
        }
    }
}

/// What is to stand in the place of a value that was checked.
pub(super) enum Outcome {
    /// The value itself.
    Kept,
    /// Another one.
    Set(Value),
    /// Nothing: JavaScript's `undefined`.
    Removed,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    pub(super) words: Words,
    pub(super) label: Option<String>,
}

/// What happens when there is no value (fastest-validator: lib/validator.js wrapRequiredCheckSourceCode).
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) skip_undefined: bool,
    pub(super) skip_null: bool,
    pub(super) default: Option<Value>,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Kind {
    Any,
    Array(Box<Array>),
    Boolean { convert: bool },
    Currency(Pattern),
    Date { convert: bool },
    Email(Email),
    Enum { values: Vec<Value>, shown: Value },
    Equal(Equal),
    Forbidden { remove: bool },
    Luhn,
    Mac,
    Multi(Vec<Rule>),
    Number(Box<Number>),
    Object(Box<Object>),
    Record(Box<Record>),
    Text(Box<Text>),
    Tuple(Tuple),
    Url { empty: bool },
    Uuid(Uuid),
}

impl Rule {
    /// Applies the rule to what may be there. `outer` is where a missing value is reported, `inner` where
    /// everything else is: for the items of an array these are not the same.
    pub(super) fn admit(
        &self,
        slot: Option<Slot<'_>>,
        outer: &Place<'_>,
        inner: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        match slot {
            Some(slot) if !slot.value().is_null() => self.check(slot, inner, run),
            Some(_) if self.presence.skip_null => Outcome::Kept,
            Some(_) => self.missing(Some(&Value::Null), outer, run),
            None if self.presence.skip_undefined => Outcome::Kept,
            None => self.missing(None, outer, run),
        }
    }

    fn missing(&self, actual: Option<&Value>, place: &Place<'_>, run: &mut Run) -> Outcome {
        match &self.presence.default {
            Some(default) if run.grow(weight(default, usize::MAX)) => Outcome::Set(default.clone()),
            Some(_) => Outcome::Kept,
            None => {
                run.fail(&self.words, place, "required", None, actual);
                Outcome::Kept
            }
        }
    }

    /// Applies the rule to a value that is not null.
    fn check(&self, mut slot: Slot<'_>, place: &Place<'_>, run: &mut Run) -> Outcome {
        let words = &self.words;
        match &self.kind {
            Kind::Array(array) => array.check(slot, words, place, run),
            Kind::Tuple(tuple) => tuple.check(slot, words, place, run),
            Kind::Object(object) => object.check(slot, words, place, run),
            Kind::Record(record) => record.check(slot, words, place, run),
            Kind::Multi(rules) => multi(rules, &mut slot, place, run),
            _ => self.check_leaf(slot.value(), place, run),
        }
    }

    fn check_leaf(&self, value: &Value, place: &Place<'_>, run: &mut Run) -> Outcome {
        let words = &self.words;
        match &self.kind {
            Kind::Boolean { convert } => boolean(*convert, value, words, place, run),
            Kind::Number(number) => number.check(value, words, place, run),
            Kind::Text(text) => text.check(value, words, place, run),
            Kind::Date { convert } => date::check(*convert, value, words, place, run),
            Kind::Email(email) => email.check(value, words, place, run),
            Kind::Url { empty } => format::url(*empty, value, words, place, run),
            Kind::Uuid(uuid) => uuid.check(value, words, place, run),
            Kind::Mac => format::mac(value, words, place, run),
            Kind::Luhn => format::luhn(value, words, place, run),
            Kind::Currency(pattern) => format::currency(pattern, value, words, place, run),
            Kind::Equal(equal) => equal.check(value, words, place, run),
            Kind::Enum { values, shown } => {
                if !javascript::includes(values, value) {
                    run.fail(words, place, "enumValue", Some(shown.clone()), Some(value));
                }
                Outcome::Kept
            }
            Kind::Forbidden { remove: true } => Outcome::Removed,
            Kind::Forbidden { remove: false } => {
                run.fail(words, place, "forbidden", None, Some(value));
                Outcome::Kept
            }
            // Those with values inside have been dealt with.
            _ => Outcome::Kept,
        }
    }
}

/// fastest-validator: lib/rules/boolean.js
fn boolean(
    convert: bool,
    value: &Value,
    words: &Words,
    place: &Place<'_>,
    run: &mut Run,
) -> Outcome {
    if value.is_boolean() {
        return Outcome::Kept;
    }
    let converted = match value {
        _ if !convert => None,
        Value::String(word) => match word.as_str() {
            "true" | "1" | "on" => Some(true),
            "false" | "0" | "off" => Some(false),
            _ => None,
        },
        Value::Number(number) => match javascript::double(number) {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        },
        _ => None,
    };
    if let Some(flag) = converted {
        return Outcome::Set(flag.into());
    }
    run.fail(words, place, "boolean", None, Some(value));
    Outcome::Kept
}

/// The first rule that fits; when none does, the failures of all (fastest-validator: lib/rules/multi.js).
fn multi(rules: &[Rule], slot: &mut Slot<'_>, place: &Place<'_>, run: &mut Run) -> Outcome {
    let inner = Place { label: None, ..*place };
    let before = run.set_apart();
    let mut failures = Vec::new();
    for rule in rules {
        let outcome = rule.admit(Some(slot.again()), place, &inner, run);
        if run.items.is_empty() {
            run.resume(before, Vec::new());
            return outcome;
        }
        failures.append(&mut run.items);
        if run.must_write || run.overgrown {
            break;
        }
        // However many failures this one had, the next may still fit.
        run.refill(&before, &mut failures);
    }
    run.resume(before, failures);
    Outcome::Kept
}

/// Applies a rule to one property of a map that is our own. The value is taken out meanwhile, so that the
/// rule can look at the others. True when it is to be removed: until its object has been checked, `null`
/// stands in its place, as `undefined` does there.
pub(super) fn admit_property(
    rule: &Rule,
    map: &mut Map<String, Value>,
    key: &str,
    path: &Path<'_>,
    run: &mut Run,
) -> bool {
    let mut child = map.get_mut(key).map(mem::take);
    let place = Place { path, label: rule.label.as_deref(), parent: Some(map) };
    let outcome = rule.admit(child.as_mut().map(Slot::Owned), &place, &place, run);
    let put = match outcome {
        Outcome::Kept => child,
        Outcome::Set(value) => Some(value),
        Outcome::Removed => {
            map.insert(key.to_owned(), Value::Null);
            return true;
        }
    };
    match (map.get_mut(key), put) {
        (Some(place), Some(value)) => *place = value,
        (None, Some(value)) => {
            map.insert(key.to_owned(), value);
        }
        (_, None) => {}
    }
    false
}
