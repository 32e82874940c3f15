//! Packets between this node and the others: requests and their answers, the streams of both, events,
//! pings, and the node packets, which are handed on.
//!
//! Invariants: a request that waits for its answer is owned by a guard, so it leaves the pending map with
//! the future that waits. A request that comes in is answered exactly once, also when its handler panics
//! or the node stops. Whatever comes in is checked in this order: size, form, version, sender, meaning;
//! what is refused is counted and logged sparingly and never ends anything.
//!
//! Not here: who offers what (`registry`), when to announce (`discoverer`), how a request is run (the
//! broker, through [`Inbound`]). Follows moleculer: src/transit.js.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::metrics::MetricRegistry;
use crate::packet::{Body, Event, Packet, PacketType, ProtocolVersion, ServiceItem};
use crate::serializer::Serializer;
use crate::task::CancellationToken;
use crate::transporter::{self, Attempt, Gossip, Transporter};

mod counters;
mod event;
mod gate;
mod hook;
mod pending;
mod ping;
mod receive;
mod request;
mod respond;
mod stream;
#[cfg(test)]
mod tests;
pub mod topic;
mod twin;
mod versions;

pub use gate::Gate;
pub use hook::{HandleMessage, Publish};
pub use ping::PingResult;

use counters::Counters;
use pending::Pending;
use topic::Topics;
use twin::Twin;
use versions::Versions;

/// Pause between attempts to connect at start (moleculer: src/transit.js connect).
const CONNECT_RETRY: Duration = Duration::from_secs(5);

/// How long a node that has just asked who is there waits for the answers before it counts as connected
/// (moleculer: src/transit.js afterConnect).
const DISCOVER_WAIT: Duration = Duration::from_millis(500);

/// Requests from other nodes that run at once; one more is answered with `QueueIsFullError`.
const INBOUND_REQUESTS_MAX: usize = 10_000;

/// Events from other nodes that are handled at once; one more is dropped and counted.
const INBOUND_EVENTS_MAX: usize = 10_000;

/// Pings that wait for their answer at once.
const PINGS_MAX: usize = 1_000;

/// Refusals of requests that wait to be sent. Beyond it a flood is dropped without an answer, since the
/// connection is slower than the flood anyway.
const REFUSALS_MAX: usize = 10_000;

/// Pings from other nodes whose answers wait to be sent.
const PONGS_MAX: usize = 1_000;

/// How long a stop waits for the last answers to be sent, after it has ended all handlers.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// What the rest of the node does with what comes in. Implemented by the broker; held weakly.
///
/// All functions are called while packets are being read, so they must return at once; what takes longer
/// is in the futures, which run on the work runtime of [`Settings`].
pub trait Inbound: Send + Sync {
    /// Runs a request of another node. Nobody else has its context.
    fn handle_request(&self, ctx: Context) -> BoxFuture<'static, Reply>;

    /// Runs the local handlers of an event from another node.
    fn handle_event(&self, ctx: Context) -> BoxFuture<'static, ()>;

    /// `INFO`, `DISCOVER`, `HEARTBEAT`, `DISCONNECT` or gossip of another node.
    fn handle_node(&self, sender: Arc<str>, body: Body);

    /// Something that the broker tells its services or its operator.
    fn handle_notice(&self, notice: Notice);
}

/// How a request ended.
#[derive(Debug)]
pub struct Reply {
    /// The context that the action saw: its meta and response headers go with the answer.
    pub ctx: Context,
    /// What the caller gets.
    pub outcome: Outcome,
    /// False when this node has no such action, so that nothing was run. The answer then has `null`
    /// headers (moleculer: src/transit.js requestHandler).
    pub resolved: bool,
}

