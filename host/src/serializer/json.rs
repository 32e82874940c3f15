//! Moleculer's default format: one JSON object per packet.
//!
//! Params, data and meta pass through as text: spliced into a packet when encoding, sliced out of the
//! received buffer when decoding, in both cases without being parsed or copied more than once.

use bytes::Bytes;

use crate::packet::{Packet, PacketType};
use crate::serializer::{Error, Serializer};

mod decode;
mod encode;
#[cfg(test)]
mod tests;

/// The format `JSON`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Serializer for Json {
    fn encode(&self, packet: &Packet) -> Bytes {
        encode::packet(packet)
    }

    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
        decode::packet(kind, data)
    }
}
