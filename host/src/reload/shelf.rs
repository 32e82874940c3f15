//! Versions of services on disk, so that a node that starts anew can go back to one from before.
//!
//! Each file that a node loads has a folder here: `record.json` says which versions it has had in service, and
//! `DIGEST.wasm` is each of them. Nothing is changed in place: files appear by renaming, a component before the
//! record that names it, so a process that is killed at any moment leaves a record that holds. What a power failure
//! tears is found out by parsing and hashing, and counts as not there. Nodes may share the place: whoever changes
//! something holds the lock, and adds to what others have written. Here and below, everything blocks. Not here:
//! what is done with versions (`versions`).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::history::VERSIONS_MAX;
use crate::private_dir::{self, Refusal};
use crate::runtime::hex;
use crate::uid;

/// Most files with versions; the ones that changed longest ago go first.
const FILES_MAX: usize = 1_000;
/// Most bytes of all versions.
const LEN_MAX: u64 = 1 << 30;
/// Most bytes of a record: with a `NAME.toml` for each version.
const RECORD_LEN_MAX: u64 = 32 << 20;
/// What is older and belongs to no record was left by a process that died, or by a version that never came into
/// service.
const LEFT_OVER_AGE: Duration = Duration::from_secs(600);
/// How often the lock is asked for, and the time between: others hold it for milliseconds, unless they are stopped.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

const RECORD: &str = "record.json";

/// Why versions cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses.
    #[error("versions cannot be kept at {path}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written there.
    #[error("versions are not kept at {path}: {reason}")]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process does not give it back.
    #[error("versions cannot be kept at {path}: another process holds the lock")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A kept component is not what it was.
    #[error("the kept version {path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether what was asked for will not be there the next time either.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Damaged { .. } => true,
            Self::Untrusted { .. } | Self::Locked { .. } => false,
        }
    }
}

/// What a file has held, as it stands on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The file.
    pub(super) file: String,
    /// The one that came into service last is at the end.
    pub(super) versions: Vec<Entry>,
    /// What the file held and shall not be put into service.
    pub(super) left: Option<String>,
    /// By digest.
    pub(super) quarantine: BTreeMap<String, Sentence>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) digest: String,
    pub(super) since: String,
    pub(super) size: usize,
    /// The text of the `NAME.toml` that it ran with.
    pub(super) sidecar: Option<String>,
}

/// A quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sentence {
    /// Milliseconds since 1970.
    pub(super) until: u64,
    /// How long it was made for, in milliseconds.
    pub(super) pause: u64,
    pub(super) reason: String,
}

/// The place.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    /// Histories of one mesh are no matter of another.
    namespace: String,
    files_max: usize,
    len_max: u64,
    /// Taken before the lock of the directory, so that the threads of this node do not ask for that in turns.
    kept: Mutex<Kept>,
}

/// How much there is; others may have added to it.
#[derive(Debug, Default)]
struct Kept {
    n_files: usize,
    len: u64,
}

/// As long as it is held, nobody else changes anything.
struct Lock<'a> {
    kept: MutexGuard<'a, Kept>,
    _file: File,
}

impl Shelf {
    /// Opens a directory, makes it if it does not exist, and makes room in it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Untrusted`] and [`Error::Locked`].
    pub fn open(dir: &Path, namespace: &str) -> Result<Self, Error> {
        private_dir::open(dir).map_err(|refusal| match refusal {
            Refusal::Io(source) => Error::Io { path: dir.to_owned(), source },
            Refusal::Untrusted(reason) => Error::Untrusted { path: dir.to_owned(), reason },
        })?;
        let shelf = Self {
            dir: dir.to_owned(),
            namespace: namespace.to_owned(),
            files_max: FILES_MAX,
            len_max: LEN_MAX,
            kept: Mutex::default(),
        };
        shelf.prune(&mut shelf.lock()?);
        Ok(shelf)
    }

