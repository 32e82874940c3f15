//! Pauses between attempts to reach what is away: short at first, longer with each attempt, never the same
//! for all nodes of a mesh. How often to try, and when to begin anew, is up to who tries.

use std::time::Duration;

use crate::uid;

/// The second pause; the first is none.
const FIRST: Duration = Duration::from_millis(50);

/// The pause before an attempt, counted from 0: none, then 50 ms, doubling up to `max`, with up to a tenth
/// of jitter so that the nodes of a mesh do not all come back in the same moment.
#[must_use]
pub fn delay(attempt: u32, max: Duration) -> Duration {
    let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
    let delay = FIRST.saturating_mul(1 << doublings.min(20)).min(max);
    delay + jitter(delay / 10)
}

/// A random time up to `most`, in whole milliseconds: what is added so that not all nodes do the same in the
/// same moment.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    let most_ms = usize::try_from(most.as_millis()).unwrap_or(0);
    Duration::from_millis(uid::random_below(most_ms + 1).try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_attempts_is_bounded() {
        let max = Duration::from_secs(2);
        assert_eq!(delay(0, max), Duration::ZERO);
        assert!(delay(1, max) >= Duration::from_millis(50));
        assert!(delay(3, max) >= Duration::from_millis(200));
        assert!(delay(u32::MAX, max) >= max && delay(u32::MAX, max) <= max * 11 / 10);
    }

    #[test]
    fn jitter_reaches_from_nothing_to_its_most() {
        assert_eq!(jitter(Duration::from_micros(999)), Duration::ZERO);
        let times: Vec<_> =
            (0..1_000).map(|_| jitter(Duration::from_millis(2)).as_millis()).collect();
        assert!([0, 1, 2].iter().all(|ms| times.contains(ms)) && times.iter().all(|ms| *ms <= 2));
    }
}
