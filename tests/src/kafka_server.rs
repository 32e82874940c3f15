//! The Kafka cluster that librdkafka has for tests of its own, on ports that it chooses, in a process that can
//! be killed and paused.
//!
//! No Kafka can be had from the package sources that the tests use. This one is another program's idea of a
//! server: requests in the versions of Kafka's protocol, topics with partitions and leaders among several
//! servers, messages of format 2. It keeps no files, checks no login, cannot make topics when it is asked to
//! (it makes them when they are looked for), and answers a reader that finds nothing only when its time is
//! over, so readers must be impatient. `kcat` is the program in Debian that starts it.

use rustix::process::Signal;
use tokio::process::{ChildStdin, Command};

use crate::process::Process;

/// A running cluster.
#[derive(Debug)]
pub struct KafkaServer {
    brokers: Vec<String>,
    process: Process,
    /// It lives as long as this is open.
    _input: ChildStdin,
}

impl KafkaServer {
    /// Starts a cluster of so many servers and waits until they take connections.
    ///
    /// # Panics
    /// When there is no `kcat`; `make test` installs it.
    pub async fn start(n_servers: usize) -> Self {
        let mut command = Command::new("kcat");
        // A producer with nothing to send, which stays because its input stays open.
        command.args(["-P", "-b", "none", "-t", "none", "-d", "mock"]);
        command.args(["-X", &format!("test.mock.num.brokers={n_servers}")]);
        let mut process = Process::spawn("kcat (installed by `make test`)", &mut command);
        let input = process.take_stdin();
        let line = process.line("bootstrap.servers=").await;
        let brokers = line.rsplit("bootstrap.servers=").next().unwrap().trim();
        let brokers = brokers.split(',').map(str::to_owned).collect();
        Self { brokers, process, _input: input }
    }

    /// `host:port` of each server.
    #[must_use]
    pub fn brokers(&self) -> Vec<String> {
        self.brokers.clone()
    }

    /// Kills all of it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
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
