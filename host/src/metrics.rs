//! Counters and gauges by name. Getting one is a look-up; using one is an atomic addition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

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
pub struct MetricRegistry(Arc<Mutex<BTreeMap<&'static str, Metric>>>);

impl MetricRegistry {
    /// The metric of this name; the same one for every caller.
    #[must_use]
    pub fn metric(&self, name: &'static str) -> Metric {
        self.0.lock().entry(name).or_default().clone()
    }

    /// All names and values.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<&'static str, i64> {
        self.0.lock().iter().map(|(name, metric)| (*name, metric.get())).collect()
    }
}
