//! Making a broker: the options, and what an embedding program brings of its own.

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::call::Counters;
use super::chains::Chains;
use super::hooks::Hooks;
use super::{Error, ServiceBroker, Shared, chain, default_node_id, local_info};
use crate::cacher::{self, Cacher};
use crate::clock;
use crate::config::BrokerOptions;
use crate::error::MoleculerError;
use crate::metrics::{HistogramOptions, MetricRegistry};
use crate::middleware::stats::Stats;
use crate::middleware::{Chain, ComponentMiddleware, ContextTracker, Middleware};
use crate::packet;
use crate::registry::Registry;
use crate::serializer::Serializer;
use crate::service::LocalService;
use crate::task::CancellationToken;
use crate::tracer::Tracer;
use crate::transporter::Transporter;
use crate::uid;

/// Runs when the broker has been made.
type Created = Box<dyn FnOnce(&ServiceBroker) + Send>;
/// Runs when the broker has started or stopped.
pub(super) type Callback =
    Box<dyn FnOnce(ServiceBroker) -> BoxFuture<'static, Result<(), MoleculerError>> + Send + Sync>;

/// What an embedding program adds to the options. Taken when it is needed.
#[derive(Default)]
pub(super) struct Own {
    pub(super) transporter: Option<Arc<dyn Transporter>>,
    pub(super) serializer: Option<Arc<dyn Serializer>>,
    cacher: Option<Arc<dyn Cacher>>,
    /// Whether there are middlewares of its own, so that hooks are put around packets and bytes.
    pub(super) middlewares: bool,
    /// Whether the options have the node's ID, so that another process may have the same.
    pub(super) chosen_id: bool,
    /// Created with the start.
    pub(super) services: Mutex<Vec<LocalService>>,
    pub(super) started: Mutex<Option<Callback>>,
    pub(super) stopped: Mutex<Option<Callback>>,
}

/// Makes a [`ServiceBroker`]; from [`ServiceBroker::builder`].
pub struct Builder {
    options: BrokerOptions,
    metrics: MetricRegistry,
    middlewares: Vec<Arc<dyn Middleware>>,
    own: Own,
    created: Vec<Created>,
}

impl Builder {
    pub(super) fn new(options: BrokerOptions) -> Self {
        Self {
            options,
            metrics: MetricRegistry::default(),
            middlewares: Vec::new(),
            own: Own::default(),
            created: Vec::new(),
        }
    }

    /// Counts into metrics that others count into as well.
    #[must_use]
    pub fn metrics(mut self, metrics: MetricRegistry) -> Self {
        self.metrics = metrics;
        self
    }

    /// Adds a middleware. As in Moleculer, those of the program stand within the broker's own (validator,
    /// cacher, time limit and so on), and each wraps those that were added before it.
    #[must_use]
    pub fn middleware(mut self, middleware: Arc<dyn Middleware>) -> Self {
        self.own.middlewares = true;
        self.middlewares.push(middleware);
        self
    }

    /// Reaches other nodes by this instead of what the options say.
    #[must_use]
    pub fn transporter(mut self, transporter: Arc<dyn Transporter>) -> Self {
        self.own.transporter = Some(transporter);
        self
    }

    /// Writes and reads packets by this. All nodes of a mesh need the same format.
    #[must_use]
    pub fn serializer(mut self, serializer: Arc<dyn Serializer>) -> Self {
        self.own.serializer = Some(serializer);
        self
    }

    /// Keeps results here instead of where the options say. Lock and `maxParamsLength` are the options'.
    #[must_use]
    pub fn cacher(mut self, cacher: Arc<dyn Cacher>) -> Self {
        self.own.cacher = Some(cacher);
        self
    }

    /// Adds a service that is created when the broker starts.
    #[must_use]
    pub fn service(self, service: LocalService) -> Self {
        self.own.services.lock().push(service);
        self
    }

    /// Runs when the broker has been made (moleculer: option `created`).
    #[must_use]
    pub fn created(mut self, created: impl FnOnce(&ServiceBroker) + Send + 'static) -> Self {
        self.created.push(Box::new(created));
        self
    }

