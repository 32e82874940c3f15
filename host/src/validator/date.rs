//! Rule `date` (fastest-validator: lib/rules/date.js). JSON has no dates, so without `convert` nothing fits;
//! with it, numbers and texts become the text that `JSON.stringify` gives a `Date`.
//!
//! Texts are read as V8 reads them: the forms of ISO 8601, and the looser ones that people write. Times
//! without a zone are UTC here whatever the zone of the machine is; words that mean nothing are refused.

use serde_json::Value;

use super::item::{Place, Run, Words};
use super::javascript;
use super::rule::Outcome;
use crate::clock;

pub(super) fn check(
    convert: bool,
    value: &Value,
    words: &Words,
    place: &Place<'_>,
    run: &mut Run,
) -> Outcome {
    let Some(text) = convert.then(|| moment(value)).flatten().and_then(clock::date_text) else {
        run.fail(words, place, "date", None, Some(value));
        return Outcome::Kept;
    };
    if value.as_str() == Some(&text) { Outcome::Kept } else { Outcome::Set(text.into()) }
}

/// `new Date(value.length && !isNaN(+value) ? +value : value)`, in milliseconds since 1970, also when those
/// are no moment.
fn moment(value: &Value) -> Option<f64> {
    let from_text = |text: &str| {
        let number = javascript::text_number(text);
        if text.is_empty() || number.is_nan() { parse(text) } else { Some(number) }
    };
    match value {
        Value::Array(items) if items.is_empty() => None,
        Value::Array(_) => from_text(&javascript::string(value)),
        Value::String(text) => from_text(text),
        Value::Number(_) | Value::Bool(_) => Some(javascript::number(value)),
        Value::Null | Value::Object(_) => None,
    }
}

/// A moment in parts.
#[derive(Default)]
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    ms: i64,
    /// Minutes east of Greenwich.
    zone: i64,
}

impl Parts {
    /// Days that a month does not have are those of the next one.
    fn moment(&self) -> Option<f64> {
        let valid = (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && (0..=59).contains(&self.minute)
            && (0..=59).contains(&self.second)
            && ((0..=23).contains(&self.hour)
                || (self.hour, self.minute, self.second, self.ms) == (24, 0, 0, 0));
        let minutes = self.hour * 60 + self.minute - self.zone;
        let days = days_from_civil(self.year, self.month, self.day);
        let ms = days * 86_400_000 + minutes * 60_000 + self.second * 1_000 + self.ms;
        #[expect(clippy::cast_precision_loss, reason = "years have at most six digits")]
        valid.then_some(ms as f64)
    }
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn parse(text: &str) -> Option<f64> {
    /// Longer texts are no dates.
    const LEN_MAX: usize = 100;
    let text = text.trim_matches(javascript::is_space);
    if text.len() > LEN_MAX {
        return None;
    }
    parse_iso(text).or_else(|| parse_loose(text))?.moment()
}

/// `YYYY[-MM[-DD]][THH:mm[:ss[.sss]][Z|±HH[:]mm]]`, the year also with sign and six digits.
fn parse_iso(text: &str) -> Option<Parts> {
    let mut rest = text;
    let mut parts = Parts { month: 1, day: 1, ..Parts::default() };
    let sign = take(&mut rest, |c| "+-".contains(c));
    parts.year = digits(&mut rest, if sign.is_some() { 6 } else { 4 })?;
    if sign == Some('-') {
        parts.year = Some(-parts.year).filter(|year| *year != 0)?;
    }
    if take(&mut rest, |c| c == '-').is_some() {
        parts.month = digits(&mut rest, 2)?;
        if take(&mut rest, |c| c == '-').is_some() {
            parts.day = digits(&mut rest, 2)?;
        }
    }
    if take(&mut rest, |c| "Tt ".contains(c)).is_some() {
        parts.hour = digits(&mut rest, 2)?;
        take(&mut rest, |c| c == ':')?;
        parts.minute = digits(&mut rest, 2)?;
        if take(&mut rest, |c| c == ':').is_some() {
            parts.second = digits(&mut rest, 2)?;
            if take(&mut rest, |c| c == '.').is_some() {
                parts.ms = fraction(&mut rest)?;
            }
        }
        parts.zone = zone(&mut rest)?;
    }
    rest.is_empty().then_some(parts)
}

/// Words, numbers and times in any order: `Tue, 15 Nov 1994 12:45:26 GMT`, `Mar 1, 2022`, `3/1/2022 5:00 PM`.
fn parse_loose(text: &str) -> Option<Parts> {
    let mut parts = Parts { month: 0, ..Parts::default() };
    let mut numbers = Vec::new();
    let mut has_time = false;
    let mut afternoon = None;
    // What is in parentheses is a comment.
    let text = text.split('(').next().unwrap_or_default().to_ascii_lowercase();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        if has_time && "+-".contains(c) {
            parts.zone = zone(&mut rest)?;
        } else if c.is_ascii_digit() {
            let number = digits_upto(&mut rest, 6)?;
            if take(&mut rest, |c| c == ':').is_some() {
                (parts.hour, has_time) = (number, true);
                parts.minute = digits_upto(&mut rest, 2)?;
                if take(&mut rest, |c| c == ':').is_some() {
                    parts.second = digits_upto(&mut rest, 2)?;
                    if take(&mut rest, |c| c == '.').is_some() {
                        parts.ms = fraction(&mut rest)?;
                    }
                }
            } else {
                numbers.push(number);
            }
        } else if c.is_ascii_alphabetic() {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            rest = tail;
            match Word::read(word)? {
                Word::Month(month) => parts.month = month,
                Word::Day | Word::Utc => {}
                Word::Half(pm) => afternoon = Some(pm),
            }
        } else {
            take(&mut rest, |c| " ,-/.".contains(c))?;
        }
    }
    if let Some(pm) = afternoon {
        parts.hour =
            (1..=12).contains(&parts.hour).then(|| parts.hour % 12 + 12 * i64::from(pm))?;
    }
    place(&mut parts, &numbers)?;
    Some(parts)
}

/// A word of a date.
enum Word {
    Month(i64),
    Day,
    Utc,
    Half(bool),
}

impl Word {
    fn read(word: &str) -> Option<Self> {
        const MONTHS: [&str; 12] =
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let head = word.get(..3).unwrap_or(word);
        if let Some(month) = (1..).zip(MONTHS).find_map(|(n, name)| (name == head).then_some(n)) {
            return Some(Self::Month(month));
        }
        match word {
            _ if DAYS.contains(&head) => Some(Self::Day),
            "gmt" | "utc" | "ut" | "z" | "t" => Some(Self::Utc),
            "am" => Some(Self::Half(false)),
            "pm" => Some(Self::Half(true)),
            _ => None,
        }
    }
}

/// Numbers that stand alone: the year is the one that cannot be a day, else the last; a month comes before a
/// day. Two digits are years from 1950 to 2049.
fn place(parts: &mut Parts, numbers: &[i64]) -> Option<()> {
    let (year, month, day) = match (parts.month, numbers) {
        (0, [year, month, day]) if *year > 31 => (*year, *month, *day),
        (0, [month, day, year]) => (*year, *month, *day),
        (month @ 1.., [year]) if *year > 31 => (*year, month, 1),
        (month @ 1.., [year, day]) if *year > 31 => (*year, month, *day),
        (month @ 1.., [day, year]) => (*year, month, *day),
        _ => return None,
    };
    parts.year = match year {
        0..=49 => year + 2000,
        50..=99 => year + 1900,
        year => year,
    };
    (parts.month, parts.day) = (month, day);
    Some(())
}

/// Takes one character.
fn take(rest: &mut &str, allowed: impl Fn(char) -> bool) -> Option<char> {
    let c = rest.chars().next().filter(|c| allowed(*c))?;
    *rest = rest.get(c.len_utf8()..)?;
    Some(c)
}

/// Takes exactly so many digits.
fn digits(rest: &mut &str, len: usize) -> Option<i64> {
    let number = rest.get(..len)?.bytes().all(|b| b.is_ascii_digit());
    let (number, tail) = number.then(|| rest.split_at(len))?;
    *rest = tail;
    number.parse().ok()
}

/// Takes digits, at least one.
fn digits_upto(rest: &mut &str, max: usize) -> Option<i64> {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    if len > max { None } else { digits(rest, len) }
}

/// Takes the digits of a fraction of a second; milliseconds count.
fn fraction(rest: &mut &str) -> Option<i64> {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, tail) = rest.split_at(len);
    *rest = tail;
    let ms: String = fraction.chars().chain("00".chars()).take(3).collect();
    (len > 0).then(|| ms.parse().ok())?
}

