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
    /// By action: for calls whose node is chosen by the transporter.
    anywhere: HashMap<Arc<str>, Anywhere>,
}

/// How an action is called wherever it runs.
#[derive(Clone)]
struct Anywhere {
    /// From which endpoint it was made.
    made_from: u64,
    endpoint: Arc<Endpoint>,
    route: Arc<Route>,
}

impl Chains {
    /// Drops the routes of endpoints that are no longer registered.
    pub(super) fn retire(&mut self, endpoints: &[u64]) {
        for id in endpoints {
            self.actions.remove(id);
            self.events.remove(id);
        }
        self.anywhere.retain(|_, known| !endpoints.contains(&known.made_from));
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

    /// The way to an action whose node is chosen by the transporter; `None` when this node has to choose:
    /// because it does so for all actions, or since nobody offers this one to other nodes.
    pub(super) fn route_anywhere(&self, action: &str) -> Option<(Arc<Endpoint>, Arc<Route>)> {
        if !self.leaves_balancing() {
            return None;
        }
        let (endpoint, known) = {
            let registry = self.registry.read();
            let endpoint = registry.actions.public(action)?;
            if endpoint.local && action.starts_with('$') {
                // Who asks a node about itself wants this one.
                return None;
            }
            (Arc::clone(endpoint), self.chains.read().anywhere.get(action).cloned())
        };
        if let Some(known) = known.filter(|known| known.made_from == endpoint.id) {
            return Some((known.endpoint, known.route));
        }
        let send = self.remote.get()?;
        let (made_from, endpoint) = (endpoint.id, Arc::new(endpoint.anywhere()));
        let chain = self.chain.remote_action(Arc::clone(send), &endpoint);
        let retry = self.retry_policy(&ActionFaults::advertised(&endpoint.definition));
        let route = Arc::new(Route { chain, retry, fallback: None });
        let made =
            Anywhere { made_from, endpoint: Arc::clone(&endpoint), route: Arc::clone(&route) };
        self.chains.write().anywhere.insert(Arc::clone(&endpoint.name), made);
        Some((endpoint, route))
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
