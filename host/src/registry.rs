//! Who offers what: the nodes, services, actions and events of the mesh as this node knows them.
//!
//! The registry is pure: it is told what happened and when, and answers with [`Effect`]s for others to carry
//! out. It holds no handler, channel, timer or socket. Its rules are those of moleculer: src/registry/.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Instant;
use crate::config;
use crate::packet::{Info, ServiceItem};
use crate::schema::{self, Balance, Pattern, ServiceSchema, Visibility};
use crate::strategy::NodeLoad;

pub mod action_catalog;
pub mod endpoint_list;
pub mod event_catalog;
pub mod gossip;
pub mod latency;
pub mod listing;
pub mod node_catalog;
pub mod service_catalog;

pub use action_catalog::{ActionCatalog, Lookup};
pub use endpoint_list::{Endpoint, EndpointList};
pub use event_catalog::EventCatalog;
pub use node_catalog::{Contact, Node, NodeCatalog};
pub use service_catalog::{ServiceCatalog, ServiceEntry};

/// What a node leaves in a store to show that it lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// Number of its INFO, when it tells.
    pub seq: Option<u64>,
    /// What the ID of its run begins with.
    pub instance: String,
    /// Its load in percent, when it tells.
    pub cpu: Option<f64>,
}

/// Most nodes that are remembered, this one included. A peer that invents more is not believed.
pub const NODES_MAX: usize = 10_000;

/// Most actions, and most events, that one remote service may offer.
pub const REMOTE_ITEMS_MAX: usize = 10_000;

/// Most services that one node may offer.
pub const REMOTE_SERVICES_MAX: usize = 10_000;

/// Longest way of a ping there and back that is believed, in milliseconds. Nobody waits longer for one.
const PONG_MS_MAX: f64 = 60_000.0;

/// What the rest of the node must do after a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Broadcast `$node.connected` locally. `node` is the form of `$node.list`.
    NodeConnected {
        /// The node.
        node: Value,
        /// Whether it was known before.
        reconnected: bool,
    },
    /// Broadcast `$node.updated` locally.
    NodeUpdated {
        /// The node.
        node: Value,
    },
    /// Broadcast `$node.disconnected` locally.
    NodeDisconnected {
        /// The node.
        node: Value,
        /// False when it said good-bye.
        unexpected: bool,
    },
    /// Broadcast `$services.changed` locally.
    ServicesChanged {
        /// Whether a service of this node changed.
        local_service: bool,
    },
    /// Reject all requests that wait for this node.
    RejectPending {
        /// The node.
        node_id: Arc<str>,
    },
    /// Ask this node for its INFO.
    Discover {
        /// The node.
        node_id: Arc<str>,
    },
    /// Count and log that a node told more than is believed.
    Refused {
        /// The node.
        node_id: Arc<str>,
        /// What was left out.
        what: &'static str,
    },
}

/// What registering a local service did.
#[derive(Debug)]
pub struct Registered {
    /// Endpoint IDs, one for each action of the schema.
    pub actions: Vec<u64>,
    /// Endpoint IDs, one for each event of the schema.
    pub events: Vec<u64>,
    /// Endpoint IDs that were replaced or removed.
    pub retired: Vec<u64>,
    /// Whether what is advertised differs from before.
    pub changed: bool,
    /// Whether an action that was advertised before is gone. JavaScript gateways forget it only when the
    /// whole service is missing from one INFO. Events that are gone concern no gateway.
    pub shrunk: bool,
}

/// The registry of one node.
#[derive(Debug)]
pub struct Registry {
    /// Nodes.
    pub nodes: NodeCatalog,
    /// Services.
    pub services: ServiceCatalog,
    /// Actions.
    pub actions: ActionCatalog,
    /// Private actions of this node by service and full name. No look-up by name alone finds them.
    private: HashMap<Arc<str>, HashMap<Arc<str>, Arc<Endpoint>>>,
    /// Events.
    pub events: EventCatalog,
    local_id: Arc<str>,
    /// When this node was made; `$node.list` counts its seconds from here.
    started: Instant,
    /// How fast hosts answer, when a strategy asks for it.
    latency: latency::Hosts,
    next_endpoint: u64,
    info_stale: bool,
    /// Remote endpoints that are gone, until the broker has heard of it.
    retired: Vec<u64>,
    /// Files of this node that hold no usable service, and why; shown in `$node.services`.
    broken: BTreeMap<String, Value>,
}

