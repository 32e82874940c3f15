//! JSON with words for what JSON has none: strings that begin with `[[XX]]`. Moleculer's serializer `JSONExt`,
//! since 0.15.
//!
//! moleculer: src/serializers/json-extended.js

use bytes::Bytes;

use crate::packet::{Packet, PacketType};
use crate::serializer::{Error, Serializer};

mod decode;
mod encode;

/// The format `JSONExt`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonExt;

impl Serializer for JsonExt {
    fn encode(&self, packet: &Packet) -> Bytes {
        encode::packet(packet)
    }

    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
        decode::packet(kind, data)
    }
}

/// Prefixes of strings, all of the same length.
mod prefix {
    pub(super) const LEN: usize = 6;
    pub(super) const BIG_INT: &str = "[[BI]]";
    pub(super) const MAP: &str = "[[MP]]";
    pub(super) const SET: &str = "[[ST]]";
    pub(super) const DATE: &str = "[[DT]]";
    pub(super) const BUFFER: &str = "[[BF]]";
    pub(super) const REGEX: &str = "[[RE]]";
    pub(super) const ESCAPED: &str = "[[ES]]";
}
