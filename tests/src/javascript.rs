//! Services in JavaScript and TypeScript, built into components as `isomer build` does it.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::{tree, wait};

/// The SDK, whose packages are installed by `make peers`.
///
/// # Panics
/// When they are not installed.
#[must_use]
pub fn sdk() -> PathBuf {
    let folder = tree::top().join("guest-sdk/js");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages of the JavaScript SDK are not installed: run `make peers`"
    );
    folder
}

/// A service file below `tests/js`.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    tree::top().join("tests/js").join(name)
}

/// Runs the builder on a file, and gives how it ended.
pub async fn try_build(source: &Path, output: &Path, more: &[&str]) -> Output {
    let mut command = Command::new("node");
    command.arg(sdk().join("build.mjs")).arg(source).arg("-o").arg(output).args(more);
    command.kill_on_drop(true);
    wait::within(4 * wait::PATIENCE, "the builder", command.output()).await.unwrap()
}

/// Builds a service of `tests/js` into a folder.
///
/// # Panics
/// When it cannot be built.
pub async fn build(name: &str, folder: &Path) -> PathBuf {
    let stem = name.split('.').next().unwrap();
    let output = folder.join(stem).with_extension("wasm");
    let built = try_build(&source(name), &output, &[]).await;
    assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
    output
}
