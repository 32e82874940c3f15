//! Calls: how long, how deep, and what is done when they fail.

use std::time::Duration;

use crate::config::faults::ErrorCheck;
use crate::config::options::{NodeOptions, narrow, narrow_32};
use crate::config::schema::{Entry, Kind, MANY, Unit};
use crate::config::value::{Located, Value};

/// What a check is: what Moleculer's `check` functions say, as data.
const CHECK: &str = "a table with some of retryable (true or false), minCode, codes, types, names; an error \
                     that has one of these properties counts";

/// The options.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries = calls();
    entries.extend(retry_policy());
    entries.extend(circuit_breaker());
    entries.extend(bulkhead());
    entries
}

fn calls() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "requestTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.request_timeout = time;
            }),
            default: "0",
            doc: "Time limit of calls that bring none; 0 is no limit.",
        },
        Entry {
            name: "maxCallLevel",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.max_call_level = narrow_32(n);
            }),
            default: "0",
            doc: "Longest chain of calls; 0 is unlimited.",
        },
        Entry {
            name: "dependencyTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.dependency_timeout = time;
            }),
            default: "0",
            doc: "How long to wait for the dependencies of a service; 0 is for ever.",
        },
        Entry {
            name: "tracking.enabled",
            kind: Kind::Switch(|node, on| node.broker.tracking.enabled = on),
            default: "true",
            doc: "Let running calls finish when the node or a service stops.",
        },
        Entry {
            name: "tracking.shutdownTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.tracking.shutdown_timeout = time;
            }),
            default: "5000",
            doc: "How long a stop waits for them.",
        },
    ]
}

fn retry_policy() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "retryPolicy.enabled",
            kind: Kind::Switch(|node, on| node.broker.retry_policy.enabled = on),
            default: "false",
            doc: "Try failed calls again.",
        },
        Entry {
            name: "retryPolicy.retries",
            kind: Kind::Number(0, 1_000, |node, n| node.broker.retry_policy.retries = narrow_32(n)),
            default: "5",
            doc: "Attempts after the first.",
        },
        Entry {
            name: "retryPolicy.delay",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.retry_policy.delay = time;
            }),
            default: "100",
            doc: "Before the first retry.",
        },
        Entry {
            name: "retryPolicy.maxDelay",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.retry_policy.max_delay = time;
            }),
            default: "1000",
            doc: "The longest delay.",
        },
        Entry {
            name: "retryPolicy.factor",
            kind: Kind::Real(0.0, MANY, |node, factor| node.broker.retry_policy.factor = factor),
            default: "2",
            doc: "What the delay grows by from one attempt to the next.",
        },
        Entry {
            name: "retryPolicy.check",
            kind: Kind::Special(CHECK, |node, value| {
                check(value, ErrorCheck::retryable())
                    .map(|check| node.broker.retry_policy.check = check)
            }),
            default: "{ retryable = true }",
            doc: "What is tried again.",
        },
    ]
}

fn circuit_breaker() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "circuitBreaker.enabled",
            kind: Kind::Switch(|node, on| node.broker.circuit_breaker.enabled = on),
            default: "false",
            doc: "Leave endpoints alone that keep failing.",
        },
        Entry {
            name: "circuitBreaker.threshold",
            kind: Kind::Real(0.0, 1.0, |node, part| node.broker.circuit_breaker.threshold = part),
            default: "0.5",
            doc: "Part of the calls in a window that must fail.",
        },
        Entry {
            name: "circuitBreaker.windowTime",
            kind: Kind::Time(Unit::Seconds, Duration::from_millis(1), |node, time| {
                node.broker.circuit_breaker.window_time = time;
            }),
            default: "60",
            doc: "After which the counts begin anew.",
        },
        Entry {
            name: "circuitBreaker.minRequestCount",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.circuit_breaker.min_request_count = narrow_32(n);
            }),
            default: "20",
            doc: "Calls in a window before the threshold means anything.",
        },
        Entry {
            name: "circuitBreaker.halfOpenTime",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.circuit_breaker.half_open_time = time;
            }),
            default: "10000",
            doc: "How long the circuit is open before one call may try.",
        },
        Entry {
            name: "circuitBreaker.check",
            kind: Kind::Special(CHECK, |node, value| {
                check(value, ErrorCheck::server_errors())
                    .map(|check| node.broker.circuit_breaker.check = check)
            }),
            default: "{ minCode = 500 }",
            doc: "What counts as a failure.",
        },
        Entry {
            name: "circuitBreaker.maxFailures",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.circuit_breaker.max_failures = Some(narrow_32(n)).filter(|n| *n > 0);
            }),
            default: "0",
            doc: "The rule of Moleculer 0.12: so many failures in a row open the circuit; 0 is none.",
        },
        Entry {
            name: "circuitBreaker.countTimeouts",
            kind: Kind::Switch(|node, on| node.broker.circuit_breaker.count_timeouts = on),
            default: "false",
            doc: "Count time-outs of calls to other nodes, which Moleculer does not since 0.13.",
        },
    ]
}

fn bulkhead() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "bulkhead.enabled",
            kind: Kind::Switch(|node, on| node.broker.bulkhead.enabled = on),
            default: "false",
            doc: "Limit the calls of each action that run at once.",
        },
        Entry {
            name: "bulkhead.concurrency",
            kind: Kind::Number(1, u32::MAX as u64, |node, n| {
                node.broker.bulkhead.concurrency = narrow(n);
            }),
            default: "10",
            doc: "So many run at once.",
        },
        Entry {
            name: "bulkhead.maxQueueSize",
            kind: Kind::Number(0, 10_000_000, |node, n| {
                node.broker.bulkhead.max_queue_size = narrow(n);
            }),
            default: "100",
            doc: "So many more wait; the next is refused with `QueueIsFullError`.",
        },
    ]
}

fn check(located: &Located, standard: ErrorCheck) -> Result<ErrorCheck, String> {
    let Value::Table(entries) = &located.value else {
        return match located.value {
            Value::Null => Ok(standard),
            _ => Err("a function cannot be written here".into()),
        };
    };
    let mut check = ErrorCheck::default();
    for (key, value) in entries {
        let wrong = || format!("{key} is {}", value.found());
        match key.as_str() {
            "retryable" => check.retryable = value.as_bool().ok_or_else(wrong)?,
            "minCode" => check.min_code = Some(value.as_integer().ok_or_else(wrong)?),
            "codes" => check.codes = list(value, Located::as_integer).ok_or_else(wrong)?,
            "types" => check.types = list(value, text).ok_or_else(wrong)?,
            "names" => check.names = list(value, text).ok_or_else(wrong)?,
            _ => return Err(format!("there is no '{key}'")),
        }
    }
    Ok(check)
}

fn text(value: &Located) -> Option<String> {
    value.as_text().map(str::to_owned)
}

fn list<T>(value: &Located, one: impl Fn(&Located) -> Option<T>) -> Option<Vec<T>> {
    value.as_list()?.iter().map(one).collect()
}
