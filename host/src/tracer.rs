//! Spans: what a chain of calls did, when, and how long (moleculer: src/tracing).
//!
//! The tracer decides once for each chain whether it is traced; callees on other nodes follow that decision.
//! A span that is not sampled keeps its place in the chain and carries nothing. Spans are made by the
//! middleware `tracing` and by guests; who takes them is an [`Exporter`]. All that a guest can add to a span
//! is bounded.

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::clock::{self, Instant};
use crate::config::Tracing;
use crate::config::tracing::Sampling;

pub mod console;
mod span;

pub use span::{Refused, Service, Span, SpanOptions, weight};

/// The priority of a span that says nothing of it.
const PRIORITY: f64 = 5.0;

/// Takes spans that are sampled. Called where the span begins and ends: it must not wait.
pub trait Exporter: Send + Sync {
    /// A span has begun.
    fn span_started(&self, span: &Span);
    /// A span has ended.
    fn span_finished(&self, span: &Span);
    /// Hands over what is still held, within a limit of time.
    fn stop(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Makes spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    options: Tracing,
    /// When the node began, to which the ticks of spans are relative.
    begin: Instant,
    sampler: Mutex<Sampler>,
    exporters: OnceLock<Vec<Arc<dyn Exporter>>>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer without exporters.
    #[must_use]
    pub fn new(options: Tracing) -> Self {
        let begin = clock::now();
        let sampler = Mutex::new(Sampler::new(begin));
        Self(Arc::new(Shared { options, begin, sampler, exporters: OnceLock::new() }))
    }

    /// Whether it exports anything at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.0.options.enabled
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &Tracing {
        &self.0.options
    }

    /// Sets where spans go. Only the first time counts.
    pub fn export_to(&self, exporters: Vec<Arc<dyn Exporter>>) {
        let _ = self.0.exporters.set(exporters);
    }

    /// Begins a span. Who says nothing of its chain begins a new one.
    #[must_use]
    pub fn start_span(&self, name: impl Into<Arc<str>>, options: SpanOptions) -> Span {
        self.start_span_with(name.into(), options, Map::new)
    }

    /// The same, with more tags, which are only asked for when the span is sampled.
    #[must_use]
    pub fn start_span_with(
        &self,
        name: Arc<str>,
        mut options: SpanOptions,
        tags: impl FnOnce() -> Map<String, Value>,
    ) -> Span {
        let sampled = self.enabled()
            && options.sampled.unwrap_or_else(|| {
                let priority = options.priority.unwrap_or(PRIORITY);
                self.0.sampler.lock().decide(&self.0.options.sampling, priority, clock::now())
            });
        if sampled {
            options.tags.extend(tags());
        }
        let span = Span::start(self.clone(), name, options, sampled);
        if sampled {
            self.exporters().for_each(|exporter| exporter.span_started(&span));
        }
        span
    }

    fn finished(&self, span: &Span) {
        self.exporters().for_each(|exporter| exporter.span_finished(span));
    }

    fn exporters(&self) -> impl Iterator<Item = &Arc<dyn Exporter>> {
        self.0.exporters.get().into_iter().flatten()
    }

    /// Lets all exporters hand over what they hold.
    pub async fn stop(&self) {
        join_all(self.exporters().map(|exporter| exporter.stop())).await;
    }

    fn ticks(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.0.begin).as_secs_f64() * 1e3
    }
}

/// Decides which chains are traced.
struct Sampler {
    counter: f64,
    /// How many traces may be made now, for a limit per second.
    balance: f64,
    last: Instant,
}

impl Sampler {
    fn new(now: Instant) -> Self {
        Self { counter: 0.0, balance: 0.0, last: now }
    }

    /// moleculer: src/tracing/tracer.js shouldSample, src/tracing/rate-limiter.js
    fn decide(&mut self, sampling: &Sampling, priority: f64, now: Instant) -> bool {
        if sampling.min_priority.is_some_and(|least| priority < least) {
            return false;
        }
        if let Some(per_second) = sampling.traces_per_second.filter(|limit| *limit > 0.0) {
            return self.within(per_second, now);
        }
        if sampling.rate <= 0.0 || sampling.rate >= 1.0 {
            return sampling.rate > 0.0;
        }
        self.counter += 1.0;
        let chosen = self.counter * sampling.rate >= 1.0;
        if chosen {
            self.counter = 0.0;
        }
        chosen
    }

    fn within(&mut self, per_second: f64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.balance = (self.balance + elapsed * per_second).min(per_second.max(1.0));
        let allowed = self.balance >= 1.0;
        if allowed {
            self.balance -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests;
