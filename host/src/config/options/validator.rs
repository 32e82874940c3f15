//! Section `validator`: who checks params (moleculer: src/validators).

use crate::config::options::NodeOptions;
use crate::config::schema::{Entry, Kind};
use crate::config::validator::{FastestOptions, Validator};
use crate::config::value::{Located, Value};

/// The options. The type comes first: it says whether the others mean anything.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "validator.type",
            kind: Kind::Special(
                "\"Fastest\", true (the same), \"JsonSchema\" or false",
                |node, value| kind(value).map(|validator| node.broker.validator = validator),
            ),
            default: "\"Fastest\"",
            doc: "Who checks params: the rules of fastest-validator, JSON Schema, or nobody. \
                  `validator = false` is short for it.",
        },
        Entry {
            name: "validator.options.messages",
            kind: Kind::Free(|node, map| fastest(node, |options| options.messages = map)),
            default: "{}",
            doc: "Fastest: messages by error type, over the built-in ones.",
        },
        Entry {
            name: "validator.options.defaults",
            kind: Kind::Free(|node, map| fastest(node, |options| options.defaults = map)),
            default: "{}",
            doc: "Fastest: defaults of rules, by rule name.",
        },
        Entry {
            name: "validator.options.aliases",
            kind: Kind::Free(|node, map| fastest(node, |options| options.aliases = map)),
            default: "{}",
            doc: "Fastest: rules by the name of their alias.",
        },
        Entry {
            name: "validator.options.haltOnFirstError",
            kind: Kind::Switch(|node, on| {
                fastest(node, |options| options.halt_on_first_error = on)
            }),
            default: "false",
            doc: "Fastest: stop at the first error.",
        },
    ]
}

fn kind(value: &Located) -> Result<Validator, String> {
    // moleculer: src/validators/index.js resolve
    match value.as_bool() {
        Some(true) => return Ok(Validator::default()),
        Some(false) => return Ok(Validator::Off),
        None => {}
    }
    match &value.value {
        Value::Null => Ok(Validator::Off),
        _ => match value.as_text().map(str::to_ascii_lowercase).as_deref() {
            Some("fastest") => Ok(Validator::default()),
            Some("jsonschema") => Ok(Validator::JsonSchema),
            _ => Err("there is no such validator".into()),
        },
    }
}

fn fastest(node: &mut NodeOptions, set: impl FnOnce(&mut FastestOptions)) {
    if let Validator::Fastest(options) = &mut node.broker.validator {
        set(options);
    }
}
