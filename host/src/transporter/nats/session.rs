//! From an address to a connection that a server has accepted: TCP, INFO, TLS, CONNECT.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls;
use crate::transporter::nats::address::{Auth, Server};
use crate::transporter::nats::protocol::{self, Fault, Op, Parsed, ServerInfo};
use crate::transporter::writer::Sink;

/// How long a server may take from the first packet to its acceptance.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
pub(super) const READ_SIZE: usize = 64 << 10;

/// Largest message of servers that do not say theirs: the default of nats-server.
const PAYLOAD_DEFAULT: usize = 1 << 20;

/// Why there is no connection with a server, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server speaks something else.
    #[error("{0}")]
    Protocol(#[from] Fault),
    /// The server's own words, such as `Authorization Violation`.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("the server does not answer")]
    Silent,
    /// TLS cannot be spoken with it.
    #[error("TLS: {0}")]
    Tls(String),
}

/// A connection that was accepted.
pub(super) struct Session {
    pub(super) source: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) sink: Sink,
    /// What was read and not yet looked at.
    pub(super) buffer: BytesMut,
    pub(super) info: ServerInfo,
}

impl Session {
    /// Largest message that the server takes, in bytes.
    pub(super) fn payload_max(&self) -> usize {
        self.info.max_payload.unwrap_or(PAYLOAD_DEFAULT)
    }

    /// Connects to one server.
    pub(super) async fn open(
        server: &Server,
        auth: &Auth,
        client_name: &str,
    ) -> Result<Self, Lost> {
        let handshake = Self::handshake(server, auth, client_name);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(Lost::Silent))
    }

    async fn handshake(server: &Server, auth: &Auth, client_name: &str) -> Result<Self, Lost> {
        let mut socket = TcpStream::connect((server.host.as_str(), server.port)).await?;
        // Packets are gathered before they are written; waiting for more would only delay them.
        socket.set_nodelay(true)?;
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        let info = read_info(&mut socket, &mut buffer).await?;
        let nonce = &*info.nonce.clone().unwrap_or_default();
        if !server.tls && !info.tls_required {
            let (mut source, mut sink) = socket.into_split();
            sink.write_all(&protocol::connect(auth, client_name, false, nonce)).await?;
            wait_for_pong(&mut source, &mut buffer).await?;
            let (source, sink) = (Box::new(source), Sink::Plain(Arc::new(sink)));
            return Ok(Self { source, sink, buffer, info });
        }
        if !buffer.is_empty() {
            // Whatever was said before the encryption began may be anybody's words.
            return Err(Lost::Tls("the server speaks before the handshake".into()));
        }
        let stream = tls::encrypt(socket, &server.host).await.map_err(Lost::Tls)?;
        let (mut source, mut sink) = tokio::io::split(stream);
        sink.write_all(&protocol::connect(auth, client_name, true, nonce)).await?;
        sink.flush().await?;
        wait_for_pong(&mut source, &mut buffer).await?;
        Ok(Self { source: Box::new(source), sink: Sink::Task(Box::new(sink)), buffer, info })
    }
}

/// The first words of a server.
async fn read_info(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<ServerInfo, Lost> {
    loop {
        let (info, size) = match protocol::parse(buffer)? {
            Parsed::Whole { op: Op::Info(text), size } => (ServerInfo::read(text)?, size),
            Parsed::Whole { op: Op::Err(cause), .. } => return Err(Lost::Refused(cause.into())),
            Parsed::Whole { .. } => return Err(Fault::Malformed("no INFO".into()).into()),
            Parsed::Partial { .. } => {
                read_more(source, buffer).await?;
                continue;
            }
        };
        buffer.advance(size);
        return Ok(info);
    }
}

/// Waits until the server has accepted what we said.
async fn wait_for_pong(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<(), Lost> {
    loop {
        let (accepted, size) = match protocol::parse(buffer)? {
            Parsed::Whole { op: Op::Err(cause), .. } => return Err(Lost::Refused(cause.into())),
            Parsed::Whole { op, size } => (op == Op::Pong, size),
            Parsed::Partial { .. } => {
                read_more(source, buffer).await?;
                continue;
            }
        };
        buffer.advance(size);
        if accepted {
            return Ok(());
        }
    }
}

/// Reads once.
pub(super) async fn read_more(
    source: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
) -> Result<(), Lost> {
    match source.read_buf(buffer).await? {
        0 => Err(Lost::Closed),
        _ => Ok(()),
    }
}
