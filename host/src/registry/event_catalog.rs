//! Event subscriptions: one endpoint list for every pattern and group.
//!
//! moleculer: src/registry/event-catalog.js. Two differences, both improvements that JS peers do not
//! notice: two services on one node that share a pattern and a group are both known (there, the second
//! replaces the first), and a balanced event goes to one node for each group even when patterns overlap
//! (there, the lists of one group may pick different nodes, and handlers run twice).
//!
//! A name is compared with the patterns that have wildcards only; the others are found by it. A subscription
//! is found by its pattern and group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

#[cfg(test)]
use super::endpoint_list::looked;
use super::endpoint_list::{Endpoint, EndpointList};
use crate::config::BalanceOptions;
use crate::schema::{Balance, Pattern};
use crate::strategy::Subject;

/// The subscriptions of one pattern in one group.
#[derive(Debug)]
pub struct EventList {
    /// As it was written.
    pub name: Arc<str>,
    /// Balancing group.
    pub group: Arc<str>,
    /// Who listens.
    pub list: EndpointList,
    pattern: Pattern,
}

/// Where a balanced event goes: a node, and the groups that it is chosen for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node_id: Arc<str>,
    /// Its groups.
    pub groups: Vec<Arc<str>>,
}

/// All subscriptions.
#[derive(Debug)]
pub struct EventCatalog {
    /// In the order in which they were first heard of.
    lists: BTreeMap<u64, EventList>,
    /// Where the lists of a pattern are, one for each group.
    named: HashMap<Arc<str>, HashMap<Arc<str>, u64>>,
    /// Where those are whose pattern takes more than one name.
    wild: BTreeSet<u64>,
    next: u64,
    /// How events are balanced that say nothing of it.
    balance: BalanceOptions,
}

impl EventCatalog {
    pub(super) fn new(balance: BalanceOptions) -> Self {
        Self {
            lists: BTreeMap::new(),
            named: HashMap::new(),
            wild: BTreeSet::new(),
            next: 0,
            balance,
        }
    }

    /// All lists.
    pub fn lists(&self) -> impl ExactSizeIterator<Item = &EventList> {
        self.lists.values()
    }

