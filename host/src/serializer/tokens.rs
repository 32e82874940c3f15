//! From a binary format to JSON text: the format reads tokens, and here they become text, in one pass, with a
//! stack of its own instead of recursion.
//!
//! What JSON has no word for: `undefined` members are left out, in lists they are `null`, as are numbers that
//! are not finite; dates are ISO text, regular expressions text such as `/a/i`, nested bytes are
//! `{"type":"Buffer","data":[…]}`, and big integers have all their digits. Bytes in the place of params, result
//! or data stay bytes.
//!
//! Nothing is allocated because a length says so: text grows by what has really been read, to at most 13 times
//! its size (two bytes for an empty byte string become 26).

use bytes::Bytes;

use crate::packet::{Body, Packet, PacketType};
use crate::payload::{DEPTH_MAX, Payload};
use crate::serializer::big;
use crate::serializer::json::Json;
use crate::serializer::text::{JsonText, Mark};
use crate::serializer::{Error, Reason, Serializer};

/// Deepest nesting of a packet: what a payload may have, within the packet and the lists of an INFO.
const PACKET_DEPTH_MAX: usize = DEPTH_MAX + 20;

/// One part of a value in a binary format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Undefined,
    Bool(bool),
    Integer(i128),
    Double(f64),
    /// An integer of any size: magnitude, big-endian; `-1 - magnitude` when negative.
    Big {
        negative: bool,
        magnitude: &'a [u8],
    },
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A list of so many items; `None` ends with [`Token::Break`].
    List(Option<u64>),
    /// A map of so many pairs; `None` ends with [`Token::Break`].
    Map(Option<u64>),
    Break,
    /// A moment, in milliseconds since 1970.
    Date(f64),
    Regex {
        source: &'a str,
        flags: &'a str,
    },
}

/// Reads the tokens of one format.
pub(super) trait Reader<'a> {
    /// The next token. An error says what is wrong with the bytes.
    fn next(&mut self) -> Result<Token<'a>, String>;

    /// How many bytes have not been read.
    fn left(&self) -> usize;
}

/// A container that has begun.
enum Open {
    List { left: Option<u64> },
    Map { left: Option<u64>, value_next: bool, before_key: Mark },
}

/// Reads a packet through its JSON text.
pub(super) fn packet<'a>(
    kind: PacketType,
    data: &'a Bytes,
    reader: &mut impl Reader<'a>,
) -> Result<Packet, Error> {
    let mut read = Reading {
        out: JsonText::with_capacity(data.len() + data.len() / 2),
        open: Vec::new(),
        carrier: carrier(kind),
        carrying: false,
        carried: None,
    };
    match read.all(reader) {
        Ok(()) => {
            packet_of(kind, &read.out.finish(), read.carried.map(|bytes| data.slice_ref(bytes)))
        }
        Err(cause) => Err(malformed(cause)),
    }
}

/// The refusal of bytes that are not in the format.
pub(super) fn malformed(cause: String) -> Error {
    Error { reason: Reason::Malformed(cause), sender: None, ver: None }
}

/// The member of a packet that may be bytes.
pub(super) fn carrier(kind: PacketType) -> Option<&'static str> {
    match kind {
        PacketType::Request => Some("params"),
        PacketType::Response | PacketType::Event => Some("data"),
        _ => None,
    }
}

/// The packet of a JSON text and the bytes that stood in it in the place of params, result or data.
pub(super) fn packet_of(
    kind: PacketType,
    text: &Bytes,
    carried: Option<Bytes>,
) -> Result<Packet, Error> {
    let mut packet = Json.decode(kind, text)?;
    if let Some(bytes) = carried {
        match &mut packet.body {
            Body::Request(request) => request.params = Payload::Bytes(bytes),
            Body::Event(event) => event.data = Payload::Bytes(bytes),
            Body::Response(response) if response.result.is_ok() => {
                response.result = Ok(Payload::Bytes(bytes));
            }
            _ => {}
        }
    }
    Ok(packet)
}

struct Reading<'a> {
    out: JsonText,
    open: Vec<Open>,
    carrier: Option<&'static str>,
    /// Whether the value that comes next is that of the carrier.
    carrying: bool,
    carried: Option<&'a [u8]>,
}

