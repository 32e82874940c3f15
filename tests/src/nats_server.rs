//! A real nats-server on a port of its own, which can be killed, restarted on the same port and paused.

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// A running server.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    process: Process,
    folder: TempDir,
    args: Vec<String>,
}

impl NatsServer {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no `nats-server`; `make test` installs it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server that listens on this address, and is still reached on loopback.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub async fn start_at(address: &str) -> Self {
        // The last one counts.
        Self::start_with(&["-a", address]).await
    }

    /// Starts a server with more arguments.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub async fn start_with(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        // Port -1 lets the system choose; the log says which it was.
        let mut process = Self::spawn(&folder, "-1", &args);
        let line = process.line("Listening for client connections on ").await;
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).unwrap();
        process.line("Server is ready").await;
        Self { port, process, folder, args }
    }

    fn spawn(folder: &TempDir, port: &str, args: &[String]) -> Process {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", port]).args(args).current_dir(folder.path());
        Process::spawn("nats-server (installed by `make test`)", &mut command)
    }

    /// Its address, `nats://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again on its old port, after [`NatsServer::kill`].
    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, &self.port.to_string(), &self.args);
        self.process.line("Server is ready").await;
    }

    /// Stops it from doing anything while its connections stay open.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }
}
