//! The service broker: every call and event of this node goes through here, whoever makes it.
//!
//! It joins the parts: the registry says who offers an action, a chain of middlewares runs it here, transit
//! sends it elsewhere. Guests, middlewares and the control socket see it as [`Caller`], transit as
//! `Inbound`.
//!
//! Order of locks: registry, then chains. A handler is looked up while the registry is locked, so that a
//! call finds the old version of a service or the new one, never neither.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cacher::Cacher;
use crate::config::BrokerOptions;
use crate::context::{CallItem, CallOptions, Caller, EmitOptions, EventType, Outcome};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::metrics::MetricRegistry;
use crate::middleware::hook::Settle;
use crate::middleware::stats::Stats;
use crate::middleware::{Chain, ComponentMiddleware, ContextTracker};
use crate::packet::{self, Info};
use crate::payload::Payload;
use crate::registry::{Endpoint, Registry};
use crate::schema::ServiceSchema;
use crate::service::internals::health;
use crate::service::{InUse, Stopped};
use crate::task::CancellationToken;
use crate::tracer::Tracer;
use crate::uid;

mod builder;
mod cacher;
mod call;
mod chain;
mod chains;
mod emit;
mod hooks;
mod inbound;
mod lifecycle;
mod mcall;
mod mesh;
mod services;

use builder::Own;
use chains::Chains;
use hooks::Hooks;

pub use builder::Builder;
pub use lifecycle::StartError;
pub use mesh::Error as MeshError;

