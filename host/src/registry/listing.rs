//! The registry as people and tools see it: what `$node.list`, `.services`, `.actions` and `.events` answer
//! (moleculer: src/internals.js and the `list` methods of src/registry/).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Endpoint, EndpointList, Registry, ServiceEntry};

/// What to list. Fields are the params of the `$node` actions; those that an action does not know are
/// ignored by it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Filter {
    /// Only what this node offers.
    pub only_local: bool,
    /// Only what can be reached now.
    pub only_available: bool,
    /// Without the nodes' own services.
    pub skip_internal: bool,
    /// Nodes with their services.
    pub with_services: bool,
    /// Services with their actions.
    pub with_actions: bool,
    /// Services with their events.
    pub with_events: bool,
    /// Actions and events with their endpoints.
    pub with_endpoints: bool,
    /// One entry per service instead of one per service and node.
    pub grouping: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            only_local: false,
            only_available: false,
            skip_internal: false,
            with_services: false,
            with_actions: false,
            with_events: false,
            with_endpoints: false,
            grouping: true,
        }
    }
}

impl Registry {
    /// The nodes.
    #[must_use]
    pub fn list_nodes(&self, filter: Filter) -> Value {
        let nodes = self.nodes.iter().filter(|node| node.available || !filter.only_available);
        nodes
            .map(|node| {
                let mut value = node.to_value(self.started);
                if let (true, Value::Object(value)) = (filter.with_services, &mut value) {
                    let services = self.services.on_node(&node.id);
                    let services = services.map(|(_, entry)| item_value(entry)).collect();
                    value.insert("services".into(), services);
                }
                value
            })
            .collect()
    }

    /// The services.
    #[must_use]
    pub fn list_services(&self, filter: Filter) -> Value {
        let entries = self.services.iter().filter(|(name, entry)| {
            (entry.local || !filter.only_local) && !(filter.skip_internal && is_internal(name))
        });
        let mut rows: BTreeMap<(Arc<str>, Arc<str>), Map<String, Value>> = BTreeMap::new();
        for (name, entry) in entries {
            // Grouped rows share the key of their name.
            let node = if filter.grouping { Arc::from("") } else { Arc::clone(&entry.node_id) };
            let row = rows.entry((Arc::clone(name), node)).or_default();
            self.add_to_row(row, name, entry, filter);
        }
        let rows = rows.into_values().map(Value::Object);
        let broken = self.broken.iter().filter(|_| !filter.only_available);
        rows.chain(broken.map(|(name, origin)| broken_row(name, origin))).collect()
    }

    fn add_to_row(
        &self,
        row: &mut Map<String, Value>,
        name: &Arc<str>,
        entry: &ServiceEntry,
        filter: Filter,
    ) {
        let node_id = Value::from(&*entry.node_id);
        if row.is_empty() {
            let available = self.nodes.get(&entry.node_id).is_some_and(|node| node.available);
            row.insert("name".into(), entry.item.name.clone().into());
            if !entry.item.version.is_null() {
                row.insert("version".into(), entry.item.version.clone());
            }
            row.insert("fullName".into(), Value::from(&**name));
            row.insert("settings".into(), entry.item.settings.clone());
            row.insert("metadata".into(), entry.item.metadata.clone());
            row.insert("local".into(), entry.local.into());
            row.insert("available".into(), available.into());
            if filter.grouping {
                row.insert("nodes".into(), json!([]));
            } else {
                row.insert("nodeID".into(), node_id.clone());
            }
        }
        if filter.with_actions {
            add_missing(row, "actions", entry.item.actions.iter());
        }
        if filter.with_events {
            add_missing(row, "events", visible_events(entry));
        }
        if let Some(Value::Array(nodes)) = row.get_mut("nodes") {
            nodes.push(node_id);
        }
        if entry.local {
            row.insert("local".into(), true.into());
        }
        if let Some(origin) = &entry.origin {
            row.insert("isomer".into(), origin.clone());
        }
    }

    /// The actions.
    #[must_use]
    pub fn list_actions(&self, filter: Filter) -> Value {
        let mut rows = BTreeMap::new();
        for (name, list) in self.actions.iter() {
            if !wanted(list, name, filter) {
                continue;
            }
            let mut row = list_row(list, name, filter);
            if let Some(first) = list.endpoints().first() {
                row.insert("action".into(), Value::Object((*first.definition).clone()));
            }
            rows.insert(name, Value::Object(row));
        }
        rows.into_values().collect()
    }

    /// The events.
    #[must_use]
    pub fn list_events(&self, filter: Filter) -> Value {
        let mut rows = BTreeMap::new();
        for entry in self.events.lists() {
            if !wanted(&entry.list, &entry.name, filter) {
                continue;
            }
            let mut row = list_row(&entry.list, &entry.name, filter);
            row.insert("group".into(), Value::from(&*entry.group));
            if let Some(first) = entry.list.endpoints().first() {
                row.insert("event".into(), Value::Object((*first.definition).clone()));
            }
            rows.insert((&entry.name, &entry.group), Value::Object(row));
        }
        rows.into_values().collect()
    }
}

/// A file that should be a service but is not. Other nodes never hear of it.
fn broken_row(name: &str, origin: &Value) -> Value {
    json!({
        "name": name,
        "version": null,
        "fullName": name,
        "settings": {},
        "metadata": {},
        "local": true,
        "available": false,
        "nodes": [],
        "isomer": origin,
    })
}

fn is_internal(name: &str) -> bool {
    name.starts_with('$')
}

fn wanted(list: &EndpointList, name: &str, filter: Filter) -> bool {
    let hidden = (filter.only_local && !list.has_local())
        || (filter.skip_internal && is_internal(name))
        || (filter.only_available && !list.has_available());
    !hidden
}

fn list_row(list: &EndpointList, name: &str, filter: Filter) -> Map<String, Value> {
    let available = list.has_available();
    let mut row = Map::new();
    row.insert("name".into(), name.into());
    row.insert("count".into(), list.endpoints().len().into());
    row.insert("hasLocal".into(), list.has_local().into());
    row.insert("available".into(), available.into());
    if filter.with_endpoints && !list.endpoints().is_empty() {
        // Endpoints of lost nodes are forgotten at once, so that `available`, which is their node's, is true.
        let endpoint = |one: &Arc<Endpoint>| json!({"nodeID": &*one.node_id, "state": one.available(), "available": true});
        let endpoints = list.endpoints().iter().map(endpoint).collect();
        row.insert("endpoints".into(), endpoints);
    }
    row
}

/// Subscriptions of internal events are nobody's business (moleculer: src/registry/service-catalog.js).
fn visible_events(entry: &ServiceEntry) -> impl Iterator<Item = (&String, &Value)> {
    entry.item.events.iter().filter(|(name, _)| !is_internal(name))
}

/// Adds the definitions of one more node: a grouped row has those of all (moleculer 0.15.1:
/// src/registry/service-catalog.js list).
fn add_missing<'a>(
    row: &mut Map<String, Value>,
    key: &str,
    definitions: impl Iterator<Item = (&'a String, &'a Value)>,
) {
    let known = row.entry(key).or_insert_with(|| json!({}));
    for (name, definition) in definitions {
        if let Some(known) = known.as_object_mut().filter(|known| !known.contains_key(name)) {
            known.insert(name.clone(), definition.clone());
        }
    }
}

fn item_value(entry: &ServiceEntry) -> Value {
    let item = &entry.item;
    json!({
        "name": item.name,
        "version": item.version,
        "fullName": item.full_name,
        "settings": item.settings,
        "metadata": item.metadata,
        "actions": item.actions,
        "events": item.events,
    })
}
