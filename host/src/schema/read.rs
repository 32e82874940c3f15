//! Reading a schema from JSON, collecting every fault on the way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::cache::{self, Cache};
use super::{
    ActionFaults, ActionSchema, Balance, Bounds, Dependency, Error, EventFaults, EventSchema,
    Lifecycle, Pattern, Probe, ServiceSchema, Special, Traced, Visibility, full_name,
    suits_javascript,
};
use crate::config::limits::{ActionLimits, Mode};
use crate::payload::Payload;

/// How long the answer to a probe may take when the schema does not say.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest name of a service, action or event, in bytes.
const NAME_LEN_MAX: usize = 200;

pub(super) fn service(
    text: &str,
    overlay: &Map<String, Value>,
    bounds: Bounds,
) -> Result<ServiceSchema, Error> {
    let (mut reader, root) = Reader::begin(text, bounds)?;
    let schema = reader.service(root, overlay);
    if reader.problems.is_empty() {
        Ok(schema)
    } else {
        Err(Error { service: schema.full_name.to_string(), problems: reader.problems })
    }
}

/// Reads parts of a schema and collects what is wrong with them.
pub(super) struct Reader {
    pub(super) problems: Vec<String>,
    pub(super) bounds: Bounds,
}

impl Reader {
    /// The object that a text holds, and a reader for its parts.
    pub(super) fn begin(text: &str, bounds: Bounds) -> Result<(Self, Map<String, Value>), Error> {
        let fail = |problem: String| Error { service: "?".into(), problems: vec![problem] };
        if text.len() > bounds.len {
            return Err(fail(format!("it has {} bytes; the limit is {}", text.len(), bounds.len)));
        }
        let root: Value =
            serde_json::from_str(text).map_err(|error| fail(format!("it is not JSON: {error}")))?;
        let Value::Object(root) = root else {
            return Err(fail(format!("it must be an object, found {}", kind(&root))));
        };
        Ok((Self { problems: Vec::new(), bounds }, root))
    }

    pub(super) fn fault(&mut self, key: &str, found: &Value, allowed: &str) {
        self.problems.push(fault(key, found, allowed));
    }

    fn service(
        &mut self,
        mut root: Map<String, Value>,
        overlay: &Map<String, Value>,
    ) -> ServiceSchema {
        let name = self.name(root.get("name"));
        let version = self.version(root.get("version"));
        let mut settings = self.object(&mut root, "settings");
        merge_deep(&mut settings, overlay);
        let metadata = Value::Object(self.object(&mut root, "metadata"));
        let special = Special::read(&settings, &mut self.problems);
        let full_name: Arc<str> = if special.no_version_prefix {
            Arc::from(name.as_str())
        } else {
            full_name(&name, &version).into()
        };
        let prefix =
            if special.no_service_name_prefix { String::new() } else { format!("{full_name}.") };
        let dependencies = self.dependencies(root.get("dependencies"));
        if let Some(default) = settings.get("$cache") {
            cache::apply_default(&mut root, default, &mut self.problems);
        }
        let actions = self.actions(&mut root, &prefix);
        let events = self.events(&mut root, &name);
        let isomer = self.object(&mut root, "isomer");
        let probe = self.probe(isomer.get("probe"), &actions);
        ServiceSchema {
            probe,
            name: name.into(),
            version,
            full_name,
            settings,
            special,
            metadata,
            dependencies,
            actions,
            events,
            mode: self.mode(isomer.get("mode")),
            limits: self.limits("isomer.limits", isomer.get("limits")),
            lifecycle: self.lifecycle(isomer.get("lifecycle")),
        }
    }

