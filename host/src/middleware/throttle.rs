//! Handles the first event of a while and drops the others (moleculer: src/middlewares/throttle.js).

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{self, Instant};
use crate::context::Context;
use crate::handler::EventHandler;
use crate::middleware::Middleware;
use crate::schema::EventSchema;

/// The middleware.
pub struct Throttle;

impl Middleware for Throttle {
    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        let Some(time) = event.faults.throttle else { return next };
        let last: Mutex<Option<Instant>> = Mutex::default();
        Arc::new(move |ctx: Context| {
            let now = clock::now();
            {
                let mut last = last.lock();
                if last.is_some_and(|last| now.saturating_duration_since(last) < time) {
                    return Box::pin(std::future::ready(Ok(())));
                }
                *last = Some(now);
            }
            next(ctx)
        })
    }
}
