//! MQTT 3.1.1: what a server says, and what is said to it.
//!
//! Reading is pure: [`parse`] looks at the bytes that have come so far. A server is trusted with nothing:
//! sizes are checked before anything else, and whatever is no part of the protocol is a fault, which ends
//! the connection. Not here: sockets and when to say what.

use crate::transporter::address::Login;

/// Largest packet that is read. The protocol allows four times as much.
const PACKET_MAX: usize = 64 << 20;

/// Largest rest of a packet that the protocol can write.
pub(super) const REST_MAX: usize = (1 << 28) - 1;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// Whether the connection is accepted; 0 is yes.
    ConnAck { code: u8 },
    /// A message. `id` is 0 without an acknowledgement.
    Publish { topic: &'a str, qos: u8, id: u16, payload: &'a [u8] },
    /// An acknowledgement, or a step of one.
    Ack { step: Step, id: u16 },
    /// What became of subscriptions.
    SubAck { refused: usize },
    /// "I am alive."
    PingResp,
}

/// The steps in which a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// PUBACK, of QoS 1: it was taken.
    Taken,
    /// PUBREC, of QoS 2: it was taken.
    Received,
    /// PUBREL: its number is free again.
    Release,
    /// PUBCOMP: so it is here.
    Complete,
}

/// What is at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A whole packet of `size` bytes.
    Whole { packet: Packet<'a>, size: usize },
    /// At least `missing` bytes are still to come.
    Partial { missing: usize },
}

/// Reads one packet.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let Some((&head, after)) = bytes.split_first() else {
        return Ok(Parsed::Partial { missing: 2 });
    };
    if !is_head(head) {
        return Err("a packet of a kind that servers do not send");
    }
    let Some((rest_size, size_bytes)) = read_size(after)? else {
        return Ok(Parsed::Partial { missing: 1 });
    };
    if rest_size > PACKET_MAX {
        return Err("a packet is too large");
    }
    let size = 1 + size_bytes + rest_size;
    let Some(rest) = bytes.get(1 + size_bytes..size) else {
        return Ok(Parsed::Partial { missing: size - bytes.len() });
    };
    Ok(Parsed::Whole { packet: read(head, rest)?, size })
}

/// Whether a packet of a server may begin so.
fn is_head(head: u8) -> bool {
    matches!((head >> 4, head & 0x0f), (3, _) | (2 | 4 | 5 | 7 | 9 | 13, 0) | (6, 2))
}

