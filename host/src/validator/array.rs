//! Rules `array` and `tuple` (fastest-validator: lib/rules/array.js, tuple.js).

use std::collections::HashSet;
use std::mem;

use serde_json::Value;

use super::item::{Path, Place, Run, Words};
use super::javascript::{self, as_number, number_value};
use super::number::Bound;
use super::rule::{Outcome, Rule, Slot};

/// Rule `array`.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) convert: bool,
    pub(super) refuse_empty: bool,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) length: Option<Bound>,
    pub(super) contains: Option<Value>,
    pub(super) unique: bool,
    pub(super) allowed: Option<(Vec<Value>, Value)>,
    pub(super) items: Option<Rule>,
}

/// Rule `tuple`.
#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) refuse_empty: bool,
    /// One for each item; none when any array will do.
    pub(super) items: Option<Vec<Rule>>,
}

impl Array {
    pub(super) fn check(
        &self,
        mut slot: Slot<'_>,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        if let Value::Array(items) = slot.value() {
            self.check_whole(items, slot.value(), words, place, run);
            self.check_items(&mut slot, place, run);
            return Outcome::Kept;
        }
        if !self.convert {
            run.fail(words, place, "array", None, Some(slot.value()));
            return Outcome::Kept;
        }
        let mut wrapped = Value::Array(vec![slot.value().clone()]);
        if let Value::Array(items) = &wrapped {
            self.check_whole(items, &wrapped, words, place, run);
        }
        self.check_items(&mut Slot::Owned(&mut wrapped), place, run);
        Outcome::Set(wrapped)
    }

    fn check_whole(
        &self,
        items: &[Value],
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) {
        let len = as_number(items.len());
        if self.refuse_empty && items.is_empty() {
            run.fail(words, place, "arrayEmpty", None, Some(value));
        }
        let mut bound = |bound: Option<Bound>, kind, wrong: fn(f64, f64) -> bool| {
            if let Some(bound) = bound.filter(|bound| wrong(len, bound.value)) {
                run.fail(words, place, kind, Some(bound.shown()), Some(&number_value(len)));
            }
        };
        bound(self.min, "arrayMin", |len, min| len < min);
        bound(self.max, "arrayMax", |len, max| len > max);
        #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
        bound(self.length, "arrayLength", |len, length| len != length);
        if let Some(wanted) = &self.contains
            && !javascript::includes(items, wanted)
        {
            run.fail(words, place, "arrayContains", Some(wanted.clone()), Some(value));
        }
        if self.unique {
            let repeated = repeated(items);
            if !repeated.is_empty() {
                run.fail(words, place, "arrayUnique", Some(repeated.into()), Some(value));
            }
        }
        let Some((allowed, shown)) = &self.allowed else { return };
        for item in items {
            if !javascript::includes(allowed, item) {
                run.fail(words, place, "arrayEnum", Some(shown.clone()), Some(item));
            }
            if run.is_over() {
                return;
            }
        }
    }

    fn check_items(&self, slot: &mut Slot<'_>, place: &Place<'_>, run: &mut Run) {
        let Some(rule) = &self.items else { return };
        let len = slot.value().as_array().map_or(0, Vec::len);
        for index in 0..len {
            check_item(rule, slot, index, place, run);
            if run.is_over() {
                return;
            }
        }
    }
}

impl Tuple {
    pub(super) fn check(
        &self,
        mut slot: Slot<'_>,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let Value::Array(items) = slot.value() else {
            run.fail(words, place, "tuple", None, Some(slot.value()));
            return Outcome::Kept;
        };
        let len = items.len();
        if self.refuse_empty && len == 0 {
            run.fail(words, place, "tupleEmpty", None, Some(slot.value()));
            return Outcome::Kept;
        }
        let Some(rules) = self.items.as_ref().filter(|_| len > 0) else { return Outcome::Kept };
        if len != rules.len() {
            let expected = number_value(as_number(rules.len()));
            let actual = number_value(as_number(len));
            run.fail(words, place, "tupleLength", Some(expected), Some(&actual));
            return Outcome::Kept;
        }
        for (index, rule) in rules.iter().enumerate() {
            check_item(rule, &mut slot, index, place, run);
            if run.is_over() {
                break;
            }
        }
        Outcome::Kept
    }
}

/// Checks one item. A missing one is reported at the array, as there.
fn check_item(rule: &Rule, slot: &mut Slot<'_>, index: usize, place: &Place<'_>, run: &mut Run) {
    let path = Path::Index { of: place.path, index };
    let inner = Place { path: &path, label: None, ..*place };
    match slot {
        Slot::Lent(Value::Array(items)) => {
            let item = items.get(index).map(Slot::Lent);
            let outcome = rule.admit(item, place, &inner, run);
            run.must_write |= !matches!(outcome, Outcome::Kept);
        }
        Slot::Owned(Value::Array(items)) => {
            let Some(item) = items.get_mut(index) else { return };
            match rule.admit(Some(Slot::Owned(item)), place, &inner, run) {
                Outcome::Kept => {}
                Outcome::Set(value) => *item = value,
                Outcome::Removed => drop(mem::take(item)),
            }
        }
        _ => {}
    }
}

/// The values that are there more than once, each once, in the order of their second appearance. Objects
/// and arrays are never the same.
fn repeated(items: &[Value]) -> Vec<Value> {
    #[derive(PartialEq, Eq, Hash, Clone, Copy)]
    enum Key<'a> {
        Null,
        Bool(bool),
        Number(u64),
        Text(&'a str),
    }
    fn key(item: &Value) -> Option<Key<'_>> {
        match item {
            Value::Null => Some(Key::Null),
            Value::Bool(flag) => Some(Key::Bool(*flag)),
            // Adding zero makes the negative zero positive.
            Value::Number(number) => {
                Some(Key::Number((javascript::double(number) + 0.0).to_bits()))
            }
            Value::String(text) => Some(Key::Text(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
    let (mut seen, mut told) = (HashSet::new(), HashSet::new());
    let mut again =
        |item| key(item).is_some_and(|key| !seen.insert(key) && told.insert(key)).then_some(item);
    items.iter().filter_map(|item| again(item).cloned()).collect()
}