/// What transit tells the broker beside packets.
#[derive(Clone, Debug)]
pub enum Notice {
    /// `$transporter.connected {wasReconnect}`
    Connected {
        /// False for the first connection of this node.
        was_reconnect: bool,
    },
    /// `$transporter.disconnected {graceFul}`
    Disconnected {
        /// True when this node closed the connection.
        graceful: bool,
    },
    /// `$transporter.error`: the server or its client library reported trouble.
    TransporterError {
        /// For a person.
        message: String,
    },
    /// `$transit.error {error, module: "transit", type}`
    TransitError {
        /// What happened.
        error: MoleculerError,
        /// Moleculer's word for it, such as `failedProcessingPacket`.
        kind: &'static str,
    },
    /// `$node.pong`
    Pong(PingResult),
    /// The transporter has found a node that is not known to be online.
    NodeFound {
        /// Its ID.
        node_id: Arc<str>,
    },
    /// The transporter has lost a node. What waited for it has been rejected.
    NodeLost {
        /// Its ID.
        node_id: Arc<str>,
        /// False when it closed the connection.
        unexpected: bool,
    },
    /// Another process uses this node's ID. Moleculer's nodes end themselves at this.
    DuplicateNodeId {
        /// `instanceID` of the other process, when it sent one.
        instance_id: Option<Arc<str>>,
    },
}

/// Why the mesh could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transporter failed and may not try again, or can never succeed.
    #[error(transparent)]
    Transporter(#[from] transporter::Error),
    /// The node was stopped meanwhile.
    #[error("stopped while connecting")]
    Stopped,
    /// Another process with this node's ID has answered. Nothing was announced.
    #[error(
        "another process uses the node ID '{node_id}' already: give each node its own with --node-id or the \
         option nodeID, or none, to have a unique one made"
    )]
    DuplicateNodeId {
        /// The ID.
        node_id: Arc<str>,
    },
}

/// What a [`Transit`] is made with.
pub struct Settings {
    /// Separates meshes on one server.
    pub namespace: String,
    /// This node.
    pub node_id: Arc<str>,
    /// Whether somebody chose that ID, so that another process may have it.
    pub chosen_id: bool,
    /// This run of it.
    pub instance_id: Arc<str>,
    /// Section `transit` of the options.
    pub options: config::Transit,
    /// Leave it to the transporter which node gets a request or event, if it can decide.
    pub disable_balancer: bool,
    /// Where requests and events from other nodes are run, so that handlers never delay the reading of
    /// packets.
    pub work: Handle,
    /// Whether nodes find each other over the transporter; otherwise nobody is asked who is there.
    pub discovers: bool,
}

/// The transit of a node. Cheap to clone.
#[derive(Clone)]
pub struct Transit(Arc<Shared>);

struct Shared {
    settings: Settings,
    topics: Topics,
    transporter: Arc<dyn Transporter>,
    serializer: Arc<dyn Serializer>,
    inbound: Weak<dyn Inbound>,
    counters: Counters,
    versions: Versions,
    twin: Twin,
    requests: Arc<Pending<request::Answer>>,
    pings: Arc<Pending<ping::Answer>>,
    /// True from the end of the first connect until disconnect, without the times of a lost connection.
    connected: AtomicBool,
    /// True from the moment at which requests are refused because the node stops.
    stopping: AtomicBool,
    /// Ends the handlers of inbound requests: they answer and are gone.
    stop: CancellationToken,
    /// Inbound requests that have not been answered yet.
    answering: TaskTracker,
    streams: stream::Streams,
    /// Rings when a lost connection is back.
    reconnected: Notify,
    gates: receive::Gates,
    hooks: hook::Hooks,
}

