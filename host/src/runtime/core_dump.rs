//! Core dumps of guests that have trapped: their memories, globals and stack, in the format that tools for WebAssembly
//! read.
//!
//! Written only into a folder that the operator names. A dump holds whatever the guest had in its memory, so nobody
//! but the node's user may read it. One is written at a time; one more is left out rather than made to wait, because
//! the caller of the guest waits, too. Not here: which ends are traps (`verdict`).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, WasmCoreDump};

use crate::clock;
use crate::config::limits::CoreDumps as Options;
use crate::metrics::{Metric, MetricRegistry};
use crate::runtime::Error;
use crate::runtime::state::State;

/// How the names of the files end. Not as those of components, which a node may look for in the same folder.
const EXTENSION: &str = "core";
/// Longest part of a name that comes from the name of a service, in bytes.
const SERVICE_LEN_MAX: usize = 100;

/// Where core dumps go.
pub(super) struct CoreDumps {
    dir: PathBuf,
    options: Options,
    writing: Arc<Semaphore>,
    written: Metric,
    left_out: Metric,
}

impl CoreDumps {
    /// Makes the folder, if one is named, and clears what a node has left there half-written.
    pub(super) fn open(
        options: &Options,
        metrics: &MetricRegistry,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(dir) = options.dir.clone() else { return Ok(None) };
        let unusable = |source| Error::CoreDumps { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(unusable)?;
        for path in files(&dir, "part").map_err(unusable)? {
            // One that stays is only in the way of who looks at the folder.
            let _ = fs::remove_file(path);
        }
        Ok(Some(Arc::new(Self {
            dir,
            options: options.clone(),
            writing: Arc::new(Semaphore::new(1)),
            written: metrics.metric("isomer.guest.coreDumps.total"),
            left_out: metrics.metric("isomer.guest.coreDumpsLeftOut.total"),
        })))
    }

    /// Keeps what is left of a guest that has trapped with this error.
    pub(super) fn keep(&self, store: &mut Store<State>, error: &wasmtime::Error) {
        let environment = Arc::clone(&store.data().environment);
        let service = &*environment.service;
        if let Err(why) = self.try_keep(store, service, &environment.version, error) {
            self.left_out.increment();
            tracing::debug!(service, "no core dump of '{service}': {why}");
        }
    }

    fn try_keep(
        &self,
        store: &mut Store<State>,
        service: &str,
        version: &str,
        error: &wasmtime::Error,
    ) -> Result<(), String> {
        let dump = error.downcast_ref::<WasmCoreDump>().ok_or("wasmtime has made none")?;
        let sizes = dump.memories().iter().map(|memory| memory.data_size(&*store));
        let size = sizes.fold(0_u64, |sum, size| sum.saturating_add(size as u64));
        if size > self.options.size {
            let limit = self.options.size;
            return Err(format!("its memories have {size} bytes, coreDumps.size allows {limit}"));
        }
        let writing = Arc::clone(&self.writing).try_acquire_owned();
        let writing = writing.map_err(|_| "another one is being written")?;
        // Made from what a guest has left behind, by code that does not expect all of it.
        let bytes = catch_unwind(AssertUnwindSafe(|| dump.serialize(store, service)));
        let bytes = bytes.map_err(|_| "wasmtime cannot write it")?;
        let name = file_name(service, version, clock::unix_ms());
        let (path, files) = (self.dir.join(name), self.options.files);
        let (written, left_out) = (self.written.clone(), self.left_out.clone());
        // Nobody waits for it: it reports itself.
        drop(tokio::task::spawn_blocking(move || {
            let _writing: OwnedSemaphorePermit = writing;
            match put(&path, &bytes, files) {
                Ok(()) => {
                    written.increment();
                    tracing::info!(path = %path.display(), size = bytes.len(), "core dump written");
                }
                Err(error) => {
                    left_out.increment();
                    tracing::warn!(path = %path.display(), %error, "a core dump cannot be written");
                }
            }
        }));
        Ok(())
    }
}

/// `posts-0f3a9c21b4d8-20261122T034000.123Z.core`: service, the beginning of the component's SHA-256, time.
fn file_name(service: &str, version: &str, unix_ms: u64) -> String {
    let service = service.get(..service.floor_char_boundary(SERVICE_LEN_MAX)).unwrap_or(service);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '_' };
    let service: String = service.chars().map(plain).collect();
    let time: String =
        clock::iso_8601(unix_ms).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{service}-{version}-{time}.{EXTENSION}")
}

/// Writes a file, whole or not at all, when the oldest have made room for it.
fn put(path: &Path, bytes: &[u8], n_files: usize) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    make_room(dir, n_files)?;
    let part = path.with_extension("part");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What a full disk has taken of it.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Deletes the oldest, so that with one more there are so many.
fn make_room(dir: &Path, n_files: usize) -> io::Result<()> {
    let mut dumps = files(dir, EXTENSION)?;
    let time = |path: &PathBuf| path.file_name().and_then(time_in).map(str::to_owned);
    dumps.sort_by_cached_key(time);
    let n_over = (dumps.len() + 1).saturating_sub(n_files);
    dumps.iter().take(n_over).try_for_each(fs::remove_file)
}

/// The time in the name of a dump.
fn time_in(name: &std::ffi::OsStr) -> Option<&str> {
    name.to_str()?.rsplit_once('-').map(|(_, time)| time)
}

/// The files of a folder that this file has written, by their extension.
fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let ours = path.extension().is_some_and(|own| own == extension)
            && path.file_name().and_then(time_in).is_some_and(|time| time.contains("Z."));
        if ours {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_name_has_service_version_and_time_and_nothing_else() {
        let name = file_name("v2.posts", "0f3a9c21b4d8", 1_700_000_000_123);
        assert_eq!(name, "v2.posts-0f3a9c21b4d8-20231114T221320.123Z.core");
        let strange = file_name(&format!("../$a b-{}", "é".repeat(100)), "0", 0);
        assert!(strange.starts_with(".._") && !strange.contains(['/', ' ', '$']), "{strange}");
        assert!(strange.len() < 150);
    }

    #[test]
    fn the_oldest_make_room_and_foreign_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("made");
        let options = Options { dir: Some(dir.clone()), ..Options::default() };
        let open = || CoreDumps::open(&options, &MetricRegistry::default());
        open().unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dir.join("notes.core"), "").unwrap();
        for n in 0..6 {
            let service = if n % 2 == 0 { "b" } else { "a" };
            put(&dir.join(file_name(service, "0", n * 1_000)), b"core", 3).unwrap();
        }
        let mut left = files(&dir, EXTENSION).unwrap();
        left.sort();
        let names: Vec<_> = left.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(
            names,
            [
                "a-0-19700101T000003.000Z.core",
                "a-0-19700101T000005.000Z.core",
                "b-0-19700101T000004.000Z.core"
            ]
        );
        assert!(dir.join("notes.core").exists());
        assert_eq!(fs::metadata(&left[0]).unwrap().permissions().mode() & 0o777, 0o600);
        let part = dir.join("a-0-19700101T000009.000Z.part");
        fs::write(&part, "").unwrap();
        open().unwrap();
        assert!(!part.exists(), "what was left half-written");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = CoreDumps::open(
            &Options { dir: Some(file), ..Options::default() },
            &MetricRegistry::default(),
        );
        assert!(matches!(refused, Err(Error::CoreDumps { .. })));
    }
}