/// The size of what follows, and how many bytes it takes to say it.
fn read_size(bytes: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let mut size = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        size |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((size, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err("a size has no end") } else { Ok(None) }
}

fn read(head: u8, rest: &[u8]) -> Result<Packet<'_>, &'static str> {
    match (head >> 4, head & 0x0f) {
        (2, 0) => match rest {
            [_, code] => Ok(Packet::ConnAck { code: *code }),
            _ => Err("a CONNACK has the wrong size"),
        },
        (3, flags) => read_publish(flags, rest),
        (4, 0) => read_ack(Step::Taken, rest),
        (5, 0) => read_ack(Step::Received, rest),
        (6, 2) => read_ack(Step::Release, rest),
        (7, 0) => read_ack(Step::Complete, rest),
        (9, 0) => {
            let codes = rest.get(2..).ok_or("a SUBACK has the wrong size")?;
            Ok(Packet::SubAck { refused: codes.iter().filter(|code| **code >= 0x80).count() })
        }
        (13, 0) if rest.is_empty() => Ok(Packet::PingResp),
        _ => Err("a packet of a kind that servers do not send"),
    }
}

fn read_publish(flags: u8, rest: &[u8]) -> Result<Packet<'_>, &'static str> {
    const SHORT: &str = "a PUBLISH is too short";
    let (size, rest) = rest.split_first_chunk().ok_or(SHORT)?;
    let (topic, rest) = rest.split_at_checked(u16::from_be_bytes(*size).into()).ok_or(SHORT)?;
    let topic = std::str::from_utf8(topic).map_err(|_| "a topic is not text")?;
    match (flags >> 1) & 3 {
        0 => Ok(Packet::Publish { topic, qos: 0, id: 0, payload: rest }),
        qos @ (1 | 2) => {
            let (id, payload) = rest.split_first_chunk().ok_or(SHORT)?;
            Ok(Packet::Publish { topic, qos, id: u16::from_be_bytes(*id), payload })
        }
        _ => Err("a PUBLISH has no such quality of service"),
    }
}

fn read_ack(step: Step, rest: &[u8]) -> Result<Packet<'static>, &'static str> {
    let id = rest.try_into().map_err(|_| "an acknowledgement has the wrong size")?;
    Ok(Packet::Ack { step, id: u16::from_be_bytes(id) })
}

/// Asks to be let in, with a clean session.
pub(super) fn connect(client_id: &str, login: Option<&Login>, keep_alive_s: u16) -> Vec<u8> {
    let mut rest = b"\0\x04MQTT\x04".to_vec();
    // Clean session; with a user name and a password.
    rest.push(if login.is_some() { 0b1100_0010 } else { 0b0000_0010 });
    rest.extend_from_slice(&keep_alive_s.to_be_bytes());
    text(&mut rest, client_id);
    if let Some(login) = login {
        text(&mut rest, &login.user);
        text(&mut rest, &login.password);
    }
    let mut out = Vec::new();
    begin(&mut out, 0x10, rest.len());
    out.extend_from_slice(&rest);
    out
}

/// Asks for the messages of topics.
pub(super) fn subscribe(out: &mut Vec<u8>, id: u16, topics: &[String], qos: u8) {
    let size = topics.iter().map(|topic| topic.len() + 3).sum::<usize>();
    begin(out, 0x82, 2 + size);
    out.extend_from_slice(&id.to_be_bytes());
    for topic in topics {
        text(out, topic);
        out.push(qos);
    }
}

/// Sends a message; `id` matters when it is to be acknowledged.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8], qos: u8, id: u16) {
    let id_size = if qos > 0 { 2 } else { 0 };
    begin(out, 0x30 | (qos << 1), 2 + topic.len() + id_size + payload.len());
    text(out, topic);
    if qos > 0 {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// Acknowledges.
pub(super) fn ack(out: &mut Vec<u8>, step: Step, id: u16) {
    let head = match step {
        Step::Taken => 0x40,
        Step::Received => 0x50,
        Step::Release => 0x62,
        Step::Complete => 0x70,
    };
    begin(out, head, 2);
    out.extend_from_slice(&id.to_be_bytes());
}

/// "Are you alive?"
pub(super) fn ping(out: &mut Vec<u8>) {
    begin(out, 0xc0, 0);
}

/// "I am leaving."
pub(super) fn disconnect(out: &mut Vec<u8>) {
    begin(out, 0xe0, 0);
}

fn begin(out: &mut Vec<u8>, head: u8, mut rest_size: usize) {
    out.push(head);
    loop {
        let byte = u8::try_from(rest_size & 0x7f).unwrap_or(0);
        rest_size >>= 7;
        if rest_size == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// A text with its size. Longer ones than the protocol can write were refused before.
fn text(out: &mut Vec<u8>, text: &str) {
    let size = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(size)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_server_are_read_and_partial_ones_wait() {
        let check = |bytes: &[u8], expected: Packet<'_>| {
            let size = bytes.len();
            assert_eq!(parse(bytes), Ok(Parsed::Whole { packet: expected, size }));
            for size in 0..bytes.len() {
                assert!(matches!(parse(&bytes[..size]), Ok(Parsed::Partial { .. })), "{size}");
            }
        };
        check(b"\x20\x02\x00\x05", Packet::ConnAck { code: 5 });
        let (topic, payload) = ("a", b"xy".as_slice());
        check(b"\x30\x05\x00\x01axy", Packet::Publish { topic, qos: 0, id: 0, payload });
        check(b"\x32\x07\x00\x01a\x01\x02xy", Packet::Publish { topic, qos: 1, id: 258, payload });
        check(b"\x62\x02\x01\x02", Packet::Ack { step: Step::Release, id: 258 });
        check(b"\x90\x05\x00\x01\x00\x80\x80", Packet::SubAck { refused: 2 });
        check(b"\xd0\x00", Packet::PingResp);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let bad: [&[u8]; 10] = [
            b"\x00\x00",
            b"\x20\x01\x00",
            b"\x30\x01\x00",
            b"\x30\x02\x00\x05",
            b"\x36\x04\x00\x00\x00\x01",
            b"\x30\x03\x00\x01\xff",
            b"\x30\xff\xff\xff\xff",
            b"\x40\x03\x00\x00\x00",
            b"\x60\x02\x00\x01",
            b"HTTP/1.1 400 Bad Request",
        ];
        for bytes in bad {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_size_is_checked_before_its_bytes_come() {
        let announced = |size: usize| {
            let mut out = Vec::new();
            begin(&mut out, 0x30, size);
            out
        };
        assert!(matches!(parse(&announced(PACKET_MAX)), Ok(Parsed::Partial { .. })));
        assert!(parse(&announced(PACKET_MAX + 1)).is_err());
        assert!(parse(&announced(REST_MAX)).is_err());
    }

    /// Packets with a few bytes changed, from a fixed seed: read, refused or waited for, but never more.
    #[test]
    fn no_bytes_make_the_reader_panic_or_wait_for_too_much() {
        let mut packets = Vec::new();
        publish(&mut packets, "MOL.REQ.x", b"{}", 1, 7);
        packets.extend_from_slice(b"\x20\x02\0\0\x90\x03\0\x01\0\x62\x02\0\x01\xd0\0");
        let mut seed = 1_u32;
        for _ in 0..100_000 {
            let mut bytes = packets.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [a, b, value, _] = seed.to_be_bytes();
                let at = usize::from(u16::from_be_bytes([a, b])) % bytes.len();
                bytes[at] = value;
            }
            let mut rest = &*bytes;
            while let Ok(Parsed::Whole { size, .. }) = parse(rest) {
                rest = &rest[size..];
            }
            if let Ok(Parsed::Partial { missing }) = parse(rest) {
                assert!((1..=PACKET_MAX + 5).contains(&missing), "{missing}");
            }
        }
    }

    #[test]
    fn what_is_said_is_read_as_it_was_meant() {
        for (qos, id) in [(0, 0), (1, 7), (2, 0xffff)] {
            let payload = [b'.'; 200];
            let mut out = Vec::new();
            publish(&mut out, "MOL.REQ.x", &payload, qos, id);
            let expected = Packet::Publish { topic: "MOL.REQ.x", qos, id, payload: &payload };
            assert_eq!(parse(&out), Ok(Parsed::Whole { packet: expected, size: out.len() }));
        }
        let mut out = Vec::new();
        subscribe(&mut out, 1, &["a".into(), "b".into()], 1);
        assert_eq!(out, b"\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x01");
        let login = Login { user: "u".into(), password: "p".into() };
        let expected = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x0a\x00\x01i\x00\x01u\x00\x01p";
        assert_eq!(connect("i", Some(&login), 10), expected);
    }
}
