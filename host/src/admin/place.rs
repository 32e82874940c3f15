//! Where control sockets are, so that a client finds the node without being told.
//!
//! The first node of a user takes `default.sock` in the user's own directory, further ones
//! `<nodeID>.sock`; a client takes the one that answers. A lock beside the socket belongs to the process
//! that listens: what a dead process left behind is replaced, a living one is never robbed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Why there is no place for a socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process listens there.
    #[error("another node listens at {}", path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is in the way.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The directory is somebody else's, or others may enter it.
    #[error("{} does not belong to this user alone (it must be a directory of mode 0700)", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("the path {} is longer than the {LEN_MAX} bytes of a socket address", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// `sun_path` of Linux without its final zero.
const LEN_MAX: usize = 107;

/// A path that belongs to this process as long as this lives.
#[derive(Debug)]
pub struct Claim {
    /// The socket.
    pub path: PathBuf,
    /// Held, not used: the lock ends with it, also when the process dies.
    _lock: File,
}

/// The directory of this user's sockets: `$XDG_RUNTIME_DIR/isomer`, else `/tmp/isomer-<uid>`.
#[must_use]
pub fn standard_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("isomer"),
        None => PathBuf::from(format!("/tmp/isomer-{}", rustix::process::getuid().as_raw())),
    }
}

/// Claims the place of a node in `dir`: `default.sock`, or one named after the node when that is taken.
///
/// # Errors
/// [`Error`].
pub fn claim_in(dir: &Path, node_id: &str) -> Result<Claim, Error> {
    make_private(dir)?;
    match claim(&dir.join("default.sock")) {
        Err(Error::Busy { .. }) => claim(&dir.join(format!("{}.sock", file_name(node_id)))),
        other => other,
    }
}

/// Claims one path; a socket that nobody listens to is removed.
///
/// # Errors
/// [`Error`].
pub fn claim(path: &Path) -> Result<Claim, Error> {
    if path.as_os_str().len() > LEN_MAX {
        return Err(Error::TooLong { path: path.to_owned() });
    }
    let lock_path = path.with_extension("lock");
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io_error(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => return Err(io_error(&lock_path)(source)),
    }
    remove_stale(path)?;
    Ok(Claim { path: path.to_owned(), _lock: lock })
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    // A program that knows nothing of the lock may listen there too.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::Busy { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Makes the directory, or makes sure that nobody else can enter it.
fn make_private(dir: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    // Not through a link: in /tmp somebody else may have made one.
    let metadata =
        fs::symlink_metadata(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    let own = metadata.uid() == rustix::process::getuid().as_raw();
    if metadata.is_dir() && own && metadata.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(Error::NotPrivate { path: dir.to_owned() })
    }
}

/// The sockets in `dir` that somebody listens to, sorted.
#[must_use]
pub fn listening_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .filter(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
        .collect();
    paths.sort();
    paths
}

/// A node ID as a file name: short, and without what means something in paths.
fn file_name(node_id: &str) -> String {
    const CHARS_MAX: usize = 60;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    node_id.chars().take(CHARS_MAX).map(plain).collect()
}
