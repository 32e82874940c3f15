//! What a component could make use of and is not granted, told when it comes into service.
//!
//! Imports say what a component could want, not what it does: a component starts without what it is not granted,
//! and what it then tries is told by the runtime. A version that could want more than the one before it is worth
//! a warning, though.

use crate::config::Grants;
use crate::runtime::Inspection;

/// The grants that a component could make use of and does not have.
pub(super) fn ungranted(inspection: &Inspection, grants: &Grants) -> Vec<&'static str> {
    let mut wants = inspection.wants();
    wants.retain(|grant| grants.is_empty(grant));
    wants
}

/// Tells what a version could want beyond its grants; `before` is what the version before it could.
pub(super) fn report(service: &str, now: &[&'static str], before: Option<&[&'static str]>) {
    match before {
        Some(before) => {
            let more: Vec<&str> = now.iter().copied().filter(|one| !before.contains(one)).collect();
            if !more.is_empty() {
                let grants = more.join(", ");
                tracing::warn!(
                    service,
                    grants,
                    "this version of '{service}' could want {grants}, which the one before could not; nothing of it \
                     is granted in the section [grants] of its .toml, so it runs without"
                );
            }
        }
        None if !now.is_empty() => {
            let grants = now.join(", ");
            tracing::debug!(service, grants, "could want {grants}, of which nothing is granted");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::grants::{DirGrant, HostGrant};

    #[test]
    fn what_is_granted_is_not_told() {
        let imports = [
            "wasi:filesystem/types@0.2.6",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:sockets/tcp@0.2.6",
            "wasi:io/poll@0.2.6",
        ];
        let inspection =
            Inspection { imports: imports.map(str::to_owned).to_vec(), ..Inspection::default() };
        let dirs = vec![DirGrant::new("/srv/x", "/x", false).unwrap()];
        assert_eq!(ungranted(&inspection, &Grants::default()), ["dirs", "hosts", "tcp"]);
        let hosts = vec![HostGrant::http("api.example.com").unwrap()];
        assert_eq!(ungranted(&inspection, &Grants { dirs, hosts, ..Grants::default() }), ["tcp"]);
    }
}
