//! The options of a node, each with its name, kind, default and sentence: the one table of them.
//!
//! Names, units and defaults are Moleculer's (moleculer: src/service-broker.js defaultOptions); where a
//! default differs, `config.rs` says why. Limits are shared with the files beside components.

use std::path::PathBuf;

use crate::config::BrokerOptions;
use crate::config::limits::Limits;
use crate::config::log::{Format, Levels};
use crate::config::problem::Problems;
use crate::config::schema::Entry;
use crate::config::value::Located;

mod cacher;
mod calls;
mod general;
pub mod limits;
mod mesh;
mod metrics;
mod reporting;
mod tracing;
mod validator;

pub use limits::{HasLimits, check_instances};

/// Everything that a configuration says about a node: its broker and what surrounds it.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Options of the broker.
    pub broker: BrokerOptions,
    /// Which log lines are written. info
    pub log_levels: Levels,
    /// How they look. full
    pub log_format: Format,
    /// Whether they have colours; `None`: on a terminal.
    pub log_colors: Option<bool>,
    /// Where the control socket is.
    pub control_socket: ControlSocket,
}

/// Where the control socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// In the user's runtime directory, where the client verbs look.
    #[default]
    Standard,
    /// At this path.
    At(PathBuf),
    /// There is none.
    Off,
}

impl HasLimits for NodeOptions {
    fn limits(&mut self) -> &mut Limits {
        &mut self.broker.limits
    }
}

/// Numbers of the host's own width. All maxima of the tables fit 32 bits, so nothing is ever cut.
fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn narrow_32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One gibibyte.
const GIB: u64 = 1 << 30;

/// The options of a node, in the order of the reference.
#[must_use]
pub fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries = general::entries();
    entries.extend(calls::entries());
    entries.extend(mesh::entries());
    entries.extend(metrics::entries());
    entries.extend(tracing::entries());
    entries.extend(cacher::entries());
    entries.extend(validator::entries());
    entries.extend(limits::entries());
    entries
}

/// What one option means for others.
pub fn finish(node: &mut NodeOptions) {
    // The others stand in the chain of middlewares; retrying is done around it.
    if !node.broker.internal_middlewares {
        node.broker.retry_policy.enabled = false;
    }
}

/// What no single value shows: values that contradict each other.
pub fn check_together(node: &NodeOptions, tree: &Located, problems: &mut Problems) {
    let broker = &node.broker;
    if broker.heartbeat_interval >= broker.heartbeat_timeout {
        let (interval, timeout) = (broker.heartbeat_interval, broker.heartbeat_timeout);
        contradict(
            tree,
            &["heartbeatTimeout", "heartbeatInterval"],
            problems,
            &format!(
                "heartbeatInterval ({interval:?}) must be shorter than heartbeatTimeout ({timeout:?}), \
             or every node is taken for lost"
            ),
        );
    }
    check_instances(&broker.limits, tree, problems);
}

/// Reports at the first of the options that was written down.
fn contradict(tree: &Located, names: &[&str], problems: &mut Problems, message: &str) {
    match names.iter().find_map(|name| tree.find(name)) {
        Some(value) => problems.add(&value.place, message),
        None => problems.add_general(message),
    }
}
