//! Requests of this node to others (moleculer: src/transit.js request, _sendRequest, responseHandler).

use std::sync::Arc;

use crate::clock;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::packet::{Body, Request, Response};
use crate::payload::{Payload, Stream};
use crate::task;
use crate::transit::pending::{Refused, Settled};
use crate::transit::stream::{self, Control, Dialect, Packets};
use crate::transit::{Shared, Transit};

/// What a request waits for.
pub(super) type Answer = Box<Response>;

/// The stream of a request, while it is under way. Dropped before the request was answered well, it ends the
/// stream: nobody is there any more for whom it could be of use.
struct Upload(Option<Arc<Control>>);

impl Upload {
    /// The stream goes on by itself: the callee may read it after it has answered
    /// (moleculer: src/transit.js _handleIncomingRequestStream).
    fn go_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(control) = self.0.take() {
            let message = "The call that the stream belongs to is over.";
            control.fail(MoleculerError::server("STREAM_ABORTED", message));
        }
    }
}

impl Transit {
    /// Sends a request to `ctx.node_id`, or to the queue of its action when that is empty, and waits for the
    /// answer. The answer's meta is put over that of
    /// the context, also when it is an error. How long to wait is up to the caller (the chain has a middleware
    /// for it): dropping the future forgets the request. A stream of the context is sent beside; one that
    /// is answered is given when its first packet has come.
    ///
    /// # Errors
    /// What the other node answers; `QueueIsFullError`, `BrokerDisconnectedError`,
    /// `PayloadTooLargeError` when it could not be sent; `RequestRejectedError` when the node was lost.
    pub async fn request(&self, ctx: &Context) -> Outcome {
        let shared = &self.0;
        let waiting = shared
            .requests
            .insert(&ctx.id, &ctx.node_id)
            .map_err(|refused| refused_error(&refused, ctx))?;
        let target = Some(&*ctx.node_id).filter(|node_id| !node_id.is_empty());
        let (sent, upload) = match &ctx.stream {
            None => {
                let request = Body::Request(request_packet(ctx));
                (shared.send(request, target).await, None)
            }
            Some(stream) => match shared.send_with_stream(ctx, stream).await {
                Ok(upload) => (Ok(()), Some(upload)),
                Err(error) => (Err(error), None),
            },
        };
        if let Err(error) = sent {
            shared.report_unsent("failedSendRequestPacket", &ctx.node_id, error.clone());
            return Err(error);
        }
        let outcome = match waiting.wait().await {
            Settled::Answer(response) => accept(ctx, *response),
            Settled::NodeLost => Err(MoleculerError::request_rejected(&ctx.name, &ctx.node_id)),
            Settled::Closed => Err(MoleculerError::broker_disconnected()),
        };
        if let (Ok(_), Some(upload)) = (&outcome, upload) {
            upload.go_on();
        }
        outcome
    }
}

impl Shared {
    /// Sends the first packet of a request with a stream and starts to send the rest. All packets go to the
    /// node of the context, also where plain requests are left to a balancer: its choice could be another
    /// one for each chunk (https://github.com/moleculerjs/moleculer/issues/937).
    async fn send_with_stream(
        self: &Arc<Self>,
        ctx: &Context,
        stream: &Stream,
    ) -> Result<Upload, MoleculerError> {
        let outflow = self.open_outflow(&ctx.name, &ctx.node_id)?;
        let Some(reader) = stream.take() else {
            let message = format!("The stream of the call of '{}' is read already.", ctx.name);
            return Err(MoleculerError::server("STREAM_TAKEN", message));
        };
        let upload = Upload(Some(outflow.control()));
        let dialect = self.dialect_of(&ctx.node_id);
        let (packets, head) =
            Packets::of_request(request_packet(ctx), &ctx.node_id, dialect, stream.object_mode());
        self.send(head, Some(&ctx.node_id)).await?;
        let shared = Arc::clone(self);
        // A stop waits until the other side knows that the stream is over.
        let sending = self.answering.track_future(async move {
            shared.send_stream(reader, packets, outflow).await;
        });
        task::spawn_on(&self.settings.work, "stream", sending);
        Ok(upload)
    }

    /// An answer came in.
    pub(super) fn handle_response(
        self: &Arc<Self>,
        ver: &str,
        sender: &Arc<str>,
        response: Response,
    ) {
        let response = if stream::is_part(response.stream == Some(true), response.seq) {
            match self.handle_response_part(Dialect::of(ver), sender, response) {
                Some(response) => response,
                None => return,
            }
        } else {
            response
        };
        let id = Arc::clone(&response.id);
        let streams = matches!(response.result, Ok(Payload::Stream(_)));
        if !self.requests.settle(&id, sender, Box::new(response)) {
            if streams {
                self.forget_response(&id);
            }
            self.count_orphan(sender, &id);
        }
    }

    /// Counts a response that nobody waits for.
    pub(super) fn count_orphan(&self, sender: &str, id: &str) {
        self.counters.orphans.increment();
        tracing::debug!(%id, %sender, "a response that nobody waits for was dropped");
    }
}

fn refused_error(refused: &Refused, ctx: &Context) -> MoleculerError {
    match refused {
        Refused::Full { size, limit } => {
            MoleculerError::queue_is_full(&ctx.name, &ctx.node_id, *size, *limit)
        }
        Refused::Duplicate => {
            MoleculerError::internal(format!("a request with the ID '{}' is under way", ctx.id))
        }
    }
}

fn request_packet(ctx: &Context) -> Request {
    Request {
        id: Arc::clone(&ctx.id),
        action: Arc::clone(&ctx.name),
        params: ctx.params.clone(),
        meta: ctx.meta(),
        headers: ctx.headers.clone(),
        timeout: Some(timeout_ms(ctx)),
        level: ctx.level,
        tracing: ctx.tracing(),
        parent_id: ctx.parent_id.clone(),
        request_id: Some(Arc::clone(&ctx.request_id)),
        caller: ctx.caller.clone(),
        stream: false,
        seq: None,
    }
}

/// What is left for the callee, in whole milliseconds; 0 means "no limit" on the wire, so that a call
/// with a limit never has less than one.
fn timeout_ms(ctx: &Context) -> f64 {
    ctx.remaining(clock::now()).map_or(0.0, |left| (left.as_secs_f64() * 1e3).ceil().max(1.0))
}

fn accept(ctx: &Context, response: Response) -> Outcome {
    ctx.merge_meta(&response.meta);
    if let Some(headers) = &response.headers {
        ctx.merge_response_headers(headers);
    }
    response.result
}
