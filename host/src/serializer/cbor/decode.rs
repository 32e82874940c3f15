//! CBOR → tokens: every form of RFC 8949 that can stand in a packet, and the tags that cbor-x writes.
//!
//! Tags that are not known are read as if they were not there. Refused are those that make a value refer to
//! another (records, packed and shared values): Moleculer's options never make cbor-x write them, and
//! following them could make a small packet large.

use crate::serializer::tokens::{Reader, Token};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// Standard tags: time, integers of any size.
const TAG_TIME: u64 = 1;
const TAG_BIG: u64 = 2;
const TAG_BIG_NEGATIVE: u64 = 3;
/// An object of a class: `[class, arguments…]`, here for regular expressions.
const TAG_OBJECT: u64 = 27;

/// Packed references, string references, shared values, packed tables, older records.
const REFERENCES: [u64; 7] = [6, 25, 28, 29, 51, 105, 256];
/// Records and bundled strings of cbor-x.
const RECORDS: std::ops::RangeInclusive<u64> = 0xdff9..=0xffff;

/// Bytes that are read from their beginning.
#[derive(Clone)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

/// A head: major type, the five bits beside it, and the number that they stand for or lead to.
struct Head {
    major: u8,
    info: u8,
    number: u64,
}

impl Head {
    /// The length; `None` when it is told by a break.
    fn len(&self) -> Option<u64> {
        (self.info != 31).then_some(self.number)
    }
}

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let lies = || format!("{len} bytes are announced and {} are left", self.rest.len());
        let len = usize::try_from(len).map_err(|_| lies())?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(lies)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn head(&mut self) -> Result<Head, String> {
        let [first] = self.array()?;
        let (major, info) = (first >> 5, first & 0x1f);
        let number = match info {
            0..=23 => info.into(),
            24 => u8::from_be_bytes(self.array()?).into(),
            25 => u16::from_be_bytes(self.array()?).into(),
            26 => u32::from_be_bytes(self.array()?).into(),
            27 => u64::from_be_bytes(self.array()?),
            31 => 0,
            _ => return Err(format!("byte {first:02x}, which means nothing")),
        };
        if info == 31 && matches!(major, UNSIGNED | NEGATIVE | TAG) {
            return Err(format!("byte {first:02x}, which means nothing"));
        }
        Ok(Head { major, info, number })
    }

    fn definite(&mut self, head: &Head) -> Result<&'a [u8], String> {
        match head.len() {
            Some(len) => self.take(len),
            // cbor-x cannot read them either.
            None => Err("a string in pieces".into()),
        }
    }

    fn text(&mut self, head: &Head) -> Result<&'a str, String> {
        let bytes = self.definite(head)?;
        std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8".into())
    }

    fn tagged(&mut self, tag: u64) -> Result<Option<Token<'a>>, String> {
        match tag {
            // What follows these is read by hand: it may not have a tag of its own, so that tags upon tags
            // need no recursion.
            TAG_TIME => {
                let head = self.head()?;
                #[expect(clippy::cast_precision_loss, reason = "JavaScript reads it so, too")]
                let seconds = match head.major {
                    UNSIGNED => head.number as f64,
                    NEGATIVE => -1.0 - head.number as f64,
                    SIMPLE => match simple(&head)? {
                        Token::Double(seconds) => seconds,
                        _ => return Err("a time that is no number".into()),
                    },
                    _ => return Err("a time that is no number".into()),
                };
                Ok(Some(Token::Date((seconds * 1_000.0).round())))
            }
            TAG_BIG | TAG_BIG_NEGATIVE => {
                let head = self.head()?;
                if head.major != BYTES {
                    return Err("an integer that is no bytes".into());
                }
                let magnitude = self.definite(&head)?;
                Ok(Some(Token::Big { negative: tag == TAG_BIG_NEGATIVE, magnitude }))
            }
            TAG_OBJECT => Ok(self.regex()),
            tag if REFERENCES.contains(&tag) || RECORDS.contains(&tag) => {
                Err(format!("tag {tag}: references and records are not read"))
            }
            _ => Ok(None),
        }
    }

    /// `["RegExp", source, flags]`; objects of other classes stay the lists that they are.
    fn regex(&mut self) -> Option<Token<'a>> {
        let mut ahead = self.clone();
        let list = ahead.head().ok()?;
        let mut word = || {
            let head = ahead.head().ok()?;
            if head.major == TEXT { ahead.text(&head).ok() } else { None }
        };
        if list.major != LIST || list.number != 3 || word()? != "RegExp" {
            return None;
        }
        let (source, flags) = (word()?, word()?);
        *self = ahead;
        Some(Token::Regex { source, flags })
    }
}

impl<'a> Reader<'a> for Bytes<'a> {
    fn next(&mut self) -> Result<Token<'a>, String> {
        loop {
            let head = self.head()?;
            return Ok(match head.major {
                UNSIGNED => Token::Integer(head.number.into()),
                NEGATIVE => Token::Integer(-1 - i128::from(head.number)),
                BYTES => Token::Bytes(self.definite(&head)?),
                TEXT => Token::Text(self.text(&head)?),
                LIST => Token::List(head.len()),
                MAP => Token::Map(head.len()),
                TAG => match self.tagged(head.number)? {
                    Some(token) => token,
                    None => continue,
                },
                _ => simple(&head)?,
            });
        }
    }

    fn left(&self) -> usize {
        self.rest.len()
    }
}

/// Major type 7: words and floats.
fn simple(head: &Head) -> Result<Token<'static>, String> {
    let number = head.number;
    Ok(match head.info {
        20 => Token::Bool(false),
        21 => Token::Bool(true),
        22 => Token::Null,
        23 => Token::Undefined,
        25 => Token::Double(half(u16::try_from(number).unwrap_or(0))),
        26 => Token::Double(f32::from_bits(u32::try_from(number).unwrap_or(0)).into()),
        27 => Token::Double(f64::from_bits(number)),
        31 => Token::Break,
        _ => return Err(format!("simple value {number}")),
    })
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let size = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}
