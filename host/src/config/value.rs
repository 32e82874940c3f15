//! Configuration values that know where they were written, whatever they were written in.
//!
//! A file, the environment and the flags each become one tree of [`Located`] values; the trees are put
//! over each other and read once. What the options are is not known here.

use serde_json::{Map, Value as Json};

use crate::config::mask;
use crate::config::problem::Place;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub place: Place,
}

/// A value of a configuration.
#[derive(Clone, Debug)]
pub enum Value {
    /// JSON's `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text that was written as text.
    Text(String),
    /// Text of a variable or flag, which has no types: it may stand for any of the above.
    Word(String),
    /// A list.
    List(Vec<Located>),
    /// Keys in their order, each with the place of the key.
    Table(Vec<(String, Located)>),
}

impl Located {
    /// What a variable or flag says. Text that begins as JSON lists and objects do is read as such, so that
    /// one variable can hold a whole section.
    #[must_use]
    pub fn word(text: String, place: Place) -> Self {
        if text.trim_start().starts_with(['{', '['])
            && let Ok(json) = serde_json::from_str(&text)
        {
            return Self::from_json(json, &place);
        }
        Self { value: Value::Word(text), place }
    }

    /// JSON that has one place as a whole.
    #[must_use]
    pub fn from_json(json: Json, place: &Place) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text),
            Json::Array(items) => {
                Value::List(items.into_iter().map(|item| Self::from_json(item, place)).collect())
            }
            Json::Object(map) => Value::Table(
                map.into_iter().map(|(key, value)| (key, Self::from_json(value, place))).collect(),
            ),
        };
        Self { value, place: place.clone() }
    }

    /// An empty table.
    #[must_use]
    pub fn table(place: Place) -> Self {
        Self { value: Value::Table(Vec::new()), place }
    }

    /// Puts `over` over this tree: tables are merged key by key, everything else is replaced.
    pub fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(base), Value::Table(entries)) => {
                for (key, value) in entries {
                    match base.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, present)) => present.merge(value),
                        None => base.push((key, value)),
                    }
                }
            }
            (base, value) => {
                *base = value;
                self.place = over.place;
            }
        }
    }

    /// The tree that holds only this value, below the keys of `path`.
    #[must_use]
    pub fn below(self, path: &[String]) -> Self {
        path.iter().rev().fold(self, |inner, key| {
            let place = inner.place.clone();
            Self { value: Value::Table(vec![(key.clone(), inner)]), place }
        })
    }

    /// The value at a dotted path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |tree, key| match &tree.value {
            Value::Table(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        })
    }

    /// Takes the value at a dotted path out of the tree.
    pub fn take(&mut self, path: &str) -> Option<Self> {
        let (section, key) =
            path.rsplit_once('.').map_or(("", path), |(section, key)| (section, key));
        let table = if section.is_empty() { Some(self) } else { self.find_mut(section) };
        match &mut table?.value {
            Value::Table(entries) => {
                let index = entries.iter().position(|(name, _)| name == key)?;
                Some(entries.remove(index).1)
            }
            _ => None,
        }
    }

    /// Puts a value at a dotted path, unless there is one.
    pub fn put_absent(&mut self, path: &str, value: Self) {
        if self.find(path).is_none() {
            self.merge(value.below(&path.split('.').map(str::to_owned).collect::<Vec<_>>()));
        }
    }

    fn find_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('.').try_fold(self, |tree, key| match &mut tree.value {
            Value::Table(entries) => {
                entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        })
    }

    /// As a truth value. Words are read in any case.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Word(word) if word.eq_ignore_ascii_case("true") => Some(true),
            Value::Word(word) if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// As a number.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match &self.value {
            // Exact up to 2^53, as every number of JavaScript is.
            #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
            Value::Integer(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Word(word) => word.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a whole number that is not negative.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        match &self.value {
            Value::Integer(value) => u64::try_from(*value).ok(),
            Value::Word(word) => word.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a whole number.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(value) => Some(*value),
            Value::Word(word) => word.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a list. A variable or flag has commas between its items; any other single value is a list of one.
    #[must_use]
    pub fn as_list(&self) -> Option<Vec<Self>> {
        match &self.value {
            Value::List(items) => Some(items.clone()),
            Value::Null | Value::Table(_) => None,
            Value::Word(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Some(parts.map(|part| Self::word(part.to_owned(), self.place.clone())).collect())
            }
            _ => Some(vec![self.clone()]),
        }
    }

    /// As text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Word(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it says that something is off: `null`, `false`, empty text, or `{enabled: false}`.
    #[must_use]
    pub fn is_off(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) | Value::Word(text) if text.is_empty() || text == "null" => true,
            Value::Table(_) => self.find("enabled").and_then(Self::as_bool) == Some(false),
            _ => self.as_bool() == Some(false),
        }
    }

    /// As JSON, for free tables such as `metadata`. A word becomes what it looks like.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(text) => Json::String(text.clone()),
            Value::Word(word) => word_to_json(self, word),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// What was found, for a message: `"10x"`, `true`, `a list`.
    #[must_use]
    pub fn found(&self) -> String {
        match &self.value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) | Value::Word(text) => quoted(text),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

fn word_to_json(located: &Located, word: &str) -> Json {
    if let Some(value) = located.as_bool() {
        return Json::Bool(value);
    }
    // JSON text covers numbers, null, lists and objects; anything else is text.
    match serde_json::from_str(word) {
        Ok(value) => value,
        Err(_) => Json::String(word.to_owned()),
    }
}

/// Text in quotes, cut when it is long and without the login of an address.
fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    // It is wrong, so it may be an address of which anything was forgotten.
    let text = match text.rsplit_once('@') {
        Some((_, host)) if !text.contains("://") => format!("{}@{host}", mask::MASK),
        _ => mask::text(text),
    };
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
