//! How options are described and read: one table of entries serves files, environment, flags and the
//! reference in `docs/configuration.md`.
//!
//! An entry knows its name, what it takes, and where its value goes. The tables are in `options` and
//! `sidecar`. Values are read in the order of the table, whatever order they were written in.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::config::mask;
use crate::config::names::{self, Answer, Answered};
use crate::config::problem::Problems;
use crate::config::quantity;
use crate::config::value::{Located, Value};

/// One option that can be written down.
pub struct Entry<T> {
    /// Dotted name.
    pub name: &'static str,
    /// What it takes, and what to do with it.
    pub kind: Kind<T>,
    /// The default as one would write it; empty when there is none.
    pub default: &'static str,
    /// One sentence for the reference.
    pub doc: &'static str,
}

/// What an option takes. Each kind ends with the function that stores the value.
pub enum Kind<T> {
    /// true or false.
    Switch(fn(&mut T, bool)),
    /// A time: a number in this unit, or text with its own. At least the given time.
    Time(Unit, Duration, fn(&mut T, Duration)),
    /// A whole number from .0 to .1.
    Number(u64, u64, fn(&mut T, u64)),
    /// Any number from .0 to .1.
    Real(f64, f64, fn(&mut T, f64)),
    /// Bytes: a number, or text with a unit. At least .0, at most .1.
    Size(u64, u64, fn(&mut T, u64)),
    /// One of these words, in any case.
    Choice(&'static [&'static str], fn(&mut T, &str)),
    /// Names or patterns; one may stand without a list.
    Patterns(fn(&mut T, Vec<String>)),
    /// A table with keys of the user's own.
    Free(fn(&mut T, Map<String, Json>)),
    /// Anything else: what is allowed, and the function that reads it.
    Special(&'static str, fn(&mut T, &Located) -> Result<(), String>),
}

/// The unit of a bare number that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1/1000 s, as in most of Moleculer's options.
    Milliseconds,
    /// Moleculer's heartbeat options.
    Seconds,
}

impl<T> Kind<T> {
    /// What is allowed, as a person would say it.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Switch(_) => "true or false".into(),
            Self::Time(unit, least, _) => {
                let (word, least) = match unit {
                    Unit::Milliseconds => ("milliseconds", least.as_millis()),
                    Unit::Seconds => ("seconds", u128::from(least.as_secs())),
                };
                format!("{word} (at least {least}), or text such as \"1.5s\"")
            }
            Self::Number(least, most, _) if *most >= UNLIMITED => {
                format!("a whole number of at least {least}")
            }
            Self::Number(least, most, _) => format!("a whole number from {least} to {most}"),
            Self::Real(least, most, _) if *most >= MANY => format!("a number of at least {least}"),
            Self::Real(least, most, _) => format!("a number from {least} to {most}"),
            Self::Size(least, most, _) => format!(
                "bytes, or text such as \"64MiB\" ({} to {})",
                quantity::show_bytes(*least),
                quantity::show_bytes(*most)
            ),
            Self::Choice(words, _) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(", ")
            }
            Self::Patterns(_) => "a list of names or patterns".into(),
            Self::Free(_) => "a table".into(),
            Self::Special(allowed, _) => (*allowed).into(),
        }
    }

    /// Reads the value into `target`.
    ///
    /// # Errors
    /// A reason of its own, or `None` when it is simply not what is allowed.
    fn read(&self, target: &mut T, located: &Located) -> Result<(), Option<String>> {
        match self {
            Self::Switch(set) => set(target, located.as_bool().ok_or(None)?),
            Self::Time(unit, least, set) => set(target, time(located, *unit, *least).ok_or(None)?),
            Self::Number(least, most, set) => {
                let number = located.as_count().filter(|n| (least..=most).contains(&n));
                set(target, number.ok_or(None)?);
            }
            Self::Real(least, most, set) => {
                let number = located.as_number().filter(|n| (*least..=*most).contains(n));
                set(target, number.ok_or(None)?);
            }
            Self::Size(least, most, set) => {
                let size = size(located).filter(|n| (least..=most).contains(&n));
                set(target, size.ok_or(None)?);
            }
            Self::Choice(words, set) => {
                let given = located.as_text().ok_or(None)?;
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(given));
                set(target, word.ok_or(None)?);
            }
            Self::Patterns(set) => set(target, patterns(located).ok_or(None)?),
            Self::Free(set) => match located.to_json() {
                Json::Object(map) => set(target, map),
                _ => return Err(None),
            },
            Self::Special(_, read) => read(target, located).map_err(Some)?,
        }
        Ok(())
    }
}

/// A bound that is none.
pub const UNLIMITED: u64 = 1 << 53;
/// The same for other numbers: no factor of any option is near it.
pub const MANY: f64 = 1e9;

/// Reads a whole tree. Keys that are no option and values that are not allowed are all reported; `answered`
/// are options that are known but not read.
pub fn read<T>(
    entries: &[Entry<T>],
    answered: &[Answered],
    tree: &Located,
    target: &mut T,
    problems: &mut Problems,
) {
    for entry in entries {
        if let Some(value) = tree.find(entry.name) {
            read_entry(entry, value, target, problems);
        }
    }
    refuse_others("", entries, answered, tree, problems);
}

