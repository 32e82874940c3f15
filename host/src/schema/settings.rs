//! The settings of a service that mean something to the node: those whose names begin with `$`
//! (moleculer: src/service.js, src/middlewares/context-tracker.js). All others are the service's own.
//!
//! `$cache` is read where actions are, as the default of their `cache`. `$dependencyInterval` is checked and
//! has nothing to do: a node is told when a service comes and need not look again and again.

use std::time::Duration;

use serde_json::{Map, Value};

use super::read::{fault, milliseconds};

/// What the settings say to the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// `$noVersionPrefix`: the full name is the name, whatever the version.
    pub no_version_prefix: bool,
    /// `$noServiceNamePrefix`: actions are called by their own names.
    pub no_service_name_prefix: bool,
    /// `$dependencyTimeout`: how long to wait for dependencies; zero is for ever.
    pub dependency_timeout: Option<Duration>,
    /// `$shutdownTimeout`: the most that running calls may take when the service ends.
    pub shutdown_timeout: Option<Duration>,
    /// `$secureSettings`: dotted paths of the settings that are told to nobody.
    pub secure: Vec<String>,
}

impl Special {
    /// Reads the settings of a service.
    pub(super) fn read(settings: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut reader = Reader { settings, problems };
        reader.time("$dependencyInterval");
        Self {
            no_version_prefix: reader.flag("$noVersionPrefix"),
            no_service_name_prefix: reader.flag("$noServiceNamePrefix"),
            dependency_timeout: reader.time("$dependencyTimeout"),
            shutdown_timeout: reader.time("$shutdownTimeout"),
            secure: reader.paths("$secureSettings"),
        }
    }

    /// The settings that may be told: without secrets, and without the list of them.
    pub(super) fn public(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let mut settings = settings.clone();
        settings.shift_remove("$secureSettings");
        for path in &self.secure {
            remove_key(&mut settings, path);
        }
        settings
    }
}

struct Reader<'a> {
    settings: &'a Map<String, Value>,
    problems: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    fn given(&self, key: &str) -> Option<&'a Value> {
        self.settings.get(key).filter(|value| !value.is_null())
    }

    fn fault(&mut self, key: &str, found: &Value, allowed: &str) {
        self.problems.push(fault(&format!("settings.{key}"), found, allowed));
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.given(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.fault(key, other, "true or false");
                false
            }
        }
    }

    fn time(&mut self, key: &str) -> Option<Duration> {
        let found = self.given(key)?;
        let time = milliseconds(found);
        if time.is_none() {
            self.fault(key, found, "milliseconds, 0 or more");
        }
        time
    }

    /// A list that cannot be read is a fault and never an empty list, which would tell the secrets.
    fn paths(&mut self, key: &str) -> Vec<String> {
        let Some(found) = self.given(key) else { return Vec::new() };
        let paths: Option<Vec<String>> = found
            .as_array()
            .and_then(|paths| paths.iter().map(|path| path.as_str().map(str::to_owned)).collect());
        paths.unwrap_or_else(|| {
            self.fault(key, found, "an array of names or dotted paths");
            Vec::new()
        })
    }
}

/// Removes what a path means: the key of that very name, and what lies at the end of the path.
fn remove_key(object: &mut Map<String, Value>, path: &str) {
    object.shift_remove(path);
    if let Some((head, rest)) = path.split_once('.')
        && let Some(inner) = object.get_mut(head)
    {
        remove_path(inner, rest);
    }
}

/// The same inside of a value. An item of an array becomes null, so that the others keep their places
/// (lodash: omit).
fn remove_path(value: &mut Value, path: &str) {
    match value {
        Value::Object(object) => remove_key(object, path),
        Value::Array(items) => {
            let (head, rest) = path.split_once('.').unwrap_or((path, ""));
            let item = head.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            match item {
                Some(item) if rest.is_empty() => *item = Value::Null,
                Some(item) => remove_path(item, rest),
                None => {}
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: &Value) -> Result<Special, Vec<String>> {
        let mut problems = Vec::new();
        let special = Special::read(settings.as_object().unwrap(), &mut problems);
        if problems.is_empty() { Ok(special) } else { Err(problems) }
    }

    #[test]
    fn each_special_setting_is_read() {
        let settings = json!({"$noVersionPrefix": true, "$noServiceNamePrefix": true,
            "$dependencyTimeout": 1500, "$dependencyInterval": 10, "$shutdownTimeout": 0,
            "$secureSettings": ["a", "b.c"], "$own": "free", "own": []});
        let expected = Special {
            no_version_prefix: true,
            no_service_name_prefix: true,
            dependency_timeout: Some(Duration::from_millis(1500)),
            shutdown_timeout: Some(Duration::ZERO),
            secure: vec!["a".into(), "b.c".into()],
        };
        assert_eq!(read(&settings), Ok(expected));
        assert_eq!(read(&json!({"$shutdownTimeout": null})), Ok(Special::default()));
    }

    #[test]
    fn wrong_settings_name_the_key_what_was_found_and_what_is_allowed() {
        let check = |key: &str, value: Value, end: &str| {
            let problems = read(&json!({ key: value })).unwrap_err();
            assert_eq!(problems, [format!("'settings.{key}' must be {end}")]);
        };
        check("$noVersionPrefix", json!("yes"), "true or false, found \"yes\"");
        check("$noServiceNamePrefix", json!(1), "true or false, found 1");
        check("$dependencyTimeout", json!("5s"), "milliseconds, 0 or more, found \"5s\"");
        check("$dependencyInterval", json!(-1), "milliseconds, 0 or more, found -1");
        check("$shutdownTimeout", json!({}), "milliseconds, 0 or more, found an object");
        let paths = "an array of names or dotted paths, found ";
        check("$secureSettings", json!("token"), &format!("{paths}\"token\""));
        check("$secureSettings", json!(["a", 1]), &format!("{paths}an array"));
    }

    // moleculer: src/service.js _getPublicSettings
    #[test]
    fn secrets_are_left_out_wherever_they_stand() {
        let check = |path: &str, expected: Value| {
            let settings = json!({"$secureSettings": [path], "a": 1, "b": {"c": 2, "d": [3, {"e": 4}]},
                "f.g": 5});
            let special = read(&settings).unwrap();
            assert_eq!(Value::Object(special.public(settings.as_object().unwrap())), expected);
        };
        let rest = json!({"c": 2, "d": [3, {"e": 4}]});
        check("a", json!({"b": rest, "f.g": 5}));
        check("b", json!({"a": 1, "f.g": 5}));
        check("b.c", json!({"a": 1, "b": {"d": [3, {"e": 4}]}, "f.g": 5}));
        check("b.d.0", json!({"a": 1, "b": {"c": 2, "d": [null, {"e": 4}]}, "f.g": 5}));
        check("b.d.1.e", json!({"a": 1, "b": {"c": 2, "d": [3, {}]}, "f.g": 5}));
        check("f.g", json!({"a": 1, "b": rest}));
        check("nothing.there", json!({"a": 1, "b": rest, "f.g": 5}));
    }
}
