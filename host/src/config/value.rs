//! Configuration values that know where they were written, whatever they were written in.
//!
//! A file, the environment and the flags each become one tree of [`Located`] values; the trees are put
//! over each other and read once. What the options are is not known here.

use serde_json::{Map, Value as Json};

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
    let text = without_login(text);
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// An address without its login, for messages and logs.
#[must_use]
pub fn without_login(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => text.to_owned(),
    }
}
