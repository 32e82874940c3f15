//! What actions and events say of fault tolerance: `retryPolicy`, `circuitBreaker`, `bulkhead`, `debounce`,
//! `throttle`.
//!
//! Each is a set of changes to the broker's options: what is not named stays as it is there (moleculer:
//! `Object.assign({}, options.retryPolicy, action.retryPolicy || {})` in src/middlewares/retry.js, and the
//! same in circuit-breaker.js and bulkhead.js). In the schema of a service of this node whatever is wrong is
//! reported; in what another node advertises it is ignored.

use std::time::Duration;

use serde_json::{Map, Value};

use super::read::fault;
use crate::config::faults::{Bulkhead, CircuitBreaker, ErrorCheck, RetryPolicy};

/// What an action says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionFaults {
    /// `retryPolicy`; applied by the caller.
    pub retry_policy: RetryPolicyChanges,
    /// `circuitBreaker`; applied by the caller.
    pub circuit_breaker: CircuitBreakerChanges,
    /// `bulkhead`; applied where the action runs.
    pub bulkhead: BulkheadChanges,
}

/// What an event says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFaults {
    /// `debounce`: the handler runs when so much time has passed without another event.
    pub debounce: Option<Duration>,
    /// `throttle`: events within this time after the last one that was handled are dropped.
    pub throttle: Option<Duration>,
    /// `bulkhead`.
    pub bulkhead: BulkheadChanges,
}

/// Changes to [`RetryPolicy`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryPolicyChanges {
    enabled: Option<bool>,
    retries: Option<u32>,
    delay: Option<Duration>,
    max_delay: Option<Duration>,
    factor: Option<f64>,
    check: Option<ErrorCheck>,
}

/// Changes to [`CircuitBreaker`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CircuitBreakerChanges {
    enabled: Option<bool>,
    threshold: Option<f64>,
    window_time: Option<Duration>,
    min_request_count: Option<u32>,
    half_open_time: Option<Duration>,
    check: Option<ErrorCheck>,
    max_failures: Option<u32>,
    count_timeouts: Option<bool>,
}

/// Changes to [`Bulkhead`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkheadChanges {
    enabled: Option<bool>,
    concurrency: Option<usize>,
    max_queue_size: Option<usize>,
}

impl ActionFaults {
    /// What another node advertises of an action.
    #[must_use]
    pub fn advertised(definition: &Map<String, Value>) -> Self {
        Self::read("", definition, &mut Vec::new())
    }

    /// Reads a definition whose place in the schema is `path`.
    pub(super) fn read(
        path: &str,
        definition: &Map<String, Value>,
        problems: &mut Vec<String>,
    ) -> Self {
        Self {
            retry_policy: RetryPolicyChanges::read(path, definition, problems),
            circuit_breaker: CircuitBreakerChanges::read(path, definition, problems),
            bulkhead: BulkheadChanges::read(path, definition, problems),
        }
    }
}

impl EventFaults {
    /// Reads a definition whose place in the schema is `path`. Zero is the same as nothing.
    pub(super) fn read(
        path: &str,
        definition: &Map<String, Value>,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut section = Section { map: Some(definition), path: path.to_owned(), problems };
        let debounce = section.millis("debounce").filter(|time| !time.is_zero());
        let throttle = section.millis("throttle").filter(|time| !time.is_zero());
        let bulkhead = BulkheadChanges::read(path, definition, problems);
        Self { debounce, throttle, bulkhead }
    }
}

impl RetryPolicyChanges {
    fn read(path: &str, definition: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut section = Section::of(path, "retryPolicy", definition, problems);
        section.known(&["enabled", "retries", "delay", "maxDelay", "factor", "check"]);
        Self {
            enabled: section.flag("enabled"),
            retries: section.whole("retries", 0),
            delay: section.millis("delay"),
            max_delay: section.millis("maxDelay"),
            factor: section.number("factor"),
            check: section.check("check"),
        }
    }

