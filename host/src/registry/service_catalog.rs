//! Services by full name and node, as they are advertised.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::packet::ServiceItem;

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

/// All services, ordered by full name, then node.
#[derive(Debug, Default)]
pub struct ServiceCatalog {
    entries: BTreeMap<(Arc<str>, Arc<str>), ServiceEntry>,
}

impl ServiceCatalog {
    /// All services.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &ServiceEntry)> {
        self.entries.iter().map(|((full_name, _), entry)| (full_name, entry))
    }

    /// Those of one node.
    pub fn on_node<'a>(
        &'a self,
        node_id: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a ServiceEntry)> {
        self.iter().filter(move |(_, entry)| *entry.node_id == *node_id)
    }

    /// Whether some node offers a service of this full name.
    #[must_use]
    pub fn has(&self, full_name: &str) -> bool {
        self.iter().any(|(name, _)| **name == *full_name)
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

    pub(super) fn set(&mut self, full_name: Arc<str>, entry: ServiceEntry) {
        self.entries.insert((full_name, Arc::clone(&entry.node_id)), entry);
    }

    pub(super) fn remove(
        &mut self,
        full_name: &Arc<str>,
        node_id: &Arc<str>,
    ) -> Option<ServiceEntry> {
        self.entries.remove(&(Arc::clone(full_name), Arc::clone(node_id)))
    }
}
