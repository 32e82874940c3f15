//! Rules for texts of a well-known form: email, url, uuid, mac, luhn, currency (fastest-validator:
//! lib/rules/*.js). Each accepts exactly what the regular expression there accepts, in linear time.

use std::sync::LazyLock;

use serde_json::Value;

use super::item::{Place, Run, Words};
use super::javascript::{self, SPACES, as_number, number_value};
use super::number::Bound;
use super::pattern::{self, DOT, Pattern};
use super::rule::Outcome;

/// Rule `email`.
#[derive(Debug)]
pub(super) struct Email {
    pub(super) precise: bool,
    pub(super) empty: bool,
    pub(super) normalize: bool,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
}

/// Rule `uuid`.
#[derive(Debug)]
pub(super) struct Uuid {
    pub(super) version: Option<Bound>,
}

/// The text, or an item `string`.
fn text<'a>(value: &'a Value, words: &Words, place: &Place<'_>, run: &mut Run) -> Option<&'a str> {
    if !value.is_string() {
        run.fail(words, place, "string", None, Some(value));
    }
    value.as_str()
}

impl Email {
    pub(super) fn check(
        &self,
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let Some(original) = text(value, words, place, run) else { return Outcome::Kept };
        if original.is_empty() {
            if !self.empty {
                run.fail(words, place, "emailEmpty", None, Some(value));
            }
            return Outcome::Kept;
        }
        let normal = self
            .normalize
            .then(|| original.trim_matches(javascript::is_space).to_lowercase())
            .filter(|normal| normal != original);
        let address = normal.as_deref().unwrap_or(original);
        let len = as_number(javascript::length(address));
        let mut bound = |bound: Option<Bound>, kind, wrong: fn(f64, f64) -> bool| {
            if let Some(bound) = bound.filter(|bound| wrong(len, bound.value)) {
                run.fail(words, place, kind, Some(bound.shown()), Some(&number_value(len)));
            }
        };
        bound(self.min, "emailMin", |len, min| len < min);
        bound(self.max, "emailMax", |len, max| len > max);
        let fits = if self.precise { PRECISE.matches(address) } else { is_quick_email(address) };
        if !fits {
            run.fail(words, place, "email", None, Some(&address.into()));
        }
        normal.map_or(Outcome::Kept, |normal| Outcome::Set(normal.into()))
    }
}

/// `PRECISE_PATTERN`.
static PRECISE: LazyLock<Pattern> = LazyLock::new(|| {
    let word = format!(r#"[^<>()\[\]\\.,;:{SPACES}@"]+"#);
    let name = format!(r#"({word}(\.{word})*|"{DOT}+")"#);
    let address = r"\[[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\]";
    let host = r"([a-zA-Z\-0-9]+\.)+[a-zA-Z]{2,}";
    #[expect(
        clippy::expect_used,
        reason = "a constant pattern; every test of precise mails compiles it"
    )]
    pattern::build(&format!("^{name}@({address}|{host})$")).expect("a pattern of our own")
});

/// `/^\S+@\S+\.\S+$/`
fn is_quick_email(address: &str) -> bool {
    // An @ that is not the first character, as early as may be; a dot that is not the last one, as late.
    let mut chars = address.char_indices();
    chars.next();
    let at = chars.find(|(_, c)| *c == '@').map(|(index, _)| index);
    let last = address.char_indices().next_back().map_or(0, |(index, _)| index);
    let dot = address.get(..last).and_then(|head| head.rfind('.'));
    let apart = at.zip(dot).is_some_and(|(at, dot)| dot > at + 1);
    apart && !address.contains(javascript::is_space)
}

/// `/^https?:\/\/\S+/`
pub(super) fn url(
    empty: bool,
    value: &Value,
    words: &Words,
    place: &Place<'_>,
    run: &mut Run,
) -> Outcome {
    let Some(url) = text(value, words, place, run) else { return Outcome::Kept };
    if url.is_empty() {
        if !empty {
            run.fail(words, place, "urlEmpty", None, Some(value));
        }
        return Outcome::Kept;
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if !rest.is_some_and(|rest| rest.starts_with(|c| !javascript::is_space(c))) {
        run.fail(words, place, "url", None, Some(value));
    }
    Outcome::Kept
}

impl Uuid {
    pub(super) fn check(
        &self,
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let Some(uuid) = text(value, words, place, run) else { return Outcome::Kept };
        let Some((version, variant)) = parse_uuid(uuid) else {
            run.fail(words, place, "uuid", None, Some(value));
            return Outcome::Kept;
        };
        #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
        if let Some(wanted) = self.version.filter(|wanted| wanted.value != f64::from(version)) {
            let actual = Value::from(version);
            run.fail(words, place, "uuidVersion", Some(wanted.shown()), Some(&actual));
            return Outcome::Kept;
        }
        if [3, 4, 5, 7, 8].contains(&version) && !b"89abAB".contains(&variant) {
            run.fail(words, place, "uuid", None, Some(value));
        }
        Outcome::Kept
    }
}

/// Version and the character of the variant.
fn parse_uuid(text: &str) -> Option<(u8, u8)> {
    let mut parts = text.split('-');
    for len in [8, 4, 4, 4, 12] {
        let part = parts.next().filter(|part| part.len() == len)?;
        part.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
    }
    let version = text.as_bytes().get(14)?.checked_sub(b'0').filter(|version| *version <= 8)?;
    let zero = text.bytes().all(|b| b == b'0' || b == b'-');
    let whole = parts.next().is_none() && (version > 0 || zero);
    whole.then_some((version, *text.as_bytes().get(19)?))
}

/// Six groups of hex digits with `-` or `:`, or three with `.`; all but the last may be longer.
pub(super) fn mac(value: &Value, words: &Words, place: &Place<'_>, run: &mut Run) -> Outcome {
    let Some(mac) = text(value, words, place, run) else { return Outcome::Kept };
    let grouped = |by: char, groups: usize, len: usize| {
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
        let last_fits = mac.rsplit(by).next().is_some_and(|last| last.len() == len);
        let long = |part: &str| part.len() >= len && hex(part);
        last_fits && mac.split(by).count() == groups && mac.split(by).all(long)
    };
    if !(grouped('-', 6, 2) || grouped(':', 6, 2) || grouped('.', 3, 4)) {
        run.fail(words, place, "mac", None, Some(value));
    }
    Outcome::Kept
}

/// The checksum of card numbers; what is no digit is left out.
pub(super) fn luhn(value: &Value, words: &Words, place: &Place<'_>, run: &mut Run) -> Outcome {
    let Some(number) = text(value, words, place, run) else { return Outcome::Kept };
    let digits = number.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u64 = digits
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => u64::from(digit),
            (_, double @ 0..=9) => u64::from(double),
            (_, double) => u64::from(double - 9),
        })
        .sum();
    if sum == 0 || !sum.is_multiple_of(10) {
        run.fail(words, place, "luhn", None, Some(value));
    }
    Outcome::Kept
}

/// A text only: there, anything else makes the check itself fail.
pub(super) fn currency(
    pattern: &Pattern,
    value: &Value,
    words: &Words,
    place: &Place<'_>,
    run: &mut Run,
) -> Outcome {
    if !value.as_str().is_some_and(|text| pattern.matches(text)) {
        run.fail(words, place, "currency", None, Some(value));
    }
    Outcome::Kept
}
