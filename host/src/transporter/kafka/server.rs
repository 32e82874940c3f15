//! A connection with one server of a cluster: one request at a time, and its answer.

use std::time::Duration;

use bytes::{Buf as _, Bytes};

use crate::config::transporter::kafka::Options;
use crate::transporter::address::{Address, Scheme};
use crate::transporter::link::{Lost, Socket};

use super::login;
use super::protocol::{self, Malformed, Node, Request};

/// How long an answer may take, beside the time for which a server was allowed to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const PLAIN: Scheme = Scheme { name: "kafka", tls: false, port: 9092 };
const TLS: Scheme = Scheme { name: "kafka", tls: true, port: 9092 };

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The connection is lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The answer has so many bytes and was not read; the connection is lost with it.
    #[error("an answer has {0} bytes")]
    TooLarge(usize),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Lost(malformed())
    }
}

/// What is said of an answer that cannot be taken apart.
pub(super) fn malformed() -> Lost {
    Lost::Protocol("an answer is not what was asked for")
}

/// The connection.
pub(super) struct Server {
    socket: Socket,
    client_id: String,
    /// Of the last request.
    number: i32,
    /// Bytes of the largest answer that is read.
    answer_max: usize,
}

impl Server {
    /// Connects and logs in.
    pub(super) async fn open(
        node: &Node,
        options: &Options,
        answer_max: usize,
    ) -> Result<Self, Lost> {
        let scheme = if options.tls { TLS } else { PLAIN };
        let (host, port) = (node.host.clone(), node.port);
        let address = Address { scheme, host, port, login: None, path: None };
        let socket = Socket::open(&address).await?;
        let client_id = options.client_id.clone();
        let mut server = Self { socket, client_id, number: 0, answer_max };
        if let Some(sasl) = &options.sasl {
            login::log_in(&mut server, sasl).await?;
        }
        Ok(server)
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Bytes, Lost> {
        self.ask_patiently(request, Duration::ZERO).await.map_err(|fault| match fault {
            Fault::Lost(lost) => lost,
            Fault::TooLarge(_) => Lost::Protocol("an answer is too large"),
        })
    }

    /// Asks a server that may wait so long before it answers.
    pub(super) async fn ask_patiently(
        &mut self,
        request: &Request,
        wait: Duration,
    ) -> Result<Bytes, Fault> {
        let asked = tokio::time::timeout(wait + ANSWER_TIMEOUT, self.exchange(request)).await;
        asked.unwrap_or(Err(Fault::Lost(Lost::Silent)))
    }

    async fn exchange(&mut self, request: &Request) -> Result<Bytes, Fault> {
        self.number = self.number.wrapping_add(1);
        let frame = protocol::frame(request, self.number, &self.client_id);
        self.socket.write(&frame).await?;
        let size = loop {
            if let Some(size) = self.socket.buffer.first_chunk() {
                break usize::try_from(i32::from_be_bytes(*size)).map_err(|_| malformed())?;
            }
            self.socket.read(4).await?;
        };
        if size > self.answer_max {
            return Err(Fault::TooLarge(size));
        }
        while self.socket.buffer.len() < size + 4 {
            self.socket.read(size + 4 - self.socket.buffer.len()).await?;
        }
        self.socket.buffer.advance(4);
        let mut answer = self.socket.buffer.split_to(size).freeze();
        // One question at a time is open, so every answer is that to the last.
        if answer.len() < 4 || answer.get_i32() != self.number {
            return Err(malformed().into());
        }
        Ok(answer)
    }
}
