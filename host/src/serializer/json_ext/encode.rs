//! Packet → JSON text in which bytes and big integers are strings with a prefix, and strings that would be
//! taken for such have one, too.

use bytes::Bytes;

use super::prefix;
use crate::packet::Packet;
use crate::serializer::base64;
use crate::serializer::text::JsonText;
use crate::serializer::walk::Sink;
use crate::serializer::write;

pub(super) fn packet(packet: &Packet) -> Bytes {
    let mut out = Extended(JsonText::with_capacity(write::capacity(&packet.body)));
    write::packet(packet, &mut out);
    out.0.finish()
}

struct Extended(JsonText);

impl Sink for Extended {
    fn begin_object(&mut self) {
        self.0.begin(b'{');
    }

    fn end_object(&mut self) {
        self.0.end(b'}');
    }

    fn begin_list(&mut self) {
        self.0.begin(b'[');
    }

    fn end_list(&mut self) {
        self.0.end(b']');
    }

    fn key(&mut self, key: &str) {
        self.0.key(key);
    }

    fn text(&mut self, text: &str) {
        if text.starts_with("[[") {
            self.0.text(&[prefix::ESCAPED, text].concat());
        } else {
            self.0.text(text);
        }
    }

    fn number(&mut self, number: f64) {
        self.0.number(number);
    }

    fn big(&mut self, digits: &str) {
        self.0.text(&[prefix::BIG_INT, digits].concat());
    }

    fn bool(&mut self, value: bool) {
        self.0.raw(if value { "true" } else { "false" });
    }

    fn null(&mut self) {
        self.0.raw("null");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.text(&[prefix::BUFFER, &base64::encode(bytes)].concat());
    }
}
