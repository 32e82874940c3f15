//! Runs services and middlewares: from the bytes of a component to the outcome of a call.
//!
//! ```text
//! bytes ─ inspect ─ cache? ─ compile (child process) ─ load ─ link ─► Component ─ describe ─► schema
//! call ─ admission (bounded, deadline) ─ pool (warm or new) ─ instance (fuel, memory, time) ─► outcome
//! ```
//!
//! Only this module names `wasmtime`. It knows no packet and no registry; a guest reaches the broker
//! through [`Caller`](crate::context::Caller). A guest that misbehaves costs its caller an error, itself its
//! instance, and nobody else anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::config::limits::{self, CompileLimits};
use crate::memory::room::Room;
use crate::metrics::{Metric, MetricRegistry};

mod accounts;
mod admission;
mod bindings;
mod cache;
mod cache_grant;
mod compile;
mod component;
mod core_dump;
mod deadline;
mod engine;
mod environment;
mod failure;
mod handlers;
mod holds;
mod host_imports;
mod inspect;
mod instance;
mod lane;
mod limiter;
mod log_sink;
mod pending_call;
mod pool;
mod reach;
mod serving;
mod spans;
mod state;
mod streams;
mod traps;
mod verdict;
mod wasi;
mod world;

pub use compile::{
    CompileMode, OUT_OF_MEMORY, SUBCOMMAND as COMPILE_SUBCOMMAND, SURROUNDINGS, child_main,
};
pub use component::Component;
#[cfg(any(test, fuzzing))]
pub(crate) use host_imports::fuzz_options;
pub(crate) use inspect::hex;
pub use inspect::{Inspection, WORLD_VERSION};
pub use instance::intercept::{Decision, Stage};
pub use log_sink::TARGET as LOG_TARGET;
pub use pool::{Pool, PoolOptions, Stats, Target, Wish};
pub use traps::Traps;
pub use world::{Kind, World};

use cache::Cache;
use core_dump::CoreDumps;
use engine::Flavour;
use lane::Lane;

/// Compilations that run at once; more would take the cores from the guests.
const COMPILATIONS_MAX: usize = 1;
/// A compilation that takes longer says so each time that this has passed.
const PROGRESS: Duration = Duration::from_secs(2);

/// Why a component cannot be used. The texts are for the person who dropped the file into the folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        /// What the system says.
        source: io::Error,
    },
    /// Larger than allowed.
    #[error(
        "the file has {size} bytes; the limit is {limit}: raise compile.fileSize, or build a smaller \
         component"
    )]
    TooLarge {
        /// Bytes of the file.
        size: u64,
        /// Most bytes.
        limit: u64,
    },
    /// No WebAssembly at all.
    #[error("not a WebAssembly file: {begins}")]
    NotWasm {
        /// How the file begins.
        begins: String,
    },
    /// A core module.
    #[error(
        "a core module, not a component; build for wasm32-wasip2, or wrap it with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// A component for something else.
    #[error("not a component for the worlds of isomer:service: {reason}")]
    WrongWorld {
        /// What is missing, and what to do.
        reason: String,
    },
    /// Broken, cut off, or of a kind that the compiler does not take.
    #[error("not a valid component: {reason}")]
    Invalid {
        /// What the parser or compiler says.
        reason: String,
    },
    /// The compiler took too long.
    #[error(
        "compiling took longer than compile.timeout ({} ms); raise it, or compile the file beforehand \
         with `isomer compile`",
        limit.as_millis()
    )]
    CompileTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The compiler needed too much memory.
    #[error(
        "compiling was stopped, most likely because it needed more memory than compile.memory \
         ({limit} bytes); raise it, or build a smaller component"
    )]
    CompileMemory {
        /// The limit in bytes.
        limit: u64,
    },
    /// The compiler could not be run.
    #[error("cannot run the compiler")]
    Compiler {
        #[source]
        /// What the system says.
        source: io::Error,
    },
    /// The cache cannot be used.
    #[error("cannot use the cache at {path}")]
    Cache {
        /// File or directory.
        path: PathBuf,
        #[source]
        /// What the system says.
        source: io::Error,
    },
    /// The cache could have been written by somebody else.
    #[error("the cache directory {path} is not used: {reason}")]
    UntrustedCache {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Core dumps cannot be kept where they should.
    #[error("cannot use the folder for core dumps {path} (coreDumps.dir)")]
    CoreDumps {
        /// The folder.
        path: PathBuf,
        #[source]
        /// What the system says.
        source: io::Error,
    },
    /// The engine refuses its configuration or compiled code.
    #[error("the WebAssembly engine failed: {0:#}")]
    Engine(wasmtime::Error),
}

impl Error {
    /// Whether the file may become usable by itself, because somebody is writing it.
    #[must_use]
    pub(crate) fn may_be_half_written(&self) -> bool {
        matches!(self, Self::NotWasm { .. } | Self::Invalid { .. } | Self::Read { .. })
    }