    /// The policy of the action.
    #[must_use]
    pub fn over(&self, options: &RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            enabled: self.enabled.unwrap_or(options.enabled),
            retries: self.retries.unwrap_or(options.retries),
            delay: self.delay.unwrap_or(options.delay),
            max_delay: self.max_delay.unwrap_or(options.max_delay),
            factor: self.factor.unwrap_or(options.factor),
            check: self.check.clone().unwrap_or_else(|| options.check.clone()),
        }
    }
}

impl CircuitBreakerChanges {
    fn read(path: &str, definition: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut section = Section::of(path, "circuitBreaker", definition, problems);
        section.known(&[
            "enabled",
            "threshold",
            "windowTime",
            "minRequestCount",
            "halfOpenTime",
            "check",
            "maxFailures",
            "countTimeouts",
        ]);
        Self {
            enabled: section.flag("enabled"),
            threshold: section.number("threshold"),
            window_time: section.seconds("windowTime"),
            min_request_count: section.whole("minRequestCount", 0),
            half_open_time: section.millis("halfOpenTime"),
            check: section.check("check"),
            max_failures: section.whole("maxFailures", 1),
            count_timeouts: section.flag("countTimeouts"),
        }
    }

    /// The breaker of the action.
    #[must_use]
    pub fn over(&self, options: &CircuitBreaker) -> CircuitBreaker {
        CircuitBreaker {
            enabled: self.enabled.unwrap_or(options.enabled),
            threshold: self.threshold.unwrap_or(options.threshold),
            window_time: self.window_time.unwrap_or(options.window_time),
            min_request_count: self.min_request_count.unwrap_or(options.min_request_count),
            half_open_time: self.half_open_time.unwrap_or(options.half_open_time),
            check: self.check.clone().unwrap_or_else(|| options.check.clone()),
            max_failures: self.max_failures.or(options.max_failures),
            count_timeouts: self.count_timeouts.unwrap_or(options.count_timeouts),
        }
    }
}

impl BulkheadChanges {
    fn read(path: &str, definition: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut section = Section::of(path, "bulkhead", definition, problems);
        section.known(&["enabled", "concurrency", "maxQueueSize"]);
        Self {
            enabled: section.flag("enabled"),
            concurrency: section.size("concurrency", 1),
            max_queue_size: section.size("maxQueueSize", 0),
        }
    }

    /// The bulkhead of the action or event.
    #[must_use]
    pub fn over(&self, options: &Bulkhead) -> Bulkhead {
        Bulkhead {
            enabled: self.enabled.unwrap_or(options.enabled),
            concurrency: self.concurrency.unwrap_or(options.concurrency),
            max_queue_size: self.max_queue_size.unwrap_or(options.max_queue_size),
        }
    }
}

