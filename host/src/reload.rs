//! Components that come and go while the node runs: load, check, start, then put into service.
//!
//! A file is looked at when it may have changed; what counts is its content and that of its `NAME.toml`.
//! The version in service stays there until the new one has been compiled, checked and started, so a broken
//! file changes nothing but the log, `$node.services` and an event. Files are independent of each other;
//! one file is worked on by one task at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::broker::ServiceBroker;
use crate::clock::{self, Instant};
use crate::context::Outcome as CallOutcome;
use crate::error::MoleculerError;
use crate::memory;
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::runtime::Runtime;
use crate::task::{self, CancellationToken};

mod deploy;
mod history;
pub mod middlewares;
pub mod scan;
mod shelf;
mod versions;
mod wants;
pub mod watch;

use deploy::Deployed;
pub use deploy::Error;
use history::History;
pub use middlewares::Middlewares;
#[cfg(any(test, fuzzing))]
pub(crate) use shelf::fuzz_record;
pub use shelf::{Error as ShelfError, Shelf};
use watch::{Change, Watcher};

/// A file that cannot be used is looked at again after this time, a few times, before it is reported: it
/// may be half written.
const SETTLE: Duration = Duration::from_millis(200);
/// How often.
const SETTLE_ATTEMPTS: u32 = 4;

/// Files that fail for a reason which lies around the node, such as a full disk, are looked at again after this
/// time, without anybody's doing; each time after twice as long, up to [`TRY_AGAIN_MAX`].
const TRY_AGAIN: Duration = Duration::from_secs(5);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(300);

/// Files that are to be looked at again at once.
const WAKE_QUEUE: usize = 64;

/// Puts the components of some directories and files into service.
#[derive(Clone)]
pub struct Reloader(Arc<Shared>);

struct Shared {
    broker: ServiceBroker,
    runtime: Runtime,
    roots: Vec<PathBuf>,
    /// What every file holds that is in service.
    deployed: Mutex<BTreeMap<PathBuf, Deployed>>,
    /// Which file provides a service, or is about to.
    names: Mutex<BTreeMap<Arc<str>, PathBuf>>,
    /// What each file has held.
    histories: Mutex<BTreeMap<PathBuf, History>>,
    /// Where that is kept from one run of the node to the next.
    shelf: Option<Arc<Shelf>>,
    /// Whoever writes there: one at a time, since the others would only hold up threads.
    shelving: tokio::sync::Mutex<()>,
    /// One change of a file's service at a time.
    turns: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    /// Where files are named that are to be looked at again.
    wake: mpsc::Sender<PathBuf>,
    /// The other end, until the work begins.
    woken: Mutex<Option<mpsc::Receiver<PathBuf>>>,
    /// Versions that were taken out of service because they kept trapping.
    rolled_back: Metric,
    /// Contents of files that could not be put into service.
    refused: Metric,
    /// Cancelled when nobody holds this any more.
    stop: CancellationToken,
    this: Weak<Shared>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How the files that were there at the start fared. Failures have been reported by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Files in service.
    pub in_service: usize,
    /// Files that cannot be used.
    pub failed: usize,
}

impl Reloader {
    /// For these directories and files. What they have held is known until this is dropped.
    #[must_use]
    pub fn new(broker: ServiceBroker, runtime: Runtime, roots: Vec<PathBuf>) -> Self {
        Self::with_shelf(broker, runtime, roots, None)
    }

    /// As [`Reloader::new`]; what the files have held is kept on disk, for the next run of the node.
    #[must_use]
    pub fn with_shelf(
        broker: ServiceBroker,
        runtime: Runtime,
        roots: Vec<PathBuf>,
        shelf: Option<Shelf>,
    ) -> Self {
        // The system reports changes with absolute paths, which must be found below the roots.
        let absolute = |root: PathBuf| std::path::absolute(&root).unwrap_or(root);
        let roots = roots.into_iter().map(absolute).collect();
        let (wake, woken) = mpsc::channel(WAKE_QUEUE);
        let rolled_back = broker.metrics().metric("isomer.version.rolledBack.total");
        let refused = broker.metrics().metric("isomer.component.refused.total");
        Self(Arc::new_cyclic(|this| Shared {
            broker,
            runtime,
            roots,
            deployed: Mutex::default(),
            names: Mutex::default(),
            histories: Mutex::default(),
            shelf: shelf.map(Arc::new),
            shelving: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            wake,
            woken: Mutex::new(Some(woken)),
            rolled_back,
            refused,
            stop: CancellationToken::new(),
            this: Weak::clone(this),
        }))
    }