impl<'a> Reading<'a> {
    fn all(&mut self, reader: &mut impl Reader<'a>) -> Result<(), String> {
        let Token::Map(_) = self.value(reader)? else { return Err("not an object".into()) };
        while let Some(open) = self.open.last() {
            match open {
                Open::List { left: Some(0) }
                | Open::Map { left: Some(0), value_next: false, .. } => self.close(),
                Open::Map { value_next: false, .. } => self.key(reader)?,
                Open::List { .. } | Open::Map { .. } => {
                    self.value(reader)?;
                }
            }
        }
        match reader.left() {
            0 => Ok(()),
            left => Err(format!("{left} bytes after the end")),
        }
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Open::List { .. }) => self.out.end(b']'),
            Some(Open::Map { .. }) => self.out.end(b'}'),
            None => {}
        }
        self.value_done();
    }

    /// A value is complete: the next in a map is a key.
    fn value_done(&mut self) {
        if let Some(Open::Map { value_next, .. }) = self.open.last_mut() {
            *value_next = false;
        }
    }

    fn key(&mut self, reader: &mut impl Reader<'a>) -> Result<(), String> {
        let mark = self.out.mark();
        match reader.next()? {
            Token::Text(key) => {
                self.carrying = self.open.len() == 1 && self.carrier == Some(key);
                if self.carrying && self.carried.is_some() {
                    return Err(format!("'{key}' is there twice"));
                }
                self.out.key(key);
            }
            // JavaScript's keys are text, whatever they were made from.
            Token::Integer(key) => self.out.key(&key.to_string()),
            Token::Bool(key) => self.out.key(if key { "true" } else { "false" }),
            Token::Null => self.out.key("null"),
            Token::Break if matches!(self.open.last(), Some(Open::Map { left: None, .. })) => {
                self.close();
                return Ok(());
            }
            _ => return Err("a key that is no text".into()),
        }
        if let Some(Open::Map { left, value_next, before_key }) = self.open.last_mut() {
            *left = left.map(|left| left.saturating_sub(1));
            *value_next = true;
            *before_key = mark;
        }
        Ok(())
    }

    /// Reads one value, or the beginning of a container.
    fn value(&mut self, reader: &mut impl Reader<'a>) -> Result<Token<'a>, String> {
        let token = reader.next()?;
        let carrying = std::mem::take(&mut self.carrying);
        match token {
            Token::List(len) => {
                check_len(len, 1, reader.left())?;
                self.begin(b'[', Open::List { left: len })?;
                return Ok(token);
            }
            Token::Map(len) => {
                check_len(len, 2, reader.left())?;
                let before_key = self.out.mark();
                self.begin(b'{', Open::Map { left: len, value_next: false, before_key })?;
                return Ok(token);
            }
            Token::Break => match self.open.last() {
                Some(Open::List { left: None }) => {
                    self.close();
                    return Ok(token);
                }
                _ => return Err("a break where nothing can end".into()),
            },
            Token::Undefined => match self.open.last() {
                Some(Open::Map { before_key, .. }) => self.out.back_to(*before_key),
                _ => self.out.raw("null"),
            },
            Token::Bytes(bytes) if carrying => {
                self.carried = Some(bytes);
                if let Some(Open::Map { before_key, .. }) = self.open.last() {
                    self.out.back_to(*before_key);
                }
            }
            Token::Null => self.out.raw("null"),
            Token::Bool(value) => self.out.raw(if value { "true" } else { "false" }),
            Token::Integer(integer) => self.out.integer(integer),
            Token::Double(number) => self.out.number(number),
            Token::Big { negative, magnitude } => self.out.raw(&big::digits(negative, magnitude)?),
            Token::Text(text) => self.out.text(text),
            Token::Bytes(bytes) => self.out.buffer(bytes),
            Token::Date(ms) => self.out.date(ms),
            Token::Regex { source, flags } => self.out.regex(source, flags),
        }
        if let Some(Open::List { left: Some(left) }) = self.open.last_mut() {
            *left = left.saturating_sub(1);
        }
        self.value_done();
        Ok(token)
    }

    fn begin(&mut self, bracket: u8, open: Open) -> Result<(), String> {
        if self.open.len() >= PACKET_DEPTH_MAX {
            return Err(format!("nested deeper than {PACKET_DEPTH_MAX} levels"));
        }
        if let Some(Open::List { left: Some(left) }) = self.open.last_mut() {
            *left = left.saturating_sub(1);
        }
        self.out.begin(bracket);
        self.open.push(open);
        Ok(())
    }
}

/// Every item takes at least a byte, so a length that lies is known at once.
fn check_len(len: Option<u64>, parts: u64, left: usize) -> Result<(), String> {
    let left = u64::try_from(left).unwrap_or(u64::MAX);
    match len {
        Some(len) if len.saturating_mul(parts) > left => {
            Err(format!("{len} items are announced and {left} bytes are left"))
        }
        _ => Ok(()),
    }
}
