//! The sources that are part of the binary: SDKs, templates and the WIT package, and where they are unpacked.
//!
//! They are unpacked into a folder that is named after their content, whole or not at all, so that several
//! versions of the program and several runs at once do not meet.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;

/// Path in the repository and content of each file, in the order of the paths; made by `build.rs`.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The workspace's manifest, which those of the Rust SDK take versions and lints from.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// A file to be written: a path, and its content.
type File<'a> = (&'a str, &'a [u8]);

/// The files of a folder of the repository (`folder` ends with `/`), with paths from there.
pub(super) fn files_below(folder: &str) -> impl Iterator<Item = File<'static>> {
    FILES.iter().filter_map(move |(path, data)| Some((path.strip_prefix(folder)?, *data)))
}

/// Whether a file belongs to the Rust SDK.
fn is_rust(path: &str) -> bool {
    let folders = ["guest-sdk/wit/", "guest-sdk/src/", "guest-sdk/macros/"];
    path == "guest-sdk/Cargo.toml" || folders.iter().any(|folder| path.starts_with(folder))
}

/// The manifest of the unpacked workspace: the versions and lints of ours, and two members.
fn workspace() -> Result<String, Error> {
    let unexpected = |what: &str| Error::Unexpected { what: format!("the built-in SDK: {what}") };
    let ours: toml::Table = WORKSPACE.parse().map_err(|_| unexpected("no manifest"))?;
    let ours = ours.get("workspace").ok_or_else(|| unexpected("no workspace"))?;
    let members = ["guest-sdk", "guest-sdk/macros"].map(toml::Value::from);
    let mut workspace = toml::Table::new();
    workspace.insert("members".into(), members.to_vec().into());
    for key in ["resolver", "package", "dependencies", "lints"] {
        let value = ours.get(key).cloned().ok_or_else(|| unexpected(key))?;
        workspace.insert(key.into(), value);
    }
    let manifest = toml::Table::from_iter([("workspace".to_owned(), workspace.into())]);
    toml::to_string(&manifest).map_err(|error| unexpected(&error.to_string()))
}

/// Unpacks everything below a cache folder, unless that has been done, and gives the folder with
/// `guest-sdk/` and `wit/`.
///
/// # Errors
/// [`Error::File`].
pub fn unpacked(cache: &Path) -> Result<PathBuf, Error> {
    let folder = format!("{}-{}", env!("CARGO_PKG_VERSION"), short_digest(FILES));
    let target = cache.join("sdk").join(folder);
    if !target.is_dir() {
        // What is compiled is kept there as well, and is believed only where nobody else can write.
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(cache).map_err(Error::at(cache))?;
        put(FILES, &target)?;
    }
    Ok(target)
}

/// The file that says which content a copy of the SDK has.
const DIGEST_FILE: &str = ".digest";

/// Puts the Rust SDK into a folder of a project, unless it is there in this version. True when it was put.
///
/// # Errors
/// [`Error::File`].
pub fn vendor_rust(target: &Path) -> Result<bool, Error> {
    // The Rust SDK is a workspace of its own there.
    let manifest = workspace()?;
    let mut files = vec![("Cargo.toml", manifest.as_bytes())];
    files.extend(FILES.iter().filter(|(path, _)| is_rust(path)));
    let digest = short_digest(&files);
    if std::fs::read_to_string(target.join(DIGEST_FILE)).is_ok_and(|found| found == digest) {
        return Ok(false);
    }
    files.push((DIGEST_FILE, digest.as_bytes()));
    put(&files, target)?;
    Ok(true)
}

/// Enough of the hash of all files to tell versions apart.
fn short_digest(files: &[File<'_>]) -> String {
    let mut hash = Sha256::new();
    for (path, data) in files {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update((data.len() as u64).to_le_bytes());
        hash.update(data);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes files into a folder, which appears whole, in the place of what was there.
fn put(files: &[File<'_>], target: &Path) -> Result<(), Error> {
    let parent = target.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::at(parent))?;
    let beside = |what: &str| parent.join(format!(".{what}-{}", std::process::id()));
    let (new, old) = (beside("new"), beside("old"));
    let written = write_all(files, &new).and_then(|()| swap(&new, target, &old));
    for left in [new, old] {
        // What is not there needs no cleaning, and what cannot be removed disturbs nobody.
        let _ = std::fs::remove_dir_all(left);
    }
    written
}

fn write_all(files: &[File<'_>], folder: &Path) -> Result<(), Error> {
    for (path, data) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(Error::at(parent))?;
        std::fs::write(&path, data).map_err(Error::at(&path))?;
    }
    Ok(())
}

fn swap(new: &Path, target: &Path, old: &Path) -> Result<(), Error> {
    if target.exists() {
        std::fs::rename(target, old).map_err(Error::at(target))?;
    }
    match std::fs::rename(new, target) {
        // Another run was faster, with the same content.
        Err(_) if target.is_dir() => Ok(()),
        done => done.map_err(Error::at(target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_holds_what_projects_need_and_nothing_that_tools_left() {
        let has = |path: &str| FILES.iter().any(|(found, _)| *found == path);
        let needed = [
            "wit/world.wit",
            "guest-sdk/src/lib.rs",
            "guest-sdk/macros/Cargo.toml",
            "guest-sdk/building.py",
        ];
        for path in needed {
            assert!(has(path), "{path}");
        }
        let left = ["node_modules/", "/target/", "__pycache__", ".wasm", "macros/tests"];
        for (path, _) in FILES {
            assert!(!left.iter().any(|left| path.contains(left)), "{path}");
        }
        let size: usize = FILES.iter().map(|(_, data)| data.len()).sum();
        assert!(size < 4 << 20, "small text files only, not {size} bytes");
    }

    #[test]
    fn sources_are_unpacked_once_and_whole() {
        let cache = tempfile::tempdir().unwrap();
        let folder = unpacked(cache.path()).unwrap();
        assert!(folder.join("wit/world.wit").is_file());
        std::fs::write(folder.join("mark"), "").unwrap();
        assert_eq!(unpacked(cache.path()).unwrap(), folder);
        assert!(folder.join("mark").is_file(), "it was not unpacked again");
        let names: Vec<_> = std::fs::read_dir(cache.path().join("sdk")).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_copy_in_a_project_is_renewed_when_it_is_another_version() {
        let project = tempfile::tempdir().unwrap();
        let sdk = project.path().join(".isomer/sdk");
        assert!(vendor_rust(&sdk).unwrap());
        assert!(!vendor_rust(&sdk).unwrap());
        std::fs::write(sdk.join(DIGEST_FILE), "older").unwrap();
        std::fs::write(sdk.join("guest-sdk/src/gone.rs"), "").unwrap();
        assert!(vendor_rust(&sdk).unwrap());
        assert!(!sdk.join("guest-sdk/src/gone.rs").exists());
        let manifest = std::fs::read_to_string(sdk.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("isomer-sdk-macros"), "{manifest}");
        assert!(sdk.join("guest-sdk/wit/world.wit").is_file());
    }
}