/// A broker; a handle that is cheap to clone. The broker ends with [`ServiceBroker::stop`].
#[derive(Clone)]
pub struct ServiceBroker(Arc<Shared>);

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node ID cannot be used on a transporter.
    #[error("the node ID '{node_id}' cannot be used: {reason}")]
    NodeId {
        /// The ID.
        node_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node's own service could not be made.
    #[error(transparent)]
    Internal(#[from] crate::schema::Error),
    /// The cacher cannot work with its options.
    #[error(transparent)]
    Cacher(#[from] crate::cacher::Error),
    /// The middleware `Encryption` cannot work with its options.
    #[error("the middleware Encryption cannot be used: {0}")]
    Encryption(#[from] crate::middleware::encryption::InvalidLength),
}

struct Shared {
    this: Weak<Shared>,
    options: BrokerOptions,
    node_id: Arc<str>,
    instance_id: Arc<str>,
    registry: Arc<RwLock<Registry>>,
    chains: RwLock<Chains>,
    chain: Chain,
    hooks: Hooks,
    /// The middlewares that are components, in the order of the options.
    components: Vec<ComponentMiddleware>,
    own: Own,
    tracker: ContextTracker,
    tracer: Tracer,
    stats: Option<Stats>,
    cacher: Option<Arc<dyn Cacher>>,
    metrics: MetricRegistry,
    counters: call::Counters,
    /// Sends a request to another node, without middlewares; set while a transporter is connected.
    remote: OnceLock<Handler>,
    mesh: OnceLock<mesh::Mesh>,
    services: Mutex<BTreeMap<Arc<str>, Running>>,
    /// Counts up whenever the registry changed, for those who wait for services.
    changes: watch::Sender<u64>,
    stopping: AtomicBool,
    cancel: CancellationToken,
    /// Where handlers run that come in from the mesh, whose sockets have a runtime of their own.
    work: tokio::runtime::Handle,
}

/// What is needed to end a service.
struct Running {
    schema: Arc<ServiceSchema>,
    in_use: InUse,
    stopped: Option<Stopped>,
    shutdown_timeout: Duration,
}

impl ServiceBroker {
    /// A broker that is not started. Must be called within a tokio runtime; handlers run there.
    ///
    /// # Errors
    /// [`Error`] when the options cannot be used.
    pub fn new(options: BrokerOptions) -> Result<Self, Error> {
        Self::builder(options).build()
    }

    /// A broker with more than options: middlewares, services, a transporter of the embedding program.
    #[must_use]
    pub fn builder(options: BrokerOptions) -> Builder {
        Builder::new(options)
    }

    /// ID of this node.
    #[must_use]
    pub fn node_id(&self) -> &Arc<str> {
        &self.0.node_id
    }

    /// The effective options.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.0.options
    }

    /// The metrics of this node.
    #[must_use]
    pub fn metrics(&self) -> &MetricRegistry {
        &self.0.metrics
    }

    /// Makes the spans of this node (moleculer: broker.tracer).
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// The places of the middlewares that are components; to be filled before the start.
    #[must_use]
    pub fn component_middlewares(&self) -> &[ComponentMiddleware] {
        &self.0.components
    }

    /// What this node knows of the mesh.
    #[must_use]
    pub fn registry(&self) -> &Arc<RwLock<Registry>> {
        &self.0.registry
    }

    /// The broker as guests see it.
    #[must_use]
    pub fn caller(&self) -> Weak<dyn Caller> {
        let weak: Weak<dyn Caller> = Weak::<Shared>::clone(&self.0.this);
        weak
    }

    /// The broker as a trait object.
    #[must_use]
    pub fn as_caller(&self) -> Arc<dyn Caller> {
        let strong: Arc<dyn Caller> = Arc::<Shared>::clone(&self.0);
        strong
    }

    /// Calls an action (moleculer: src/service-broker.js call). Omitted params become `{}`.
    ///
    /// The endpoint is chosen now, not when the future is first polled.
    pub fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        self.0.hooked_call(action, params, options)
    }

    /// Calls several actions at once; the first error ends it.
    ///
    /// # Errors
    /// The first error.
    pub async fn mcall(&self, calls: Vec<CallItem>) -> Result<Vec<Payload>, MoleculerError> {
        self.0.hooked_mcall(calls, Settle::FirstError).await?.into_iter().collect()
    }

    /// Calls several actions at once and gives every outcome.
    pub async fn mcall_settled(&self, calls: Vec<CallItem>) -> Vec<Outcome> {
        let n_calls = calls.len();
        match self.0.hooked_mcall(calls, Settle::All).await {
            Ok(outcomes) => outcomes,
            // A middleware refused all of them.
            Err(error) => vec![Err(error); n_calls],
        }
    }

    /// Sends an event to one instance of each group that listens.
    pub fn emit(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.0.send(EventType::Emit, event, data, options)
    }

    /// Sends an event to every instance that listens, on all nodes.
    pub fn broadcast(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.0.send(EventType::Broadcast, event, data, options)
    }

    /// Sends an event to every instance on this node.
    pub fn broadcast_local(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.0.send(EventType::BroadcastLocal, event, data, options)
    }

    /// Waits until all these services (full names) are available.
    ///
    /// # Errors
    /// `WAITFOR_SERVICES` when `timeout` has passed first.
    pub async fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> Result<(), MoleculerError> {
        Caller::wait_for_services(&*self.0, services, timeout).await
    }

    /// Sends one of the node's own events (`$service.loaded` and the like) to the services of this node.
    pub fn tell_services(&self, event: &str, data: &Value) {
        self.0.local_event(event, data);
    }

    /// Sends `$broker.error` to the services of this node; `kind` is Moleculer's word for what failed
    /// (moleculer: src/constants.js).
    pub fn report_error(&self, kind: &'static str, error: &MoleculerError) {
        let error = error.to_wire(&self.0.node_id);
        self.0.local_event(
            "$broker.error",
            &json!({"error": error, "module": "broker", "type": kind}),
        );
    }

    /// Whether some node listens to an event (moleculer: src/service-broker.js hasEventListener).
    #[must_use]
    pub fn has_event_listener(&self, event: &str) -> bool {
        !self.event_listeners(event).is_empty()
    }

    /// Who listens to an event, on all nodes (moleculer: src/service-broker.js getEventListeners).
    #[must_use]
    pub fn event_listeners(&self, event: &str) -> Vec<Arc<Endpoint>> {
        self.0.registry.read().events.listeners(event, &[])
    }

    /// What this node tells the others about itself and its services
    /// (moleculer: src/service-broker.js getLocalNodeInfo).
    #[must_use]
    pub fn local_node_info(&self) -> Info {
        self.0.registry.read().current_info()
    }

    /// What `$node.health` answers (moleculer: src/service-broker.js getHealthStatus).
    #[must_use]
    pub fn health_status(&self) -> Value {
        let registry = self.0.registry.read();
        let local = registry.nodes.get(registry.local_id()).map(|node| node.info.clone());
        drop(registry);
        health::health(&local.unwrap_or_default())
    }

    /// The CPU load of this node in percent, as it was last told to the others; `None` before the first
    /// heartbeat (moleculer: src/service-broker.js getCpuUsage, which measures anew).
    #[must_use]
    pub fn cpu_usage(&self) -> Option<f64> {
        self.0.registry.read().nodes.get(&self.0.node_id).and_then(|node| node.load.cpu())
    }

    /// How many calls and events run on this node now.
    #[must_use]
    pub fn running_contexts(&self) -> usize {
        self.0.tracker.running()
    }
}

impl Shared {
    /// Tells those who wait that the registry has changed.
    fn registry_changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Sends one of the node's own events to its own services.
    fn local_event(&self, name: &str, data: &Value) {
        let data = Payload::from_value(data).unwrap_or_default();
        // The handlers run as tasks; the future that is left has nothing to wait for.
        drop(self.hooked_broadcast_local(name, data, EmitOptions::default()));
    }
}

impl Caller for Shared {
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        self.hooked_call(action, params, options)
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        match kind {
            EventType::Emit => self.hooked_emit(event, data, options),
            EventType::Broadcast => self.hooked_broadcast(event, data, options),
            EventType::BroadcastLocal => self.hooked_broadcast_local(event, data, options),
        }
    }

    fn ping(&self, nodes: Vec<Arc<str>>, timeout: Duration) -> BoxFuture<'static, Outcome> {
        let broker = self.this.upgrade().map(ServiceBroker);
        Box::pin(async move {
            let broker = broker.ok_or_else(MoleculerError::broker_disconnected)?;
            let pongs = broker.ping_nodes(&nodes, timeout).await;
            let pongs: BTreeMap<_, _> = pongs
                .into_iter()
                .map(|(node_id, pong)| (node_id, pong.map(|pong| pong.to_value())))
                .collect();
            Payload::from_value(&pongs).map_err(|error| MoleculerError::internal(error.to_string()))
        })
    }

    fn tracer(&self) -> Option<Tracer> {
        Some(self.tracer.clone())
    }

    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.wait_for(services.into_iter().map(|name| vec![name]).collect(), timeout)
    }
}

