//! Moments of the wall clock as texts of the Gregorian calendar in UTC, as JavaScript writes them.
//!
//! Not here: what reads such texts, which is `validator`.

/// The furthest moment from 1970 that JavaScript's `Date` can be, in milliseconds.
pub const DATE_MAX: f64 = 8.64e15;

const MS_PER_DAY: i64 = 86_400_000;

/// A moment as `2026-01-31T12:00:00.000Z`, like JavaScript's `toISOString`.
#[must_use]
pub fn iso_8601(unix_ms: u64) -> String {
    iso(moment(unix_ms))
}

/// The same for a number that a `Date` would be made of; `None` for what is no moment, which JavaScript writes
/// as `null`.
#[must_use]
pub fn date_text(unix_ms: f64) -> Option<String> {
    if unix_ms.is_nan() || unix_ms.abs() > DATE_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most DATE_MAX")]
    let unix_ms = unix_ms as i64;
    Some(iso(unix_ms))
}

/// A moment as `Sat, 31 Jan 2026 12:00:00 GMT`, like JavaScript's `toUTCString`.
#[must_use]
pub fn rfc_1123(unix_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second, weekday, .. } = civil(moment(unix_ms));
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    let (weekday, month) = (name(&DAYS, weekday), name(&MONTHS, month - 1));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn moment(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

/// Years beyond four digits have a sign and six (ECMAScript: `Date.prototype.toISOString`).
fn iso(unix_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, ms, .. } = civil(unix_ms);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A moment in the Gregorian calendar, UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    ms: i64,
    /// 0 is Thursday, the first of January 1970.
    weekday: i64,
}

/// Splits a moment by counting in eras of 400 years that begin in March, so that the leap day is the last
/// (Howard Hinnant's `civil_from_days`).
fn civil(unix_ms: i64) -> Civil {
    let (days, rest) = (unix_ms.div_euclid(MS_PER_DAY), unix_ms.rem_euclid(MS_PER_DAY));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        hour: rest / 3_600_000,
        minute: rest / 60_000 % 60,
        second: rest / 1_000 % 60,
        ms: rest % 1_000,
        weekday: days.rem_euclid(7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn numbers_are_the_dates_that_javascript_makes_of_them() {
        let check = |ms: f64, expected: Option<&str>| {
            assert_eq!(date_text(ms).as_deref(), expected, "{ms}");
        };
        check(0.0, Some("1970-01-01T00:00:00.000Z"));
        check(1_500_000_000_123.9, Some("2017-07-14T02:40:00.123Z"));
        check(-0.9, Some("1970-01-01T00:00:00.000Z"));
        check(-1.0, Some("1969-12-31T23:59:59.999Z"));
        check(-62_167_219_200_001.0, Some("-000001-12-31T23:59:59.999Z"));
        check(253_402_300_800_000.0, Some("+010000-01-01T00:00:00.000Z"));
        check(DATE_MAX, Some("+275760-09-13T00:00:00.000Z"));
        check(-DATE_MAX, Some("-271821-04-20T00:00:00.000Z"));
        check(DATE_MAX + 1.0, None);
        check(f64::NAN, None);
    }
}
