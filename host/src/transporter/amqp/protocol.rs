//! AMQP 0.9.1 on the wire: frames, the methods that are used here, and argument tables.
//!
//! Reading is pure: [`parse`] looks at the bytes that have come so far. A server is trusted with nothing:
//! sizes are checked before anything else, and whatever is malformed is a fault, which ends the connection.
//! Not here: sockets, and when to say what.

use serde_json::{Map, Value};

/// Bytes of a frame beside its payload.
pub(super) const FRAME_OVERHEAD: usize = 8;

/// Largest frame before a limit has been agreed on.
pub(super) const FRAME_MIN: usize = 4_096;

/// What ends a frame.
const FRAME_END: u8 = 0xce;

/// The channel on which everything happens; 0 is for the connection itself.
pub(super) const CHANNEL: u16 = 1;

/// One frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Something that it says.
    Method(Method<'a>),
    /// A content of this size follows.
    Header { size: u64 },
    /// A part of the content.
    Body(&'a [u8]),
    /// "I am alive."
    Heartbeat,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Method<'a> {
    /// Who it is.
    Start,
    /// Limits that it proposes; 0 is none.
    Tune { channel_max: u16, frame_max: u32, heartbeat_s: u16 },
    /// The connection is accepted.
    OpenOk,
    /// It ends the connection, or (`channel`) the channel.
    Close { channel: bool, code: u16, text: &'a str },
    /// It agrees to the end.
    CloseOk,
    /// It takes no messages for now.
    Blocked { reason: &'a str },
    /// It takes messages again.
    Unblocked,
    /// The channel is open.
    ChannelOpenOk,
    /// Everything before has been done: what the limit of messages is asked for again.
    QosOk,
    /// A message for a consumer; its content follows.
    Deliver { consumer: &'a str, tag: u64 },
    /// A queue is gone, and its consumer with it.
    Cancel { consumer: &'a str },
    /// A message could not be delivered; its content follows.
    Return,
    /// It wants nothing sent on the channel for now, or again.
    Flow { active: bool },
    /// Answers without meaning here.
    Other,
}

/// What is at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A whole frame of `size` bytes.
    Whole { frame: Frame<'a>, size: usize },
    /// At least `missing` bytes are still to come.
    Partial { missing: usize },
}

/// Reads one frame of at most `frame_max` bytes.
pub(super) fn parse(bytes: &[u8], frame_max: usize) -> Result<Parsed<'_>, &'static str> {
    // A server that does not speak this version says which it does.
    if bytes.first() == Some(&b'A') {
        return Err("it speaks another version of AMQP");
    }
    let Some((head, after)) = bytes.split_first_chunk::<7>() else {
        return Ok(Parsed::Partial { missing: 7 + 1 - bytes.len() });
    };
    let [kind, channel_high, channel_low, a, b, c, d] = *head;
    let channel = u16::from_be_bytes([channel_high, channel_low]);
    if !matches!(kind, 1..=3 | 8) || channel > CHANNEL {
        return Err("a frame is of no known kind");
    }
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if size > frame_max.saturating_sub(FRAME_OVERHEAD) {
        return Err("a frame is too large");
    }
    let Some((payload, after)) = after.split_at_checked(size) else {
        return Ok(Parsed::Partial { missing: size + 1 - after.len() });
    };
    match after.first() {
        None => return Ok(Parsed::Partial { missing: 1 }),
        Some(&FRAME_END) => {}
        Some(_) => return Err("a frame has no end"),
    }
    let frame = match kind {
        1 => Frame::Method(read_method(payload, channel)?),
        2 => Frame::Header { size: read_header(payload)? },
        3 => Frame::Body(payload),
        _ => Frame::Heartbeat,
    };
    Ok(Parsed::Whole { frame, size: size + FRAME_OVERHEAD })
}

fn read_header(payload: &[u8]) -> Result<u64, &'static str> {
    let mut fields = Fields(payload);
    fields.short()?;
    fields.short()?;
    fields.long_long()
}

fn read_method(payload: &[u8], channel: u16) -> Result<Method<'_>, &'static str> {
    let mut fields = Fields(payload);
    let method = (fields.short()?, fields.short()?);
    let of_channel = matches!(method.0, 20 | 40 | 50 | 60);
    if of_channel != (channel == CHANNEL) {
        return Err("a method came on the wrong channel");
    }
    Ok(match method {
        (10, 10) => Method::Start,
        (10, 30) => Method::Tune {
            channel_max: fields.short()?,
            frame_max: fields.long()?,
            heartbeat_s: fields.short()?,
        },
        (10, 41) => Method::OpenOk,
        (10, 50) | (20, 40) => Method::Close {
            channel: method.0 == 20,
            code: fields.short()?,
            text: fields.short_text()?,
        },
        (10, 51) => Method::CloseOk,
        (10, 60) => Method::Blocked { reason: fields.short_text()? },
        (10, 61) => Method::Unblocked,
        (20, 11) => Method::ChannelOpenOk,
        (20, 20) => Method::Flow { active: fields.byte()? & 1 == 1 },
        (60, 11) => Method::QosOk,
        (60, 30) => Method::Cancel { consumer: fields.short_text()? },
        (60, 50) => Method::Return,
        (60, 60) => Method::Deliver { consumer: fields.short_text()?, tag: fields.long_long()? },
        _ => Method::Other,
    })
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("a method is too short")?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<u16, &'static str> {
        self.take().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Result<u32, &'static str> {
        self.take().map(u32::from_be_bytes)
    }

    fn long_long(&mut self) -> Result<u64, &'static str> {
        self.take().map(u64::from_be_bytes)
    }

    fn short_text(&mut self) -> Result<&'a str, &'static str> {
        let size = self.byte()?;
        let split = self.0.split_at_checked(size.into());
        let (text, rest) = split.ok_or("a method is too short")?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| "a name is not text")
    }
}

/// Writes the payload of a frame.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub(super) fn short(&mut self, number: u16) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn long(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn long_long(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Names that are longer than the protocol can write were refused before.
    pub(super) fn short_text(&mut self, text: &str) -> &mut Self {
        let size = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.0.push(size);
        self.0.extend_from_slice(text.as_bytes().get(..size.into()).unwrap_or_default());
        self
    }

    pub(super) fn long_text(&mut self, text: &str) -> &mut Self {
        self.sized(|out| {
            out.0.extend_from_slice(text.as_bytes());
        })
    }

    /// A table; lists, of which no argument is one, are left out.
    pub(super) fn table(&mut self, table: &Map<String, Value>) -> &mut Self {
        self.sized(|out| {
            for (name, value) in table.iter().filter(|(_, value)| !value.is_array()) {
                out.short_text(name).value(value);
            }
        })
    }

    fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::String(text) => self.byte(b'S').long_text(text),
            Value::Bool(on) => self.byte(b't').byte((*on).into()),
            Value::Object(table) => self.byte(b'F').table(table),
            Value::Number(number) => match number.as_i64() {
                // As a number of any size: servers compare values, not sizes.
                Some(number) => {
                    self.byte(b'l').0.extend_from_slice(&number.to_be_bytes());
                    self
                }
                None => {
                    let number = number.as_f64().unwrap_or_default();
                    self.byte(b'd').0.extend_from_slice(&number.to_be_bytes());
                    self
                }
            },
            Value::Null | Value::Array(_) => self.byte(b'V'),
        }
    }

    /// Something with its size before it.
    fn sized(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        let start = self.0.len();
        self.long(0);
        write(&mut Writer(self.0));
        write_size(self.0, start);
        self
    }
}

