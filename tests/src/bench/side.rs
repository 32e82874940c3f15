//! The other side of a measurement: an echo or a node in a process of its own, as it is in a real mesh.
//!
//! `benches/table.rs` starts itself again for that. Tests on a tiny scale keep everything in one process.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use isomer_host::config::Limits;
use isomer_host::reload::Reloader;
use isomer_host::runtime::{CompileMode, Runtime, RuntimeOptions};
use isomer_host::task::{self, CancellationToken};

use crate::bench::raw_nats;
use crate::broker;
use crate::process::Process;

/// The first argument of the program when it is a side, not the benchmark.
pub const ARGUMENT: &str = "side";

/// Where sides run.
#[derive(Clone, Debug)]
pub enum Place {
    /// As a task of this process.
    Here,
    /// In a process of this program, which hands its arguments to [`main`].
    Program(PathBuf),
}

/// A side.
#[derive(Clone, Debug)]
pub enum Side {
    /// Answers raw requests.
    Echo {
        /// Address of the NATS server.
        url: String,
    },
    /// A whole node on the components of a folder, with hot reload.
    Node {
        /// Where its `services` are; its cache will be beside them.
        folder: PathBuf,
        /// Address of the NATS server.
        url: String,
    },
}

/// A side that runs until this is dropped.
#[derive(Debug)]
pub enum Running {
    /// In this process.
    Task(AbortOnDropHandle<()>),
    /// In its own.
    Process(Process),
}

/// The ID of the node of [`Side::Node`].
pub const NODE_ID: &str = "bench-node";

impl Side {
    /// Starts it. When it serves, it can be seen on the server.
    #[must_use]
    pub fn start(self, place: &Place) -> Running {
        match place {
            Place::Here => Running::Task(task::run(self.run())),
            Place::Program(program) => {
                let mut command = Command::new(program);
                command.arg(ARGUMENT).args(self.arguments());
                Running::Process(Process::spawn("the other side", &mut command))
            }
        }
    }

    fn arguments(self) -> Vec<PathBuf> {
        match self {
            Self::Echo { url } => vec!["echo".into(), url.into()],
            Self::Node { folder, url } => vec!["node".into(), url.into(), folder],
        }
    }

    async fn run(self) {
        match self {
            Self::Echo { url } => raw_nats::respond(raw_nats::listen(&url).await).await,
            Self::Node { folder, url } => serve(&folder, &url).await,
        }
    }
}

impl Running {
    /// Resident memory of its process, in bytes.
    ///
    /// # Panics
    /// On systems without `/proc`.
    #[must_use]
    pub fn resident(&self) -> f64 {
        let pid = match self {
            Self::Task(_) => std::process::id(),
            Self::Process(process) => process.pid(),
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024.0
    }
}

/// Runs the side that the arguments name, until the process is killed.
///
/// # Panics
/// When the arguments name none.
pub async fn main(arguments: &[String]) {
    let side = match arguments {
        [kind, url] if kind == "echo" => Side::Echo { url: url.clone() },
        [kind, url, folder] if kind == "node" => {
            Side::Node { folder: folder.into(), url: url.clone() }
        }
        _ => panic!("no such side: {arguments:?}"),
    };
    side.run().await;
}

async fn serve(folder: &Path, url: &str) {
    let broker = broker::start(broker::on_nats(NODE_ID, url)).await;
    let node_id = std::sync::Arc::clone(broker.node_id());
    let options = RuntimeOptions {
        compile_mode: CompileMode::InProcess,
        stack: Limits::default().stack,
        ..RuntimeOptions::new(folder.join("cache"), node_id)
    };
    let runtime = Runtime::new(options).unwrap();
    let reloader = Reloader::new(broker, runtime, vec![folder.join("services")]);
    let never = CancellationToken::new();
    reloader.start(true, &never).await.unwrap();
    std::future::pending::<()>().await;
}
