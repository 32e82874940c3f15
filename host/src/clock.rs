//! The time: the one place that reads clocks, so that tests can pause and advance it.
//!
//! Durations are measured with [`tokio::time::Instant`]. The wall clock is only for what other nodes and
//! people read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// The monotonic time now; stands still in tests that pause it.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as JavaScript's `Date.now()`. A clock before 1970 gives 0.
#[must_use]
pub fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
