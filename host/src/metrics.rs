//! Counters and gauges by name, and metrics with labels. Getting one is a look-up; using a number is an atomic
//! addition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock;

pub mod family;
pub mod window;

pub use family::{Description, Family, HistogramOptions, Kind, Label, Series};

/// A number that anybody may change at any time.
#[derive(Clone, Debug, Default)]
pub struct Metric(Arc<AtomicI64>);

impl Metric {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds (or, for gauges, subtracts).
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All metrics of a node. Names are Moleculer's where it has one, else they begin with `isomer.`; the set
/// is fixed by the code, so it is bounded.
#[derive(Clone, Debug, Default)]
pub struct MetricRegistry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    numbers: Mutex<BTreeMap<&'static str, Metric>>,
    families: Mutex<BTreeMap<&'static str, Arc<Family>>>,
    histograms: OnceLock<Arc<HistogramOptions>>,
}

impl MetricRegistry {
    /// Says how histograms are made. Only the first word counts, and only before the first histogram.
    pub fn configure(&self, histograms: HistogramOptions) {
        let _ = self.0.histograms.set(Arc::new(histograms));
    }

    /// The metric of this name; the same one for every caller.
    #[must_use]
    pub fn metric(&self, name: &'static str) -> Metric {
        self.0.numbers.lock().entry(name).or_default().clone()
    }

    /// The metric with labels that is described; the same one for every caller.
    #[must_use]
    pub fn family(&self, description: &'static Description) -> Arc<Family> {
        let mut families = self.0.families.lock();
        let new = || Arc::new(Family::new(description, Arc::clone(self.histograms())));
        Arc::clone(families.entry(description.name).or_insert_with(new))
    }

    /// How histograms are made.
    #[must_use]
    pub fn histograms(&self) -> &Arc<HistogramOptions> {
        self.0.histograms.get_or_init(Arc::default)
    }

    /// All names and values of metrics without labels.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<&'static str, i64> {
        self.0.numbers.lock().iter().map(|(name, metric)| (*name, metric.get())).collect()
    }

    /// All metrics as Moleculer shows them (moleculer: src/metrics/registry.js list).
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        // Counters end in `total`, as in Moleculer; what can go down does not.
        let kind = |name: &str| if name.ends_with(".total") { "counter" } else { "gauge" };
        let numbers = self.snapshot();
        let numbers = numbers.into_iter().map(|(name, value)| row(kind(name), name, value.into()));
        let families: Vec<_> = self.0.families.lock().values().map(Arc::clone).collect();
        numbers.chain(families.iter().map(|family| family.to_value())).collect()
    }
}

/// A metric with one value and no labels, as Moleculer shows it.
#[must_use]
pub fn row(kind: &str, name: &str, value: Value) -> Value {
    json!({
        "type": kind,
        "name": name,
        "description": null,
        "labelNames": [],
        "unit": null,
        "values": [{"key": "", "value": value, "labels": {}, "timestamp": clock::unix_ms()}],
    })
}
