//! Whether and when to try a failed call again (moleculer: src/middlewares/retry.js).
//!
//! Only on the caller's side, so that a chain of nodes does not multiply its attempts. Every attempt chooses
//! an endpoint anew, therefore the broker runs the loop and this file only decides.

use std::time::Duration;

use crate::config::faults::RetryPolicy;
use crate::error::MoleculerError;

/// How long to wait before the next attempt, or `None` to give up. `attempt` is the number of retries made,
/// `retries` the most that may be made.
#[must_use]
pub fn next_delay(
    policy: &RetryPolicy,
    error: &MoleculerError,
    attempt: u32,
    retries: u32,
) -> Option<Duration> {
    (attempt < retries && policy.check.matches(error)).then(|| delay(policy, attempt))
}

/// The delay before the retry that comes after so many others.
#[must_use]
pub fn delay(policy: &RetryPolicy, attempt: u32) -> Duration {
    let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
    let grown = policy.delay.as_secs_f64() * policy.factor.powi(exponent);
    // What is no time at all, or none that can be counted, is longer than the longest.
    Duration::try_from_secs_f64(grown).map_or(policy.max_delay, |grown| grown.min(policy.max_delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_errors_are_retried_with_growing_delays() {
        let policy = RetryPolicy::default();
        let busy = MoleculerError::queue_is_full("a.b", "n", 1, 1);
        let delays: Vec<_> =
            (0..6).map(|n| next_delay(&policy, &busy, n, 5).map(|d| d.as_millis())).collect();
        assert_eq!(delays, [Some(100), Some(200), Some(400), Some(800), Some(1000), None]);
        assert_eq!(next_delay(&policy, &MoleculerError::client(400, "X", "m"), 0, 5), None);
    }

    #[test]
    fn a_delay_that_cannot_be_counted_is_the_longest_one() {
        let policy = RetryPolicy { factor: f64::MAX, ..RetryPolicy::default() };
        assert_eq!(delay(&policy, 5), policy.max_delay);
        let policy = RetryPolicy { factor: f64::NAN, ..RetryPolicy::default() };
        assert_eq!(delay(&policy, 1), policy.max_delay);
    }
}
