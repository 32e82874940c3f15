//! JSON text with prefixed strings → JSON text as guests see it.
//!
//! What has no prefixed string is read as plain JSON, without a copy. Maps become objects and sets lists; what
//! cannot be read as what its prefix says is refused, as Moleculer refuses it, and a string with a prefix that
//! is not known stays as it is.

use bytes::Bytes;
use memchr::memmem;

use super::prefix;
use crate::packet::{Packet, PacketType};
use crate::payload;
use crate::serializer::json::Json;
use crate::serializer::text::{JsonText, Mark};
use crate::serializer::tokens::{self, malformed};
use crate::serializer::walk::{Sink, walk};
use crate::serializer::{Error, Serializer, base64};

/// Maps within maps: each level doubles the backslashes of the next, so that honest ones end long before.
const NESTED_MAPS_MAX: usize = 16;

pub(super) fn packet(kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
    if !may_have_prefixes(data) {
        return Json.decode(kind, data);
    }
    let text = std::str::from_utf8(data).map_err(|_| malformed("not UTF-8".into()))?;
    payload::check_json_form(text).map_err(|error| malformed(error.to_string()))?;
    let mut revived = Revived {
        out: JsonText::with_capacity(data.len()),
        carrier: tokens::carrier(kind),
        depth: 0,
        carrying: None,
        carried: None,
        maps: 0,
        fault: None,
    };
    walk(text, &mut revived);
    match revived.fault {
        Some(fault) => Err(malformed(fault)),
        None => tokens::packet_of(kind, &revived.out.finish(), revived.carried),
    }
}

/// Whether a string may begin with `[[`, however its brackets are written.
fn may_have_prefixes(data: &[u8]) -> bool {
    [&b"\"[["[..], b"\\u005"].iter().any(|needle| memmem::find(data, needle).is_some())
}

struct Revived {
    out: JsonText,
    carrier: Option<&'static str>,
    depth: usize,
    /// Where the member begins whose value comes next, when that may be bytes.
    carrying: Option<Mark>,
    carried: Option<Bytes>,
    /// How many maps are being read.
    maps: usize,
    /// What was wrong first.
    fault: Option<String>,
}

impl Revived {
    fn fail(&mut self, fault: impl Into<String>) {
        self.out.raw("null");
        self.fault.get_or_insert_with(|| fault.into());
    }

    fn big_int(&mut self, digits: &str) {
        // BigInt() ignores blanks around the digits and zeros before them, and reads nothing as 0.
        let digits = digits.trim();
        let (sign, unsigned) = match digits.strip_prefix('-') {
            Some(unsigned) => ("-", unsigned),
            None => ("", digits.strip_prefix('+').unwrap_or(digits)),
        };
        if !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.fail("a BigInt that is no integer");
        }
        match unsigned.trim_start_matches('0') {
            "" => self.out.raw("0"),
            unsigned => self.out.raw(&[sign, unsigned].concat()),
        }
    }

    /// `new Date(Number(text))`
    fn date(&mut self, ms: &str) {
        match ms.trim() {
            "" => self.out.date(0.0),
            ms => self.out.date(ms.parse().unwrap_or(f64::NAN)),
        }
    }

    fn regex(&mut self, text: &str) {
        let (flags, source) = text.split_once('|').unwrap_or((text, ""));
        self.out.regex(source, flags);
    }

    /// The entries of a map or the items of a set, which are a text within the text.
    fn nested(&mut self, text: &str, first: u8) {
        let opening = text.trim_ascii_start().as_bytes().first();
        if opening != Some(&first) || payload::check_json_form(text).is_err() {
            return self.fail("a map or set that is no JSON");
        }
        if self.maps >= NESTED_MAPS_MAX {
            return self.fail("maps that are nested too deeply");
        }
        self.maps += 1;
        walk(text, self);
        self.maps -= 1;
    }

    fn buffer(&mut self, text: &str, member: Option<Mark>) {
        let bytes = base64::decode(text);
        match member {
            Some(mark) => {
                self.out.back_to(mark);
                if self.carried.replace(bytes.into()).is_some() {
                    self.fault.get_or_insert_with(|| "params or data that are there twice".into());
                }
            }
            None => self.out.buffer(&bytes),
        }
    }
}

impl Sink for Revived {
    fn begin_object(&mut self) {
        self.carrying = None;
        self.depth += 1;
        self.out.begin(b'{');
    }

    fn end_object(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.out.end(b'}');
    }

    fn begin_list(&mut self) {
        self.carrying = None;
        self.depth += 1;
        self.out.begin(b'[');
    }

    fn end_list(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.out.end(b']');
    }

    fn key(&mut self, key: &str) {
        let carrying = self.depth == 1 && self.carrier == Some(key);
        self.carrying = carrying.then(|| self.out.mark());
        self.out.key(key);
    }

    fn text(&mut self, text: &str) {
        let member = self.carrying.take();
        let rest = text.get(prefix::LEN..).unwrap_or_default();
        match text.get(..prefix::LEN) {
            Some(prefix::BIG_INT) => self.big_int(rest),
            Some(prefix::MAP) => self.nested(rest, b'{'),
            Some(prefix::SET) => self.nested(rest, b'['),
            Some(prefix::DATE) => self.date(rest),
            Some(prefix::BUFFER) => self.buffer(rest, member),
            Some(prefix::REGEX) => self.regex(rest),
            Some(prefix::ESCAPED) => self.out.text(rest),
            _ => self.out.text(text),
        }
    }

    fn number(&mut self, number: f64) {
        self.out.number(number);
    }

    fn big(&mut self, digits: &str) {
        self.out.raw(digits);
    }

    fn bool(&mut self, value: bool) {
        self.out.raw(if value { "true" } else { "false" });
    }

    fn null(&mut self) {
        self.out.raw("null");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.buffer(bytes);
    }
}
