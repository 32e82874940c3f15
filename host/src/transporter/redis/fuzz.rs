//! What holds whatever a server says, and whatever stands in a URL; see `crate::fuzz`.

use super::address::Server;
use super::protocol::{Parsed, parse};

/// Largest message that is taken, in bytes.
const LIMIT: usize = 1_000;

/// A stream of a server. Every look ends, takes something that has come, or waits for a bounded amount.
pub(crate) fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match parse(rest, LIMIT) {
            Ok(Parsed::Whole { size, .. }) => {
                assert!((1..=rest.len()).contains(&size), "{size} of {}", rest.len());
                rest = rest.get(size..).unwrap_or_default();
            }
            Ok(Parsed::Partial { missing }) => {
                assert!((1..=2 * LIMIT + (128 << 10)).contains(&missing), "{missing}");
                return;
            }
            Ok(Parsed::TooLarge { payload, size, rest: after }) => {
                assert!(payload > LIMIT && size <= rest.len() && after >= payload, "{after}");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A URL.
pub(crate) fn address(text: &str) {
    let _ = Server::parse(text);
}
