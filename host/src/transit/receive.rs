//! What comes in from the transporter: checks, then to whom it belongs
//! (moleculer: src/transit.js messageHandler).
//!
//! Runs in the transporter's read loop and therefore never waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::clock;
use crate::error::MoleculerError;
use crate::packet::{Body, Packet, PacketType};
use crate::registry::gossip::contact::SEEN_ADDRESS;
use crate::task;
use crate::transit::counters::Refusal;
use crate::transit::gate::{Gate, Seen};
use crate::transit::respond::Arrived;
use crate::transit::{Notice, Shared};
use crate::transporter::{Event, Listener};

/// What keeps the log quiet.
#[derive(Default)]
pub(super) struct Gates {
    refused: Gate,
    slow_consumer: Gate,
    trouble: Gate,
    foreign_version: Seen,
}

/// The transporter's listener. Weak, so that a transporter that lives on keeps nothing alive.
pub(super) struct Receiver(Weak<Shared>);

impl Receiver {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl Listener for Receiver {
    fn handle_message(&self, topic: &str, data: Bytes) {
        self.handle_messages(&mut std::iter::once((topic, data)));
    }

    fn handle_messages(&self, messages: &mut dyn Iterator<Item = (&str, Bytes)>) {
        let Some(shared) = self.0.upgrade() else { return messages.for_each(drop) };
        let mut arrived = Vec::new();
        for (topic, data) in messages {
            // A defect that one packet brings to light must not end the reading of all others.
            let handle = || shared.handle_message(topic, &data, &mut arrived);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(handle)) {
                let panic = task::panic_text(&*panic);
                tracing::error!(topic, panic, "the handling of a packet panicked");
            }
        }
        shared.answer_all(arrived);
    }

    fn handle_event(&self, event: Event) {
        if let Some(shared) = self.0.upgrade() {
            shared.handle_connection(event);
        }
    }
}

impl Shared {
    /// Requests are added to `arrived`; whatever else comes in is handled at once.
    fn handle_message(self: &Arc<Self>, topic: &str, data: &Bytes, arrived: &mut Vec<Arrived>) {
        let Some(kind) = self.topics.kind_of(topic) else { return };
        self.counters.count_received(kind, data.len());
        if data.len() > self.settings.options.max_packet_size {
            let reason = format!("{} bytes, more than transit.maxPacketSize", data.len());
            self.refuse(Refusal::TooLarge, None, kind.as_str(), &reason);
            return;
        }
        let packet = match self.serializer.decode(kind, data) {
            Ok(packet) => packet,
            Err(error) => {
                let foreign = error.ver.as_ref().filter(|ver| !self.versions.accepts(ver));
                match (foreign, &error.sender) {
                    (Some(ver), Some(sender)) => self.refuse_version(kind, sender, ver),
                    _ => self.refuse(
                        Refusal::Malformed,
                        error.sender.as_ref(),
                        kind.as_str(),
                        &error,
                    ),
                }
                return;
            }
        };
        if kind.is_gossip() {
            // Not subject to the check of versions (moleculer: src/transporters/tcp.js receive).
            self.versions.remember(&packet);
            self.handle_gossip(topic, packet);
            return;
        }
        if !self.versions.accepts(&packet.ver) {
            self.refuse_version(kind, &packet.sender, &packet.ver);
            return;
        }
        self.versions.remember(&packet);
        match self.hooks.message.get() {
            None => self.sort(packet, arrived),
            Some(handle) => handle(packet),
        }
    }

    /// Handles a packet that comes by itself.
    pub(super) fn dispatch(self: &Arc<Self>, packet: Packet) {
        let mut arrived = Vec::new();
        self.sort(packet, &mut arrived);
        self.answer_all(arrived);
    }

    fn sort(self: &Arc<Self>, packet: Packet, arrived: &mut Vec<Arrived>) {
        let Packet { ver, sender, body } = packet;
        let own = sender == self.settings.node_id;
        match body {
            Body::Request(request) => {
                arrived.extend(self.handle_request(&ver, sender, request));
            }
            Body::Response(response) => self.handle_response(&ver, &sender, response),
            Body::Event(event) => self.handle_event(sender, event),
            Body::Info(info) if own => {
                if info.instance_id.as_ref() != Some(&self.settings.instance_id) {
                    self.twin.handle_sign();
                    self.notify(Notice::DuplicateNodeId { instance_id: info.instance_id });
                }
            }
            Body::Pong(pong) if own => self.twin.handle_pong(&pong),
            // The others are only what this node says to all, itself included.
            _ if own => {}
            Body::Ping(ping) => self.handle_ping(sender, ping, &ver),
            Body::Pong(pong) => self.handle_pong(sender, pong),
            // They go another way.
            Body::GossipHello(_) | Body::GossipRequest(_) | Body::GossipResponse(_) => {}
            Body::Info(_) | Body::Discover | Body::Heartbeat(_) | Body::Disconnect => {
                if matches!(body, Body::Disconnect) {
                    // Also of a node that the registry never knew.
                    self.versions.forget(&sender);
                }
                if let Some(inbound) = self.inbound.upgrade() {
                    inbound.handle_node(sender, body);
                }
            }
        }
    }

