//! Packet → JSON text. What it consists of is told by `write`; values that are JSON already are spliced in.

use bytes::Bytes;
use serde::Serialize;

use crate::packet::Packet;
use crate::payload;
use crate::serializer::write::{self, Writer};

/// Largest integer that a JavaScript number holds exactly.
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The text of a packet.
pub(super) fn packet(packet: &Packet) -> Bytes {
    let mut out = Text(Vec::with_capacity(write::capacity(&packet.body)));
    write::packet(packet, &mut out);
    out.0.into()
}

/// Grows one JSON object.
struct Text(Vec<u8>);

impl Text {
    fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Writing to memory cannot fail, and none of the values has keys that are not text.
        let _ = serde_json::to_writer(&mut self.0, value);
    }
}

impl Writer for Text {
    fn begin(&mut self) {}

    fn end(&mut self) {
        self.0.push(b'}');
    }

    fn key(&mut self, key: &'static str) -> &mut Self {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
        self
    }

    fn any_key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.serialize(key);
        self.0.push(b':');
    }

    fn undefined(&mut self, _key: &'static str) {}

    fn text(&mut self, text: &str) {
        self.serialize(text);
    }

    /// As JavaScript prints it: without a fraction when it is whole.
    fn number(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() <= SAFE_INTEGER {
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            let whole = number as i64;
            self.serialize(&whole);
        } else {
            self.serialize(&number);
        }
    }

    fn count(&mut self, count: u32) {
        self.serialize(&count);
    }

    fn bool(&mut self, value: bool) {
        self.json(if value { "true" } else { "false" });
    }

    fn null(&mut self) {
        self.json("null");
    }

    fn json(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &Bytes) {
        payload::write_buffer_json(bytes, &mut self.0);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.serialize(value);
    }
}
