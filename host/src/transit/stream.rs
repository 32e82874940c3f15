//! Streams to and from other nodes (moleculer: src/transit.js, everything with `stream` in its name).
//!
//! A stream is the packets of one request or one response, numbered from 0: the first is the request or
//! response itself, the last says that it was the last. The protocol has neither flow control nor a way to
//! cancel: what comes is limited here, and a node learns that nobody reads only from its own side.
//!
//! Invariants: everything that comes is bounded (`inflow`), every stream ends (an end, an error, a node
//! that is lost, a source or a chunk that does not come), and both directions are told when their node
//! leaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock;
use crate::config;
use crate::error::MoleculerError;
use crate::metrics::{Metric, MetricRegistry};
use crate::packet::{Request, Response};
use crate::payload::Payload;
use crate::payload::stream::{Budget, Stream};
use crate::task;
use crate::transit::Shared;
use crate::transit::counters::Refusal;

mod chunk;
mod dialect;
mod inflow;
mod order;
mod outflow;
#[cfg(test)]
pub(super) mod tests;

pub(super) use dialect::Dialect;
pub(super) use outflow::{Control, Outflow, Packets};

use inflow::{Arrival, Closed, Inflows, Part, Taken};
use outflow::Outflows;

/// The streams of a node.
pub(super) struct Streams {
    requests: Inflows<Request>,
    responses: Inflows<Response>,
    outflows: Arc<Outflows>,
    /// Streams that were given up on this side.
    failed: Metric,
    /// True while somebody looks after those that come in.
    watched: AtomicBool,
    watch_period: Duration,
}

/// Bounds of the time between two looks at the streams.
const WATCH_PERIOD: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

impl Streams {
    pub(super) fn new(options: config::Streams, metrics: &MetricRegistry) -> Self {
        let budget = Budget::new(options.total_buffer);
        let failed = metrics.metric("isomer.transit.streams.failed.total");
        let counters = inflow::Counters {
            open: metrics.metric("isomer.transit.streams.in.active"),
            dropped: metrics.metric("isomer.transit.streams.chunks.dropped.total"),
            failed: failed.clone(),
        };
        let requests = Inflows::new(Closed::Remember, options, budget.clone(), counters.clone());
        let responses = Inflows::new(Closed::Forget, options, budget, counters);
        let open = metrics.metric("moleculer.transit.streams.send.active");
        let shortest = match options.idle_timeout {
            Duration::ZERO => options.gap_timeout,
            idle => idle.min(options.gap_timeout),
        };
        let [low, high] = WATCH_PERIOD;
        Self {
            requests,
            responses,
            outflows: Arc::new(Outflows::new(options.max, open)),
            failed,
            watched: AtomicBool::new(false),
            watch_period: (shortest / 4).clamp(low, high),
        }
    }

    /// Ends the streams of a node that is gone.
    pub(super) fn reject_node(&self, node_id: &str) {
        self.requests.reject_node(node_id);
        self.responses.reject_node(node_id);
        self.outflows.reject_node(node_id);
    }

    /// Waits until none goes out any more.
    pub(super) async fn sent(&self) {
        self.outflows.idle().await;
    }

    /// Ends those that come in, because this node leaves the mesh.
    pub(super) fn clear(&self) {
        self.requests.clear();
        self.responses.clear();
    }

    fn sweep(&self) {
        let now = clock::now();
        self.requests.sweep(now);
        self.responses.sweep(now);
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.responses.is_empty()
    }
}

/// What became of a packet of a request stream.
pub(super) enum Incoming {
    /// Nothing is left to do.
    Done,
    /// The request is to be run.
    Begun(Request, Stream),
    /// The request is to be answered with an error.
    Refused(Request, MoleculerError),
}

/// Whether a packet belongs to a stream (moleculer: src/transit.js _handleIncomingRequestStream).
pub(super) fn is_part(stream: bool, seq: Option<u32>) -> bool {
    stream || seq.is_some_and(|seq| seq > 0)
}

impl Shared {
    /// The dialect of a node to which a stream is to be sent.
    pub(super) fn dialect_of(&self, node_id: &str) -> Dialect {
        Dialect::of(self.versions.of(node_id).as_str())
    }

    /// Puts one more stream for a node on the list.
    pub(super) fn open_outflow(
        &self,
        action: &str,
        node_id: &Arc<str>,
    ) -> Result<Outflow, MoleculerError> {
        let opened = self.streams.outflows.open(node_id);
        opened.map_err(|limit| MoleculerError::queue_is_full(action, node_id, limit, limit))
    }

