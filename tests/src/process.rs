//! A child process whose output a test reads line by line while it runs.
//!
//! Output is always read to its end, so a child never blocks on a full pipe. The child is killed when the
//! handle is dropped.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use isomer_host::task;

use crate::wait;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Output,
    readers: Vec<AbortOnDropHandle<()>>,
}

/// The lines that a child has written so far, stdout and stderr as they came.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Lines>);

#[derive(Debug, Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    more: Notify,
}

impl Process {
    /// Starts a child; `name` is how failures call it.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.kill_on_drop(true).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = Output::default();
        let readers = vec![
            task::run(output.clone().read(child.stdout.take().unwrap())),
            task::run(output.clone().read(child.stderr.take().unwrap())),
        ];
        Self { name: name.to_owned(), child, output, readers }
    }

    /// The child's stdin; it can be taken once.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// The lines.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Process ID.
    ///
    /// # Panics
    /// When the child has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it and everything that it has started, when it was made the first of a group.
    pub fn kill_group(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            // A group that has just ended needs no killing.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Kills it and waits until it has gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        let what = format!("the end of {}; it wrote:\n{}", self.name, self.output.text());
        wait::for_result(&what, self.child.wait()).await.unwrap()
    }

    /// The first line, past or to come, that holds `needle`.
    ///
    /// # Panics
    /// When the child ends before, or takes too long.
    pub async fn line(&mut self, needle: &str) -> String {
        self.line_within(wait::PATIENCE, needle).await
    }

    /// As [`Process::line`], for what may take longer.
    ///
    /// # Panics
    /// As [`Process::line`].
    pub async fn line_within(&mut self, patience: Duration, needle: &str) -> String {
        let name = self.name.clone();
        let output = self.output.clone();
        let readers = &mut self.readers;
        let ended = async {
            let status = self.child.wait().await.unwrap();
            // What it wrote last is read after its end.
            for reader in readers.iter_mut().filter(|reader| !reader.is_finished()) {
                let _ = reader.await;
            }
            status
        };
        let found = wait::within(patience, "a line of output", self.output.line(needle));
        tokio::select! {
            biased;
            line = found => line,
            status = ended => output.first(needle).unwrap_or_else(|| {
                panic!("{name} ended ({status}) before it wrote '{needle}':\n{}", output.text())
            }),
        }
    }
}

impl Output {
    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.lines.lock().join("\n")
    }

    /// The first line so far that holds `needle`.
    fn first(&self, needle: &str) -> Option<String> {
        self.0.lines.lock().iter().find(|line| line.contains(needle)).cloned()
    }

    /// The first line, past or to come, that holds `needle`.
    pub async fn line(&self, needle: &str) -> String {
        loop {
            let more = self.0.more.notified();
            tokio::pin!(more);
            // Registered before looking, so that a line which comes in between is not missed.
            more.as_mut().enable();
            match self.first(needle) {
                Some(line) => return line,
                None => more.await,
            }
        }
    }

    async fn read(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.0.lines.lock().push(line);
            self.0.more.notify_waiters();
        }
    }
}
