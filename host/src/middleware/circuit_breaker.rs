//! Leaves an endpoint alone that keeps failing (moleculer: src/middlewares/circuit-breaker.js).
//!
//! One circuit for each endpoint: it is born and dies with the endpoint's chain, so that a service which was
//! replaced, or a node which was started again, is met without prejudice. While the circuit is open the
//! endpoint is not available to balancing. The rules are in `circuit`; here are the timers, the events and
//! the marks in the registry. Counts begin anew with every window, counted from the start of the broker.
//!
//! Differs from Moleculer: a circuit that nobody uses is not forgotten while it is open, and a call that
//! chose the endpoint in the instant before it was left alone is refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::DropGuard;

use crate::clock::{self, Instant};
use crate::config::faults::CircuitBreaker as Options;
use crate::context::{Caller, Context, EmitOptions, EventType, Outcome};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::metrics::{Metric, MetricRegistry};
use crate::middleware::Middleware;
use crate::payload::Payload;
use crate::registry::{Endpoint, Registry};
use crate::schema::{ActionFaults, ActionSchema};
use crate::task::{self, CancellationToken};

mod circuit;

use circuit::{Circuit, State, Step};

/// The middleware.
pub struct CircuitBreaker {
    options: Options,
    broker: Arc<Broker>,
}

/// What all circuits of a node share.
struct Broker {
    node_id: Arc<str>,
    /// Where the windows are counted from.
    start: Instant,
    caller: Weak<dyn Caller>,
    registry: Arc<RwLock<Registry>>,
    runtime: Runtime,
    cancel: CancellationToken,
    opened: Metric,
    opened_total: Metric,
    half_opened: Metric,
}

/// The breaker of one endpoint.
struct Breaker {
    options: Options,
    broker: Arc<Broker>,
    node_id: Arc<str>,
    action: Arc<str>,
    known_by: KnownBy,
    /// False while calls simply go through, so that they need not take the lock before they begin.
    alert: AtomicBool,
    /// Taken before the registry's lock.
    state: Mutex<Guarded>,
}

/// What tells the endpoint from others of its node in the registry, also from those before and after it.
enum KnownBy {
    /// An action of this node, by its declaration: its chain is there before it is registered.
    Definition(Arc<Map<String, Value>>),
    /// One of another node. Nodes that declare the same share the declaration.
    Id(u64),
}

impl KnownBy {
    fn is(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Definition(definition) => Arc::ptr_eq(&endpoint.definition, definition),
            Self::Id(id) => endpoint.id == *id,
        }
    }
}

struct Guarded {
    circuit: Circuit,
    /// Rings after the half-open time; dropping it silences it.
    timer: Option<DropGuard>,
}

impl CircuitBreaker {
    /// For a broker with these options. The timers run on `runtime` and end with `cancel`.
    #[must_use]
    pub fn new(
        options: Options,
        node_id: Arc<str>,
        caller: Weak<dyn Caller>,
        registry: Arc<RwLock<Registry>>,
        runtime: Runtime,
        cancel: CancellationToken,
        metrics: &MetricRegistry,
    ) -> Self {
        let broker = Broker {
            node_id,
            start: clock::now(),
            caller,
            registry,
            runtime,
            cancel,
            opened: metrics.metric("moleculer.circuit-breaker.opened.active"),
            opened_total: metrics.metric("moleculer.circuit-breaker.opened.total"),
            half_opened: metrics.metric("moleculer.circuit-breaker.half-opened.active"),
        };
        Self { options, broker: Arc::new(broker) }
    }

    fn wrap(
        &self,
        next: Handler,
        faults: &ActionFaults,
        node_id: &Arc<str>,
        action: &Arc<str>,
        known_by: KnownBy,
    ) -> Handler {
        let options = faults.circuit_breaker.over(&self.options);
        if !options.enabled {
            return next;
        }
        let breaker = Arc::new(Breaker {
            options,
            broker: Arc::clone(&self.broker),
            node_id: Arc::clone(node_id),
            action: Arc::clone(action),
            known_by,
            alert: AtomicBool::new(false),
            state: Mutex::new(Guarded { circuit: Circuit::new(), timer: None }),
        });
        Arc::new(move |ctx: Context| {
            if !breaker.begin() {
                let error =
                    MoleculerError::service_not_available(&breaker.action, Some(&breaker.node_id));
                return Box::pin(std::future::ready(Err(error)));
            }
            let timed = breaker.options.count_timeouts.then(|| ctx.clone());
            let running = Running { breaker: Arc::clone(&breaker), timed };
            let work = next(ctx);
            Box::pin(async move {
                let outcome = work.await;
                running.end(&outcome);
                outcome
            })
        })
    }
}

impl Middleware for CircuitBreaker {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let node_id = &self.broker.node_id;
        let known_by = KnownBy::Definition(Arc::clone(&action.definition));
        self.wrap(next, &action.faults, node_id, &action.name, known_by)
    }

    fn remote_action(&self, next: Handler, endpoint: &Arc<Endpoint>) -> Handler {
        let faults = ActionFaults::advertised(&endpoint.definition);
        let known_by = KnownBy::Id(endpoint.id);
        self.wrap(next, &faults, &endpoint.node_id, &endpoint.name, known_by)
    }
}

/// A call under way.
struct Running {
    breaker: Arc<Breaker>,
    /// The context, while a time-out would count.
    timed: Option<Context>,
}