    /// Runs when the broker has started; an error ends the start (moleculer: option `started`).
    #[must_use]
    pub fn started<Fut>(
        mut self,
        started: impl FnOnce(ServiceBroker) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<(), MoleculerError>> + Send + 'static,
    {
        self.own.started = Mutex::new(Some(Box::new(move |broker| Box::pin(started(broker)))));
        self
    }

    /// Runs when the broker has stopped; an error is logged (moleculer: option `stopped`).
    #[must_use]
    pub fn stopped<Fut>(
        mut self,
        stopped: impl FnOnce(ServiceBroker) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<(), MoleculerError>> + Send + 'static,
    {
        self.own.stopped = Mutex::new(Some(Box::new(move |broker| Box::pin(stopped(broker)))));
        self
    }

    /// The broker, not started. Must be called within a tokio runtime; handlers run there.
    ///
    /// # Errors
    /// [`Error`] when the options cannot be used.
    pub fn build(self) -> Result<ServiceBroker, Error> {
        let Self { mut options, metrics, mut middlewares, mut own, created } = self;
        own.chosen_id = options.node_id.is_some();
        let node_id: Arc<str> = options.node_id.get_or_insert_with(default_node_id).as_str().into();
        packet::check_node_id(&node_id).map_err(|reason| Error::NodeId {
            node_id: node_id.to_string(),
            reason: reason.to_string(),
        })?;
        let measured = &options.metrics;
        metrics.configure(HistogramOptions {
            buckets: measured.default_buckets.clone(),
            quantiles: measured.default_quantiles.clone(),
            max_age: measured.default_max_age,
            age_buckets: measured.default_age_buckets,
        });
        let instance_id = uid::new();
        let info = local_info(&options, &instance_id);
        let registry = Registry::new(Arc::clone(&node_id), info, &options.registry, clock::now());
        let registry = Arc::new(RwLock::new(registry));
        let tracker = ContextTracker::default();
        let components: Vec<_> =
            options.middlewares.iter().map(|name| ComponentMiddleware::new(name)).collect();
        let transmit = chain::transmit(&options, &node_id, &metrics)?;
        own.middlewares |= !transmit.is_empty();
        middlewares.extend(transmit);
        let counted = options.statistics || options.metrics.enabled;
        let stats = counted.then(Stats::default);
        let tracer = Tracer::new(options.tracing.clone());
        let cancel = CancellationToken::new();
        let work = tokio::runtime::Handle::current();
        let cacher = match (own.cacher.take(), &options.cacher) {
            (Some(own), _) => Some(own),
            (None, Some(options_of_it)) => {
                Some(cacher::new(options_of_it, &options.namespace, &metrics)?)
            }
            (None, None) => None,
        };
        let shared = Arc::new_cyclic(|this: &Weak<Shared>| {
            let parts = chain::Parts {
                options: &options,
                node_id: &node_id,
                metrics: &metrics,
                caller: Weak::<Shared>::clone(this),
                registry: &registry,
                tracker: &tracker,
                work: &work,
                cancel: &cancel,
                components: &components,
                tracer: Some(&tracer).filter(|tracer| tracer.enabled()),
                stats: stats.as_ref(),
                cacher: cacher.as_ref(),
            };
            tracer.export_to(chain::exporters(&parts));
            let chain = Chain::new(chain::with_internal(middlewares, &parts));
            Shared {
                this: Weak::clone(this),
                hooks: Hooks::new(&chain, this),
                chain,
                components,
                own,
                node_id,
                instance_id,
                registry,
                chains: RwLock::<Chains>::default(),
                tracker,
                tracer,
                stats,
                counters: Counters::new(&metrics),
                cacher,
                metrics,
                remote: OnceLock::new(),
                mesh: OnceLock::new(),
                services: Mutex::default(),
                changes: watch::Sender::new(0),
                stopping: std::sync::atomic::AtomicBool::new(false),
                cancel,
                work,
                options,
            }
        });
        let broker = ServiceBroker(shared);
        let caller = broker.caller();
        broker.0.chain.tell(|middleware| middleware.created(&caller));
        created.into_iter().for_each(|created| created(&broker));
        Ok(broker)
    }
}
