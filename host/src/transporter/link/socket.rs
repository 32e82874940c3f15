//! A socket to a server, with or without encryption, and what was read from it and not yet looked at.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls;
use crate::transporter::address::Address;
use crate::transporter::link::Lost;

/// How long a server may take to accept a connection and to agree on its encryption.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at once.
const READ_SIZE: usize = 64 << 10;

/// A read buffer that grew larger, for a large message, is given back.
const BUFFER_KEPT_MAX: usize = 4 * READ_SIZE;

/// Both halves and the read buffer.
pub(in crate::transporter) struct Socket {
    pub(in crate::transporter) source: Box<dyn AsyncRead + Send + Unpin>,
    pub(in crate::transporter) sink: Box<dyn AsyncWrite + Send + Unpin>,
    pub(in crate::transporter) buffer: BytesMut,
}

impl Socket {
    /// Connects to a server.
    pub(in crate::transporter) async fn open(address: &Address) -> Result<Self, Lost> {
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, Self::try_open(address)).await;
        opened.unwrap_or(Err(Lost::Silent))
    }

    async fn try_open(address: &Address) -> Result<Self, Lost> {
        let socket = TcpStream::connect((&*address.host, address.port)).await?;
        // What is sent in one moment is gathered before it is written; waiting for more would only delay it.
        socket.set_nodelay(true)?;
        if address.scheme.tls {
            let stream = tls::encrypt(socket, &address.host).await.map_err(Lost::Tls)?;
            let (source, sink) = tokio::io::split(stream);
            return Ok(Self::new(Box::new(source), Box::new(sink)));
        }
        let (source, sink) = socket.into_split();
        Ok(Self::new(Box::new(source), Box::new(sink)))
    }

    fn new(
        source: Box<dyn AsyncRead + Send + Unpin>,
        sink: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> Self {
        Self { source, sink, buffer: BytesMut::with_capacity(READ_SIZE) }
    }

    /// Writes at once, for the time before there is an outbox.
    pub(in crate::transporter) async fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.sink.write_all(bytes).await?;
        self.sink.flush().await?;
        Ok(())
    }

    /// Reads once; `missing` bytes at least are known to come.
    pub(in crate::transporter) async fn read(&mut self, missing: usize) -> Result<(), Lost> {
        read_more(&mut *self.source, &mut self.buffer, missing).await
    }
}

/// Reads once into a buffer.
pub(in crate::transporter) async fn read_more(
    source: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut BytesMut,
    missing: usize,
) -> Result<(), Lost> {
    if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT_MAX {
        *buffer = BytesMut::new();
    }
    // Memory for a large packet is taken as it comes, not as it is announced.
    buffer.reserve(missing.clamp(READ_SIZE, buffer.len().max(READ_SIZE)));
    match source.read_buf(buffer).await? {
        0 => Err(Lost::Closed),
        _ => Ok(()),
    }
}
