//! What travels in calls and events: params, results and data as one flat value, and the meta beside it.
//!
//! The host carries JSON as text and parses it only where something must look inside. A [`Payload::Json`]
//! or [`Object`] is always well-formed: whoever makes one from outside text checks it once, so that text
//! can be spliced into a packet later without another look.

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub mod plain;
pub mod stream;

pub use stream::Stream;

/// Deepest nesting of a JSON text. Parsers in guests and other nodes give up at about 128 levels, and a
/// payload may be wrapped into a few more on its way.
pub const DEPTH_MAX: usize = 100;

/// Why a text was refused as a payload.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("not well-formed JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// JSON that is nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// JSON, but not an object where only an object can stand.
    #[error("not a JSON object")]
    NotAnObject,
}

/// The params of a call, its result, or the data of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: JavaScript's `undefined`; the key is left out on the wire.
    #[default]
    Absent,
    /// One well-formed JSON text.
    Json(ByteString),
    /// Raw bytes: a `Buffer` at the top level.
    Bytes(Bytes),
    /// A stream in the place of a value: the result of an action that answers with one.
    Stream(Stream),
}

impl Payload {
    /// The payload `null`.
    #[must_use]
    pub fn null() -> Self {
        Self::Json(ByteString::from_static("null"))
    }

    /// The payload `{}`: what omitted params of a call become (moleculer: src/service-broker.js call).
    #[must_use]
    pub fn empty_object() -> Self {
        Self::Json(ByteString::from_static("{}"))
    }

    /// Takes a text that came from outside.
    ///
    /// # Errors
    /// [`Error::Json`] when it is not one well-formed JSON text, [`Error::TooDeep`] when it is nested too
    /// deeply.
    pub fn from_json_text(text: ByteString) -> Result<Self, Error> {
        check_json(&text)?;
        Ok(Self::Json(text))
    }

    /// Takes a text that a JSON parser has already checked.
    #[must_use]
    pub fn from_raw(raw: &RawValue) -> Self {
        Self::Json(ByteString::from(raw.get()))
    }

    /// Serialises a value of the host's own.
    ///
    /// # Errors
    /// [`Error::Json`] when the value has no JSON form (a map with keys that are not text).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        serde_json::to_string(value).map(|text| Self::Json(text.into())).map_err(Error::Json)
    }

    /// Parses it. `Absent` reads as `null`, bytes as the JSON form of a Node.js `Buffer`.
    ///
    /// # Errors
    /// [`Error::Json`] when it does not have the form of `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.to_json_text()).map_err(Error::Json)
    }

    /// Its JSON text: `Absent` as `null`, bytes as `{"type":"Buffer","data":[…]}`, like `JSON.stringify`.
    #[must_use]
    pub fn to_json_text(&self) -> ByteString {
        match self {
            Self::Absent => ByteString::from_static("null"),
            Self::Json(text) => text.clone(),
            Self::Bytes(bytes) => buffer_json(bytes),
            // What JSON.stringify makes of a stream is no use to anybody.
            Self::Stream(_) => ByteString::from_static("null"),
        }
    }

    /// Its size in bytes as it is held in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Absent | Self::Stream(_) => 0,
            Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// True when it holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks that a text is one well-formed JSON text and not nested too deeply.
///
/// # Errors
/// [`Error::Json`] or [`Error::TooDeep`].
pub fn check_json(text: &str) -> Result<(), Error> {
    check_json_form(text)?;
    check_depth(text)
}

/// Checks that a text is one well-formed JSON text, however deeply it is nested.
///
/// # Errors
/// [`Error::Json`].
pub fn check_json_form(text: &str) -> Result<(), Error> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(Error::Json)
}

/// Checks that a well-formed JSON text is not nested too deeply.
///
/// # Errors
/// [`Error::TooDeep`].
pub fn check_depth(text: &str) -> Result<(), Error> {
    // A text must be twice as long as it is deep.
    if text.len() > 2 * DEPTH_MAX && depth(text) > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    Ok(())
}

