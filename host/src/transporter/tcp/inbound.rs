//! What other nodes send: their connections, which are only read from.
//!
//! A connection costs nothing that its other side has not paid for: memory grows with the bytes that have
//! come, not with those that a header promises; one that has not shown a whole frame is closed after
//! [`FRAME_TIMEOUT`], or at once when too many newer ones wait; one that stops in the middle of a frame is
//! closed after the same time. What is wrong with a frame ends its connection and is counted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::clock::{self, Instant};
use crate::packet::PacketType;
use crate::task::{self, CancellationToken};
use crate::transporter::tcp::counters::{Counted, Counters};
use crate::transporter::tcp::frame::{self, Fault, HEADER_SIZE, Parsed};
use crate::transporter::tcp::socket;
use crate::transporter::tcp::topics::Topics;
use crate::transporter::{Event, Listener};

/// Connections of other nodes at once; one more is closed.
const INCOMING_MAX: usize = 2_048;

/// Connections that have not shown a whole frame yet; one more closes the oldest of them.
const NEW_MAX: usize = 128;

/// How long a frame may take from its first byte to its last, and a connection to its first frame.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// How much is read at once.
const READ_SIZE: usize = 64 << 10;

/// A read buffer that grew larger, for a large packet, is given back.
const BUFFER_KEPT_MAX: usize = 4 * READ_SIZE;

/// Pause after a connection could not be taken, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two reports of trouble.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Inbound {
    listener: Arc<dyn Listener>,
    topics: Arc<Topics>,
    counters: Counters,
    /// Largest frame in bytes.
    frame_max: usize,
    cancel: CancellationToken,
    /// How to end those that have not shown a whole frame yet, the oldest first.
    new: Mutex<VecDeque<CancellationToken>>,
    /// When trouble was last told of.
    last_report: Mutex<Option<Instant>>,
}

/// Why a connection was closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("it was closed")]
    End,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Frame(#[from] Fault),
    #[error("no whole frame came within {FRAME_TIMEOUT:?}")]
    Stalled,
    #[error("too many newer connections wait")]
    PushedOut,
}

