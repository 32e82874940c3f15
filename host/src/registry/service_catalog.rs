//! Services by full name and node, as they are advertised.
//!
//! What one node offers is found without looking at what the others do: each INFO asks for it. Most nodes of a
//! large mesh offer what others offer too, so that equal items are kept once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::packet::ServiceItem;
#[cfg(test)]
use crate::registry::endpoint_list::looked;

/// One service on one node.
#[derive(Debug)]
pub struct ServiceEntry {
    /// What is advertised.
    pub item: Arc<ServiceItem>,
    /// The node.
    pub node_id: Arc<str>,
    /// Whether that is this node.
    pub local: bool,
    /// What only this node says of its own services in `$node.services`: file, digest, last error.
    pub origin: Option<Value>,
}

impl ServiceEntry {
    /// Names of the actions that it offers to others.
    pub(super) fn actions(&self) -> impl Iterator<Item = &String> {
        self.item.actions.keys()
    }

    /// What it listens to: patterns with their groups.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (&str, &str)> {
        let events = self.item.events.iter();
        events.map(|(pattern, definition)| (pattern.as_str(), group(&self.item.name, definition)))
    }
}

/// The balancing group of a subscription of the service with this name
/// (moleculer: src/registry/event-catalog.js add).
pub(super) fn group<'a>(service: &'a str, definition: &'a Value) -> &'a str {
    definition.get("group").and_then(Value::as_str).unwrap_or(service)
}

/// All services, ordered by full name, then node.
#[derive(Debug, Default)]
pub struct ServiceCatalog {
    entries: BTreeMap<(Arc<str>, Arc<str>), ServiceEntry>,
    /// Full names by node.
    names: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl ServiceCatalog {
    /// All services.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &ServiceEntry)> {
        #[cfg(test)]
        looked::count_many(self.entries.len());
        self.entries.iter().map(|((full_name, _), entry)| (full_name, entry))
    }

    /// How many there are, counted once for each node.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those of one node, in the order of their names.
    pub fn on_node<'a>(
        &'a self,
        node_id: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a ServiceEntry)> {
        let known = self.names.get_key_value(node_id);
        known.into_iter().flat_map(move |(node_id, names)| {
            names.iter().filter_map(move |name| Some((name, self.get(name, node_id)?)))
        })
    }

    /// Those of one full name.
    fn named(&self, full_name: &str) -> impl Iterator<Item = (&Arc<str>, &ServiceEntry)> {
        let first: (Arc<str>, Arc<str>) = (full_name.into(), "".into());
        let named = self.entries.range(first..).map(|((name, _), entry)| (name, entry));
        named.take_while(move |(name, _)| ***name == *full_name)
    }

    /// Whether some node offers a service of this full name.
    #[must_use]
    pub fn has(&self, full_name: &str) -> bool {
        self.named(full_name).next().is_some()
    }

    /// A full name and an item as they are kept already for another node, if one offers the same.
    pub(super) fn shared(&self, item: ServiceItem) -> (Arc<str>, Arc<ServiceItem>) {
        let known = self.named(&item.full_name).next();
        let name = known.map_or_else(|| item.full_name.as_str().into(), |(name, _)| name.clone());
        match known.map(|(_, entry)| &entry.item).filter(|known| ***known == item) {
            Some(known) => (name, Arc::clone(known)),
            None => (name, Arc::new(item)),
        }
    }

    pub(super) fn get(&self, full_name: &Arc<str>, node_id: &Arc<str>) -> Option<&ServiceEntry> {
        self.entries.get(&(Arc::clone(full_name), Arc::clone(node_id)))
    }

    pub(super) fn get_mut(
        &mut self,
        full_name: &Arc<str>,
        node_id: &Arc<str>,
    ) -> Option<&mut ServiceEntry> {
        self.entries.get_mut(&(Arc::clone(full_name), Arc::clone(node_id)))
    }

    /// Adds a service, or puts it in the place of an older one, which it gives back.
    pub(super) fn set(&mut self, full_name: Arc<str>, entry: ServiceEntry) -> Option<ServiceEntry> {
        let names = self.names.entry(Arc::clone(&entry.node_id)).or_default();
        names.insert(Arc::clone(&full_name));
        self.entries.insert((full_name, Arc::clone(&entry.node_id)), entry)
    }

    pub(super) fn remove(
        &mut self,
        full_name: &Arc<str>,
        node_id: &Arc<str>,
    ) -> Option<ServiceEntry> {
        if let Some(names) = self.names.get_mut(node_id) {
            names.remove(full_name);
            if names.is_empty() {
                self.names.remove(node_id);
            }
        }
        self.entries.remove(&(Arc::clone(full_name), Arc::clone(node_id)))
    }

    /// Removes all of one node and gives them back.
    pub(super) fn take_node(&mut self, node_id: &Arc<str>) -> Vec<(Arc<str>, ServiceEntry)> {
        let names = self.names.remove(node_id).unwrap_or_default();
        let take = |name: Arc<str>| {
            let entry = self.entries.remove(&(Arc::clone(&name), Arc::clone(node_id)))?;
            Some((name, entry))
        };
        names.into_iter().filter_map(take).collect()
    }
}
