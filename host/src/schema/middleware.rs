//! What a middleware says that it wants to see, read from the JSON of its `describe`.

use serde_json::{Map, Value};

use super::read::{Reader, merge_deep};
use super::{Bounds, Error, Lifecycle, Pattern};
use crate::config::limits::{ActionLimits, Mode};

/// Everything at any depth: what a middleware sees that names no patterns.
const EVERYTHING: &str = "**";

/// The hooks of a middleware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before an action.
    pub before_call: bool,
    /// With its result.
    pub after_call: bool,
    /// With its error.
    pub on_error: bool,
    /// Before an event is handled.
    pub before_event: bool,
}

impl Hooks {
    /// Their names, as in the WIT, in the order of a call.
    pub const NAMES: [&'static str; 4] = ["before-call", "after-call", "on-error", "before-event"];

    fn named(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "before-call" => Some(&mut self.before_call),
            "after-call" => Some(&mut self.after_call),
            "on-error" => Some(&mut self.on_error),
            "before-event" => Some(&mut self.before_event),
            _ => None,
        }
    }

    /// True when one of them is about actions.
    #[must_use]
    pub fn of_actions(self) -> bool {
        self.before_call || self.after_call || self.on_error
    }
}

/// What a middleware declares.
#[derive(Clone, Debug)]
pub struct MiddlewareSchema {
    /// What it calls itself; for people. The operator names it by its file.
    pub name: String,
    /// Functions that are called.
    pub hooks: Hooks,
    /// Settings, with the operator's over them.
    pub settings: Map<String, Value>,
    /// Wish for a mode.
    pub mode: Option<Mode>,
    /// Narrower limits of all hooks.
    pub limits: ActionLimits,
    /// Whether `started` and `stopped` do anything.
    pub lifecycle: Lifecycle,
    /// Actions that it sees.
    pub actions: Selection,
    /// Events that it sees.
    pub events: Selection,
}

/// Names of actions or events, chosen by patterns.
#[derive(Clone, Debug)]
pub struct Selection {
    texts: Vec<String>,
    patterns: Vec<Pattern>,
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Selection {
    /// Whether a name is chosen. Names with `$` are the node's own and want a pattern with `$`, so that a
    /// middleware for everything does not lock its operator out.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let own = name.starts_with('$');
        let mut pairs = self.texts.iter().zip(&self.patterns);
        pairs.any(|(text, pattern)| (!own || text.starts_with('$')) && pattern.matches(name))
    }
}

impl MiddlewareSchema {
    /// Reads a schema; `overlay` is put over its settings key by key, deep.
    ///
    /// # Errors
    /// [`Error`] with every fault.
    pub fn read(text: &str, overlay: &Map<String, Value>, bounds: Bounds) -> Result<Self, Error> {
        let (mut reader, mut root) = Reader::begin(text, bounds)?;
        let name = match root.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            other => {
                reader.fault("name", other.unwrap_or(&Value::Null), "a text");
                "?".to_owned()
            }
        };
        let mut settings = reader.object(&mut root, "settings");
        merge_deep(&mut settings, overlay);
        let isomer = reader.object(&mut root, "isomer");
        let schema = Self {
            hooks: hooks(&mut reader, root.get("hooks")),
            actions: selection(&mut reader, "actions", root.get("actions")),
            events: selection(&mut reader, "events", root.get("events")),
            settings,
            mode: reader.mode(isomer.get("mode")),
            limits: reader.limits("isomer.limits", isomer.get("limits")),
            lifecycle: reader.lifecycle(isomer.get("lifecycle")),
            name,
        };
        if reader.problems.is_empty() {
            Ok(schema)
        } else {
            Err(Error { service: schema.name, problems: reader.problems })
        }
    }
}

fn hooks(reader: &mut Reader, found: Option<&Value>) -> Hooks {
    let mut hooks = Hooks::default();
    let names = found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut known = !names.is_empty();
    for name in names {
        match name.as_str().and_then(|name| hooks.named(name)) {
            Some(hook) => *hook = true,
            None => known = false,
        }
    }
    if !known {
        let allowed = format!("an array of {}", Hooks::NAMES.join(", "));
        reader.fault("hooks", found.unwrap_or(&Value::Null), &allowed);
    }
    hooks
}

fn selection(reader: &mut Reader, key: &str, found: Option<&Value>) -> Selection {
    let texts: Vec<String> = match found {
        None | Some(Value::Null) => vec![EVERYTHING.to_owned()],
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(other) => {
            reader.fault(key, other, "an array of patterns");
            Vec::new()
        }
    };
    if texts.len() > reader.bounds.items {
        let (len, max) = (texts.len(), reader.bounds.items);
        reader.problems.push(format!("'{key}' has {len} entries; the limit is {max}"));
        return Selection { texts: Vec::new(), patterns: Vec::new() };
    }
    let mut patterns = Vec::with_capacity(texts.len());
    for text in &texts {
        match Pattern::compile(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => reader.problems.push(format!("'{key}': {error}")),
        }
    }
    Selection { texts, patterns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MiddlewareSchema, Error> {
        let bounds = Bounds { len: 1_000, items: 3, internal: false };
        MiddlewareSchema::read(text, &Map::new(), bounds)
    }

    #[test]
    fn patterns_choose_and_names_of_the_node_want_their_own() {
        let check = |patterns: &str, name: &str, expected: bool| {
            let text = format!(r#"{{"name":"m","hooks":["before-call"]{patterns}}}"#);
            assert_eq!(read(&text).unwrap().actions.matches(name), expected, "{patterns} {name}");
        };
        check("", "posts.get", true);
        check("", "v2.posts.deep.get", true);
        check("", "$node.list", false);
        check(r#","actions":["**"]"#, "$node.list", false);
        check(r#","actions":["$node.*"]"#, "$node.list", true);
        check(r#","actions":["$node.*"]"#, "posts.get", false);
        check(r#","actions":["posts.*","users.get"]"#, "posts.get", true);
        check(r#","actions":["posts.*","users.get"]"#, "users.list", false);
        check(r#","actions":[]"#, "posts.get", false);
    }

    #[test]
    fn every_fault_is_told() {
        let check = |text: &str, expected: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{error}");
            }
        };
        check("[]", &["must be an object"]);
        check("{}", &["'name' must be a text", "'hooks' must be an array of before-call"]);
        let wrong = r#"{"name":"m","hooks":["before"],"actions":"*","isomer":{"mode":"x"}}"#;
        check(wrong, &["'hooks'", "'actions' must be an array of patterns", "'isomer.mode'"]);
        let many = r#"{"name":"m","hooks":["on-error"],"events":["a","b","c","d"]}"#;
        check(many, &["'events' has 4 entries; the limit is 3"]);
    }
}
