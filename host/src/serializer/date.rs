//! Moments as guests see them: the text that `JSON.stringify` gives a `Date`.

const MS_PER_DAY: f64 = 86_400_000.0;

/// The furthest moment from 1970 that a `Date` can be, in milliseconds.
const TIME_MAX: f64 = 8.64e15;

/// The ISO text of a moment in milliseconds since 1970; `None` for what is no moment, which JavaScript writes
/// as `null`.
// ECMAScript: Date.prototype.toISOString; the days by Howard Hinnant's civil_from_days.
pub(super) fn iso(ms: f64) -> Option<String> {
    if ms.is_nan() || ms.abs() > TIME_MAX {
        return None;
    }
    let ms = ms.trunc();
    #[expect(clippy::cast_possible_truncation, reason = "at most TIME_MAX")]
    let (days, rest) = ((ms / MS_PER_DAY).floor() as i64, ms.rem_euclid(MS_PER_DAY) as i64);
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    let (seconds, ms) = (rest / 1_000, rest % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_javascript_does() {
        let check = |ms: f64, expected: Option<&str>| assert_eq!(iso(ms).as_deref(), expected);
        check(0.0, Some("1970-01-01T00:00:00.000Z"));
        check(1_500_000_000_123.0, Some("2017-07-14T02:40:00.123Z"));
        check(-1.0, Some("1969-12-31T23:59:59.999Z"));
        check(-62_167_219_200_001.0, Some("-000001-12-31T23:59:59.999Z"));
        check(253_402_300_800_000.0, Some("+010000-01-01T00:00:00.000Z"));
        check(TIME_MAX, Some("+275760-09-13T00:00:00.000Z"));
        check(TIME_MAX + 1.0, None);
        check(f64::NAN, None);
    }
}
