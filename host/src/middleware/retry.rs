//! Whether and when to try a failed call again (moleculer: src/middlewares/retry.js).
//!
//! Only on the caller's side, so that a chain of nodes does not multiply its attempts. Every attempt chooses
//! an endpoint anew, therefore the broker runs the loop and this file only decides.

use std::time::Duration;

use crate::error::MoleculerError;

/// Delay before the first retry, doubled for each further one.
const DELAY: Duration = Duration::from_millis(100);
/// Longest delay.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// How long to wait before the next attempt, or `None` to give up. `attempt` is the number of retries made.
#[must_use]
pub fn next_delay(error: &MoleculerError, attempt: u32, retries: u32) -> Option<Duration> {
    if attempt >= retries || !error.retryable() {
        return None;
    }
    Some(DELAY.saturating_mul(1 << attempt.min(10)).min(DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_errors_are_retried_with_growing_delays() {
        let busy = MoleculerError::queue_is_full("a.b", "n", 1, 1);
        let delays: Vec<_> =
            (0..6).map(|n| next_delay(&busy, n, 5).map(|d| d.as_millis())).collect();
        assert_eq!(delays, [Some(100), Some(200), Some(400), Some(800), Some(1000), None]);
        assert_eq!(next_delay(&MoleculerError::client(400, "X", "m"), 0, 5), None);
    }
}