/// One object of a definition. A value that cannot be used is a problem and counts as not given.
struct Section<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
    problems: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    /// The object below `key`; `null` and nothing are the same.
    fn of(
        path: &str,
        key: &str,
        parent: &'a Map<String, Value>,
        problems: &'a mut Vec<String>,
    ) -> Self {
        let path = format!("{path}.{key}");
        let map = match parent.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(map),
            Some(other) => {
                problems.push(fault(&path, other, "an object"));
                None
            }
        };
        Self { map, path, problems }
    }

    /// Reports keys that are none of these.
    fn known(&mut self, keys: &[&str]) {
        for key in self.map.into_iter().flat_map(Map::keys) {
            if !keys.contains(&key.as_str()) {
                let allowed = keys.join(", ");
                let problem = format!("'{}.{key}' is not known; allowed are {allowed}", self.path);
                self.problems.push(problem);
            }
        }
    }

    fn read<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let found = self.map?.get(key).filter(|found| !found.is_null())?;
        let value = read(found);
        if value.is_none() {
            self.problems.push(fault(&format!("{}.{key}", self.path), found, allowed));
        }
        value
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn whole(&mut self, key: &str, least: u32) -> Option<u32> {
        self.read(key, &format!("a whole number from {least}"), |found| {
            found.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= least)
        })
    }

    fn size(&mut self, key: &str, least: usize) -> Option<usize> {
        self.read(key, &format!("a whole number from {least}"), |found| {
            found.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n >= least)
        })
    }

    fn number(&mut self, key: &str) -> Option<f64> {
        self.read(key, "a number from 0", |found| found.as_f64().filter(|n| *n >= 0.0))
    }

    fn millis(&mut self, key: &str) -> Option<Duration> {
        let millis = |found: &Value| Duration::try_from_secs_f64(found.as_f64()? / 1_000.0).ok();
        self.read(key, "milliseconds", millis)
    }

    fn seconds(&mut self, key: &str) -> Option<Duration> {
        let seconds = |found: &Value| Duration::try_from_secs_f64(found.as_f64()?).ok();
        self.read(key, "seconds", |found| seconds(found).filter(|time| !time.is_zero()))
    }

    /// What is a function in Moleculer is data here.
    fn check(&mut self, key: &str) -> Option<ErrorCheck> {
        let map = self.read(key, "an object", |found| found.as_object().cloned())?;
        let path = format!("{}.{key}", self.path);
        let mut section = Section { map: Some(&map), path, problems: &mut *self.problems };
        section.known(&["retryable", "minCode", "codes", "types", "names"]);
        Some(ErrorCheck {
            retryable: section.flag("retryable").unwrap_or(false),
            min_code: section.read("minCode", "a whole number", Value::as_i64),
            codes: section.list("codes", "whole numbers", Value::as_i64),
            types: section.list("types", "texts", |one| one.as_str().map(str::to_owned)),
            names: section.list("names", "texts", |one| one.as_str().map(str::to_owned)),
        })
    }

    fn list<T>(&mut self, key: &str, of: &str, one: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let list = |found: &Value| found.as_array()?.iter().map(one).collect::<Option<Vec<T>>>();
        self.read(key, &format!("a list of {of}"), list).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(definition: &Value) -> (ActionFaults, Vec<String>) {
        let mut problems = Vec::new();
        let faults =
            ActionFaults::read("actions.a", definition.as_object().unwrap(), &mut problems);
        (faults, problems)
    }

    #[test]
    fn what_an_action_does_not_name_is_as_in_the_broker_s_options() {
        let (faults, problems) = read(&json!({
            "retryPolicy": {"enabled": true, "retries": 2, "check": {"codes": [418]}},
            "circuitBreaker": {"windowTime": 1.5, "halfOpenTime": 250},
            "bulkhead": null,
        }));
        assert!(problems.is_empty());
        let retry = faults.retry_policy.over(&RetryPolicy::default());
        let check = ErrorCheck { codes: vec![418], ..ErrorCheck::default() };
        let expected = RetryPolicy { enabled: true, retries: 2, check, ..RetryPolicy::default() };
        assert_eq!(retry, expected);
        let breaker = faults.circuit_breaker.over(&CircuitBreaker::default());
        assert_eq!(breaker.window_time, Duration::from_millis(1500));
        assert_eq!(breaker.half_open_time, Duration::from_millis(250));
        assert!(!breaker.enabled);
        assert_eq!(faults.bulkhead.over(&Bulkhead::default()), Bulkhead::default());
    }

    #[test]
    fn a_wrong_value_names_its_key_what_was_found_and_what_is_allowed() {
        let wrong = json!({
            "retryPolicy": {"enabled": "yes", "tries": 3},
            "circuitBreaker": {"check": {"codes": [500, "x"]}},
            "bulkhead": {"concurrency": 0},
        });
        let (faults, problems) = read(&wrong);
        assert_eq!(
            problems,
            [
                "'actions.a.retryPolicy.tries' is not known; allowed are enabled, retries, delay, \
                 maxDelay, factor, check",
                "'actions.a.retryPolicy.enabled' must be true or false, found \"yes\"",
                "'actions.a.circuitBreaker.check.codes' must be a list of whole numbers, found an array",
                "'actions.a.bulkhead.concurrency' must be a whole number from 1, found 0",
            ]
        );
        // The same, advertised by another node, counts as not given.
        assert_eq!(ActionFaults::advertised(wrong.as_object().unwrap()), faults);
        assert_eq!(faults.retry_policy, RetryPolicyChanges::default());
    }
}
