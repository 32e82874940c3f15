//! What holds whatever bytes come: the checks behind the targets.
//!
//! A target only names what it tries; the same checks run on damaged packets in the host's unit tests.

use bytes::Bytes;
use isomer_host::packet::PacketType;
use isomer_host::serializer::{Json, Serializer};

/// The first byte says which kind of packet the others claim to be. What is accepted is not much larger than
/// it came, and can be written and read again, with the same bytes each time.
///
/// # Panics
/// When one of this does not hold.
pub fn read_packet(serializer: &dyn Serializer, data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let kind = PacketType::ALL[usize::from(*first) % PacketType::ALL.len()];
    let Ok(packet) = serializer.decode(kind, &Bytes::copy_from_slice(bytes)) else { return };
    assert!(Json.encode(&packet).len() <= 13 * bytes.len() + 400, "too large");
    let written = serializer.encode(&packet);
    let again = serializer.decode(kind, &written).expect("what was written can be read");
    assert_eq!(serializer.encode(&again), written);
}
