//! Packet → MessagePack.
//!
//! Containers begin with a header of one byte, which is widened at their end when there are more than 15
//! items: JSON text does not say beforehand how many come.

use bytes::Bytes;

use super::Library;
use crate::packet::Packet;
use crate::serializer::walk::Sink;
use crate::serializer::write;

/// Largest integer that JavaScript counts as safe.
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// msgpack5 writes integers of 32 bits below this with 64, by a digit that is missing there.
const MSGPACK5_INT_32_ABOVE: i64 = -214_748_365;

pub(super) fn packet(packet: &Packet, library: Library) -> Bytes {
    let out = Vec::with_capacity(write::capacity(&packet.body));
    let mut packer = Packer { out, open: Vec::new(), library };
    write::packet(packet, &mut packer);
    packer.out.into()
}

/// A container that has begun.
struct Open {
    /// Where its header is.
    at: usize,
    /// Its items so far; pairs in a map.
    len: u32,
    list: bool,
}

struct Packer {
    out: Vec<u8>,
    open: Vec<Open>,
    library: Library,
}

impl Packer {
    /// Another value begins.
    fn item(&mut self) {
        if let Some(open) = self.open.last_mut()
            && open.list
        {
            open.len += 1;
        }
    }

    fn begin(&mut self, list: bool) {
        self.item();
        self.open.push(Open { at: self.out.len(), len: 0, list });
        self.out.push(0);
    }

    fn end(&mut self) {
        let Some(Open { at, len, list }) = self.open.pop() else { return };
        let (short, long) = if list { (0x90, 0xdc) } else { (0x80, 0xde) };
        let first = match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ ..16), _) => short | len,
            (_, Ok(len)) => {
                self.out.splice(at + 1..at + 1, len.to_be_bytes());
                long
            }
            _ => {
                self.out.splice(at + 1..at + 1, len.to_be_bytes());
                long + 1
            }
        };
        if let Some(header) = self.out.get_mut(at) {
            *header = first;
        }
    }

    fn put(&mut self, head: u8, rest: &[u8]) {
        self.out.push(head);
        self.out.extend_from_slice(rest);
    }

    /// Text without counting it as an item.
    fn string(&mut self, text: &str) {
        let len = text.len();
        match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
            (Ok(len @ ..32), ..) => self.out.push(0xa0 | len),
            (Ok(len), ..) => self.put(0xd9, &[len]),
            (_, Ok(len), _) => self.put(0xda, &len.to_be_bytes()),
            (.., Ok(len)) => self.put(0xdb, &len.to_be_bytes()),
            // No packet is that large; an empty text keeps the rest readable.
            _ => return self.out.push(0xa0),
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    fn unsigned(&mut self, value: u64) {
        match (u8::try_from(value), u16::try_from(value), u32::try_from(value)) {
            (Ok(value @ ..128), ..) => self.out.push(value),
            (Ok(value), ..) => self.put(0xcc, &[value]),
            (_, Ok(value), _) => self.put(0xcd, &value.to_be_bytes()),
            (.., Ok(value)) => self.put(0xce, &value.to_be_bytes()),
            _ => self.put(0xcf, &value.to_be_bytes()),
        }
    }

    fn negative(&mut self, value: i64) {
        let in_32 = match self.library {
            Library::Msgpack5 => value > MSGPACK5_INT_32_ABOVE,
            Library::NotepackIo => true,
        };
        match (i8::try_from(value), i16::try_from(value), i32::try_from(value)) {
            (Ok(value @ -32..), ..) => self.out.extend_from_slice(&value.to_be_bytes()),
            (Ok(value), ..) => self.put(0xd0, &value.to_be_bytes()),
            (_, Ok(value), _) => self.put(0xd1, &value.to_be_bytes()),
            (.., Ok(value)) if in_32 => self.put(0xd2, &value.to_be_bytes()),
            _ => self.put(0xd3, &value.to_be_bytes()),
        }
    }

    fn float(&mut self, number: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "compared with the original")]
        let single = number as f32;
        let exact = number.is_nan() || f64::from(single).to_bits() == number.to_bits();
        // Whole numbers come here when they are too large for msgpack5's integers: those have 64 bits.
        let whole = number.fract() == 0.0;
        if self.library == Library::Msgpack5 && exact && !whole {
            self.put(0xca, &single.to_be_bytes());
        } else {
            self.put(0xcb, &number.to_be_bytes());
        }
    }

    /// Doubles that are written as integers: msgpack5 those that are safe, notepack.io all that have 64 bits.
    fn is_integer(&self, number: f64) -> bool {
        number.fract() == 0.0
            && match self.library {
                Library::Msgpack5 => number.abs() <= SAFE_INTEGER,
                // Beyond, notepack.io itself writes other numbers.
                Library::NotepackIo => (-TWO_63..TWO_64).contains(&number),
            }
    }
}

impl Sink for Packer {
    fn begin_object(&mut self) {
        self.begin(false);
    }

    fn end_object(&mut self) {
        self.end();
    }

    fn begin_list(&mut self) {
        self.begin(true);
    }

    fn end_list(&mut self) {
        self.end();
    }

    fn key(&mut self, key: &str) {
        if let Some(open) = self.open.last_mut() {
            open.len += 1;
        }
        self.string(key);
    }

    fn text(&mut self, text: &str) {
        self.item();
        self.string(text);
    }

    fn number(&mut self, number: f64) {
        self.item();
        if !self.is_integer(number) {
            return self.float(number);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, and of that sign and size"
        )]
        if number >= 0.0 { self.unsigned(number as u64) } else { self.negative(number as i64) }
    }

    fn big(&mut self, digits: &str) {
        self.item();
        if let Ok(value) = digits.parse() {
            self.unsigned(value);
        } else if let Ok(value) = digits.parse() {
            self.negative(value);
        } else {
            self.float(digits.parse().unwrap_or(0.0));
        }
    }

    fn bool(&mut self, value: bool) {
        self.item();
        self.out.push(if value { 0xc3 } else { 0xc2 });
    }

    fn null(&mut self) {
        self.item();
        self.out.push(0xc0);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.item();
        let len = bytes.len();
        match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
            (Ok(len), ..) => self.put(0xc4, &[len]),
            (_, Ok(len), _) => self.put(0xc5, &len.to_be_bytes()),
            (.., Ok(len)) => self.put(0xc6, &len.to_be_bytes()),
            _ => return self.out.push(0xc0),
        }
        self.out.extend_from_slice(bytes);
    }
}
