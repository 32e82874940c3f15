//! A call that may be answered before its handler has ended: with a stream that the handler goes on to write.
//!
//! The future of a call ends with its answer. What is left of the handler then runs as a task of its own,
//! with its instance and its permit; it ends by itself, by its limits, or with the pool.

use std::pin::Pin;
use std::task::{Poll, ready};

use futures_util::future::BoxFuture;

use crate::context::{Context, Outcome};
use crate::payload::Payload;
use crate::task::{self, CancellationToken};

/// A handler that runs, until it has answered.
pub(super) struct Serving {
    ctx: Context,
    work: Option<BoxFuture<'static, Outcome>>,
}

impl Serving {
    /// `work` is the handler of `ctx`.
    pub(super) fn new(ctx: Context, work: BoxFuture<'static, Outcome>) -> Self {
        Self { ctx, work: Some(work) }
    }
}

impl Future for Serving {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Outcome> {
        self.ctx.wake_when_answered(cx.waker());
        let Some(work) = &mut self.work else { return Poll::Pending };
        let ended = work.as_mut().poll(cx);
        let Some(stream) = self.ctx.take_answer() else {
            let outcome = ready!(ended);
            self.work = None;
            return Poll::Ready(outcome);
        };
        if let (Poll::Pending, Some(work)) = (ended, self.work.take()) {
            run_on(&self.ctx, work);
        }
        Poll::Ready(Ok(Payload::Stream(stream)))
    }
}

/// The reader of the stream gets what went wrong, so here it is only worth a line for who looks closely.
fn run_on(ctx: &Context, work: BoxFuture<'static, Outcome>) {
    let (action, request_id) = (ctx.name.clone(), ctx.request_id.clone());
    // The pool stops it when it is drained; nothing else may cut it off.
    task::spawn("stream-handler", &CancellationToken::new(), async move {
        if let Err(error) = work.await {
            let (action, request_id) = (&*action, &*request_id);
            tracing::debug!(action, request_id, %error, "a handler failed after it had answered");
        }
    });
}
