//! Rule `string` (fastest-validator: lib/rules/string.js): first sanitisers, then checks.

use std::borrow::Cow;

use serde_json::Value;

use super::item::{Place, Run, Words};
use super::javascript::{self, as_number, number_value};
use super::number::Bound;
use super::pattern::Pattern;
use super::rule::Outcome;

/// The rule.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) convert: bool,
    /// In the order in which they are applied.
    pub(super) sanitizers: Vec<Sanitizer>,
    pub(super) empty: Option<bool>,
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) length: Option<Bound>,
    pub(super) pattern: Option<(Pattern, Value)>,
    pub(super) contains: Option<String>,
    pub(super) allowed: Option<(Vec<Value>, Value)>,
    /// In the order in which they are applied.
    pub(super) forms: Vec<Form>,
}

/// Changes a text.
#[derive(Debug)]
pub(super) enum Sanitizer {
    Trim,
    TrimLeft,
    TrimRight,
    PadStart(Padding),
    PadEnd(Padding),
    Lowercase,
    Uppercase,
}

/// Fills a text up to a length.
#[derive(Debug)]
pub(super) struct Padding {
    /// UTF-16 units.
    pub(super) length: usize,
    pub(super) with: String,
}

/// What the characters of a text may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Numeric,
    Alpha,
    Alphanum,
    Alphadash,
    Hex,
    SingleLine,
    Base64,
}

impl Text {
    pub(super) fn check(
        &self,
        value: &Value,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) -> Outcome {
        let original: Cow<'_, str> = match value {
            Value::String(text) => Cow::Borrowed(text),
            value if self.convert => Cow::Owned(javascript::string(value)),
            value => {
                run.fail(words, place, "string", None, Some(value));
                return Outcome::Kept;
            }
        };
        let Some(text) = self.sanitized(&original, run) else { return Outcome::Kept };
        let empty_is_fine = self.empty == Some(true) && text.is_empty();
        if !empty_is_fine {
            self.check_length(&text, words, place, run);
            self.check_content(&text, &original, words, place, run);
        }
        if value.as_str() == Some(&*text) {
            Outcome::Kept
        } else {
            Outcome::Set(text.into_owned().into())
        }
    }

    /// The text after all sanitisers; none when it would become too long.
    fn sanitized<'a>(&self, original: &'a str, run: &mut Run) -> Option<Cow<'a, str>> {
        let mut text = Cow::Borrowed(original);
        for sanitizer in &self.sanitizers {
            if let Some(changed) = sanitizer.apply(&text, run) {
                text = Cow::Owned(changed);
            }
        }
        (!run.overgrown).then_some(text)
    }

    fn check_length(&self, text: &str, words: &Words, place: &Place<'_>, run: &mut Run) {
        if self.empty == Some(false) && text.is_empty() {
            run.fail(words, place, "stringEmpty", None, Some(&text.into()));
        }
        if self.min.is_none() && self.max.is_none() && self.length.is_none() {
            return;
        }
        let len = as_number(javascript::length(text));
        self.compare_len(len, |kind, bound| {
            run.fail(words, place, kind, Some(bound.shown()), Some(&number_value(len)));
        });
    }

    /// Whether a text that is so long in JavaScript is long enough and not too long.
    pub(super) fn len_fits(&self, len: usize) -> bool {
        let mut fits = true;
        self.compare_len(as_number(len), |_, _| fits = false);
        fits
    }

    fn compare_len(&self, len: f64, mut fail: impl FnMut(&'static str, Bound)) {
        let mut bound = |bound: Option<Bound>, kind, wrong: fn(f64, f64) -> bool| {
            if let Some(bound) = bound.filter(|bound| wrong(len, bound.value)) {
                fail(kind, bound);
            }
        };
        bound(self.min, "stringMin", |len, min| len < min);
        bound(self.max, "stringMax", |len, max| len > max);
        #[expect(clippy::float_cmp, reason = "the very comparison that JavaScript makes")]
        bound(self.length, "stringLength", |len, length| len != length);
    }

    fn check_content(
        &self,
        text: &str,
        original: &str,
        words: &Words,
        place: &Place<'_>,
        run: &mut Run,
    ) {
        let mut fail = |kind, expected: Option<&Value>| {
            // This one alone does not say what it found.
            let actual = (kind != "stringSingleLine").then(|| Value::from(original));
            run.fail(words, place, kind, expected.cloned(), actual.as_ref());
        };
        if let Some((pattern, shown)) = &self.pattern
            && !pattern.matches(text)
        {
            fail("stringPattern", Some(shown));
        }
        if let Some(part) = &self.contains
            && !text.contains(part.as_str())
        {
            fail("stringContains", Some(&part.as_str().into()));
        }
        if let Some((values, shown)) = &self.allowed
            && !values.iter().any(|value| value.as_str() == Some(text))
        {
            fail("stringEnum", Some(shown));
        }
        for form in &self.forms {
            if !form.fits(text) {
                fail(form.kind(), None);
            }
        }
    }
}

