//! Options of the discoverer: how this node watches over the others
//! (moleculer: src/registry/discoverers/base.js). Section `registry.discoverer`.

use std::time::Duration;

/// Section `registry.discoverer.options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discoverer {
    /// Never declare a silent node lost; only its own good-bye counts. false
    pub disable_heartbeat_checks: bool,
    /// Never forget nodes that are gone. false
    pub disable_offline_node_removing: bool,
    /// How long a node that is gone is remembered; zero is for ever. 600 s
    pub clean_offline_nodes_timeout: Duration,
}

impl Default for Discoverer {
    fn default() -> Self {
        Self {
            disable_heartbeat_checks: false,
            disable_offline_node_removing: false,
            clean_offline_nodes_timeout: Duration::from_secs(600),
        }
    }
}