    /// The versions of a service (full name) that this node has had in service, the last first.
    ///
    /// # Errors
    /// `SERVICE_NOT_FOUND`.
    pub fn versions(&self, service: &str) -> CallOutcome {
        self.0.versions(service)
    }

    /// What the components of this node may do, and what they could want beyond: for who runs the node, since it
    /// names folders and hosts of the machine.
    ///
    /// # Errors
    /// None that is known.
    pub fn grants(&self) -> CallOutcome {
        let rows: Vec<_> = self.0.deployed.lock().values().map(Deployed::grants).collect();
        Payload::from_value(&rows).map_err(|error| MoleculerError::internal(error.to_string()))
    }

    /// Puts an earlier version of a service into service: the one before, or the one whose digest begins as
    /// `wanted` says. What the file holds stays out until the file changes. Gives
    /// what [`Reloader::versions`] gives.
    ///
    /// # Errors
    /// `SERVICE_NOT_FOUND`, `VERSION_NOT_FOUND`, or `ROLLBACK_FAILED` when that version does not start; then
    /// everything is as it was.
    pub async fn roll_back(&self, service: &str, wanted: Option<&str>) -> CallOutcome {
        self.0.roll_back(service, wanted).await
    }

    /// Loads everything that is there, files at the same time since services may wait for each other, and
    /// gives the count when all are in service or have failed. With `hot`, follows changes from then on
    /// (and meanwhile) until cancelled.
    ///
    /// # Errors
    /// [`watch::Error`] when the paths cannot be watched.
    pub async fn start(
        &self,
        hot: bool,
        cancel: &CancellationToken,
    ) -> Result<Loaded, watch::Error> {
        // The watch begins before the first look, so that no change falls between.
        let watcher = if hot { Some(Watcher::new(&self.0.roots)?) } else { None };
        let (done, loaded) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        let woken = self.0.woken.lock().take();
        task::spawn("reload", cancel, async move {
            Work::new(shared, done).run(watcher, woken).await;
        });
        // The sender is dropped without a word only when the node is stopped meanwhile.
        Ok(loaded.await.unwrap_or_default())
    }
}

/// What came of looking at a file.
enum Outcome {
    InService,
    Gone,
    Failed,
    /// For a reason that may pass.
    FailedForNow,
    /// The file changed while it was waiting for dependencies.
    Superseded,
}

/// The files that are being worked on.
struct Work {
    shared: Arc<Shared>,
    running: JoinSet<(PathBuf, Outcome)>,
    /// Files with a task, and how to end its waiting.
    busy: BTreeMap<PathBuf, CancellationToken>,
    /// Files that changed while they had a task.
    again: BTreeSet<PathBuf>,
    /// Files that failed for a reason that may pass, and when they are looked at again.
    later: BTreeMap<PathBuf, Instant>,
    /// How long they waited the last time.
    pauses: BTreeMap<PathBuf, Duration>,
    /// Files of the start that have no outcome yet.
    initial: BTreeSet<PathBuf>,
    loaded: Loaded,
    done: Option<oneshot::Sender<Loaded>>,
}

impl Work {
    fn new(shared: Arc<Shared>, done: oneshot::Sender<Loaded>) -> Self {
        Self {
            initial: shared.everything(),
            shared,
            running: JoinSet::new(),
            busy: BTreeMap::new(),
            again: BTreeSet::new(),
            later: BTreeMap::new(),
            pauses: BTreeMap::new(),
            loaded: Loaded::default(),
            done: Some(done),
        }
    }

