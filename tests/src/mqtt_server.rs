//! A real mosquitto on a port of its own, which can be killed and restarted on the same port.

use std::net::TcpListener;

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// User `u` with password `p@ secret`, as `mosquitto_passwd` writes them.
const PASSWORDS: &str = "u:$7$101$inyXsVmoJ9grcHQ9$6rJxvpICxp5gw2Geusg+fkX11jGTtlSCfpuoXr6dquIr\
                         exfyIgpHP45i19hfuJ/DC8vzP/i0FMzAAS2GZ3ob3Q==\n";

/// A running server.
#[derive(Debug)]
pub struct MqttServer {
    port: u16,
    process: Process,
    folder: TempDir,
}

impl MqttServer {
    /// Starts a server that lets everybody in, and waits until it takes connections.
    ///
    /// # Panics
    /// When there is no `mosquitto`; `make test` installs it.
    pub async fn start() -> Self {
        Self::start_with("allow_anonymous true\n").await
    }

    /// Starts a server with more lines in its configuration; `{FOLDER}` in them is its folder.
    ///
    /// # Panics
    /// As [`MqttServer::start`].
    pub async fn start_with(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let shown = folder.path().display().to_string();
        // As root it would become a user who cannot read its files.
        let text = format!(
            "user root\npersistence false\nlistener {port} 127.0.0.1\nmessage_size_limit 0\n{}",
            lines.replace("{FOLDER}", &shown)
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        std::fs::write(folder.path().join("passwords"), PASSWORDS).unwrap();
        let process = Self::spawn(&folder).await;
        Self { port, process, folder }
    }

    async fn spawn(folder: &TempDir) -> Process {
        let mut command = Command::new("mosquitto");
        command.args(["-v", "-c", "mosquitto.conf"]).current_dir(folder.path());
        // Debian keeps servers where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut process = Process::spawn("mosquitto (installed by `make test`)", &mut command);
        process.line(" running").await;
        process
    }

    /// Its address, `mqtt://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
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

    /// Starts it again on its old port, after [`MqttServer::kill`].
    pub async fn restart(&mut self) {
        self.process = Self::spawn(&self.folder).await;
    }
}
