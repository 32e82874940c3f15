//! A server that takes what exporters and reporters send by HTTP or UDP, and shows it; and a reader of Thrift's
//! binary encoding, in which Jaeger's spans are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use isomer_host::task;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::wait;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST /path HTTP/1.1`
    pub line: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// Its body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The server.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    status: Arc<AtomicU16>,
    requests: mpsc::Receiver<Received>,
    connections: Arc<Mutex<usize>>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    /// Starts it on a port of its own; it answers 202.
    pub async fn start() -> Self {
        Self::on(0).await
    }

    /// The same on a port that is known.
    pub async fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let status = Arc::new(AtomicU16::new(202));
        let connections = Arc::new(Mutex::new(0));
        let (sender, requests) = mpsc::channel(10_000);
        let (answer, count) = (Arc::clone(&status), Arc::clone(&connections));
        let _serving = task::run(async move {
            // Ends the connections with it.
            let mut open = Vec::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                *count.lock() += 1;
                let talk = talk(socket, Arc::clone(&answer), sender.clone());
                open.push(task::run(async move {
                    let _ = talk.await;
                }));
            }
        });
        Self { port, status, requests, connections, _serving }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers so from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// How many connections it has had.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.lock()
    }

    /// The next request.
    pub async fn next(&mut self) -> Received {
        wait::for_result("a request of an exporter", self.requests.recv()).await.unwrap()
    }

    /// Whether requests have come that nobody has taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

async fn talk(
    socket: TcpStream,
    status: Arc<AtomicU16>,
    requests: mpsc::Sender<Received>,
) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            socket.read_line(&mut header).await?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let body = match headers.get("content-length") {
            Some(size) => read_exact(&mut socket, size.parse().unwrap()).await?,
            None if headers.contains_key("transfer-encoding") => read_chunks(&mut socket).await?,
            None => Vec::new(),
        };
        let status = status.load(Ordering::Relaxed);
        let received = Received { line: line.trim_end().to_owned(), headers, body };
        requests.send(received).await.unwrap();
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await?;
    }
}

async fn read_exact(
    socket: &mut (impl AsyncRead + Unpin),
    size: usize,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    socket.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A body whose size is told piece by piece.
async fn read_chunks(socket: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        socket.read_line(&mut size).await?;
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        body.extend(read_exact(socket, size).await?);
        socket.read_line(&mut String::new()).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// What a value looks like: the same keys, with the kinds of their values; lists as the kinds of their items.
#[must_use]
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(number) if number.is_f64() => json!("fraction"),
        Value::Number(_) => json!("integer"),
        Value::String(_) => json!("text"),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> =
                fields.iter().map(|(key, value)| (key, shape(value))).collect();
            json!(sorted)
        }
    }
}

/// Reads a struct of Thrift's binary encoding: its fields by number.
#[must_use]
pub fn thrift(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = thrift_value(12, &mut rest);
    assert!(rest.is_empty(), "{} bytes follow", rest.len());
    value
}

/// Reads a call of Thrift's binary encoding: its name and the struct of its arguments.
#[must_use]
pub fn thrift_call(bytes: &[u8]) -> (String, Value) {
    assert_eq!(&bytes[..3], [0x80, 1, 0]);
    assert!([1, 4].contains(&bytes[3]), "a call, or one without an answer");
    let size = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let name = String::from_utf8(bytes[8..8 + size].to_vec()).unwrap();
    (name, thrift(&bytes[12 + size..]))
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk().unwrap();
    *rest = left;
    *taken
}

fn thrift_value(kind: u8, rest: &mut &[u8]) -> Value {
    match kind {
        2 => json!(take::<1>(rest)[0] != 0),
        4 => json!(f64::from_be_bytes(take(rest))),
        8 => json!(i32::from_be_bytes(take(rest))),
        // All digits, whatever reads this.
        10 => json!(format!("{:016x}", u64::from_be_bytes(take(rest)))),
        11 => {
            let size = u32::from_be_bytes(take(rest)) as usize;
            let (text, left) = rest.split_at(size);
            *rest = left;
            json!(String::from_utf8_lossy(text))
        }
        12 => {
            let mut fields = Map::new();
            loop {
                let [kind] = take(rest);
                if kind == 0 {
                    return fields.into();
                }
                let field = u16::from_be_bytes(take(rest));
                fields.insert(field.to_string(), thrift_value(kind, rest));
            }
        }
        15 => {
            let [kind] = take(rest);
            let items = u32::from_be_bytes(take(rest));
            (0..items).map(|_| thrift_value(kind, rest)).collect()
        }
        other => panic!("type {other} of Thrift"),
    }
}
