//! Requests of other nodes and the answers to them (moleculer: src/transit.js requestHandler,
//! sendResponse).
//!
//! Requests run on the work runtime. Whatever becomes of the handler, there is one answer: the outcome, the
//! handler's panic, the stop of the node, or, when the answer itself is too large to be sent, an error that
//! says so.
//!
//! Requests that came together are shared out to a few tasks, because the start of a task on another
//! runtime costs as much as a short handler. No request waits for another for longer than that one runs
//! in one go (guests yield after a slice of fuel): when one has to wait for something, those behind it
//! get a task of their own.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::vec;

use futures_util::FutureExt as _;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::context::{Context, ContextBuilder, Deadline, Outcome};
use crate::error::MoleculerError;
use crate::metrics::Metric;
use crate::packet::{Body, Request, Response};
use crate::payload::{Object, Payload, Stream};
use crate::task;
use crate::transit::counters::Refusal;
use crate::transit::stream::{self, Dialect, Incoming, Packets};
use crate::transit::{INBOUND_REQUESTS_MAX, REFUSALS_MAX, Reply, Shared};
use crate::transporter::receipt::{self, Receipt};

/// Requests that begin in one task, at most.
const REQUESTS_PER_TASK_MAX: usize = 8;

/// A request that is to be answered.
pub(super) struct Arrived {
    ctx: Context,
    sender: Arc<str>,
    _in_flight: InFlight,
    /// A stop waits for it.
    _answering: TaskTrackerToken,
    /// Given when the answer has been sent.
    _receipt: Option<Receipt>,
}

/// One of a bounded number; counted by a metric.
pub(super) struct InFlight(Metric);

impl InFlight {
    /// `None` when `limit` are in flight already.
    pub(super) fn enter(gauge: &Metric, limit: usize) -> Option<Self> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        gauge.increment();
        // Counted first, then looked at: two that come at once may both be refused, never both accepted
        // beyond the limit.
        let entered = Self(gauge.clone());
        (gauge.get() <= limit).then_some(entered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Shared {
    /// Refuses a request, or gives it back as one that is to be answered.
    pub(super) fn handle_request(
        self: &Arc<Self>,
        ver: &str,
        sender: Arc<str>,
        request: Request,
    ) -> Option<Arrived> {
        if !stream::is_part(request.stream, request.seq) {
            return self.admit(sender, request, None);
        }
        match self.handle_request_part(Dialect::of(ver), &sender, request) {
            Incoming::Done => None,
            Incoming::Begun(request, stream) => self.admit(sender, request, Some(stream)),
            Incoming::Refused(request, error) => {
                self.answer_refused(sender, request, error);
                None
            }
        }
    }

    fn admit(
        self: &Arc<Self>,
        sender: Arc<str>,
        request: Request,
        stream: Option<Stream>,
    ) -> Option<Arrived> {
        if self.stopping.load(Ordering::Acquire) {
            let error = MoleculerError::service_not_available(
                &request.action,
                Some(&self.settings.node_id),
            );
            self.answer_refused(sender, request, error);
            return None;
        }
        let Some(in_flight) =
            InFlight::enter(&self.counters.inbound_requests, INBOUND_REQUESTS_MAX)
        else {
            self.refuse(Refusal::Overload, Some(&sender), "REQ", &"too many requests at once");
            let limit = INBOUND_REQUESTS_MAX;
            let node_id = &self.settings.node_id;
            let error = MoleculerError::queue_is_full(&request.action, node_id, limit, limit);
            self.answer_refused(sender, request, error);
            return None;
        };
        let ctx = request_context(Arc::clone(&sender), request, stream);
        let _answering = self.answering.token();
        let (_in_flight, _receipt) = (in_flight, receipt::take());
        Some(Arrived { ctx, sender, _in_flight, _answering, _receipt })
    }

    /// Runs requests that came together and answers them.
    pub(super) fn answer_all(self: &Arc<Self>, mut arrived: Vec<Arrived>) {
        let n_workers = self.settings.work.metrics().num_workers();
        let per_task = arrived.len().div_ceil(n_workers).clamp(1, REQUESTS_PER_TASK_MAX);
        while arrived.len() > per_task {
            let rest = arrived.split_off(per_task);
            self.answer_in_turn(std::mem::replace(&mut arrived, rest).into_iter());
        }
        if !arrived.is_empty() {
            self.answer_in_turn(arrived.into_iter());
        }
    }

    fn answer_in_turn(self: &Arc<Self>, mut arrived: vec::IntoIter<Arrived>) {
        let shared = Arc::clone(self);
        task::spawn_on(&self.settings.work, "requests", async move {
            while let Some(request) = arrived.next() {
                let mut answering = pin!(shared.answer(request));
                if futures_util::poll!(answering.as_mut()).is_ready() {
                    continue;
                }
                if arrived.len() > 0 {
                    shared.answer_in_turn(std::mem::take(&mut arrived));
                }
                answering.await;
            }
        });
    }

    /// Runs a request and answers it. A panic outside of its handler loses its answer and no other.
    async fn answer(&self, request: Arrived) {
        let Arrived { ctx, sender, _in_flight, _answering, _receipt } = request;
        let (id, name, meta) = (Arc::clone(&ctx.id), Arc::clone(&ctx.name), ctx.meta());
        let answered = async {
            let Some(inbound) = self.inbound.upgrade() else { return };
            // The handler is called inside the guarded future, so that a panic while it makes its future
            // is caught as well.
            let handling = async { inbound.handle_request(ctx).await };
            let ended = self.guarded(&name, handling).await;
            drop(inbound);
            let response = match ended {
                Ok(Reply { ctx, outcome: Ok(Payload::Stream(stream)), .. }) => {
                    return self.respond_stream(&sender, ctx, &stream).await;
                }
                Ok(Reply { ctx, outcome, resolved }) => response_packet(&ctx, outcome, resolved),
                Err(error) => {
                    let headers = Some(Object::default());
                    Response { id, meta, headers, result: Err(error), stream: None, seq: None }
                }
            };
            self.respond(&sender, response).await;
        };
        if let Err(panic) = AssertUnwindSafe(answered).catch_unwind().await {
            let panic = task::panic_text(&*panic);
            tracing::error!(action = &*name, panic, "the answer to a request panicked");
        }
    }

    /// The reply of a handler that may panic or be ended by the stop, which are errors.
    async fn guarded(
        &self,
        action: &str,
        handling: impl Future<Output = Reply>,
    ) -> Result<Reply, MoleculerError> {
        let guarded = AssertUnwindSafe(handling).catch_unwind();
        match self.stop.run_until_cancelled(guarded).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(panic)) => {
                let panic = task::panic_text(&*panic);
                tracing::error!(action, panic, "a request handler panicked");
                Err(MoleculerError::internal("The handler of the request failed unexpectedly."))
            }
            None => {
                Err(MoleculerError::service_not_available(action, Some(&self.settings.node_id)))
            }
        }
    }