impl Registry {
    /// A registry that knows only its own node. `info` describes that node; its `services` are ignored.
    #[must_use]
    pub fn new(local_id: Arc<str>, info: Info, options: &config::Registry, now: Instant) -> Self {
        let mut nodes = NodeCatalog::default();
        nodes.insert(Node {
            id: Arc::clone(&local_id),
            local: true,
            available: true,
            info: Info { services: None, seq: 1, ..info },
            load: Arc::default(),
            cpu_seq: 0,
            last_heartbeat: now,
            offline_since: None,
            contact: Contact::default(),
        });
        Self {
            nodes,
            services: ServiceCatalog::default(),
            actions: ActionCatalog::new(options.balance()),
            private: HashMap::new(),
            events: EventCatalog::new(options.balance()),
            local_id,
            started: now,
            latency: latency::Hosts::default(),
            next_endpoint: 0,
            info_stale: true,
            retired: Vec::new(),
            broken: BTreeMap::new(),
        }
    }

    /// ID of this node.
    #[must_use]
    pub fn local_id(&self) -> &Arc<str> {
        &self.local_id
    }

    /// A node as `$node.list` shows it, without services; `None` when it is not known.
    #[must_use]
    pub fn node_value(&self, node_id: &str) -> Option<Value> {
        self.nodes.get(node_id).map(|node| node.to_value(self.started))
    }

    /// The load of a node that is known.
    fn load_of(&self, node_id: &str) -> Arc<NodeLoad> {
        self.nodes.get(node_id).map(|node| Arc::clone(&node.load)).unwrap_or_default()
    }

    fn endpoint_id(&mut self) -> u64 {
        self.next_endpoint += 1;
        self.next_endpoint
    }

    /// Registers a service of this node, in the place of the one with the same full name if there is one:
    /// whoever looks afterwards sees the new one, and nobody sees neither.
    pub fn register_local(&mut self, schema: &ServiceSchema, origin: Option<Value>) -> Registered {
        let node_id = Arc::clone(&self.local_id);
        let item = Arc::new(schema.to_item());
        let old =
            self.services.get(&schema.full_name, &node_id).map(|entry| Arc::clone(&entry.item));
        let mut retired = Vec::new();
        retired.extend(self.take_private(&schema.full_name));
        let actions: Vec<_> =
            schema.actions.iter().map(|a| self.local_action(schema, a, &mut retired)).collect();
        let events: Vec<_> =
            schema.events.iter().map(|e| self.local_event(schema, e, &mut retired)).collect();
        let current: HashSet<u64> = actions.iter().chain(&events).copied().collect();
        let stale = |endpoint: &Endpoint| {
            endpoint.local
                && endpoint.service == schema.full_name
                && !current.contains(&endpoint.id)
        };
        retired.extend(self.actions.remove(true, stale));
        retired.extend(self.events.remove(stale));
        let changed = old.as_ref().is_none_or(|old| !same_item(old, &item));
        let shrunk = old
            .as_ref()
            .is_some_and(|old| old.actions.keys().any(|name| !item.actions.contains_key(name)));
        self.info_stale |= changed;
        let entry = ServiceEntry { item, node_id, local: true, origin };
        self.services.set(Arc::clone(&schema.full_name), entry);
        let retired = retired.iter().map(|endpoint| endpoint.id).collect();
        Registered { actions, events, retired, changed, shrunk }
    }

    fn local_action(
        &mut self,
        schema: &ServiceSchema,
        action: &schema::ActionSchema,
        retired: &mut Vec<Arc<Endpoint>>,
    ) -> u64 {
        let id = self.endpoint_id();
        let endpoint = Endpoint {
            id,
            node_id: Arc::clone(&self.local_id),
            local: true,
            service: Arc::clone(&schema.full_name),
            name: Arc::clone(&action.name),
            timeout: action.timeout,
            protected: action.visibility == Visibility::Protected,
            definition: Arc::clone(&action.definition),
            load: self.load_of(&self.local_id),
            available: true.into(),
        };
        if action.visibility == Visibility::Private {
            let own = self.private.entry(Arc::clone(&schema.full_name)).or_default();
            own.insert(Arc::clone(&action.name), Arc::new(endpoint));
        } else {
            retired.extend(self.actions.set(endpoint, &action.balance));
        }
        id
    }

