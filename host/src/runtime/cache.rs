//! Compiled components on disk, in a directory that only this user can write to.
//!
//! Loading compiled code is only as safe as the place it comes from, so the directory must belong to this
//! user and be closed to others, and each entry is checked against the hash that was written beside it:
//! `KEY.cwasm` and `KEY.sha256`. An entry that does not match is removed and made again. Entries appear by
//! renaming, the hash last, so that one which is half-written does not exist.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::private_dir::{self, Refusal};
use crate::runtime::Error;
use crate::runtime::inspect::hex;
use crate::uid;

/// Most bytes of all entries; the oldest go first.
const CACHE_LEN_MAX: u64 = 2 << 30;
/// Most entries.
const ENTRIES_MAX: usize = 1_000;
/// A temporary file that is older belongs to a process that has died.
const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(600);

/// The cache directory.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

/// A file that is removed when nobody has renamed it.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is gone already when it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

impl Cache {
    /// Opens a directory, and makes it if it does not exist.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        private_dir::open(dir).map_err(|refusal| match refusal {
            Refusal::Io(source) => Error::Cache { path: dir.to_owned(), source },
            Refusal::Untrusted(reason) => {
                Error::UntrustedCache { path: dir.to_owned(), reason: reason.to_owned() }
            }
        })?;
        let cache = Self { dir: dir.to_owned() };
        // What a node has left that was killed.
        cache.prune(ENTRIES_MAX, CACHE_LEN_MAX);
        Ok(cache)
    }

    /// The compiled file of a key, if there is a sound one.
    pub(super) fn get(&self, key: &str) -> Option<PathBuf> {
        let expected = fs::read_to_string(self.hash_path(key)).ok()?;
        let path = self.code_path(key);
        match hash_file(&path) {
            Ok(found) if found == expected => {
                // The age of an entry is that of its last use. Losing it does no harm.
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(path)
            }
            Ok(_) => {
                tracing::warn!(path = %path.display(), "a damaged cache entry is made again");
                self.remove(key);
                None
            }
            Err(_) => None,
        }
    }

    /// Takes a compiled file into the cache.
    pub(super) fn put(&self, key: &str, compiled: &Temporary) -> Result<PathBuf, Error> {
        let path = self.code_path(key);
        let stored = hash_file(compiled.path()).and_then(|hash| {
            let sidecar = self.temporary();
            fs::write(sidecar.path(), hash)?;
            fs::rename(compiled.path(), &path)?;
            fs::rename(sidecar.path(), self.hash_path(key))
        });
        stored.map_err(|source| Error::Cache { path: path.clone(), source })?;
        self.prune(ENTRIES_MAX, CACHE_LEN_MAX);
        Ok(path)
    }

    /// Forgets an entry.
    pub(super) fn remove(&self, key: &str) {
        // The hash first: without it the code does not count.
        let _ = fs::remove_file(self.hash_path(key));
        let _ = fs::remove_file(self.code_path(key));
    }

    /// A new name for a file of this directory.
    pub(super) fn temporary(&self) -> Temporary {
        Temporary(self.dir.join(format!("{}.tmp", uid::new())))
    }

    fn code_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.cwasm"))
    }

    fn hash_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.sha256"))
    }

    /// Removes the entries that were not used for longest, and what dead processes have left.
    fn prune(&self, entries_max: usize, len_max: u64) {
        let Ok(files) = fs::read_dir(&self.dir) else { return };
        let mut entries = Vec::new();
        for file in files.flatten() {
            let Ok(metadata) = file.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let path = file.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("cwasm") => entries.push((used, metadata.len(), path)),
                Some("tmp") if used.elapsed().is_ok_and(|age| age > TEMPORARY_AGE_MAX) => {
                    let _ = fs::remove_file(path);
                }
                _ => {}
            }
        }
        entries.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut len = 0;
        for (index, (_, entry_len, path)) in entries.iter().enumerate() {
            len += entry_len;
            let surplus = index >= entries_max || len > len_max;
            if let (true, Some(key)) = (surplus, path.file_stem().and_then(|stem| stem.to_str())) {
                self.remove(key);
            }
        }
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n_read = file.read(&mut buffer)?;
        if n_read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(buffer.get(..n_read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::DirBuilder;
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(&root.path().join("cache")).unwrap();
        (root, cache)
    }

    fn put(cache: &Cache, key: &str, bytes: &[u8]) -> PathBuf {
        let compiled = cache.temporary();
        fs::write(compiled.path(), bytes).unwrap();
        cache.put(key, &compiled).unwrap()
    }

    #[test]
    fn an_entry_is_found_until_it_is_damaged() {
        let (_root, cache) = cache();
        assert_eq!(cache.get("k"), None);
        let path = put(&cache, "k", b"code");
        assert_eq!(cache.get("k"), Some(path.clone()));
        fs::write(&path, b"cod").unwrap();
        assert_eq!(cache.get("k"), None);
        assert!(!path.exists());
    }

    #[test]
    fn the_oldest_entries_go_when_there_are_too_many() {
        let (_root, cache) = cache();
        let old = put(&cache, "old", b"1");
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(old).unwrap().set_modified(an_hour_ago).unwrap();
        put(&cache, "new", b"2");
        cache.prune(2, 100);
        assert!(cache.get("old").is_some() && cache.get("new").is_some());
        let old = cache.code_path("old");
        File::open(old).unwrap().set_modified(an_hour_ago).unwrap();
        cache.prune(1, 100);
        assert!(cache.get("old").is_none() && cache.get("new").is_some());
        cache.prune(1, 0);
        assert!(cache.get("new").is_none());
    }

    fn distrusted(dir: &Path, why: &str) {
        let error = Cache::open(dir).unwrap_err();
        assert!(matches!(error, Error::UntrustedCache { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o770, 0o750, 0o701] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
            distrusted(root.path(), "set its mode to 0700");
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Cache::open(root.path()).unwrap();
    }

    #[test]
    fn what_is_somebody_else_s_or_no_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let foreign = root.path().join("foreign");
        DirBuilder::new().mode(0o700).create(&foreign).unwrap();
        // Only root can give a directory away; for everybody else, those of the system are another's.
        let given = std::os::unix::fs::chown(&foreign, Some(12_345), None).is_ok();
        distrusted(
            if given { foreign.as_path() } else { Path::new("/usr") },
            "belongs to another user",
        );
        let own = root.path().join("own");
        DirBuilder::new().mode(0o700).create(&own).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        distrusted(&link, "not a directory");
    }
}
