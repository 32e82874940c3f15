//! Moleculer's API gateway and its console in Node.js processes, and the plain HTTP that tests speak to the
//! former.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, Command};

use crate::peer::Version;
use crate::process::Process;
use crate::{tree, wait};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    port: String,
    _stdin: ChildStdin,
    _process: Process,
}

/// What the gateway answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

fn package(version: Version) -> &'static str {
    match version {
        Version::V14 => "0.14",
        Version::V15 => "0.15",
    }
}

fn command(script: &str, version: Version, transporter: &str) -> Command {
    let options = json!({"nodeID": script, "transporter": transporter}).to_string();
    let mut command = Command::new("node");
    command.args([script, package(version), &options]);
    command.current_dir(tree::top().join("tests/peers"));
    command
}

impl Gateway {
    /// Starts a gateway that makes its routes of what the services of the mesh say.
    pub async fn start(version: Version, transporter: &str) -> Self {
        let mut command = command("gateway.js", version, transporter);
        let mut process = Process::spawn("the gateway", &mut command);
        // Waiting for a line would close it, and then the gateway ends.
        let stdin = process.take_stdin();
        let line = process.line("listening on ").await;
        let port = line.rsplit(' ').next().unwrap().to_owned();
        Self { port, _stdin: stdin, _process: process }
    }

    /// Sends one request with one header beside the length and reads its response to the end.
    pub async fn request(&self, method: &str, path: &str, header: &str, body: &[u8]) -> Response {
        let what = format!("a response to {method} {path}");
        let head = format!(
            "{method} {path} HTTP/1.0\r\n{header}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = async {
            let mut connection =
                TcpStream::connect(format!("127.0.0.1:{}", self.port)).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            connection.write_all(body).await.unwrap();
            let mut bytes = Vec::new();
            connection.read_to_end(&mut bytes).await.map(|_| bytes)
        };
        parse(&wait::for_result(&what, exchange).await.unwrap())
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, "Accept: */*", b"").await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, value: &Value) -> Response {
        let header = "Content-Type: application/json";
        self.request("POST", path, header, value.to_string().as_bytes()).await
    }

    /// Gets a path until there is something: routes are made when the services have become known.
    pub async fn until_found(&self, path: &str) {
        wait::until(&format!("the route {path}"), || async {
            (self.get(path).await.status != 404).then_some(())
        })
        .await;
    }
}

fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Response { status, headers, body: bytes[end + 4..].to_vec() }
}

/// A running console.
#[derive(Debug)]
pub struct Console {
    process: Process,
    stdin: ChildStdin,
    /// Where it keeps what was typed.
    home: TempDir,
}

impl Console {
    /// Starts a console on a node that knows these services.
    pub async fn start(version: Version, transporter: &str, services: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = command("console.js", version, transporter);
        command.args(services).env("HOME", home.path());
        command.env("NO_COLOR", "1").env("FORCE_COLOR", "0");
        let mut process = Process::spawn("the console", &mut command);
        let stdin = process.take_stdin();
        process.line("the console begins").await;
        Self { process, stdin, home }
    }

    /// Types a command and waits for a line of output that holds `needle`; gives that line.
    ///
    /// # Panics
    /// With everything that the console wrote, when there is no such line.
    pub async fn run(&mut self, command: &str, needle: &str) -> String {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let output = self.process.output();
        match tokio::time::timeout(wait::PATIENCE, output.line(needle)).await {
            Ok(line) => line,
            Err(_) => panic!("'{command}' did not write '{needle}':\n{}", output.text()),
        }
    }

    /// A folder of its own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.home.path()
    }
}