impl Running {
    fn end(mut self, outcome: &Outcome) {
        self.timed = None;
        match outcome {
            Ok(_) => self
                .breaker
                .change(|breaker, circuit| circuit.succeed(breaker.window(), &breaker.options)),
            Err(error) => self.breaker.fail(error),
        }
    }
}

impl Drop for Running {
    /// Time-outs end a call by dropping it, from further out in the chain.
    fn drop(&mut self) {
        let Some(ctx) = self.timed.take() else { return };
        if ctx.remaining(clock::now()).is_some_and(|remaining| remaining.is_zero()) {
            self.breaker.fail(&MoleculerError::request_timeout(&ctx.name, &self.breaker.node_id));
        }
    }
}

impl Breaker {
    fn begin(self: &Arc<Self>) -> bool {
        if !self.alert.load(Ordering::Acquire) {
            return true;
        }
        let mut allowed = true;
        self.change(|_, circuit| {
            let step;
            (allowed, step) = circuit.begin();
            step
        });
        allowed
    }

    /// Errors that the endpoint only passes on are not its own.
    fn fail(self: &Arc<Self>, error: &MoleculerError) {
        let own = error.fields().node_id.as_ref().is_none_or(|node_id| *node_id == self.node_id);
        if own && self.options.check.matches(error) {
            self.change(|breaker, circuit| circuit.fail(breaker.window(), &breaker.options));
        }
    }

    /// The window that it is now.
    fn window(&self) -> u64 {
        nanos(self.broker.start.elapsed()) / nanos(self.options.window_time).max(1)
    }

    /// Changes the circuit and carries out what follows.
    fn change(self: &Arc<Self>, change: impl FnOnce(&Self, &mut Circuit) -> Option<Step>) {
        let mut state = self.state.lock();
        let before = state.circuit.state();
        let Some(step) = change(self, &mut state.circuit) else { return };
        let after = state.circuit.state();
        self.alert.store(after != State::Closed, Ordering::Release);
        self.count(before, -1);
        self.count(after, 1);
        let closed_to_callers = matches!(step, Step::Open { .. } | Step::Trial);
        state.timer = closed_to_callers.then(|| self.ring_later());
        let endpoint = {
            let registry = self.broker.registry.read();
            let is = |endpoint: &Endpoint| self.known_by.is(endpoint);
            registry.actions.set_available(&self.action, &self.node_id, is, !closed_to_callers)
        };
        drop(state);
        // Nobody is told of an endpoint that is no longer offered.
        if let Some(endpoint) = endpoint {
            self.tell(step, &endpoint.service);
        }
    }

    fn count(&self, state: State, by: i64) {
        match state {
            State::Closed => {}
            State::Open => {
                self.broker.opened.add(by);
                self.broker.opened_total.add(by.max(0));
            }
            State::HalfOpen | State::HalfOpenWait => self.broker.half_opened.add(by),
        }
    }

    fn ring_later(self: &Arc<Self>) -> DropGuard {
        let token = self.broker.cancel.child_token();
        let breaker = Arc::downgrade(self);
        let half_open_time = self.options.half_open_time;
        let _on = self.broker.runtime.enter();
        task::spawn("circuit breaker", &token, async move {
            tokio::time::sleep(half_open_time).await;
            if let Some(breaker) = breaker.upgrade() {
                breaker.change(|_, circuit| circuit.half_open());
            }
        });
        token.drop_guard()
    }

    /// Tells all nodes (moleculer: src/middlewares/circuit-breaker.js trip, halfOpen, circuitClose).
    fn tell(&self, step: Step, service: &str) {
        let (action, node_id) = (&*self.action, &*self.node_id);
        let mut data = json!({"nodeID": node_id, "service": service, "action": action});
        let event = match step {
            Step::Trial => return,
            Step::Open { failures, count } => {
                tracing::warn!(action, node_id, failures, count, "circuit breaker opened");
                if let Value::Object(data) = &mut data {
                    data.insert("failures".into(), failures.into());
                    data.insert("count".into(), count.into());
                    data.insert("rate".into(), rate(failures, count));
                }
                "$circuit-breaker.opened"
            }
            Step::HalfOpen => {
                tracing::info!(action, node_id, "circuit breaker half-opened");
                "$circuit-breaker.half-opened"
            }
            Step::Close => {
                tracing::info!(action, node_id, "circuit breaker closed");
                "$circuit-breaker.closed"
            }
        };
        let Some(caller) = self.broker.caller.upgrade() else { return };
        let data = Payload::from_value(&data).unwrap_or_default();
        let _on = self.broker.runtime.enter();
        let sending = caller.send(EventType::Broadcast, event, data, EmitOptions::default());
        task::spawn("circuit breaker event", &self.broker.cancel, async move {
            // What could not be sent has been logged where it failed.
            let _ = sending.await;
        });
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        let state = self.state.get_mut().circuit.state();
        self.count(state, -1);
    }
}

/// Half a thousand years fit; dividing wider numbers would cost each call.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Without a decimal point where JavaScript has none.
fn rate(failures: u32, count: u32) -> Value {
    match failures {
        0 => 0.into(),
        _ if failures == count => 1.into(),
        _ => (f64::from(failures) / f64::from(count)).into(),
    }
}

#[cfg(test)]
mod tests;