    /// Whether something around the node is to blame, such as a full disk, which may pass by itself.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Compiler { .. } | Self::Cache { .. } | Self::CompileTimeout { .. } => true,
            // Such as too many open files.
            Self::Read { source, .. } => source.kind() != io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// What a runtime is made with.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Compiled components; made with mode 0700 when it does not exist.
    pub cache_dir: PathBuf,
    /// Where components are compiled.
    pub compile_mode: CompileMode,
    /// ID of this node, for guests and errors.
    pub node_id: Arc<str>,
    /// Namespace of the mesh.
    pub namespace: Arc<str>,
    /// Native stack of guests in bytes, for all services of the node.
    pub stack: usize,
    /// How large a component may be, and what compiling one in a child may need.
    pub compile: CompileLimits,
    /// What is kept of guests that have trapped.
    pub core_dumps: limits::CoreDumps,
    /// What the node may use.
    pub memory: limits::NodeMemory,
    /// Where the runtime counts.
    pub metrics: MetricRegistry,
    /// Folders and files of the node that no guest may see, whatever is granted; the cache is among them anyway.
    pub private: Vec<PathBuf>,
}

impl RuntimeOptions {
    /// Options with the defaults of `config`.
    #[must_use]
    pub fn new(cache_dir: PathBuf, node_id: Arc<str>) -> Self {
        Self {
            cache_dir,
            compile_mode: CompileMode::InProcess,
            node_id,
            namespace: Arc::from(""),
            stack: crate::config::Limits::default().stack,
            compile: CompileLimits::default(),
            core_dumps: limits::CoreDumps::default(),
            memory: limits::NodeMemory::default(),
            metrics: MetricRegistry::default(),
            private: Vec::new(),
        }
    }
}

