//! Directories that only this user can read and write: what lies in one is trusted as much as the program itself.
//!
//! A directory that somebody else could have written to is refused, never mended: who made it so may have meant it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It cannot be made or looked at.
    #[error("it cannot be made or read: {0}")]
    Io(#[source] io::Error),
    /// Somebody else could have written to it.
    #[error("{0}")]
    Untrusted(&'static str),
}

/// Makes sure that a directory is there and is this user's alone.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn open(dir: &Path) -> Result<(), Refusal> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Refusal::Io)?;
    // A link may lead anywhere tomorrow.
    let metadata = fs::symlink_metadata(dir).map_err(Refusal::Io)?;
    if !metadata.is_dir() {
        return Err(Refusal::Untrusted("it is not a directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Refusal::Untrusted("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Refusal::Untrusted("others may read or write it; set its mode to 0700"));
    }
    Ok(())
}
