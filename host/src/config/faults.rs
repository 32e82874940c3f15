//! Options of the fault-tolerance middlewares: retry, circuit breaker, bulkhead
//! (moleculer: src/service-broker.js defaultOptions).

use std::time::Duration;

use crate::error::MoleculerError;

/// Which errors a middleware acts on: what Moleculer's `check` functions say, as data. An error matches when
/// it has one of the properties that are named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorCheck {
    /// Errors that say of themselves that the call may be tried again.
    pub retryable: bool,
    /// Errors with at least this code; what is no number does not match.
    pub min_code: Option<i64>,
    /// Errors with one of these codes.
    pub codes: Vec<i64>,
    /// Errors with one of these types, such as `SERVICE_NOT_AVAILABLE`.
    pub types: Vec<String>,
    /// Errors of one of these classes, such as `RequestTimeoutError`.
    pub names: Vec<String>,
}

impl ErrorCheck {
    /// Retry's default: what is retryable.
    #[must_use]
    pub fn retryable() -> Self {
        Self { retryable: true, ..Self::default() }
    }

    /// The circuit breaker's default: code 500 and above.
    #[must_use]
    pub fn server_errors() -> Self {
        Self { min_code: Some(500), ..Self::default() }
    }

    /// Whether an error is one of them.
    #[must_use]
    pub fn matches(&self, error: &MoleculerError) -> bool {
        let code = error.code();
        (self.retryable && error.retryable())
            || self.min_code.is_some_and(|least| code >= least)
            || self.codes.contains(&code)
            || self.types.iter().any(|one| one == error.kind())
            || self.names.iter().any(|one| one == error.name())
    }
}

/// Section `retryPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// false
    pub enabled: bool,
    /// Attempts after the first. 5
    pub retries: u32,
    /// Before the first retry. 100 ms
    pub delay: Duration,
    /// The longest delay. 1 s
    pub max_delay: Duration,
    /// What the delay grows by from one attempt to the next. 2
    pub factor: f64,
    /// What is tried again. Retryable errors
    pub check: ErrorCheck,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            retries: 5,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            factor: 2.0,
            check: ErrorCheck::retryable(),
        }
    }
}

/// Section `circuitBreaker`.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// false
    pub enabled: bool,
    /// Part of the calls in a window that must fail. 0.5
    pub threshold: f64,
    /// After which the counts begin anew. 60 s
    pub window_time: Duration,
    /// Calls in a window before the threshold means anything. 20
    pub min_request_count: u32,
    /// From open to half-open. 10 s
    pub half_open_time: Duration,
    /// What counts as a failure. Code 500 and above
    pub check: ErrorCheck,
    /// The rule of Moleculer 0.12: so many failures one after the other open the circuit. None
    pub max_failures: Option<u32>,
    /// Whether time-outs count as failures, which Moleculer's order of middlewares hides from the breaker
    /// (moleculer issue 1202). They pass the check like any other error. false
    pub count_timeouts: bool,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            enabled: false,
            threshold: 0.5,
            window_time: Duration::from_secs(60),
            min_request_count: 20,
            half_open_time: Duration::from_secs(10),
            check: ErrorCheck::server_errors(),
            max_failures: None,
            count_timeouts: false,
        }
    }
}

/// Section `bulkhead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// false
    pub enabled: bool,
    /// Calls of an action that run at once. 10
    pub concurrency: usize,
    /// Calls that wait; more are refused. 100
    pub max_queue_size: usize,
}

impl Default for Bulkhead {
    fn default() -> Self {
        Self { enabled: false, concurrency: 10, max_queue_size: 100 }
    }
}
