//! The time: the one place that reads clocks, so that tests can pause and advance it.
//!
//! Durations are measured with [`tokio::time::Instant`]. The wall clock is only for what other nodes and
//! people read.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::coop::unconstrained;

pub use date::{DATE_MAX, date_text, iso_8601, rfc_1123};
pub use tokio::time::Instant;

mod date;

/// The monotonic time now; stands still in tests that pause it.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// What a future gives, or `None` when it is not ready until `at`; both at once count as ready.
///
/// The timer is made when the future has to wait for the first time, because most do not: it costs more than
/// many a local call. Unlike with tokio's own, the future is not polled again for that.
pub async fn within<T>(at: Instant, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if timer.is_none() {
            // Work that always uses up its share of the thread must not hold up the end of its time.
            timer.set(Some(unconstrained(tokio::time::sleep_until(at))));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Milliseconds since 1970, as JavaScript's `Date.now()`. A clock before 1970 gives 0.
#[must_use]
pub fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    #[cfg(test)]
    let now = now.saturating_add_signed(SHIFT_MS.get());
    now
}

#[cfg(test)]
thread_local! {
    /// How far the wall clock of this thread is off, in milliseconds.
    static SHIFT_MS: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Lets the wall clock of this thread jump.
#[cfg(test)]
pub(crate) fn jump(by_ms: i64) {
    SHIFT_MS.set(SHIFT_MS.get() + by_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_ends_by_itself_or_at_its_time() {
        let start = now();
        let at = start + Duration::from_millis(10);
        let after = async |ms| {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            ms
        };
        assert_eq!(within(start, std::future::ready(0)).await, Some(0));
        assert_eq!(within(at, after(4)).await, Some(4));
        assert_eq!(now() - start, Duration::from_millis(4));
        assert_eq!(within(at, after(100)).await, None);
        assert_eq!(now(), at);
    }
}
