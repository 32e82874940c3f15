//! Options of the discoverer: how this node finds the others and watches over them
//! (moleculer: src/registry/discoverers). Section `registry.discoverer`.

use std::time::Duration;

use crate::config::Serializer;

/// Section `registry.discoverer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discoverer {
    /// Where nodes find each other. Local
    pub finder: Finder,
    /// In a store, each so many looks also the load of the nodes is read; 0 is never. 10
    pub full_check: u32,
    /// How what is left in a store is written. JSON
    pub serializer: Serializer,
    /// Never declare a silent node lost; only its own good-bye counts. false
    pub disable_heartbeat_checks: bool,
    /// Never forget nodes that are gone. false
    pub disable_offline_node_removing: bool,
    /// How long a node that is gone is remembered; zero is for ever. 600 s
    pub clean_offline_nodes_timeout: Duration,
}

/// Where nodes find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finder {
    /// Over the transporter.
    Local,
    /// In a Redis that they share.
    Redis {
        /// One URL, or the nodes of a cluster.
        urls: Vec<String>,
        /// Whether they are a cluster.
        cluster: bool,
        /// Keys that a server looks at in one step of a search. 100
        scan_length: usize,
    },
    /// In an etcd that they share.
    Etcd3 {
        /// `host:port`, with `http://` or `https://` before it or not; tried in turn.
        hosts: Vec<String>,
        /// Name and password.
        login: Option<(String, String)>,
    },
}

impl Default for Discoverer {
    fn default() -> Self {
        Self {
            finder: Finder::Local,
            full_check: 10,
            serializer: Serializer::Json,
            disable_heartbeat_checks: false,
            disable_offline_node_removing: false,
            clean_offline_nodes_timeout: Duration::from_secs(600),
        }
    }
}
