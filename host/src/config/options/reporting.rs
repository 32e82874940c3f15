//! What the options of reporters and exporters have in common: `"Name"`, `{type, options}`, or a list of these.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use crate::config::HttpUrl;
use crate::config::names;
use crate::config::quantity;
use crate::config::value::{Located, Value};

/// The names that are chosen, each with its options.
///
/// # Errors
/// What is wrong.
pub(super) fn list(value: &Located) -> Result<Vec<(String, Option<Located>)>, String> {
    if value.is_off() {
        return Ok(Vec::new());
    }
    match &value.value {
        Value::List(items) => items.iter().filter(|item| !item.is_off()).map(one).collect(),
        _ => one(value).map(|one| vec![one]),
    }
}

fn one(value: &Located) -> Result<(String, Option<Located>), String> {
    let Value::Table(keys) = &value.value else {
        return Ok((value.as_text().ok_or("not a name or table")?.to_owned(), None));
    };
    if let Some((key, _)) = keys.iter().find(|(key, _)| key != "type" && key != "options") {
        return Err(format!("unknown key '{key}'; the keys are type and options"));
    }
    let name = value.find("type").and_then(Located::as_text).ok_or("it has no 'type'")?;
    Ok((name.to_owned(), value.find("options").cloned()))
}

/// The keys of options that are there; those that are functions in JavaScript are not known.
///
/// # Errors
/// The first that is not known.
pub(super) fn keys<'a>(
    options: Option<&'a Located>,
    known: &[&'static str],
) -> Result<Vec<(&'a str, &'a Located)>, String> {
    let Some(options) = options else { return Ok(Vec::new()) };
    let Value::Table(entries) = &options.value else {
        return Err("'options' is not a table".into());
    };
    let unknown = |(key, _): &&(String, Located)| !known.contains(&key.as_str());
    if let Some((key, _)) = entries.iter().find(unknown) {
        let hint = names::did_you_mean(key, known.iter().copied());
        return Err(format!("unknown option '{key}'{hint}"));
    }
    let given = entries.iter().filter(|(_, value)| !matches!(value.value, Value::Null));
    Ok(given.map(|(key, value)| (key.as_str(), value)).collect())
}

/// true or false.
///
/// # Errors
/// It is neither.
pub(super) fn switch(key: &str, value: &Located) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("'{key}' is not true or false"))
}

/// One name, or a list of names.
///
/// # Errors
/// It is something else.
pub(super) fn names(key: &str, value: &Located) -> Result<Vec<String>, String> {
    let list = value.as_list().unwrap_or_else(|| vec![value.clone()]);
    let names: Option<Vec<_>> = list.iter().map(|item| item.as_text().map(str::to_owned)).collect();
    names.ok_or_else(|| format!("'{key}' is not a list of names"))
}

/// Text that is not empty.
///
/// # Errors
/// It is none.
pub(super) fn text(key: &str, value: &Located) -> Result<String, String> {
    let text = value.as_text().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| format!("'{key}' is not text"))
}

/// A number of a port or the like.
///
/// # Errors
/// It is none, or out of range.
pub(super) fn number<N: TryFrom<u64>>(key: &str, value: &Located, least: u64) -> Result<N, String> {
    let number = value.as_count().filter(|number| *number >= least);
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| format!("'{key}' is not a number from {least} to 65535"))
}

/// The address of an HTTP server.
///
/// # Errors
/// What is wrong with it.
pub(super) fn url(key: &str, value: &Located) -> Result<HttpUrl, String> {
    text(key, value)?.parse().map_err(|error| {
        format!("'{key}' is not an address such as \"http://localhost:4318\": {error}")
    })
}

/// A table with keys of the user's own.
///
/// # Errors
/// It is none.
pub(super) fn table(key: &str, value: &Located) -> Result<Map<String, Json>, String> {
    match value.to_json() {
        Json::Object(table) => Ok(table),
        _ => Err(format!("'{key}' is not a table")),
    }
}

/// Names and values that are text, numbers or true and false.
///
/// # Errors
/// It is no table of these.
pub(super) fn labels(key: &str, value: &Located) -> Result<Vec<(String, String)>, String> {
    let Value::Table(entries) = &value.value else {
        return Err(format!("'{key}' is not a table of text"));
    };
    let label = |(name, value): &(String, Located)| Ok((name.clone(), text(key, value)?));
    entries.iter().map(label).collect()
}

/// Headers of requests: a table, or text such as `name=value,name=value`.
///
/// # Errors
/// What is wrong; values are not shown, for most of them are secrets.
pub(super) fn headers(key: &str, value: &Located) -> Result<Vec<(String, String)>, String> {
    let pairs = match value.as_text() {
        Some(text) => text
            .split(',')
            .map(|pair| pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("'{key}' is neither a table nor text such as \"name=value\""))?,
        None => labels(key, value)?,
    };
    for (name, value) in &pairs {
        let fits = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok();
        if !fits {
            return Err(format!(
                "'{key}' has '{name}', which is no header, or whose value is none"
            ));
        }
    }
    Ok(pairs)
}

/// The time between two reports.
///
/// # Errors
/// It is no time.
pub(super) fn seconds(value: &Located) -> Result<Duration, String> {
    let seconds = match value.as_number() {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => value.as_text().and_then(quantity::duration),
    };
    seconds.ok_or_else(|| "'interval' is not a number of seconds".into())
}
