//! Counts the calls that this node runs, for `$node.stats` in the form of Moleculer 0.12
//! (moleculer 0.12: src/statistics.js).
//!
//! The last minute is kept in twelve slices of five seconds. A call costs one short lock of its action's
//! numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::clock::{self, Instant};
use crate::context::Outcome;
use crate::handler::Handler;
use crate::metrics::window::Window;
use crate::middleware::Middleware;
use crate::schema::ActionSchema;

/// Length of a slice, and how many are kept.
const SLICE: Duration = Duration::from_secs(5);
const SLICES_MAX: usize = 12;

/// Most actions, and most error codes of one action, that are told apart. Names and codes come from
/// guests, which could make up new ones without end.
const ACTIONS_MAX: usize = 10_000;
const CODES_MAX: usize = 100;

/// The middleware, and the numbers of all actions.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Mutex<Actions>>);

type Actions = BTreeMap<Arc<str>, Arc<Mutex<Counts>>>;

/// The numbers of one action.
#[derive(Clone, Debug)]
struct Counts {
    count: u64,
    errors: BTreeMap<i64, u64>,
    /// Latencies in milliseconds.
    window: Window,
    fuel: Fuel,
}

/// What handlers in guests have used since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Fuel {
    calls: u64,
    total: u64,
    max: u64,
}

impl Fuel {
    fn count(&mut self, fuel: u64) {
        if fuel > 0 {
            self.merge(&Self { calls: 1, total: fuel, max: fuel });
        }
    }

    fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.total = self.total.saturating_add(other.total);
        self.max = self.max.max(other.max);
    }

    fn to_value(self) -> Value {
        match self.total.checked_div(self.calls) {
            Some(mean) => json!({"mean": mean, "max": self.max, "total": self.total}),
            None => Value::Null,
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            count: 0,
            errors: BTreeMap::new(),
            window: Window::new(SLICE, SLICES_MAX),
            fuel: Fuel::default(),
        }
    }
}

impl Stats {
    fn of(&self, action: &Arc<str>) -> Option<Arc<Mutex<Counts>>> {
        let mut actions = self.0.lock();
        if actions.len() >= ACTIONS_MAX && !actions.contains_key(action) {
            return None;
        }
        Some(Arc::clone(actions.entry(Arc::clone(action)).or_default()))
    }

    /// `{requests: {total, actions}}`, each with `count`, `errors` by code, `rps` and `latency` in
    /// milliseconds; and what handlers in guests have used, which Moleculer does not have.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        let now = clock::now();
        let mut total = Counts::default();
        let mut actions = Map::new();
        let counts: Vec<_> = self
            .0
            .lock()
            .iter()
            .map(|(name, counts)| (Arc::clone(name), Arc::clone(counts)))
            .collect();
        for (name, counts) in counts {
            let mut counts = counts.lock();
            counts.window.turn(now);
            total.merge(&counts);
            actions.insert(name.to_string(), counts.to_value(now));
        }
        json!({"requests": {"total": total.to_value(now), "actions": actions}})
    }
}

impl Counts {
    fn count(&mut self, now: Instant, latency: Duration, outcome: &Outcome) {
        self.count += 1;
        if let Err(error) = outcome {
            let code = if error.code() == 0 { 500 } else { error.code() };
            if self.errors.len() < CODES_MAX || self.errors.contains_key(&code) {
                *self.errors.entry(code).or_default() += 1;
            }
        }
        self.window.add(now, latency.as_secs_f64() * 1_000.0);
    }

