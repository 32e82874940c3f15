//! Samples and SDKs in other languages than Rust, and nodes that run their components.

use std::path::PathBuf;
use std::process::Command;

use isomer_host::config::BrokerOptions;

use crate::host::Host;
use crate::recipe::{self, GO, PYTHON, Recipe};
use crate::{guests, tree};

/// The sample in Python.
pub const QUOTES: Recipe =
    Recipe { name: "quotes", source: "sample-services/python-quotes", by: &PYTHON };
/// The sample in Go.
pub const SLUGS: Recipe = Recipe { name: "slugs", source: "sample-services/go-slugs", by: &GO };

/// Runs the tests in a folder with Python's own tool.
///
/// # Panics
/// When one of them fails.
pub fn python_tests_pass(folder: &str) {
    if PYTHON.is_skipped() {
        return;
    }
    let mut command = recipe::command_of("python3");
    command.args(["-m", "unittest", "discover", "-s", folder]);
    command.env("PYTHONPATH", tree::top().join("guest-sdk/python"));
    passes(folder, &mut command);
}

/// Runs the tests in a folder with Go's own tool, which the builder finds or brings.
///
/// # Panics
/// When one of them fails.
pub fn go_tests_pass(folder: &str) {
    if GO.is_skipped() {
        return;
    }
    let mut command = recipe::command_of("python3");
    command.args(["guest-sdk/go/build.py", folder, "--test"]);
    passes(folder, &mut command);
}

fn passes(folder: &str, command: &mut Command) {
    recipe::check(&format!("the tests of {folder} pass"), command);
}

/// Starts a node on components of Rust by name, and on files; none where a file is missing.
pub async fn host(
    rust: &[&str],
    files: &[Option<PathBuf>],
    options: BrokerOptions,
) -> Option<Host> {
    let folder = tempfile::tempdir().unwrap();
    for name in rust {
        guests::put(name, folder.path(), &format!("{name}.wasm"));
    }
    for file in files {
        let file = file.as_ref()?;
        let name = file.file_name()?.to_string_lossy().into_owned();
        guests::put_bytes(&std::fs::read(file).unwrap(), folder.path(), &name);
        // One instance, so that what it keeps can be asked for.
        let sidecar = folder.path().join(&name).with_extension("toml");
        std::fs::write(sidecar, "[instances]\nmax = 1\n").unwrap();
    }
    Some(Host::start_on(options, folder).await)
}
