//! The endpoints of one action, or of one event pattern and group.
//!
//! Choosing one costs the same however many there are, as long as no circuit is open and the strategy does
//! not look at all of them itself: a mesh of 500 nodes asks for that with every call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::BalanceOptions;
use crate::strategy::{Candidate, NodeLoad, Strategy, Subject};

/// One place where an action runs or an event is handled.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process; what the broker keeps its chains by.
    pub id: u64,
    /// The node.
    pub node_id: Arc<str>,
    /// Whether that is this node.
    pub local: bool,
    /// Full name of the service.
    pub service: Arc<str>,
    /// Full action name, or the event pattern.
    pub name: Arc<str>,
    /// Time limit that the action declares.
    pub timeout: Option<Duration>,
    /// Whether only this node may call it.
    pub protected: bool,
    /// As it was declared.
    pub definition: Arc<Map<String, Value>>,
    /// What is known of the node's load.
    pub(super) load: Arc<NodeLoad>,
    /// False while the circuit breaker keeps callers away (moleculer: src/registry/endpoint.js state).
    pub(super) available: AtomicBool,
}

impl Endpoint {
    /// Whether it may be called.
    #[must_use]
    pub fn available(&self) -> bool {
        #[cfg(test)]
        looked::count();
        self.available.load(Ordering::Acquire)
    }

    fn is_on(&self, node_id: &str) -> bool {
        #[cfg(test)]
        looked::count();
        *self.node_id == *node_id
    }

    /// The same action wherever it runs, for calls whose node is chosen by the transporter: without a
    /// node ID, and without a circuit breaker, since there is no node to be left alone.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        let mut definition = Map::clone(&self.definition);
        definition.insert("circuitBreaker".into(), json!({"enabled": false}));
        Self {
            id: self.id,
            node_id: "".into(),
            local: false,
            service: Arc::clone(&self.service),
            name: Arc::clone(&self.name),
            timeout: self.timeout,
            protected: false,
            definition: Arc::new(definition),
            load: Arc::clone(&self.load),
            available: true.into(),
        }
    }
}

impl Candidate for Endpoint {
    fn node_id(&self) -> &Arc<str> {
        &self.node_id
    }

    fn load(&self) -> &NodeLoad {
        &self.load
    }
}

/// From this many endpoints on, those of a node are found by an index. Shorter lists are searched as fast.
const INDEXED_MIN: usize = 9;

/// Endpoints with the state of their balancing.
#[derive(Debug)]
pub struct EndpointList {
    endpoints: Vec<Arc<Endpoint>>,
    /// Those of them that are on this node, in the same order.
    locals: Vec<Arc<Endpoint>>,
    /// Where the first one of each node is. Empty while the list is short enough to be searched.
    first_on: HashMap<Arc<str>, usize>,
    /// How many circuits are open.
    n_unavailable: AtomicUsize,
    balance: BalanceOptions,
    strategy: Strategy,
    local_strategy: Strategy,
}

impl EndpointList {
    pub(super) fn new(balance: BalanceOptions) -> Self {
        Self {
            endpoints: Vec::new(),
            locals: Vec::new(),
            first_on: HashMap::new(),
            n_unavailable: AtomicUsize::new(0),
            strategy: Strategy::new(&balance),
            local_strategy: Strategy::within_node(&balance),
            balance,
        }
    }

    /// How it is balanced.
    #[must_use]
    pub fn balance(&self) -> &BalanceOptions {
        &self.balance
    }

