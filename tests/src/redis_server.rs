//! A real redis-server on a port of its own, which can be killed, restarted on the same port and paused.

use std::net::TcpListener;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::tree;

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    /// Whether TLS is spoken on that port.
    tls: bool,
    process: Process,
    folder: TempDir,
    args: Vec<String>,
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
        let server = Self::start_member().await;
        server.ask(&["cluster", "addslotsrange", "0", "16383"]).await;
        server.until_cluster_serves().await;
        server
    }

    /// Starts a cluster of three servers.
    ///
    /// # Panics
    /// When they do not find together.
    pub async fn start_cluster_of_three() -> [Self; 3] {
        let all =
            [Self::start_member().await, Self::start_member().await, Self::start_member().await];
        let mut cli = Command::new("redis-cli");
        cli.args(["--cluster", "create"]);
        cli.args(all.iter().map(|server| format!("127.0.0.1:{}", server.port)));
        let output = cli.arg("--cluster-yes").output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        for server in &all {
            server.until_cluster_serves().await;
        }
        all
    }

    async fn start_member() -> Self {
        let bus = free_port().to_string();
        let bus = ["--cluster-port", &bus, "--cluster-announce-ip", "127.0.0.1"];
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        Self::start_with(&[&enabled[..], &bus[..]].concat()).await
    }

    async fn until_cluster_serves(&self) {
        crate::wait::until("the cluster to serve", || async {
            self.ask(&["cluster", "info"]).await.contains("cluster_state:ok").then_some(())
        })
        .await;
    }

    /// Starts a server with more arguments.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_with(args: &[&str]) -> Self {
        Self::start_on(free_port(), false, args).await
    }

    /// Starts a server that speaks TLS only, with the certificate of `tests/tls`.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_tls() -> Self {
        let file = |name: &str| tree::top().join("tests/tls").join(name).display().to_string();
        let port = free_port();
        let args = [
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &file("server.pem")],
            ["--tls-key-file", &file("server.key")],
            ["--tls-ca-cert-file", &file("ca.pem")],
            ["--tls-auth-clients", "no"],
        ];
        Self::start_on(port, true, &args.concat()).await
    }

    async fn start_on(port: u16, tls: bool, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = if tls { 0 } else { port }.to_string();
        let args: Vec<String> =
            ["--port", &plain].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let process = Self::spawn(&folder, &args).await;
        Self { port, tls, process, folder, args }
    }

    async fn spawn(folder: &TempDir, args: &[String]) -> Process {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1"]);
        // In memory only: a server that is started again is empty.
        command.args(["--save", "", "--appendonly", "no"]).args(args).current_dir(folder.path());
        let mut process = Process::spawn("redis-server (installed by `make test`)", &mut command);
        process.line("Ready to accept connections").await;
        process
    }

    /// Its address: `redis://127.0.0.1:PORT`, or `rediss://localhost:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        if self.tls {
            // The name in the certificate.
            format!("rediss://localhost:{}", self.port)
        } else {
            format!("redis://127.0.0.1:{}", self.port)
        }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
        self.process = Self::spawn(&self.folder, &self.args).await;
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
