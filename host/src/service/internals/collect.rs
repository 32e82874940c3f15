//! All metrics of a node in one list: what is counted, and what is read when somebody asks: how much the
//! registry holds, and how process and machine are (moleculer: src/metrics/commons.js).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::clock;
use crate::metrics::{self, MetricRegistry};
use crate::packet::{Info, PROTOCOL_VERSION};
use crate::registry::Registry;
use crate::service::internals::health;

/// Figures of process and machine: name, whether it is an info, and where it stands in `$node.health`.
const PROCESS: [(&str, &str, &str); 21] = [
    ("process.pid", "info", "/process/pid"),
    ("process.ppid", "info", "/process/ppid"),
    ("process.uptime", "gauge", "/process/uptime"),
    ("process.memory.rss", "gauge", "/process/memory/rss"),
    ("os.memory.free", "gauge", "/mem/free"),
    ("os.memory.used", "gauge", "/mem/used"),
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
        rows.push(metrics::row(
            "info",
            "moleculer.node.versions.protocol",
            PROTOCOL_VERSION.into(),
        ));
        // Nobody asks before the start or after the stop.
        rows.push(metrics::row("gauge", "moleculer.broker.started", 1.into()));
        if self.process {
            let mut health = health::health(&Info::default());
            let memory = |place: &str| health.pointer(place).and_then(Value::as_u64);
            let used = memory("/mem/total").zip(memory("/mem/free"));
            let used = used.map(|(all, free)| all.saturating_sub(free));
            let parent = rustix::process::Pid::as_raw(rustix::process::getppid());
            for (section, key, value) in
                [("/mem", "used", used.into()), ("/process", "ppid", parent.into())]
            {
                if let Some(Value::Object(fields)) = health.pointer_mut(section) {
                    fields.insert(key.to_owned(), value);
                }
            }
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
        let totals = rows.into_iter().map(|(name, n)| metrics::row("gauge", name, count(n)));
        let mut services: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, _) in registry.services.iter() {
            *services.entry(name).or_default() += 1;
        }
        let actions = registry.actions.iter().map(|(name, list)| (&**name, list.endpoints().len()));
        let mut events: BTreeMap<&str, usize> = BTreeMap::new();
        for event in registry.events.lists() {
            *events.entry(&event.name).or_default() += event.list.endpoints().len();
        }
        let endpoints = [
            endpoints("service", services.into_iter()),
            endpoints("action", actions),
            endpoints("event", events.into_iter()),
        ];
        totals.chain(endpoints).collect()
    }
}

/// How many nodes offer each of these (moleculer: src/registry/registry.js updateMetrics).
fn endpoints<'a>(label: &str, counts: impl Iterator<Item = (&'a str, usize)>) -> Value {
    let now = clock::unix_ms();
    let value = |(name, count): (&str, usize)| json!({"key": name, "value": count, "labels": {label: name}, "timestamp": now});
    let name = format!("moleculer.registry.{label}.endpoints.total");
    let mut row = metrics::row("gauge", &name, Value::Null);
    if let Value::Object(fields) = &mut row {
        fields.insert("labelNames".into(), json!([label]));
        fields.insert("values".into(), counts.map(value).collect());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_moleculers_names() {
        let collector = Collector {
            metrics: MetricRegistry::default(),
            registry: Arc::new(RwLock::new(Registry::new(
                "n-1".into(),
                Info::default(),
                &crate::config::BrokerOptions::default().registry,
                clock::now(),
            ))),
            process: true,
            namespace: "space".into(),
        };
        let rows = collector.list();
        let value = |name: &str| {
            let row = rows.iter().find(|row| row["name"] == name);
            row.unwrap_or_else(|| panic!("no {name}"))["values"][0]["value"].clone()
        };
        assert_eq!(value("moleculer.broker.namespace"), "space");
        assert_eq!(value("moleculer.node.versions.protocol"), PROTOCOL_VERSION);
        assert_eq!(
            (value("moleculer.broker.started"), value("moleculer.node.type")),
            (1.into(), "isomer".into())
        );
        for total in ["nodes", "nodes.online", "services", "actions", "events"] {
            assert!(value(&format!("moleculer.registry.{total}.total")).is_u64(), "{total}");
        }
        assert!(value("moleculer.broker.local.services.total").is_u64());
        assert!(value("os.memory.used").as_u64() < value("os.memory.total").as_u64());
        for name in ["os.uptime", "os.cpu.load.1", "os.cpu.utilization", "process.memory.rss"] {
            assert!(value(name).is_number(), "{name}");
        }
        for name in ["os.type", "os.release", "os.hostname", "os.arch", "os.platform"] {
            assert!(value(name).is_string(), "{name}");
        }
        assert!(value("os.user.uid").is_u64() && value("process.ppid").is_i64());
    }
}
