//! What a service reaches of the machine: folders, hosts and addresses that its operator has granted, and
//! nothing else.
//!
//! A use that goes beyond is an error that the guest can handle, never a trap; the log names the grant that
//! would allow it. What is granted is written down in [`config::grants`](crate::config::grants).

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Grants;
use crate::config::grants::HostGrant;
use crate::metrics::Metric;

mod denials;
mod files;
pub(super) mod http;
pub(super) mod sockets;

pub(super) use denials::{Denials, Grant};
pub(super) use files::{Files, add_to_linker as add_files_to_linker};

/// The grants of one version of a service that lead out of the broker.
pub(super) struct Reach {
    pub denials: Denials,
    pub files: Files,
    hosts: Vec<HostGrant>,
    tcp: Vec<HostGrant>,
    tls: http::Tls,
}

impl Reach {
    /// `private` are folders and files that no guest may see; `denied` counts uses that go beyond the grants.
    pub(super) fn new(
        service: &Arc<str>,
        grants: &Grants,
        private: &[PathBuf],
        denied: Metric,
    ) -> Self {
        Self {
            denials: Denials::new(Arc::clone(service), denied),
            files: Files::check(&grants.dirs, private),
            hosts: grants.hosts.clone(),
            tcp: grants.tcp.clone(),
            tls: http::Tls::default(),
        }
    }
}
