//! What this node offers, and what it tells the others of it.
//!
//! Whoever looks sees a service as it was or as it is, and nobody sees neither.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Endpoint, Registry, ServiceEntry};
use crate::clock::Instant;
use crate::packet::{Info, ServiceItem};
use crate::schema::{self, ServiceSchema, Visibility};

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

impl Registry {
    /// Registers a service of this node, in the place of the one with the same full name if there is one:
    /// whoever looks afterwards sees the new one, and nobody sees neither.
    pub fn register_local(&mut self, schema: &ServiceSchema, origin: Option<Value>) -> Registered {
        let node_id = Arc::clone(&self.local_id);
        let item = Arc::new(schema.to_item());
        let mut retired = Vec::new();
        retired.extend(self.take_private(&schema.full_name));
        let actions: Vec<_> =
            schema.actions.iter().map(|a| self.local_action(schema, a, &mut retired)).collect();
        let events: Vec<_> =
            schema.events.iter().map(|e| self.local_event(schema, e, &mut retired)).collect();
        let current: HashSet<u64> = actions.iter().chain(&events).copied().collect();
        let entry = ServiceEntry { item: Arc::clone(&item), node_id, local: true, origin };
        let old = self.services.set(Arc::clone(&schema.full_name), entry);
        if let Some(old) = &old {
            retired.extend(self.withdraw(&schema.full_name, old, &current));
        }
        let changed = old.as_ref().is_none_or(|old| old.item != item);
        let shrunk = old
            .as_ref()
            .is_some_and(|old| old.actions().any(|name| !item.actions.contains_key(name)));
        self.info_stale |= changed;
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
        let offer = (Arc::clone(&action.name), Arc::clone(&action.definition));
        let endpoint = Endpoint {
            timeout: action.timeout,
            protected: action.visibility == Visibility::Protected,
            ..self.endpoint(id, &self.local_id, &schema.full_name, offer)
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
        let offer = (Arc::clone(&event.key), Arc::clone(&event.definition));
        let endpoint = self.endpoint(id, &self.local_id, &schema.full_name, offer);
        retired.extend(self.events.set(&event.group, &event.pattern, &event.balance, endpoint));
        id
    }

    /// Takes a service of this node away and gives back the IDs of its endpoints; `None` when there is no
    /// such service. Its actions are then not found, unless other nodes offer them.
    pub fn unregister_local(&mut self, full_name: &Arc<str>) -> Option<Vec<u64>> {
        let node_id = Arc::clone(&self.local_id);
        let old = self.services.remove(full_name, &node_id)?;
        self.info_stale = true;
        let mut removed = self.withdraw(full_name, &old, &HashSet::new());
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
    /// (moleculer: src/registry/registry.js regenerateLocalRawInfo). In this one INFO the services of `renamed`
    /// are shown under other names; renaming some counts as a change, now and for the next time.
    pub fn local_info(&mut self, renamed: &[Arc<str>]) -> Info {
        let services = self
            .services
            .on_node(&self.local_id)
            .map(|(name, entry)| match renamed.contains(name) {
                true => stand_in(&entry.item),
                false => ServiceItem::clone(&entry.item),
            })
            .collect();
        let raise = u64::from(self.info_stale || !renamed.is_empty());
        self.info_stale = !renamed.is_empty();
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
}

/// The service under a name that it does not have. Nodes of JavaScript forget the service itself when they read
/// this, and with it the actions that are gone; the others they find here, so that a call or an event which comes
/// between this INFO and the next still reaches them (moleculer: src/registry/registry.js registerServices adds what
/// is new before it removes what is missing, and knows endpoints by the name of their service).
fn stand_in(item: &ServiceItem) -> ServiceItem {
    let mut events = item.events.clone();
    for event in events.values_mut().filter_map(Value::as_object_mut) {
        event.entry("group").or_insert_with(|| Value::from(item.name.as_str()));
    }
    let (name, full_name) = (format!("{}~", item.name), format!("{}~", item.full_name));
    ServiceItem { name, full_name, events, ..item.clone() }
}
