//! What counts as a source of a project: which folders are watched, and which files a build depends on.
//!
//! What tools and editors write is none, so that no build begins the next one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::toolchain::is_of_tools;

/// Folders below a project that are watched; one with more keeps something there that is no source.
const FOLDERS_MAX: usize = 2_000;
/// Files that tools write beside sources.
const NO_SOURCE_FILES: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

/// Whether a file that has changed is a source of the project in a folder.
pub(super) fn is_source(file: &Path, root: &Path) -> bool {
    let Ok(below) = file.strip_prefix(root) else { return false };
    let inside = below.components().all(|part| !is_of_tools(&part.as_os_str().to_string_lossy()));
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    inside && !NO_SOURCE_FILES.contains(&&*name) && !name.ends_with('~') && !name.ends_with(".wasm")
}

/// The folders of a project in which sources may be.
pub(super) fn folders(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([root.to_owned()]);
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir
                && !is_of_tools(&entry.file_name().to_string_lossy())
                && found.len() < FOLDERS_MAX
            {
                found.insert(entry.path());
                open.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_and_editors_write_is_no_source() {
        let check = |path: &str| is_source(Path::new(path), Path::new("/p"));
        for path in ["/p/src/lib.rs", "/p/posts.toml", "/p/lib", "/p/posts.service.js"] {
            assert!(check(path), "{path}");
        }
        for path in [
            "/p/target/debug/x.d",
            "/p/node_modules/a/b.js",
            "/p/build/posts.wasm",
            "/p/posts.wasm",
            "/p/.git/index",
            "/p/src/.lib.rs.swp",
            "/p/src/lib.rs~",
            "/p/Cargo.lock",
            "/elsewhere/a.rs",
        ] {
            assert!(!check(path), "{path}");
        }
    }

    #[test]
    fn folders_of_sources_are_watched_and_those_of_tools_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["src/inner", "target/debug", ".git/refs", "node_modules/a"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let expected = ["", "src", "src/inner"].map(|folder| dir.path().join(folder));
        let found: Vec<_> = folders(dir.path()).into_iter().collect();
        assert_eq!(found, [dir.path().to_owned(), expected[1].clone(), expected[2].clone()]);
    }
}