    /// A packet of a request stream came in.
    pub(super) fn handle_request_part(
        self: &Arc<Self>,
        dialect: Dialect,
        sender: &Arc<str>,
        mut request: Request,
    ) -> Incoming {
        let marks = dialect.take_request_marks(&mut request);
        let Some(seq) = request.seq else {
            self.refuse_part(sender, "REQ", Refusal::Malformed, "no number");
            if self.streams.requests.knows(&request.id) {
                return Incoming::Done;
            }
            let message = "A packet of a stream has no number.";
            return Incoming::Refused(request, MoleculerError::server("INVALID_STREAM", message));
        };
        let id = Arc::clone(&request.id);
        let part = if seq == 0 {
            request.params = dialect.params(std::mem::take(&mut request.params));
            Part::Head(Box::new(request))
        } else if request.stream {
            Part::Chunk(chunk::received(request.params))
        } else {
            let error = marks.error.map(|error| MoleculerError::from_wire(error, sender));
            Part::End(error.map_or(Ok(()), Err))
        };
        let object_mode = marks.object_mode;
        let arrival = Arrival { id, sender: Arc::clone(sender), seq, object_mode, part };
        match self.streams.requests.take(arrival, clock::now()) {
            Taken::Kept => {
                self.watch_streams();
                Incoming::Done
            }
            Taken::Begun(request, stream) => {
                self.watch_streams();
                Incoming::Begun(*request, stream)
            }
            Taken::Refused(refusal, reason, head) => {
                self.refuse_part(sender, "REQ", refusal, reason);
                let Some(request) = head else { return Incoming::Done };
                let (limit, node_id) = (self.settings.options.streams.max, &self.settings.node_id);
                let error = MoleculerError::queue_is_full(&request.action, node_id, limit, limit);
                Incoming::Refused(*request, error)
            }
        }
    }

    /// A packet of a response stream came in; gives the response when it is the first, with the stream in
    /// the place of its result.
    pub(super) fn handle_response_part(
        self: &Arc<Self>,
        dialect: Dialect,
        sender: &Arc<str>,
        mut response: Response,
    ) -> Option<Response> {
        let marks = dialect.take_response_marks(&mut response);
        let known = self.streams.responses.knows(&response.id);
        if !known && !self.requests.awaits(&response.id, sender) {
            self.count_orphan(sender, &response.id);
            return None;
        }
        let Some(seq) = response.seq else {
            self.refuse_part(sender, "RES", Refusal::Malformed, "no number");
            return None;
        };
        if seq == 0 && response.result.is_err() {
            return Some(response);
        }
        let id = Arc::clone(&response.id);
        let part = match std::mem::replace(&mut response.result, Ok(Payload::Absent)) {
            Ok(_) if seq == 0 => Part::Head(Box::new(response)),
            Ok(chunk) if response.stream == Some(true) => Part::Chunk(chunk::received(chunk)),
            Ok(_) => Part::End(Ok(())),
            Err(error) => Part::End(Err(error)),
        };
        let object_mode = marks.object_mode;
        let arrival = Arrival { id, sender: Arc::clone(sender), seq, object_mode, part };
        match self.streams.responses.take(arrival, clock::now()) {
            Taken::Kept => {
                self.watch_streams();
                None
            }
            Taken::Begun(mut response, stream) => {
                self.watch_streams();
                response.result = Ok(Payload::Stream(stream));
                Some(*response)
            }
            Taken::Refused(refusal, reason, head) => {
                self.refuse_part(sender, "RES", refusal, reason);
                let mut response = *head?;
                let limit = self.settings.options.streams.max;
                let error = MoleculerError::queue_is_full("", sender, limit, limit);
                response.result = Err(error);
                Some(response)
            }
        }
    }

    /// Nobody waits any more for a response that has just begun.
    pub(super) fn forget_response(&self, id: &str) {
        self.streams.responses.forget(id);
    }

    fn refuse_part(&self, sender: &Arc<str>, kind: &str, refusal: Refusal, reason: &str) {
        self.refuse(refusal, Some(sender), kind, &format_args!("a packet of a stream: {reason}"));
    }

    /// Looks after the streams that come in, as long as there are any.
    fn watch_streams(self: &Arc<Self>) {
        if self.streams.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let (weak, period) = (Arc::downgrade(self), self.streams.watch_period);
        let stop = self.stop.clone();
        task::spawn_on(&self.settings.work, "streams", async move {
            stop.run_until_cancelled(watch(weak, period)).await;
        });
    }
}

async fn watch(shared: Weak<Shared>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.streams.sweep();
        if shared.streams.is_empty() {
            shared.streams.watched.swap(false, Ordering::AcqRel);
            // One that came meanwhile may have seen that somebody looks after it.
            if shared.streams.is_empty() || shared.streams.watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}
