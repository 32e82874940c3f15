//! MessagePack, as Moleculer's serializers `MsgPack` (the library msgpack5) and `Notepack` (notepack.io) write
//! it. They differ in a few numbers only; both read what the other writes.
//!
//! moleculer: src/serializers/msgpack.js, src/serializers/notepack.js

use bytes::Bytes;

use crate::packet::{Packet, PacketType};
use crate::serializer::{Error, Serializer, tokens};

mod decode;
mod encode;

/// The format `MsgPack`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgPack;

/// The format `Notepack`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notepack;

/// Whose habits are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Msgpack5,
    NotepackIo,
}

impl Serializer for MsgPack {
    fn encode(&self, packet: &Packet) -> Bytes {
        encode::packet(packet, Library::Msgpack5)
    }

    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
        tokens::packet(kind, data, &mut decode::Bytes::new(data))
    }
}

impl Serializer for Notepack {
    fn encode(&self, packet: &Packet) -> Bytes {
        encode::packet(packet, Library::NotepackIo)
    }

    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
        tokens::packet(kind, data, &mut decode::Bytes::new(data))
    }
}
