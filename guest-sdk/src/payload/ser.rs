//! From a serde value to a payload: JSON, except for the few top-level types that are something else.
//!
//! Everything below the top level, and every type that this file does not name, goes to `serde_json`.

use serde::Serialize;
use serde::ser::{Impossible, Serializer};
use serde_json::Error;

use super::{BYTES, PAYLOAD, Payload};

/// Serialises the whole value.
pub(super) fn to_payload<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Error> {
    // serde describes `()` and `Value::Null` alike; only the former has no size.
    let nothing = if size_of_val(value) == 0 { Payload::Absent } else { Payload::null() };
    let mut text = Vec::with_capacity(128);
    let mut json = serde_json::Serializer::new(&mut text);
    match value.serialize(Top { json: &mut json, nothing })? {
        Some(payload) => Ok(payload),
        None => String::from_utf8(text).map(Payload::Json).map_err(serde::ser::Error::custom),
    }
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>>;

/// Looks at the top level. Answers with the payload, or with `None` when the JSON text was written.
struct Top<'a, 'b> {
    json: &'a mut Json<'b>,
    nothing: Payload,
}

/// Methods that hand their scalar to `serde_json`.
macro_rules! scalars {
    ($($method:ident: $ty:ty),*) => {
        $(fn $method(self, value: $ty) -> Result<Self::Ok, Error> {
            self.json.$method(value).map(|()| None)
        })*
    };
}

/// A compound that `serde_json` writes; only the type of its end differs.
struct Compound<C>(C);

/// Implements a compound trait by delegation.
macro_rules! compound {
    ($trait:ident, $method:ident($($key:ident: $key_ty:ty)?)) => {
        impl<C: serde::ser::$trait<Ok = (), Error = Error>> serde::ser::$trait for Compound<C> {
            type Ok = Option<Payload>;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(
                &mut self, $($key: $key_ty,)? value: &T,
            ) -> Result<(), Error> {
                self.0.$method($($key,)? value)
            }

            fn end(self) -> Result<Self::Ok, Error> {
                self.0.end().map(|()| None)
            }
        }
    };
}

compound!(SerializeSeq, serialize_element());
compound!(SerializeTuple, serialize_element());
compound!(SerializeTupleStruct, serialize_field());
compound!(SerializeTupleVariant, serialize_field());
compound!(SerializeStruct, serialize_field(key: &'static str));
compound!(SerializeStructVariant, serialize_field(key: &'static str));

impl<C: serde::ser::SerializeMap<Ok = (), Error = Error>> serde::ser::SerializeMap for Compound<C> {
    type Ok = Option<Payload>;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0.serialize_value(value)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        self.0.end().map(|()| None)
    }
}

impl<'a, 'b> Serializer for Top<'a, 'b> {
    type Ok = Option<Payload>;
    type Error = Error;
    type SerializeSeq = Compound<<&'a mut Json<'b> as Serializer>::SerializeSeq>;
    type SerializeTuple = Compound<<&'a mut Json<'b> as Serializer>::SerializeTuple>;
    type SerializeTupleStruct = Compound<<&'a mut Json<'b> as Serializer>::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<<&'a mut Json<'b> as Serializer>::SerializeTupleVariant>;
    type SerializeMap = Compound<<&'a mut Json<'b> as Serializer>::SerializeMap>;
    type SerializeStruct = Compound<<&'a mut Json<'b> as Serializer>::SerializeStruct>;
    type SerializeStructVariant =
        Compound<<&'a mut Json<'b> as Serializer>::SerializeStructVariant>;

    scalars!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str,
        serialize_unit_struct: &'static str);

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Self::Ok, Error> {
        Ok(Some(Payload::Bytes(bytes.to_vec())))
    }

    fn serialize_unit(self) -> Result<Self::Ok, Error> {
        Ok(Some(self.nothing))
    }

    fn serialize_none(self) -> Result<Self::Ok, Error> {
        Ok(Some(Payload::null()))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Error> {
        value.serialize(Self { nothing: Payload::null(), ..self })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        match name {
            BYTES | PAYLOAD => value.serialize(Raw).map(Some),
            _ => value.serialize(self),
        }
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, Error> {
        self.json.serialize_unit_variant(name, index, variant).map(|()| None)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        self.json.serialize_newtype_variant(name, index, variant, value).map(|()| None)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        self.json.serialize_seq(len).map(Compound)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Error> {
        self.json.serialize_tuple(len).map(Compound)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        self.json.serialize_tuple_struct(name, len).map(Compound)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        self.json.serialize_tuple_variant(name, index, variant, len).map(Compound)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, Error> {
        self.json.serialize_map(len).map(Compound)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, Error> {
        self.json.serialize_struct(name, len).map(Compound)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        self.json.serialize_struct_variant(name, index, variant, len).map(Compound)
    }
}

/// Takes the inside of [`super::Bytes`] and [`Payload`] as it is; they send it nothing else than a text,
/// bytes or nothing.
struct Raw;

/// Methods of [`Raw`] that are never reached.
macro_rules! never {
    ($($method:ident($($ty:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $ty),*) -> Result<$ok, Error> {
            Err(serde::ser::Error::custom("not a raw payload"))
        })*
    };
}

impl Serializer for Raw {
    type Ok = Payload;
    type Error = Error;
    type SerializeSeq = Impossible<Payload, Error>;
    type SerializeTuple = Impossible<Payload, Error>;
    type SerializeTupleStruct = Impossible<Payload, Error>;
    type SerializeTupleVariant = Impossible<Payload, Error>;
    type SerializeMap = Impossible<Payload, Error>;
    type SerializeStruct = Impossible<Payload, Error>;
    type SerializeStructVariant = Impossible<Payload, Error>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_str(self, text: &str) -> Result<Payload, Error> {
        Ok(Payload::Json(text.into()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Payload, Error> {
        Ok(Payload::Bytes(bytes.into()))
    }

    fn serialize_unit(self) -> Result<Payload, Error> {
        Ok(Payload::Absent)
    }

    never! {
        serialize_bool(bool) -> Payload;
        serialize_i8(i8) -> Payload;
        serialize_i16(i16) -> Payload;
        serialize_i32(i32) -> Payload;
        serialize_i64(i64) -> Payload;
        serialize_u8(u8) -> Payload;
        serialize_u16(u16) -> Payload;
        serialize_u32(u32) -> Payload;
        serialize_u64(u64) -> Payload;
        serialize_f32(f32) -> Payload;
        serialize_f64(f64) -> Payload;
        serialize_char(char) -> Payload;
        serialize_none() -> Payload;
        serialize_unit_struct(&'static str) -> Payload;
        serialize_unit_variant(&'static str, u32, &'static str) -> Payload;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Payload, Error> {
        self.serialize_none()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<Payload, Error> {
        self.serialize_none()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Payload, Error> {
        self.serialize_none()
    }
}
