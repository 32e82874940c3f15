//! `cache` of an action, and `settings.$cache` for all actions of a service
//! (moleculer: src/cachers/base.js middleware, src/service.js).

use std::time::Duration;

use serde_json::{Map, Value};

use super::read::fault;

/// How results of an action are cached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cache {
    /// Which values make the key; without it all params do. `#` is the meta, `@` the headers.
    pub keys: Option<Vec<String>>,
    /// Life of an entry; zero is for ever. Without it the cacher's.
    pub ttl: Option<Duration>,
    /// Protection against equal calls that all miss; without it the cacher's.
    pub lock: Option<Lock>,
}

/// `cache.lock` of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Whether there is one.
    pub enabled: bool,
    /// How long one may hold it. Without it the cacher's.
    pub ttl: Option<Duration>,
    /// When less than this is left of an entry's life, one call makes it anew. Without it the cacher's.
    pub stale_time: Option<Duration>,
}

impl Cache {
    /// Reads `cache` of an action; `None` when its results are not cached.
    pub(super) fn read(
        path: &str,
        found: Option<&Value>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        match found {
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(Self::default()),
            Some(Value::Object(map)) => options(path, map, problems),
            Some(other) => {
                problems.push(fault(path, other, "true, false or an object"));
                None
            }
        }
    }
}

/// Gives `settings.$cache` to the actions that say nothing of caching.
pub(super) fn apply_default(
    root: &mut Map<String, Value>,
    default: &Value,
    problems: &mut Vec<String>,
) {
    let n_problems = problems.len();
    let _ = Cache::read("settings.$cache", Some(default), problems);
    let Some(Value::Object(actions)) = root.get_mut("actions") else { return };
    if problems.len() > n_problems {
        return;
    }
    for action in actions.values_mut() {
        if matches!(action, Value::Null | Value::Bool(true)) {
            *action = Value::Object(Map::new());
        }
        if let Value::Object(action) = action {
            action.entry("cache").or_insert_with(|| default.clone());
        }
    }
}

fn options(path: &str, map: &Map<String, Value>, problems: &mut Vec<String>) -> Option<Cache> {
    let mut cache = Cache::default();
    let mut enabled = true;
    for (key, value) in map {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "enabled" => enabled = flag(&path, value, problems),
            "keys" => cache.keys = keys(&path, value, problems),
            "ttl" => cache.ttl = seconds(&path, value, problems),
            "lock" => cache.lock = lock(&path, value, problems),
            "keygen" => {
                problems.push(fault(&path, value, "left out: a schema of a guest has no functions"))
            }
            _ => problems.push(unknown(&path, "enabled, keys, ttl, lock")),
        }
    }
    enabled.then_some(cache)
}

fn lock(path: &str, found: &Value, problems: &mut Vec<String>) -> Option<Lock> {
    let map = match found {
        Value::Null => return None,
        Value::Bool(enabled) => return Some(Lock { enabled: *enabled, ..Lock::default() }),
        Value::Object(map) => map,
        other => {
            problems.push(fault(path, other, "true, false or an object"));
            return None;
        }
    };
    // An object switches it on, unless it says otherwise.
    let mut lock = Lock { enabled: true, ..Lock::default() };
    for (key, value) in map {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "enabled" => lock.enabled = flag(&path, value, problems),
            "ttl" => lock.ttl = seconds(&path, value, problems),
            "staleTime" => lock.stale_time = seconds(&path, value, problems),
            _ => problems.push(unknown(&path, "enabled, ttl, staleTime")),
        }
    }
    Some(lock)
}

fn flag(path: &str, found: &Value, problems: &mut Vec<String>) -> bool {
    found.as_bool().unwrap_or_else(|| {
        problems.push(fault(
            path,
            found,
            "true or false; set meta.$cache to false for single calls",
        ));
        false
    })
}

