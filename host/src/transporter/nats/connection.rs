//! A connection's life: it is read and written, kept alive, lost, and made again for ever.
//!
//! One task does all of it, so that messages are handed on in their order and without a queue in between:
//! who listens is called in the read loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::backoff;
use crate::clock;
use crate::transporter::nats::address::{Auth, Server};
use crate::transporter::nats::outbox::Outbox;
use crate::transporter::nats::protocol::{self, Op, Parsed, ServerInfo};
use crate::transporter::nats::session::{Lost, READ_SIZE, Session, read_more};
use crate::transporter::{Event, Listener};

/// How often the server is asked whether it is alive. Two questions without an answer end the connection:
/// half a minute at most, which is less than the usual time-out of heartbeats.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer that end the connection.
const PINGS_MAX: u64 = 2;

/// Longest pause between two attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Servers that a cluster names beside those that were configured.
const DISCOVERED_MAX: usize = 64;

/// A read buffer that grew larger, for a large message, is given back.
const BUFFER_KEPT_MAX: usize = 4 * READ_SIZE;

/// A connection and where else it could be.
pub(super) struct Connection {
    pub(super) outbox: Arc<Outbox>,
    listener: Arc<dyn Listener>,
    servers: Servers,
    auth: Auth,
    client_name: String,
}

/// The servers, tried in turn beginning with `next`.
struct Servers {
    all: Vec<Server>,
    n_configured: usize,
    next: usize,
}

impl Servers {
    /// The server to try now; the one after it is next.
    fn take(&mut self) -> Option<Server> {
        let server = self.all.get(self.next % self.all.len().max(1)).cloned();
        self.next = self.next.wrapping_add(1);
        server
    }

    /// A server tells where the others of its cluster are. What an earlier one told is forgotten.
    fn discovered(&mut self, info: &ServerInfo) {
        let Some(current) = self.all.first() else { return };
        let tls = current.tls || info.tls_required;
        self.all.truncate(self.n_configured);
        let found = info.connect_urls.iter().filter_map(|url| Server::parse(tls, url).ok());
        for server in found.take(DISCOVERED_MAX) {
            let same = |known: &Server| known.host == server.host && known.port == server.port;
            if !self.all.iter().any(same) {
                self.all.push(server);
            }
        }
    }
}

impl Connection {
    /// A connection that is not made yet.
    pub(super) fn new(
        servers: Vec<Server>,
        auth: Auth,
        client_name: String,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let n_configured = servers.len();
        let servers = Servers { all: servers, n_configured, next: 0 };
        Self { outbox: Arc::default(), listener, servers, auth, client_name }
    }

    /// Tries each server once. The error names all that failed.
    pub(super) async fn connect(&mut self) -> Result<Session, String> {
        let mut causes = Vec::new();
        for _ in 0..self.servers.all.len() {
            let Some(server) = self.servers.take() else { break };
            match Session::open(&server, &self.auth, &self.client_name).await {
                Ok(session) => {
                    self.servers.discovered(&session.info);
                    self.outbox.open(&session.sink, session.payload_max());
                    return Ok(session);
                }
                Err(lost) => causes.push((server, lost)),
            }
        }
        Err(match causes.as_slice() {
            [(_, lost)] => lost.to_string(),
            _ => {
                let causes: Vec<_> =
                    causes.iter().map(|(server, lost)| format!("{server}: {lost}")).collect();
                causes.join("; ")
            }
        })
    }

    /// Serves a session and those that follow it, until the task is cancelled.
    pub(super) async fn run(mut self, mut session: Session) {
        loop {
            let lost = self.serve(session).await;
            self.outbox.close();
            self.listener.handle_event(Event::Disconnected);
            let mut trouble = lost.to_string();
            self.listener.handle_event(Event::Trouble(trouble.clone()));
            session = self.reconnect(&mut trouble).await;
            self.listener.handle_event(Event::Reconnected);
        }
    }

    /// Tries until it works. The same trouble is told once.
    async fn reconnect(&mut self, last_trouble: &mut String) -> Session {
        let mut attempt = 0;
        loop {
            tokio::time::sleep(backoff::delay(attempt, RECONNECT_DELAY_MAX)).await;
            match self.connect().await {
                Ok(session) => return session,
                Err(trouble) if trouble == *last_trouble => {}
                Err(trouble) => {
                    last_trouble.clone_from(&trouble);
                    self.listener.handle_event(Event::Trouble(trouble));
                }
            }
            attempt += 1;
        }
    }

