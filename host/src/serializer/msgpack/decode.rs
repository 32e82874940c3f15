//! MessagePack → tokens: every form of the specification, and the extensions that Moleculer's libraries write.

use crate::serializer::tokens::{Reader, Token};

/// Extension type of moments.
const TIMESTAMP: i8 = -1;
/// Extension type that earlier versions of notepack.io used for `undefined`, dates and array buffers.
const OLDER_NOTEPACK: i8 = 0;

/// Bytes that are read from their beginning.
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| format!("{len} bytes are announced and {} are left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "the end".to_owned())
    }

    /// A length of 1, 2 or 4 bytes: the last two bits of a head that counts from `first`.
    fn len(&mut self, head: u8, first: u8) -> Result<usize, String> {
        let len = match head - first {
            0 => u32::from(u8::from_be_bytes(self.array()?)),
            1 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        };
        usize::try_from(len).map_err(|error| error.to_string())
    }

    fn text(&mut self, len: usize) -> Result<Token<'a>, String> {
        std::str::from_utf8(self.take(len)?)
            .map(Token::Text)
            .map_err(|_| "a text that is not UTF-8".into())
    }

    fn list(&mut self, head: u8) -> Result<Token<'a>, String> {
        // There is no form with one byte, so the first of the two has two bytes.
        let len = self.len(head, 0xdb)?;
        Ok(Token::List(u64::try_from(len).ok()))
    }

    fn map(&mut self, head: u8) -> Result<Token<'a>, String> {
        let len = self.len(head, 0xdd)?;
        Ok(Token::Map(u64::try_from(len).ok()))
    }

    fn extension(&mut self, len: usize) -> Result<Token<'a>, String> {
        let kind = i8::from_be_bytes(self.array()?);
        let mut data = Self::new(self.take(len)?);
        match (kind, len) {
            (TIMESTAMP, 4) => Ok(moment(i64::from(u32::from_be_bytes(data.array()?)), 0)),
            (TIMESTAMP, 8) => {
                let both = u64::from_be_bytes(data.array()?);
                // 30 bits of nanoseconds, 34 bits of seconds.
                let seconds = i64::try_from(both & 0x3_ffff_ffff).unwrap_or(0);
                Ok(moment(seconds, u32::try_from(both >> 34).unwrap_or(0)))
            }
            (TIMESTAMP, 12) => {
                let nanoseconds = u32::from_be_bytes(data.array()?);
                Ok(moment(i64::from_be_bytes(data.array()?), nanoseconds))
            }
            (OLDER_NOTEPACK, 1) => Ok(Token::Undefined),
            #[expect(clippy::cast_precision_loss, reason = "JavaScript reads it as a double, too")]
            (OLDER_NOTEPACK, 8) => Ok(Token::Date(i64::from_be_bytes(data.array()?) as f64)),
            (OLDER_NOTEPACK, _) => Ok(Token::Bytes(data.rest)),
            _ => Err(format!("extension {kind} of {len} bytes")),
        }
    }
}

fn moment(seconds: i64, nanoseconds: u32) -> Token<'static> {
    #[expect(clippy::cast_precision_loss, reason = "JavaScript reads it as a double, too")]
    let seconds = seconds as f64;
    Token::Date(seconds * 1_000.0 + (f64::from(nanoseconds) / 1e6).round())
}

impl<'a> Reader<'a> for Bytes<'a> {
    fn next(&mut self) -> Result<Token<'a>, String> {
        let [head] = self.array()?;
        Ok(match head {
            0x00..=0x7f => Token::Integer(head.into()),
            0x80..=0x8f => Token::Map(Some(u64::from(head & 0x0f))),
            0x90..=0x9f => Token::List(Some(u64::from(head & 0x0f))),
            0xa0..=0xbf => self.text(usize::from(head & 0x1f))?,
            0xc0 => Token::Null,
            0xc1 => return Err("byte c1, which means nothing".into()),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let len = self.len(head, 0xc4)?;
                Token::Bytes(self.take(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(head, 0xc7)?;
                self.extension(len)?
            }
            0xca => Token::Double(f32::from_be_bytes(self.array()?).into()),
            0xcb => Token::Double(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Integer(u8::from_be_bytes(self.array()?).into()),
            0xcd => Token::Integer(u16::from_be_bytes(self.array()?).into()),
            0xce => Token::Integer(u32::from_be_bytes(self.array()?).into()),
            0xcf => Token::Integer(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Token::Integer(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Token::Integer(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Token::Integer(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Token::Integer(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => self.extension(1 << (head - 0xd4))?,
            0xd9..=0xdb => {
                let len = self.len(head, 0xd9)?;
                self.text(len)?
            }
            0xdc | 0xdd => self.list(head)?,
            0xde | 0xdf => self.map(head)?,
            0xe0..=0xff => Token::Integer(i8::from_be_bytes([head]).into()),
        })
    }

    fn left(&self) -> usize {
        self.rest.len()
    }
}
