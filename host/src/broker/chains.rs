//! The handlers of this node with all their middlewares, by endpoint.

use std::collections::HashMap;

use crate::handler::{EventHandler, Handler};

/// Chains of local endpoints; built when a service is registered.
#[derive(Default)]
pub(super) struct Chains {
    pub(super) actions: HashMap<u64, Handler>,
    pub(super) events: HashMap<u64, EventHandler>,
}

impl Chains {
    /// Drops the chains of endpoints that are no longer registered. Calls that run keep theirs.
    pub(super) fn retire(&mut self, endpoints: &[u64]) {
        for id in endpoints {
            self.actions.remove(id);
            self.events.remove(id);
        }
    }
}
