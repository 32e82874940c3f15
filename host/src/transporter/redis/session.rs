//! From an address to two connections that a server has accepted: one to publish, one to subscribe
//! (moleculer: src/transporters/redis.js connect).

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls;
use crate::transporter::redis::address::Server;
use crate::transporter::redis::protocol::{self, Fault, Op, Parsed};
use crate::transporter::writer::Sink;

/// How long a server may take from the first packet to its acceptance.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
pub(super) const READ_SIZE: usize = 64 << 10;

/// Why there is no connection with a server, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server speaks something else.
    #[error("{0}")]
    Protocol(#[from] Fault),
    /// The server's own words, such as `NOAUTH Authentication required.`
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server closed the connection. It does that, too, when it has kept messages for too long.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("the server does not answer")]
    Silent,
    /// TLS cannot be spoken with it.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Two connections that were accepted.
pub(super) struct Session {
    pub(super) publisher: Stream,
    pub(super) subscriber: Stream,
}

/// One connection.
pub(super) struct Stream {
    pub(super) source: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) sink: Sink,
    /// What was read and not yet looked at.
    pub(super) buffer: BytesMut,
}

impl Session {
    /// Connects to one server.
    pub(super) async fn open(server: &Server, client_name: &str) -> Result<Self, Lost> {
        let open = || Stream::open(server, client_name);
        let both = async { tokio::try_join!(open(), open()) };
        let both = tokio::time::timeout(HANDSHAKE_TIMEOUT, both).await;
        let (publisher, subscriber) = both.unwrap_or(Err(Lost::Silent))?;
        Ok(Self { publisher, subscriber })
    }
}

impl Stream {
    async fn open(server: &Server, client_name: &str) -> Result<Self, Lost> {
        let socket = TcpStream::connect((server.host(), server.port())).await?;
        // Packets are gathered before they are written; waiting for more would only delay them.
        socket.set_nodelay(true)?;
        let (mut words, answers) = first_words(server, client_name);
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        if server.tls() {
            let stream = tls::encrypt(socket, server.host()).await.map_err(Lost::Tls)?;
            let (mut source, mut sink) = tokio::io::split(stream);
            sink.write_all_buf(&mut words).await?;
            sink.flush().await?;
            read_answers(&mut source, &mut buffer, answers).await?;
            return Ok(Self { source: Box::new(source), sink: Sink::Task(Box::new(sink)), buffer });
        }
        let (mut source, mut sink) = socket.into_split();
        sink.write_all_buf(&mut words).await?;
        read_answers(&mut source, &mut buffer, answers).await?;
        Ok(Self { source: Box::new(source), sink: Sink::Plain(Arc::new(sink)), buffer })
    }
}

/// An answer to one of the first words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The server must not refuse.
    Needed,
    /// It may.
    Optional,
}

/// What is said first, and which answers that has: who we are, and a PING whose answer says whether a server
/// that wants a password has heard one.
fn first_words(server: &Server, client_name: &str) -> (bytes::Bytes, Vec<Answer>) {
    let mut out = Vec::new();
    let mut answers = Vec::new();
    if let Some((user, password)) = server.login() {
        answers.push(Answer::Needed);
        match user {
            Some(user) => {
                protocol::command(&mut out, &[b"AUTH", user.as_bytes(), password.as_bytes()]);
            }
            None => protocol::command(&mut out, &[b"AUTH", password.as_bytes()]),
        }
    }
    // Shown by CLIENT LIST, where a name is one word. A server that takes no names is none the worse for it.
    if client_name.bytes().all(|byte| byte.is_ascii_graphic()) {
        answers.push(Answer::Optional);
        protocol::command(&mut out, &[b"CLIENT", b"SETNAME", client_name.as_bytes()]);
    }
    answers.push(Answer::Needed);
    protocol::command(&mut out, &[b"PING"]);
    (out.into(), answers)
}

/// Reads the answers to the first words.
async fn read_answers(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    answers: Vec<Answer>,
) -> Result<(), Lost> {
    for answer in answers {
        let size = loop {
            match protocol::parse(buffer, 0)? {
                Parsed::Whole { op: Op::Error(cause), .. } if answer == Answer::Needed => {
                    return Err(Lost::Refused(cause.into()));
                }
                Parsed::Whole { op: Op::Text(_) | Op::Error(_), size } => break size,
                Parsed::Whole { .. } | Parsed::TooLarge { .. } => {
                    return Err(Fault::Malformed("no answer to what was asked".into()).into());
                }
                Parsed::Partial { .. } => read_more(source, buffer).await?,
            }
        };
        buffer.advance(size);
    }
    Ok(())
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
