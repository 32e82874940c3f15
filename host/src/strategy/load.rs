//! What is known of a node's load: figures that the registry writes and strategies read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The figures of one node; shared by the node and its endpoints.
#[derive(Debug)]
pub struct NodeLoad {
    cpu: Figure,
    latency: Figure,
}

/// A number that may be unknown, as the bits of an `f64`; unknown is NaN.
#[derive(Debug)]
struct Figure(AtomicU64);

impl Figure {
    fn unknown() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }

    fn get(&self) -> Option<f64> {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    fn set(&self, value: Option<f64>) {
        self.0.store(value.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }
}

impl Default for NodeLoad {
    fn default() -> Self {
        Self { cpu: Figure::unknown(), latency: Figure::unknown() }
    }
}

impl NodeLoad {
    /// CPU load in percent, as the node told it last.
    #[must_use]
    pub fn cpu(&self) -> Option<f64> {
        self.cpu.get()
    }

    /// Sets the CPU load.
    pub fn set_cpu(&self, percent: Option<f64>) {
        self.cpu.set(percent);
    }

    /// Milliseconds in which the node's host answers a ping, averaged.
    #[must_use]
    pub fn latency(&self) -> Option<f64> {
        self.latency.get()
    }

    /// Sets the latency.
    pub fn set_latency(&self, ms: Option<f64>) {
        self.latency.set(ms);
    }
}
