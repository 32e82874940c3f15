//! Well-formed JSON text, read as a sequence of parts, without a tree and without recursion.
//!
//! Only text that a JSON parser has checked comes here. Other text would be read as something else, but never
//! panics and always ends.
//!
//! An object that is exactly the JSON form of a Node.js `Buffer` is told as bytes: guests see a nested Buffer
//! in that form, and what they send back must arrive as the Buffer that it was.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::serializer::number::{self, Number};

/// Takes the parts of a value.
pub(super) trait Sink {
    fn begin_object(&mut self);
    fn end_object(&mut self);
    fn begin_list(&mut self);
    fn end_list(&mut self);
    fn key(&mut self, key: &str);
    fn text(&mut self, text: &str);
    fn number(&mut self, number: f64);
    /// An integer that no double is: decimal digits, with `-` before them when it is negative.
    fn big(&mut self, digits: &str);
    fn bool(&mut self, value: bool);
    fn null(&mut self);
    fn bytes(&mut self, bytes: &[u8]);
    /// A member whose value is JavaScript's `undefined`.
    fn undefined_member(&mut self, _key: &str) {}
}

/// Tells a text.
pub(super) fn walk(text: &str, sink: &mut impl Sink) {
    let mut scan = Scan { text, at: 0 };
    // Which of the containers that are open are objects.
    let mut objects: Vec<bool> = Vec::new();
    let mut key_next = false;
    while let Some(byte) = scan.next() {
        match byte {
            b'"' if key_next => sink.key(&scan.string()),
            b'"' => sink.text(&scan.string()),
            b':' => key_next = false,
            b',' => key_next = objects.last().copied().unwrap_or(false),
            b'{' => match scan.buffer() {
                Some(bytes) => sink.bytes(&bytes),
                None => {
                    objects.push(true);
                    key_next = true;
                    sink.begin_object();
                }
            },
            b'[' => {
                objects.push(false);
                key_next = false;
                sink.begin_list();
            }
            b'}' | b']' => match objects.pop() {
                Some(true) => {
                    key_next = false;
                    sink.end_object();
                }
                Some(false) => sink.end_list(),
                None => return,
            },
            b't' => scan.word("rue", || sink.bool(true)),
            b'f' => scan.word("alse", || sink.bool(false)),
            b'n' => scan.word("ull", || sink.null()),
            b'-' | b'0'..=b'9' => match number::read(scan.number()) {
                Number::Double(number) => sink.number(number),
                Number::Big(digits) => sink.big(digits),
            },
            _ => {}
        }
    }
}

/// A place in a text.
#[derive(Clone)]
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no blank.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
        }
    }

    /// The next byte that is no blank, if it is this one.
    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn word(&mut self, rest: &str, tell: impl FnOnce()) {
        self.at += rest.len();
        tell();
    }

    /// The number whose first byte has been read.
    fn number(&mut self) -> &'a str {
        let start = self.at - 1;
        let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        self.at += self.rest().iter().take_while(|byte| in_number(byte)).count();
        self.text.get(start..self.at).unwrap_or("0")
    }

    /// The string whose opening quote has been read.
    fn string(&mut self) -> Cow<'a, str> {
        let raw = self.raw_string();
        if memchr(b'\\', raw.as_bytes()).is_none() {
            Cow::Borrowed(raw)
        } else {
            unescape(raw).into()
        }
    }

    fn raw_string(&mut self) -> &'a str {
        let start = self.at;
        loop {
            match memchr2(b'"', b'\\', self.rest()) {
                None => {
                    self.at = self.text.len();
                    return self.text.get(start..).unwrap_or_default();
                }
                Some(n) if self.rest().get(n) == Some(&b'"') => {
                    self.at += n + 1;
                    return self.text.get(start..self.at - 1).unwrap_or_default();
                }
                // A backslash and what it escapes.
                Some(n) => self.at += n + 2,
            }
        }
    }

    /// `"type":"Buffer","data":[…]}` in either order, after `{`. Nothing is read when it is something else.
    fn buffer(&mut self) -> Option<Vec<u8>> {
        let mut ahead = self.clone();
        ahead.take(b'"')?;
        let bytes = match ahead.raw_string() {
            "type" => {
                ahead.type_buffer()?;
                ahead.take(b',')?;
                ahead.take(b'"')?;
                if ahead.raw_string() != "data" {
                    return None;
                }
                ahead.data()?
            }
            "data" => {
                let bytes = ahead.data()?;
                ahead.take(b',')?;
                ahead.take(b'"')?;
                if ahead.raw_string() != "type" {
                    return None;
                }
                ahead.type_buffer()?;
                bytes
            }
            _ => return None,
        };
        ahead.take(b'}')?;
        *self = ahead;
        Some(bytes)
    }

    fn type_buffer(&mut self) -> Option<()> {
        self.take(b':')?;
        self.take(b'"')?;
        (self.raw_string() == "Buffer").then_some(())
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        self.take(b':')?;
        self.take(b'[')?;
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b']' if bytes.is_empty() => return Some(bytes),
                b'0'..=b'9' => bytes.push(self.number().parse().ok()?),
                _ => return None,
            }
            match self.next()? {
                b',' => {}
                b']' => return Some(bytes),
                _ => return None,
            }
        }
    }
}

/// What a string says. Half of a surrogate pair, which JavaScript allows, is U+FFFD, as in Node.js' UTF-8.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escaped.chars();
        match chars.next() {
            Some('u') => {
                let (c, taken) = code_point(escaped.get(1..).unwrap_or_default());
                text.push(c);
                rest = escaped.get(1 + taken..).unwrap_or_default();
                continue;
            }
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(itself) => text.push(itself),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// The character of `XXXX` or `XXXX\uYYYY`, and how many bytes of the text it takes.
fn code_point(text: &str) -> (char, usize) {
    let unit = |text: Option<&str>| text.and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let Some(first) = unit(text.get(..4)) else { return (char::REPLACEMENT_CHARACTER, 0) };
    let second = match text.get(4..6) {
        Some("\\u") => unit(text.get(6..10)),
        _ => None,
    };
    let pair = second.and_then(|second| {
        char::decode_utf16([first, second])
            .next()
            .and_then(Result::ok)
            .filter(|c| c.len_utf16() == 2)
    });
    match pair {
        Some(c) => (c, 10),
        None => (char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), 4),
    }
}
