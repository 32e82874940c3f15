//! What other nodes offer, as they tell it.
//!
//! An INFO costs what its node offers, however large the mesh is: what is the same as before is left alone,
//! and what has gone is found by the INFO before.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    Effect, Endpoint, EndpointList, NODES_MAX, Node, REMOTE_ITEMS_MAX, REMOTE_SERVICES_MAX,
    Registry, ServiceEntry, service_catalog,
};
use crate::clock::Instant;
use crate::packet::{Info, ServiceItem};
use crate::schema::{Balance, Pattern};

impl Registry {
    /// A node has told what it offers (moleculer: src/registry/node-catalog.js processNodeInfo).
    pub fn apply_info(&mut self, sender: &Arc<str>, mut info: Info, now: Instant) -> Vec<Effect> {
        if *sender == self.local_id || info.is_interim() {
            return Vec::new();
        }
        let services = info.services.take();
        let known = self.nodes.get(sender);
        if known.is_none() && self.nodes.len() >= NODES_MAX {
            return vec![refused(sender, "a node too many")];
        }
        let is_new = known.is_none();
        let reconnected = known.is_some_and(|node| !node.available);
        let restarted = known.is_some_and(|node| info.instance_id != node.info.instance_id);
        let newer = restarted || known.is_none_or(|node| info.seq > node.info.seq || reconnected);
        let last_heartbeat =
            known.filter(|node| node.available).map_or(now, |node| node.last_heartbeat);
        let load = self.load_of(sender);
        self.latency.join(&info.hostname, &load);
        let node = Node {
            id: Arc::clone(sender),
            local: false,
            available: true,
            load,
            cpu_seq: known.map_or(0, |node| node.cpu_seq),
            info,
            last_heartbeat,
            offline_since: None,
            contact: known.map(|node| node.contact.clone()).unwrap_or_default(),
        };
        let node_value = node.to_value(self.started);
        self.nodes.insert(node);
        let mut effects = Vec::new();
        if newer && let Some(services) = services {
            if restarted {
                self.remove_remote_services(sender);
            }
            if let Some(what) = excess(&services) {
                effects.push(refused(sender, what));
            }
            self.replace_remote_services(sender, services);
            effects.push(Effect::ServicesChanged { local_service: false });
        }
        effects.push(if is_new || reconnected {
            Effect::NodeConnected { node: node_value, reconnected }
        } else {
            Effect::NodeUpdated { node: node_value }
        });
        effects
    }

    /// Takes in all that a node offers now. What it offers as before stays as it is, so that an INFO costs what
    /// the node has, and not what the mesh has.
    fn replace_remote_services(&mut self, sender: &Arc<str>, services: Vec<ServiceItem>) {
        let before = self.services.take_node(sender);
        let mut offered = HashSet::new();
        for item in merged(services.into_iter().take(REMOTE_SERVICES_MAX)) {
            let (full_name, item) = self.services.shared(item);
            for (name, definition) in item.actions.iter().take(REMOTE_ITEMS_MAX) {
                offered.extend(self.remote_action(sender, &full_name, name, definition));
            }
            for (name, definition) in item.events.iter().take(REMOTE_ITEMS_MAX) {
                let group = service_catalog::group(&item.name, definition);
                offered.extend(self.remote_event(sender, &full_name, name, group, definition));
            }
            let node_id = Arc::clone(sender);
            let entry = ServiceEntry { item, node_id, local: false, origin: None };
            self.services.set(full_name, entry);
        }
        for (full_name, entry) in before {
            self.withdraw_remote(&full_name, &entry, &offered);
        }
    }

    /// Adds an action of another node and gives the ID of its endpoint. One that is offered as before keeps
    /// its endpoint, and with it what callers have learnt about it.
    fn remote_action(
        &mut self,
        sender: &Arc<str>,
        service: &Arc<str>,
        name: &str,
        definition: &Value,
    ) -> Option<u64> {
        // Protected actions are for their own node (moleculer: src/registry/registry.js registerActions).
        let hidden = definition.get("visibility").and_then(Value::as_str);
        if matches!(hidden, Some("protected" | "private")) {
            return None;
        }
        let offer = Offer::new(self.actions.get(name), sender, service, name, definition);
        let offer = match offer {
            Offer::Known(id) => return Some(id),
            Offer::New { name, definition } => (name, definition),
        };
        let id = self.endpoint_id();
        let timeout = definition.get("timeout").and_then(Value::as_f64);
        let timeout = timeout.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
        let endpoint = Endpoint { timeout, ..self.endpoint(id, sender, service, offer) };
        let balance = Balance::advertised(&endpoint.definition);
        let replaced = self.actions.set(endpoint, &balance);
        self.retired.extend(replaced.map(|endpoint| endpoint.id));
        Some(id)
    }

