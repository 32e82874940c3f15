//! From a payload to a serde value: the reverse of `ser`.
//!
//! JSON goes to `serde_json`; what stands here is how `Absent` and bytes look to serde, and how
//! [`Bytes`](super::Bytes) and [`Payload`] take what they find.

use std::fmt;

use serde::de::{
    DeserializeOwned, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess,
};
use serde::de::{Visitor, value::MapDeserializer};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Error;
use serde_json::value::RawValue;

use super::{PAYLOAD, Payload};

/// Deserialises the whole payload.
pub(super) fn from_payload<T: DeserializeOwned>(payload: Payload) -> Result<T, Error> {
    match payload {
        Payload::Json(text) => {
            let mut json = serde_json::Deserializer::from_str(&text);
            let value = T::deserialize(&mut json)?;
            json.end()?;
            Ok(value)
        }
        Payload::Absent => T::deserialize(Absent),
        Payload::Bytes(bytes) => T::deserialize(Raw(bytes)),
    }
}

/// A value that is not there.
struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == PAYLOAD { visitor.visit_unit() } else { visitor.visit_newtype_struct(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

/// Bytes at the top level.
struct Raw(Vec<u8>);

impl<'de> Deserializer<'de> for Raw {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.0)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let bytes: serde::de::value::SeqDeserializer<_, Error> = self.0.into_deserializer();
        visitor.visit_seq(bytes)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == PAYLOAD {
            visitor.visit_byte_buf(self.0)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Takes bytes, a `Buffer` in its JSON form, or an array of numbers.
pub(super) struct BytesVisitor;

/// The JSON form of a Node.js `Buffer`.
#[derive(Deserialize)]
struct Buffer {
    data: Vec<u8>,
}

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Vec<u8>, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<u8>, A::Error> {
        Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<u8>, A::Error> {
        Buffer::deserialize(serde::de::value::MapAccessDeserializer::new(map))
            .map(|buffer| buffer.data)
    }
}

/// Takes anything and leaves it unread.
pub(super) struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Payload, E> {
        Ok(Payload::Absent)
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload::Bytes(bytes))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Payload, D::Error> {
        let raw = <Box<RawValue>>::deserialize(inner).map_err(D::Error::custom)?;
        Ok(Payload::Json(String::from(<Box<str>>::from(raw))))
    }
}