/// Takes `Z`, an offset, or nothing.
fn zone(rest: &mut &str) -> Option<i64> {
    if take(rest, |c| "Zz".contains(c)).is_some() {
        return Some(0);
    }
    let Some(sign) = take(rest, |c| "+-".contains(c)) else { return Some(0) };
    let hours = digits(rest, 2)?;
    take(rest, |c| c == ':');
    let minutes = digits(rest, 2)?;
    let offset = hours * 60 + minutes;
    Some(if sign == '-' { -offset } else { offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_v8_reads_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                parse(text).and_then(clock::date_text).unwrap_or_else(|| "NaN".into()),
                expected,
                "{text}"
            );
        };
        check("2020", "2020-01-01T00:00:00.000Z");
        check("2020-02-30", "2020-03-01T00:00:00.000Z");
        check("2020-01-32", "NaN");
        check("2020-13-01", "NaN");
        check("2020-1-1", "2020-01-01T00:00:00.000Z");
        check("2020-01-01T10", "NaN");
        check("2020-01-01T10:00", "2020-01-01T10:00:00.000Z");
        check("2020-01-01 10:00:00Z", "2020-01-01T10:00:00.000Z");
        check("2020-01-01T10:00:00.123456Z", "2020-01-01T10:00:00.123Z");
        check("2020-06-15T12:00:00.1Z", "2020-06-15T12:00:00.100Z");
        check("2020-01-01T24:00:00Z", "2020-01-02T00:00:00.000Z");
        check("2020-01-01T24:00:01Z", "NaN");
        check("2020-01-01T10:00+01:00", "2020-01-01T09:00:00.000Z");
        check("-000001-01-01T00:00:00Z", "-000001-01-01T00:00:00.000Z");
        check("+010000-01-01", "+010000-01-01T00:00:00.000Z");
        check("Tue Mar 01 2022 10:00:00 GMT+0100 (CET)", "2022-03-01T09:00:00.000Z");
        check("Tue, 15 Nov 1994 12:45:26 GMT", "1994-11-15T12:45:26.000Z");
        check("Mar 1, 2022", "2022-03-01T00:00:00.000Z");
        check("1 March 2022", "2022-03-01T00:00:00.000Z");
        check("Jan 2020", "2020-01-01T00:00:00.000Z");
        check("2022/03/01", "2022-03-01T00:00:00.000Z");
        check("3/1/2022 5:00 PM", "2022-03-01T17:00:00.000Z");
        check("1/2/3", "2003-01-02T00:00:00.000Z");
        for nonsense in ["", "20", "hello", "12:00", "x2020", "+", "2020-01-01T10:00:60Z", "ü"] {
            check(nonsense, "NaN");
        }
    }
}