    /// A private action of a service of this node. Only that service may call it
    /// (moleculer: src/service.js `this.actions`).
    #[must_use]
    pub fn private_action(&self, service: &str, action: &str) -> Option<&Arc<Endpoint>> {
        self.private.get(service)?.get(action)
    }

    fn take_private(&mut self, service: &Arc<str>) -> impl Iterator<Item = Arc<Endpoint>> + use<> {
        self.private.remove(service).unwrap_or_default().into_values()
    }

    fn local_event(
        &mut self,
        schema: &ServiceSchema,
        event: &schema::EventSchema,
        retired: &mut Vec<Arc<Endpoint>>,
    ) -> u64 {
        let id = self.endpoint_id();
        let endpoint = Endpoint {
            id,
            node_id: Arc::clone(&self.local_id),
            local: true,
            service: Arc::clone(&schema.full_name),
            name: Arc::clone(&event.key),
            timeout: None,
            protected: false,
            definition: Arc::clone(&event.definition),
            load: self.load_of(&self.local_id),
            available: true.into(),
        };
        retired.extend(self.events.set(&event.group, &event.pattern, &event.balance, endpoint));
        id
    }

    /// Takes a service of this node away and gives back the IDs of its endpoints; `None` when there is no
    /// such service. Its actions are then not found, unless other nodes offer them.
    pub fn unregister_local(&mut self, full_name: &Arc<str>) -> Option<Vec<u64>> {
        let node_id = Arc::clone(&self.local_id);
        self.services.remove(full_name, &node_id)?;
        self.info_stale = true;
        let gone = |endpoint: &Endpoint| endpoint.local && endpoint.service == *full_name;
        let mut removed = self.actions.remove(true, gone);
        removed.extend(self.events.remove(gone));
        removed.extend(self.take_private(full_name));
        Some(removed.iter().map(|endpoint| endpoint.id).collect())
    }

    /// Changes what `$node.services` says of the origin of a local service.
    pub fn set_origin(&mut self, full_name: &Arc<str>, origin: Value) {
        let node_id = Arc::clone(&self.local_id);
        if let Some(entry) = self.services.get_mut(full_name, &node_id) {
            entry.origin = Some(origin);
        }
    }

    /// Remembers that a file holds no usable service (`origin` says why), or forgets that.
    pub fn set_broken(&mut self, name: &str, origin: Option<Value>) {
        match origin {
            Some(origin) => self.broken.insert(name.to_owned(), origin),
            None => self.broken.remove(name),
        };
    }

    /// Whether anything was registered or removed since [`Registry::local_info`] was last asked.
    #[must_use]
    pub fn info_stale(&self) -> bool {
        self.info_stale
    }

    /// What this node tells the others. `seq` grows by one when something changed since the last time
    /// (moleculer: src/registry/registry.js regenerateLocalRawInfo). `without` names services to leave
    /// out of this one INFO; leaving some out counts as a change, now and for the next time.
    pub fn local_info(&mut self, without: &[Arc<str>]) -> Info {
        let services = self
            .services
            .on_node(&self.local_id)
            .filter(|(name, _)| !without.contains(name))
            .map(|(_, entry)| ServiceItem::clone(&entry.item))
            .collect();
        let raise = u64::from(self.info_stale || !without.is_empty());
        self.info_stale = !without.is_empty();
        self.local_info_with(services, raise)
    }

    /// The INFO as it is now, without counting as told.
    #[must_use]
    pub fn current_info(&self) -> Info {
        let services = self.services.on_node(&self.local_id);
        let services = services.map(|(_, entry)| ServiceItem::clone(&entry.item)).collect();
        let info = self.nodes.get(&self.local_id).map(|node| node.info.clone());
        Info { services: Some(services), ..info.unwrap_or_default() }
    }

    /// The INFO of a node that is stopping: no services, a higher `seq`.
    pub fn final_info(&mut self) -> Info {
        self.local_info_with(Vec::new(), 1)
    }

    fn local_info_with(&mut self, services: Vec<ServiceItem>, raise: u64) -> Info {
        let local_id = Arc::clone(&self.local_id);
        let Some(node) = self.nodes.get_mut(&local_id) else { return Info::default() };
        node.info.seq += raise;
        Info { services: Some(services), ..node.info.clone() }
    }