fn read_entry<T>(entry: &Entry<T>, value: &Located, target: &mut T, problems: &mut Problems) {
    // JavaScript's way to leave an option as it is. What null means to the others, they say themselves.
    if matches!(value.value, Value::Null) && !matches!(entry.kind, Kind::Special(..)) {
        return;
    }
    if let Err(reason) = entry.kind.read(target, value) {
        let (name, found) = (entry.name, shown(entry.name, value));
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let allowed = entry.kind.allowed();
        problems.add(&value.place, format!("{name} is {found}{reason}; allowed: {allowed}"));
    }
}

/// What was found, unless it is a secret.
fn shown(name: &str, value: &Located) -> String {
    if mask::is_secret(name) { mask::MASK.into() } else { value.found() }
}

/// Reports what stands in a table and is no option.
fn refuse_others<T>(
    prefix: &str,
    entries: &[Entry<T>],
    answered: &[Answered],
    tree: &Located,
    problems: &mut Problems,
) {
    let Value::Table(keys) = &tree.value else {
        if !matches!(tree.value, Value::Null) {
            let (what, found) = (prefix.trim_end_matches('.'), tree.found());
            problems.add(&tree.place, format!("{what} is {found}; allowed: a table"));
        }
        return;
    };
    for (key, value) in keys {
        let name = format!("{prefix}{key}");
        let section = format!("{name}.");
        if has(entries, &name) {
            continue;
        }
        if let Some(answered) = answered.iter().find(|answered| answered.name == name) {
            answer(answered, value, problems);
        } else if entries.iter().any(|entry| entry.name.starts_with(&section)) {
            refuse_others(&section, entries, answered, value, problems);
        } else {
            refuse_unknown(&name, prefix, entries, value, problems);
        }
    }
}

fn answer(answered: &Answered, value: &Located, problems: &mut Problems) {
    let Answered { name, reason, .. } = answered;
    match answered.answer {
        Answer::AlwaysSo => {}
        _ if answered.asks_nothing(value) => {}
        Answer::NoEffect => {
            problems.warn(&value.place, format!("'{name}' changes nothing: {reason}"));
        }
        Answer::Refused => problems.add(
            &value.place,
            format!("'{name}' is an option of Moleculer that is not offered ({reason}); remove it"),
        ),
    }
}

fn refuse_unknown<T>(
    name: &str,
    prefix: &str,
    entries: &[Entry<T>],
    value: &Located,
    problems: &mut Problems,
) {
    let message = if let Some(right) = names::slip(name).filter(|right| has(entries, right)) {
        format!("unknown option '{name}'; it is called '{right}'")
    } else {
        // Names of the same section come first, so that "limits.memori" does not find another section.
        let near = entries.iter().map(|entry| entry.name).flat_map(|full| {
            let section = full.find('.').map(|end| full.get(..end).unwrap_or(full));
            [Some(full), section.filter(|_| prefix.is_empty())].into_iter().flatten()
        });
        let hint = names::did_you_mean(name, near);
        if hint.is_empty() {
            format!("unknown option '{name}'{}", siblings(prefix, entries))
        } else {
            format!("unknown option '{name}'{hint}")
        }
    };
    problems.add(&value.place, message);
}

fn has<T>(entries: &[Entry<T>], name: &str) -> bool {
    entries.iter().any(|entry| entry.name == name)
}

/// `; there are: a, b`: the keys that stand beside an unknown one for which no near name was found.
fn siblings<T>(prefix: &str, entries: &[Entry<T>]) -> String {
    let mut keys: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_prefix(prefix))
        .map(|rest| rest.split('.').next().unwrap_or(rest))
        .collect();
    keys.dedup();
    format!("; there are: {}", keys.join(", "))
}

fn time(located: &Located, unit: Unit, least: Duration) -> Option<Duration> {
    // A year: longer ones are slips, and sums of them would leave the clock's range.
    const MOST: Duration = Duration::from_secs(366 * 24 * 3_600);
    let time = match located.as_number() {
        Some(number) => {
            let seconds = match unit {
                Unit::Milliseconds => number / 1_000.0,
                Unit::Seconds => number,
            };
            Duration::try_from_secs_f64(seconds).ok()?
        }
        None => quantity::duration(located.as_text()?)?,
    };
    (least..=MOST).contains(&time).then_some(time)
}

fn size(located: &Located) -> Option<u64> {
    match located.as_number() {
        Some(number) => quantity::whole(number),
        None => quantity::bytes(located.as_text()?),
    }
}

fn patterns(located: &Located) -> Option<Vec<String>> {
    match &located.value {
        Value::List(items) => items.iter().map(|item| item.as_text().map(str::to_owned)).collect(),
        Value::Text(text) => Some(vec![text.clone()]),
        // A variable or flag has no lists: commas separate.
        Value::Word(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
        _ => None,
    }
}
