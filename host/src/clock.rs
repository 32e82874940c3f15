//! The time: the one place that reads clocks, so that tests can pause and advance it.
//!
//! Durations are measured with [`tokio::time::Instant`]. The wall clock is only for what other nodes and
//! people read.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::coop::unconstrained;

pub use tokio::time::Instant;

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

/// A moment as `2026-01-31T12:00:00.000Z`, like JavaScript's `toISOString`.
#[must_use]
pub fn iso_8601(unix_ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = civil(unix_ms);
    let ms = unix_ms % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A moment as `Sat, 31 Jan 2026 12:00:00 GMT`, like JavaScript's `toUTCString`.
#[must_use]
pub fn rfc_1123(unix_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second, weekday } = civil(unix_ms);
    let weekday = DAYS.get(weekday).copied().unwrap_or_default();
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// A moment in the Gregorian calendar, UTC.
struct Civil {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// 0 is Thursday, the first of January 1970.
    weekday: usize,
}

/// Splits a moment by counting in eras of 400 years that begin in March, so that the leap day is the last.
fn civil(unix_ms: u64) -> Civil {
    let seconds = unix_ms / 1_000;
    let days = seconds / 86_400;
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Civil {
        year: year_of_era + era * 400 + u64::from(month <= 2),
        month: usize::try_from(month).unwrap_or(1),
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        hour: seconds / 3_600 % 24,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        weekday: usize::try_from(days % 7).unwrap_or(0),
    }
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

    #[test]
    fn moments_read_as_in_javascript() {
        let check = |ms, iso: &str, utc: &str| {
            assert_eq!(iso_8601(ms), iso);
            assert_eq!(rfc_1123(ms), utc);
        };
        check(0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT");
        check(1_500_000_000_123, "2017-07-14T02:40:00.123Z", "Fri, 14 Jul 2017 02:40:00 GMT");
        check(1_798_761_599_999, "2026-12-31T23:59:59.999Z", "Thu, 31 Dec 2026 23:59:59 GMT");
    }
}