    /// Sets the CPU load of this node, and marks it as alive.
    pub fn set_local_cpu(&mut self, cpu: Option<f64>, now: Instant) {
        let local_id = Arc::clone(&self.local_id);
        if let Some(node) = self.nodes.get_mut(&local_id) {
            node.set_cpu(cpu);
            node.last_heartbeat = now;
        }
    }

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

    fn replace_remote_services(&mut self, sender: &Arc<str>, services: Vec<ServiceItem>) {
        self.remove_remote_items(sender);
        let mut offered = HashSet::new();
        for item in services.into_iter().take(REMOTE_SERVICES_MAX) {
            let full_name: Arc<str> = item.full_name.as_str().into();
            for (name, definition) in item.actions.iter().take(REMOTE_ITEMS_MAX) {
                offered.extend(self.remote_action(sender, &full_name, name, definition));
            }
            for (name, definition) in item.events.iter().take(REMOTE_ITEMS_MAX) {
                self.remote_event(sender, &item.name, &full_name, name, definition);
            }
            let node_id = Arc::clone(sender);
            let entry = ServiceEntry { item: Arc::new(item), node_id, local: false, origin: None };
            self.services.set(full_name, entry);
        }
        let gone =
            |endpoint: &Endpoint| endpoint.node_id == *sender && !offered.contains(&endpoint.id);
        let gone = self.actions.remove(false, gone);
        self.retired.extend(gone.iter().map(|endpoint| endpoint.id));
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
        let known = self.actions.get(name).and_then(|list| list.of_service(sender, service));
        if let Some(known) =
            known.filter(|known| definition.as_object() == Some(&*known.definition))
        {
            return Some(known.id);
        }
        let id = self.endpoint_id();
        let timeout = definition.get("timeout").and_then(Value::as_f64);
        let endpoint = Endpoint {
            id,
            node_id: Arc::clone(sender),
            local: false,
            service: Arc::clone(service),
            name: name.into(),
            timeout: timeout.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok()),
            protected: false,
            definition: Arc::new(definition.as_object().cloned().unwrap_or_default()),
            load: self.load_of(sender),
            available: true.into(),
        };
        let balance = Balance::advertised(&endpoint.definition);
        let replaced = self.actions.set(endpoint, &balance);
        self.retired.extend(replaced.map(|endpoint| endpoint.id));
        Some(id)
    }

    fn remote_event(
        &mut self,
        sender: &Arc<str>,
        name: &str,
        service: &Arc<str>,
        event: &str,
        definition: &Value,
    ) {
        // A peer's pattern that cannot be compiled can match nothing on its side either.
        let Ok(pattern) = Pattern::compile(event) else { return };
        let group = definition.get("group").and_then(Value::as_str).unwrap_or(name);
        let id = self.endpoint_id();
        let endpoint = Endpoint {
            id,
            node_id: Arc::clone(sender),
            local: false,
            service: Arc::clone(service),
            name: event.into(),
            timeout: None,
            protected: false,
            definition: Arc::new(definition.as_object().cloned().unwrap_or_default()),
            load: self.load_of(sender),
            available: true.into(),
        };
        let balance = Balance::advertised(&endpoint.definition);
        self.events.set(&group.into(), &pattern, &balance, endpoint);
    }

    fn remove_remote_services(&mut self, node_id: &Arc<str>) {
        self.remove_remote_items(node_id);
        let gone = self.actions.remove(false, |endpoint| endpoint.node_id == *node_id);
        self.retired.extend(gone.iter().map(|endpoint| endpoint.id));
    }

    /// Removes what another node offers, but not its actions.
    fn remove_remote_items(&mut self, node_id: &Arc<str>) {
        let names: Vec<_> =
            self.services.on_node(node_id).map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.services.remove(&name, node_id);
        }
        self.events.remove(|endpoint| endpoint.node_id == *node_id);
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

    /// A node has shown that it lives. An unknown or lost one is asked for its INFO
    /// (moleculer: src/registry/discoverers/base.js heartbeatReceived).
    pub fn apply_heartbeat(
        &mut self,
        sender: &Arc<str>,
        cpu: Option<f64>,
        now: Instant,
    ) -> Vec<Effect> {
        match self.nodes.get_mut(sender) {
            Some(node) if node.available => {
                // One that does not tell its load leaves the last (moleculer: src/registry/node.js heartbeat).
                if cpu.is_some() {
                    node.set_cpu(cpu);
                }
                node.last_heartbeat = now;
                Vec::new()
            }
            _ => vec![Effect::Discover { node_id: Arc::clone(sender) }],
        }
    }

    /// What the sign of life of this node says: the number of its INFO, and its load.
    #[must_use]
    pub fn local_sign(&self) -> (u64, Option<f64>) {
        let node = self.nodes.get(&self.local_id);
        node.map_or((0, None), |node| (node.info.seq, node.load.cpu()))
    }

    /// Whether a node is known as its sign of life says; it lives then. Otherwise it must be asked what it
    /// offers (moleculer: src/registry/discoverers/base.js heartbeatReceived).
    pub fn apply_sign(&mut self, sender: &Arc<str>, sign: &Sign, now: Instant) -> bool {
        let fits = self.nodes.get(sender).is_some_and(|node| {
            let instance = node.info.instance_id.as_deref().unwrap_or_default();
            node.available
                && sign.seq.is_none_or(|seq| seq == node.info.seq)
                && instance.starts_with(&sign.instance)
        });
        if fits {
            self.apply_heartbeat(sender, sign.cpu, now);
        }
        fits
    }

    /// A node has said good-bye, or was lost (`unexpected`). Stays quiet about unknown and lost ones
    /// (moleculer: src/registry/node-catalog.js disconnected).
    pub fn apply_disconnect(
        &mut self,
        node_id: &Arc<str>,
        unexpected: bool,
        now: Instant,
    ) -> Vec<Effect> {
        let started = self.started;
        let (node, hostname) = match self.nodes.get_mut(node_id) {
            Some(node) if node.available && !node.local => {
                node.available = false;
                // What a peer told is not believed to be small.
                node.info.seq = node.info.seq.saturating_add(1);
                node.offline_since = Some(now);
                (node.to_value(started), node.info.hostname.clone())
            }
            _ => return Vec::new(),
        };
        if !self.nodes.iter().any(|node| node.available && node.info.hostname == hostname) {
            self.latency.forget(&hostname);
        }
        self.remove_remote_services(node_id);
        vec![
            Effect::RejectPending { node_id: Arc::clone(node_id) },
            Effect::NodeDisconnected { node, unexpected },
            Effect::ServicesChanged { local_service: false },
        ]
    }

    /// Declares lost every node that was silent for longer than `timeout`.
    pub fn expire_nodes(&mut self, now: Instant, timeout: Duration) -> Vec<Effect> {
        let lost = self.nodes.silent(now, timeout, true);
        lost.iter().flat_map(|node_id| self.apply_disconnect(node_id, true, now)).collect()
    }

    /// Forgets nodes that have been gone for longer than `timeout`.
    pub fn remove_offline(&mut self, now: Instant, timeout: Duration) {
        for node_id in self.nodes.silent(now, timeout, false) {
            self.nodes.remove(&node_id);
        }
    }

    /// The nodes to ping in this round, one for each host, and the time until the next round; `None` when no
    /// strategy asks for it (moleculer: src/strategies/latency.js pingHosts).
    pub fn latency_round(&mut self) -> Option<(Vec<Arc<str>>, Duration)> {
        let events = self.events.lists().iter().map(|entry| &entry.list);
        let lists = self.actions.iter().map(|(_, list)| list).chain(events);
        let interval = self.latency.plan(lists.map(EndpointList::balance))?;
        Some((latency::one_of_each_host(&self.nodes), interval))
    }

    /// A node has answered a ping; the figures of its host are those of all its nodes.
    pub fn apply_pong(&mut self, node_id: &str, elapsed_ms: f64) {
        // A wall clock that jumped, or a peer that invents.
        if !(0.0..=PONG_MS_MAX).contains(&elapsed_ms) {
            return;
        }
        let Some(node) = self.nodes.get(node_id).filter(|node| node.available) else { return };
        let Some(average) = self.latency.record(&node.info.hostname, elapsed_ms) else { return };
        for other in self.nodes.iter().filter(|one| one.info.hostname == node.info.hostname) {
            other.load.set_latency(Some(average));
        }
    }
}

/// Whether two items say the same.
fn same_item(a: &ServiceItem, b: &ServiceItem) -> bool {
    a.settings == b.settings
        && a.metadata == b.metadata
        && a.version == b.version
        && a.actions == b.actions
        && a.events == b.events
}

#[cfg(test)]
mod tests;

fn refused(node_id: &Arc<str>, what: &'static str) -> Effect {
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