fn keys(path: &str, found: &Value, problems: &mut Vec<String>) -> Option<Vec<String>> {
    let texts = |items: &Vec<Value>| -> Option<Vec<String>> {
        items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    match found {
        Value::Null => None,
        found => {
            let keys = found.as_array().and_then(texts);
            if keys.is_none() {
                problems.push(fault(
                    path,
                    found,
                    "an array of texts, such as 'id', 'user.name', '#tenant'",
                ));
            }
            keys
        }
    }
}

fn seconds(path: &str, found: &Value, problems: &mut Vec<String>) -> Option<Duration> {
    if found.is_null() {
        return None;
    }
    let seconds = found.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if seconds.is_none() {
        problems.push(fault(path, found, "seconds (0 for ever)"));
    }
    seconds
}

fn unknown(path: &str, allowed: &str) -> String {
    format!("'{path}' is not known; allowed are {allowed}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Bounds, ServiceSchema};

    fn read(cache: &Value) -> Result<Option<Cache>, Vec<String>> {
        let schema = json!({"name": "posts", "actions": {"find": {"cache": cache}}});
        let bounds = Bounds { len: 10_000, items: 10, internal: false };
        ServiceSchema::read(&schema.to_string(), &Map::new(), bounds)
            .map(|schema| schema.actions[0].cache.clone())
            .map_err(|error| error.problems)
    }

    // moleculer: src/cachers/base.js middleware
    #[test]
    fn an_object_switches_caching_on_and_its_parts_have_moleculers_units() {
        assert_eq!(read(&json!(false)), Ok(None));
        assert_eq!(read(&json!(true)), Ok(Some(Cache::default())));
        assert_eq!(read(&json!({"enabled": false, "ttl": 5})), Ok(None));
        let all = read(&json!({
            "keys": ["id", "#user.id"], "ttl": 1.5, "lock": {"ttl": 15, "staleTime": 10}
        }));
        let lock = Lock {
            enabled: true,
            ttl: Some(Duration::from_secs(15)),
            stale_time: Some(Duration::from_secs(10)),
        };
        let expected = Cache {
            keys: Some(vec!["id".into(), "#user.id".into()]),
            ttl: Some(Duration::from_millis(1_500)),
            lock: Some(lock),
        };
        assert_eq!(all, Ok(Some(expected)));
        let switched = |lock: Value| read(&json!({ "lock": lock })).unwrap().unwrap().lock;
        assert_eq!(switched(json!(true)).map(|lock| lock.enabled), Some(true));
        assert_eq!(switched(json!({"enabled": false})).map(|lock| lock.enabled), Some(false));
    }

    #[test]
    fn a_wrong_cache_names_the_key_and_what_is_allowed() {
        let check = |cache: Value, expected: &str| {
            assert_eq!(read(&cache).unwrap_err(), [expected]);
        };
        check(json!(5), "'actions.find.cache' must be true, false or an object, found 5");
        check(
            json!({"keys": "id"}),
            "'actions.find.cache.keys' must be an array of texts, such as \
            'id', 'user.name', '#tenant', found \"id\"",
        );
        check(
            json!({"ttl": -1}),
            "'actions.find.cache.ttl' must be seconds (0 for ever), found -1",
        );
        check(
            json!({"tll": 1}),
            "'actions.find.cache.tll' is not known; allowed are enabled, keys, \
            ttl, lock",
        );
        check(
            json!({"lock": {"stale": 1}}),
            "'actions.find.cache.lock.stale' is not known; allowed \
            are enabled, ttl, staleTime",
        );
    }

    // moleculer: src/service.js _createAction
    #[test]
    fn settings_have_a_default_for_all_actions() {
        let schema = json!({"name": "posts", "settings": {"$cache": {"ttl": 3}}, "actions": {
            "find": {}, "get": {"cache": {"keys": ["id"]}}, "create": {"cache": false}
        }});
        let bounds = Bounds { len: 10_000, items: 10, internal: false };
        let schema = ServiceSchema::read(&schema.to_string(), &Map::new(), bounds).unwrap();
        let caches: Vec<_> = schema.actions.iter().map(|action| action.cache.clone()).collect();
        let default = Cache { ttl: Some(Duration::from_secs(3)), ..Cache::default() };
        let own = Cache { keys: Some(vec!["id".into()]), ..Cache::default() };
        assert_eq!(caches, [Some(default), Some(own), None]);
        // Other nodes see it, as they do of a JavaScript node.
        assert_eq!(schema.actions[0].definition["cache"], json!({"ttl": 3}));
    }
}
