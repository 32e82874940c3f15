//! How fast the hosts of the mesh answer pings: the averages that the Latency strategy reads
//! (moleculer: src/strategies/latency.js).
//!
//! Only hosts are measured, not each of their nodes. What is remembered is bounded by the number of hosts and
//! `collectCount`, and forgotten with the last node of a host. Who pings, and when, is the discoverer's
//! business.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Node, NodeCatalog};
use crate::config::{BalanceOptions, Strategy};
use crate::strategy::NodeLoad;
use crate::uid;

/// The last answers of every host, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Answers that make an average; 0 as long as nobody asks for one.
    collect_count: usize,
    answers: HashMap<String, VecDeque<f64>>,
}

impl Hosts {
    /// Looks who asks for latencies: the time between two rounds of pings, or `None` for nobody. The most
    /// demanding options count.
    pub(super) fn plan<'a>(
        &mut self,
        lists: impl Iterator<Item = &'a BalanceOptions>,
    ) -> Option<Duration> {
        let asking = lists.filter(|balance| balance.strategy == Strategy::Latency);
        let asking = asking.map(|balance| &balance.options);
        let needs = asking.map(|options| (options.ping_interval, options.collect_count));
        let (interval, collect_count) = needs.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unzip();
        self.collect_count = collect_count.unwrap_or(0);
        if self.collect_count == 0 {
            self.answers.clear();
        }
        interval
    }

    /// Adds an answer of a host and gives the average of the last ones; `None` when nobody asks for it.
    pub(super) fn record(&mut self, hostname: &str, elapsed_ms: f64) -> Option<f64> {
        if self.collect_count == 0 {
            return None;
        }
        let answers = self.answers.entry(hostname.to_owned()).or_default();
        answers.push_back(elapsed_ms);
        while answers.len() > self.collect_count {
            answers.pop_front();
        }
        average(answers)
    }

    /// A node of a host was added: it is as fast as the others there.
    pub(super) fn join(&self, hostname: &str, load: &NodeLoad) {
        load.set_latency(self.answers.get(hostname).and_then(average));
    }

    /// The last node of a host is gone.
    pub(super) fn forget(&mut self, hostname: &str) {
        self.answers.remove(hostname);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few answers")]
fn average(answers: &VecDeque<f64>) -> Option<f64> {
    let count = answers.len();
    (count > 0).then(|| answers.iter().sum::<f64>() / count as f64)
}

/// For each host one of its nodes, picked by chance, so that a busy node does not stand for its host.
pub(super) fn one_of_each_host(nodes: &NodeCatalog) -> Vec<Arc<str>> {
    let mut hosts: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.available && !node.local) {
        hosts.entry(&node.info.hostname).or_default().push(node);
    }
    let pick = |nodes: Vec<&Node>| {
        nodes.get(uid::random_below(nodes.len())).map(|node| Arc::clone(&node.id))
    };
    hosts.into_values().filter_map(pick).collect()
}