impl Sanitizer {
    /// The changed text, if it changes.
    fn apply(&self, text: &str, run: &mut Run) -> Option<String> {
        let changed = match self {
            Self::Trim => text.trim_matches(javascript::is_space).into(),
            Self::TrimLeft => text.trim_start_matches(javascript::is_space).into(),
            Self::TrimRight => text.trim_end_matches(javascript::is_space).into(),
            Self::PadStart(padding) => Cow::Owned(padding.fill(text, run)? + text),
            Self::PadEnd(padding) => Cow::Owned(text.to_owned() + &padding.fill(text, run)?),
            Self::Lowercase => Cow::Owned(text.to_lowercase()),
            Self::Uppercase => Cow::Owned(text.to_uppercase()),
        };
        (changed != text).then(|| changed.into_owned())
    }
}

impl Padding {
    /// What is missing. A pair of UTF-16 units is not torn apart as in JavaScript, where half of one could
    /// not be sent either.
    fn fill(&self, text: &str, run: &mut Run) -> Option<String> {
        let mut room = self.length.checked_sub(javascript::length(text))?;
        if self.with.is_empty() || !run.grow(room) {
            return None;
        }
        let mut filling = String::with_capacity(room);
        for c in self.with.chars().cycle() {
            let Some(rest) = room.checked_sub(c.len_utf16()) else { break };
            filling.push(c);
            room = rest;
        }
        Some(filling)
    }
}

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Self::Numeric => "stringNumeric",
            Self::Alpha => "stringAlpha",
            Self::Alphanum => "stringAlphanum",
            Self::Alphadash => "stringAlphadash",
            Self::Hex => "stringHex",
            Self::SingleLine => "stringSingleLine",
            Self::Base64 => "stringBase64",
        }
    }

    fn fits(self, text: &str) -> bool {
        let all = |allowed: fn(u8) -> bool| !text.is_empty() && text.bytes().all(allowed);
        match self {
            Self::Numeric => is_numeric(text),
            Self::Alpha => all(|b| b.is_ascii_alphabetic()),
            Self::Alphanum => all(|b| b.is_ascii_alphanumeric()),
            Self::Alphadash => all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
            Self::Hex => text.len().is_multiple_of(2) && all(|b| b.is_ascii_hexdigit()),
            Self::SingleLine => !text.contains('\n'),
            Self::Base64 => is_base64(text),
        }
    }
}

/// `/^-?[0-9]\d*(\.\d+)?$/`
fn is_numeric(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// `/^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+/]{3}=)?$/`: a backslash is allowed too,
/// except in a last group with one `=`.
fn is_base64(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
    let any = |b: &u8| plain(b) || *b == b'\\';
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    let Some((last, groups)) = groups.split_last() else { return rest.is_empty() };
    let last_fits = match last {
        [a, b, b'=', b'='] => any(a) && any(b),
        [a, b, c, b'='] => plain(a) && plain(b) && plain(c),
        group => group.iter().all(any),
    };
    rest.is_empty() && last_fits && groups.iter().flatten().all(any)
}
