//! Which component files may have changed: file-system events, gathered until they calm down.
//!
//! An event only says "look at this file"; what really changed is seen from its content. Events that come
//! faster than they are taken are not queued without end: they are replaced by "look at everything".

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// A file counts as written when nothing has happened to it for this long. Copying tools write without
/// pauses; a slower one is caught by checking the component.
const CALM: Duration = Duration::from_millis(10);

/// Even while events go on, changes are looked at after this time.
const GATHER_MAX: Duration = Duration::from_millis(500);

/// Paths that wait to be gathered.
const QUEUE: usize = 1_024;

/// Watching failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}")]
pub struct Error {
    path: PathBuf,
    #[source]
    source: notify::Error,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// These files, perhaps.
    Files(BTreeSet<PathBuf>),
    /// Nobody knows: look at everything.
    Anything,
}

/// Watches directories and the directories of single files.
pub struct Watcher {
    paths: mpsc::Receiver<PathBuf>,
    lost: Arc<AtomicBool>,
    /// Kept here while they calm down, so that nothing is lost when waiting is interrupted.
    gathered: BTreeSet<PathBuf>,
    /// Ends the watch when dropped.
    watcher: RecommendedWatcher,
}

impl Watcher {
    /// Starts to watch; directories with all that is below them.
    ///
    /// # Errors
    /// [`Error`] when a path is missing or the system allows no more watches.
    pub fn new(roots: &[PathBuf]) -> Result<Self, Error> {
        let mut this = Self::idle()?;
        for root in roots {
            if root.is_dir() {
                this.watch(root, RecursiveMode::Recursive)?;
            } else {
                // A file that is replaced is another file; its directory stays.
                this.watch(parent(root), RecursiveMode::NonRecursive)?;
            }
        }
        Ok(this)
    }

    /// Starts to watch what is directly in these directories.
    ///
    /// # Errors
    /// As [`Watcher::new`].
    pub fn of_folders(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self, Error> {
        let mut this = Self::idle()?;
        this.watch_too(folders)?;
        Ok(this)
    }

    /// Watches these directories as well; those that are watched already are no mistake.
    ///
    /// # Errors
    /// As [`Watcher::new`].
    pub fn watch_too(&mut self, folders: impl IntoIterator<Item = PathBuf>) -> Result<(), Error> {
        let mut folders = folders.into_iter();
        folders.try_for_each(|folder| self.watch(&folder, RecursiveMode::NonRecursive))
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> Result<(), Error> {
        let watched = self.watcher.watch(path, mode);
        watched.map_err(|source| Error { path: path.to_owned(), source })
    }

    /// A watcher of nothing.
    fn idle() -> Result<Self, Error> {
        let (sender, paths) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let handler_lost = Arc::clone(&lost);
        let handle = move |event: notify::Result<notify::Event>| match event {
            Ok(event) if event.kind.is_access() => {}
            Ok(event) if event.need_rescan() => lose(&handler_lost, &sender),
            Ok(event) => {
                for path in event.paths {
                    if sender.try_send(path).is_err() {
                        lose(&handler_lost, &sender);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "watching files failed; looking at all of them");
                lose(&handler_lost, &sender);
            }
        };
        let watcher = notify::recommended_watcher(handle);
        let watcher = watcher.map_err(|source| Error { path: PathBuf::from("files"), source })?;
        Ok(Self { paths, lost, gathered: BTreeSet::new(), watcher })
    }

    /// Waits for changes and until they have calmed down. `None` when the watch has ended. Dropping the
    /// future loses no change.
    pub async fn next(&mut self) -> Option<Change> {
        if self.gathered.is_empty() {
            self.gathered.insert(self.paths.recv().await?);
        }
        let end = tokio::time::Instant::now() + GATHER_MAX;
        while let Ok(Some(path)) = tokio::time::timeout(CALM, self.paths.recv()).await {
            self.gathered.insert(path);
            if tokio::time::Instant::now() >= end {
                break;
            }
        }
        let files = std::mem::take(&mut self.gathered);
        if self.lost.swap(false, Ordering::AcqRel) {
            return Some(Change::Anything);
        }
        Some(Change::Files(files))
    }
}

/// Notes that events were lost and wakes who waits. A full queue wakes by itself.
fn lose(lost: &AtomicBool, sender: &mpsc::Sender<PathBuf>) {
    lost.store(true, Ordering::Release);
    let _ = sender.try_send(PathBuf::new());
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watcher: &mut Watcher) -> Change {
        tokio::time::timeout(Duration::from_secs(20), watcher.next()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_written_a_replaced_and_a_deleted_file_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("a.wasm");
        let mut watcher = Watcher::new(std::slice::from_ref(&root)).unwrap();
        let only = Change::Files(BTreeSet::from([file.clone()]));
        std::fs::write(&file, "1").unwrap();
        assert_eq!(next(&mut watcher).await, only);
        let other = root.join("a.tmp");
        std::fs::write(&other, "2").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(next(&mut watcher).await, Change::Files(BTreeSet::from([file.clone(), other])));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(next(&mut watcher).await, only);
    }

    #[tokio::test]
    async fn a_wait_that_is_interrupted_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("a.wasm");
        let mut watcher = Watcher::new(std::slice::from_ref(&root)).unwrap();
        std::fs::write(&file, "1").unwrap();
        while watcher.gathered.is_empty() {
            let interrupted = tokio::time::timeout(Duration::from_micros(100), watcher.next());
            assert!(interrupted.await.is_err(), "changes are gathered for longer");
        }
        assert_eq!(next(&mut watcher).await, Change::Files(BTreeSet::from([file])));
    }

    #[tokio::test]
    async fn more_events_than_the_queue_holds_mean_look_at_everything() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(&[dir.path().to_owned()]).unwrap();
        for n in 0..=QUEUE {
            std::fs::write(dir.path().join(format!("{n}.wasm")), "x").unwrap();
        }
        std::fs::write(dir.path().join("last.wasm"), "x").unwrap();
        loop {
            if next(&mut watcher).await == Change::Anything {
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_path_that_is_missing_is_named() {
        let error = Watcher::new(&["/nowhere/at/all".into()]).err().unwrap();
        assert!(error.to_string().contains("/nowhere/at"), "{error}");
    }
}
