//! A Moleculer JS broker that measures itself on command: `tests/peers/bench/broker.js`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::Mutex;

use crate::bench::PAYLOAD;
use crate::process::Process;
use crate::{tree, wait};

/// A running broker.
#[derive(Debug)]
pub struct JsBroker {
    process: Process,
    stdin: Mutex<ChildStdin>,
    last_id: AtomicU64,
    /// Versions of Moleculer and Node.js, for the head of the table.
    versions: String,
}

impl JsBroker {
    /// Starts a broker; `service` is the name of its echo service, if it has one.
    ///
    /// # Panics
    /// When Moleculer is not installed; `make bench` installs it.
    pub async fn start(options: Value, service: Option<&str>) -> Self {
        let folder = tree::top().join("tests/peers");
        assert!(folder.join("node_modules").is_dir(), "Moleculer is missing: run `make peers`");
        let mut command = Command::new("node");
        command.args(["bench/broker.js"]).current_dir(folder);
        let mut process = Process::spawn("Moleculer JS", &mut command);
        let stdin = Mutex::new(process.take_stdin());
        let mut broker =
            Self { process, stdin, last_id: AtomicU64::new(0), versions: String::new() };
        let answer = broker.ask("start", json!({"options": options, "service": service})).await;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        broker.versions = format!("Moleculer JS {} on Node.js {}", text("version"), text("node"));
        broker
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Versions of Moleculer and Node.js.
    #[must_use]
    pub fn versions(&self) -> &str {
        &self.versions
    }

    /// Waits until a service is known, and sees that its echo works.
    pub async fn check_echo(&self, service: &str) {
        self.ask("waitForServices", json!({"services": [service]})).await;
        let params: Value = serde_json::from_str(PAYLOAD).unwrap();
        let action = format!("{service}.echo");
        let answer = self.ask("call", json!({"action": action, "params": params})).await;
        assert_eq!(answer, params, "{action}");
    }

    /// Seconds per call of calls one after the other.
    pub async fn sequence(&self, action: &str, slice: Duration) -> f64 {
        let (calls, seconds) = self.measure("sequence", action, PAYLOAD, 1, slice).await;
        seconds / calls
    }

    /// Calls per second with `parallel` in flight.
    pub async fn load(&self, action: &str, params: &str, parallel: usize, slice: Duration) -> f64 {
        let (calls, seconds) = self.measure("load", action, params, parallel, slice).await;
        calls / seconds
    }

    /// Events per second, with a call of the action after so many events.
    ///
    /// # Panics
    /// When one fails.
    pub async fn event_load(
        &self,
        (action, event, per_call): (&str, &str, u32),
        broadcast: bool,
        slice: Duration,
    ) -> f64 {
        let data: Value = serde_json::from_str(PAYLOAD).unwrap();
        let ms = slice.as_secs_f64() * 1e3;
        let args = json!({"action": action, "event": event, "data": data, "perCall": per_call,
            "broadcast": broadcast, "ms": ms});
        let answer = self.ask("events", args).await;
        answer["events"].as_f64().unwrap() / (answer["ms"].as_f64().unwrap() / 1e3)
    }

    /// Bytes per second of streams of `n_chunks` chunks, one after the other. `command` is `upload`, which takes
    /// an action that counts what it is sent, or `download`, which takes one that gives a stream.
    ///
    /// # Panics
    /// When one fails.
    pub async fn stream(
        &self,
        command: &str,
        action: &str,
        n_chunks: usize,
        slice: Duration,
    ) -> f64 {
        let ms = slice.as_secs_f64() * 1e3;
        let answer = self.ask(command, json!({"action": action, "n": n_chunks, "ms": ms})).await;
        answer["bytes"].as_f64().unwrap() / (answer["ms"].as_f64().unwrap() / 1e3)
    }

    async fn measure(
        &self,
        command: &str,
        action: &str,
        params: &str,
        parallel: usize,
        slice: Duration,
    ) -> (f64, f64) {
        let params: Value = serde_json::from_str(params).unwrap();
        let ms = slice.as_secs_f64() * 1e3;
        let args = json!({"action": action, "params": params, "parallel": parallel, "ms": ms});
        let answer = self.ask(command, args).await;
        (answer["calls"].as_f64().unwrap(), answer["ms"].as_f64().unwrap() / 1e3)
    }

    async fn ask(&self, command: &str, args: Value) -> Value {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = args.as_object().cloned().unwrap();
        line.insert("id".into(), id.into());
        line.insert("do".into(), command.into());
        let line = Value::Object(line).to_string() + "\n";
        self.stdin.lock().await.write_all(line.as_bytes()).await.unwrap();
        let prefix = format!("#{id} ");
        let what = format!("Moleculer JS to answer {line}");
        let answer = wait::for_result(&what, self.process.output().line(&prefix)).await;
        let mut answer: Value = serde_json::from_str(&answer[prefix.len()..]).unwrap();
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
        answer["ok"].take()
    }
}
