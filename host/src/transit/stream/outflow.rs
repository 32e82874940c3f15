//! Streams that go to other nodes: chunk after chunk is read and sent, until the end, an error, or until
//! nobody wants it any more.
//!
//! Back-pressure: the next chunk is read when the transporter has taken the last one, so that a socket that
//! does not drain stops the source.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::MoleculerError;
use crate::metrics::Metric;
use crate::packet::{Body, Request, Response};
use crate::payload::stream::StreamReader;
use crate::payload::{Object, Payload};
use crate::task::CancellationToken;
use crate::transit::Shared;
use crate::transit::stream::dialect::{Dialect, Marks};
use crate::transit::stream::{chunk, inflow};

/// The smallest piece into which a chunk is split that a server finds too large. Smaller ones would be
/// nothing but envelopes.
const PIECE_LEN_MIN: usize = 1 << 10;

/// The streams that go out.
pub(super) struct Outflows {
    entries: Mutex<HashMap<u64, Going>>,
    last_id: AtomicU64,
    limit: usize,
    /// Streams that are open.
    open: Metric,
    /// Rings when there are none any more.
    idle: Notify,
}

/// To which node a stream goes, and what stops it.
type Going = (Arc<str>, Arc<Control>);

/// How a stream is told to stop.
#[derive(Debug, Default)]
pub(in crate::transit) struct Control {
    stop: CancellationToken,
    reason: OnceLock<Stop>,
}

/// Why a stream stops before its end.
#[derive(Clone, Debug)]
enum Stop {
    /// The node that it goes to is gone: nothing more is to be said.
    NodeLost,
    /// The other side is to know why.
    Failed(MoleculerError),
}

/// One stream that goes out; off the list when it is dropped.
pub(in crate::transit) struct Outflow {
    outflows: Arc<Outflows>,
    id: u64,
    control: Arc<Control>,
}

impl Outflows {
    pub(super) fn new(limit: usize, open: Metric) -> Self {
        Self {
            entries: Mutex::default(),
            last_id: AtomicU64::new(0),
            limit,
            open,
            idle: Notify::new(),
        }
    }

    /// Puts one on the list; `Err` is the limit, when there are as many.
    pub(super) fn open(self: &Arc<Self>, node_id: &Arc<str>) -> Result<Outflow, usize> {
        let control = Arc::<Control>::default();
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries.lock();
        if entries.len() >= self.limit {
            return Err(self.limit);
        }
        entries.insert(id, (Arc::clone(node_id), Arc::clone(&control)));
        self.open.increment();
        Ok(Outflow { outflows: Arc::clone(self), id, control })
    }

    /// Waits until none is open.
    pub(super) async fn idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.entries.lock().is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Stops all that go to a node which is gone.
    pub(super) fn reject_node(&self, node_id: &str) {
        for (target, control) in self.entries.lock().values() {
            if &**target == node_id {
                control.end(Stop::NodeLost);
            }
        }
    }
}

impl Control {
    fn end(&self, why: Stop) {
        let _ = self.reason.set(why);
        self.stop.cancel();
    }

    /// Stops the stream; the other side is told why.
    pub(in crate::transit) fn fail(&self, error: MoleculerError) {
        self.end(Stop::Failed(error));
    }
}

impl Outflow {
    /// What stops it.
    pub(in crate::transit) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        let mut entries = self.outflows.entries.lock();
        entries.remove(&self.id);
        let none = entries.is_empty();
        drop(entries);
        self.outflows.open.add(-1);
        if none {
            self.outflows.idle.notify_waiters();
        }
    }
}

/// The packets of one stream.
pub(in crate::transit) struct Packets {
    /// Number of the next packet.
    seq: u32,
    dialect: Dialect,
    object_mode: bool,
    target: Arc<str>,
    /// What all of them have in common.
    common: Common,
}

enum Common {
    Request(Request),
    Response(Response),
}

/// What a packet says of the stream.
enum Saying {
    Chunk(Payload),
    End,
    Failure(MoleculerError),
}

impl Packets {
    /// Those of a request stream, with the one that begins it.
    pub(in crate::transit) fn of_request(
        mut request: Request,
        target: &Arc<str>,
        dialect: Dialect,
        object_mode: bool,
    ) -> (Self, Body) {
        (request.stream, request.seq) = (true, Some(0));
        let mut head = request.clone();
        dialect.mark_request(&mut head, Marks { object_mode, error: None });
        // The callee has its meta and its params from the first packet.
        request.meta = Object::default();
        request.params = Payload::Absent;
        let common = Common::Request(request);
        let target = Arc::clone(target);
        (Self { seq: 1, dialect, object_mode, target, common }, Body::Request(head))
    }

    /// Those of a response stream, with the one that begins it.
    pub(in crate::transit) fn of_response(
        mut response: Response,
        target: &Arc<str>,
        dialect: Dialect,
        object_mode: bool,
    ) -> (Self, Body) {
        (response.stream, response.seq) = (Some(true), Some(0));
        response.result = Ok(Payload::null());
        dialect.mark_response(&mut response, Marks { object_mode, error: None });
        let common = Common::Response(response.clone());
        let target = Arc::clone(target);
        (Self { seq: 1, dialect, object_mode, target, common }, Body::Response(response))
    }

