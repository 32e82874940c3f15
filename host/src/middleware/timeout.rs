//! Ends a call when its time is over (moleculer: src/middlewares/timeout.js).
//!
//! Ending means dropping the call: a guest is stopped and its memory freed, a pending request forgotten, the
//! stream that came with it closed. A stream that answers has ended its call; its time is not limited here.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::metrics::{Metric, MetricRegistry};
use crate::middleware::Middleware;
use crate::registry::Endpoint;
use crate::schema::ActionSchema;

/// The middleware. The limit is `options.timeout` of the context, which the broker has filled from the call,
/// the action and its own options; a deadline that is set already (by a remote caller) goes first.
pub struct Timeout {
    node_id: Arc<str>,
    timed_out: Metric,
}

impl Timeout {
    /// For a node.
    #[must_use]
    pub fn new(node_id: Arc<str>, metrics: &MetricRegistry) -> Self {
        Self { node_id, timed_out: metrics.metric("moleculer.request.timeout.total") }
    }

    fn wrap(&self, next: Handler, remote: bool) -> Handler {
        let node_id = Arc::clone(&self.node_id);
        let timed_out = self.timed_out.clone();
        Arc::new(move |ctx: Context| {
            if ctx.deadline().is_none()
                && let Some(limit) = ctx.options.timeout.filter(|limit| *limit > Duration::ZERO)
            {
                ctx.start_deadline(clock::now(), limit);
            }
            let Some(deadline) = ctx.deadline() else { return next(ctx) };
            let callee = if remote { Arc::clone(&ctx.node_id) } else { Arc::clone(&node_id) };
            let name = Arc::clone(&ctx.name);
            let stream = ctx.stream.clone();
            let work = next(ctx);
            let timed_out = timed_out.clone();
            Box::pin(async move {
                if let Some(outcome) = clock::within(deadline.at, work).await {
                    return outcome;
                }
                timed_out.increment();
                // One that nobody has taken would keep its source waiting as long as somebody has the
                // context.
                drop(stream.and_then(|stream| stream.take()));
                Err(MoleculerError::request_timeout(&name, &callee))
            })
        })
    }
}

impl Middleware for Timeout {
    fn local_action(&self, next: Handler, _action: &ActionSchema) -> Handler {
        self.wrap(next, false)
    }

    fn remote_action(&self, next: Handler, _endpoint: &Arc<Endpoint>) -> Handler {
        self.wrap(next, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{ContextBuilder, Outcome};
    use crate::payload::Payload;

    async fn call(limit: Option<u64>, work_ms: u64) -> Outcome {
        let timeout = Timeout::new("n".into(), &MetricRegistry::default());
        let work: Handler = Arc::new(move |_| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(work_ms)).await;
                Ok(Payload::null())
            })
        });
        let ctx = ContextBuilder::new("a.b".into(), "n".into())
            .with(|ctx| ctx.options.timeout = limit.map(Duration::from_millis))
            .build();
        (timeout.wrap(work, false))(ctx).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_limit_and_not_before() {
        assert!(call(Some(100), 99).await.is_ok());
        assert_eq!(call(Some(100), 101).await.unwrap_err().kind(), "REQUEST_TIMEOUT");
        assert!(call(Some(0), 1_000_000).await.is_ok());
        assert!(call(None, 1_000_000).await.is_ok());
    }
}
