//! The metrics of transit, under Moleculer's names where it has them (moleculer: src/metrics/constants.js).

use crate::metrics::{Metric, MetricRegistry};

/// Why a packet that came in was not used; each has a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Larger than `transit.maxPacketSize`.
    TooLarge,
    /// Not in the form of its kind.
    Malformed,
    /// Of another protocol version.
    Version,
    /// Too much at once.
    Overload,
    /// A chunk of a stream that is far from its turn.
    Sequence,
}

/// All of them, looked up once.
pub(super) struct Counters {
    publish: Metric,
    receive: Metric,
    sent_packets: Metric,
    sent_bytes: Metric,
    received_packets: Metric,
    received_bytes: Metric,
    connected: Metric,
    refused: Metric,
    refused_size: Metric,
    refused_form: Metric,
    refused_version: Metric,
    refused_overload: Metric,
    refused_sequence: Metric,
    /// Requests of this node that wait for their answer.
    pub(super) active: Metric,
    /// Pings of this node that wait for their answer.
    pub(super) pings: Metric,
    /// Responses that nobody waits for: late, doubled or forged.
    pub(super) orphans: Metric,
    /// Requests of other nodes that run here.
    pub(super) inbound_requests: Metric,
    /// Events of other nodes that are handled here.
    pub(super) inbound_events: Metric,
    /// Pings of other nodes that are being answered.
    pub(super) pongs: Metric,
    /// Reports of a slow consumer: messages were lost.
    pub(super) slow_consumer: Metric,
}

impl Counters {
    pub(super) fn new(metrics: &MetricRegistry) -> Self {
        Self {
            publish: metrics.metric("moleculer.transit.publish.total"),
            receive: metrics.metric("moleculer.transit.receive.total"),
            sent_packets: metrics.metric("moleculer.transporter.packets.sent.total"),
            sent_bytes: metrics.metric("moleculer.transporter.packets.sent.bytes"),
            received_packets: metrics.metric("moleculer.transporter.packets.received.total"),
            received_bytes: metrics.metric("moleculer.transporter.packets.received.bytes"),
            connected: metrics.metric("moleculer.transit.connected"),
            refused: metrics.metric("isomer.transit.packets.refused.total"),
            refused_size: metrics.metric("isomer.transit.packets.refused.size"),
            refused_form: metrics.metric("isomer.transit.packets.refused.malformed"),
            refused_version: metrics.metric("isomer.transit.packets.refused.version"),
            refused_overload: metrics.metric("isomer.transit.packets.refused.overload"),
            refused_sequence: metrics.metric("isomer.transit.packets.refused.sequence"),
            active: metrics.metric("moleculer.transit.requests.active"),
            pings: metrics.metric("isomer.transit.pings.active"),
            orphans: metrics.metric("moleculer.transit.orphan.response.total"),
            inbound_requests: metrics.metric("isomer.transit.inbound.requests.active"),
            inbound_events: metrics.metric("isomer.transit.inbound.events.active"),
            pongs: metrics.metric("isomer.transit.pongs.active"),
            slow_consumer: metrics.metric("isomer.transporter.slow-consumer.total"),
        }
    }

    pub(super) fn count_sent(&self, size: usize) {
        self.publish.increment();
        self.sent_packets.increment();
        self.sent_bytes.add(i64::try_from(size).unwrap_or(i64::MAX));
    }

    pub(super) fn count_received(&self, size: usize) {
        self.receive.increment();
        self.received_packets.increment();
        self.received_bytes.add(i64::try_from(size).unwrap_or(i64::MAX));
    }

    pub(super) fn count_refused(&self, refusal: Refusal) {
        self.refused.increment();
        match refusal {
            Refusal::TooLarge => self.refused_size.increment(),
            Refusal::Malformed => self.refused_form.increment(),
            Refusal::Version => self.refused_version.increment(),
            Refusal::Overload => self.refused_overload.increment(),
            Refusal::Sequence => self.refused_sequence.increment(),
        }
    }

    pub(super) fn set_connected(&self, connected: bool) {
        let value = i64::from(connected);
        self.connected.add(value - self.connected.get());
    }
}