    fn next(&self, saying: Saying, sender: &str) -> Body {
        let more = matches!(saying, Saying::Chunk(_));
        match &self.common {
            Common::Request(common) => {
                let mut request = Request { stream: more, seq: Some(self.seq), ..common.clone() };
                let mut marks = Marks { object_mode: self.object_mode, error: None };
                match saying {
                    Saying::Chunk(chunk) => request.params = chunk,
                    Saying::End => request.params = Payload::null(),
                    Saying::Failure(error) => {
                        request.params = Payload::null();
                        marks.error = Some(error.to_wire(sender));
                    }
                }
                self.dialect.mark_request(&mut request, marks);
                Body::Request(request)
            }
            Common::Response(common) => Body::Response(Response {
                stream: Some(more),
                seq: Some(self.seq),
                result: match saying {
                    Saying::Chunk(chunk) => Ok(chunk),
                    Saying::End => Ok(Payload::null()),
                    Saying::Failure(error) => Err(error),
                },
                ..common.clone()
            }),
        }
    }
}

impl Shared {
    /// Sends a stream whose first packet has been sent, to its end.
    pub(in crate::transit) async fn send_stream(
        &self,
        mut reader: StreamReader,
        mut packets: Packets,
        outflow: Outflow,
    ) {
        let sent = self.send_chunks(&mut reader, &mut packets, &outflow.control).await;
        // The source learns at once that nobody reads any more.
        drop(reader);
        let last = match sent {
            Ok(()) => Saying::End,
            Err(Stop::NodeLost) => return,
            Err(Stop::Failed(error)) => {
                self.streams.failed.increment();
                tracing::debug!(%error, target = &*packets.target, "a stream is not sent to its end");
                Saying::Failure(error)
            }
        };
        self.send_last(&packets, last).await;
    }

    async fn send_chunks(
        &self,
        reader: &mut StreamReader,
        packets: &mut Packets,
        control: &Control,
    ) -> Result<(), Stop> {
        loop {
            let chunk = tokio::select! {
                biased;
                () = control.stop.cancelled() => return Err(control.reason()),
                () = self.stop.cancelled() => return Err(Stop::Failed(left())),
                chunk = self.next_chunk(reader) => chunk.map_err(Stop::Failed)?,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            self.send_chunk(packets, chunk).await.map_err(Stop::Failed)?;
        }
    }

    /// The next chunk, unless the source is still for too long.
    async fn next_chunk(
        &self,
        reader: &mut StreamReader,
    ) -> Result<Option<Payload>, MoleculerError> {
        let idle = self.settings.options.streams.idle_timeout;
        let next = reader.next();
        if idle.is_zero() {
            return next.await;
        }
        tokio::time::timeout(idle, next).await.unwrap_or_else(|_| Err(inflow::idle_source(idle)))
    }

    async fn send_chunk(
        &self,
        packets: &mut Packets,
        chunk: Payload,
    ) -> Result<(), MoleculerError> {
        match chunk::fitting(chunk, packets.object_mode)? {
            // In object mode a Buffer is a value: it is not split, and may be empty.
            Payload::Bytes(bytes) if !packets.object_mode => {
                for piece in chunk::pieces(bytes, self.settings.options.max_chunk_size) {
                    self.send_piece(packets, piece).await?;
                }
                Ok(())
            }
            value => self.send_saying(packets, Saying::Chunk(value)).await,
        }
    }

    /// Sends bytes, in halves when a packet is too large: how much its text takes, and how much the server
    /// does, is known only then.
    async fn send_piece(&self, packets: &mut Packets, piece: Bytes) -> Result<(), MoleculerError> {
        let mut pieces = vec![piece];
        while let Some(mut piece) = pieces.pop() {
            let chunk = Saying::Chunk(Payload::Bytes(piece.clone()));
            match self.send_saying(packets, chunk).await {
                Err(error)
                    if error.name() == "PayloadTooLargeError" && piece.len() > PIECE_LEN_MIN =>
                {
                    let second = piece.split_off(piece.len() / 2);
                    pieces.extend([second, piece]);
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    async fn send_saying(
        &self,
        packets: &mut Packets,
        saying: Saying,
    ) -> Result<(), MoleculerError> {
        let body = packets.next(saying, &self.settings.node_id);
        self.send(body, Some(&packets.target)).await?;
        let next = packets.seq.checked_add(1);
        packets.seq = next.ok_or_else(|| {
            MoleculerError::server("STREAM_TOO_LONG", "The stream has more chunks than numbers.")
        })?;
        Ok(())
    }

    /// The last packet. Who waits for it would wait for ever, so that it is tried once more when the
    /// connection is back.
    async fn send_last(&self, packets: &Packets, last: Saying) {
        let body = packets.next(last, &self.settings.node_id);
        let back = self.reconnected.notified();
        let Err(error) = self.send(body.clone(), Some(&packets.target)).await else { return };
        let wait = self.settings.options.streams.gap_timeout;
        let again = error.name() == "BrokerDisconnectedError"
            && !self.stop.is_cancelled()
            && tokio::time::timeout(wait, back).await.is_ok();
        let sent = if again { self.send(body, Some(&packets.target)).await } else { Err(error) };
        if let Err(error) = sent {
            self.report_unsent(packets.kind_unsent(), &packets.target, error);
        }
    }
}

impl Packets {
    /// Moleculer's word for a packet that could not be sent.
    fn kind_unsent(&self) -> &'static str {
        match self.common {
            Common::Request(_) => "failedSendRequestPacket",
            Common::Response(_) => "failedSendResponsePacket",
        }
    }
}

impl Control {
    fn reason(&self) -> Stop {
        self.reason.get().cloned().unwrap_or(Stop::NodeLost)
    }
}

fn left() -> MoleculerError {
    MoleculerError::temporary(503, "STREAM_LOST", "The stream broke off because its node stops.")
}
