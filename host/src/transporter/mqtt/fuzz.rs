//! What holds whatever a server says; see `crate::fuzz`.

use super::protocol::{Parsed, parse};

/// A stream of a server. Every look ends, takes something that has come, or waits for a bounded amount.
pub(crate) fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match parse(rest) {
            Ok(Parsed::Whole { size, .. }) => {
                assert!((1..=rest.len()).contains(&size), "{size} of {}", rest.len());
                rest = rest.get(size..).unwrap_or_default();
            }
            Ok(Parsed::Partial { missing }) => {
                assert!((1..=(64 << 20) + 5).contains(&missing), "{missing}");
                return;
            }
            Err(_) => return,
        }
    }
}