    /// Begins to balance in another way, unless it is the same.
    pub(super) fn set_balance(&mut self, balance: BalanceOptions) {
        if balance == self.balance {
            return;
        }
        let endpoints = std::mem::take(&mut self.endpoints);
        *self = Self::new(balance);
        for endpoint in endpoints {
            self.set(endpoint);
        }
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Whether one of them is on this node.
    #[must_use]
    pub fn has_local(&self) -> bool {
        !self.locals.is_empty()
    }

    /// Puts an endpoint in the place of the one with the same node and service, which it gives back, or
    /// adds it.
    pub(super) fn set(&mut self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let local = endpoint.local;
        let old = match self.position(&endpoint.node_id, &endpoint.service) {
            Some(at) => self.endpoints.get_mut(at).map(|place| std::mem::replace(place, endpoint)),
            None => {
                self.strategy.add(&endpoint.node_id);
                self.index(&endpoint.node_id);
                self.endpoints.push(endpoint);
                None
            }
        };
        if local || old.as_ref().is_some_and(|old| !old.available()) {
            self.count();
        }
        old
    }

    /// Removes those that the test picks and gives them back.
    pub(super) fn remove(&mut self, gone: impl Fn(&Endpoint) -> bool) -> Vec<Arc<Endpoint>> {
        let removed: Vec<_> = self.endpoints.extract_if(.., |endpoint| gone(endpoint)).collect();
        if removed.is_empty() {
            return removed;
        }
        for endpoint in &removed {
            self.strategy.remove(&endpoint.node_id);
        }
        self.first_on.clear();
        if self.endpoints.len() >= INDEXED_MIN {
            self.index_all();
        }
        self.count();
        removed
    }

    /// Makes the endpoint with this definition (un)available and gives it back.
    pub(super) fn set_available(
        &self,
        definition: &Arc<Map<String, Value>>,
        available: bool,
    ) -> Option<Arc<Endpoint>> {
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|one| Arc::ptr_eq(&one.definition, definition))?;
        match (endpoint.available.swap(available, Ordering::AcqRel), available) {
            (true, false) => _ = self.n_unavailable.fetch_add(1, Ordering::AcqRel),
            (false, true) => _ = self.n_unavailable.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        Some(Arc::clone(endpoint))
    }

    /// Brings what is kept beside the endpoints in line with them.
    fn count(&mut self) {
        self.locals = self.endpoints.iter().filter(|one| one.local).cloned().collect();
        let unavailable = self.endpoints.iter().filter(|one| !one.available()).count();
        self.n_unavailable = AtomicUsize::new(unavailable);
    }

    /// Notes that the next endpoint to be added is on this node.
    fn index(&mut self, node_id: &Arc<str>) {
        let at = self.endpoints.len();
        if at + 1 == INDEXED_MIN {
            self.index_all();
        }
        if at + 1 >= INDEXED_MIN {
            self.first_on.entry(Arc::clone(node_id)).or_insert(at);
        }
    }

    fn index_all(&mut self) {
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            self.first_on.entry(Arc::clone(&endpoint.node_id)).or_insert(at);
        }
    }

    fn position(&self, node_id: &str, service: &str) -> Option<usize> {
        let same = |one: &Arc<Endpoint>| one.is_on(node_id) && *one.service == *service;
        match self.first_on.get(node_id) {
            None if !self.first_on.is_empty() => None,
            // Two services of one node with the same action are rare, and beside the first one.
            first => {
                let start = first.copied().unwrap_or(0);
                let rest = self.endpoints.get(start..).unwrap_or_default();
                rest.iter().position(same).map(|at| start + at)
            }
        }
    }

    fn all_available(&self) -> bool {
        self.n_unavailable.load(Ordering::Acquire) == 0
    }

    /// Whether one of them may be called.
    #[must_use]
    pub fn has_available(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.available())
    }

    /// The next one that is available: a local one first when wished, else by the strategy
    /// (moleculer: src/registry/endpoint-list.js next).
    #[must_use]
    pub fn next(&self, prefer_local: bool, subject: Subject<'_>) -> Option<&Arc<Endpoint>> {
        if let [only] = self.endpoints.as_slice() {
            return Some(only).filter(|endpoint| endpoint.available());
        }
        if prefer_local && let Some(local) = self.next_local() {
            return Some(local);
        }
        if self.all_available() {
            return self.strategy.select(self.endpoints.iter(), subject);
        }
        let available = self.endpoints.iter().filter(|endpoint| endpoint.available());
        self.strategy.select(available, subject)
    }

    /// The node of the next one. Does not count as a turn of the local endpoints, since which of them
    /// handles an event is decided on its node.
    pub(super) fn next_node(&self, prefer_local: bool, subject: Subject<'_>) -> Option<&Arc<str>> {
        let local = self.locals.first().filter(|_| prefer_local);
        let endpoint = local.or_else(|| self.strategy.select(self.endpoints.iter(), subject));
        endpoint.map(|endpoint| &endpoint.node_id)
    }

    /// The next one on this node that is available.
    #[must_use]
    pub fn next_local(&self) -> Option<&Arc<Endpoint>> {
        let locals = self.locals.iter().filter(|one| one.available());
        self.local_strategy.select(locals, Subject::default())
    }

    /// The one of a service on a given node.
    pub(super) fn of_service(&self, node_id: &str, service: &str) -> Option<&Arc<Endpoint>> {
        self.position(node_id, service).and_then(|at| self.endpoints.get(at))
    }

    /// The one on a given node.
    #[must_use]
    pub fn on_node(&self, node_id: &str) -> Option<&Arc<Endpoint>> {
        if !self.first_on.is_empty() {
            return self.first_on.get(node_id).and_then(|at| self.endpoints.get(*at));
        }
        self.endpoints.iter().find(|endpoint| endpoint.is_on(node_id))
    }
}

/// How many endpoints this thread has looked at; for tests of what a call costs.
#[cfg(test)]
pub(super) mod looked {
    use std::cell::Cell;

    thread_local! {
        static AT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        AT.set(AT.get() + 1);
    }

    /// How many `work` looks at.
    pub(in crate::registry) fn at(work: impl FnOnce()) -> usize {
        let before = AT.get();
        work();
        AT.get() - before
    }
}
