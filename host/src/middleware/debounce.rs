//! Handles the last event of a burst, when so much time has passed without another
//! (moleculer: src/middlewares/debounce.js).
//!
//! At most one event waits. It is lost when the node stops meanwhile; a service that is replaced or removed
//! meanwhile handles it first, within its shutdown time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;

use crate::clock::{self, Instant};
use crate::context::Context;
use crate::handler::EventHandler;
use crate::middleware::Middleware;
use crate::schema::EventSchema;
use crate::task::{self, CancellationToken};

/// The middleware.
pub struct Debounce {
    runtime: Runtime,
    cancel: CancellationToken,
}

/// The event that waits, and until when. `None` while no task waits with it.
type Waiting = Arc<Mutex<Option<(Context, Instant)>>>;

impl Debounce {
    /// The handlers run on `runtime`; what waits is dropped with `cancel`.
    #[must_use]
    pub fn new(runtime: Runtime, cancel: CancellationToken) -> Self {
        Self { runtime, cancel }
    }
}

impl Middleware for Debounce {
    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        let Some(time) = event.faults.debounce else { return next };
        let (runtime, cancel) = (self.runtime.clone(), self.cancel.clone());
        let waiting = Waiting::default();
        Arc::new(move |ctx: Context| {
            let due = clock::now() + time;
            if waiting.lock().replace((ctx, due)).is_none() {
                let _on = runtime.enter();
                let work = handle_last(Arc::clone(&waiting), Arc::clone(&next), time);
                task::spawn("debounced event", &cancel, work);
            }
            Box::pin(std::future::ready(Ok(())))
        })
    }
}

async fn handle_last(waiting: Waiting, next: EventHandler, time: Duration) {
    let mut due = clock::now() + time;
    let ctx = loop {
        tokio::time::sleep_until(due).await;
        let mut waiting = waiting.lock();
        match &*waiting {
            // Another event came meanwhile.
            Some((_, later)) if *later > due => due = *later,
            _ => break waiting.take(),
        }
    };
    let Some((ctx, _)) = ctx else { return };
    let outcome = next(ctx.clone()).await;
    if let Err(error) = outcome {
        tracing::error!(event = &*ctx.name, service = &*ctx.service, request_id = &*ctx.request_id,
            %error, "the handler of a debounced event failed");
    }
}
