//! Times and sizes as people write them: `"30s"`, `"64MiB"`.

use std::time::Duration;

/// Reads a time with its unit: `ms`, `s`, `m`, `h`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads a size in bytes with its unit: `B`, `KB` `MB` `GB` (powers of 1000), `KiB` `MiB` `GiB` (of 1024).
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    whole(number * factor)
}

/// A number without a fraction that a `u64` holds.
#[must_use]
pub fn whole(number: f64) -> Option<u64> {
    // 2^53: above it a float has gaps, so the text would not mean what it says.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: whole, not negative, below 2^53"
    )]
    fits.then_some(number as u64)
}

/// A size as people write it, in the largest binary unit that divides it.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in units {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}

/// The number and the unit after it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((number.replace('_', "").parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("250ms", Some(250));
        check("1.5 s", Some(1_500));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("30", None);
        check("-1s", None);
        check("s", None);
        check("1 day", None);
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(bytes(text), expected, "{text}");
        check("64MiB", Some(64 << 20));
        check("64 mib", Some(64 << 20));
        check("1.5KiB", Some(1_536));
        check("2MB", Some(2_000_000));
        check("1_000", Some(1_000));
        check("1.5", None);
        check("64Mb5", None);
        check("", None);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_bytes(64 << 20), "64 MiB");
        assert_eq!(show_bytes(1_536), "1536 B");
        assert_eq!(show_bytes(0), "0 B");
    }
}
