//! Frames: how packets lie one behind the other in a TCP stream.
//!
//! Six bytes of header, then what the serializer made: the XOR of the next five bytes, the length of the
//! whole frame (32 bits, big endian), the type. A JavaScript node ends at a type that it does not know, so
//! none is ever sent. Nothing is taken from a frame before its header has been found good.
//!
//! moleculer: src/transporters/tcp/parser.js, tcp-writer.js, constants.js

use crate::packet::PacketType;

/// Bytes before the packet.
pub(super) const HEADER_SIZE: usize = 6;

/// What is wrong with a frame. The connection ends with it: where the next frame begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The first byte is not the XOR of the next five.
    #[error("the checksum of a frame is wrong")]
    Checksum,
    /// It is shorter than its own header.
    #[error("a frame says that it has {0} bytes")]
    Length(i32),
    /// It is longer than `maxPacketSize`.
    #[error("a frame has {size} bytes, more than maxPacketSize ({limit})")]
    TooLarge { size: usize, limit: usize },
    /// It has a type that there is not.
    #[error("a frame has type {0}, which there is not")]
    Type(u8),
}

/// The beginning of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole frame of `size` bytes.
    Whole { kind: PacketType, size: usize },
    /// Not all of it; at least `missing` bytes more.
    Partial { missing: usize },
}

/// The number of a kind of packets; `None` for those that are not sent on TCP.
pub(super) fn number_of(kind: PacketType) -> Option<u8> {
    KINDS.iter().find(|(_, known)| *known == kind).map(|(number, _)| *number)
}

fn kind_of(number: u8) -> Option<PacketType> {
    KINDS.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
}

const KINDS: [(u8, PacketType); 8] = [
    (1, PacketType::Event),
    (2, PacketType::Request),
    (3, PacketType::Response),
    (4, PacketType::Ping),
    (5, PacketType::Pong),
    (6, PacketType::GossipRequest),
    (7, PacketType::GossipResponse),
    (8, PacketType::GossipHello),
];

/// Looks at the beginning of what was read; `limit` is the largest frame in bytes.
pub(super) fn parse(bytes: &[u8], limit: usize) -> Result<Parsed, Fault> {
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        return Ok(Parsed::Partial { missing: HEADER_SIZE - bytes.len() });
    };
    let [checksum, a, b, c, d, number] = *header;
    if checksum != a ^ b ^ c ^ d ^ number {
        return Err(Fault::Checksum);
    }
    let length = i32::from_be_bytes([a, b, c, d]);
    let size = usize::try_from(length).ok().filter(|size| *size >= HEADER_SIZE);
    let size = size.ok_or(Fault::Length(length))?;
    if size > limit {
        return Err(Fault::TooLarge { size, limit });
    }
    let kind = kind_of(number).ok_or(Fault::Type(number))?;
    match size.checked_sub(bytes.len()) {
        None | Some(0) => Ok(Parsed::Whole { kind, size }),
        Some(missing) => Ok(Parsed::Partial { missing }),
    }
}

/// Adds a frame. `number` is that of its kind; the packet is no larger than a frame can be.
pub(super) fn write(buffer: &mut Vec<u8>, number: u8, packet: &[u8]) {
    let size = i32::try_from(packet.len() + HEADER_SIZE).unwrap_or(i32::MAX);
    let [a, b, c, d] = size.to_be_bytes();
    buffer.reserve(packet.len() + HEADER_SIZE);
    buffer.extend_from_slice(&[a ^ b ^ c ^ d ^ number, a, b, c, d, number]);
    buffer.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: PacketType, packet: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&mut frame, number_of(kind).unwrap(), packet);
        frame
    }

    /// Captured from Moleculer.
    #[test]
    fn frames_are_those_of_moleculer() {
        let hello = br#"{"host":"vm","port":7002,"ver":"5","sender":"real"}"#;
        let frame_of_hello = frame(PacketType::GossipHello, hello);
        assert_eq!(frame_of_hello[..6], [0x31, 0, 0, 0, 0x39, 8]);
        let request = br#"{"online":{"real":[3,1,100]},"ver":"5","sender":"real"}"#;
        let frame_of_request = frame(PacketType::GossipRequest, request);
        assert_eq!(frame_of_request[..6], [0x3b, 0, 0, 0, 0x3d, 6]);
        let whole = Parsed::Whole { kind: PacketType::GossipHello, size: 0x39 };
        assert_eq!(parse(&[frame_of_hello, frame_of_request].concat(), 1 << 20), Ok(whole));
    }

    #[test]
    fn every_kind_that_is_sent_comes_back_and_no_other_is_sent() {
        for kind in PacketType::ALL {
            match number_of(kind) {
                Some(_) => {
                    let whole = Parsed::Whole { kind, size: 7 };
                    assert_eq!(parse(&frame(kind, b"x"), 7), Ok(whole));
                }
                None => assert!(matches!(
                    kind,
                    PacketType::Discover
                        | PacketType::Info
                        | PacketType::Disconnect
                        | PacketType::Heartbeat
                )),
            }
        }
    }

    #[test]
    fn a_frame_is_whole_at_its_last_byte() {
        let whole = frame(PacketType::Ping, b"packet");
        for len in 0..whole.len() {
            let missing = if len < HEADER_SIZE { HEADER_SIZE - len } else { whole.len() - len };
            assert_eq!(parse(&whole[..len], 100), Ok(Parsed::Partial { missing }), "{len}");
        }
        let read = Parsed::Whole { kind: PacketType::Ping, size: whole.len() };
        assert_eq!(parse(&whole, whole.len()), Ok(read));
    }

    #[test]
    fn what_is_wrong_ends_the_connection_at_the_header() {
        let header = |length: i32, number: u8| {
            let [a, b, c, d] = length.to_be_bytes();
            [a ^ b ^ c ^ d ^ number, a, b, c, d, number]
        };
        assert_eq!(parse(b"GET / HTTP/1.1", 100), Err(Fault::Checksum));
        assert_eq!(parse(&header(5, 1), 100), Err(Fault::Length(5)));
        assert_eq!(parse(&header(-1, 1), 100), Err(Fault::Length(-1)));
        assert_eq!(parse(&header(101, 1), 100), Err(Fault::TooLarge { size: 101, limit: 100 }));
        assert_eq!(parse(&header(100, 1), 100), Ok(Parsed::Partial { missing: 94 }));
        for number in [0, 9, 255] {
            assert_eq!(parse(&header(6, number), 100), Err(Fault::Type(number)));
        }
    }

    /// Whatever comes, parsing ends and never says more than was there.
    #[test]
    fn any_bytes_are_parsed_without_harm() {
        for seed in 0..20_000_u32 {
            let byte = |n: u32| (seed.wrapping_mul(31) ^ (n * n * 7)).to_le_bytes()[0];
            let mut bytes: Vec<u8> = (0..seed % 24).map(byte).collect();
            // Half of them have a right checksum, so that it is not all that is looked at.
            if let (true, [checksum, a, b, c, d, e, ..]) = (seed % 2 == 0, bytes.as_mut_slice()) {
                *checksum = *a ^ *b ^ *c ^ *d ^ *e;
            }
            if let Ok(Parsed::Whole { size, .. }) = parse(&bytes, 1_000) {
                assert!((HEADER_SIZE..=bytes.len()).contains(&size));
            }
        }
    }
}
