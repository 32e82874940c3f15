//! One service on the runtime without a broker: the guest `probe` in a pool, and a mesh that answers its
//! calls as the tests need it.

use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use isomer_host::cacher::Cacher;
use isomer_host::clock;
use isomer_host::config::Limits;
use isomer_host::config::limits::{ActionLimits, Grants};
use isomer_host::context::{
    CallOptions, Caller, Context, ContextBuilder, EmitOptions, EventInfo, EventType, Outcome,
};
use isomer_host::error::MoleculerError;
use isomer_host::metrics::MetricRegistry;
use isomer_host::payload::stream::channel;
use isomer_host::payload::{Object, Payload};
use isomer_host::runtime::{CompileMode, Component, Pool, PoolOptions, Runtime, RuntimeOptions};
use isomer_host::schema::Lifecycle;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, OnceCell};

use crate::guests;

/// A runtime with a cache of its own, which compiles in this process.
#[must_use]
pub fn runtime(cache_dir: PathBuf, metrics: &MetricRegistry) -> Runtime {
    let mut options = RuntimeOptions::new(cache_dir, Arc::from("node-1"));
    options.compile_mode = CompileMode::InProcess;
    options.namespace = Arc::from("ns");
    options.metrics = metrics.clone();
    Runtime::new(options).unwrap()
}

/// Which guest is tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guest {
    /// `probe`, of the world `service`.
    #[default]
    Plain,
    /// `probe_async`, of the world `service-async`.
    Asynchronous,
}

/// A guest, compiled once for all tests of the binary.
async fn probe(guest: Guest) -> &'static (Runtime, Component, MetricRegistry) {
    type Made = OnceCell<(Runtime, Component, MetricRegistry)>;
    static PLAIN: Made = OnceCell::const_new();
    static ASYNCHRONOUS: Made = OnceCell::const_new();
    let (made, name) = match guest {
        Guest::Plain => (&PLAIN, "probe"),
        Guest::Asynchronous => (&ASYNCHRONOUS, "probe_async"),
    };
    made.get_or_init(async || {
        let folder = tempfile::tempdir().unwrap();
        let metrics = MetricRegistry::default();
        let runtime = runtime(folder.path().join("cache"), &metrics);
        let component = runtime.load(&guests::wasm(name)).await.unwrap();
        (runtime, component, metrics)
    })
    .await
}

/// How the service is set up.
pub struct Setup {
    /// Which guest it is.
    pub guest: Guest,
    /// Its limits.
    pub limits: Limits,
    /// Its grants.
    pub grants: Grants,
    /// Its settings.
    pub settings: Value,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Whether `started` and `stopped` are called.
    pub lifecycle: bool,
    /// The cacher of the node.
    pub cacher: Option<Arc<dyn Cacher>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            guest: Guest::Plain,
            limits: Limits::default(),
            grants: Grants::default(),
            settings: json!({}),
            env: Vec::new(),
            lifecycle: false,
            cacher: None,
        }
    }
}

/// A pool of `probe`, started.
pub struct Rig {
    /// The pool.
    pub pool: Pool,
    /// What the guest reaches.
    pub mesh: Arc<Mesh>,
}

/// The mesh that the guest sees.
#[derive(Default)]
pub struct Mesh {
    /// Events that were sent: how, name, data.
    pub events: Mutex<Vec<(&'static str, String, String)>>,
    /// Options of the last call.
    pub last_options: Mutex<Option<CallOptions>>,
    /// Wakes one call of `other.wait` each.
    pub go_on: Arc<Notify>,
    /// Calls that have begun to wait in `other.wait`.
    pub waiting: Arc<AtomicUsize>,
    pool: Mutex<Option<Pool>>,
}

impl Rig {
    /// A pool that has been started.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn new(setup: Setup) -> Self {
        Self::try_new(setup).await.unwrap()
    }

    /// A pool, or the error of its start.
    ///
    /// # Errors
    /// As `Pool::start`.
    pub async fn try_new(setup: Setup) -> Result<Self, MoleculerError> {
        let (runtime, component, _) = probe(setup.guest).await;
        let mesh = Arc::<Mesh>::default();
        let mesh_again: Arc<dyn Caller> = mesh.clone();
        let caller: Weak<dyn Caller> = Arc::downgrade(&mesh_again);
        let options = PoolOptions {
            service: Arc::from("probe"),
            limits: setup.limits,
            grants: setup.grants,
            settings: Object::from_value(&setup.settings).unwrap(),
            env: setup.env,
            lifecycle: Lifecycle { started: setup.lifecycle, stopped: setup.lifecycle },
            caller,
            cacher: setup.cacher,
        };
        let pool = Pool::new(runtime, component.clone(), options);
        *mesh.pool.lock() = Some(pool.clone());
        pool.start().await?;
        Ok(Self { pool, mesh })
    }

    /// Calls an action with JSON params and gives its JSON result.
    ///
    /// # Errors
    /// As the call.
    pub async fn call(&self, action: &str, params: Value) -> Result<Value, MoleculerError> {
        let outcome = self.call_raw(action, Payload::from_value(&params).unwrap()).await;
        outcome.map(|payload| payload.parse().unwrap())
    }

    /// Calls an action.
    ///
    /// # Errors
    /// As the call.
    pub async fn call_raw(&self, action: &str, params: Payload) -> Outcome {
        self.call_ctx(action, context(action, params).build()).await
    }

