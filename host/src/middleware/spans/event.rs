//! Sends spans as events, several at once (moleculer: src/tracing/exporters/event.js).

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::config::tracing::EventExporter;
use crate::context::{Caller, EmitOptions, EventType};
use crate::metrics::{Metric, MetricRegistry};
use crate::payload::Payload;
use crate::task::{self, CancellationToken};
use crate::tracer::{Exporter, Span};

/// Most spans that wait to be sent; further ones are dropped and counted.
const SPANS_MAX: usize = 10_000;

/// The exporter. Cheap to clone.
#[derive(Clone)]
pub struct Event(Arc<Shared>);

struct Shared {
    options: EventExporter,
    caller: Weak<dyn Caller>,
    work: Handle,
    waiting: Mutex<Vec<Value>>,
    dropped: Metric,
}

impl Event {
    /// Sends events through the broker. Its timer runs on `work` until `cancel`.
    #[must_use]
    pub fn new(
        options: EventExporter,
        caller: Weak<dyn Caller>,
        work: &Handle,
        cancel: CancellationToken,
        metrics: &MetricRegistry,
    ) -> Self {
        let interval = options.interval;
        let shared = Arc::new(Shared {
            options,
            caller,
            work: work.clone(),
            waiting: Mutex::default(),
            dropped: metrics.metric("isomer.tracing.spans.dropped.total"),
        });
        if !interval.is_zero() {
            let weak = Arc::downgrade(&shared);
            let ticking = async move { tick(&weak, interval).await };
            task::spawn_on(work, "span events", async move {
                cancel.run_until_cancelled(ticking).await;
            });
        }
        Self(shared)
    }
}

async fn tick(shared: &Weak<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.flush();
    }
}

impl Shared {
    fn take(&self, span: &Span) {
        // Spans of the event itself would never end.
        if span.tag("eventName").is_some_and(|name| name == *self.options.event_name) {
            return;
        }
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= SPANS_MAX {
                self.dropped.increment();
                return;
            }
            waiting.push(span.to_value(&self.options.default_tags));
        }
        if self.options.interval.is_zero() {
            self.flush();
        }
    }

    fn flush(&self) {
        let spans = std::mem::take(&mut *self.waiting.lock());
        let Some(caller) = self.caller.upgrade().filter(|_| !spans.is_empty()) else { return };
        let Ok(data) = Payload::from_value(&spans) else { return };
        let groups = self.options.groups.iter().map(|group| group.as_str().into()).collect();
        let options = EmitOptions { groups, ..EmitOptions::default() };
        let kind = if self.options.broadcast { EventType::Broadcast } else { EventType::Emit };
        let sending = caller.send(kind, &self.options.event_name, data, options);
        task::spawn_on(&self.work, "span event", async move {
            if let Err(error) = sending.await {
                tracing::debug!(%error, "spans could not be sent");
            }
        });
    }
}

impl Exporter for Event {
    fn span_started(&self, span: &Span) {
        if self.0.options.send_start_span {
            self.0.take(span);
        }
    }

    fn span_finished(&self, span: &Span) {
        if self.0.options.send_finish_span {
            self.0.take(span);
        }
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.0.flush();
        std::future::ready(()).boxed()
    }
}
