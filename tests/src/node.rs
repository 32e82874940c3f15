//! The real `isomer` binary: nodes that a test starts, and single commands.

use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::{guests, tree, wait};

/// A running `isomer start`.
#[derive(Debug)]
pub struct Node {
    process: Process,
    folder: TempDir,
}

/// The binary.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    let file = tree::profile().join("isomer");
    assert!(file.is_file(), "{} is missing: run `cargo build`", file.display());
    file
}

/// Compiled components are kept between tests and runs: their keys hold everything that matters.
fn cache() -> PathBuf {
    tree::target().join("isomer-test-cache")
}

/// A command of the binary with nothing from the user's surroundings: its own folders for sockets and
/// cache, no configuration from the environment.
#[must_use]
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(folder).env_clear();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}:/usr/sbin", tree::profile().display()));
    command.env("HOME", folder).env("XDG_RUNTIME_DIR", folder).env("XDG_CACHE_HOME", cache());
    command
}

/// Runs one command to its end.
pub async fn run(folder: &Path, args: &[&str]) -> Output {
    let what = format!("the end of `isomer {}`", args.join(" "));
    let mut command = command(folder);
    command.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
    wait::for_result(&what, command.output()).await.unwrap()
}

impl Node {
    /// Starts a node on copies of these components, and waits until it is ready.
    pub async fn start(components: &[&str], args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let services = folder.path().join("services");
        std::fs::create_dir(&services).unwrap();
        for name in components {
            guests::put(name, &services, &format!("{name}.wasm"));
        }
        Self::start_in(folder, args).await
    }

    /// Starts a node on all samples with their settings, as `make run` does.
    pub async fn start_samples(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let services = folder.path().join("services");
        std::fs::create_dir(&services).unwrap();
        for name in guests::samples() {
            guests::put(&name, &services, &format!("{name}.wasm"));
            let sidecar = format!("{name}.toml");
            let source = tree::top().join("sample-services").join(&name).join(&sidecar);
            if source.exists() {
                std::fs::copy(source, services.join(sidecar)).unwrap();
            }
        }
        Self::start_in(folder, args).await
    }

    /// Starts a node in a prepared folder; services are in `services` there.
    pub async fn start_in(folder: TempDir, args: &[&str]) -> Self {
        let mut command = command(folder.path());
        command.args(["start", "services"]).args(args);
        let mut process = Process::spawn("isomer start", &mut command);
        process.line(READY).await;
        Self { process, folder }
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that it loads services from.
    #[must_use]
    pub fn services(&self) -> PathBuf {
        self.folder.path().join("services")
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs a command in the node's folder, so that it finds the node's socket.
    pub async fn run(&self, args: &[&str]) -> Output {
        run(self.folder(), args).await
    }

    /// Asks it to stop and waits until it has; gives everything it wrote.
    ///
    /// # Panics
    /// When it does not end with exit code 0.
    pub async fn stop(mut self) -> String {
        self.process.signal(Signal::TERM);
        let status = self.process.exit().await;
        let text = self.process.output().text();
        assert!(status.success(), "the node ended with {status}:\n{text}");
        text
    }
}

/// Beginning of the last line that a node writes when it serves.
pub const READY: &str = "try          ";
