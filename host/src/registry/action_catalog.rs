//! Actions by full name.
//!
//! A name that was known keeps its list when the last endpoint goes, so that "not available" can be told
//! from "not found" (moleculer: src/registry/action-catalog.js).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::endpoint_list::{Endpoint, EndpointList};
use crate::config::BalanceOptions;
use crate::schema::Balance;
use crate::strategy::Subject;

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// An endpoint to call.
    Found(&'a Arc<Endpoint>),
    /// The action was known, or its endpoints are left alone because they keep failing.
    NotAvailable,
    /// The action was never known (on the node that was asked for).
    NotFound,
}

/// All actions.
#[derive(Debug)]
pub struct ActionCatalog {
    lists: HashMap<Arc<str>, EndpointList>,
    /// How actions are balanced that say nothing of it.
    balance: BalanceOptions,
}

impl ActionCatalog {
    pub(super) fn new(balance: BalanceOptions) -> Self {
        Self { lists: HashMap::new(), balance }
    }

    /// The list of one action.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&EndpointList> {
        self.lists.get(name)
    }

    /// All names with their lists.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &EndpointList)> {
        self.lists.iter()
    }

    /// Whether an endpoint is still registered.
    #[must_use]
    pub fn offers(&self, endpoint: &Endpoint) -> bool {
        let list = self.lists.get(&endpoint.name);
        list.is_some_and(|list| list.endpoints().iter().any(|one| one.id == endpoint.id))
    }

    /// Makes an endpoint (un)available to callers and gives it back; `None` when it is not registered. The
    /// definition tells it from others, also from those that were in its place before.
    #[must_use]
    pub fn set_available(
        &self,
        name: &str,
        definition: &Arc<Map<String, Value>>,
        available: bool,
    ) -> Option<Arc<Endpoint>> {
        self.lists.get(name)?.set_available(definition, available)
    }

    /// The endpoint for one call. Actions of the node's own services (`$node.…`) stay local.
    #[must_use]
    pub fn next(&self, name: &str, prefer_local: bool, subject: Subject<'_>) -> Lookup<'_> {
        let Some(list) = self.lists.get(name) else { return Lookup::NotFound };
        let next = if name.starts_with('$') && list.has_local() {
            list.next_local()
        } else {
            list.next(prefer_local, subject)
        };
        match next {
            Some(endpoint) => Lookup::Found(endpoint),
            None => Lookup::NotAvailable,
        }
    }

    /// One of the endpoints that other nodes may call, whichever: it says how the action is called wherever it
    /// runs (moleculer: src/registry/endpoint-list.js getFirst).
    #[must_use]
    pub fn public(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.lists.get(name)?.endpoints().iter().find(|endpoint| !endpoint.protected)
    }

    /// The endpoint on a node that the caller names. One that is not available counts as not found
    /// (moleculer: src/registry/endpoint-list.js getEndpointByNodeID).
    #[must_use]
    pub fn on_node(&self, name: &str, node_id: &str) -> Lookup<'_> {
        match self.lists.get(name).and_then(|list| list.on_node(node_id)) {
            Some(endpoint) if endpoint.available() => Lookup::Found(endpoint),
            _ => Lookup::NotFound,
        }
    }

    /// Adds an endpoint, or puts it in the place of an older one, which it gives back. The first endpoint
    /// of an action says how it is balanced, and a new version of an endpoint may say otherwise
    /// (moleculer: src/registry/action-catalog.js add, which asks only the first).
    pub(super) fn set(&mut self, endpoint: Endpoint, balance: &Balance) -> Option<Arc<Endpoint>> {
        let options = || balance.over(&self.balance);
        let list = self
            .lists
            .entry(Arc::clone(&endpoint.name))
            .or_insert_with(|| EndpointList::new(options()));
        let old = list.set(Arc::new(endpoint));
        if old.as_ref().is_some_and(|old| Balance::advertised(&old.definition) != *balance) {
            list.set_balance(options());
        }
        old
    }

    /// Removes the endpoints that the test picks. Lists that become empty stay, unless `forget` is set.
    pub(super) fn remove(
        &mut self,
        forget: bool,
        gone: impl Fn(&Endpoint) -> bool,
    ) -> Vec<Arc<Endpoint>> {
        let mut removed = Vec::new();
        self.lists.retain(|_, list| {
            let endpoints = list.remove(&gone);
            let touched = !endpoints.is_empty();
            removed.extend(endpoints);
            !(forget && touched && list.endpoints().is_empty())
        });
        removed
    }
}
