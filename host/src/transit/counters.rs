//! The metrics of transit, under Moleculer's names where it has them (moleculer: src/metrics/constants.js).

use std::sync::Arc;

use crate::metrics::{Description, Kind, Label, Metric, MetricRegistry, Series};
use crate::packet::PacketType;

/// moleculer: src/middlewares/metrics.js created
static PUBLISHED: Description = Description {
    name: "moleculer.transit.publish.total",
    kind: Kind::Counter,
    labels: &["type"],
    unit: Some("packet"),
    text: "Number of published packets",
    rate: true,
};

/// moleculer: src/middlewares/metrics.js created
static RECEIVED: Description = Description {
    name: "moleculer.transit.receive.total",
    kind: Kind::Counter,
    labels: &["type"],
    unit: Some("packet"),
    text: "Number of received packets",
    rate: true,
};

/// A counter for each kind of packet, looked up once.
struct Kinds([Arc<Series>; PacketType::ALL.len()]);

impl Kinds {
    fn new(metrics: &MetricRegistry, description: &'static Description) -> Self {
        let family = metrics.family(description);
        Self(PacketType::ALL.map(|kind| family.with(vec![Label::Text(kind.as_str().into())])))
    }

    fn increment(&self, kind: PacketType) {
        if let Some(series) = self.0.get(kind as usize) {
            series.number().increment();
        }
    }
}

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
    publish: Kinds,
    receive: Kinds,
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
            publish: Kinds::new(metrics, &PUBLISHED),
            receive: Kinds::new(metrics, &RECEIVED),
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

    pub(super) fn count_sent(&self, kind: PacketType, size: usize) {
        self.publish.increment(kind);
        self.sent_packets.increment();
        self.sent_bytes.add(i64::try_from(size).unwrap_or(i64::MAX));
    }

    pub(super) fn count_received(&self, kind: PacketType, size: usize) {
        self.receive.increment(kind);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_by_their_kind() {
        let metrics = MetricRegistry::default();
        let counters = Counters::new(&metrics);
        for kind in PacketType::ALL {
            counters.count_sent(kind, 10);
        }
        counters.count_received(PacketType::Pong, 5);
        let of = |description, kind: &str| {
            metrics.family(description).with(vec![Label::Text(kind.into())]).number().get()
        };
        assert!(PacketType::ALL.iter().all(|kind| of(&PUBLISHED, kind.as_str()) == 1));
        assert_eq!((of(&RECEIVED, "PONG"), of(&RECEIVED, "PING")), (1, 0));
        assert_eq!((counters.sent_packets.get(), counters.sent_bytes.get()), (12, 120));
    }
}
