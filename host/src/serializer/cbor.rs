//! CBOR, as Moleculer's serializer `CBOR` writes it: the library cbor-x with `useRecords` and
//! `useTag259ForMaps` off.
//!
//! moleculer: src/serializers/cbor.js

use bytes::Bytes;

use crate::packet::{Packet, PacketType};
use crate::serializer::{Error, Serializer, tokens};

mod decode;
mod encode;

/// The format `CBOR`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cbor;

impl Serializer for Cbor {
    fn encode(&self, packet: &Packet) -> Bytes {
        encode::packet(packet)
    }

    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
        tokens::packet(kind, data, &mut decode::Bytes::new(data))
    }
}