    /// Adds the numbers of another action.
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        self.window.merge(&other.window);
        self.fuel.merge(&other.fuel);
    }

    fn to_value(&self, now: Instant) -> Value {
        json!({
            "count": self.count,
            "errors": self.errors.iter().map(|(code, count)| (code.to_string(), *count)).collect::<BTreeMap<_, _>>(),
            "rps": self.rps(now),
            "latency": self.latency(),
            "fuel": self.fuel.to_value(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "calls of a minute")]
    fn rps(&self, now: Instant) -> Value {
        let total = self.window.count();
        let first = self.window.slices().next();
        let time = first.map(|first| now.saturating_duration_since(first.begin));
        let current =
            time.filter(|time| !time.is_zero()).map(|time| total as f64 / time.as_secs_f64());
        // The last slice has not ended.
        let ended = self.window.slices().len().saturating_sub(1);
        let ended = self.window.slices().take(ended);
        let values: Vec<_> = ended.map(|slice| slice.count as f64 / SLICE.as_secs_f64()).collect();
        json!({"current": current, "values": values})
    }

    fn latency(&self) -> Value {
        json!({
            "mean": self.window.summary().map(|summary| summary.mean),
            "median": self.window.quantile(0.5),
            "90th": self.window.quantile(0.9),
            "95th": self.window.quantile(0.95),
            "99th": self.window.quantile(0.99),
            "99.5th": self.window.quantile(0.995),
        })
    }
}

impl Middleware for Stats {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let Some(counts) = self.of(&action.name) else { return next };
        Arc::new(move |ctx| {
            let counts = Arc::clone(&counts);
            let begin = clock::now();
            let work = next(ctx.clone());
            Box::pin(async move {
                let outcome = work.await;
                let now = clock::now();
                let mut counts = counts.lock();
                counts.count(now, now.saturating_duration_since(begin), &outcome);
                counts.fuel.count(ctx.fuel());
                drop(counts);
                outcome
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::MoleculerError;
    use crate::payload::Payload;

    fn count(counts: &mut Counts, begin: Instant, at_ms: u64, latency_ms: u64, outcome: &Outcome) {
        let at = begin + Duration::from_millis(at_ms);
        counts.count(at, Duration::from_millis(latency_ms), outcome);
    }

    fn near(value: &Value, expected: f64) -> bool {
        value.as_f64().is_some_and(|value| (value / expected - 1.0).abs() < 0.06)
    }

    #[test]
    fn calls_of_a_minute_are_counted_by_slices() {
        let begin = clock::now();
        let mut counts = Counts::default();
        let error = Err(MoleculerError::client(404, "NO", "no"));
        for n in 0..100 {
            let outcome = if n % 10 == 0 { error.clone() } else { Ok(Payload::Absent) };
            count(&mut counts, begin, n * 100, n + 1, &outcome);
        }
        let value = counts.to_value(begin + Duration::from_secs(10));
        assert_eq!(value["count"], 100);
        assert_eq!(value["errors"], json!({"404": 10}));
        assert_eq!(value["rps"], json!({"current": 10.0, "values": [10.0]}));
        let latency = &value["latency"];
        assert_eq!(latency["mean"], 50.5);
        for (key, expected) in [("median", 50.0), ("90th", 90.0), ("99th", 99.0), ("99.5th", 100.0)]
        {
            assert!(near(&latency[key], expected), "{key}: {latency}");
        }
        counts.window.turn(begin + Duration::from_secs(3_600));
        let later = counts.to_value(begin + Duration::from_secs(3_600));
        assert_eq!((&later["count"], &later["latency"]["mean"]), (&json!(100), &Value::Null));
        assert_eq!(counts.window.slices().len(), SLICES_MAX);
    }

    #[test]
    fn the_total_adds_up_all_actions() {
        let stats = Stats::default();
        for (name, calls) in [("a.x", 3), ("a.y", 2)] {
            let counts = stats.of(&name.into()).unwrap();
            let now = clock::now();
            (0..calls).for_each(|_| counts.lock().count(now, SLICE, &Ok(Payload::Absent)));
        }
        let requests = &stats.snapshot()["requests"];
        assert_eq!(requests["total"]["count"], 5);
        assert_eq!(requests["actions"]["a.x"]["count"], 3);
        assert!(near(&requests["total"]["latency"]["median"], 5_000.0));
    }

    #[test]
    fn fuel_has_a_mean_and_a_maximum_and_none_where_no_guest_runs() {
        let mut counts = Counts::default();
        counts.fuel.count(0);
        assert_eq!(counts.to_value(clock::now())["fuel"], Value::Null);
        [10, 30].into_iter().for_each(|fuel| counts.fuel.count(fuel));
        let mut total = Counts::default();
        total.merge(&counts);
        let expected = json!({"mean": 20, "max": 30, "total": 40});
        assert_eq!(total.to_value(clock::now())["fuel"], expected);
    }

    #[test]
    fn made_up_names_and_codes_are_bounded() {
        let stats = Stats::default();
        for n in 0..=ACTIONS_MAX {
            assert_eq!(stats.of(&format!("a.{n}").into()).is_some(), n < ACTIONS_MAX);
        }
        let counts = stats.of(&"a.0".into()).unwrap();
        for code in 1..=200 {
            let error = Err(MoleculerError::client(code, "NO", "no"));
            counts.lock().count(clock::now(), SLICE, &error);
        }
        assert_eq!(counts.lock().errors.len(), CODES_MAX);
    }
}
