//! Loading the middlewares that are components, before the node starts, and new versions of them later.
//!
//! A middleware is named by the option `middlewares` and must be there: without it the node does not start,
//! because services that rely on it would stand open. For the same reason a file that goes, or cannot be
//! used any more, changes nothing: the version in place stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::watch::{self, Change, Watcher};
use super::{SETTLE, SETTLE_ATTEMPTS, scan};
use crate::broker::ServiceBroker;
use crate::config::problem::Problems;
use crate::config::{ServiceOptions, sidecar};
use crate::error::MoleculerError;
use crate::middleware::ComponentMiddleware;
use crate::middleware::component::Different;
use crate::runtime::{self, Kind, Pool, PoolOptions, Runtime, Wish};
use crate::schema::{self, Bounds, MiddlewareSchema};
use crate::task::{self, CancellationToken};

/// Why a middleware cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the middleware '{name}' cannot be loaded from {}: {reason}", file.display())]
pub struct Error {
    /// As the option names it.
    pub name: String,
    /// Where it was looked for.
    pub file: PathBuf,
    /// What is wrong.
    #[source]
    pub reason: Reason,
}

/// What is wrong with the file of a middleware.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It is not there.
    #[error(
        "there is no such file; put it there, say with 'middlewareDir' where it is, or take it out of \
         'middlewares'"
    )]
    Missing,
    /// It is a service.
    #[error("it is a service, not a middleware; put it into a folder of services")]
    Service,
    /// The component cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// It does not tell what it wants to see.
    #[error("it does not describe itself: {0}")]
    Describe(#[source] MoleculerError),
    /// What it tells is wrong.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// Its `NAME.toml` is wrong.
    #[error("{0}")]
    Options(Problems),
    /// Its `started` failed.
    #[error("it does not start: {0}")]
    Start(#[source] MoleculerError),
    /// A new version that would change what is guarded.
    #[error(transparent)]
    Different(#[from] Different),
}

impl Reason {
    fn may_be_half_written(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.may_be_half_written())
    }
}

/// The middlewares of a node that are components. Cheap to clone.
#[derive(Clone)]
pub struct Middlewares(Arc<Shared>);

struct Shared {
    broker: ServiceBroker,
    runtime: Runtime,
    dir: PathBuf,
    /// What the files held when they were put into place: digest, and the operator's options.
    deployed: Mutex<BTreeMap<Arc<str>, (String, ServiceOptions)>>,
}

impl Middlewares {
    /// Those that the options of a broker name, in this folder.
    #[must_use]
    pub fn new(broker: ServiceBroker, runtime: Runtime, dir: PathBuf) -> Self {
        // The system reports changes with absolute paths.
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Self(Arc::new(Shared { broker, runtime, dir, deployed: Mutex::default() }))
    }

    /// Loads and starts all of them. To be awaited before the broker is started.
    ///
    /// # Errors
    /// [`Error`] of the first that cannot be used.
    pub async fn load(&self) -> Result<(), Error> {
        for place in self.0.broker.component_middlewares() {
            let reason = match self.0.deploy(place).await {
                Ok(()) => continue,
                Err(reason) => reason,
            };
            let file = self.0.file_of(place.name());
            return Err(Error { name: place.name().to_string(), file, reason });
        }
        Ok(())
    }

    /// Puts new versions into place from now on, until cancelled. Without middlewares it does nothing.
    ///
    /// # Errors
    /// [`watch::Error`] when the folder cannot be watched.
    pub fn follow(&self, cancel: &CancellationToken) -> Result<(), watch::Error> {
        if self.0.broker.component_middlewares().is_empty() {
            return Ok(());
        }
        let mut watcher = Watcher::new(std::slice::from_ref(&self.0.dir))?;
        let shared = Arc::clone(&self.0);
        // When it ends, versions stay as they are.
        task::spawn("middlewares", cancel, async move {
            // What changed between the loading and the watching.
            shared.look_again(&Change::Anything).await;
            while let Some(change) = watcher.next().await {
                shared.look_again(&change).await;
            }
        });
        Ok(())
    }
}

impl Shared {
    fn file_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.wasm"))
    }

    async fn look_again(&self, change: &Change) {
        let roots = std::slice::from_ref(&self.dir);
        for place in self.broker.component_middlewares() {
            let file = self.file_of(place.name());
            let concerned = match change {
                Change::Anything => true,
                Change::Files(paths) => paths
                    .iter()
                    .any(|path| scan::component_of(path, roots).is_some_and(|path| path == file)),
            };
            if concerned {
                self.replace(place, &file).await;
            }
        }
    }

    async fn replace(&self, place: &ComponentMiddleware, file: &Path) {
        let mut attempt = 0;
        loop {
            match self.deploy(place).await {
                Ok(()) => return,
                Err(reason) if reason.may_be_half_written() && attempt < SETTLE_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(SETTLE).await;
                }
                Err(reason) => {
                    tracing::error!(
                        middleware = &**place.name(),
                        file = %file.display(),
                        error = %reason,
                        "the new version cannot be used; the one in place stays"
                    );
                    return;
                }
            }
        }
    }

    /// Brings one place in line with its file.
    async fn deploy(&self, place: &ComponentMiddleware) -> Result<(), Reason> {
        let file = self.file_of(place.name());
        if !file.is_file() {
            return Err(Reason::Missing);
        }
        let options = sidecar::read(&file, self.broker.options()).map_err(Reason::Options)?;
        let component = self.runtime.load(&file).await?;
        if component.kind() != Kind::Middleware {
            return Err(Reason::Service);
        }
        let digest = component.inspection().sha256.clone();
        let unchanged = |(old, with): &(String, ServiceOptions)| *old == digest && *with == options;
        if self.deployed.lock().get(place.name()).is_some_and(unchanged) {
            return Ok(());
        }
        let text = Box::pin(component.describe(&options.limits)).await.map_err(Reason::Describe)?;
        let limits = &options.limits;
        let bounds = Bounds { len: limits.schema, items: limits.schema_items, internal: false };
        let schema = MiddlewareSchema::read(&text, &options.settings, bounds)?;
        let wish = Wish {
            limits: &schema.limits,
            mode: schema.mode,
            settings: &schema.settings,
            lifecycle: schema.lifecycle,
        };
        let name = Arc::clone(place.full_name());
        let pool_options = PoolOptions::new(name, &options, wish, self.broker.caller());
        let pool = Pool::new(&self.runtime, component, pool_options);
        // Boxed: what it holds is large, and nobody should carry it along.
        Box::pin(pool.start()).await.map_err(Reason::Start)?;
        self.put(place, pool, schema)?;
        self.deployed.lock().insert(Arc::clone(place.name()), (digest, options));
        Ok(())
    }

    fn put(
        &self,
        place: &ComponentMiddleware,
        pool: Pool,
        schema: MiddlewareSchema,
    ) -> Result<(), Different> {
        let old = place.load(pool, schema)?;
        let done = if old.is_some() { "replaced" } else { "loaded" };
        tracing::info!(middleware = &**place.name(), "middleware {done}");
        if let Some(old) = old {
            let limit = self.broker.options().tracking.shutdown_timeout;
            // Its calls end by their own deadlines; nobody waits for them here.
            task::spawn("drain", &CancellationToken::new(), async move { old.drain(limit).await });
        }
        Ok(())
    }
}
