//! Measures the calls and events of this node (moleculer: src/middlewares/metrics.js).
//!
//! Names and labels are Moleculer's. What a call needs is looked up once for each caller of an action.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;

use crate::clock;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::metrics::{Description, Family, Kind, Label, MetricRegistry, Series};
use crate::middleware::Middleware;
use crate::middleware::hook::Emit;
use crate::registry::Endpoint;
use crate::schema::{ActionSchema, EventSchema};

mod csv;
mod datadog;
mod prometheus;
mod reporter;
mod statsd;

pub use reporter::{Labels, List, report};

/// Most callers of an action whose numbers are kept at hand.
const CALLERS_MAX: usize = 1_000;

const REQUEST: &[&str] = &["service", "action", "type", "caller"];
const REQUEST_ERROR: &[&str] =
    &["service", "action", "type", "caller", "errorName", "errorCode", "errorType"];
const EVENT: &[&str] = &["service", "group", "event", "caller"];
const EVENT_ERROR: &[&str] =
    &["service", "group", "event", "caller", "errorName", "errorCode", "errorType"];

macro_rules! descriptions {
    ($($id:ident: $name:literal, $kind:ident, $labels:expr, $unit:literal, $rate:literal, $text:literal;)+) => {
        $(static $id: Description = Description {
            name: $name, kind: Kind::$kind, labels: $labels, unit: Some($unit), text: $text, rate: $rate,
        };)+
    };
}

descriptions! {
    REQUEST_TOTAL: "moleculer.request.total", Counter, REQUEST, "request", true, "Number of requests";
    REQUEST_ACTIVE: "moleculer.request.active", Gauge, REQUEST, "request", false, "Number of active requests";
    REQUEST_ERRORS: "moleculer.request.error.total", Counter, REQUEST_ERROR, "request", true,
        "Number of request errors";
    REQUEST_TIME: "moleculer.request.time", Histogram, REQUEST, "millisecond", true,
        "Request times in milliseconds";
    REQUEST_LEVELS: "moleculer.request.levels", Counter, &["level"], "request", false,
        "Number of requests by context level";
    EMITTED: "moleculer.event.emit.total", Counter, &["event"], "event", true, "Number of emitted events";
    BROADCAST: "moleculer.event.broadcast.total", Counter, &["event"], "event", true,
        "Number of broadcast events";
    BROADCAST_LOCAL: "moleculer.event.broadcast-local.total", Counter, &["event"], "event", true,
        "Number of local broadcast events";
    RECEIVED_TOTAL: "moleculer.event.received.total", Counter, EVENT, "event", true,
        "Number of received events";
    RECEIVED_ACTIVE: "moleculer.event.received.active", Gauge, EVENT, "event", false,
        "Number of active event executions";
    RECEIVED_ERRORS: "moleculer.event.received.error.total", Counter, EVENT_ERROR, "event", true,
        "Number of event execution errors";
    RECEIVED_TIME: "moleculer.event.received.time", Histogram, EVENT, "millisecond", true,
        "Execution time of events in milliseconds";
    FUEL: "isomer.fuel.total", Counter, &["service", "action"], "fuel", true,
        "Fuel that actions have used in guests";
}

/// The middleware. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: MetricRegistry,
    requests: Families,
    levels: Arc<Family>,
    received: Families,
    emitted: Arc<Family>,
    broadcast: Arc<Family>,
    broadcast_local: Arc<Family>,
    /// Made with the first action that runs in a guest.
    fuel: OnceLock<Arc<Family>>,
}

impl Shared {
    fn count_fuel(&self, ctx: &Context, action: &Arc<str>) {
        let fuel = ctx.fuel();
        if fuel > 0 {
            let family = self.fuel.get_or_init(|| self.registry.family(&FUEL));
            let series = family.with(vec![(&ctx.service).into(), action.into()]);
            series.number().add(i64::try_from(fuel).unwrap_or(i64::MAX));
        }
    }
}

/// What is measured of calls, or of events.
struct Families {
    total: Arc<Family>,
    active: Arc<Family>,
    errors: Arc<Family>,
    time: Arc<Family>,
}

/// The same for one set of labels.
struct Numbers {
    labels: Vec<Label>,
    total: Arc<Series>,
    active: Arc<Series>,
    time: Arc<Series>,
}

impl Families {
    fn of(&self, labels: Vec<Label>) -> Arc<Numbers> {
        Arc::new(Numbers {
            total: self.total.with(labels.clone()),
            active: self.active.with(labels.clone()),
            time: self.time.with(labels.clone()),
            labels,
        })
    }
}

