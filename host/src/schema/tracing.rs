//! `tracing` of an action or event: whether its calls become spans and what these carry
//! (moleculer: src/middlewares/tracing.js).

use serde_json::{Map, Value};

use super::read::fault;
use crate::config::tracing::TagRules;

/// What one action or event says of tracing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traced {
    /// `tracing: false`, or `enabled: false` in it.
    pub off: bool,
    /// Name of its spans instead of the usual one.
    pub span_name: Option<String>,
    /// What its spans carry.
    pub tags: TagRules,
}

/// What is allowed.
const ALLOWED: &str = "true, false or an object with enabled, spanName, tags";

impl Traced {
    /// Reads a definition whose place in the schema is `path`.
    pub(super) fn read(
        path: &str,
        definition: &Map<String, Value>,
        problems: &mut Vec<String>,
    ) -> Self {
        let path = format!("{path}.tracing");
        match definition.get("tracing") {
            None | Some(Value::Null | Value::Bool(true)) => Self::default(),
            Some(Value::Bool(false)) => Self { off: true, ..Self::default() },
            Some(Value::Object(options)) => Self::from_table(&path, options, problems),
            Some(found) => {
                problems.push(fault(&path, found, ALLOWED));
                Self::default()
            }
        }
    }

    fn from_table(path: &str, options: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut traced = Self::default();
        for (key, value) in options.iter().filter(|(_, value)| !value.is_null()) {
            match (key.as_str(), value) {
                ("enabled", Value::Bool(on)) => traced.off = !on,
                ("enabled", _) => {
                    problems.push(fault(&format!("{path}.enabled"), value, "true or false"))
                }
                ("spanName", Value::String(name)) => traced.span_name = Some(name.clone()),
                ("spanName", _) => problems.push(fault(&format!("{path}.spanName"), value, "text")),
                ("tags", Value::Object(rules)) => match TagRules::read(rules) {
                    Ok(rules) => traced.tags = rules,
                    Err(reason) => problems.push(format!("'{path}.tags': {reason}")),
                },
                ("tags", _) => problems.push(fault(&format!("{path}.tags"), value, "an object")),
                // Values that are trees by themselves need no trimming.
                ("safetyTags", _) => {}
                _ => problems.push(format!(
                    "'{path}' has the unknown key '{key}'; there are: enabled, spanName, tags"
                )),
            }
        }
        traced
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tracing::Pick;

    fn read(tracing: Value) -> (Traced, Vec<String>) {
        let mut problems = Vec::new();
        let definition = json!({"tracing": tracing});
        let traced = Traced::read("actions.a", definition.as_object().unwrap(), &mut problems);
        (traced, problems)
    }

    #[test]
    fn all_forms_are_read_and_faults_named() {
        assert_eq!(read(json!(true)), (Traced::default(), vec![]));
        assert!(read(json!(false)).0.off);
        assert!(read(json!({"enabled": false})).0.off);
        let (traced, problems) = read(
            json!({"spanName": "s", "tags": {"params": ["a.b"], "meta": true, "response": false}}),
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(traced.span_name.as_deref(), Some("s"));
        assert_eq!(traced.tags.params, Some(Pick::Keys(vec!["a.b".into()])));
        assert_eq!((traced.tags.meta, traced.tags.response), (Some(Pick::All), Some(Pick::None)));
        let (_, problems) = read(json!({"enabled": 1, "tags": {"parms": true}, "name": "x"}));
        assert_eq!(
            problems,
            [
                "'actions.a.tracing.enabled' must be true or false, found 1",
                "'actions.a.tracing.tags': unknown key 'parms'; there are: params, meta, response",
                "'actions.a.tracing' has the unknown key 'name'; there are: enabled, spanName, tags",
            ]
        );
    }
}
