//! The path of one value of a cache key: `id`, `user.id`, `list[0].name`, `#tenant` in the meta, `@etag` in
//! the headers. Found as lodash's `get` finds it, which is what Moleculer JS asks.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Params,
    Meta,
    Headers,
}

/// A path, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    source: Source,
    /// As written: an object may have a property of just this name.
    whole: String,
    parts: Vec<String>,
}

impl Path {
    /// Reads an item of `cache.keys`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (source, whole) = match (text.strip_prefix('#'), text.strip_prefix('@')) {
            (Some(rest), _) => (Source::Meta, rest),
            (_, Some(rest)) => (Source::Headers, rest),
            _ => (Source::Params, text),
        };
        Self { source, whole: whole.to_owned(), parts: split(whole) }
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// The value at the path; `None` is `undefined`.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Option<Cow<'a, Value>> {
        if let Value::Object(map) = root {
            return self.find_in(map);
        }
        walk(Cow::Borrowed(root), &self.parts)
    }

    fn find_in<'a>(&self, map: &'a Map<String, Value>) -> Option<Cow<'a, Value>> {
        if let Some(value) = map.get(&self.whole) {
            return Some(Cow::Borrowed(value));
        }
        let (first, rest) = self.parts.split_first()?;
        walk(Cow::Borrowed(map.get(first)?), rest)
    }
}

fn walk<'a>(value: Cow<'a, Value>, parts: &[String]) -> Option<Cow<'a, Value>> {
    parts.iter().try_fold(value, |value, part| property(value, part))
}

/// A property of a value. Beside those of objects, JavaScript's arrays and texts have a length and indexes.
fn property<'a>(value: Cow<'a, Value>, name: &str) -> Option<Cow<'a, Value>> {
    let index = || super::array_index(name).and_then(|index| usize::try_from(index).ok());
    match value {
        Cow::Borrowed(Value::Object(map)) => map.get(name).map(Cow::Borrowed),
        Cow::Borrowed(Value::Array(items)) if name != "length" => {
            items.get(index()?).map(Cow::Borrowed)
        }
        Cow::Borrowed(Value::Array(items)) => Some(Cow::Owned(items.len().into())),
        Cow::Borrowed(Value::String(text)) => of_text(text, name, index()),
        Cow::Owned(Value::String(text)) => of_text(&text, name, index()),
        _ => None,
    }
}

fn of_text<'a>(text: &str, name: &str, index: Option<usize>) -> Option<Cow<'a, Value>> {
    if name == "length" {
        return Some(Cow::Owned(text.encode_utf16().count().into()));
    }
    let unit = text.encode_utf16().nth(index?)?;
    Some(Cow::Owned(String::from_utf16_lossy(&[unit]).into()))
}

/// Splits a path at dots and brackets. One without either is a single part.
// lodash: stringToPath
fn split(path: &str) -> Vec<String> {
    if !(path.contains('.') || path.contains('[') && path.contains(']')) {
        return vec![path.to_owned()];
    }
    let mut parts = Vec::new();
    let mut rest = path;
    // A leading dot, and each pair of dots, has an empty name before it.
    if rest.starts_with('.') {
        parts.push(String::new());
    }
    while let Some(first) = rest.chars().next() {
        match first {
            '.' => {
                rest = rest.get(1..).unwrap_or_default();
                if ends_a_name(rest) {
                    parts.push(String::new());
                }
            }
            '[' if rest.strip_prefix("[]").is_some_and(ends_a_name) => {
                parts.push(String::new());
                rest = rest.get(2..).unwrap_or_default();
            }
            '[' => rest = bracket(rest.get(1..).unwrap_or_default(), &mut parts),
            ']' => rest = rest.get(1..).unwrap_or_default(),
            _ => {
                let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                parts.push(name.to_owned());
                rest = after;
            }
        }
    }
    parts
}

/// Whether the path ends here, or goes on with a separator.
fn ends_a_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.') || rest.starts_with("[]")
}

/// Takes the part between brackets, `0]` or `"a.b"]`, and gives what follows it.
fn bracket<'a>(inside: &'a str, parts: &mut Vec<String>) -> &'a str {
    let quote = inside.chars().next().filter(|first| ['"', '\''].contains(first));
    if let Some(quote) = quote
        && let Some(text) = inside.get(1..)
        && let Some((name, after)) = text.split_once(&format!("{quote}]"))
    {
        parts.push(name.replace('\\', ""));
        return after;
    }
    inside
}