/// The deepest nesting of a well-formed JSON text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// The JSON form that Node.js gives a `Buffer`.
fn buffer_json(bytes: &Bytes) -> ByteString {
    let mut text = Vec::new();
    write_buffer_json(bytes, &mut text);
    // Digits and brackets are always text.
    ByteString::try_from(text).unwrap_or_default()
}

/// Appends the JSON form that Node.js gives a `Buffer`. Streams send most of their bytes this way, so that
/// it takes three digits at a time from a table.
pub fn write_buffer_json(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(BUFFER_JSON_START.len() + 2 + bytes.len() * 4);
    out.extend_from_slice(BUFFER_JSON_START.as_bytes());
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let (hundreds, rest) = (byte / 100, byte % 100);
        if hundreds > 0 {
            out.push(b'0' + hundreds);
        }
        if hundreds > 0 || rest >= 10 {
            out.push(b'0' + rest / 10);
        }
        out.push(b'0' + rest % 10);
    }
    out.extend_from_slice(b"]}");
}

/// How the JSON form of a `Buffer` begins.
const BUFFER_JSON_START: &str = "{\"type\":\"Buffer\",\"data\":[";

/// The bytes of a JSON text that is the form of a `Buffer` as `JSON.stringify` writes it; `None` for all
/// other texts.
#[must_use]
pub fn read_buffer_json(text: &str) -> Option<Bytes> {
    let digits = text.strip_prefix(BUFFER_JSON_START)?.strip_suffix("]}")?;
    // Two characters are the least that a byte takes.
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    if digits.is_empty() {
        return Some(Bytes::new());
    }
    let (mut value, mut n_digits) = (0_u32, 0_u32);
    for character in digits.bytes().chain([b',']) {
        match character {
            b'0'..=b'9' if n_digits < 3 => {
                value = value * 10 + u32::from(character - b'0');
                n_digits += 1;
            }
            b',' if n_digits > 0 => {
                bytes.push(u8::try_from(value).ok()?);
                (value, n_digits) = (0, 0);
            }
            _ => return None,
        }
    }
    Some(bytes.into())
}

/// One level of a JSON object: keys in their order, values as they were written.
pub type RawMap = serde_json::Map<String, serde_json::Value>;

/// A well-formed JSON object as text: meta, headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object(ByteString);

impl Default for Object {
    fn default() -> Self {
        Self(ByteString::from_static("{}"))
    }
}

/// An object read one level deep; values stay as text.
type Shallow<'a> = indexmap::IndexMap<std::borrow::Cow<'a, str>, &'a RawValue>;

impl Object {
    /// Takes a text that came from outside.
    ///
    /// # Errors
    /// As [`Payload::from_json_text`], and [`Error::NotAnObject`] when it is something else.
    pub fn from_json_text(text: ByteString) -> Result<Self, Error> {
        check_json(&text)?;
        Self::from_checked(text)
    }

    /// Takes a text that a JSON parser has already checked.
    ///
    /// # Errors
    /// [`Error::NotAnObject`] when it is not an object.
    pub fn from_checked(text: ByteString) -> Result<Self, Error> {
        let trimmed = text.trim_ascii();
        if !trimmed.starts_with('{') {
            return Err(Error::NotAnObject);
        }
        if trimmed.len() == text.len() { Ok(Self(text)) } else { Ok(Self(trimmed.into())) }
    }

    /// Serialises a value of the host's own.
    ///
    /// # Errors
    /// As [`Object::from_json_text`].
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let text = serde_json::to_string(value).map_err(Error::Json)?;
        Self::from_checked(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a value that is cheap to clone.
    #[must_use]
    pub fn text(&self) -> &ByteString {
        &self.0
    }

    /// Size of the text in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when it has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 2
            || self.0.get(1..self.0.len() - 1).is_some_and(|inner| inner.trim_ascii().is_empty())
    }

