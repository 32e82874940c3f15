//! All metrics of a node in one list: what is counted, and what is read when somebody asks: how much the
//! registry holds, and how process and machine are (moleculer: src/metrics/commons.js).

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::metrics::{self, MetricRegistry};
use crate::packet::Info;
use crate::registry::Registry;
use crate::service::internals::health;

/// Figures of process and machine: name, whether it is an info, and where it stands in `$node.health`.
const PROCESS: [(&str, &str, &str); 19] = [
    ("process.pid", "info", "/process/pid"),
    ("process.uptime", "gauge", "/process/uptime"),
    ("process.memory.rss", "gauge", "/process/memory/rss"),
    ("os.memory.free", "gauge", "/mem/free"),
    ("os.memory.total", "gauge", "/mem/total"),
    ("os.uptime", "gauge", "/os/uptime"),
    ("os.type", "info", "/os/type"),
    ("os.release", "info", "/os/release"),
    ("os.hostname", "info", "/os/hostname"),
    ("os.arch", "info", "/os/arch"),
    ("os.platform", "info", "/os/platform"),
    ("os.user.uid", "info", "/os/user/uid"),
    ("os.user.gid", "info", "/os/user/gid"),
    ("os.user.username", "info", "/os/user/username"),
    ("os.user.homedir", "info", "/os/user/homedir"),
    ("os.cpu.load.1", "gauge", "/cpu/load1"),
    ("os.cpu.load.5", "gauge", "/cpu/load5"),
    ("os.cpu.load.15", "gauge", "/cpu/load15"),
    ("os.cpu.utilization", "gauge", "/cpu/utilization"),
];

/// Where the list comes from. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    /// What is counted.
    pub metrics: MetricRegistry,
    /// What is held.
    pub registry: Arc<RwLock<Registry>>,
    /// Whether figures of process and machine are wanted.
    pub process: bool,
    /// `namespace` of the options.
    pub namespace: Arc<str>,
}

impl Collector {
    /// The metrics as they are now.
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        let mut rows = self.metrics.list();
        rows.extend(self.of_registry());
        rows.push(metrics::row("info", "moleculer.broker.namespace", (*self.namespace).into()));
        rows.push(metrics::row("info", "moleculer.node.type", "isomer".into()));
        let version = env!("CARGO_PKG_VERSION");
        rows.push(metrics::row("info", "moleculer.node.versions.moleculer", version.into()));
        if self.process {
            let health = health::health(&Info::default());
            for (name, kind, place) in PROCESS {
                let value = health.pointer(place).cloned().unwrap_or_default();
                rows.push(metrics::row(kind, name, value));
            }
        }
        rows
    }

    fn of_registry(&self) -> Vec<Value> {
        let registry = self.registry.read();
        let count = |n: usize| Value::from(n);
        let nodes = registry.nodes.iter().count();
        let online = registry.nodes.iter().filter(|node| node.available).count();
        let local = registry.services.on_node(registry.local_id()).count();
        let rows = [
            ("moleculer.broker.local.services.total", local),
            ("moleculer.registry.nodes.total", nodes),
            ("moleculer.registry.nodes.online.total", online),
            ("moleculer.registry.services.total", registry.services.len()),
            ("moleculer.registry.actions.total", registry.actions.iter().count()),
            ("moleculer.registry.events.total", registry.events.lists().len()),
        ];
        rows.into_iter().map(|(name, n)| metrics::row("gauge", name, count(n))).collect()
    }
}
