//! What holds whatever stands in the URL of a store; see `crate::fuzz`.

use super::etcd;

/// The URL of an etcd.
pub(crate) fn address(text: &str) {
    let _ = etcd::server(text);
}