impl Metrics {
    /// Measures into a registry.
    #[must_use]
    pub fn new(registry: &MetricRegistry) -> Self {
        let family = |description| registry.family(description);
        Self(Arc::new(Shared {
            requests: Families {
                total: family(&REQUEST_TOTAL),
                active: family(&REQUEST_ACTIVE),
                errors: family(&REQUEST_ERRORS),
                time: family(&REQUEST_TIME),
            },
            levels: family(&REQUEST_LEVELS),
            received: Families {
                total: family(&RECEIVED_TOTAL),
                active: family(&RECEIVED_ACTIVE),
                errors: family(&RECEIVED_ERRORS),
                time: family(&RECEIVED_TIME),
            },
            emitted: family(&EMITTED),
            broadcast: family(&BROADCAST),
            broadcast_local: family(&BROADCAST_LOCAL),
            fuel: OnceLock::new(),
            registry: registry.clone(),
        }))
    }

    fn measured(
        &self,
        next: Handler,
        action: Arc<str>,
        kind: &'static str,
        remote: Option<Arc<str>>,
    ) -> Handler {
        let shared = Arc::clone(&self.0);
        let kind: Arc<str> = kind.into();
        let callers: RwLock<HashMap<Option<Arc<str>>, Arc<Numbers>>> = RwLock::default();
        Arc::new(move |ctx: Context| {
            let numbers = {
                let known = callers.read().get(&ctx.caller).map(Arc::clone);
                known.unwrap_or_else(|| {
                    let service = remote.as_ref().unwrap_or(&ctx.service);
                    let caller = Label::from(ctx.caller.as_ref());
                    let numbers = shared.requests.of(vec![
                        service.into(),
                        (&action).into(),
                        (&kind).into(),
                        caller,
                    ]);
                    let mut callers = callers.write();
                    if callers.len() < CALLERS_MAX {
                        callers.insert(ctx.caller.clone(), Arc::clone(&numbers));
                    }
                    numbers
                })
            };
            shared.levels.with(vec![Label::Number(i64::from(ctx.level))]).number().increment();
            let running = Running::begin(Arc::clone(&shared), numbers, false);
            let work = next(ctx.clone());
            let (shared, action) = (Arc::clone(&shared), Arc::clone(&action));
            Box::pin(async move {
                let outcome: Outcome = work.await;
                running.end(outcome.as_ref().err());
                shared.count_fuel(&ctx, &action);
                outcome
            })
        })
    }

    fn counted(next: Emit, family: &Arc<Family>) -> Emit {
        let family = Arc::clone(family);
        Arc::new(move |event, data, options| {
            family.with(vec![(&event).into()]).number().increment();
            next(event, data, options)
        })
    }
}

impl Middleware for Metrics {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        self.measured(next, Arc::clone(&action.name), "local", None)
    }

    fn remote_action(&self, next: Handler, endpoint: &Arc<Endpoint>) -> Handler {
        let service = Some(Arc::clone(&endpoint.service));
        self.measured(next, Arc::clone(&endpoint.name), "remote", service)
    }

    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        let shared = Arc::clone(&self.0);
        let group = Arc::clone(&event.group);
        Arc::new(move |ctx: Context| {
            let labels = vec![
                (&ctx.service).into(),
                (&group).into(),
                (&ctx.name).into(),
                ctx.caller.as_ref().into(),
            ];
            let numbers = shared.received.of(labels);
            let running = Running::begin(Arc::clone(&shared), numbers, true);
            let work = next(ctx);
            Box::pin(async move {
                let outcome = work.await;
                running.end(outcome.as_ref().err());
                outcome
            })
        })
    }

    fn emit(&self, next: Emit) -> Emit {
        Self::counted(next, &self.0.emitted)
    }

    fn broadcast(&self, next: Emit) -> Emit {
        Self::counted(next, &self.0.broadcast)
    }

    fn broadcast_local(&self, next: Emit) -> Emit {
        Self::counted(next, &self.0.broadcast_local)
    }
}

/// A call or handler that runs. One that is abandoned is no longer active, and nothing else.
struct Running {
    shared: Arc<Shared>,
    numbers: Arc<Numbers>,
    begin: clock::Instant,
    event: bool,
}

impl Running {
    fn begin(shared: Arc<Shared>, numbers: Arc<Numbers>, event: bool) -> Self {
        numbers.total.number().increment();
        numbers.active.number().increment();
        Self { shared, numbers, begin: clock::now(), event }
    }

    fn end(self, error: Option<&MoleculerError>) {
        let now = clock::now();
        let took: Duration = now.saturating_duration_since(self.begin);
        let bounds = &self.shared.registry.histograms().buckets;
        self.numbers.time.observe(bounds, took.as_secs_f64() * 1e3, now);
        let Some(error) = error else { return };
        let families = if self.event { &self.shared.received } else { &self.shared.requests };
        let mut labels = self.numbers.labels.clone();
        labels.push(Label::Text(error.name().into()));
        labels.push(Label::Number(error.code()));
        labels.push(Label::Text(error.kind().into()));
        families.errors.with(labels).number().increment();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.numbers.active.number().add(-1);
    }
}