    /// The object with the top-level keys of `other` put over its own, as `Object.assign`. The values of
    /// both are copied as text, not parsed.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if other.is_empty() || self == other {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let (Ok(mut keys), Ok(over)) = (
            serde_json::from_str::<Shallow<'_>>(&self.0),
            serde_json::from_str::<Shallow<'_>>(&other.0),
        ) else {
            return other.clone();
        };
        keys.extend(over);
        serde_json::to_string(&keys).map_or_else(|_| other.clone(), |text| Self(text.into()))
    }

    /// Takes a top-level key away and gives the raw text of its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let mut keys: Shallow<'_> = serde_json::from_str(&self.0).ok()?;
        let raw = keys.shift_remove(key)?.get().to_owned();
        let text = serde_json::to_string(&keys).ok()?;
        self.0 = text.into();
        Some(raw)
    }

    /// The raw text of one top-level value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let keys: Shallow<'_> = serde_json::from_str(&self.0).ok()?;
        keys.get(key).map(|raw| raw.get())
    }

    /// Parses the whole object.
    #[must_use]
    pub fn to_map(&self) -> RawMap {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_raw(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <Box<RawValue>>::deserialize(deserializer)?;
        Self::from_checked(ByteString::from(String::from(<Box<str>>::from(raw))))
            .map_err(serde::de::Error::custom)
    }
}

/// A checked text in the form that serde_json splices verbatim. Text that fails (which the invariant of
/// this module excludes) becomes `null`.
fn as_raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &'static str) -> Object {
        Object::from_json_text(ByteString::from_static(text)).unwrap()
    }

    #[test]
    fn merging_replaces_top_level_keys_and_keeps_the_others() {
        let check = |base: &'static str, over: &'static str, expected: &str| {
            assert_eq!(object(base).merged(&object(over)).as_str(), expected);
        };
        check("{}", "{}", "{}");
        check(r#"{"a":1}"#, "{ }", r#"{"a":1}"#);
        check("{}", r#"{"a":1}"#, r#"{"a":1}"#);
        check(r#"{"a":1,"b":{"x":1}}"#, r#"{"b":{"y":2}}"#, r#"{"a":1,"b":{"y":2}}"#);
        check(r#"{"k\u0041":1}"#, r#"{"kA":2}"#, r#"{"kA":2}"#);
    }

    #[test]
    fn a_key_is_taken_away_and_the_others_stay_as_they_were_written() {
        let mut object = object(r#"{"a": 1.0,"b":"x","c":[ ]}"#);
        assert_eq!(object.remove("b").as_deref(), Some("\"x\""));
        assert_eq!(object.as_str(), r#"{"a":1.0,"c":[ ]}"#);
        assert_eq!(object.remove("b"), None);
    }

    #[test]
    fn text_that_is_not_json_is_refused() {
        for bad in ["", "{", "{}{}", "nul", "{\"a\":1}\n,\"sender\":\"x\"", "'a'", "NaN"] {
            assert!(Payload::from_json_text(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| {
            let text = "[".repeat(n) + "\"[\\\"[\"" + &"]".repeat(n);
            Payload::from_json_text(text.into())
        };
        assert!(nested(DEPTH_MAX).is_ok());
        assert!(matches!(nested(DEPTH_MAX + 1), Err(Error::TooDeep)));
    }

    #[test]
    fn meta_must_be_an_object() {
        assert!(matches!(Object::from_json_text("[1]".into()), Err(Error::NotAnObject)));
        assert_eq!(Object::from_json_text(" {\"a\":1} ".into()).unwrap().as_str(), "{\"a\":1}");
    }

    #[test]
    fn bytes_have_the_json_form_of_a_node_buffer() {
        let payload = Payload::Bytes(Bytes::from_static(&[0, 255]));
        assert_eq!(&*payload.to_json_text(), r#"{"type":"Buffer","data":[0,255]}"#);
        for bytes in [vec![], vec![7], (0..=255).collect()] {
            let text = Payload::Bytes(bytes.clone().into()).to_json_text();
            assert_eq!(&*text, serde_json::json!({"type": "Buffer", "data": bytes}).to_string());
            assert_eq!(read_buffer_json(&text).as_deref(), Some(&*bytes));
        }
        for other in ["256", "1,", ",1", "-1", "1.5", "1 ", "0001"] {
            let text = format!("{{\"type\":\"Buffer\",\"data\":[{other}]}}");
            assert_eq!(read_buffer_json(&text), None, "{text}");
        }
    }
}