    /// `"action"`, or `{action, params, timeout}` (ms).
    fn probe(&mut self, found: Option<&Value>, actions: &[ActionSchema]) -> Option<Probe> {
        let found = found.filter(|found| !found.is_null())?;
        let field = |key: &str| found.get(key).filter(|value| !value.is_null());
        let action = found.as_str().or_else(|| field("action").and_then(Value::as_str));
        let known = action.filter(|key| actions.iter().any(|action| *action.key == **key));
        let params = field("params").map_or(Ok(Payload::empty_object()), Payload::from_value);
        let timeout = field("timeout").map_or(Some(PROBE_TIMEOUT), |timeout| {
            timeout.as_u64().filter(|ms| *ms > 0).map(Duration::from_millis)
        });
        match (known, params, timeout) {
            (Some(action), Ok(params), Some(timeout)) => {
                Some(Probe { action: action.to_owned(), params, timeout })
            }
            _ => {
                let allowed = "the name of an action of this service, or {action, params, timeout}";
                self.fault("isomer.probe", found, allowed);
                None
            }
        }
    }

    fn name(&mut self, found: Option<&Value>) -> String {
        let name = match found {
            Some(Value::String(name)) => name.clone(),
            other => {
                self.fault("name", other.unwrap_or(&Value::Null), "a text");
                return "?".into();
            }
        };
        self.check_name("name", &name);
        if name.starts_with('$') && !self.bounds.internal {
            self.problems.push(format!(
                "the name '{name}' begins with '$', which is kept for the node's own services"
            ));
        }
        name
    }

    /// Names become parts of topics: no blanks, no wildcard characters.
    fn check_name(&mut self, key: &str, name: &str) {
        let bad = |c: char| c.is_whitespace() || c.is_control() || "*>|?".contains(c);
        if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains(bad) {
            let allowed = "a text of 1 to 200 bytes without blanks and without * > | ?";
            self.fault(key, &Value::String(name.to_owned()), allowed);
        }
    }

    fn version(&mut self, found: Option<&Value>) -> Value {
        match found {
            None | Some(Value::Null) => Value::Null,
            Some(Value::Number(number)) => Value::Number(number.clone()),
            Some(Value::String(text)) => {
                self.check_name("version", text);
                Value::String(text.clone())
            }
            Some(other) => {
                self.fault("version", other, "a number or a text");
                Value::Null
            }
        }
    }

