//! Where things are: the repository, its files, the folder of build results.

use std::path::{Path, PathBuf};

/// The top of the repository.
///
/// # Panics
/// Never in a checkout: this crate lies one level below.
#[must_use]
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of build results: the one that this test binary lies in.
#[must_use]
pub fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

/// The folder of the profile that this test binary was built with.
#[must_use]
pub fn profile() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // target/PROFILE/deps/it-HASH
    own.ancestors().nth(2).unwrap().to_owned()
}

/// A file of the repository as text.
///
/// # Panics
/// When there is no such file.
#[must_use]
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder of the repository in a fixed order, without build results, installed packages
/// and hidden folders.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_file() {
                found.push(path);
            } else if !["target", "node_modules", "__pycache__"].contains(&&*name)
                && !name.starts_with('.')
            {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The names of the folders directly below a folder of the repository; none when it does not exist.
#[must_use]
pub fn folders(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
