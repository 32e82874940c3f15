//! A real redis-server on a port of its own, which can be killed, restarted on the same port and paused.

use std::net::TcpListener;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    process: Process,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no `redis-server`; `make test` installs it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server that is a cluster of its own, with all slots.
    pub async fn start_cluster() -> Self {
        let bus = free_port().to_string();
        let bus = ["--cluster-port", &bus, "--cluster-announce-ip", "127.0.0.1"];
        let enabled = ["--cluster-enabled", "yes"];
        let server = Self::start_with(&[&enabled[..], &bus[..]].concat()).await;
        server.ask(&["cluster", "addslotsrange", "0", "16383"]).await;
        crate::wait::until("the cluster to serve", || async {
            server.ask(&["cluster", "info"]).await.contains("cluster_state:ok").then_some(())
        })
        .await;
        server
    }

    async fn start_with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = Self::spawn(&folder, port, more).await;
        Self { port, process, folder }
    }

    async fn spawn(folder: &TempDir, port: u16, more: &[&str]) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        // In memory only: a server that is started again is empty.
        command.args(["--save", "", "--appendonly", "no"]).args(more).current_dir(folder.path());
        let mut process = Process::spawn("redis-server (installed by `make test`)", &mut command);
        process.line("Ready to accept connections").await;
        process
    }

    /// Its address, `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command with `redis-cli` and gives what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ask(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &self.port.to_string()]).args(command).output().await.unwrap();
        assert!(output.status.success(), "redis-cli {command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again on its old port, after [`RedisServer::kill`]. It is empty then.
    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, self.port, &[]).await;
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

/// A port that nobody listens on now. Redis cannot choose one by itself.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
