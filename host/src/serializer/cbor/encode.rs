//! Packet → CBOR.
//!
//! Like cbor-x, which does not count before it writes, a map always begins with a length of 16 bits, which is
//! filled in at its end. Lists have the shortest header, which is widened at their end.

use bytes::Bytes;

use crate::packet::Packet;
use crate::serializer::big;
use crate::serializer::walk::Sink;
use crate::serializer::write;

/// Whole doubles from .0 to .1 are integers of 32 bits, all others doubles.
const INTEGERS: (f64, f64) = (-4_294_967_296.0, 4_294_967_295.0);

const MAP_16: u8 = 0xb9;
const MAP_32: u8 = 0xba;

/// Major types, in the place where they stand in a head.
const UNSIGNED: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const LIST: u8 = 4 << 5;

pub(super) fn packet(packet: &Packet) -> Bytes {
    let out = Vec::with_capacity(write::capacity(&packet.body));
    let mut packer = Packer { out, open: Vec::new() };
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

    fn begin(&mut self, list: bool, header: &[u8]) {
        self.item();
        self.open.push(Open { at: self.out.len(), len: 0, list });
        self.out.extend_from_slice(header);
    }

    fn end(&mut self) {
        let Some(Open { at, len, list }) = self.open.pop() else { return };
        if list {
            let mut header = Vec::new();
            head(&mut header, LIST, len.into());
            self.out.splice(at..=at, header);
        } else if let Ok(len) = u16::try_from(len) {
            let header = self.out.iter_mut().skip(at + 1);
            header.zip(len.to_be_bytes()).for_each(|(byte, value)| *byte = value);
        } else {
            let header = std::iter::once(MAP_32).chain(len.to_be_bytes());
            self.out.splice(at..at + 3, header);
        }
    }

    fn string(&mut self, text: &str) {
        head(&mut self.out, TEXT, text.len().try_into().unwrap_or(0));
        self.out.extend_from_slice(text.as_bytes());
    }

    fn double(&mut self, number: f64) {
        self.out.push(0xfb);
        self.out.extend_from_slice(&number.to_be_bytes());
    }
}

/// A head with its number in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    match (u8::try_from(number), u16::try_from(number), u32::try_from(number)) {
        (Ok(number @ ..24), ..) => out.push(major | number),
        (Ok(number), ..) => out.extend_from_slice(&[major | 24, number]),
        (_, Ok(number), _) => {
            out.push(major | 25);
            out.extend_from_slice(&number.to_be_bytes());
        }
        (.., Ok(number)) => {
            out.push(major | 26);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

impl Sink for Packer {
    fn begin_object(&mut self) {
        self.begin(false, &[MAP_16, 0, 0]);
    }

    fn end_object(&mut self) {
        self.end();
    }

    fn begin_list(&mut self) {
        self.begin(true, &[LIST]);
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
        if number.fract() != 0.0 || !(INTEGERS.0..=INTEGERS.1).contains(&number) {
            return self.double(number);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and of 32 bits"
        )]
        if number >= 0.0 {
            head(&mut self.out, UNSIGNED, number as u64);
        } else {
            head(&mut self.out, NEGATIVE, (-1.0 - number) as u64);
        }
    }

    /// A `BigInt`.
    fn big(&mut self, digits: &str) {
        self.item();
        let Some((negative, magnitude)) = big::magnitude(digits) else {
            return self.double(digits.parse().unwrap_or(0.0));
        };
        if magnitude.len() <= 8 {
            let number = magnitude.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            head(&mut self.out, if negative { NEGATIVE } else { UNSIGNED }, number);
        } else {
            self.out.push(if negative { 0xc3 } else { 0xc2 });
            head(&mut self.out, BYTES, magnitude.len().try_into().unwrap_or(0));
            self.out.extend_from_slice(&magnitude);
        }
    }

    fn bool(&mut self, value: bool) {
        self.item();
        self.out.push(if value { 0xf5 } else { 0xf4 });
    }

    fn null(&mut self) {
        self.item();
        self.out.push(0xf6);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.item();
        head(&mut self.out, BYTES, bytes.len().try_into().unwrap_or(0));
        self.out.extend_from_slice(bytes);
    }

    /// Other formats leave it out.
    fn undefined_member(&mut self, key: &str) {
        self.key(key);
        self.out.push(0xf7);
    }
}
