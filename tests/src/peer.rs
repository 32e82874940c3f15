//! A real Moleculer broker in a Node.js process, driven by a test through `tests/peers/peer.js`.
//!
//! Values cross with their JavaScript kind, see [`value`]; errors come with all their fields.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::Mutex;

use crate::network::Cable;
use crate::process::Process;
use crate::{tree, wait};

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    node_id: String,
    process: Process,
    stdin: Mutex<ChildStdin>,
    last_id: AtomicU64,
}

/// Which Moleculer a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 0.14, protocol 4.
    V14,
    /// 0.15, protocol 5.
    V15,
}

impl Version {
    /// As people say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V14 => "0.14",
            Self::V15 => "0.15",
        }
    }
}

/// A JSON value for a peer.
#[must_use]
pub fn value(value: &Value) -> Value {
    json!({"kind": "value", "value": value})
}

/// JavaScript's `undefined` for a peer.
#[must_use]
pub fn undefined() -> Value {
    json!({"kind": "undefined"})
}

impl Peer {
    /// Starts a 0.15 broker with the services of `tests/peers/services.js`. `options` go over
    /// `{nodeID, transporter}`.
    pub async fn start(node_id: &str, transporter: &str, options: Value) -> Self {
        Self::listening(Version::V15, node_id, transporter, options, &[]).await
    }

    /// As [`Peer::start`], with services that record the events they get: `(service, pattern, group)`.
    pub async fn listening(
        version: Version,
        node_id: &str,
        transporter: &str,
        options: Value,
        listeners: &[(&str, &str, &str)],
    ) -> Self {
        let peer = Self::script("peer.js", version, node_id);
        peer.begin(transporter, options, listeners).await;
        peer
    }

    /// As [`Peer::start`], at the other end of a cable.
    pub async fn beyond(cable: &Cable, node_id: &str, transporter: &str, options: Value) -> Self {
        let peer = Self::run(cable.command("node"), "peer.js", Version::V15, node_id);
        peer.begin(transporter, options, &[]).await;
        peer
    }

    async fn begin(&self, transporter: &str, options: Value, listeners: &[(&str, &str, &str)]) {
        let node_id = &self.node_id;
        let mut all = json!({"nodeID": node_id, "transporter": transporter});
        all.as_object_mut().unwrap().extend(options.as_object().cloned().unwrap_or_default());
        let listen: Vec<Value> = listeners
            .iter()
            .map(|(service, event, group)| {
                let group = if group.is_empty() { Value::Null } else { json!(group) };
                json!({"service": service, "event": event, "group": group})
            })
            .collect();
        self.ask("start", json!({"options": all, "listen": listen})).await.unwrap();
    }

    /// Starts another script that is driven in the same way.
    ///
    /// # Panics
    /// When the peers are not installed.
    #[must_use]
    pub fn script(script: &str, version: Version, node_id: &str) -> Self {
        Self::run(Command::new("node"), script, version, node_id)
    }

    fn run(mut command: Command, script: &str, version: Version, node_id: &str) -> Self {
        let folder = tree::top().join("tests/peers");
        assert!(
            folder.join("node_modules").is_dir(),
            "the Moleculer peers are not installed: run `make peers`"
        );
        command.args([script, version.name()]).current_dir(folder);
        let mut process = Process::spawn(&format!("the peer '{node_id}'"), &mut command);
        let stdin = Mutex::new(process.take_stdin());
        Self { node_id: node_id.to_owned(), process, stdin, last_id: AtomicU64::new(0) }
    }

    /// Its node ID.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Runs a command of `peer.js`.
    ///
    /// # Errors
    /// The JavaScript error with all its fields.
    pub async fn ask(&self, command: &str, args: Value) -> Result<Value, Value> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = args.as_object().cloned().unwrap_or_default();
        line.insert("id".into(), id.into());
        line.insert("do".into(), command.into());
        let line = Value::Object(line).to_string() + "\n";
        self.stdin.lock().await.write_all(line.as_bytes()).await.unwrap();
        let prefix = format!("#{id} ");
        let what = format!("'{}' to answer {line}", self.node_id);
        let answer = wait::for_result(&what, self.process.output().line(&prefix)).await;
        let mut answer: Value = serde_json::from_str(&answer[prefix.len()..]).unwrap();
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Calls an action and gives the plain result.
    ///
    /// # Errors
    /// As [`Peer::ask`].
    pub async fn call(&self, action: &str, params: Value) -> Result<Value, Value> {
        let answer = self.call_with(action, value(&params), json!({})).await?;
        Ok(answer["result"]["value"].clone())
    }

    /// Calls an action with params made by [`value`] or [`undefined`] and call options; gives
    /// `{result: {kind, value}, meta, headers}`.
    ///
    /// # Errors
    /// As [`Peer::ask`].
    pub async fn call_with(
        &self,
        action: &str,
        params: Value,
        options: Value,
    ) -> Result<Value, Value> {
        self.ask("call", json!({"action": action, "params": params, "options": options})).await
    }

    /// Waits until the services (full names) are there.
    pub async fn wait_for_services(&self, services: &[&str]) {
        let args = json!({"services": services, "timeout": 20_000});
        self.ask("waitForServices", args).await.unwrap();
    }

    /// Waits until a node is available, or is not, and gives what the peer knows of it.
    pub async fn wait_for_node(&self, node_id: &str, available: bool) -> Value {
        let args = json!({"nodeID": node_id, "available": available, "timeout": 20_000});
        self.ask("waitForNode", args).await.unwrap()
    }

    /// Waits until its listeners have got `count` events of this name, and gives all of them.
    pub async fn received(&self, event: &str, count: usize) -> Vec<Value> {
        let args = json!({"event": event, "count": count, "timeout": 20_000});
        self.ask("received", args).await.unwrap().as_array().cloned().unwrap()
    }

    /// Forgets the events so far.
    pub async fn clear(&self) {
        self.ask("clear", json!({})).await.unwrap();
    }

    /// Stops the broker as Moleculer does, with a DISCONNECT.
    pub async fn stop(&self) {
        self.ask("stop", json!({})).await.unwrap();
    }

    /// Kills the process without a word to anybody.
    pub async fn kill(mut self) {
        self.process.kill().await;
    }

    /// Freezes the process: its connections stay open and nothing is said.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }
}