    /// Calls an action in a context.
    ///
    /// # Errors
    /// As the call.
    pub async fn call_ctx(&self, action: &str, ctx: Context) -> Outcome {
        let target = self.pool.target(Arc::from(action), &ActionLimits::default());
        self.pool.call_action(ctx, &target).await
    }

    /// Sends it an event.
    ///
    /// # Errors
    /// As the handler.
    pub async fn event(&self, name: &str, data: Value) -> Result<(), MoleculerError> {
        let groups = Arc::from([Arc::from("g")]);
        let ctx = ContextBuilder::new(Arc::from(name), Arc::from("node-2"))
            .with(|ctx| {
                ctx.event = Some(EventInfo { kind: EventType::Emit, groups });
                ctx.params = Payload::from_value(&data).unwrap();
            })
            .build();
        let target = self.pool.target(Arc::from("probe.*"), &ActionLimits::default());
        self.pool.handle_event(ctx, &target).await
    }

    /// Names of the events that the guest has sent.
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        self.mesh.events.lock().iter().map(|(_, name, _)| name.clone()).collect()
    }

    /// Lets the tasks of this test run until so many calls wait in `other.wait`.
    pub async fn until_waiting(&self, n_calls: usize) {
        while self.mesh.waiting.load(Ordering::SeqCst) < n_calls {
            tokio::task::yield_now().await;
        }
    }
}

/// The context of a call from outside.
#[must_use]
pub fn context(action: &str, params: Payload) -> ContextBuilder {
    let name = Arc::from(format!("probe.{action}"));
    ContextBuilder::new(name, Arc::from("node-2")).with(|ctx| {
        ctx.params = params;
        ctx.service = Arc::from("probe");
        ctx.caller = Some(Arc::from("v2.posts"));
    })
}

/// A deadline from now.
#[must_use]
pub fn within_ms(ms: u64) -> Option<isomer_host::context::Deadline> {
    let timeout = Duration::from_millis(ms);
    Some(isomer_host::context::Deadline { at: clock::now() + timeout, timeout })
}

/// A counter of the shared runtime.
pub async fn metric(name: &'static str) -> i64 {
    probe(Guest::Plain).await.2.metric(name).get()
}

impl Caller for Mesh {
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        // Without the stream, whose reader would else live on here.
        *self.last_options.lock() = Some(CallOptions { stream: None, ..options.clone() });
        let action = action.to_owned();
        match action.as_str() {
            "other.echo" => Box::pin(async { Ok(params) }),
            "other.take" => {
                Box::pin(async move { Ok(Payload::from_value(&params.len()).unwrap()) })
            }
            "other.big" => Box::pin(async { Ok(Payload::Bytes(vec![0; 2_000].into())) }),
            "other.absent" => Box::pin(async { Ok(Payload::Absent) }),
            "other.stream" => Box::pin(async {
                let (writer, stream) = channel(false, 1_000);
                writer.try_write(Payload::Bytes(vec![1; 5].into())).unwrap();
                writer.end();
                Ok(Payload::Stream(stream))
            }),
            "other.read" => Box::pin(async move { read(options).await }),
            "other.hold" => Box::pin(async move {
                let _held = options.stream;
                pending().await
            }),
            "other.panic" => Box::pin(async { panic!("in the mesh") }),
            "other.never" => Box::pin(pending()),
            "other.wait" => {
                let (waiting, go_on) = (Arc::clone(&self.waiting), Arc::clone(&self.go_on));
                Box::pin(async move {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    go_on.notified().await;
                    Ok(Payload::null())
                })
            }
            _ => match action.strip_prefix("probe.") {
                None => {
                    Box::pin(async move { Err(MoleculerError::service_not_found(&action, None)) })
                }
                Some(key) => {
                    let pool = self.pool.lock().clone().unwrap();
                    let target = pool.target(Arc::from(key), &ActionLimits::default());
                    let deadline = options.parent.as_ref().and_then(Context::deadline);
                    let ctx = context(key, params)
                        .with(|ctx| ctx.parent = options.parent)
                        .deadline(deadline)
                        .build();
                    Box::pin(async move { pool.call_action(ctx, &target).await })
                }
            },
        }
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        _: EmitOptions,
    ) -> BoxFuture<'static, Sent> {
        let seen = (kind.name(), event.to_owned(), data.to_json_text().to_string());
        self.events.lock().push(seen);
        Box::pin(async { Ok(()) })
    }

    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Sent> {
        Box::pin(async move {
            if services == ["there"] {
                return Ok(());
            }
            let _ = tokio::time::timeout(timeout.unwrap(), pending::<()>()).await;
            Err(MoleculerError::wait_for_services(&services.join(", ")))
        })
    }
}

/// Reads what a call sends, and says how it ended.
async fn read(options: CallOptions) -> Outcome {
    let mut reader = options.stream.unwrap().take().unwrap();
    let mut chunks = Vec::new();
    let end = loop {
        match reader.next().await {
            Ok(Some(chunk)) => chunks.push(chunk.parse::<Value>().unwrap()),
            Ok(None) => break json!("end"),
            Err(error) => break json!(error.kind()),
        }
    };
    Ok(Payload::from_value(&json!([chunks, end])).unwrap())
}

type Sent = Result<(), MoleculerError>;
