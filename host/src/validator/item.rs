//! Error items of fastest-validator, and what is needed to make them: the place in the params, the texts.
//!
//! On success nothing here allocates: a place is a list of steps on the stack and becomes a text only for an
//! item. How much items may hold is bounded, because hostile params could make many large ones.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::javascript;
use super::messages;

/// Most items of one refusal; the check ends with the last of them.
pub const ITEMS_MAX: usize = 1_000;

/// Most bytes of the values (`actual`, `expected`) that the items of one refusal repeat; a value for which
/// there is no room is left out.
pub const VALUES_LEN_MAX: usize = 256 << 10;

/// Most bytes that defaults and paddings may add to the params of one call.
pub const GROWTH_MAX: usize = 8 << 20;

/// One failure (fastest-validator: lib/validator.js makeError).
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Error type, such as `numberMin`; for JSON Schema the keyword.
    pub kind: Cow<'static, str>,
    /// Sentence for a person.
    pub message: String,
    /// Path of the value, such as `user.roles[0]`; none for the params as a whole.
    pub field: Option<String>,
    /// What the rule wants.
    pub expected: Option<Value>,
    /// What was found; none for a value that is not there.
    pub actual: Option<Value>,
    /// Name of the field for people, from the schema.
    pub label: Option<String>,
}

impl Item {
    /// The item as it is sent: `{type, message, field, expected?, actual?, label?}`.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("type".into(), self.kind.into());
        map.insert("message".into(), self.message.into());
        let fields = [
            ("field", self.field.map(Value::String)),
            ("expected", self.expected),
            ("actual", self.actual),
            ("label", self.label.map(Value::String)),
        ];
        map.extend(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        map
    }
}

/// A place in the params.
pub(super) enum Path<'a> {
    /// The params.
    Root,
    /// A property of an object.
    Property { of: &'a Path<'a>, name: &'a str },
    /// An item of an array.
    Index { of: &'a Path<'a>, index: usize },
    /// A key of a record, or its value.
    Key { of: &'a Path<'a>, key: &'a str },
}

impl Path<'_> {
    /// As error items show it.
    fn text(&self) -> Option<String> {
        let mut text = String::new();
        self.write(&mut text);
        (!matches!(self, Self::Root)).then_some(text)
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Root => {}
            Self::Property { of, name } => {
                of.write(text);
                match (text.is_empty(), is_identifier(name)) {
                    (true, _) => text.push_str(name),
                    (false, true) => text.extend([".", name]),
                    (false, false) => text.extend(["['", name, "']"]),
                }
            }
            Self::Index { of, index } => {
                of.write(text);
                text.push_str(&format!("[{index}]"));
            }
            Self::Key { of, key } => {
                of.write(text);
                let dot = if text.is_empty() { "" } else { "." };
                text.extend([dot, key]);
            }
        }
    }
}

/// Whether a property is written with a dot (fastest-validator: lib/rules/object.js identifierRegex).
fn is_identifier(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b'$';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(first) && bytes.all(|b| first(b) || b.is_ascii_digit())
}

/// Where a rule is being applied.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path<'a>,
    pub(super) label: Option<&'a str>,
    /// The object that rules which name another field look into.
    pub(super) parent: Option<&'a Map<String, Value>>,
}

/// The messages of one rule.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// By error type, over the built-in ones.
    pub(super) own: Arc<Map<String, Value>>,
    /// It is the rule for the keys of a record, whose texts say "key" (fastest-validator:
    /// lib/rules/record.js patchKeyRuleMessages).
    pub(super) of_key: bool,
}

impl Words {
    fn template(&self, kind: &str) -> Cow<'_, str> {
        let template: Cow<'_, str> = match self.own.get(kind) {
            Some(Value::String(own)) => own.into(),
            Some(other) => javascript::string(other).into(),
            None => messages::built_in(kind).into(),
        };
        if self.of_key && kind.starts_with("string") {
            return template.replacen(" field ", " key ", 1).into();
        }
        template
    }
}

