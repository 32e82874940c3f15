//! The middlewares `ActionLogger` and `TransitLogger` in the list of option `middlewares`: what they are told
//! (moleculer: src/middlewares/debugging).

use std::path::PathBuf;

use crate::config::names;
use crate::config::value::{Located, Value};

/// How important lines of the log are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `fatal` and `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

/// Where what is seen goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Lines of the log; `None` for none. Info
    pub level: Option<Level>,
    /// A folder of this node in this folder, with a file for each thing. None
    pub folder: Option<PathBuf>,
    /// What the names of the files end with. `.json`
    pub extension: String,
}

/// Options of `ActionLogger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionLog {
    /// Where to.
    pub to: Destination,
    /// With the params. false
    pub params: bool,
    /// With the result. false
    pub response: bool,
    /// With the meta that the caller adds. false
    pub meta: bool,
    /// Patterns of actions. All
    pub whitelist: Vec<String>,
}

/// Options of `TransitLogger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitLog {
    /// Where to.
    pub to: Destination,
    /// With what is in them. false
    pub packet_data: bool,
    /// Kinds of packets that are passed over. HEARTBEAT
    pub packet_filter: Vec<String>,
}

/// Options that both have. Colours are a matter of the log.
const COMMON: [&str; 4] = ["logLevel", "folder", "extension", "colors"];

/// Reads the options of `ActionLogger`.
///
/// # Errors
/// What is wrong with them.
pub(super) fn action_log(options: Option<&Located>) -> Result<ActionLog, String> {
    let own = ["logParams", "logResponse", "logMeta", "whitelist"];
    check_keys(options, &own)?;
    Ok(ActionLog {
        to: destination(options)?,
        params: switch(options, "logParams")?,
        response: switch(options, "logResponse")?,
        meta: switch(options, "logMeta")?,
        whitelist: list(options, "whitelist", "**")?,
    })
}

/// Reads the options of `TransitLogger`.
///
/// # Errors
/// What is wrong with them.
pub(super) fn transit_log(options: Option<&Located>) -> Result<TransitLog, String> {
    check_keys(options, &["logPacketData", "packetFilter"])?;
    Ok(TransitLog {
        to: destination(options)?,
        packet_data: switch(options, "logPacketData")?,
        packet_filter: list(options, "packetFilter", "HEARTBEAT")?,
    })
}

fn check_keys(options: Option<&Located>, own: &[&'static str]) -> Result<(), String> {
    let known: Vec<_> = COMMON.iter().chain(own).copied().collect();
    match options.map(|options| &options.value) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Table(keys)) => {
            match keys.iter().find(|(key, _)| !known.contains(&key.as_str())) {
                Some((key, _)) => {
                    Err(format!("unknown option '{key}'{}", names::did_you_mean(key, known)))
                }
                None => Ok(()),
            }
        }
        Some(_) => Err("'options' is not a table".into()),
    }
}

fn find<'a>(options: Option<&'a Located>, key: &str) -> Option<&'a Located> {
    options.and_then(|options| options.find(key))
}

fn destination(options: Option<&Located>) -> Result<Destination, String> {
    let text = |key: &str| {
        let value = find(options, key).filter(|value| !matches!(value.value, Value::Null));
        let not_text = || format!("'{key}' is not text");
        value.map(|value| value.as_text().map(str::to_owned).ok_or_else(not_text)).transpose()
    };
    let level = match find(options, "logLevel") {
        None => Some(Level::Info),
        Some(value) if value.is_off() => None,
        Some(value) => Some(level(value.as_text().unwrap_or_default())?),
    };
    let folder = text("folder")?.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let extension = text("extension")?.unwrap_or_else(|| ".json".into());
    if extension.contains(['/', '\\']) {
        return Err("'extension' is not the end of a file's name".into());
    }
    Ok(Destination { level, folder, extension })
}

fn level(name: &str) -> Result<Level, String> {
    match name.to_ascii_lowercase().as_str() {
        "fatal" | "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "trace" => Ok(Level::Trace),
        _ => Err("'logLevel' is none of fatal, error, warn, info, debug and trace".into()),
    }
}

fn switch(options: Option<&Located>, key: &str) -> Result<bool, String> {
    let value = find(options, key);
    value.map_or(Ok(false), |value| {
        value.as_bool().ok_or_else(|| format!("'{key}' is not true or false"))
    })
}

fn list(options: Option<&Located>, key: &str, default: &str) -> Result<Vec<String>, String> {
    let Some(value) = find(options, key) else { return Ok(vec![default.into()]) };
    let items = value.as_list().ok_or_else(|| format!("'{key}' is not a list"))?;
    let items = items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
    let items: Option<Vec<_>> = items;
    items.ok_or_else(|| format!("'{key}' is not a list of text"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::problem::Place;

    fn located(options: serde_json::Value) -> Located {
        Located::from_json(options, &Place::Flag("--middlewares"))
    }

    #[test]
    fn options_are_those_of_moleculer_with_their_defaults() {
        let to = Destination { level: Some(Level::Info), folder: None, extension: ".json".into() };
        let action = action_log(None).unwrap();
        assert_eq!((&action.to, &action.whitelist[..]), (&to, &["**".to_owned()][..]));
        assert!(!action.params && !action.response && !action.meta);
        let options = json!({"logLevel": null, "folder": "logs", "extension": ".txt",
            "logPacketData": true, "packetFilter": [], "colors": {"send": "red"}});
        let transit = transit_log(Some(&located(options))).unwrap();
        let to = Destination { level: None, folder: Some("logs".into()), extension: ".txt".into() };
        assert_eq!(transit, TransitLog { to, packet_data: true, packet_filter: vec![] });
    }

    #[test]
    fn what_is_not_an_option_is_named() {
        for (bad, part) in [
            (json!({"logParam": true}), "did you mean 'logParams'"),
            (json!({"logLevel": "loud"}), "'logLevel'"),
            (json!({"logMeta": 1}), "'logMeta'"),
            (json!({"extension": "/../x"}), "'extension'"),
            (json!({"whitelist": 1}), "'whitelist'"),
        ] {
            let error = action_log(Some(&located(bad))).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