    async fn respond(&self, target: &str, response: Response) {
        let id = Arc::clone(&response.id);
        let Err(error) = self.send(Body::Response(response), Some(target)).await else { return };
        self.report_unsent("failedSendResponsePacket", target, error.clone());
        if error.name() == "PayloadTooLargeError" {
            // Without this the caller would wait until its timeout for an answer that never fits.
            self.send_error(target, id, Object::default(), error).await;
        }
    }

    /// Answers with a stream, and sends it to its end.
    async fn respond_stream(&self, target: &Arc<str>, ctx: Context, stream: &Stream) {
        let opened = match (self.open_outflow(&ctx.name, target), stream.take()) {
            (Ok(outflow), Some(reader)) => Ok((outflow, reader)),
            (Ok(_), None) => {
                let message = format!("The stream that '{}' gives is read already.", ctx.name);
                Err(MoleculerError::server("STREAM_TAKEN", message))
            }
            (Err(error), _) => Err(error),
        };
        let (outflow, reader) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return self.respond(target, response_packet(&ctx, Err(error), true)).await;
            }
        };
        let response = response_packet(&ctx, Ok(Payload::null()), true);
        // A request stream that nobody has taken by now is closed with the context, while this one goes on.
        drop(ctx);
        let (dialect, object_mode) = (self.dialect_of(target), stream.object_mode());
        let (packets, head) = Packets::of_response(response, target, dialect, object_mode);
        match self.send(head, Some(target)).await {
            Ok(()) => self.send_stream(reader, packets, outflow).await,
            Err(error) => self.report_unsent("failedSendResponsePacket", target, error),
        }
    }

    async fn send_error(&self, target: &str, id: Arc<str>, meta: Object, error: MoleculerError) {
        let result = Err(error);
        let response = Response { id, meta, headers: None, result, stream: None, seq: None };
        if let Err(error) = self.send(Body::Response(response), Some(target)).await {
            self.report_unsent("failedSendResponsePacket", target, error);
        }
    }

    /// Answers a request that is not run, with its own meta, as Moleculer does.
    fn answer_refused(self: &Arc<Self>, sender: Arc<str>, request: Request, error: MoleculerError) {
        if self.answering.len() >= INBOUND_REQUESTS_MAX + REFUSALS_MAX {
            return;
        }
        let shared = Arc::clone(self);
        self.answer_in_task(async move {
            shared.send_error(&sender, request.id, request.meta, error).await;
        });
    }

    fn answer_in_task(&self, work: impl Future<Output = ()> + Send + 'static) {
        let tracked = self.answering.track_future(work);
        task::spawn_on(&self.settings.work, "request", tracked);
    }
}

/// The answer that a handler gave.
fn response_packet(ctx: &Context, outcome: Outcome, resolved: bool) -> Response {
    Response {
        id: Arc::clone(&ctx.id),
        meta: ctx.meta(),
        headers: resolved.then(|| ctx.response_headers()),
        result: outcome,
        stream: None,
        seq: None,
    }
}

/// The context of a request on this side (moleculer: src/transit.js requestHandler).
fn request_context(sender: Arc<str>, request: Request, stream: Option<Stream>) -> Context {
    let timeout = request.timeout.map(timeout_of);
    let deadline = timeout.filter(|timeout| !timeout.is_zero()).and_then(|timeout| {
        // Counted from arrival; a time too far ahead for the clock is no limit.
        clock::now().checked_add(timeout).map(|at| Deadline { at, timeout })
    });
    ContextBuilder::received(request.action, sender, request.id)
        .with(|ctx| {
            if let Some(request_id) = request.request_id {
                ctx.request_id = request_id;
            }
            ctx.parent_id = request.parent_id;
            ctx.caller = request.caller;
            ctx.level = request.level;
            ctx.tracing = request.tracing;
            ctx.params = request.params;
            ctx.headers = request.headers;
            ctx.stream = stream;
            ctx.options.timeout = timeout;
        })
        .meta(request.meta)
        .deadline(deadline)
        .build()
}

/// A time limit of the wire, in milliseconds. Zero is an explicit "none"; so is what makes no sense.
fn timeout_of(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::ZERO)
}
