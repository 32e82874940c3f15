//! Streams over the control socket: after the request, the chunks that go with it; after the response, the
//! chunks that it consists of. Each is a frame; the last one says that it is the last.
//!
//! Back-pressure is the socket's: who does not read lets the other side wait. Nobody is made to hurry: a
//! person may look at the result through a pager.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::admin::protocol::{self, Body, Error};
use crate::error::MoleculerError;
use crate::payload::stream::{StreamReader, StreamWriter};

/// Bytes of a stream that wait at either end of the socket.
pub const BUFFER: usize = 1 << 20;

/// A chunk must be taken within this time.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(600);

/// One frame of a stream. The body of the frame holds the chunk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Part {
    /// A chunk.
    Chunk(Body),
    /// There is no more.
    End,
    /// The source failed: Moleculer's wire form of the error.
    Failed(Box<RawValue>),
}

/// How receiving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// With the end of the stream, good or bad.
    All,
    /// Nobody reads the stream any more; the rest of it is still to come.
    Unread,
    /// The other side is gone, or broke the rules.
    Gone,
}

/// Sends a stream to its end.
///
/// # Errors
/// [`Error`]; what the source fails with is sent.
pub async fn send<W>(to: &mut W, stream: &mut StreamReader) -> Result<(), Error>
where
    W: AsyncWrite + Unpin,
{
    loop {
        let (part, body) = match stream.next().await {
            Ok(Some(chunk)) => {
                let (body, bytes) = Body::of(&chunk);
                (Part::Chunk(body), bytes)
            }
            Ok(None) => (Part::End, bytes::Bytes::new()),
            Err(error) => {
                let error = RawValue::from_string(error.to_wire("").to_string());
                let error = error.map_err(|error| Error::Malformed(error.to_string()))?;
                (Part::Failed(error), bytes::Bytes::new())
            }
        };
        protocol::write_within(to, &part, &body, CHUNK_TIME_MAX).await?;
        if !matches!(part, Part::Chunk(_)) {
            return Ok(());
        }
    }
}

/// Receives a stream, as fast as it is read. A source that goes away before the end fails it. When nobody
/// reads any more it may stop inside a frame.
pub async fn receive<R>(from: &mut R, stream: StreamWriter) -> Received
where
    R: AsyncRead + Unpin,
{
    loop {
        let next = tokio::select! {
            next = protocol::read::<Part, _>(from) => next,
            () = stream.closed() => return Received::Unread,
        };
        let Ok(Some((part, body))) = next else { return Received::Gone };
        match part {
            Part::Chunk(kind) => {
                let Ok(chunk) = kind.into_payload(body) else { return Received::Gone };
                if stream.write(chunk).await.is_err() {
                    return Received::Unread;
                }
            }
            Part::End => {
                stream.end();
                return Received::All;
            }
            Part::Failed(error) => {
                stream.fail(error_of(&error));
                return Received::All;
            }
        }
    }
}

fn error_of(wire: &RawValue) -> MoleculerError {
    let wire = serde_json::from_str(wire.get()).unwrap_or_default();
    MoleculerError::from_wire(wire, &Arc::from(""))
}