    async fn run(
        mut self,
        mut watcher: Option<Watcher>,
        mut woken: Option<mpsc::Receiver<PathBuf>>,
    ) {
        for path in self.initial.clone() {
            self.look_at(path);
        }
        self.report_start();
        loop {
            tokio::select! {
                change = next_change(&mut watcher) => match change {
                    None => watcher = None,
                    Some(Change::Anything) => {
                        self.shared.everything().into_iter().for_each(|path| self.look_at(path));
                    }
                    Some(Change::Files(paths)) => {
                        self.shared.components_of(&paths).into_iter().for_each(|path| self.look_at(path));
                    }
                },
                Some(Ok((path, outcome))) = self.running.join_next() => self.finished(path, outcome),
                () = next_time(&self.later) => self.look_at_those_of_later(),
                Some(path) = next_woken(&mut woken) => self.look_at(path),
            }
            if watcher.is_none() && self.running.is_empty() && self.later.is_empty() {
                return;
            }
        }
    }

    fn look_at_those_of_later(&mut self) {
        let now = clock::now();
        let due = self.later.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone());
        due.collect::<Vec<_>>().into_iter().for_each(|path| self.look_at(path));
    }

    fn look_at(&mut self, path: PathBuf) {
        self.later.remove(&path);
        if let Some(waiting) = self.busy.get(&path) {
            waiting.cancel();
            self.again.insert(path);
            return;
        }
        let superseded = CancellationToken::new();
        self.busy.insert(path.clone(), superseded.clone());
        let shared = Arc::clone(&self.shared);
        self.running.spawn(async move {
            let looking = AssertUnwindSafe(shared.look_at(&path, &superseded)).catch_unwind();
            // Caught here, where the file is known: the start waits for an outcome of each.
            let outcome = looking.await.unwrap_or_else(|panic| {
                let panic = task::panic_text(&*panic);
                tracing::error!(file = %path.display(), panic, "loading a file ended with a panic");
                Outcome::Failed
            });
            (path, outcome)
        });
    }

    fn finished(&mut self, path: PathBuf, outcome: Outcome) {
        self.busy.remove(&path);
        if self.again.remove(&path) {
            self.look_at(path);
            return;
        }
        if matches!(outcome, Outcome::FailedForNow) {
            let last = self.pauses.get(&path);
            let pause = last.map_or(TRY_AGAIN, |last| TRY_AGAIN_MAX.min(*last * 2));
            self.pauses.insert(path.clone(), pause);
            self.later.insert(path.clone(), clock::now() + pause);
        } else {
            self.pauses.remove(&path);
        }
        if self.initial.remove(&path) {
            match outcome {
                Outcome::InService => self.loaded.in_service += 1,
                Outcome::Failed | Outcome::FailedForNow => self.loaded.failed += 1,
                Outcome::Gone | Outcome::Superseded => {}
            }
            self.report_start();
        }
    }

    fn report_start(&mut self) {
        if self.initial.is_empty()
            && let Some(done) = self.done.take()
        {
            // Nobody listens any more when the node is stopped while it starts.
            let _ = done.send(self.loaded);
        }
    }
}

/// The next file that somebody wants looked at.
async fn next_woken(woken: &mut Option<mpsc::Receiver<PathBuf>>) -> Option<PathBuf> {
    match woken {
        Some(woken) => woken.recv().await,
        None => std::future::pending().await,
    }
}

