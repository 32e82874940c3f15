//! Requests of this node to others (moleculer: src/transit.js request, _sendRequest, responseHandler).

use std::sync::Arc;

use crate::clock;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::packet::{Body, Request, Response};
use crate::transit::pending::{Refused, Settled};
use crate::transit::{Shared, Transit};

/// What a request waits for.
pub(super) type Answer = Box<Response>;

impl Transit {
    /// Sends a request to `ctx.node_id` and waits for the answer. The answer's meta is put over that of
    /// the context, also when it is an error. How long to wait is up to the caller (the chain has a middleware
    /// for it): dropping the future forgets the request.
    ///
    /// # Errors
    /// What the other node answers; `QueueIsFullError`, `BrokerDisconnectedError`,
    /// `PayloadTooLargeError` when it could not be sent; `RequestRejectedError` when the node was lost.
    pub async fn request(&self, ctx: &Context) -> Outcome {
        let shared = &*self.0;
        let waiting = shared
            .requests
            .insert(&ctx.id, &ctx.node_id)
            .map_err(|refused| refused_error(&refused, ctx))?;
        if let Err(error) = shared.send(request_packet(ctx), Some(&ctx.node_id)).await {
            shared.report_unsent("failedSendRequestPacket", &ctx.node_id, error.clone());
            return Err(error);
        }
        match waiting.wait().await {
            Settled::Answer(response) => accept(ctx, *response),
            Settled::NodeLost => Err(MoleculerError::request_rejected(&ctx.name, &ctx.node_id)),
            Settled::Closed => Err(MoleculerError::broker_disconnected()),
        }
    }
}

impl Shared {
    /// An answer came in.
    pub(super) fn handle_response(&self, sender: &Arc<str>, response: Response) {
        let id = Arc::clone(&response.id);
        if !self.requests.settle(&id, sender, Box::new(response)) {
            self.counters.orphans.increment();
            tracing::debug!(%id, %sender, "a response that nobody waits for was dropped");
        }
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

fn request_packet(ctx: &Context) -> Body {
    Body::Request(Request {
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
    })
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
    if response.stream == Some(true) {
        let message = format!("'{}' answers with a stream, which this node cannot read.", ctx.name);
        return Err(MoleculerError::server("STREAM_NOT_SUPPORTED", message));
    }
    response.result
}
