//! A folder with services, in which a node is started, killed and started again: with a cache and a state of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::{guests, node};

/// For what compiles.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Beginning of the last line that a node writes when it serves.
const READY: &str = "try          ";

/// The folder.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    own_cache: bool,
}

impl Place {
    /// With these components under these names, and a cache that is empty.
    #[must_use]
    pub fn new(components: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("services")).unwrap();
        let place = Self { folder, own_cache: true };
        for (name, file) in components {
            place.put(name, file);
        }
        place
    }

    /// The same with the cache of all tests, for those that are not about it.
    #[must_use]
    pub fn with_cache_of_all(components: &[(&str, &str)]) -> Self {
        Self { own_cache: false, ..Self::new(components) }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the node finds its services.
    #[must_use]
    pub fn services(&self) -> PathBuf {
        self.path().join("services")
    }

    /// Puts a component there.
    pub fn put(&self, name: &str, file: &str) {
        guests::put(name, &self.services(), file);
    }

    /// Where compiled code is.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.path().join("cache/isomer")
    }

    /// Where versions are kept.
    #[must_use]
    pub fn versions(&self) -> PathBuf {
        self.path().join(".local/state/isomer/versions")
    }

    /// A command of the binary in this place.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = node::command(self.path());
        if self.own_cache {
            command.env("XDG_CACHE_HOME", self.path().join("cache"));
        }
        command
    }

    /// Starts a node and does not wait for it.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Process {
        let mut command = self.command();
        command.args(["start", "services"]).args(args);
        Process::spawn("isomer start", &mut command)
    }

    /// Starts a node after a line of a shell, such as one that sets limits.
    #[must_use]
    pub fn spawn_after(&self, line: &str, args: &[&str]) -> Process {
        let mut command = Command::new("sh");
        let binary = node::binary();
        let script =
            format!("{line}; exec '{}' start services {}", binary.display(), args.join(" "));
        command.args(["-c", &script]).current_dir(self.path()).env_clear();
        for (name, value) in self.command().as_std().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        Process::spawn("isomer start", &mut command)
    }

    /// Starts a node and waits until it serves.
    pub async fn ready(&self, args: &[&str]) -> Process {
        let mut process = self.spawn(args);
        serves(&mut process).await;
        process
    }

    /// Calls an action through the control socket.
    ///
    /// # Errors
    /// What the command writes.
    pub async fn call(&self, action: &str) -> Result<Value, String> {
        let params = r#"{"name": "Ada", "a": 1, "b": 2}"#;
        self.ask(&["call", action, params, "--json"]).await
    }

    /// Runs a command whose answer is JSON.
    ///
    /// # Errors
    /// What the command writes.
    pub async fn ask(&self, args: &[&str]) -> Result<Value, String> {
        let output = node::run(self.path(), args).await;
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// Waits until a node serves.
pub async fn serves(process: &mut Process) {
    // Compiling takes its time on a machine that is busy.
    process.line_within(PATIENCE, READY).await;
}

/// Lets a process live for a while, then kills it without a word.
pub async fn kill_after(mut process: Process, ms: u64) {
    let _ = tokio::time::timeout(Duration::from_millis(ms), process.exit()).await;
    process.kill().await;
}
