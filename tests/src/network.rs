//! A network of its own behind a cable that a test can cut: a network namespace of Linux and a pair of
//! virtual interfaces.
//!
//! That needs the rights of root and `ip`; where they are missing, [`Cable::lay`] says so. Packets of a cut
//! cable are lost without a word, as in a real network and unlike with a process that is killed.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::Command;

/// Cables of this process.
static LAID: AtomicU32 = AtomicU32::new(0);

/// A cable between this machine and a network namespace.
#[derive(Debug)]
pub struct Cable {
    name: String,
    /// Third byte of its addresses, 10.213.N.1 and 10.213.N.2.
    net: u32,
}

impl Cable {
    /// Makes a namespace and lays the cable.
    ///
    /// # Errors
    /// Why it cannot be laid here.
    pub async fn lay() -> Result<Self, String> {
        let n = LAID.fetch_add(1, Ordering::Relaxed);
        let net = (std::process::id() + n) % 250;
        let cable = Self { name: format!("iso{}x{n}", std::process::id()), net };
        let Self { name, .. } = &cable;
        let (near, far) = (cable.near(), format!("10.213.{net}.2/24"));
        ip(&["netns", "add", name]).await?;
        ip(&[
            "link",
            "add",
            &format!("{name}a"),
            "type",
            "veth",
            "peer",
            "name",
            &format!("{name}b"),
        ])
        .await?;
        ip(&["link", "set", &format!("{name}b"), "netns", name]).await?;
        ip(&["addr", "add", &format!("{near}/24"), "dev", &format!("{name}a")]).await?;
        ip(&["link", "set", &format!("{name}a"), "up"]).await?;
        ip(&["-n", name, "addr", "add", &far, "dev", &format!("{name}b")]).await?;
        ip(&["-n", name, "link", "set", &format!("{name}b"), "up"]).await?;
        Ok(cable)
    }

    /// Address of this end.
    #[must_use]
    pub fn near(&self) -> String {
        format!("10.213.{}.1", self.net)
    }

    /// A command that runs at the other end.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Cuts it: nothing gets through in either direction.
    ///
    /// # Panics
    /// When that fails.
    pub async fn cut(&self) {
        ip(&["-n", &self.name, "link", "set", &format!("{}b", self.name), "down"]).await.unwrap();
    }

    /// Mends it.
    ///
    /// # Panics
    /// When that fails.
    pub async fn mend(&self) {
        ip(&["-n", &self.name, "link", "set", &format!("{}b", self.name), "up"]).await.unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The interfaces go with the namespace. Nobody can be told that it stayed.
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

async fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
}
