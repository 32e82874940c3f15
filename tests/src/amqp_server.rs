//! A real rabbitmq-server on ports of its own, which can be killed and restarted on the same ports.
//!
//! It takes some seconds to start, so scenarios that do no harm share one and keep apart by their
//! namespaces. Erlang's port mapper, which comes with it, is one for the machine and stays.

use std::net::TcpListener;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::{tree, wait};

/// Some seconds on an idle machine, of which much is work for the processor.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// A running server.
#[derive(Debug)]
pub struct AmqpServer {
    port: u16,
    tls_port: u16,
    distribution: u16,
    process: Process,
    folder: TempDir,
}

impl AmqpServer {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no `rabbitmq-server`; `make test` installs it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, tls_port, distribution) = (free_port(), free_port(), free_port());
        let process = Self::spawn(&folder, port, tls_port, distribution).await;
        Self { port, tls_port, distribution, process, folder }
    }

    async fn spawn(folder: &TempDir, port: u16, tls_port: u16, distribution: u16) -> Process {
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("plugins"), "[].\n").unwrap();
        let file = |name: &str| tree::top().join("tests/tls").join(name).display().to_string();
        let lines = format!(
            "log.console = true\nlog.console.level = info\nlog.file = false\n\
             listeners.ssl.default = 127.0.0.1:{tls_port}\nssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n",
            file("ca.pem"),
            file("server.pem"),
            file("server.key"),
        );
        std::fs::write(at("rabbitmq.conf"), lines).unwrap();
        // The script of Debian becomes another user; what it starts does as well without.
        let script = "/usr/lib/rabbitmq/bin/rabbitmq-server";
        let program =
            if std::path::Path::new(script).exists() { script } else { "rabbitmq-server" };
        let mut command = Command::new(program);
        command.current_dir(folder.path()).process_group(0);
        let name = format!("isomer-{port}@localhost");
        command.env("HOME", folder.path()).env("RABBITMQ_NODENAME", name);
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", port.to_string());
        command.env("RABBITMQ_DIST_PORT", distribution.to_string());
        command.env("RABBITMQ_MNESIA_BASE", at("mnesia")).env("RABBITMQ_LOG_BASE", at("log"));
        command.env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"));
        command.env("RABBITMQ_PID_FILE", at("pid"));
        command
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +sbwtdcpu none +sbwtdio none");
        let mut process =
            Process::spawn("rabbitmq-server (installed by `make test`)", &mut command);
        process.line_within(START_PATIENCE, "Server startup complete").await;
        process
    }

    /// Its address, `amqp://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// Its address with encryption, `amqps://localhost:PORT`; the certificate is that of `tests/tls`.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("amqps://localhost:{}", self.tls_port)
    }

    /// Kills it, with everything that its script has started.
    pub async fn kill(&mut self) {
        self.process.kill_group();
        self.process.kill().await;
        // A port that is still open would belong to the old one.
        wait::until("the server's port to be free", || async {
            TcpListener::bind(("127.0.0.1", self.port)).ok()
        })
        .await;
    }

    /// Starts it again on its old ports, after [`AmqpServer::kill`]. Durable queues are still there.
    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder, self.port, self.tls_port, self.distribution).await;
    }
}

impl Drop for AmqpServer {
    fn drop(&mut self) {
        self.process.kill_group();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
