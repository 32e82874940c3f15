//! Names that options had in Moleculer 0.12 to 0.14, and short forms: both become today's long form before
//! anything is read (moleculer: docs/MIGRATION_GUIDE_0.13.md, docs/MIGRATION_GUIDE_0.14.md).
//!
//! Each source (file, environment, flags) is rewritten on its own, so that a later source goes over an
//! earlier one whatever names they use. Within one source today's name wins. An older name costs one
//! warning that says today's; a short form is as good as the long one and costs none.

use serde_json::{Value as Json, json};

use crate::config::problem::Problems;
use crate::config::value::{Located, Value};

/// Sections that may be given as one value, and the key that it then stands for.
const SHORT_FORMS: [(&str, &str); 11] = [
    ("logger", "type"),
    ("cacher", "type"),
    ("validator", "type"),
    ("serializer", "type"),
    ("registry.discoverer", "type"),
    ("metrics", "enabled"),
    ("tracing", "enabled"),
    ("tracking", "enabled"),
    ("retryPolicy", "enabled"),
    ("circuitBreaker", "enabled"),
    ("bulkhead", "enabled"),
];

/// An option under the name, or with the value, that it had.
pub struct Older {
    /// Dotted name.
    pub name: &'static str,
    /// What to write today, for the warning and the reference.
    pub today: &'static str,
    /// The Moleculer version that brought today's name.
    pub since: &'static str,
    /// Where the value simply moves to. The others are rewritten by a function below.
    moves_to: Option<&'static str>,
}

/// A class as the strategy: an older value rather than an older name.
const STRATEGY_CLASS: &str = "registry.strategy = \"…Strategy\"";

/// Names of options that change nothing under today's name either.
const WITHOUT_EFFECT: [&str; 3] = ["replCommand", "replCommands", "replDelimiter"];

/// All older names, in the order of the reference.
pub const OLDER: [Older; 14] = [
    handled("logFormatter", "logger.options.formatter (its \"default\" is \"full\")", "0.14"),
    handled("requestRetry", "retryPolicy.enabled and retryPolicy.retries", "0.13"),
    moved("trackContext", "tracking.enabled", "0.13"),
    moved("gracefulStopTimeout", "tracking.shutdownTimeout", "0.13"),
    handled(
        "circuitBreaker.maxFailures",
        "circuitBreaker.threshold with minRequestCount and windowTime (the old rule, so many failures in a \
         row, still works beside it)",
        "0.13",
    ),
    handled("circuitBreaker.failureOnTimeout", "circuitBreaker.check", "0.13"),
    handled("circuitBreaker.failureOnReject", "circuitBreaker.check", "0.13"),
    Older { moves_to: Some("validator.type"), ..handled("validation", "validator", "0.14") },
    moved("metricsRate", "tracing.sampling.rate", "0.14"),
    handled(
        "statistics",
        "metrics.enabled with `$node.metrics` (`$node.stats` is served all the same)",
        "0.13",
    ),
    handled(
        "replCommand",
        "replOptions.customCommands (there is no REPL, so it changes nothing)",
        "0.14",
    ),
    handled(
        "replCommands",
        "replOptions.customCommands (there is no REPL, so it changes nothing)",
        "0.15",
    ),
    handled(
        "replDelimiter",
        "replOptions.delimiter (there is no REPL, so it changes nothing)",
        "0.15",
    ),
    handled(STRATEGY_CLASS, "registry.strategy without \"Strategy\" at its end", "0.13"),
];

const fn moved(name: &'static str, today: &'static str, since: &'static str) -> Older {
    Older { name, today, since, moves_to: Some(today) }
}

const fn handled(name: &'static str, today: &'static str, since: &'static str) -> Older {
    Older { name, today, since, moves_to: None }
}

/// Rewrites the tree of one source.
pub fn rewrite(tree: &mut Located, problems: &mut Problems) {
    expand_short_forms(tree);
    for older in &OLDER {
        if let Some(today) = older.moves_to
            && let Some(value) = taken(tree, older.name, problems)
        {
            tree.put_absent(today, value);
        }
    }
    log_formatter(tree, problems);
    request_retry(tree, problems);
    breaker_flags(tree, problems);
    max_failures(tree, problems);
    statistics(tree, problems);
    strategy_class(tree, problems);
    for name in WITHOUT_EFFECT {
        let _ = taken(tree, name, problems);
    }
}

/// The older names that are keys, and the sections that have a short form.
pub fn names() -> impl Iterator<Item = &'static str> {
    let older = OLDER.iter().map(|older| older.name).filter(|name| *name != STRATEGY_CLASS);
    older.chain(SHORT_FORMS.iter().map(|(section, _)| *section))
}

/// What Moleculer 0.12 did when nothing was said, where that is different today.
#[must_use]
pub fn defaults_of_0_12() -> Json {
    json!({
        "heartbeatInterval": 5,
        "heartbeatTimeout": 15,
        "tracking": {"shutdownTimeout": 2000},
        "localOnlyDollarEvents": true,
    })
}