/// One run of a check.
pub(super) struct Run {
    /// What was found so far.
    pub(super) items: Vec<Item>,
    /// A value has to be changed, but the params are only lent: the run is over and must be repeated on a
    /// copy.
    pub(super) must_write: bool,
    /// Defaults and paddings have outgrown [`GROWTH_MAX`]: the run is over.
    pub(super) overgrown: bool,
    halt_on_first_error: bool,
    value_room: usize,
    growth_room: usize,
    items_room: usize,
}

/// What had been found before a rule with alternatives.
pub(super) struct Apart {
    items: Vec<Item>,
    items_room: usize,
    value_room: usize,
}

impl Run {
    pub(super) fn new(halt_on_first_error: bool) -> Self {
        Self {
            items: Vec::new(),
            must_write: false,
            overgrown: false,
            halt_on_first_error,
            value_room: VALUES_LEN_MAX,
            growth_room: GROWTH_MAX,
            items_room: ITEMS_MAX,
        }
    }

    /// Nothing that is still to come can change the outcome.
    pub(super) fn is_over(&self) -> bool {
        self.must_write || self.overgrown || self.items_room == 0
    }

    /// The rest of an object is not looked at (fastest-validator: option haltOnFirstError).
    pub(super) fn halts(&self) -> bool {
        self.halt_on_first_error && !self.items.is_empty()
    }

    /// Begins anew, for a rule whose failures may not count in the end.
    pub(super) fn set_apart(&mut self) -> Apart {
        let (items_room, value_room) = (self.items_room, self.value_room);
        Apart { items: mem::take(&mut self.items), items_room, value_room }
    }

    /// Gives the next alternative as much room for items as the first one had, and keeps no more failures
    /// of those before than can count.
    pub(super) fn refill(&mut self, apart: &Apart, failures: &mut Vec<Item>) {
        failures.truncate(apart.items_room);
        self.items_room = apart.items_room;
    }

    /// Goes on with what was set apart, and with those failures that do count.
    pub(super) fn resume(&mut self, apart: Apart, mut failures: Vec<Item>) {
        failures.truncate(apart.items_room);
        if failures.is_empty() {
            self.value_room = apart.value_room;
        }
        self.items_room = apart.items_room - failures.len();
        self.items = apart.items;
        self.items.append(&mut failures);
    }

    /// Takes room for a value that is added to the params. False when there is none; the run is over then.
    pub(super) fn grow(&mut self, len: usize) -> bool {
        let room = self.growth_room.checked_sub(len);
        self.growth_room = room.unwrap_or(0);
        self.overgrown |= room.is_none();
        room.is_some()
    }

    /// Adds an item.
    pub(super) fn fail(
        &mut self,
        words: &Words,
        place: &Place<'_>,
        kind: &'static str,
        expected: Option<Value>,
        actual: Option<&Value>,
    ) {
        let Some(room) = self.items_room.checked_sub(1) else { return };
        self.items_room = room;
        let actual = actual.filter(|actual| self.has_room_for(actual)).cloned();
        let expected = expected.filter(|expected| self.has_room_for(expected));
        let field = place.path.text();
        let label = place.label.filter(|label| !label.is_empty());
        let named = label.or(field.as_deref()).unwrap_or_default();
        let message =
            messages::fill(&words.template(kind), named, expected.as_ref(), actual.as_ref());
        let label = label.map(str::to_owned);
        self.items.push(Item { kind: kind.into(), message, field, expected, actual, label });
    }

    /// Whether there is room to repeat a value; takes it.
    fn has_room_for(&mut self, value: &Value) -> bool {
        let len = weight(value, self.value_room);
        let room = self.value_room.checked_sub(len);
        self.value_room = room.unwrap_or(self.value_room);
        room.is_some()
    }
}

/// About how many bytes a value takes; counting ends a little above `limit`.
pub(super) fn weight(value: &Value, limit: usize) -> usize {
    /// What every value takes, whatever it is.
    const BASE: usize = 8;
    let mut sum = BASE;
    match value {
        Value::String(text) => sum += text.len(),
        Value::Array(items) => {
            for item in items {
                sum += weight(item, limit.saturating_sub(sum));
                if sum > limit {
                    break;
                }
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                sum += key.len() + weight(item, limit.saturating_sub(sum));
                if sum > limit {
                    break;
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    sum
}
