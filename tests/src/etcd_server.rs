//! A real etcd on ports of its own, which can be killed and restarted with what it kept.

use std::net::TcpListener;

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// A running server.
#[derive(Debug)]
pub struct EtcdServer {
    port: u16,
    peer_port: u16,
    process: Process,
    folder: TempDir,
}

impl EtcdServer {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no `etcd`; `make test` installs it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, peer_port) = (free_port(), free_port());
        let process = Self::spawn(&folder, port, peer_port).await;
        Self { port, peer_port, process, folder }
    }

    async fn spawn(folder: &TempDir, port: u16, peer_port: u16) -> Process {
        let (url, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let mut process = Process::spawn("etcd (installed by `make test`)", &mut command);
        process.line("ready to serve client requests").await;
        process
    }

    /// Its address, `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again on its old port, after [`EtcdServer::kill`].
    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, self.port, self.peer_port).await;
    }
}

/// A port that nobody listens on now. etcd must be told which it has.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
