//! What is said over the control socket, and how much of it is listened to.
//!
//! A frame is two lengths (u32, big-endian), a JSON head and a body. The body is a payload as it is: JSON
//! text or raw bytes, neither escaped nor parsed. A client sends one request at a time and gets one
//! response for each; closing the connection ends the request. Streams come after either, as frames of
//! their own, and the connection ends with them.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::clock;
use crate::context::EventType;
use crate::payload::stream::{self, Stream, StreamWriter};
use crate::payload::{Object, Payload};

/// Bytes of a head: meta and names. Meta of a call is limited to 64 KiB anyway.
pub const HEAD_LEN_MAX: usize = 256 << 10;
/// Bytes of a body, as of a packet on the mesh.
pub const BODY_LEN_MAX: usize = 16 << 20;
/// A frame that has begun must have come, or gone, within this time.
pub const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
/// Clients at once. Each is a person or a script; a hundred of them is a runaway loop.
pub const CONNECTIONS_MAX: usize = 64;
/// A connection that asks nothing is closed after this time.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Why a frame was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke or was closed inside a frame.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Longer than is listened to.
    #[error("a frame of {len} bytes is longer than {max}")]
    TooLong {
        /// Announced length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The head or body has not the form it should have.
    #[error("a frame cannot be understood: {0}")]
    Malformed(String),
    /// The other side stalled.
    #[error("a frame took too long")]
    TooSlow,
}

/// What a client asks for. The body of the frame holds params or data.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Call an action.
    Call {
        /// Full name.
        action: String,
        /// Only this node.
        #[serde(rename = "nodeID")]
        node_id: Option<String>,
        /// Milliseconds.
        timeout: Option<u64>,
        /// Retries, instead of the policy's.
        retries: Option<u32>,
        /// Meta of the root context.
        meta: Option<Object>,
        /// Headers of the request.
        headers: Option<Object>,
        /// The chain's ID.
        #[serde(rename = "requestID")]
        request_id: Option<String>,
        /// What the body is.
        params: Body,
        /// A stream follows the frame, see `admin::stream`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<Mode>,
    },
    /// Send an event.
    Emit {
        /// Its name.
        event: String,
        /// To whom.
        kind: EventType,
        /// Only these groups.
        groups: Vec<String>,
        /// Meta of the root context.
        meta: Option<Object>,
        /// Headers of the event.
        headers: Option<Object>,
        /// What the body is.
        data: Body,
    },
    /// Wait for services.
    Wait {
        /// Full names.
        services: Vec<String>,
        /// Milliseconds.
        timeout: Option<u64>,
    },
    /// Ping nodes.
    Ping {
        /// Their IDs; none for all.
        nodes: Vec<String>,
        /// Milliseconds.
        timeout: u64,
    },
    /// Something about the versions of a service.
    Versions(Versions),
    /// Who are you?
    Info,
}

/// What is asked about the versions of a service, which is named in full, and about what services may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Versions {
    /// Which there are.
    List {
        /// The service.
        service: String,
    },
    /// Go back to an earlier one.
    RollBack {
        /// The service.
        service: String,
        /// How its digest begins; without it, the one before.
        version: Option<String>,
    },
    /// What all services may do.
    Grants,
}

/// What a node answers. The body of the frame holds the result.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// It was done.
    Ok {
        /// What the body is.
        result: Body,
    },
    /// It was done, and the result is a stream, which follows the frame, see `admin::stream`.
    Stream {
        /// What its chunks are.
        mode: Mode,
    },
    /// It was tried and failed: Moleculer's wire form of the error.
    Failed {
        /// The error.
        error: Box<RawValue>,
    },
    /// It was not tried; the connection is closed.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What the chunks of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Bytes.
    Bytes,
    /// Values.
    Objects,
}

impl Mode {
    /// That of a stream.
    #[must_use]
    pub fn of(stream: &Stream) -> Self {
        if stream.object_mode() { Self::Objects } else { Self::Bytes }
    }

    /// Both ends of a new stream, of which so much waits at most.
    #[must_use]
    pub fn channel(self, capacity: usize) -> (StreamWriter, Stream) {
        stream::channel(self == Self::Objects, capacity)
    }
}

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// Nothing.
    Absent,
    /// JSON text.
    Json,
    /// Raw bytes.
    Bytes,
}

impl Body {
    /// What a payload is as a body.
    #[must_use]
    pub fn of(payload: &Payload) -> (Self, Bytes) {
        match payload {
            Payload::Absent | Payload::Stream(_) => (Self::Absent, Bytes::new()),
            Payload::Json(text) => (Self::Json, text.as_bytes().clone()),
            Payload::Bytes(bytes) => (Self::Bytes, bytes.clone()),
        }
    }

    /// The payload of a body.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not JSON and should be.
    pub fn into_payload(self, body: Bytes) -> Result<Payload, Error> {
        match self {
            Self::Absent => Ok(Payload::Absent),
            Self::Bytes => Ok(Payload::Bytes(body)),
            Self::Json => {
                let text = ByteString::try_from(body)
                    .map_err(|_| Error::Malformed("the body is not UTF-8".into()))?;
                Payload::from_json_text(text).map_err(|error| Error::Malformed(error.to_string()))
            }
        }
    }
}