impl Transit {
    /// A transit that is not connected yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        transporter: Arc<dyn Transporter>,
        serializer: Arc<dyn Serializer>,
        inbound: Weak<dyn Inbound>,
        metrics: &MetricRegistry,
    ) -> Self {
        let counters = Counters::new(metrics);
        let requests = Pending::new(settings.options.max_queue_size, counters.active.clone());
        Self(Arc::new(Shared {
            topics: Topics::new(&settings.namespace, &settings.node_id),
            transporter,
            serializer,
            inbound,
            versions: Versions::new(&settings.options),
            twin: Twin::new(&settings.node_id),
            requests: Arc::new(requests),
            pings: Arc::new(Pending::new(PINGS_MAX, counters.pings.clone())),
            connected: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
            answering: TaskTracker::new(),
            streams: stream::Streams::new(settings.options.streams, metrics),
            reconnected: Notify::new(),
            gates: receive::Gates::default(),
            hooks: hook::Hooks::default(),
            counters,
            settings,
        }))
    }

    /// Joins the mesh: connects (again every 5 seconds until it works, unless `disableReconnect` is set),
    /// subscribes, asks who is there and waits half a second for the answers. Then
    /// [`Notice::Connected`] is given. Sockets are read on the runtime on which this is awaited.
    ///
    /// # Errors
    /// [`Error`] when it may not or cannot be tried again, or when the node was stopped meanwhile.
    pub async fn connect(&self) -> Result<(), Error> {
        self.0.stop.run_until_cancelled(self.join_mesh()).await.unwrap_or(Err(Error::Stopped))
    }

    async fn join_mesh(&self) -> Result<(), Error> {
        let shared = &*self.0;
        while let Err(error) = self.try_join().await {
            let Error::Transporter(error) = error else { return Err(error) };
            let final_error = matches!(error, transporter::Error::Address { .. });
            if final_error || shared.settings.options.disable_reconnect {
                return Err(error.into());
            }
            tracing::warn!(%error, "the mesh cannot be joined; trying again in 5 s");
            tokio::time::sleep(CONNECT_RETRY).await;
        }
        tracing::info!(address = %shared.transporter.address(), "connected to the transporter");
        if shared.settings.discovers {
            let asked = match shared.transporter.gossip() {
                None => self.discover_all().await,
                // Nobody can be asked; those that are reached learn by this where the answer goes.
                Some(gossip) => self.send_gossip(Body::GossipHello(gossip.hello), None).await,
            };
            if let Err(error) = asked {
                tracing::warn!(%error, "the question who is there could not be sent");
            }
            tokio::time::sleep(DISCOVER_WAIT).await;
        }
        if shared.twin_found() {
            return Err(self.make_way().await);
        }
        shared.end_asking_for_twin();
        shared.set_connected(true);
        shared.notify(Notice::Connected { was_reconnect: false });
        Ok(())
    }

    /// Connects and subscribes, unless another process has this node's ID.
    async fn try_join(&self) -> Result<(), Error> {
        let shared = &*self.0;
        let listener = Arc::new(receive::Receiver::new(&self.0));
        if shared.settings.chosen_id {
            shared.twin.begin();
        }
        shared.transporter.connect(listener).await?;
        let subscribed = self.try_subscribe().await;
        if subscribed.is_err() {
            // The next attempt starts from nothing.
            shared.transporter.disconnect().await;
        }
        subscribed
    }

    async fn try_subscribe(&self) -> Result<(), Error> {
        let shared = &*self.0;
        // Where nodes gossip it is the transporter that asks; nobody ends itself there.
        if shared.settings.chosen_id && shared.transporter.gossip().is_none() {
            shared.begin_asking_for_twin().await?;
            if shared.ask_for_twin().await {
                return Err(self.make_way().await);
            }
        }
        Ok(shared.transporter.subscribe(shared.topics.subscriptions()).await?)
    }

    /// Leaves without a word: whatever would be said in the name of this node would be about another one.
    async fn make_way(&self) -> Error {
        self.0.transporter.disconnect().await;
        Error::DuplicateNodeId { node_id: Arc::clone(&self.0.settings.node_id) }
    }

    /// True while packets can be sent and this node has introduced itself.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    /// From now on requests are refused with `ServiceNotAvailableError` and events are dropped. The first
    /// step of a stop, after the mesh has been told that this node offers nothing any more.
    pub fn stop_intake(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Waits until no stream goes to another node any more. How long is up to the caller.
    pub async fn streams_sent(&self) {
        self.0.streams.sent().await;
    }

    /// Leaves the mesh: ends what is still running for other nodes (it is answered), says DISCONNECT,
    /// rejects what waits for an answer, closes the connection. Gives `Disconnected {graceful: true}`
    /// first, as Moleculer does.
    pub async fn disconnect(&self) {
        self.stop_intake();
        self.0.notify(Notice::Disconnected { graceful: true });
        self.0.stop.cancel();
        self.0.answering.close();
        let answered = tokio::time::timeout(LAST_ANSWERS_TIMEOUT, self.0.answering.wait()).await;
        if answered.is_err() {
            tracing::warn!(left = self.0.answering.len(), "answers could not be sent in time");
        }
        if self.0.transporter.gossip().is_none()
            && let Err(error) = self.send(Body::Disconnect, None).await
        {
            tracing::debug!(%error, "DISCONNECT could not be sent");
        }
        self.0.set_connected(false);
        self.0.requests.clear();
        self.0.pings.clear();
        self.0.streams.clear();
        self.0.transporter.disconnect().await;
    }

    /// The version of the protocol in which a node is spoken to: its own, as far as this node speaks it.
    #[must_use]
    pub fn version_of(&self, node_id: &str) -> ProtocolVersion {
        self.0.versions.of(node_id)
    }

    /// Rejects everything that waits for this node, because it is gone.
    pub fn reject_node(&self, node_id: &str) {
        self.0.reject_node(node_id);
    }

    /// Requests that wait for their answer.
    #[must_use]
    pub fn pending_requests(&self) -> usize {
        self.0.requests.len()
    }

    /// Whether the transporter decides which node gets a request or event that names none
    /// (moleculer: option disableBalancer). Not while nodes of several versions are there: one would take
    /// from a queue what only the other understands.
    #[must_use]
    pub fn leaves_balancing(&self) -> bool {
        self.0.shares_queues() && self.0.versions.alive().len() == 1
    }

    /// Takes requests and events from the queues of these services from now on, and from no others.
    /// Nothing happens unless the transporter balances.
    ///
    /// # Errors
    /// What the transporter says.
    pub async fn share_queues(&self, services: &[ServiceItem]) -> Result<(), MoleculerError> {
        if !self.0.shares_queues() {
            return Ok(());
        }
        let shared = self.0.transporter.share(self.0.topics.queues(services)).await;
        shared.map_err(|error| send_error(error, PacketType::Request))
    }

    /// Asks all nodes for their INFO, in every version that this node speaks: who is there is not known.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn discover_all(&self) -> Result<(), MoleculerError> {
        self.send_in_all_versions(Body::Discover).await
    }

    /// Sends a packet to all nodes in every version that this node speaks, also in those that nobody is
    /// known to speak. Nodes of the other versions log each such packet, so this is for the moments when
    /// it is not known who is there.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn send_in_all_versions(&self, body: Body) -> Result<(), MoleculerError> {
        self.0.send_in(self.0.versions.spoken(), body).await
    }

    /// Sends a packet to one node in its version, or to all in the versions that they speak.
    ///
    /// # Errors
    /// `BrokerDisconnectedError`, `PayloadTooLargeError`, or what the transporter says.
    pub async fn send(&self, body: Body, target: Option<&str>) -> Result<(), MoleculerError> {
        self.0.send(body, target).await
    }

    /// Learns from a packet that came another way which version its sender speaks.
    pub fn remember_version(&self, packet: &Packet) {
        self.0.versions.remember(packet);
    }

    /// How nodes gossip, when the transporter is one where they do.
    #[must_use]
    pub fn gossip(&self) -> Option<Gossip> {
        self.0.transporter.gossip()
    }

    /// Sends a packet of gossip. As in Moleculer it is not shown to middlewares, but to those of bytes.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn send_gossip(
        &self,
        body: Body,
        target: Option<&str>,
    ) -> Result<(), MoleculerError> {
        let version =
            target.map_or_else(|| self.0.versions.preferred(), |id| self.0.versions.of(id));
        self.0.publish(&self.0.packet(version, body), target).await
    }

    /// Whether a node should say something, so that it is known in which version to speak to it. Nodes that
    /// are known from the gossip of others alone have not.
    #[must_use]
    pub fn version_missing(&self, node_id: &str) -> bool {
        self.0.versions.missing(node_id)
    }

    /// Counts what a node told of itself beyond what is believed.
    pub fn refuse_info(&self, sender: &Arc<str>, reason: &dyn std::fmt::Display) {
        self.0.refuse(counters::Refusal::Overload, Some(sender), "INFO", reason);
    }

    /// Counts and logs gossip that makes no sense.
    pub fn refuse_gossip(&self, sender: &Arc<str>, reason: &dyn std::fmt::Display) {
        self.0.refuse(counters::Refusal::Malformed, Some(sender), "gossip", reason);
    }

    /// Logs a packet that could not be sent and gives [`Notice::TransitError`]. `kind` is Moleculer's word
    /// for it (moleculer: src/constants.js).
    pub fn report_unsent(&self, kind: &'static str, target: &str, error: MoleculerError) {
        self.0.report_unsent(kind, target, error);
    }
}