/// Until one of these files is to be looked at again; never when there is none.
async fn next_time(later: &BTreeMap<PathBuf, Instant>) {
    match later.values().min() {
        Some(at) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
}

/// The next change; never when nothing is watched.
async fn next_change(watcher: &mut Option<Watcher>) -> Option<Change> {
    match watcher {
        Some(watcher) => watcher.next().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn components_of(&self, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut found: BTreeSet<PathBuf> =
            paths.iter().filter_map(|path| scan::component_of(path, &self.roots)).collect();
        // A directory that appeared or went takes its files with it without an event for each.
        if paths.iter().any(|path| path.extension().is_none()) {
            found.extend(self.everything());
        }
        found
    }

    /// All files that are there, and all that were.
    fn everything(&self) -> BTreeSet<PathBuf> {
        let mut files = scan::components(&self.roots);
        files.extend(self.deployed.lock().keys().cloned());
        files
    }

    /// Brings the node in line with one file.
    async fn look_at(&self, path: &Path, superseded: &CancellationToken) -> Outcome {
        let mut attempt = 0;
        loop {
            if !path.exists() {
                self.file_is_gone(path).await;
                return Outcome::Gone;
            }
            match self.deploy(path, superseded).await {
                Ok(()) => {
                    self.broker.registry().write().set_broken(&stem(path), None);
                    return Outcome::InService;
                }
                Err(Error::Superseded) => return Outcome::Superseded,
                Err(error) if error.may_be_half_written() && attempt < SETTLE_ATTEMPTS => {
                    attempt += 1;
                    tracing::debug!(file = %path.display(), %error, "looking again in a moment");
                    tokio::time::sleep(SETTLE).await;
                }
                Err(error) => {
                    self.report(path, &error);
                    let for_now = error.may_pass();
                    return if for_now { Outcome::FailedForNow } else { Outcome::Failed };
                }
            }
        }
    }

    async fn file_is_gone(&self, path: &Path) {
        self.broker.registry().write().set_broken(&stem(path), None);
        let Some(gone) = self.deployed.lock().remove(path) else { return };
        let name = Arc::clone(&gone.full_name);
        self.forget(path).await;
        self.turns.lock().remove(path);
        tracing::info!(file = %path.display(), service = &*name, "file removed: its service ends");
        self.broker.remove_service(&name).await;
        self.names.lock().remove(&name);
        let data = json!({"file": path.display().to_string(), "service": &*name});
        self.broker.tell_services("$service.removed", &data);
    }

    /// Shows why what a file holds is not in service.
    fn show_error(&self, path: &Path, reason: &str) {
        let running = self.deployed.lock().get(path).map(Deployed::shown);
        if let Some((name, origin)) = running {
            self.show_error_of(&name, origin, reason);
        }
    }

    fn show_error_of(&self, name: &Arc<str>, mut origin: Value, reason: &str) {
        if let Some(fields) = origin.as_object_mut() {
            let at = clock::iso_8601(clock::unix_ms());
            fields.insert("lastError".into(), json!({"message": reason, "time": at}));
        }
        self.broker.set_service_origin(name, origin);
    }

    /// Whoever changes the service of a file holds this meanwhile.
    fn turn(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.turns.lock().entry(path.to_owned()).or_default())
    }

    /// Makes a failure known: in the log, in `$node.services`, as an event. Nothing else has changed.
    fn report(&self, path: &Path, error: &Error) {
        self.refused.increment();
        let file = path.display().to_string();
        let reason = error.explained();
        let running = self.deployed.lock().get(path).map(Deployed::shown);
        let service = running.as_ref().map(|(name, _)| Arc::clone(name));
        match running {
            Some((name, origin)) => {
                tracing::error!(
                    file,
                    error = reason,
                    service = &*name,
                    "the new version cannot be used; the one in service stays"
                );
                self.show_error_of(&name, origin, &reason);
            }
            None => {
                tracing::error!(file, error = reason, "this file cannot be used as a service");
                let origin = json!({"file": file, "error": reason});
                self.broker.registry().write().set_broken(&stem(path), Some(origin));
            }
        }
        let data = json!({"file": file, "service": service.as_deref(), "error": &reason});
        self.broker.tell_services("$service.failed", &data);
        let kind = if service.is_some() { "failedServiceRestart" } else { "failedServiceLoad" };
        let error = MoleculerError::server("SERVICE_LOAD_ERROR", reason);
        self.broker.report_error(kind, &error);
        // A file may be refused because of its size; nobody needs to wait for what it took to be given back.
        drop(tokio::task::spawn_blocking(memory::give_back));
    }
}

/// The name that a file is shown under while it holds no service.
fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
