//! A connection of this node to another: made when there is something to say, and only written to.
//!
//! Each direction has a connection of its own, so nothing is expected to come in here; that it ends is how
//! the loss of a node is noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::task::CancellationToken;
use crate::transporter::tcp::outbox::{Ended, Outbox};
use crate::transporter::tcp::socket;

/// How long a node may take to be connected to, over all of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that is not needed any more may take to write what is left.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to one node.
pub(super) struct Link {
    pub(super) outbox: Arc<Outbox>,
    /// When it was last used, as a count of uses of all connections. Gossip does not count.
    last_used: AtomicU64,
    /// Ends it, after what is left has been written.
    finish: CancellationToken,
}

/// Why a connection is no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It was never made.
    #[error("it cannot be connected to: {0}")]
    Unreachable(String),
    /// The other side closed it.
    #[error("it closed the connection")]
    Closed,
    /// Reading failed.
    #[error("the connection failed: {0}")]
    Read(std::io::Error),
    /// Writing failed.
    #[error("it cannot be written to: {0}")]
    Write(Ended),
    /// This side is done with it.
    #[error("finished")]
    Finished,
}

impl Lost {
    /// Moleculer's word for it: a node that ends its connections has left, one that cannot be reached is
    /// lost (moleculer: src/transporters/tcp.js startTcpServer, send).
    pub(super) fn unexpected(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Write(_))
    }
}

impl Link {
    /// A connection that is to be made; `number` and `first` are its first frame.
    pub(super) fn new(number: u8, first: &[u8], used: u64) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(number, first)),
            last_used: AtomicU64::new(used),
            finish: CancellationToken::new(),
        }
    }

    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    pub(super) fn set_used(&self, used: u64) {
        self.last_used.store(used, Ordering::Relaxed);
    }

    /// Lets it end when it has written what is there.
    pub(super) fn finish(&self) {
        self.outbox.finish();
        self.finish.cancel();
    }

    /// Makes the connection and keeps it until it ends; why it did.
    pub(super) async fn run(&self, addresses: &[Arc<str>], port: u16) -> Lost {
        let socket = match connect(addresses, port).await {
            Ok(socket) => socket,
            Err(cause) => return Lost::Unreachable(cause),
        };
        let (mut source, sink) = socket.into_split();
        let sink = Arc::new(sink);
        self.outbox.open(Arc::clone(&sink));
        let finish_in_time = async {
            self.finish.cancelled().await;
            tokio::time::sleep(FINISH_TIMEOUT).await;
        };
        tokio::select! {
            lost = wait_for_end(&mut source) => lost,
            ended = self.outbox.write_rest(&sink) => match ended {
                Ended::Finished => Lost::Finished,
                failed => Lost::Write(failed),
            },
            () = finish_in_time => Lost::Finished,
        }
    }
}

/// Tries the addresses in turn.
async fn connect(addresses: &[Arc<str>], port: u16) -> Result<TcpStream, String> {
    let mut causes = Vec::new();
    let attempts = async {
        for address in addresses {
            match TcpStream::connect((&**address, port)).await {
                Ok(socket) => return Some(socket),
                Err(error) => causes.push(format!("{address}:{port}: {error}")),
            }
        }
        None
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, attempts).await;
    match connected {
        Ok(Some(socket)) => {
            socket::prepare(&socket);
            Ok(socket)
        }
        Ok(None) if causes.is_empty() => Err("it has no address".into()),
        Ok(None) => Err(causes.join("; ")),
        Err(_) => {
            causes.push(format!("no answer within {CONNECT_TIMEOUT:?}"));
            Err(causes.join("; "))
        }
    }
}

/// What comes in is no packet of Moleculer's and is dropped.
async fn wait_for_end(source: &mut OwnedReadHalf) -> Lost {
    let mut dropped = [0; 1_024];
    loop {
        match source.read(&mut dropped).await {
            Ok(0) => return Lost::Closed,
            Ok(_) => {}
            Err(error) => return Lost::Read(error),
        }
    }
}
