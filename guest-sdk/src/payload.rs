//! What travels in calls and events, in the form in which it crosses the boundary.
//!
//! Handlers and calls take and return ordinary serde types; [`Payload`] and [`Bytes`] are for those who
//! want the text, raw bytes, or the difference between `undefined` and `null`. Both are serde types too,
//! so they stand wherever another type could.

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize};

use crate::Result;

mod de;
mod ser;

/// The params of an action, its result, or the data of an event, not yet read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// No value: JavaScript's `undefined`. As params of a call it arrives as `{}`.
    #[default]
    Absent,
    /// One JSON text.
    Json(String),
    /// Raw bytes: a Node.js `Buffer` at the top level.
    Bytes(Vec<u8>),
}

impl Payload {
    /// The payload `null`.
    #[must_use]
    pub fn null() -> Self {
        Self::Json("null".into())
    }

    /// Writes a value: `()` is [`Payload::Absent`], [`Bytes`] are bytes, a [`Payload`] is itself, and
    /// everything else is JSON.
    ///
    /// # Errors
    /// A `MoleculerError` when the value has no JSON form (a map with keys that are not text).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        ser::to_payload(value).map_err(Into::into)
    }

    /// Reads a value: the reverse of [`Payload::from_value`]. `Absent` reads as `()`, as `None` and as an
    /// empty struct or map.
    ///
    /// # Errors
    /// A `MoleculerError` when it has another form than `T`.
    pub fn into_value<T: DeserializeOwned>(self) -> Result<T> {
        self.parse().map_err(Into::into)
    }

    /// [`Payload::into_value`] with the parser's own error.
    pub(crate) fn parse<T: DeserializeOwned>(self) -> std::result::Result<T, serde_json::Error> {
        de::from_payload(self)
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

/// Raw bytes.
///
/// As the whole params, result or data they cross as they are and are a `Buffer` in JavaScript. Inside
/// another value they have the JSON form of a `Buffer`, `{"type":"Buffer","data":[…]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The names by which the serializer and deserializer of this module know these two types among all
/// others; every other format treats them as an ordinary newtype.
const BYTES: &str = "$isomer_sdk::Bytes";
const PAYLOAD: &str = "$isomer_sdk::Payload";

/// The inside of [`Bytes`]: bytes for formats that have them, a `Buffer` for JSON.
struct Buffer<'a>(&'a [u8]);

impl Serialize for Buffer<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(self.0);
        }
        let mut buffer = serializer.serialize_struct("Buffer", 2)?;
        buffer.serialize_field("type", "Buffer")?;
        buffer.serialize_field("data", self.0)?;
        buffer.end()
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(BYTES, &Buffer(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(BYTES, de::BytesVisitor).map(Self)
    }
}

/// The inside of [`Payload`]: text or bytes for this module's serializer, the value itself for others.
struct Inside<'a>(&'a Payload);

impl Serialize for Inside<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Payload::Absent => serializer.serialize_unit(),
            Payload::Json(text) if !serializer.is_human_readable() => {
                serializer.serialize_str(text)
            }
            Payload::Json(text) => serde_json::from_str::<&serde_json::value::RawValue>(text)
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
            Payload::Bytes(bytes) => Buffer(bytes).serialize(serializer),
        }
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(PAYLOAD, &Inside(self))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PAYLOAD, de::PayloadVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Point {
        #[serde(default)]
        x: i32,
        #[serde(default)]
        inner: Option<Bytes>,
    }

    #[test]
    fn each_kind_of_value_has_its_kind_of_payload() {
        fn check<T: Serialize>(value: T, expected: Payload) {
            assert_eq!(Payload::from_value(&value).unwrap(), expected);
        }
        let json = |text: &str| Payload::Json(text.into());
        check((), Payload::Absent);
        check(None::<i32>, Payload::null());
        check(Value::Null, Payload::null());
        check(Some(5), json("5"));
        check("text", json("\"text\""));
        check(Bytes(vec![0, 255]), Payload::Bytes(vec![0, 255]));
        check(Some(Bytes(vec![1])), Payload::Bytes(vec![1]));
        let bytes = Payload::Bytes(vec![7]);
        check(&bytes, bytes.clone());
        check(Payload::Absent, Payload::Absent);
        check(json(" [1] "), json(" [1] "));
        check(vec![Bytes(vec![1])], json(r#"[{"type":"Buffer","data":[1]}]"#));
        check(vec![json("[1]"), Payload::Absent], json("[[1],null]"));
        check(std::net::Ipv4Addr::LOCALHOST, json("\"127.0.0.1\""));
        check(json!({"a": [1, {"b": null}]}), json(r#"{"a":[1,{"b":null}]}"#));
    }

    #[test]
    fn each_payload_reads_as_the_types_that_fit_it() {
        fn check<T: DeserializeOwned + PartialEq + std::fmt::Debug>(payload: Payload, expected: T) {
            assert_eq!(payload.into_value::<T>().unwrap(), expected);
        }
        let json = |text: &str| Payload::Json(text.into());
        check(Payload::Absent, ());
        check(Payload::Absent, None::<i32>);
        check(Payload::Absent, Point::default());
        check(Payload::Absent, Value::Null);
        check(Payload::Absent, Payload::Absent);
        check(json("null"), ());
        check(json("5"), Some(5));
        check(json("[1]"), json("[1]"));
        check(json("[[1]]"), vec![json("[1]")]);
        check(Payload::Bytes(vec![1]), Payload::Bytes(vec![1]));
        check(Payload::Bytes(vec![1]), Bytes(vec![1]));
        check(Payload::Bytes(vec![1]), Some(Bytes(vec![1])));
        check(Payload::Bytes(vec![1]), vec![1_u8]);
        check(json(r#"{"type":"Buffer","data":[1,2]}"#), Bytes(vec![1, 2]));
        let text = r#"{"x":1,"inner":{"type":"Buffer","data":[3]}}"#;
        check(json(text), Point { x: 1, inner: Some(Bytes(vec![3])) });
        assert!(json("{").into_value::<Value>().is_err());
        assert!(json("5 5").into_value::<i32>().is_err());
    }
}
