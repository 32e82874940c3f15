//! What holds whatever a peer sends as frames or datagrams; see `crate::fuzz`.

use super::frame::{HEADER_SIZE, Parsed, parse, write};
use super::udp;

/// Largest frame that is taken, in bytes.
const LIMIT: usize = 1_000;

/// A stream of frames. Every look ends, takes something that has come, or waits for a bounded amount.
pub(crate) fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match parse(rest, LIMIT) {
            Ok(Parsed::Whole { size, .. }) => {
                assert!((HEADER_SIZE..=rest.len().min(LIMIT)).contains(&size), "{size}");
                rest = rest.get(size..).unwrap_or_default();
            }
            Ok(Parsed::Partial { missing }) => {
                assert!((1..=LIMIT).contains(&missing), "{missing}");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A datagram. One that is taken names a node that can stand in a topic.
pub(crate) fn datagram(bytes: &[u8]) {
    if let Some((_, node_id, port)) = udp::parse(bytes) {
        assert!(crate::packet::check_node_id(node_id).is_ok() && port > 0, "{node_id:?}");
    }
}

/// Frames of every kind, one behind the other, and one that is cut off.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for number in 1..=8 {
        write(&mut frames, number, b"{\"ver\":\"5\"}");
    }
    let cut = frames.get(..10).unwrap_or_default().to_vec();
    vec![frames, cut]
}