/// Takes the value of an older name out of the tree and warns of it.
fn taken(tree: &mut Located, name: &str, problems: &mut Problems) -> Option<Located> {
    let value = tree.take(name)?;
    warn(name, &value, problems);
    Some(value)
}

fn warn(name: &str, value: &Located, problems: &mut Problems) {
    for Older { today, since, .. } in OLDER.iter().filter(|older| older.name == name) {
        let message = format!("'{name}' is an older form; since Moleculer {since} it is {today}");
        problems.warn(&value.place, message);
    }
}

/// A value at the place of another.
fn stands_for(located: &Located, value: Json) -> Located {
    Located::from_json(value, &located.place)
}

fn expand_short_forms(tree: &mut Located) {
    for (section, key) in SHORT_FORMS {
        if tree.find(section).is_none_or(|value| matches!(value.value, Value::Table(_))) {
            continue;
        }
        let Some(value) = tree.take(section) else { continue };
        // Where `enabled` says whether it is on, null is Moleculer's "as usual".
        if key != "enabled" || !matches!(value.value, Value::Null) {
            tree.put_absent(&format!("{section}.{key}"), value);
        }
    }
    // Moleculer takes a list of loggers; a list of one is as good as the one.
    if let Some(Value::List(items)) = tree.find("logger.type").map(|value| &value.value)
        && let [one] = items.as_slice()
    {
        let one = one.clone();
        let _ = tree.take("logger");
        let name = if matches!(one.value, Value::Table(_)) { "logger" } else { "logger.type" };
        tree.put_absent(name, one);
    }
}

fn log_formatter(tree: &mut Located, problems: &mut Problems) {
    let Some(mut value) = taken(tree, "logFormatter", problems) else { return };
    if value.as_text().is_some_and(|text| text.eq_ignore_ascii_case("default")) {
        value.value = Value::Text("full".into());
    }
    tree.put_absent("logger.options.formatter", value);
}

/// Zero was "do not retry".
fn request_retry(tree: &mut Located, problems: &mut Problems) {
    let Some(value) = taken(tree, "requestRetry", problems) else { return };
    let enabled = value.as_count() != Some(0);
    tree.put_absent("retryPolicy.enabled", stands_for(&value, json!(enabled)));
    if enabled {
        tree.put_absent("retryPolicy.retries", value);
    }
}

/// The flags of 0.12's circuit breaker as the check of today (moleculer 0.12:
/// src/registry/endpoint-cb.js failure): a time-out counts when the one says so, any other error of code
/// 500 and above when the other does. Both are on when they are not given.
fn breaker_flags(tree: &mut Located, problems: &mut Problems) {
    let on_timeout = taken(tree, "circuitBreaker.failureOnTimeout", problems);
    let on_reject = taken(tree, "circuitBreaker.failureOnReject", problems);
    let Some(given) = on_timeout.clone().or_else(|| on_reject.clone()) else { return };
    let on = |flag: Option<Located>| flag.and_then(|flag| flag.as_bool()).unwrap_or(true);
    let (on_timeout, on_reject) = (on(on_timeout), on(on_reject));
    let check = match (on_timeout, on_reject) {
        (true, true) => json!({"minCode": 500}),
        (true, false) => json!({"names": ["RequestTimeoutError"]}),
        // All from 500 but 504, the code of time-outs.
        (false, true) => json!({"codes": [500, 501, 502, 503], "minCode": 505}),
        (false, false) => json!({}),
    };
    if tree.find("circuitBreaker.check").is_none() {
        tree.put_absent("circuitBreaker.check", stands_for(&given, check));
        tree.put_absent("circuitBreaker.countTimeouts", stands_for(&given, json!(on_timeout)));
    }
}

/// The old rule stays under its name; with it the breaker sees the time-outs of other nodes, as it did.
fn max_failures(tree: &mut Located, problems: &mut Problems) {
    const NAME: &str = "circuitBreaker.maxFailures";
    let Some(value) = taken(tree, NAME, problems) else { return };
    if value.as_count() != Some(0) {
        tree.put_absent("circuitBreaker.countTimeouts", stands_for(&value, json!(true)));
    }
    tree.put_absent(NAME, value);
}

fn statistics(tree: &mut Located, problems: &mut Problems) {
    let Some(value) = taken(tree, "statistics", problems) else { return };
    tree.put_absent("metrics.enabled", value.clone());
    tree.put_absent("statistics", value);
}

/// `RoundRobinStrategy` is `RoundRobin`.
fn strategy_class(tree: &mut Located, problems: &mut Problems) {
    const OPTION: &str = "registry.strategy";
    let Some(text) = tree.find(OPTION).and_then(Located::as_text) else { return };
    let lower = text.to_ascii_lowercase();
    let Some(length) = lower.strip_suffix("strategy").map(str::len).filter(|length| *length > 0)
    else {
        return;
    };
    let name = text.get(..length).unwrap_or(text).to_owned();
    if let Some(mut value) = tree.take(OPTION) {
        warn(STRATEGY_CLASS, &value, problems);
        value.value = Value::Text(name);
        tree.put_absent(OPTION, value);
    }
}

#[cfg(test)]
mod tests;
