//! A path into params or meta, written as for lodash's `get`: `user.id`, `items[0].id`, `["odd key"]`.
//!
//! The value is sought in the JSON text; what is not on the path is skipped without being kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A path, taken apart.
#[derive(Debug)]
pub(super) struct Path {
    /// A key that is literally called so goes before the path.
    literal: [String; 1],
    steps: Vec<String>,
}

impl Path {
    pub(super) fn new(text: &str) -> Self {
        Self { literal: [text.to_owned()], steps: steps(text) }
    }

    /// The value in a well-formed JSON text; `None` when there is none, or `null`.
    pub(super) fn find(&self, json: &str) -> Option<Value> {
        let literal = if self.steps == self.literal { None } else { seek(json, &self.literal) };
        literal.or_else(|| seek(json, &self.steps)).filter(|value| !value.is_null())
    }
}

/// The keys of a path: between dots, and in brackets with or without quotes.
fn steps(text: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let (step, after) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((inner, after)) => (inner.trim_matches(['"', '\'']), after),
            None => rest.split_at(
                rest.find(['.', '['])
                    .filter(|at| *at > 0 || rest.starts_with('.'))
                    .unwrap_or(rest.len()),
            ),
        };
        steps.push(step.to_owned());
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None if after.is_empty() => return steps,
            None => rest = after,
        }
    }
}

fn seek(json: &str, steps: &[String]) -> Option<Value> {
    // The text is well-formed, so nothing can fail but a number that is too large for its type.
    Seek(steps).deserialize(&mut serde_json::Deserializer::from_str(json)).ok().flatten()
}

/// Goes down the steps that are left.
struct Seek<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        match self.0.split_first() {
            None => serde::Deserialize::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(Step { step, rest }),
        }
    }
}

/// Takes one step; what cannot be stepped into has no value.
struct Step<'a> {
    step: &'a str,
    rest: &'a [String],
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.step {
                found = map.next_value_seed(Seek(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let wanted: Option<usize> = self.step.parse().ok();
        let mut found = None;
        let mut index = 0;
        loop {
            if Some(index) == wanted {
                let Some(value) = seq.next_element_seed(Seek(self.rest))? else { return Ok(None) };
                found = value;
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<Value>, E> {
        Ok(None)
    }
}
