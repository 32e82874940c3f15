//! The components that tests load: samples and test guests, as `make guests` built them.

use std::path::{Path, PathBuf};

use crate::tree;

/// The folder of all built components.
#[must_use]
pub fn folder() -> PathBuf {
    tree::target().join("wasm32-wasip2/guest")
}

/// The file of one component.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn wasm(name: &str) -> PathBuf {
    let file = folder().join(name).with_extension("wasm");
    assert!(file.is_file(), "{} is missing: run `make guests`", file.display());
    file
}

/// The samples that cargo builds; those in other languages need tools of their own.
#[must_use]
pub fn samples() -> Vec<String> {
    let folder = tree::top().join("sample-services");
    let mut names = tree::folders(&folder);
    names.retain(|name| folder.join(name).join("Cargo.toml").is_file());
    names
}

/// Puts a component into a folder under another name or its own, whole or not at all, as a deploying
/// person should.
pub fn put(name: &str, folder: &Path, file_name: &str) -> PathBuf {
    put_bytes(&std::fs::read(wasm(name)).unwrap(), folder, file_name)
}

/// Puts any bytes into a folder, whole or not at all.
pub fn put_bytes(bytes: &[u8], folder: &Path, file_name: &str) -> PathBuf {
    let target = folder.join(file_name);
    let part = folder.join(format!(".{file_name}.part"));
    std::fs::write(&part, bytes).unwrap();
    std::fs::rename(&part, &target).unwrap();
    target
}