    /// The same for an event.
    fn remote_event(
        &mut self,
        sender: &Arc<str>,
        service: &Arc<str>,
        event: &str,
        group: &str,
        definition: &Value,
    ) -> Option<u64> {
        let list = self.events.get(event, group);
        let offer = Offer::new(list.map(|entry| &entry.list), sender, service, event, definition);
        let offer = match offer {
            Offer::Known(id) => return Some(id),
            Offer::New { name, definition } => (name, definition),
        };
        let group = list.map_or_else(|| group.into(), |entry| Arc::clone(&entry.group));
        // A peer's pattern that cannot be compiled can match nothing on its side either.
        let pattern = Pattern::compile(event).ok()?;
        let id = self.endpoint_id();
        let endpoint = self.endpoint(id, sender, service, offer);
        let balance = Balance::advertised(&endpoint.definition);
        self.events.set(&group, &pattern, &balance, endpoint);
        Some(id)
    }

    /// An endpoint of this node or another, as most are: without a time-out, and for everybody.
    pub(super) fn endpoint(
        &self,
        id: u64,
        node_id: &Arc<str>,
        service: &Arc<str>,
        (name, definition): (Arc<str>, Arc<Map<String, Value>>),
    ) -> Endpoint {
        Endpoint {
            id,
            node_id: Arc::clone(node_id),
            local: *node_id == self.local_id,
            service: Arc::clone(service),
            name,
            timeout: None,
            protected: false,
            definition,
            load: self.load_of(node_id),
            available: true.into(),
        }
    }

    pub(super) fn remove_remote_services(&mut self, node_id: &Arc<str>) {
        for (full_name, entry) in self.services.take_node(node_id) {
            self.withdraw_remote(&full_name, &entry, &HashSet::new());
        }
    }

    fn withdraw_remote(&mut self, full_name: &str, entry: &ServiceEntry, offered: &HashSet<u64>) {
        let gone = self.withdraw(full_name, entry, offered);
        self.retired.extend(gone.iter().map(|endpoint| endpoint.id));
    }

    /// Removes the endpoints of a service that has gone or changed, but for those that are `offered` still, and
    /// gives them back.
    pub(super) fn withdraw(
        &mut self,
        full_name: &str,
        entry: &ServiceEntry,
        offered: &HashSet<u64>,
    ) -> Vec<Arc<Endpoint>> {
        let gone = |endpoint: &Endpoint| !offered.contains(&endpoint.id);
        let of = (&*entry.node_id, full_name);
        // What this node once offered and nobody offers now is not found, rather than not available.
        let actions =
            entry.actions().filter_map(|name| self.actions.remove(name, of, entry.local, gone));
        let mut removed: Vec<_> = actions.collect();
        let events = entry.subscriptions();
        removed.extend(events.filter_map(|list| self.events.remove(list, of, gone)));
        removed
    }

    /// Whether endpoints of other nodes have gone since [`Registry::take_retired`] was last asked.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Remote endpoints that have gone since the last time.
    pub fn take_retired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.retired)
    }
}

/// What an INFO says of one action or event.
enum Offer {
    /// The same as before, by this endpoint. What callers have learnt about it stays.
    Known(u64),
    /// Something new. What other nodes declare as well is kept once.
    New { name: Arc<str>, definition: Arc<Map<String, Value>> },
}

impl Offer {
    fn new(
        list: Option<&EndpointList>,
        sender: &Arc<str>,
        service: &Arc<str>,
        name: &str,
        definition: &Value,
    ) -> Self {
        let same = |one: &&Arc<Endpoint>| definition.as_object() == Some(&*one.definition);
        let known = list.and_then(|list| list.of_service(sender, service));
        if let Some(known) = known.filter(same) {
            return Self::Known(known.id);
        }
        let first = list.and_then(|list| list.endpoints().first());
        let name = first.map_or_else(|| name.into(), |first| Arc::clone(&first.name));
        let definition = match first.filter(same) {
            Some(first) => Arc::clone(&first.definition),
            None => Arc::new(definition.as_object().cloned().unwrap_or_default()),
        };
        Self::New { name, definition }
    }
}

/// One item for each full name: a peer that names a service twice offers what both say.
fn merged(services: impl ExactSizeIterator<Item = ServiceItem>) -> Vec<ServiceItem> {
    let mut places = HashMap::new();
    let mut merged: Vec<ServiceItem> = Vec::with_capacity(services.len());
    for item in services {
        match places.entry(item.full_name.clone()) {
            Entry::Vacant(new) => {
                new.insert(merged.len());
                merged.push(item);
            }
            Entry::Occupied(known) => {
                if let Some(first) = merged.get_mut(*known.get()) {
                    first.actions.extend(item.actions);
                    first.events.extend(item.events);
                }
            }
        }
    }
    merged
}

pub(super) fn refused(node_id: &Arc<str>, what: &'static str) -> Effect {
    Effect::Refused { node_id: Arc::clone(node_id), what }
}

/// What a node offers beyond what is believed.
fn excess(services: &[ServiceItem]) -> Option<&'static str> {
    let too_many =
        |item: &ServiceItem| item.actions.len().max(item.events.len()) > REMOTE_ITEMS_MAX;
    if services.len() > REMOTE_SERVICES_MAX {
        return Some("services too many");
    }
    services.iter().any(too_many).then_some("actions or events too many")
}