    /// Reads, writes and asks for signs of life until one of them fails.
    async fn serve(&mut self, session: Session) -> Lost {
        let Session { mut source, mut sink, mut buffer, .. } = session;
        let outbox = Arc::clone(&self.outbox);
        tokio::select! {
            lost = self.read(&mut *source, &mut buffer) => lost,
            error = outbox.writer.write_rest(&mut sink) => Lost::Io(error),
            lost = keep_alive(&outbox) => lost,
        }
    }

    async fn read(
        &mut self,
        source: &mut (dyn AsyncRead + Send + Unpin),
        buffer: &mut BytesMut,
    ) -> Lost {
        loop {
            let missing = match self.handle_all(buffer) {
                Ok(missing) => missing,
                Err(lost) => return lost,
            };
            if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT_MAX {
                *buffer = BytesMut::new();
            }
            buffer.reserve(missing.max(READ_SIZE));
            if let Err(lost) = read_more(source, buffer).await {
                return lost;
            }
        }
    }

    /// Handles all that is whole. Returns how much of the rest is missing at least.
    fn handle_all(&mut self, buffer: &mut BytesMut) -> Result<usize, Lost> {
        let listener = Arc::clone(&self.listener);
        let mut arrived = Messages { connection: self, bytes: buffer, done: 0, end: None };
        let end = loop {
            listener.handle_messages(&mut arrived);
            // Unless the listener left some.
            if let Some(end) = arrived.end.take() {
                break end;
            }
        };
        let done = arrived.done;
        buffer.advance(done);
        end
    }

    fn handle(&mut self, op: &Op<'_>) -> Result<(), Lost> {
        match op {
            Op::Ping => self.outbox.answer_ping(),
            Op::Pong => self.outbox.handle_pong(),
            // Messages go another way.
            Op::Ok | Op::Message { .. } => {}
            Op::Err("Slow Consumer") => self.listener.handle_event(Event::SlowConsumer),
            Op::Err(trouble) => {
                self.listener.handle_event(Event::Trouble((*trouble).to_owned()));
            }
            Op::Info(text) => {
                let info = ServerInfo::read(text)?;
                self.servers.discovered(&info);
                if info.ldm {
                    let trouble = "the server is going to shut down (lame duck mode)";
                    self.listener.handle_event(Event::Trouble(trouble.into()));
                }
            }
        }
        Ok(())
    }
}

/// The messages in what was read. What else the server says between them is handled on the way.
struct Messages<'a> {
    connection: &'a mut Connection,
    bytes: &'a [u8],
    /// Bytes that were handled.
    done: usize,
    /// How much is missing, or what is wrong, once that is reached.
    end: Option<Result<usize, Lost>>,
}

impl<'a> Iterator for Messages<'a> {
    type Item = (&'a str, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (op, size) = match protocol::parse(self.bytes.get(self.done..).unwrap_or_default())
            {
                Ok(Parsed::Whole { op, size }) => (op, size),
                Ok(Parsed::Partial { missing }) => {
                    self.end = Some(Ok(missing));
                    return None;
                }
                Err(fault) => {
                    self.end = Some(Err(fault.into()));
                    return None;
                }
            };
            self.done += size;
            if let Op::Message { topic, payload } = op {
                // Copied, so that a small message that is kept does not keep all that was read with it.
                return Some((topic, Bytes::copy_from_slice(payload)));
            }
            if let Err(lost) = self.connection.handle(&op) {
                self.end = Some(Err(lost));
                return None;
            }
        }
    }
}

async fn keep_alive(outbox: &Outbox) -> Lost {
    let mut ticks = interval_at(clock::now() + PING_INTERVAL, PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if outbox.ping() > PINGS_MAX {
            return Lost::Silent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_cluster_names_are_tried_after_the_configured_ones() {
        let server = |host: &str| Server::parse(false, host).unwrap();
        let all = vec![server("a"), server("b")];
        let mut servers = Servers { all, n_configured: 2, next: 0 };
        let info = |urls: &[&str]| ServerInfo {
            connect_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..ServerInfo::default()
        };
        servers.discovered(&info(&["b:4222", "c:4222", "not a host"]));
        servers.discovered(&info(&["b:4222", "d:1"]));
        let tried: Vec<_> = (0..4).map(|_| servers.take().unwrap().to_string()).collect();
        let expected = ["nats://a:4222", "nats://b:4222", "nats://d:1", "nats://a:4222"];
        assert_eq!(tried, expected);
        let many: Vec<_> = (0..1_000).map(|n| format!("h{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        servers.discovered(&info(&many));
        assert_eq!(servers.all.len(), 2 + DISCOVERED_MAX);
    }
}
