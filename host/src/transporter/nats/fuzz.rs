//! What holds whatever a server says, and whatever stands in a URL; see `crate::fuzz`.

use super::address::parse_url;
use super::protocol::{Op, Parsed, ServerInfo, parse};

/// A stream of a server. Every look ends, takes something that has come, or waits for a bounded amount.
pub(crate) fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match parse(rest) {
            Ok(Parsed::Whole { op, size }) => {
                assert!((1..=rest.len()).contains(&size), "{size} of {}", rest.len());
                if let Op::Info(text) = op {
                    let _ = ServerInfo::read(text);
                }
                rest = rest.get(size..).unwrap_or_default();
            }
            Ok(Parsed::Partial { missing }) => {
                assert!((1..=(64 << 20) + 2).contains(&missing), "{missing}");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A URL. What is said of it never holds its secrets.
pub(crate) fn address(text: &str) {
    let _ = parse_url(text);
}
