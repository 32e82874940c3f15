//! What a service manager is told: the node is ready, it lives, it stops (systemd: sd_notify(3)).
//!
//! The manager names a socket in `NOTIFY_SOCKET`, and how often it wants to hear from the node in
//! `WATCHDOG_USEC`. Without them nothing is sent. What cannot be sent is logged once and costs nothing else:
//! the manager then does what it does with a node that says nothing. Not here: what the words mean to it.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::task::{self, CancellationToken};

/// The way to the service manager, when there is one.
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often a sign of life is sent: half of what is asked for.
    interval: Option<Duration>,
}

impl Manager {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let socket = variable("NOTIFY_SOCKET").and_then(|path| match open(&path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, ?path, "the service manager cannot be reached");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // A watchdog may be meant for another process of the unit.
        let own = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let asked = number("WATCHDOG_USEC").filter(|usec| own && *usec > 0);
        let interval = asked.map(|usec| Duration::from_micros((usec / 2).max(1)));
        Self { socket, interval }
    }

    /// The node serves. From now on, signs of life are sent until `cancel`.
    pub fn ready(&self, status: &str, cancel: &CancellationToken) {
        self.say(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
        let (Some(interval), Some((socket, to))) = (self.interval, &self.socket) else { return };
        let Ok(socket) = socket.try_clone() else { return };
        let to = to.clone();
        // On the threads that serve: when none of them gets on, there is no sign of life.
        task::spawn("watchdog", cancel, async move {
            let mut beats = tokio::time::interval(interval);
            loop {
                beats.tick().await;
                let _ = socket.send_to_addr(b"WATCHDOG=1", &to);
            }
        });
    }

    /// The node has begun to stop, which takes this long at most.
    pub fn stopping(&self, grace: Duration) {
        // A little more than the node takes: it is ended by itself first.
        let usec = (grace + Duration::from_secs(5)).as_micros();
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}"));
    }

    fn say(&self, words: &str) {
        let Some((socket, to)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), to) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

fn open(path: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let bytes = path.as_bytes();
    // A name that begins with @ is in the abstract namespace.
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the node.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
