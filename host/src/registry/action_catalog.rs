//! Actions by full name.
//!
//! A name that was known keeps its list when the last endpoint goes, so that "not available" can be told
//! from "not found" (moleculer: src/registry/action-catalog.js). There it does so for ever; here as long as not
//! too many others have gone since.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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

/// Names without endpoints that are remembered, so that peers that make up names do not fill the memory.
pub const EMPTY_MAX: usize = 100_000;

/// All actions.
#[derive(Debug)]
pub struct ActionCatalog {
    lists: HashMap<Arc<str>, EndpointList>,
    /// Names whose last endpoint has gone, the earliest first, and where each is in this order.
    emptied: BTreeMap<u64, Arc<str>>,
    emptied_at: HashMap<Arc<str>, u64>,
    /// How actions are balanced that say nothing of it.
    balance: BalanceOptions,
}

impl ActionCatalog {
    pub(super) fn new(balance: BalanceOptions) -> Self {
        Self {
            lists: HashMap::new(),
            emptied: BTreeMap::new(),
            emptied_at: HashMap::new(),
            balance,
        }
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
        let known = list.and_then(|list| list.of_service(&endpoint.node_id, &endpoint.service));
        known.is_some_and(|known| known.id == endpoint.id)
    }

    /// Makes an endpoint (un)available to callers and gives it back; `None` when it is not registered. The test
    /// tells it from others of its node, also from those that were in its place before.
    #[must_use]
    pub fn set_available(
        &self,
        name: &str,
        node_id: &str,
        is: impl Fn(&Endpoint) -> bool,
        available: bool,
    ) -> Option<Arc<Endpoint>> {
        self.lists.get(name)?.set_available(node_id, is, available)
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
        if let Some(at) = self.emptied_at.remove(&endpoint.name) {
            self.emptied.remove(&at);
        }
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

    /// Removes the endpoint of a service, if the test picks it, and gives it back. A list that becomes empty
    /// stays, unless `forget` is set.
    pub(super) fn remove(
        &mut self,
        name: &str,
        (node_id, service): (&str, &str),
        forget: bool,
        gone: impl Fn(&Endpoint) -> bool,
    ) -> Option<Arc<Endpoint>> {
        let list = self.lists.get_mut(name)?;
        let removed = list.remove(node_id, service, gone)?;
        if !list.endpoints().is_empty() {
            return Some(removed);
        }
        if forget {
            self.lists.remove(name);
            return Some(removed);
        }
        self.keep_empty(&removed.name);
        Some(removed)
    }

    /// Remembers a name without endpoints, and forgets the one that is so for the longest time when there are
    /// too many.
    fn keep_empty(&mut self, name: &Arc<str>) {
        let at = self.emptied.last_key_value().map_or(0, |(last, _)| last + 1);
        self.emptied.insert(at, Arc::clone(name));
        self.emptied_at.insert(Arc::clone(name), at);
        if self.emptied.len() > EMPTY_MAX
            && let Some((_, oldest)) = self.emptied.pop_first()
        {
            self.emptied_at.remove(&oldest);
            self.lists.remove(&oldest);
        }
    }
}
