//! Lets only so many calls of an action, or handlers of an event, run at once on this node; more wait in a
//! queue, and beyond that are refused (moleculer: src/middlewares/bulkhead.js).
//!
//! The queue is first in, first out. A call that ends while it waits, for instance at its deadline, leaves
//! the queue, where Moleculer runs it nevertheless. Calls to other nodes are not limited here.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::faults::Bulkhead as Options;
use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler, HandlerOf};
use crate::metrics::{Metric, MetricRegistry};
use crate::middleware::Middleware;
use crate::schema::{ActionSchema, EventSchema};

/// What `maxQueueSize: 0` means: as many as anybody should have. There it means no limit at all.
const QUEUE_SIZE_MAX: usize = 100_000;

/// The middleware.
pub struct Bulkhead {
    options: Options,
    node_id: Arc<str>,
    actions: Counts,
    events: Counts,
}

/// How many run and wait, over all actions or all events.
#[derive(Clone)]
struct Counts {
    running: Metric,
    waiting: Metric,
}

/// The bulkhead of one action or event.
struct Gate {
    permits: Arc<Semaphore>,
    /// Its permits are the places in the queue.
    places: Arc<Semaphore>,
    max_queue_size: usize,
    counts: Counts,
}

/// What a call meets at the gate.
enum Admission {
    /// It may run.
    Now(Seat),
    /// It must wait.
    Later(Place),
    /// It is refused.
    Full,
}

/// Room for one that runs.
struct Seat {
    _permit: Option<OwnedSemaphorePermit>,
    running: Metric,
}

/// Room for one that waits.
struct Place {
    gate: Arc<Gate>,
    _permit: OwnedSemaphorePermit,
}

impl Bulkhead {
    /// For a broker with these options.
    #[must_use]
    pub fn new(options: Options, node_id: Arc<str>, metrics: &MetricRegistry) -> Self {
        let counts = |running, waiting| Counts {
            running: metrics.metric(running),
            waiting: metrics.metric(waiting),
        };
        Self {
            options,
            node_id,
            actions: counts(
                "moleculer.request.bulkhead.inflight",
                "moleculer.request.bulkhead.queue.size",
            ),
            events: counts(
                "moleculer.event.bulkhead.inflight",
                "moleculer.event.bulkhead.queue.size",
            ),
        }
    }
}

impl Middleware for Bulkhead {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let options = action.faults.bulkhead.over(&self.options);
        if !options.enabled {
            return next;
        }
        let gate = Gate::new(options, &self.actions);
        let (limit, node_id) = (gate.max_queue_size, Arc::clone(&self.node_id));
        behind(gate, next, move |ctx| {
            MoleculerError::queue_is_full(&ctx.name, &node_id, limit, limit)
                .with_data(&json!({"action": &*ctx.name, "nodeID": &*node_id}))
        })
    }

    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        let options = event.faults.bulkhead.over(&self.options);
        if !options.enabled {
            return next;
        }
        let node_id = Arc::clone(&self.node_id);
        behind(Gate::new(options, &self.events), next, move |ctx| event_refused(ctx, &node_id))
    }
}

/// Puts a gate before a handler; `refused` makes the error of what finds no place.
fn behind<T: Send + 'static>(
    gate: Gate,
    next: HandlerOf<T>,
    refused: impl Fn(&Context) -> MoleculerError + Send + Sync + 'static,
) -> HandlerOf<T> {
    let gate = Arc::new(gate);
    Arc::new(move |ctx: Context| match gate.admit() {
        Admission::Now(seat) => {
            let work = next(ctx);
            Box::pin(async move {
                let _seat = seat;
                work.await
            })
        }
        Admission::Later(place) => {
            let next = Arc::clone(&next);
            Box::pin(async move {
                let _seat = place.wait().await;
                next(ctx).await
            })
        }
        Admission::Full => Box::pin(std::future::ready(Err(refused(&ctx)))),
    })
}

/// Moleculer's message speaks of an undefined action; its data are these.
fn event_refused(ctx: &Context, node_id: &str) -> MoleculerError {
    let message = format!("Queue is full. Event '{}' on '{node_id}' node is rejected.", ctx.name);
    let data = json!({"event": &*ctx.name, "service": &*ctx.service, "nodeID": node_id});
    MoleculerError::new("QueueIsFullError", 429, "QUEUE_FULL", message, true).with_data(&data)
}

impl Gate {
    fn new(options: Options, counts: &Counts) -> Self {
        let max_queue_size = match options.max_queue_size {
            0 => QUEUE_SIZE_MAX,
            size => size.min(QUEUE_SIZE_MAX),
        };
        Self {
            permits: Arc::new(Semaphore::new(options.concurrency.min(Semaphore::MAX_PERMITS))),
            places: Arc::new(Semaphore::new(max_queue_size)),
            max_queue_size,
            counts: counts.clone(),
        }
    }

    fn admit(self: &Arc<Self>) -> Admission {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Admission::Now(self.seat(Some(permit)));
        }
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => {
                self.counts.waiting.increment();
                Admission::Later(Place { gate: Arc::clone(self), _permit: permit })
            }
            Err(_) => Admission::Full,
        }
    }

    fn seat(&self, permit: Option<OwnedSemaphorePermit>) -> Seat {
        self.counts.running.increment();
        Seat { _permit: permit, running: self.counts.running.clone() }
    }
}

impl Place {
    async fn wait(self) -> Seat {
        // Nobody closes the semaphore, so that there is always a permit in the end.
        let permit = Arc::clone(&self.gate.permits).acquire_owned().await.ok();
        self.gate.seat(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.counts.waiting.add(-1);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.running.add(-1);
    }
}

#[cfg(test)]
mod tests;
