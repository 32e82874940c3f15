//! The metrics of the TCP transporter.

use crate::metrics::{Metric, MetricRegistry};

/// All of them, looked up once.
#[derive(Clone)]
pub(super) struct Counters {
    /// Connections of this node to others.
    pub(super) outgoing: Metric,
    /// Connections of others to this node.
    pub(super) incoming: Metric,
    /// Connections of others that were closed because there are too many.
    pub(super) refused_connections: Metric,
    /// Connections of others that said nothing, or stopped in the middle of a frame.
    pub(super) stalled: Metric,
    /// Frames that ended their connection.
    pub(super) refused_frames: Metric,
    /// Datagrams that are none of a node of this mesh.
    pub(super) refused_datagrams: Metric,
}

impl Counters {
    pub(super) fn new(metrics: &MetricRegistry) -> Self {
        Self {
            outgoing: metrics.metric("isomer.tcp.connections.outgoing.active"),
            incoming: metrics.metric("isomer.tcp.connections.incoming.active"),
            refused_connections: metrics.metric("isomer.tcp.connections.refused.total"),
            stalled: metrics.metric("isomer.tcp.connections.stalled.total"),
            refused_frames: metrics.metric("isomer.tcp.frames.refused.total"),
            refused_datagrams: metrics.metric("isomer.tcp.datagrams.refused.total"),
        }
    }
}

/// Counts something for as long as it is there.
pub(super) struct Counted(Metric);

impl Counted {
    pub(super) fn new(metric: &Metric) -> Self {
        metric.increment();
        Self(metric.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
