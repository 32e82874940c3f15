//! The endpoints of one action, or of one event pattern and group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
        self.available.load(Ordering::Acquire)
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

    pub(super) fn set_available(&self, available: bool) {
        self.available.store(available, Ordering::Release);
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

/// Endpoints with the state of their balancing.
#[derive(Debug)]
pub struct EndpointList {
    endpoints: Vec<Arc<Endpoint>>,
    balance: BalanceOptions,
    strategy: Strategy,
    local_strategy: Strategy,
}

impl EndpointList {
    pub(super) fn new(balance: BalanceOptions) -> Self {
        Self {
            endpoints: Vec::new(),
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
        self.endpoints.iter().any(|endpoint| endpoint.local)
    }

    /// Puts an endpoint in the place of the one with the same node and service, which it gives back, or
    /// adds it.
    pub(super) fn set(&mut self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let same = |old: &&mut Arc<Endpoint>| {
            old.node_id == endpoint.node_id && old.service == endpoint.service
        };
        match self.endpoints.iter_mut().find(same) {
            Some(old) => Some(std::mem::replace(old, endpoint)),
            None => {
                self.strategy.add(&endpoint.node_id);
                self.endpoints.push(endpoint);
                None
            }
        }
    }

    /// Removes those that the test picks and gives them back.
    pub(super) fn remove(&mut self, gone: impl Fn(&Endpoint) -> bool) -> Vec<Arc<Endpoint>> {
        let removed: Vec<_> = self.endpoints.extract_if(.., |endpoint| gone(endpoint)).collect();
        for endpoint in &removed {
            self.strategy.remove(&endpoint.node_id);
        }
        removed
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
        let available = self.endpoints.iter().filter(|endpoint| endpoint.available());
        self.strategy.select(available, subject)
    }

    /// The node of the next one. Does not count as a turn of the local endpoints, since which of them
    /// handles an event is decided on its node.
    pub(super) fn next_node(&self, prefer_local: bool, subject: Subject<'_>) -> Option<&Arc<str>> {
        let local = self.endpoints.iter().find(|endpoint| prefer_local && endpoint.local);
        let endpoint = local.or_else(|| self.strategy.select(self.endpoints.iter(), subject));
        endpoint.map(|endpoint| &endpoint.node_id)
    }

    /// The next one on this node that is available.
    #[must_use]
    pub fn next_local(&self) -> Option<&Arc<Endpoint>> {
        let locals = self.endpoints.iter().filter(|one| one.local && one.available());
        self.local_strategy.select(locals, Subject::default())
    }

    /// The one of a service on a given node.
    pub(super) fn of_service(&self, node_id: &str, service: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|e| *e.node_id == *node_id && *e.service == *service)
    }

    /// The one on a given node.
    #[must_use]
    pub fn on_node(&self, node_id: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| *endpoint.node_id == *node_id)
    }
}