/// `<host name>-<pid>-<random>`, lower-case: unique also among containers that all are process 1.
fn default_node_id() -> String {
    let random = uid::new();
    let random = random.get(..4).unwrap_or("0000");
    let host = hostname().to_lowercase();
    let usable: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    format!("{usable}-{}-{random}", std::process::id())
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The part of INFO that does not change (moleculer: src/registry/node-catalog.js createLocalNode).
fn local_info(options: &BrokerOptions, instance_id: &Arc<str>) -> Info {
    Info {
        services: None,
        ip_list: ip_list(),
        hostname: hostname(),
        client: json!({
            "type": packet::CLIENT_TYPE,
            "version": env!("CARGO_PKG_VERSION"),
            "langVersion": concat!("rust ", env!("CARGO_PKG_RUST_VERSION")),
        }),
        config: json!({}),
        instance_id: Some(Arc::clone(instance_id)),
        metadata: Value::Object(options.metadata.clone()),
        seq: 1,
        port: None,
    }
}

/// The first IPv4 address of every external interface; loopback only when there is nothing else.
fn ip_list() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let (mut external, mut loopback) = (Vec::new(), Vec::new());
    let mut seen = Vec::new();
    for interface in interfaces {
        if !interface.ip().is_ipv4() || seen.contains(&interface.name) {
            continue;
        }
        let list = if interface.is_loopback() { &mut loopback } else { &mut external };
        list.push(interface.ip().to_string());
        seen.push(interface.name);
    }
    if external.is_empty() { loopback } else { external }
}

#[cfg(test)]
mod tests;