impl Inbound {
    pub(super) fn new(
        listener: Arc<dyn Listener>,
        topics: Arc<Topics>,
        counters: Counters,
        frame_max: usize,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            listener,
            topics,
            counters,
            frame_max,
            cancel,
            new: Mutex::default(),
            last_report: Mutex::default(),
        }
    }

    /// Takes connections until it is cancelled.
    pub(super) async fn accept(self: Arc<Self>, server: TcpListener) {
        loop {
            match server.accept().await {
                Ok((socket, address)) => self.take(socket, address),
                Err(error) => {
                    self.report(format!("a connection cannot be taken: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, socket: TcpStream, address: SocketAddr) {
        let full = usize::try_from(self.counters.incoming.get()).is_ok_and(|n| n >= INCOMING_MAX);
        if full {
            self.counters.refused_connections.increment();
            return;
        }
        let counted = Counted::new(&self.counters.incoming);
        let shared = Arc::clone(self);
        task::spawn("tcp connection", &self.cancel, async move {
            let _counted = counted;
            shared.serve(socket, address).await;
        });
    }

    async fn serve(&self, socket: TcpStream, address: SocketAddr) {
        socket::prepare(&socket);
        let closed = self.read(socket, address).await;
        match &closed {
            Closed::End | Closed::Io(_) => {}
            Closed::Frame(_) => self.counters.refused_frames.increment(),
            Closed::Stalled => self.counters.stalled.increment(),
            Closed::PushedOut => self.counters.refused_connections.increment(),
        }
        match closed {
            Closed::End | Closed::Io(_) => {
                tracing::debug!(%address, %closed, "a connection of another node has ended");
            }
            _ => {
                self.report(format!("a connection from {address} was closed: {closed}"));
            }
        }
    }

    /// Tells of trouble, but not more often than every [`REPORT_PAUSE`]: strangers can cause any amount.
    fn report(&self, trouble: String) {
        let now = clock::now();
        let mut last = self.last_report.lock();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_PAUSE) {
            *last = Some(now);
            drop(last);
            self.listener.handle_event(Event::Trouble(trouble));
        }
    }

    /// Registers a connection that has not shown a whole frame yet.
    fn register_new(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let mut new = self.new.lock();
        new.retain(|token| !token.is_cancelled());
        if new.len() >= NEW_MAX
            && let Some(oldest) = new.pop_front()
        {
            oldest.cancel();
        }
        new.push_back(token.clone());
        token
    }

    async fn read(&self, mut socket: TcpStream, address: SocketAddr) -> Closed {
        let mut reader = Reader {
            inbound: self,
            buffer: BytesMut::with_capacity(READ_SIZE),
            hello: self.topics.hello_from(address.ip().to_canonical()),
            partial_since: Some(clock::now()),
        };
        let pushed_out = self.register_new();
        let first = tokio::select! {
            first = reader.read(&mut socket, true) => first,
            () = pushed_out.cancelled() => return Closed::PushedOut,
        };
        // From now on it is none of the new ones.
        pushed_out.cancel();
        match first {
            Err(closed) => closed,
            Ok(()) => match reader.read(&mut socket, false).await {
                Ok(()) => Closed::End,
                Err(closed) => closed,
            },
        }
    }
}

/// One connection.
struct Reader<'a> {
    inbound: &'a Inbound,
    buffer: BytesMut,
    /// The topic of a HELLO from here.
    hello: String,
    /// Since when a frame is awaited or incomplete.
    partial_since: Option<Instant>,
}

impl Reader<'_> {
    /// Reads frames, all or (with `one`) until there was one.
    async fn read(&mut self, socket: &mut TcpStream, one: bool) -> Result<(), Closed> {
        loop {
            let (n_frames, missing) = self.handle_all()?;
            if one && n_frames > 0 {
                return Ok(());
            }
            if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_MAX {
                self.buffer = BytesMut::new();
            }
            // What a header promises is believed as far as has come already.
            let wanted = missing.min(self.buffer.len()).max(READ_SIZE);
            self.buffer.reserve(wanted);
            let read = socket.read_buf(&mut self.buffer);
            let n = match self.partial_since {
                None => read.await?,
                Some(since) => tokio::time::timeout_at(since + FRAME_TIMEOUT, read)
                    .await
                    .map_err(|_| Closed::Stalled)??,
            };
            if n == 0 {
                return Err(Closed::End);
            }
        }
    }

    /// Hands on all that is whole. Returns how many frames that were, and how much is missing of the next.
    fn handle_all(&mut self) -> Result<(usize, usize), Fault> {
        let mut frames = Frames {
            topics: &self.inbound.topics,
            hello: &self.hello,
            frame_max: self.inbound.frame_max,
            bytes: &self.buffer,
            done: 0,
            n_frames: 0,
            end: None,
        };
        let end = loop {
            self.inbound.listener.handle_messages(&mut frames);
            // Unless the listener left some.
            if let Some(end) = frames.end.take() {
                break end;
            }
        };
        let (done, n_frames) = (frames.done, frames.n_frames);
        self.buffer.advance(done);
        if self.buffer.is_empty() && n_frames > 0 {
            self.partial_since = None;
        } else if n_frames > 0 || self.partial_since.is_none() && !self.buffer.is_empty() {
            self.partial_since = Some(clock::now());
        }
        end.map(|missing| (n_frames, missing))
    }
}

/// The packets in what was read.
struct Frames<'a> {
    topics: &'a Topics,
    hello: &'a str,
    frame_max: usize,
    bytes: &'a [u8],
    /// Bytes that were handled.
    done: usize,
    n_frames: usize,
    /// How much is missing, or what is wrong, once that is reached.
    end: Option<Result<usize, Fault>>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = (&'a str, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        let (kind, size) = match frame::parse(rest, self.frame_max) {
            Ok(Parsed::Whole { kind, size }) => (kind, size),
            Ok(Parsed::Partial { missing }) => {
                self.end = Some(Ok(missing));
                return None;
            }
            Err(fault) => {
                self.end = Some(Err(fault));
                return None;
            }
        };
        self.done += size;
        self.n_frames += 1;
        let topic = match kind {
            PacketType::GossipHello => self.hello,
            kind => self.topics.incoming(kind),
        };
        // Copied, so that a small packet that is kept does not keep all that was read with it.
        let packet = rest.get(HEADER_SIZE..size).unwrap_or_default();
        Some((topic, Bytes::copy_from_slice(packet)))
    }
}
