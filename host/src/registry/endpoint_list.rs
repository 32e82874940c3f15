//! The endpoints of one action, or of one event pattern and group.
//!
//! Choosing one costs the same however many there are, as long as no circuit is open and the strategy does
//! not look at all of them itself: a mesh of 500 nodes asks for that with every call. Adding and removing one
//! costs the same as well, since every node that comes or goes does it for all that it offers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

/// Where the endpoints of one node are: few nodes have two services with the same action.
#[derive(Debug)]
enum Places {
    One(usize),
    More(Vec<usize>),
}

impl Places {
    fn all(&self) -> &[usize] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::More(places) => places,
        }
    }

    fn add(&mut self, place: usize) {
        match self {
            Self::One(first) => *self = Self::More(vec![*first, place]),
            Self::More(places) => places.push(place),
        }
    }

    fn replace(&mut self, old: usize, new: usize) {
        let places = match self {
            Self::One(place) => std::slice::from_mut(place),
            Self::More(places) => places,
        };
        if let Some(place) = places.iter_mut().find(|place| **place == old) {
            *place = new;
        }
    }

    /// True when none is left.
    fn remove(&mut self, old: usize) -> bool {
        match self {
            Self::One(place) => *place == old,
            Self::More(places) => {
                places.retain(|place| *place != old);
                places.is_empty()
            }
        }
    }
}

/// Endpoints with the state of their balancing.
#[derive(Debug)]
pub struct EndpointList {
    endpoints: Vec<Arc<Endpoint>>,
    /// Those of them that are on this node, in the same order.
    locals: Vec<Arc<Endpoint>>,
    /// Where those of each node are. Empty while the list is short enough to be searched.
    places: HashMap<Arc<str>, Places>,
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
            places: HashMap::new(),
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
        match self.position(&endpoint.node_id, &endpoint.service) {
            Some(at) => {
                let place = self.endpoints.get_mut(at)?;
                let old = std::mem::replace(place, Arc::clone(&endpoint));
                self.discount(&old);
                if endpoint.local {
                    self.locals.retain(|one| one.id != old.id);
                    self.locals.push(endpoint);
                }
                Some(old)
            }
            None => {
                self.strategy.add(&endpoint.node_id);
                if endpoint.local {
                    self.locals.push(Arc::clone(&endpoint));
                }
                self.index(&endpoint.node_id);
                self.endpoints.push(endpoint);
                None
            }
        }
    }

    /// Removes the one of a service, if the test picks it, and gives it back. The last one takes its place.
    pub(super) fn remove(
        &mut self,
        node_id: &str,
        service: &str,
        gone: impl Fn(&Endpoint) -> bool,
    ) -> Option<Arc<Endpoint>> {
        let at = self.position(node_id, service)?;
        if !self.endpoints.get(at).is_some_and(|endpoint| gone(endpoint)) {
            return None;
        }
        let removed = self.endpoints.swap_remove(at);
        self.strategy.remove(node_id);
        self.discount(&removed);
        if removed.local {
            self.locals.retain(|one| one.id != removed.id);
        }
        self.unindex(node_id, at);
        Some(removed)
    }

    /// Makes the endpoint of a node that the test picks (un)available and gives it back.
    pub(super) fn set_available(
        &self,
        node_id: &str,
        is: impl Fn(&Endpoint) -> bool,
        available: bool,
    ) -> Option<Arc<Endpoint>> {
        let endpoint = self.of_node(node_id).find(|endpoint| is(endpoint))?;
        match (endpoint.available.swap(available, Ordering::AcqRel), available) {
            (true, false) => _ = self.n_unavailable.fetch_add(1, Ordering::AcqRel),
            (false, true) => _ = self.n_unavailable.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        Some(Arc::clone(endpoint))
    }

    /// An endpoint has left the list, and with it its circuit.
    fn discount(&self, gone: &Endpoint) {
        if !gone.available() {
            self.n_unavailable.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Notes that the next endpoint to be added is on this node.
    fn index(&mut self, node_id: &Arc<str>) {
        let at = self.endpoints.len();
        if at + 1 < INDEXED_MIN {
            return;
        }
        if self.places.is_empty() {
            for at in 0..at {
                let node_id = self.endpoints.get(at).map(|endpoint| Arc::clone(&endpoint.node_id));
                node_id.into_iter().for_each(|node_id| self.note(node_id, at));
            }
        }
        self.note(Arc::clone(node_id), at);
    }

    fn note(&mut self, node_id: Arc<str>, at: usize) {
        match self.places.entry(node_id) {
            Entry::Occupied(mut known) => known.get_mut().add(at),
            Entry::Vacant(new) => _ = new.insert(Places::One(at)),
        }
    }

    /// Notes that the endpoint of this node that was here has gone, and that the last one took its place.
    fn unindex(&mut self, node_id: &str, at: usize) {
        if self.endpoints.len() < INDEXED_MIN {
            self.places = HashMap::new();
            return;
        }
        if self.places.get_mut(node_id).is_some_and(|places| places.remove(at)) {
            self.places.remove(node_id);
        }
        let moved = self.endpoints.get(at).and_then(|moved| self.places.get_mut(&moved.node_id));
        if let Some(places) = moved {
            places.replace(self.endpoints.len(), at);
        }
    }

    /// Those of one node.
    fn of_node(&self, node_id: &str) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.places_of(node_id).filter_map(|at| self.endpoints.get(at))
    }

    fn places_of(&self, node_id: &str) -> impl Iterator<Item = usize> {
        let indexed = !self.places.is_empty();
        let known = self.places.get(node_id).map(Places::all).unwrap_or_default();
        let searched = if indexed { &[] } else { self.endpoints.as_slice() };
        let found = searched.iter().enumerate().filter(move |(_, one)| one.is_on(node_id));
        known.iter().copied().chain(found.map(|(at, _)| at))
    }

    fn position(&self, node_id: &str, service: &str) -> Option<usize> {
        let is = |at: &usize| self.endpoints.get(*at).is_some_and(|one| *one.service == *service);
        self.places_of(node_id).find(is)
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
        self.of_node(node_id).next()
    }
}

/// How many endpoints this thread has looked at; for tests of what a call costs.
#[cfg(test)]
pub(super) mod looked {
    use std::cell::Cell;

    thread_local! {
        static AT: Cell<usize> = const { Cell::new(0) };
    }

    pub(in crate::registry) fn count() {
        count_many(1);
    }

    pub(in crate::registry) fn count_many(n: usize) {
        AT.set(AT.get() + n);
    }

    /// How many `work` looks at.
    pub(in crate::registry) fn at(work: impl FnOnce()) -> usize {
        let before = AT.get();
        work();
        AT.get() - before
    }
}