    /// Gossip goes to the discoverer. Where a HELLO came from is told by its topic.
    fn handle_gossip(&self, topic: &str, packet: Packet) {
        let Packet { sender, mut body, .. } = packet;
        if sender == self.settings.node_id {
            let reason = "it comes from this node's own ID: another process uses it, or the address of \
                          another node leads here";
            self.refuse(Refusal::Malformed, Some(&sender), body.kind().as_str(), &reason);
            return;
        }
        if let Body::GossipHello(hello) = &mut body {
            hello.remove(SEEN_ADDRESS);
            let address = topic.split_once(PacketType::GossipHello.as_str());
            if let Some(address) = address.and_then(|(_, rest)| rest.strip_prefix('.')) {
                hello.insert(SEEN_ADDRESS.into(), address.into());
            }
        }
        if let Some(inbound) = self.inbound.upgrade() {
            inbound.handle_node(sender, body);
        }
    }

    fn handle_connection(&self, event: Event) {
        match event {
            Event::Twin => match self.twin.asking() {
                true => self.twin.handle_sign(),
                false => self.notify(Notice::DuplicateNodeId { instance_id: None }),
            },
            Event::NodeFound { node_id } => self.notify(Notice::NodeFound { node_id }),
            Event::NodeLost { node_id, unexpected } => {
                self.reject_node(&node_id);
                self.notify(Notice::NodeLost { node_id, unexpected });
            }
            Event::Disconnected => {
                tracing::warn!(
                    address = %self.transporter.address(),
                    "the connection to the transporter is lost; reconnecting"
                );
                self.set_connected(false);
                self.notify(Notice::Disconnected { graceful: false });
            }
            Event::Reconnected => self.handle_reconnected(),
            Event::SlowConsumer => {
                self.counters.slow_consumer.increment();
                if let Some(held_back) = self.gates.slow_consumer.open(clock::now()) {
                    tracing::warn!(
                        held_back,
                        "messages come faster than they are read; some are lost"
                    );
                }
            }
            Event::TooLarge { size } => {
                let reason = format!("{size} bytes, more than transit.maxPacketSize");
                self.refuse(Refusal::TooLarge, None, "unread", &reason);
            }
            Event::Trouble(message) => {
                if let Some(held_back) = self.gates.trouble.open(clock::now()) {
                    tracing::warn!(trouble = message, held_back, "the transporter reports trouble");
                }
                self.notify(Notice::TransporterError { message });
            }
        }
    }

    fn handle_reconnected(&self) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        tracing::info!(address = %self.transporter.address(), "the transporter is connected again");
        self.set_connected(true);
        self.reconnected.notify_waiters();
        self.notify(Notice::Connected { was_reconnect: true });
    }

    /// Counts a packet that is not used, and logs it when the last such line is long enough ago.
    pub(super) fn refuse(
        &self,
        refusal: Refusal,
        sender: Option<&Arc<str>>,
        kind: &str,
        reason: &dyn std::fmt::Display,
    ) {
        self.counters.count_refused(refusal);
        if let Some(held_back) = self.gates.refused.open(clock::now()) {
            let sender = sender.map_or("unknown", |sender| &**sender);
            tracing::warn!(sender, kind, %reason, held_back, "a packet was refused");
        }
    }

    fn refuse_version(&self, kind: PacketType, sender: &Arc<str>, ver: &Arc<str>) {
        self.counters.count_refused(Refusal::Version);
        if self.gates.foreign_version.first_time(sender) {
            tracing::warn!(
                %sender,
                ver = %ver,
                own = self.versions.preferred().as_str(),
                kind = kind.as_str(),
                "a node speaks another protocol version; its packets are dropped \
                 (protocolVersion = \"auto\" speaks 4 and 5)"
            );
        }
        let own = self.versions.preferred().as_str();
        let error = MoleculerError::protocol_version_mismatch(sender, own, ver);
        self.notify(Notice::TransitError { error, kind: "failedProcessingPacket" });
    }
}