/// Puts the size of what follows to where room was left for it.
fn write_size(out: &mut [u8], start: usize) {
    let size = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

/// A method as a frame.
pub(super) fn method(
    out: &mut Vec<u8>,
    channel: u16,
    (class, number): (u16, u16),
    write: impl FnOnce(&mut Writer<'_>),
) {
    frame(out, 1, channel, |out| {
        out.short(class).short(number);
        write(out);
    });
}

/// "I am alive."
pub(super) fn heartbeat(out: &mut Vec<u8>) {
    frame(out, 8, 0, |_| {});
}

/// A message. `properties` are as in [`properties`].
pub(super) fn publish(
    out: &mut Vec<u8>,
    (exchange, key): (&str, &str),
    properties: &[u8],
    data: &[u8],
    frame_max: usize,
) {
    method(out, CHANNEL, (60, 40), |out| {
        out.short(0).short_text(exchange).short_text(key).byte(0);
    });
    frame(out, 2, CHANNEL, |out| {
        out.short(60).short(0).long_long(u64::try_from(data.len()).unwrap_or(u64::MAX));
        out.0.extend_from_slice(properties);
    });
    for part in data.chunks(frame_max.saturating_sub(FRAME_OVERHEAD).max(1)) {
        frame(out, 3, CHANNEL, |out| out.0.extend_from_slice(part));
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, write: impl FnOnce(&mut Writer<'_>)) {
    let mut writer = Writer(out);
    writer.byte(kind).short(channel);
    writer.sized(write);
    out.push(FRAME_END);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAX: usize = 4_096;

    fn server_method(channel: u16, id: (u16, u16), write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        method(&mut out, channel, id, write);
        out
    }

    #[test]
    fn frames_of_a_server_are_read_and_partial_ones_wait() {
        let check = |bytes: &[u8], expected: Frame<'_>| {
            let size = bytes.len();
            assert_eq!(parse(bytes, MAX), Ok(Parsed::Whole { frame: expected, size }));
            for size in 0..bytes.len() {
                assert!(matches!(parse(&bytes[..size], MAX), Ok(Parsed::Partial { .. })), "{size}");
            }
        };
        let tune = server_method(0, (10, 30), |out| {
            out.short(7).long(131_072).short(60);
        });
        let limits = Method::Tune { channel_max: 7, frame_max: 131_072, heartbeat_s: 60 };
        check(&tune, Frame::Method(limits));
        let deliver = server_method(1, (60, 60), |out| {
            out.short_text("3").long_long(9).byte(0).short_text("").short_text("q");
        });
        check(&deliver, Frame::Method(Method::Deliver { consumer: "3", tag: 9 }));
        let close = server_method(1, (20, 40), |out| {
            out.short(406).short_text("PRECONDITION_FAILED").short(50).short(10);
        });
        let text = "PRECONDITION_FAILED";
        check(&close, Frame::Method(Method::Close { channel: true, code: 406, text }));
        check(&server_method(0, (10, 41), |_| {}), Frame::Method(Method::OpenOk));
        let mut beat = Vec::new();
        heartbeat(&mut beat);
        check(&beat, Frame::Heartbeat);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut no_end = Vec::new();
        heartbeat(&mut no_end);
        no_end.pop();
        no_end.push(0);
        let bad: [&[u8]; 8] = [
            b"AMQP\x00\x00\x09\x01",
            b"HTTP/1.1 400",
            &no_end,
            b"\x01\x00\x00\x00\x00\x00\x02\x00\x0a\xce",
            b"\x01\x00\x05\x00\x00\x00\x04\x00\x0a\x00\x0a\xce",
            &server_method(1, (60, 60), |out| {
                out.byte(200);
            }),
            &server_method(0, (60, 60), |_| {}),
            &server_method(1, (10, 41), |_| {}),
        ];
        for bytes in bad {
            assert!(parse(bytes, MAX).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_size_is_checked_before_its_bytes_come() {
        let announced = |size: usize| {
            let mut out = b"\x03\x00\x01".to_vec();
            out.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
            out
        };
        let most = MAX - FRAME_OVERHEAD;
        let missing = most + 1;
        assert_eq!(parse(&announced(most), MAX), Ok(Parsed::Partial { missing }));
        assert!(parse(&announced(most + 1), MAX).is_err());
        assert!(parse(&announced(u32::MAX as usize), MAX).is_err());
    }

    /// Frames with a few bytes changed, from a fixed seed: read, refused or waited for, but never more.
    #[test]
    fn no_bytes_make_the_reader_panic_or_wait_for_too_much() {
        let mut frames = server_method(1, (60, 60), |out| {
            out.short_text("3").long_long(9).byte(0).short_text("").short_text("q");
        });
        publish(&mut frames, ("x", "q"), &[0, 0], b"{}", MAX);
        heartbeat(&mut frames);
        frames.extend(server_method(0, (10, 50), |out| {
            out.short(320).short_text("CONNECTION_FORCED").short(0).short(0);
        }));
        let mut seed = 1_u32;
        for _ in 0..100_000 {
            let mut bytes = frames.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [a, b, value, _] = seed.to_be_bytes();
                let at = usize::from(u16::from_be_bytes([a, b])) % bytes.len();
                bytes[at] = value;
            }
            let mut rest = &*bytes;
            while let Ok(Parsed::Whole { size, .. }) = parse(rest, MAX) {
                rest = &rest[size..];
            }
            if let Ok(Parsed::Partial { missing }) = parse(rest, MAX) {
                assert!((1..=MAX).contains(&missing), "{missing}");
            }
        }
    }

    #[test]
    fn a_message_is_split_into_frames_that_the_server_takes() {
        let mut out = Vec::new();
        publish(&mut out, ("", "q"), &[0, 0], &[7; 20], 8 + 16);
        let mut frames = Vec::new();
        let mut rest = &*out;
        while let Ok(Parsed::Whole { frame, size }) = parse(rest, MAX) {
            frames.push(format!("{frame:?}"));
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        let body = |n: usize| format!("{:?}", Frame::Body(&vec![7; n]));
        let header = format!("{:?}", Frame::Header { size: 20 });
        assert_eq!(frames, ["Method(Other)".to_owned(), header, body(16), body(4)]);
    }

    #[test]
    fn tables_are_written_with_their_sizes() {
        let table = json!({"n": 5, "s": "x", "t": true});
        let mut out = Vec::new();
        Writer(&mut out).table(table.as_object().unwrap());
        let expected = b"\0\0\0\x17\x01nl\0\0\0\0\0\0\0\x05\x01sS\0\0\0\x01x\x01tt\x01";
        assert_eq!(out, expected);
    }
}
