//! Counts the contexts that run on this node, so that a stop can wait for them
//! (moleculer: src/middlewares/context-tracker.js).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::context::Context;
use crate::handler::{EventHandler, Handler};
use crate::middleware::Middleware;
use crate::registry::Endpoint;
use crate::schema::{ActionSchema, EventSchema};

/// The middleware, and the count.
#[derive(Clone, Debug, Default)]
pub struct ContextTracker(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    idle: Notify,
}

/// One running context; counted until it is dropped.
struct Running(Arc<Count>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl ContextTracker {
    fn track(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(&self.0))
    }

    fn wrap(&self, next: Handler) -> Handler {
        let tracker = self.clone();
        Arc::new(move |ctx: Context| {
            if ctx.options.tracking == Some(false) {
                return next(ctx);
            }
            let running = tracker.track();
            let work = next(ctx);
            Box::pin(async move {
                let _running = running;
                work.await
            })
        })
    }

    /// How many contexts run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// Waits until none runs, at most this long. Returns how many still do.
    pub async fn idle(&self, limit: Duration) -> usize {
        let wait = async {
            loop {
                let notified = self.0.idle.notified();
                if self.running() == 0 {
                    return;
                }
                notified.await;
            }
        };
        // Whether it timed out is seen from the count.
        let _ = tokio::time::timeout(limit, wait).await;
        self.running()
    }
}

impl Middleware for ContextTracker {
    fn local_action(&self, next: Handler, _action: &ActionSchema) -> Handler {
        self.wrap(next)
    }

    fn remote_action(&self, next: Handler, _endpoint: &Arc<Endpoint>) -> Handler {
        self.wrap(next)
    }

    fn local_event(&self, next: EventHandler, _event: &EventSchema) -> EventHandler {
        let tracker = self.clone();
        Arc::new(move |ctx: Context| {
            let running = tracker.track();
            let work = next(ctx);
            Box::pin(async move {
                let _running = running;
                work.await
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_last_context_or_at_the_limit() {
        let tracker = ContextTracker::default();
        assert_eq!(tracker.idle(Duration::from_secs(1)).await, 0);
        let running = tracker.track();
        assert_eq!(tracker.idle(Duration::from_secs(1)).await, 1);
        let (left, ()) =
            tokio::join!(tracker.idle(Duration::from_secs(1)), async { drop(running) });
        assert_eq!(left, 0);
    }
}
