//! Packets as bytes and back. Nothing on the wire tells which format is in use, so all nodes of a mesh
//! must have the same one.
//!
//! Whatever a peer sends, decoding ends with a packet or an [`Error`]; it never panics and never recurses
//! deeper than [`crate::payload::DEPTH_MAX`]. Size limits are the caller's (`transit`), because it sees the
//! bytes first.
//!
//! Guests and the rest of the host know JSON text and bytes only. `write` tells a packet part by part and
//! `walk` a JSON text; a format takes the parts and writes bytes. The other way round a format reads tokens,
//! `tokens` makes one JSON text of them, and the packet is read from that as if it had come as JSON. What is
//! lost on the way, and what is not, is said in `docs/serializers.md`.

use std::sync::Arc;

use bytes::Bytes;

use crate::config;
use crate::packet::{Packet, PacketType};

mod base64;
mod big;
pub mod cbor;
pub mod json;
pub mod json_ext;
pub mod msgpack;
mod number;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod walk;
mod write;

pub use cbor::Cbor;
pub use json::Json;
pub use json_ext::JsonExt;
pub use msgpack::{MsgPack, Notepack};

/// One format.
pub trait Serializer: Send + Sync {
    /// The bytes of a packet. Cannot fail: a packet holds only well-formed parts.
    fn encode(&self, packet: &Packet) -> Bytes;

    /// Reads a packet of the kind that its topic tells. Fields that are not known are ignored; the protocol
    /// version is read, not checked.
    ///
    /// # Errors
    /// [`Error`] when the bytes do not have the form of that kind.
    fn decode(&self, kind: PacketType, data: &Bytes) -> Result<Packet, Error>;
}

/// The format that an option names.
#[must_use]
pub fn of(option: config::Serializer) -> Arc<dyn Serializer> {
    match option {
        config::Serializer::Json => Arc::new(Json),
        config::Serializer::JsonExt => Arc::new(JsonExt),
        config::Serializer::MsgPack => Arc::new(MsgPack),
        config::Serializer::Notepack => Arc::new(Notepack),
        config::Serializer::Cbor => Arc::new(Cbor),
    }
}

/// Why bytes were refused. What could be read of the envelope is kept, so that the log can name the sender
/// and a foreign protocol version is not mistaken for damage.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Error {
    /// What is wrong.
    #[source]
    pub reason: Reason,
    /// Who sent it, when that much was readable.
    pub sender: Option<Arc<str>>,
    /// In which protocol version, when that much was readable.
    pub ver: Option<Arc<str>>,
}

/// What is wrong with a packet.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Not text in the format at all.
    #[error("not well-formed: {0}")]
    Malformed(String),
    /// One field is missing or has the wrong type.
    #[error("field '{field}' is wrong: {cause}")]
    Field {
        /// Its name; empty when it cannot be told.
        field: String,
        /// What was expected or found.
        cause: String,
    },
}