/// Reads one frame; `None` when the other side has closed between two frames.
///
/// # Errors
/// [`Error`].
pub async fn read<T, R>(stream: &mut R) -> Result<Option<(T, Bytes)>, Error>
where
    T: DeserializeOwned,
    R: AsyncRead + Unpin,
{
    let mut first = [0_u8; 1];
    if stream.read(&mut first).await? == 0 {
        return Ok(None);
    }
    let frame = tokio::time::timeout(FRAME_TIME_MAX, read_rest(stream, first));
    frame.await.map_err(|_| Error::TooSlow)?.map(Some)
}

async fn read_rest<T, R>(stream: &mut R, first: [u8; 1]) -> Result<(T, Bytes), Error>
where
    T: DeserializeOwned,
    R: AsyncRead + Unpin,
{
    let mut rest = [0_u8; 7];
    stream.read_exact(&mut rest).await?;
    let ([a], [b, c, d, e, f, g, h]) = (first, rest);
    let head = read_part(stream, u32::from_be_bytes([a, b, c, d]), HEAD_LEN_MAX).await?;
    let body = read_part(stream, u32::from_be_bytes([e, f, g, h]), BODY_LEN_MAX).await?;
    let head =
        serde_json::from_slice(&head).map_err(|error| Error::Malformed(error.to_string()))?;
    Ok((head, body))
}

async fn read_part<R>(stream: &mut R, len: u32, max: usize) -> Result<Bytes, Error>
where
    R: AsyncRead + Unpin,
{
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max {
        return Err(Error::TooLong { len, max });
    }
    // The buffer grows with what has really come: an announced length alone reserves nothing.
    let mut part = BytesMut::new();
    let mut limited = stream.take(len as u64);
    while part.len() < len {
        if limited.read_buf(&mut part).await? == 0 {
            return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(part.freeze())
}

/// Writes one frame.
///
/// # Errors
/// [`Error::TooLong`] before anything was written, [`Error::TooSlow`] and [`Error::Io`].
pub async fn write<T, W>(stream: &mut W, head: &T, body: &[u8]) -> Result<(), Error>
where
    T: Serialize,
    W: AsyncWrite + Unpin,
{
    write_within(stream, head, body, FRAME_TIME_MAX).await
}

/// The same with another limit of time.
///
/// # Errors
/// As [`write()`].
pub async fn write_within<T, W>(
    stream: &mut W,
    head: &T,
    body: &[u8],
    limit: Duration,
) -> Result<(), Error>
where
    T: Serialize,
    W: AsyncWrite + Unpin,
{
    let start = encode_head(head, body.len())?;
    let written = async {
        stream.write_all(&start).await?;
        stream.write_all(body).await?;
        stream.flush().await
    };
    let written = tokio::time::timeout_at(clock::now() + limit, written);
    Ok(written.await.map_err(|_| Error::TooSlow)??)
}

/// The beginning of a frame: lengths and head.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Malformed`] when the head has no JSON form.
pub fn encode_head<T: Serialize>(head: &T, body_len: usize) -> Result<Vec<u8>, Error> {
    let head = serde_json::to_vec(head).map_err(|error| Error::Malformed(error.to_string()))?;
    let length = |len: usize, max: usize| {
        let short = u32::try_from(len).ok().filter(|_| len <= max);
        short.ok_or(Error::TooLong { len, max })
    };
    let mut start = Vec::with_capacity(8 + head.len());
    start.extend_from_slice(&length(head.len(), HEAD_LEN_MAX)?.to_be_bytes());
    start.extend_from_slice(&length(body_len, BODY_LEN_MAX)?.to_be_bytes());
    start.extend_from_slice(&head);
    Ok(start)
}

/// Frames as a client could send them; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_frames(bytes: &[u8]) {
    use futures_util::FutureExt as _;
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let mut left = after;
        // What comes out of memory is there at once.
        let read = read_rest::<Request, _>(&mut left, [*first]).now_or_never();
        let Some(Ok((request, body))) = read else { return };
        assert!(left.len() + body.len() < rest.len(), "more than has come");
        if let Request::Call { params, .. } | Request::Emit { data: params, .. } = request {
            drop(params.into_payload(body));
        }
        rest = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_is_as_long_as_the_limits_and_no_longer() {
        // A text of JSON has two quotes.
        let check = async |head: usize, body: usize| {
            let head = "h".repeat(head - 2);
            let mut frame = Vec::new();
            write(&mut frame, &head, &vec![0; body]).await?;
            let read: Option<(String, Bytes)> = read(&mut &frame[..]).await?;
            assert_eq!(read.map(|(head, body)| (head.len(), body.len())), Some((head.len(), body)));
            Ok::<_, Error>(())
        };
        check(HEAD_LEN_MAX, BODY_LEN_MAX).await.unwrap();
        for (head, body) in [(HEAD_LEN_MAX + 1, 0), (10, BODY_LEN_MAX + 1)] {
            assert!(matches!(check(head, body).await, Err(Error::TooLong { .. })));
        }
        // Nor is a longer one read.
        let one_more = |max: usize| u32::try_from(max + 1).unwrap().to_be_bytes();
        let (none, head, body) = ([0; 4], one_more(HEAD_LEN_MAX), one_more(BODY_LEN_MAX));
        for frame in [[head, none].concat(), [[0, 0, 0, 2], body].concat()] {
            let bytes = [&frame[..], b"\"\""].concat();
            let read = read::<String, _>(&mut &bytes[..]).await;
            assert!(matches!(read, Err(Error::TooLong { .. })), "{read:?}");
        }
    }
}
