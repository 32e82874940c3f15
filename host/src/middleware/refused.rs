//! Bytes that a middleware cannot read: counted where `transit` counts packets that it refuses, logged
//! sparingly, and dropped.

use std::fmt::Display;
use std::sync::Arc;

use crate::clock;
use crate::metrics::{Metric, MetricRegistry};
use crate::transit::Gate;

/// Counts and logs. Cheap to clone.
#[derive(Clone)]
pub struct Refused(Arc<Counters>);

struct Counters {
    total: Metric,
    malformed: Metric,
    gate: Gate,
}

impl Refused {
    /// Counts into these metrics.
    #[must_use]
    pub fn new(metrics: &MetricRegistry) -> Self {
        Self(Arc::new(Counters {
            total: metrics.metric("isomer.transit.packets.refused.total"),
            malformed: metrics.metric("isomer.transit.packets.refused.malformed"),
            gate: Gate::default(),
        }))
    }

    /// A message of this topic could not be read by a middleware.
    pub fn count(&self, middleware: &str, topic: &str, reason: &dyn Display) {
        self.0.total.increment();
        self.0.malformed.increment();
        if let Some(held_back) = self.0.gate.open(clock::now()) {
            tracing::warn!(
                middleware,
                topic,
                %reason,
                held_back,
                "a packet was refused; all nodes need the same transmit middlewares in the same order"
            );
        }
    }
}
