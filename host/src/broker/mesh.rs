//! The broker's way to other nodes: transit and discoverer.
//!
//! With a real transporter they have a runtime of their own with one thread, which only reads and writes
//! sockets and keeps the heartbeat: guests that use all of the other threads cannot make this node look
//! dead. The in-process bus stays on the broker's runtime, whose clock tests may pause.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::runtime::{Handle, Runtime};

use super::{ServiceBroker, Shared};
use crate::config::Transporter;
use crate::context::Context;
use crate::discoverer::{self, Discoverer, LocalEvent, store};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::middleware::wire::Wire;
use crate::serializer;
use crate::transit::{self, Inbound, PingResult, Transit};
use crate::transporter;
use crate::transporter::amqp::Amqp;
use crate::transporter::fake::{Bus, Fake};
use crate::transporter::kafka::Kafka;
use crate::transporter::mqtt::Mqtt;
use crate::transporter::nats::Nats;
use crate::transporter::redis::Redis;
use crate::transporter::tcp::Tcp;

/// Pings under way at once when many nodes are pinged.
const PINGS_AT_ONCE: usize = 100;

/// Why the mesh could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transporter cannot work with its options.
    #[error(transparent)]
    Transporter(#[from] transporter::Error),
    /// It could not be connected.
    #[error(transparent)]
    Transit(#[from] transit::Error),
    /// The discoverer cannot work with its options.
    #[error(transparent)]
    Discoverer(#[from] store::Error),
    /// The system gives no thread for the sockets.
    #[error("cannot start the thread of the sockets")]
    Thread(#[from] std::io::Error),
}

/// What connects a node to others.
pub(super) struct Mesh {
    pub(super) transit: Transit,
    pub(super) discoverer: Discoverer,
    runtime: MeshRuntime,
}

/// Where sockets are read.
enum MeshRuntime {
    /// On the broker's.
    Shared(Handle),
    /// On its own; taken when the node stops.
    Own(Handle, parking_lot::Mutex<Option<Runtime>>),
}

impl MeshRuntime {
    fn new(in_process: bool, work: &Handle) -> std::io::Result<Self> {
        if in_process {
            return Ok(Self::Shared(work.clone()));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("isomer-mesh")
            .enable_all()
            .build()?;
        Ok(Self::Own(runtime.handle().clone(), parking_lot::Mutex::new(Some(runtime))))
    }

    fn handle(&self) -> &Handle {
        match self {
            Self::Shared(handle) | Self::Own(handle, _) => handle,
        }
    }

    /// Ends its threads without waiting, which must not be done on a thread of another runtime.
    fn shut_down(&self) {
        if let Self::Own(_, runtime) = self
            && let Some(runtime) = runtime.lock().take()
        {
            runtime.shutdown_background();
        }
    }
}

impl Drop for MeshRuntime {
    /// A broker that was never stopped may be dropped anywhere, also where a runtime must not be.
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl ServiceBroker {
    /// Pings a node; `None` when no answer came in time (moleculer: src/service-broker.js ping).
    ///
    /// # Errors
    /// When the ping could not be sent.
    pub async fn ping(
        &self,
        node_id: &Arc<str>,
        timeout: Duration,
    ) -> Result<Option<PingResult>, MoleculerError> {
        match self.0.mesh.get() {
            Some(mesh) => mesh.transit.ping(node_id, timeout).await,
            None => Ok(None),
        }
    }

    /// Pings several nodes at once; with none named, all others that can be reached
    /// (moleculer: src/service-broker.js ping with a list, or with nothing).
    pub async fn ping_nodes(
        &self,
        node_ids: &[Arc<str>],
        timeout: Duration,
    ) -> BTreeMap<Arc<str>, Option<PingResult>> {
        let nodes = if node_ids.is_empty() { self.0.other_nodes() } else { node_ids.to_vec() };
        let ping = |node_id: Arc<str>| async move {
            let pong = self.ping(&node_id, timeout).await;
            // What could not be sent is not answered either; transit has logged it.
            (node_id, pong.ok().flatten())
        };
        stream::iter(nodes).map(ping).buffer_unordered(PINGS_AT_ONCE).collect().await
    }

    /// Requests of this node that wait for an answer of another.
    #[must_use]
    pub fn pending_requests(&self) -> usize {
        self.0.mesh.get().map_or(0, |mesh| mesh.transit.pending_requests())
    }
}

impl Shared {
    /// All other nodes that can be reached.
    fn other_nodes(&self) -> Vec<Arc<str>> {
        let registry = self.registry.read();
        let others = registry.nodes.iter().filter(|node| node.available && !node.local);
        others.map(|node| Arc::clone(&node.id)).collect()
    }

    /// Joins the mesh, when there is a transporter.
    pub(super) async fn connect(&self) -> Result<(), Error> {
        let Some(transporter) = self.transporter()? else { return Ok(()) };
        let options = self.options.transporter.as_ref().filter(|_| self.own.transporter.is_none());
        let in_process = matches!(options, Some(Transporter::Fake { .. }));
        let runtime = MeshRuntime::new(in_process, &self.work)?;
        if self.options.disable_balancer && !transporter.has_balancer() {
            tracing::warn!(
                transporter = %transporter.address(),
                "'disableBalancer' is off: this transporter cannot balance, so the node does"
            );
        }
        let directory = {
            let (node_id, instance_id) = (&self.node_id, &self.instance_id);
            store::open(&self.options, node_id, instance_id, &self.metrics)?
        };
        let transit = self.transit(transporter, directory.is_none());
        let discoverer = Discoverer::new(
            discoverer::Settings::from(&self.options),
            directory,
            Arc::clone(&self.registry),
            transit.clone(),
            self.mesh_event(),
            runtime.handle().clone(),
            &self.cancel,
        );
        let joining = runtime.handle().clone();
        let mesh = Mesh { transit: transit.clone(), discoverer: discoverer.clone(), runtime };
        // Packets may come in before `connect` returns, and they need both.
        let _ = self.mesh.set(mesh);
        let _ = self.remote.set(remote_handler(transit.clone()));
        let joined = joining.spawn(async move { transit.connect().await }).await;
        joined.map_err(std::io::Error::other)?.map_err(Error::from)?;
        discoverer.first_look().await;
        Ok(())
    }

    /// The program's own transporter, or what the options say; with the hooks of middlewares.
    fn transporter(&self) -> Result<Option<Arc<dyn transporter::Transporter>>, Error> {
        let transporter: Arc<dyn transporter::Transporter> = match &self.own.transporter {
            Some(own) => Arc::clone(own),
            None => match &self.options.transporter {
                None => return Ok(None),
                Some(Transporter::Nats { urls }) => Arc::new(Nats::new(urls, &self.node_id)?),
                Some(Transporter::Mqtt(options)) => {
                    Arc::new(Mqtt::new(options.clone(), &self.options.namespace)?)
                }
                Some(Transporter::Amqp(options)) => {
                    let namespace = &self.options.namespace;
                    Arc::new(Amqp::new(*options.clone(), namespace, &self.node_id)?)
                }
                Some(Transporter::Kafka(options)) => {
                    let largest = self.options.transit.max_packet_size;
                    Arc::new(Kafka::new(*options.clone(), largest))
                }
                Some(Transporter::Redis { urls }) => {
                    let largest = self.options.transit.max_packet_size;
                    Arc::new(Redis::new(urls, largest, &self.node_id)?)
                }
                Some(Transporter::Tcp(options)) => Arc::new(Tcp::new(
                    options,
                    &self.options.namespace,
                    &self.node_id,
                    Arc::clone(&self.registry),
                    &self.metrics,
                )),
                Some(Transporter::Fake { bus }) => {
                    Arc::new(Fake::new(Bus::named(bus), &self.node_id))
                }
            },
        };
        if self.own.middlewares {
            return Ok(Some(Arc::new(Wire::new(transporter, self.chain.clone()))));
        }
        Ok(Some(transporter))
    }

    /// `discovers`: whether nodes find each other over the transporter.
    fn transit(&self, transporter: Arc<dyn transporter::Transporter>, discovers: bool) -> Transit {
        let settings = transit::Settings {
            namespace: self.options.namespace.clone(),
            node_id: Arc::clone(&self.node_id),
            chosen_id: self.own.chosen_id,
            instance_id: Arc::clone(&self.instance_id),
            options: self.options.transit,
            disable_balancer: self.options.disable_balancer,
            work: self.work.clone(),
            discovers,
        };
        let serializer = self.own.serializer.clone();
        let serializer = serializer.unwrap_or_else(|| serializer::of(self.options.serializer));
        let inbound: Weak<dyn Inbound> = Weak::<Self>::clone(&self.this);
        let transit = Transit::new(settings, transporter, serializer, inbound, &self.metrics);
        let chain = &self.chain;
        transit.wrap_publish(|publish| chain.wrap(publish, |m, next| m.transit_publish(next)));
        transit.wrap_message_handler(|handle| {
            chain.wrap(handle, |m, next| m.transit_message_handler(next))
        });
        transit
    }

    /// What the discoverer tells the services of this node.
    fn mesh_event(&self) -> LocalEvent {
        let this = Weak::clone(&self.this);
        Arc::new(move |event, data| {
            let Some(shared) = this.upgrade() else { return };
            shared.retire_remote();
            shared.registry_changed();
            shared.local_event(event, &data);
        })
    }

    /// Tells the others that this node offers nothing any more, then refuses their requests.
    pub(super) async fn leave(&self) {
        if let Some(mesh) = self.mesh.get() {
            mesh.discoverer.say_offering_nothing().await;
            mesh.transit.stop_intake();
        }
    }

    /// Waits until no stream goes to another node any more.
    pub(super) async fn streams_sent(&self) {
        if let Some(mesh) = self.mesh.get() {
            mesh.transit.streams_sent().await;
        }
    }

    /// Says good-bye and closes the connection.
    pub(super) async fn disconnect(&self) {
        let Some(mesh) = self.mesh.get() else { return };
        mesh.discoverer.remove().await;
        let transit = mesh.transit.clone();
        // A failure to close is of no consequence: the process or its node is at its end.
        let _ = mesh.runtime.handle().spawn(async move { transit.disconnect().await }).await;
        mesh.runtime.shut_down();
    }

    /// The services of this node changed.
    pub(super) fn tell_mesh(&self, shrunk: Option<Arc<str>>) {
        if let Some(mesh) = self.mesh.get() {
            mesh.discoverer.announce(shrunk);
        }
    }

    /// Whether the transporter decides which node gets a request or event.
    pub(super) fn leaves_balancing(&self) -> bool {
        self.mesh.get().is_some_and(|mesh| mesh.transit.leaves_balancing())
    }

    /// Sends an event to the queues of these groups; `None` when there are none.
    pub(super) fn send_event_to_queues(
        &self,
        ctx: &Context,
        groups: Vec<Arc<str>>,
    ) -> Option<BoxFuture<'static, Result<(), MoleculerError>>> {
        let transit = self.mesh.get().filter(|_| !groups.is_empty())?.transit.clone();
        let ctx = ctx.clone();
        Some(Box::pin(async move { transit.send_event_to_queues(&ctx, groups).await }))
    }

    /// Sends an event to one node; `None` when there is no mesh.
    pub(super) fn send_event(
        &self,
        ctx: &Context,
        node_id: &Arc<str>,
        groups: &[Arc<str>],
    ) -> Option<BoxFuture<'static, Result<(), MoleculerError>>> {
        let transit = self.mesh.get()?.transit.clone();
        let (ctx, node_id) = (ctx.clone(), Arc::clone(node_id));
        let groups = if groups.is_empty() { None } else { Some(groups.to_vec()) };
        Some(Box::pin(async move { transit.send_event(&ctx, &node_id, groups).await }))
    }
}

/// The innermost part of the chain of calls to other nodes.
fn remote_handler(transit: Transit) -> Handler {
    Arc::new(move |ctx| {
        let transit = transit.clone();
        Box::pin(async move { transit.request(&ctx).await })
    })
}
