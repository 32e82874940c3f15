//! A user's surroundings for `isomer new`, `build`, `dev` and `test`: the real tools, and folders of its own.
//!
//! Fresh projects get the repository's lock file, so that they need only crates that are there already and
//! build without a network; they share one folder of build results, so that only the first waits for them. There a
//! component lies under the name of its project alone, so each test has names of its own.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use crate::{node, tree, wait};

/// A compiler on a loaded machine that begins with nothing.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Variables that say where the user's tools are.
const TOOLS: [&str; 5] = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];

/// A command of the binary that finds the tools of this machine.
#[must_use]
pub fn command(folder: &Path) -> Command {
    let mut command = node::command(folder);
    for name in TOOLS {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("CARGO_TARGET_DIR", tree::target().join("workshop"));
    command.env("CARGO_NET_OFFLINE", "true");
    command
}

/// Runs a command to its end.
pub async fn run(folder: &Path, args: &[&str]) -> Output {
    let what = format!("the end of `isomer {}`", args.join(" "));
    let mut command = command(folder);
    command.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
    wait::within(PATIENCE, &what, command.output()).await.unwrap()
}

/// Makes a Rust service in a folder, which builds without a network.
///
/// # Panics
/// When it cannot be made.
pub async fn new_rust(folder: &Path, name: &str) {
    let made = run(folder, &["new", name, "--lang", "rust"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::copy(tree::top().join("Cargo.lock"), folder.join(name).join("Cargo.lock")).unwrap();
}