    /// The lists that match a name and are wanted; no groups means all.
    fn matching<'a>(
        &'a self,
        name: &'a str,
        groups: &'a [Arc<str>],
    ) -> impl Iterator<Item = &'a EventList> {
        let exact = self.named.get(name).into_iter().flat_map(HashMap::values);
        let mut places: Vec<u64> = exact.chain(&self.wild).copied().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.lists.get(&place)).filter(move |entry| {
            #[cfg(test)]
            looked::count_many(1);
            (groups.is_empty() || groups.contains(&entry.group)) && entry.pattern.matches(name)
        })
    }

    /// One node for every group, merged by node. Lists of one group prefer the node chosen before, since
    /// that node runs all its matching handlers of the group anyway.
    #[must_use]
    pub fn balance(
        &self,
        name: &str,
        groups: &[Arc<str>],
        prefer_local: bool,
        subject: Subject<'_>,
    ) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for entry in self.matching(name, groups) {
            let covered = targets.iter().any(|target| {
                target.groups.contains(&entry.group)
                    && entry.list.on_node(&target.node_id).is_some()
            });
            if covered {
                continue;
            }
            let next = entry.list.next_node(prefer_local || entry.name.starts_with('$'), subject);
            let Some(node_id) = next else { continue };
            match targets.iter_mut().find(|target| target.node_id == *node_id) {
                Some(target) => target.groups.push(Arc::clone(&entry.group)),
                None => targets.push(Target {
                    node_id: Arc::clone(node_id),
                    groups: vec![Arc::clone(&entry.group)],
                }),
            }
        }
        targets
    }

    /// Every node with a matching subscription.
    #[must_use]
    pub fn nodes(&self, name: &str, groups: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut nodes: Vec<Arc<str>> = Vec::new();
        for endpoint in self.matching(name, groups).flat_map(|entry| entry.list.endpoints()) {
            if !nodes.contains(&endpoint.node_id) {
                nodes.push(Arc::clone(&endpoint.node_id));
            }
        }
        nodes
    }

    /// Every endpoint that hears an event, one for each node and service
    /// (moleculer: src/service-broker.js getEventListeners).
    #[must_use]
    pub fn listeners(&self, name: &str, groups: &[Arc<str>]) -> Vec<Arc<Endpoint>> {
        let mut listeners: Vec<Arc<Endpoint>> = Vec::new();
        for endpoint in self.matching(name, groups).flat_map(|entry| entry.list.endpoints()) {
            let same = |one: &Arc<Endpoint>| {
                one.node_id == endpoint.node_id && one.service == endpoint.service
            };
            if !listeners.iter().any(same) {
                listeners.push(Arc::clone(endpoint));
            }
        }
        listeners
    }

    /// The groups that hear an event (moleculer: src/service-broker.js getEventGroups).
    #[must_use]
    pub fn groups(&self, name: &str) -> Vec<Arc<str>> {
        let mut groups: Vec<Arc<str>> = Vec::new();
        for entry in self.matching(name, &[]) {
            if !groups.contains(&entry.group) {
                groups.push(Arc::clone(&entry.group));
            }
        }
        groups
    }

    /// The handlers on this node: of each matching list all (broadcast) or the next one (balanced).
    #[must_use]
    pub fn local(&self, name: &str, groups: &[Arc<str>], all: bool) -> Vec<Arc<Endpoint>> {
        let mut handlers = Vec::new();
        for entry in self.matching(name, groups) {
            if all {
                handlers.extend(entry.list.endpoints().iter().filter(|e| e.local).cloned());
            } else {
                handlers.extend(entry.list.next_local().cloned());
            }
        }
        handlers
    }

    /// The list of a pattern and group, as they are written.
    pub(super) fn get(&self, name: &str, group: &str) -> Option<&EventList> {
        self.lists.get(self.named.get(name)?.get(group)?)
    }

    /// Adds a subscription, or puts it in the place of an older one, which it gives back.
    pub(super) fn set(
        &mut self,
        group: &Arc<str>,
        pattern: &Pattern,
        balance: &Balance,
        endpoint: Endpoint,
    ) -> Option<Arc<Endpoint>> {
        let options = || balance.over(&self.balance);
        let place = self.named.get(&endpoint.name).and_then(|groups| groups.get(group));
        if let Some(entry) = place.and_then(|place| self.lists.get_mut(place)) {
            let old = entry.list.set(Arc::new(endpoint));
            if old.as_ref().is_some_and(|old| Balance::advertised(&old.definition) != *balance) {
                entry.list.set_balance(options());
            }
            return old;
        }
        let mut list = EndpointList::new(options());
        let name = Arc::clone(&endpoint.name);
        list.set(Arc::new(endpoint));
        let place = self.next;
        self.next += 1;
        self.named.entry(Arc::clone(&name)).or_default().insert(Arc::clone(group), place);
        if pattern.exact().is_none() {
            self.wild.insert(place);
        }
        let entry = EventList { name, group: Arc::clone(group), list, pattern: pattern.clone() };
        self.lists.insert(place, entry);
        None
    }

    /// Removes the subscription of a service, if the test picks it, and gives it back.
    pub(super) fn remove(
        &mut self,
        (name, group): (&str, &str),
        (node_id, service): (&str, &str),
        gone: impl Fn(&Endpoint) -> bool,
    ) -> Option<Arc<Endpoint>> {
        let groups = self.named.get_mut(name)?;
        let place = *groups.get(group)?;
        let list = &mut self.lists.get_mut(&place)?.list;
        let removed = list.remove(node_id, service, gone)?;
        if list.endpoints().is_empty() {
            self.lists.remove(&place);
            self.wild.remove(&place);
            groups.remove(group);
            if groups.is_empty() {
                self.named.remove(name);
            }
        }
        Some(removed)
    }
}