/// How the sending of a packet goes on.
enum Sending<'a> {
    /// It is over, or only its bytes are left.
    Direct(Result<Option<Unsent>, MoleculerError>),
    /// All of it is left.
    Slow(BoxFuture<'a, Result<(), MoleculerError>>),
}

/// A packet that the transporter could not take at once.
struct Unsent {
    kind: PacketType,
    topic: String,
    data: Bytes,
}

impl Shared {
    /// Sends a packet to one node in its version, or to all in the versions that they speak.
    ///
    /// Nearly all packets go to one node, and the transporter has them before this returns: who sends a
    /// request and waits for its answer does not keep the room for a packet.
    fn send<'a>(
        &'a self,
        body: Body,
        target: Option<&'a str>,
    ) -> impl Future<Output = Result<(), MoleculerError>> + Send + 'a {
        let sending = match target {
            Some(node_id) if self.hooks.publish.get().is_none() => {
                let packet = self.packet(self.versions.of(node_id), body);
                Sending::Direct(self.begin(&packet, node_id))
            }
            _ => Sending::Slow(Box::pin(self.send_slowly(body, target))),
        };
        async move {
            match sending {
                Sending::Direct(begun) => match begun? {
                    None => Ok(()),
                    Some(unsent) => self.finish(unsent).await,
                },
                Sending::Slow(sending) => sending.await,
            }
        }
    }

    fn begin(&self, packet: &Packet, node_id: &str) -> Result<Option<Unsent>, MoleculerError> {
        let kind = packet.body.kind();
        let topic = self.topics.of(kind, Some(node_id));
        let data = self.encode_for(&topic, packet)?;
        let size = data.len();
        match self.transporter.try_publish(&topic, data) {
            Attempt::MustWait(data) => Ok(Some(Unsent { kind, topic, data })),
            Attempt::Done(published) => {
                published.map_err(|error| send_error(error, kind))?;
                self.counters.count_sent(kind, size);
                Ok(None)
            }
        }
    }

    async fn finish(&self, unsent: Unsent) -> Result<(), MoleculerError> {
        let Unsent { kind, topic, data } = unsent;
        let size = data.len();
        let published = self.transporter.publish(&topic, data).await;
        published.map_err(|error| send_error(error, kind))?;
        self.counters.count_sent(kind, size);
        Ok(())
    }

    async fn send_slowly(&self, body: Body, target: Option<&str>) -> Result<(), MoleculerError> {
        match target {
            Some(node_id) => self.send_as(self.versions.of(node_id), body, target).await,
            // Whoever takes it from a queue takes it once.
            None if matches!(body, Body::Request(_) | Body::Event(_)) => {
                let alive = self.versions.alive();
                let version = alive.first().copied().unwrap_or_else(|| self.versions.preferred());
                self.send_as(version, body, None).await
            }
            None => self.send_in(&self.versions.alive(), body).await,
        }
    }

    /// Sends a packet to all nodes, once in each of these versions; the first error counts.
    async fn send_in(
        &self,
        versions: &[ProtocolVersion],
        body: Body,
    ) -> Result<(), MoleculerError> {
        let mut sent = Ok(());
        for version in versions {
            sent = sent.and(self.send_as(*version, body.clone(), None).await);
        }
        sent
    }

    fn shares_queues(&self) -> bool {
        self.settings.disable_balancer && self.transporter.has_balancer()
    }

    async fn send_as(
        &self,
        version: ProtocolVersion,
        body: Body,
        target: Option<&str>,
    ) -> Result<(), MoleculerError> {
        let packet = self.packet(version, body);
        match self.hooks.publish.get() {
            None => self.publish(&packet, target).await,
            Some(publish) => publish(packet, target.map(Arc::from)).await,
        }
    }

    fn reject_node(&self, node_id: &str) {
        self.versions.forget(node_id);
        let rejected = self.requests.reject_node(node_id);
        self.pings.reject_node(node_id);
        self.streams.reject_node(node_id);
        if rejected > 0 {
            tracing::warn!(
                node = node_id,
                rejected,
                "requests rejected because their node is gone"
            );
        }
    }

    fn packet(&self, version: ProtocolVersion, body: Body) -> Packet {
        Packet { ver: version.shared(), sender: Arc::clone(&self.settings.node_id), body }
    }

    /// Without a target a request goes to the queue of its action, and an event to that of each of its
    /// groups (moleculer: src/transporters/base.js prepublish).
    async fn publish(&self, packet: &Packet, target: Option<&str>) -> Result<(), MoleculerError> {
        match (&packet.body, target) {
            (Body::Request(request), None) => {
                self.publish_on(&self.topics.of_action(&request.action).topic, packet).await
            }
            (Body::Event(event), None) => {
                for group in event.groups.iter().flatten() {
                    let groups = Some(vec![Arc::clone(group)]);
                    let body = Body::Event(Event { groups, ..event.clone() });
                    let packet = Packet { body, ..packet.clone() };
                    let queue = self.topics.of_event(group, &event.event);
                    self.publish_on(&queue.topic, &packet).await?;
                }
                Ok(())
            }
            (body, target) => self.publish_on(&self.topics.of(body.kind(), target), packet).await,
        }
    }

    async fn publish_on(&self, topic: &str, packet: &Packet) -> Result<(), MoleculerError> {
        let data = self.encode_for(topic, packet)?;
        self.finish(Unsent { kind: packet.body.kind(), topic: topic.to_owned(), data }).await
    }

    /// The bytes of a packet that may go to this topic.
    fn encode_for(&self, topic: &str, packet: &Packet) -> Result<Bytes, MoleculerError> {
        let kind = packet.body.kind();
        let data = self.serializer.encode(packet);
        let size = data.len();
        let limit = self.settings.options.max_packet_size;
        if size > limit {
            return Err(MoleculerError::payload_too_large(kind.as_str(), limit, size));
        }
        // Names of queues are made from names of actions and events. What nearly all are made of is seen
        // without a look at each character.
        let strange = |c: char| c.is_whitespace() || c.is_control();
        if !topic.bytes().all(|byte| byte.is_ascii_graphic()) && topic.contains(strange) {
            return Err(MoleculerError::server(
                "TRANSPORTER_ERROR",
                format!("{topic:?} is no topic"),
            ));
        }
        Ok(data)
    }

    /// Logs a packet that could not be sent and tells the broker.
    fn report_unsent(&self, kind: &'static str, target: &str, error: MoleculerError) {
        tracing::warn!(%error, target, "{kind}");
        self.notify(Notice::TransitError { error, kind });
    }

    fn notify(&self, notice: Notice) {
        if let Some(inbound) = self.inbound.upgrade() {
            inbound.handle_notice(notice);
        }
    }

    fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Release);
        self.counters.set_connected(connected);
    }
}

/// What a caller is told of a transporter's error.
fn send_error(error: transporter::Error, kind: PacketType) -> MoleculerError {
    match error {
        transporter::Error::PayloadTooLarge { limit, size } => {
            MoleculerError::payload_too_large(kind.as_str(), limit, size)
        }
        transporter::Error::NotConnected => MoleculerError::broker_disconnected(),
        other => MoleculerError::server("TRANSPORTER_ERROR", other.to_string()),
    }
}