    pub(super) fn object(
        &mut self,
        root: &mut Map<String, Value>,
        key: &str,
    ) -> Map<String, Value> {
        match root.shift_remove(key) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.fault(key, &other, "an object");
                Map::new()
            }
        }
    }

    fn dependencies(&mut self, found: Option<&Value>) -> Vec<Dependency> {
        let items = match found {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
        };
        items.iter().filter_map(|item| self.dependency(item)).collect()
    }

    fn dependency(&mut self, found: &Value) -> Option<Dependency> {
        let name = match found {
            Value::String(name) => return Some(Dependency { any_of: vec![name.clone()] }),
            Value::Object(item) => item.get("name").and_then(Value::as_str),
            _ => None,
        };
        let Some(name) = name else {
            self.fault("dependencies", found, "names, or objects with 'name' and 'version'");
            return None;
        };
        let versions = match found.get("version") {
            Some(Value::Array(versions)) => versions.clone(),
            Some(version) => vec![version.clone()],
            None => vec![Value::Null],
        };
        let version = |v: &Value| matches!(v, Value::Null | Value::Number(_) | Value::String(_));
        if versions.is_empty() || !versions.iter().all(version) {
            let found = found.get("version").unwrap_or(&Value::Null);
            self.fault("dependencies.version", found, "a number, a text, or an array of them");
            return None;
        }
        Some(Dependency { any_of: versions.iter().map(|v| full_name(name, v)).collect() })
    }

    fn count(&mut self, key: &str, items: &Map<String, Value>) {
        if items.len() > self.bounds.items {
            let (len, max) = (items.len(), self.bounds.items);
            self.problems.push(format!("'{key}' has {len} entries; the limit is {max}"));
        }
    }

    fn actions(&mut self, root: &mut Map<String, Value>, prefix: &str) -> Vec<ActionSchema> {
        let items = self.object(root, "actions");
        self.count("actions", &items);
        let mut names = HashSet::new();
        let mut actions = Vec::with_capacity(items.len().min(self.bounds.items));
        for (key, value) in items.into_iter().take(self.bounds.items) {
            // `false` switches an inherited action off.
            if value == Value::Bool(false) {
                continue;
            }
            let Some(action) = self.action(&key, value, prefix) else { continue };
            if !names.insert(Arc::clone(&action.name)) {
                self.problems.push(format!("two actions have the name '{}'", action.name));
            }
            actions.push(action);
        }
        actions
    }

    fn action(&mut self, key: &str, value: Value, prefix: &str) -> Option<ActionSchema> {
        let path = format!("actions.{key}");
        let mut definition = self.definition(&path, value)?;
        let raw_name = match definition.get("name") {
            Some(Value::String(name)) => name.clone(),
            None | Some(Value::Null) => key.to_owned(),
            Some(other) => {
                self.fault(&format!("{path}.name"), &other.clone(), "a text");
                key.to_owned()
            }
        };
        self.check_name(&format!("{path}.name"), &raw_name);
        let name = format!("{prefix}{raw_name}");
        let visibility = self.visibility(&path, definition.get("visibility"));
        let timeout = self.millis(&format!("{path}.timeout"), definition.get("timeout"));
        let fallback = self.fallback(&path, definition.get("fallback"));
        let faults = ActionFaults::read(&path, &definition, &mut self.problems);
        let balance = Balance::read(&path, &definition, &mut self.problems);
        let tracing = Traced::read(&path, &definition, &mut self.problems);
        let cache_path = format!("{path}.cache");
        let cache = Cache::read(&cache_path, definition.get("cache"), &mut self.problems);
        let isomer = self.object(&mut definition, "isomer");
        let limits = self.limits(&format!("{path}.isomer.limits"), isomer.get("limits"));
        if !isomer.is_empty() {
            definition.insert("isomer".into(), Value::Object(isomer));
        }
        definition.insert("rawName".into(), raw_name.into());
        definition.insert("name".into(), name.clone().into());
        Some(ActionSchema {
            key: key.into(),
            name: name.into(),
            visibility,
            timeout,
            fallback,
            faults,
            balance,
            tracing,
            cache,
            limits,
            definition: Arc::new(definition),
        })
    }

    fn fallback(&mut self, path: &str, found: Option<&Value>) -> Option<Arc<str>> {
        match found {
            None | Some(Value::Null) => None,
            Some(Value::String(method)) if !method.is_empty() => Some(method.as_str().into()),
            Some(other) => {
                self.fault(&format!("{path}.fallback"), other, "the name of a method");
                None
            }
        }
    }

    fn definition(&mut self, path: &str, value: Value) -> Option<Map<String, Value>> {
        match value {
            Value::Object(definition) => Some(definition),
            Value::Null | Value::Bool(true) => Some(Map::new()),
            other => {
                self.fault(path, &other, "an object");
                None
            }
        }
    }

    fn visibility(&mut self, path: &str, found: Option<&Value>) -> Visibility {
        match found {
            None | Some(Value::Null) => Visibility::Published,
            Some(Value::String(word)) if word == "published" => Visibility::Published,
            Some(Value::String(word)) if word == "public" => Visibility::Public,
            Some(Value::String(word)) if word == "protected" => Visibility::Protected,
            Some(Value::String(word)) if word == "private" => Visibility::Private,
            Some(other) => {
                let allowed = "one of published, public, protected, private";
                self.fault(&format!("{path}.visibility"), other, allowed);
                Visibility::Private
            }
        }
    }

    fn events(&mut self, root: &mut Map<String, Value>, service: &str) -> Vec<EventSchema> {
        let items = self.object(root, "events");
        self.count("events", &items);
        let max = self.bounds.items;
        items
            .into_iter()
            .take(max)
            .filter_map(|(key, value)| self.event(&key, value, service))
            .collect()
    }

    fn event(&mut self, key: &str, value: Value, service: &str) -> Option<EventSchema> {
        let path = format!("events.{key}");
        let mut definition = self.definition(&path, value)?;
        let group = match definition.get("group") {
            None | Some(Value::Null) => service.to_owned(),
            Some(Value::String(group)) => {
                let group = group.clone();
                self.check_name(&format!("{path}.group"), &group);
                group
            }
            Some(other) => {
                self.fault(&format!("{path}.group"), &other.clone(), "a text");
                service.to_owned()
            }
        };
        let pattern = match Pattern::compile(key) {
            Ok(_) if !suits_javascript(key) => {
                self.problems.push(format!(
                    "'{path}': nodes of JavaScript cannot compile this pattern, so that their emits would fail"
                ));
                return None;
            }
            Ok(pattern) if !key.is_empty() && key.len() <= NAME_LEN_MAX => pattern,
            Ok(_) => {
                self.problems.push(format!("'{path}' must have 1 to {NAME_LEN_MAX} bytes"));
                return None;
            }
            Err(error) => {
                self.problems.push(format!("'{path}': {error}"));
                return None;
            }
        };
        let faults = EventFaults::read(&path, &definition, &mut self.problems);
        let balance = Balance::read(&path, &definition, &mut self.problems);
        let tracing = Traced::read(&path, &definition, &mut self.problems);
        definition.insert("name".into(), key.into());
        Some(EventSchema {
            key: key.into(),
            pattern,
            group: group.into(),
            faults,
            balance,
            tracing,
            definition: Arc::new(definition),
        })
    }

    pub(super) fn mode(&mut self, found: Option<&Value>) -> Option<Mode> {
        match found {
            None | Some(Value::Null) => None,
            Some(Value::String(word)) if word == "pooled" => Some(Mode::Pooled),
            Some(Value::String(word)) if word == "fresh" => Some(Mode::Fresh),
            Some(Value::String(word)) if word == "shared" => Some(Mode::Shared),
            Some(other) => {
                self.fault("isomer.mode", other, "pooled, fresh or shared");
                None
            }
        }
    }

    pub(super) fn lifecycle(&mut self, found: Option<&Value>) -> Lifecycle {
        let Some(found) = found else { return Lifecycle { started: true, stopped: true } };
        let words: Option<Vec<&str>> =
            found.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
        match words {
            Some(words) if words.iter().all(|word| ["started", "stopped"].contains(word)) => {
                Lifecycle {
                    started: words.contains(&"started"),
                    stopped: words.contains(&"stopped"),
                }
            }
            _ => {
                self.fault("isomer.lifecycle", found, "an array of 'started' and 'stopped'");
                Lifecycle { started: true, stopped: true }
            }
        }
    }

    pub(super) fn limits(&mut self, path: &str, found: Option<&Value>) -> ActionLimits {
        let mut limits = ActionLimits::default();
        let map = match found {
            None | Some(Value::Null) => return limits,
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.fault(path, other, "an object");
                return limits;
            }
        };
        for (key, value) in map {
            let path = format!("{path}.{key}");
            match key.as_str() {
                "fuel" => limits.fuel = self.whole(&path, value),
                "timeout" => limits.timeout = self.millis(&path, Some(value)),
                "memory" => limits.memory = self.size(&path, value),
                "payload" => limits.payload = self.size(&path, value),
                _ => self.problems.push(format!(
                    "'{path}' is not known; allowed are fuel, timeout, memory, payload"
                )),
            }
        }
        limits
    }

    fn whole(&mut self, path: &str, found: &Value) -> Option<u64> {
        let number = found.as_u64();
        if number.is_none() {
            self.fault(path, found, "a whole number");
        }
        number
    }

    fn size(&mut self, path: &str, found: &Value) -> Option<usize> {
        self.whole(path, found).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn millis(&mut self, path: &str, found: Option<&Value>) -> Option<Duration> {
        match found {
            None | Some(Value::Null) => None,
            Some(found) => {
                let time = milliseconds(found);
                if time.is_none() {
                    self.fault(path, found, "milliseconds (0 for none)");
                }
                time
            }
        }
    }
}

/// A time that is not negative.
pub(super) fn milliseconds(found: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(found.as_f64()? / 1_000.0).ok()
}

/// What is wrong with a value: its key, what was found, what is allowed.
pub(super) fn fault(key: &str, found: &Value, allowed: &str) -> String {
    format!("'{key}' must be {allowed}, found {}", shown(found))
}

/// Puts `over` over `base`, object by object.
pub(crate) fn merge_deep(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge_deep(inner, value),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A found value, short enough for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) | Value::Null => kind(value).to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(60) {
                Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
                None => text,
            }
        }
    }
}
