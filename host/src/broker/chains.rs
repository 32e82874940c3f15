//! How each endpoint is called: its handler with all middlewares around it, by the endpoint's ID.
//!
//! Routes of this node are made when a service is registered, those of other nodes when an endpoint is
//! first called. A route is dropped with its endpoint; calls that run keep theirs.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use crate::config::RetryPolicy;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, FallbackHandler, Handler};
use crate::registry::Endpoint;
use crate::schema::ActionFaults;

/// What the broker knows of an endpoint.
pub(super) struct Route {
    /// The middlewares, and the action or the sending of a request within.
    pub(super) chain: Handler,
    /// When to try again; `None` when the policy is not enabled. Whoever calls carries it out.
    pub(super) retry: Option<RetryPolicy>,
    /// Answers when the action failed for good.
    pub(super) fallback: Option<FallbackHandler>,
}

/// The routes of all endpoints.
#[derive(Default)]
pub(super) struct Chains {
    pub(super) actions: HashMap<u64, Arc<Route>>,
    pub(super) events: HashMap<u64, EventHandler>,
}

impl Chains {
    /// Drops the routes of endpoints that are no longer registered.
    pub(super) fn retire(&mut self, endpoints: &[u64]) {
        for id in endpoints {
            self.actions.remove(id);
            self.events.remove(id);
        }
    }
}

impl Shared {
    /// The route to an endpoint of another node. A chain is built without a lock, because middlewares may
    /// ask the registry.
    pub(super) fn remote_route(
        &self,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Arc<Route>, MoleculerError> {
        let send = self.remote.get().ok_or_else(MoleculerError::broker_disconnected)?;
        let chain = self.chain.remote_action(Arc::clone(send), endpoint);
        let retry = self.retry_policy(&ActionFaults::advertised(&endpoint.definition));
        let route = Arc::new(Route { chain, retry, fallback: None });
        let registry = self.registry.read();
        if !registry.actions.offers(endpoint) {
            // It went while the chain was built: nobody would take the route away again.
            return Ok(route);
        }
        Ok(Arc::clone(self.chains.write().actions.entry(endpoint.id).or_insert(route)))
    }

    /// The policy of an action, when it is enabled.
    pub(super) fn retry_policy(&self, action: &ActionFaults) -> Option<RetryPolicy> {
        let policy = action.retry_policy.over(&self.options.retry_policy);
        policy.enabled.then_some(policy)
    }

    /// Drops the routes to endpoints that other nodes no longer offer.
    pub(super) fn retire_remote(&self) {
        if self.registry.read().has_retired() {
            let mut registry = self.registry.write();
            let retired = registry.take_retired();
            self.chains.write().retire(&retired);
        }
    }
}
