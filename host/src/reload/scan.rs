//! Finding component files: `*.wasm` in and below the given directories, and files that are named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Deepest directory that is looked into, below a root.
const DEPTH_MAX: usize = 16;

/// All component files of these roots, in order. Directories that cannot be read are logged and left out;
/// hidden ones (`.name`) are left out.
#[must_use]
pub fn components(roots: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for root in roots {
        if root.is_dir() {
            walk(root, DEPTH_MAX, &mut found);
        } else {
            found.insert(root.clone());
        }
    }
    found
}

fn walk(dir: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "a directory cannot be read");
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found);
            }
        } else if is_component(&path) {
            found.insert(path);
        }
    }
}

/// The component that a changed path belongs to: itself, or for `NAME.toml` the `NAME.wasm` beside it.
#[must_use]
pub fn component_of(path: &Path, roots: &[PathBuf]) -> Option<PathBuf> {
    let component = match path.extension()?.to_str()? {
        "wasm" => path.to_owned(),
        "toml" => path.with_extension("wasm"),
        _ => return None,
    };
    let inside = |root: &PathBuf| {
        component == *root
            || component.strip_prefix(root).is_ok_and(|below| {
                root.is_dir()
                    && !below.components().any(|part| is_hidden(Path::new(part.as_os_str())))
            })
    };
    roots.iter().any(inside).then_some(component)
}

fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_found_below_directories_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("sub/.git")).unwrap();
        for name in ["a.wasm", "a.toml", "sub/b.wasm", "sub/.git/c.wasm", ".d.wasm", "e.txt"] {
            std::fs::write(path(name), "").unwrap();
        }
        let roots = [dir.path().to_owned(), "/named/f.bin".into()];
        let expected = BTreeSet::from([path("a.wasm"), path("sub/b.wasm"), "/named/f.bin".into()]);
        assert_eq!(components(&roots), expected);
    }

    #[test]
    fn a_sidecar_belongs_to_its_component() {
        let dir = tempfile::tempdir().unwrap();
        let roots = [dir.path().to_owned()];
        let path = |name: &str| dir.path().join(name);
        assert_eq!(component_of(&path("a.toml"), &roots), Some(path("a.wasm")));
        assert_eq!(component_of(&path("sub/a.wasm"), &roots), Some(path("sub/a.wasm")));
        assert_eq!(component_of(&path(".tmp.wasm"), &roots), None);
        assert_eq!(component_of(&path("a.txt"), &roots), None);
        assert_eq!(component_of(Path::new("/elsewhere/a.wasm"), &roots), None);
    }
}
