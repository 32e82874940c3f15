//! Rule `object` (fastest-validator: lib/rules/object.js).

use serde_json::{Map, Value};

use super::item::{Path, Place, Run, Words};
use super::javascript::{self, as_number, number_value};
use super::number::Bound;
use super::rule::{Outcome, Rule, Slot, admit_property};

/// The rule.
#[derive(Debug)]
pub(super) struct Object {
    /// In JavaScript's order of keys; none when any object will do.
    pub(super) properties: Option<Vec<Property>>,
    pub(super) strict: Strict,
    pub(super) min_props: Option<Bound>,
    pub(super) max_props: Option<Bound>,
}

/// A property with a rule.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) rule: Rule,
}

/// What happens to properties without a rule.
#[derive(Debug)]
pub(super) enum Strict {
    /// They may be there.
    Off,
    /// They are an error.
    Refuse(Allowed),
    /// They are removed.
    Remove(Allowed),
}

/// Names that an object may have.
#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) names: Vec<String>,
    /// The names as an error shows them.
    pub(super) shown: Value,
}

impl Object {
    pub(super) fn check(
        &self,
        mut slot: Slot<'_>,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        if !slot.value().is_object() {
            run.fail(words, place, "object", None, Some(slot.value()));
            return Outcome::Kept;
        }
        let removed = self.properties(&mut slot, place, run);
        if run.is_over() || self.properties.is_some() && run.halts() {
            return Outcome::Kept;
        }
        // As there, the label of the last property stays behind for the rules of the whole object.
        let last = self.properties.as_ref().and_then(|properties| properties.last());
        let label = last.map_or(place.label, |property| property.rule.label.as_deref());
        let place = Place { label, ..*place };
        self.strictly(&mut slot, words, &place, run);
        self.count(slot.value(), words, &place, run);
        if let Slot::Owned(Value::Object(map)) = slot {
            for name in removed {
                map.shift_remove(name);
            }
        }
        Outcome::Kept
    }

    /// Checks the properties; returns those that are to be removed in the end.
    fn properties(&self, slot: &mut Slot<'_>, place: &Place<'_>, run: &mut Run) -> Vec<&str> {
        let mut removed = Vec::new();
        for Property { name, rule } in self.properties.iter().flatten() {
            let path = Path::Property { of: place.path, name };
            match slot {
                Slot::Lent(Value::Object(map)) => {
                    let place =
                        Place { path: &path, label: rule.label.as_deref(), parent: Some(map) };
                    let outcome = rule.admit(map.get(name).map(Slot::Lent), &place, &place, run);
                    run.must_write |= !matches!(outcome, Outcome::Kept);
                }
                Slot::Owned(Value::Object(map)) => {
                    let remove = admit_property(rule, map, name, &path, run);
                    removed.extend(remove.then_some(name.as_str()));
                }
                _ => {}
            }
            if run.is_over() || run.halts() {
                break;
            }
        }
        removed
    }

    fn strictly(&self, slot: &mut Slot<'_>, words: &Words, place: &Place<'_>, run: &mut Run) {
        let (Strict::Refuse(allowed) | Strict::Remove(allowed)) = &self.strict else { return };
        let unknown = |name: &str| !allowed.names.iter().any(|allowed| allowed == name);
        let Value::Object(map) = slot.value() else { return };
        if !map.keys().any(|name| unknown(name)) {
            return;
        }
        if matches!(self.strict, Strict::Refuse(_)) {
            let names: Vec<_> =
                javascript::keys(map).into_iter().filter(|name| unknown(name)).collect();
            let expected = Some(allowed.shown.clone());
            run.fail(words, place, "objectStrict", expected, Some(&names.join(", ").into()));
        } else if run.items.is_empty() {
            match slot {
                Slot::Lent(_) => run.must_write = true,
                Slot::Owned(Value::Object(map)) => map.retain(|name, _| !unknown(name)),
                Slot::Owned(_) => {}
            }
        }
    }

    fn count(&self, value: &Value, words: &Words, place: &Place<'_>, run: &mut Run) {
        let len = value.as_object().map_or(0, Map::len);
        let wrong = |bound: &&Bound, above: bool| {
            let len = as_number(len);
            if above { len > bound.value } else { len < bound.value }
        };
        let actual = || number_value(as_number(len));
        if let Some(min) = self.min_props.as_ref().filter(|bound| wrong(bound, false)) {
            run.fail(words, place, "objectMinProps", Some(min.shown()), Some(&actual()));
        }
        if let Some(max) = self.max_props.as_ref().filter(|bound| wrong(bound, true)) {
            run.fail(words, place, "objectMaxProps", Some(max.shown()), Some(&actual()));
        }
    }
}