/// The runtime of a node. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    options: RuntimeOptions,
    plain: Arc<Lane>,
    /// Made when the first component needs it.
    asynchronous: Mutex<Option<Arc<Lane>>>,
    cache: Arc<Cache>,
    core_dumps: Option<Arc<CoreDumps>>,
    room: Arc<Room>,
    compilations: Semaphore,
    compiled: Metric,
    cache_hits: Metric,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Makes the engine of the plain worlds and opens the cache.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::Cache`], [`Error::UntrustedCache`] and [`Error::CoreDumps`].
    pub fn new(mut options: RuntimeOptions) -> Result<Self, Error> {
        options.private.push(options.cache_dir.clone());
        options.private.extend(options.core_dumps.dir.clone());
        let core_dumps = CoreDumps::open(&options.core_dumps, &options.metrics)?;
        let plain = Lane::new(Flavour::Plain, options.stack, core_dumps.is_some());
        let plain = plain.map_err(Error::Engine)?;
        let cache = Arc::new(Cache::open(&options.cache_dir)?);
        let room = Arc::new(Room::new(options.memory.max));
        Ok(Self(Arc::new(Inner {
            compiled: options.metrics.metric("isomer.component.compiled.total"),
            cache_hits: options.metrics.metric("isomer.component.cacheHits.total"),
            compilations: Semaphore::new(COMPILATIONS_MAX),
            options,
            plain: Arc::new(plain),
            asynchronous: Mutex::default(),
            cache,
            core_dumps,
            room,
        })))
    }

    /// Loads a component from a file.
    ///
    /// # Errors
    /// [`Error`]: each variant is one reason.
    pub async fn load(&self, path: &Path) -> Result<Component, Error> {
        self.load_with_bytes(path).await.map(|(component, _)| component)
    }

    /// Loads a component from a file, and gives the very bytes that it was made of: the file may hold others by now.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    pub(crate) async fn load_with_bytes(
        &self,
        path: &Path,
    ) -> Result<(Component, Arc<Vec<u8>>), Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let metadata = tokio::fs::metadata(path).await.map_err(read_error)?;
        self.check_size(metadata.len())?;
        let bytes = Arc::new(tokio::fs::read(path).await.map_err(read_error)?);
        Ok((self.load_shared(Arc::clone(&bytes)).await?, bytes))
    }

    /// Loads a component from memory.
    ///
    /// # Errors
    /// [`Error`]: each variant is one reason.
    pub async fn load_bytes(&self, bytes: Vec<u8>) -> Result<Component, Error> {
        self.load_shared(Arc::new(bytes)).await
    }

    async fn load_shared(&self, bytes: Arc<Vec<u8>>) -> Result<Component, Error> {
        self.check_size(bytes.len() as u64)?;
        let inspection = {
            let bytes = Arc::clone(&bytes);
            blocking(move || Inspection::read(&bytes)).await?
        };
        let world = component::check_world(&inspection)?;
        let lane = self.lane(Flavour::of(world))?;
        let key = lane.key(&inspection.sha256);
        let loaded = match self.load_cached(&lane, &key).await? {
            Some(loaded) => loaded,
            None => self.compile_and_load(&lane, &key, bytes).await?,
        };
        Component::link(&lane.linker, &loaded, world, inspection)
    }

    /// The engine for some worlds.
    fn lane(&self, flavour: Flavour) -> Result<Arc<Lane>, Error> {
        if flavour == Flavour::Plain {
            return Ok(Arc::clone(&self.0.plain));
        }
        let mut asynchronous = self.0.asynchronous.lock();
        if let Some(lane) = &*asynchronous {
            return Ok(Arc::clone(lane));
        }
        let lane = Lane::new(flavour, self.0.options.stack, self.0.core_dumps.is_some());
        let lane = Arc::new(lane.map_err(Error::Engine)?);
        *asynchronous = Some(Arc::clone(&lane));
        Ok(lane)
    }

    fn check_size(&self, size: u64) -> Result<(), Error> {
        let limit = self.0.options.compile.file_size;
        if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
    }

    async fn load_cached(
        &self,
        lane: &Arc<Lane>,
        key: &str,
    ) -> Result<Option<wasmtime::component::Component>, Error> {
        let (inner, lane, key) = (Arc::clone(&self.0), Arc::clone(lane), key.to_owned());
        blocking(move || {
            let Some(path) = inner.cache.get(&key) else { return Ok(None) };
            match load_compiled(&lane.engine, &path) {
                Ok(loaded) => {
                    inner.cache_hits.increment();
                    Ok(Some(loaded))
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a cache entry is made again");
                    inner.cache.remove(&key);
                    Ok(None)
                }
            }
        })
        .await
    }

    async fn compile_and_load(
        &self,
        lane: &Arc<Lane>,
        key: &str,
        bytes: Arc<Vec<u8>>,
    ) -> Result<wasmtime::component::Component, Error> {
        // The semaphore is never closed; should it be, compiling without it does no harm.
        let _permit = self.0.compilations.acquire().await.ok();
        // Somebody else may have compiled the same bytes in the meantime.
        if let Some(loaded) = self.load_cached(lane, key).await? {
            return Ok(loaded);
        }
        let output = self.0.cache.temporary();
        let (start, size) = (crate::clock::now(), bytes.len());
        self.compile_told(lane, bytes, output.path()).await?;
        let took = crate::clock::now().saturating_duration_since(start);
        tracing::debug!(size, ?took, "compiled");
        self.0.compiled.increment();
        let (inner, lane, key) = (Arc::clone(&self.0), Arc::clone(lane), key.to_owned());
        blocking(move || {
            // Loaded before others can see it: a node that shares the cache may replace or remove the entry.
            let loaded = load_compiled(&lane.engine, output.path()).map_err(Error::Engine)?;
            if let Err(error) = inner.cache.put(&key, &output) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "a compiled component is not kept");
            }
            Ok(loaded)
        })
        .await
    }

    /// Compiles, and says from time to time that it goes on.
    async fn compile_told(
        &self,
        lane: &Lane,
        bytes: Arc<Vec<u8>>,
        output: &Path,
    ) -> Result<(), Error> {
        let (start, size) = (crate::clock::now(), bytes.len());
        let mut compiling = std::pin::pin!(self.compile(lane, bytes, output));
        loop {
            match tokio::time::timeout(PROGRESS, &mut compiling).await {
                Ok(done) => return done,
                Err(_) => {
                    let for_s = crate::clock::now().saturating_duration_since(start).as_secs();
                    tracing::info!(size, for_s, "still compiling");
                }
            }
        }
    }

    async fn compile(&self, lane: &Lane, bytes: Arc<Vec<u8>>, output: &Path) -> Result<(), Error> {
        match &self.0.options.compile_mode {
            CompileMode::InProcess => {
                let (engine, output) = (lane.engine.clone(), output.to_owned());
                blocking(move || compile::in_process(&engine, &bytes, &output)).await
            }
            CompileMode::Child { exe } => {
                // The child gets the very bytes that were hashed, not a file that may have changed.
                let input = self.0.cache.temporary();
                tokio::fs::write(input.path(), &**bytes)
                    .await
                    .map_err(|source| Error::Cache { path: input.path().to_owned(), source })?;
                compile::in_child(exe, input.path(), output, self.0.options.compile).await
            }
        }
    }

    /// ID of the node.
    #[must_use]
    pub fn node_id(&self) -> &Arc<str> {
        &self.0.options.node_id
    }

    pub(in crate::runtime) fn core_dumps(&self) -> Option<Arc<CoreDumps>> {
        self.0.core_dumps.clone()
    }

    pub(in crate::runtime) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.0.room)
    }

    pub(in crate::runtime) fn options(&self) -> &RuntimeOptions {
        &self.0.options
    }
}

/// Runs work that reads files or computes for long on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::Compiler { source: io::Error::other(error) }))
}

/// Loads compiled code.
#[expect(unsafe_code, reason = "wasmtime trusts what it deserializes; see SAFETY")]
fn load_compiled(engine: &Engine, path: &Path) -> wasmtime::Result<wasmtime::component::Component> {
    // SAFETY: the file was made by this program's compiler, lies in a directory that only this user can
    // write to (checked when the cache was opened), and its bytes match the hash that was stored with it
    // (checked just now, or it was written just now). Files are replaced by renaming, never changed.
    unsafe { wasmtime::component::Component::deserialize_file(engine, path) }
}