    /// What is known of a file. A record that cannot be read counts as none.
    pub(super) fn record(&self, file: &Path) -> Option<Record> {
        let path = self.folder(file).join(RECORD);
        let text = match read_bounded(&path, RECORD_LEN_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "versions from before are not known");
                return None;
            }
        };
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.file == file.to_string_lossy() => Some(record),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "versions from before are not known");
                None
            }
        }
    }

    /// Keeps a component that may come into service; [`Shelf::write`] with a record that names it follows then.
    pub(super) fn keep(&self, file: &Path, digest: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut lock = self.lock()?;
        let folder = self.folder(file);
        let size = bytes.len() as u64;
        let is_there = |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() == size);
        if is_there(&component(&folder, digest)) {
            return Ok(());
        }
        let failed = |source| Error::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        write_whole(&folder, &candidate(&folder, digest), bytes).map_err(failed)?;
        lock.kept.n_files += usize::from(!folder.join(RECORD).exists());
        lock.kept.len += size;
        Ok(())
    }

    /// Writes what is known of a file, and forgets the components that no record names any more. Gives the digests
    /// that the record had named and whose component is not here: those are left out.
    pub(super) fn write(&self, file: &Path, record: Record) -> Result<Vec<String>, Error> {
        let mut lock = self.lock()?;
        let folder = self.folder(file);
        let failed = |source| Error::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut record = merged(self.record(file).unwrap_or_default(), record);
        let mut not_kept = Vec::new();
        record.versions.retain(|entry| {
            let path = component(&folder, &entry.digest);
            // Nothing to rename: it is in its place, or was never kept.
            let _ = fs::rename(candidate(&folder, &entry.digest), &path);
            let kept = path.is_file();
            if !kept {
                not_kept.push(entry.digest.clone());
            }
            kept
        });
        let text = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        write_whole(&folder, &folder.join(RECORD), &text).map_err(failed)?;
        forget_others(&folder, &record);
        if lock.kept.n_files > self.files_max || lock.kept.len > self.len_max {
            self.prune(&mut lock);
        }
        Ok(not_kept)
    }

    /// The bytes of a kept version.
    pub(super) fn component(&self, file: &Path, digest: &str) -> Result<Vec<u8>, Error> {
        let path = component(&self.folder(file), digest);
        let bytes = fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        if hex(&Sha256::digest(&bytes)) != digest {
            // It would only be found damaged again.
            let _ = fs::remove_file(&path);
            return Err(Error::Damaged { path });
        }
        Ok(bytes)
    }

    /// Forgets a file.
    pub(super) fn forget(&self, file: &Path) -> Result<(), Error> {
        let folder = self.folder(file);
        if !folder.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        remove(&folder);
        Ok(())
    }

    fn folder(&self, file: &Path) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(self.namespace.as_bytes());
        hasher.update([0]);
        hasher.update(file.as_os_str().as_encoded_bytes());
        self.dir.join(hex(&hasher.finalize()))
    }

    /// Whoever changes something holds this.
    fn lock(&self) -> Result<Lock<'_>, Error> {
        let kept = self.kept.lock();
        let path = self.dir.join("lock");
        let failed = |source| Error::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(failed)?;
        for _ in 0..LOCK_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { kept, _file: file }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Err(Error::Locked { path: self.dir.clone() })
    }

    /// Removes the histories that changed longest ago, until the others fit.
    fn prune(&self, lock: &mut Lock<'_>) {
        let mut histories: Vec<_> = entries(&self.dir)
            .filter(|(_, metadata)| metadata.is_dir())
            .map(|(path, metadata)| {
                let record = fs::metadata(path.join(RECORD)).and_then(|record| record.modified());
                let changed = record.or_else(|_| metadata.modified());
                let len: u64 = entries(&path).map(|(_, metadata)| metadata.len()).sum();
                (changed.unwrap_or(SystemTime::UNIX_EPOCH), len, path)
            })
            .collect();
        histories.sort_by_key(|(changed, ..)| std::cmp::Reverse(*changed));
        *lock.kept = Kept::default();
        for (_, len, path) in &histories {
            let room = lock.kept.n_files < self.files_max && lock.kept.len + len <= self.len_max;
            if room {
                lock.kept.n_files += 1;
                lock.kept.len += len;
            } else {
                tracing::info!(path = %path.display(), "versions of a file are forgotten to make room");
                remove(path);
            }
        }
    }
}

/// What one node knows, with what others have written: theirs are the first to go.
fn merged(disk: Record, ours: Record) -> Record {
    let mut record = ours;
    let known: Vec<String> = record.versions.iter().map(|entry| entry.digest.clone()).collect();
    let mut versions = disk.versions;
    versions.retain(|entry| !known.contains(&entry.digest));
    versions.append(&mut record.versions);
    let surplus = versions.len().saturating_sub(VERSIONS_MAX);
    versions.drain(..surplus);
    let kept = |digest: &String| versions.iter().any(|entry| entry.digest == *digest);
    for (digest, theirs) in disk.quarantine.into_iter().filter(|(digest, _)| kept(digest)) {
        let ours = record.quarantine.entry(digest).or_insert_with(|| theirs.clone());
        if theirs.until > ours.until {
            *ours = theirs;
        }
    }
    record.versions = versions;
    record
}

/// Removes the components of a folder that its record does not name.
fn forget_others(folder: &Path, record: &Record) {
    for (path, metadata) in entries(folder) {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let surplus = match path.extension().and_then(|extension| extension.to_str()) {
            Some("wasm") => !record.versions.iter().any(|entry| entry.digest == stem),
            Some("new" | "tmp") => age > LEFT_OVER_AGE,
            _ => false,
        };
        if surplus {
            // It is tried again with the next version.
            let _ = fs::remove_file(path);
        }
    }
}

/// The record first: without it, the rest does not count.
fn remove(folder: &Path) {
    let _ = fs::remove_file(folder.join(RECORD));
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(path = %folder.display(), %error, "kept versions cannot be removed");
    }
}

fn component(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{digest}.wasm"))
}

/// A component that no record names yet.
fn candidate(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{digest}.new"))
}

fn entries(dir: &Path) -> impl Iterator<Item = (PathBuf, fs::Metadata)> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| Some((file.path(), file.metadata().ok()?)))
}

/// Writes a file that appears whole or not at all.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{}.tmp", uid::new()));
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // A full disk is no place for it.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn read_bounded(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        return Err(io::Error::other(format!("it has more than {len_max} bytes")));
    }
    Ok(bytes)
}

/// A record as somebody could have left it; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_record(text: &str) {
    let Ok(record) = serde_json::from_str::<Record>(text) else { return };
    let file = record.file.clone();
    let again = super::history::History::recalled(record.clone()).unwritten(file);
    if let Some(again) = again {
        assert_eq!(again.versions, record.versions);
    }
}

#[cfg(test)]
mod tests;
