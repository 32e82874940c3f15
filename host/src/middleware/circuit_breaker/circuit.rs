//! The state of one circuit: what outcomes and the passing of time do to it
//! (moleculer: src/middlewares/circuit-breaker.js).
//!
//! Pure: it is told what happened and in which window, and answers with the [`Step`] that others carry out.
//! Timers, events and the registry are the breaker's business.

use crate::config::faults::CircuitBreaker as Options;

/// Where a circuit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Calls go through and are counted.
    Closed,
    /// Nobody calls.
    Open,
    /// The next call is a trial.
    HalfOpen,
    /// The trial runs; nobody else calls.
    HalfOpenWait,
}

/// What a change of the state asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// It opened: keep callers away and come back after the half-open time.
    Open {
        /// Failures in the window.
        failures: u32,
        /// Calls in the window.
        count: u32,
    },
    /// Its trial began: keep others away and come back after the half-open time, so that a trial which
    /// never ends is not the last.
    Trial,
    /// It is half-open: let a caller in.
    HalfOpen,
    /// It closed: let callers in.
    Close,
}

/// A circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    state: State,
    /// The window that the counts belong to.
    window: u64,
    count: u32,
    failures: u32,
    /// Failures one after the other, in any window.
    row: u32,
}

impl Circuit {
    pub(super) fn new() -> Self {
        Self { state: State::Closed, window: 0, count: 0, failures: 0, row: 0 }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// A call begins. False when it must not: it chose this endpoint just before others were kept away.
    pub(super) fn begin(&mut self) -> (bool, Option<Step>) {
        match self.state {
            State::Closed => (true, None),
            State::HalfOpen => {
                self.state = State::HalfOpenWait;
                (true, Some(Step::Trial))
            }
            State::Open | State::HalfOpenWait => (false, None),
        }
    }

    /// A call went well.
    pub(super) fn succeed(&mut self, window: u64, options: &Options) -> Option<Step> {
        self.turn(window);
        self.count = self.count.saturating_add(1);
        self.row = 0;
        if self.state == State::HalfOpenWait {
            *self = Self { window, ..Self::new() };
            return Some(Step::Close);
        }
        self.check(options)
    }

    /// A call failed in a way that counts.
    pub(super) fn fail(&mut self, window: u64, options: &Options) -> Option<Step> {
        self.turn(window);
        self.count = self.count.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        self.row = self.row.saturating_add(1);
        self.check(options)
    }

    /// The half-open time has passed.
    pub(super) fn half_open(&mut self) -> Option<Step> {
        match self.state {
            State::Open | State::HalfOpenWait => {
                self.state = State::HalfOpen;
                Some(Step::HalfOpen)
            }
            // The circuit closed while the timer was about to ring.
            State::Closed | State::HalfOpen => None,
        }
    }

    /// A new window begins with counts of zero.
    fn turn(&mut self, window: u64) {
        if window != self.window {
            self.window = window;
            self.count = 0;
            self.failures = 0;
        }
    }

    fn check(&mut self, options: &Options) -> Option<Step> {
        let rate = f64::from(self.failures) / f64::from(self.count);
        let too_many = self.count >= options.min_request_count && rate >= options.threshold;
        let in_a_row = options.max_failures.is_some_and(|max| self.row >= max);
        if self.state == State::Open || !(too_many || in_a_row) {
            return None;
        }
        self.state = State::Open;
        Some(Step::Open { failures: self.failures, count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(min_request_count: u32) -> Options {
        Options { min_request_count, ..Options::default() }
    }

    fn opened(failures: u32, count: u32) -> Option<Step> {
        Some(Step::Open { failures, count })
    }

    #[test]
    fn it_opens_at_the_threshold_once_there_are_enough_calls() {
        let options = options(4);
        let mut circuit = Circuit::new();
        assert_eq!(circuit.fail(0, &options), None);
        assert_eq!(circuit.succeed(0, &options), None);
        assert_eq!(circuit.fail(0, &options), None);
        // Also a success can be the call that makes them enough.
        assert_eq!(circuit.succeed(0, &options), opened(2, 4));
        assert_eq!(circuit.begin(), (false, None));
        // What was under way when it opened changes nothing.
        assert_eq!(circuit.fail(0, &options), None);
        assert_eq!(circuit.state(), State::Open);
    }

    #[test]
    fn a_new_window_begins_with_zero() {
        let options = options(2);
        let mut circuit = Circuit::new();
        assert_eq!(circuit.fail(0, &options), None);
        assert_eq!(circuit.fail(1, &options), None);
        assert_eq!(circuit.fail(1, &options), opened(2, 2));
    }

    #[test]
    fn one_trial_closes_it_or_opens_it_again() {
        let options = options(1);
        let mut circuit = Circuit::new();
        assert_eq!(circuit.fail(0, &options), opened(1, 1));
        assert_eq!(circuit.half_open(), Some(Step::HalfOpen));
        assert_eq!(circuit.begin(), (true, Some(Step::Trial)));
        assert_eq!(circuit.begin(), (false, None));
        assert_eq!(circuit.fail(0, &options), opened(2, 2));
        assert_eq!(circuit.half_open(), Some(Step::HalfOpen));
        assert_eq!(circuit.begin(), (true, Some(Step::Trial)));
        assert_eq!(circuit.succeed(0, &options), Some(Step::Close));
        assert_eq!(circuit.half_open(), None);
        assert_eq!((circuit.count, circuit.failures, circuit.row), (0, 0, 0));
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let options = options(1);
        let mut circuit = Circuit::new();
        circuit.fail(0, &options);
        circuit.half_open();
        circuit.begin();
        assert_eq!(circuit.half_open(), Some(Step::HalfOpen));
        assert_eq!(circuit.begin(), (true, Some(Step::Trial)));
    }

    #[test]
    fn the_old_rule_counts_failures_in_a_row_whatever_the_window() {
        let options = Options { max_failures: Some(3), ..options(100) };
        let mut circuit = Circuit::new();
        circuit.fail(0, &options);
        circuit.fail(0, &options);
        circuit.succeed(0, &options);
        assert_eq!(circuit.fail(1, &options), None);
        assert_eq!(circuit.fail(2, &options), None);
        assert_eq!(circuit.fail(3, &options), opened(1, 1));
        // A trial that fails opens it at once: the row goes on.
        circuit.half_open();
        circuit.begin();
        assert_eq!(circuit.fail(3, &options), opened(2, 2));
    }
}
