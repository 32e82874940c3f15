//! What holds whatever stands in the URL of a store; see `crate::fuzz`.

use super::http::Host;

/// The URL of an etcd.
pub(crate) fn address(text: &str) {
    let _ = Host::parse(text, 2379);
}
