//! Rule `record` (fastest-validator: lib/rules/record.js).
//!
//! There, the outcome is always a new object, while objects inside it are changed in place. Here it is a new
//! one only when a key or a value is another than before.

use std::mem;

use serde_json::{Map, Value};

use super::item::{Path, Place, Run, Words};
use super::javascript;
use super::rule::{Outcome, Rule, Slot};

/// The rule: one for all keys, one for all values.
#[derive(Debug)]
pub(super) struct Record {
    /// None when any text will do.
    pub(super) key: Option<Rule>,
    pub(super) value: Rule,
}

impl Record {
    pub(super) fn check(
        &self,
        slot: Slot<'_>,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        match slot {
            Slot::Lent(Value::Object(map)) => self.check_lent(map, place, run),
            Slot::Owned(Value::Object(map)) => self.check_owned(map, place, run),
            other => {
                run.fail(words, place, "record", None, Some(other.value()));
                Outcome::Kept
            }
        }
    }

    fn check_lent(&self, map: &Map<String, Value>, place: &Place<'_>, run: &mut Run) -> Outcome {
        let mut changed = false;
        for key in javascript::keys(map) {
            changed |= self.admit_key(key, map, place, run).is_some();
            let outcome = self.admit_value(key, map.get(key).map(Slot::Lent), map, place, run);
            changed |= !matches!(outcome, Outcome::Kept);
            if run.is_over() {
                break;
            }
        }
        // Whoever is given a change of something lent repeats the run on a copy, which makes the real one;
        // at the root of the params it goes nowhere.
        if changed { Outcome::Set(Value::Null) } else { Outcome::Kept }
    }

    fn check_owned(
        &self,
        map: &mut Map<String, Value>,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let keys: Vec<String> = javascript::keys(map).into_iter().map(str::to_owned).collect();
        let mut result = Map::new();
        let mut changed = false;
        for key in keys {
            let new_key = self.admit_key(&key, map, place, run);
            let mut child = map.get_mut(&key).map(mem::take);
            let slot = child.as_mut().map(Slot::Owned);
            let outcome = self.admit_value(&key, slot, map, place, run);
            changed |= new_key.is_some() || !matches!(outcome, Outcome::Kept);
            let new_key = new_key.unwrap_or_else(|| key.clone());
            match outcome {
                Outcome::Set(value) => result.insert(new_key, value),
                Outcome::Removed => result.shift_remove(&new_key),
                Outcome::Kept => child.clone().and_then(|value| result.insert(new_key, value)),
            };
            if let (Some(place), Some(value)) = (map.get_mut(&key), child) {
                *place = value;
            }
            if run.is_over() {
                return Outcome::Kept;
            }
        }
        if changed { Outcome::Set(Value::Object(result)) } else { Outcome::Kept }
    }

    /// The key in its new form, when it gets one.
    fn admit_key(
        &self,
        key: &str,
        map: &Map<String, Value>,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Option<String> {
        let rule = self.key.as_ref()?;
        let path = Path::Key { of: place.path, key };
        let inner = Place { path: &path, label: None, parent: Some(map) };
        let key = Value::from(key);
        match rule.admit(Some(Slot::Lent(&key)), place, &inner, run) {
            Outcome::Kept => None,
            Outcome::Set(key) => Some(javascript::string(&key)),
            Outcome::Removed => Some("undefined".into()),
        }
    }

    fn admit_value(
        &self,
        key: &str,
        slot: Option<Slot<'_>>,
        map: &Map<String, Value>,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let path = Path::Key { of: place.path, key };
        let inner = Place { path: &path, label: None, parent: Some(map) };
        self.value.admit(slot, place, &inner, run)
    }
}
