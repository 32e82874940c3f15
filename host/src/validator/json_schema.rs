//! JSON Schema instead of fastest-validator's rules, in the same form of error items.
//!
//! Drafts 4 to 2020-12, as `$schema` says; the newest without it. References lead inside the schema only:
//! nothing is fetched. Params are never changed.

use serde_json::Value;

use super::item::{ITEMS_MAX, Item, VALUES_LEN_MAX, weight};

/// Steps back that a match of a pattern may take.
const BACKTRACK_MAX: usize = 100_000;

/// Bytes of a compiled pattern.
const COMPILED_LEN_MAX: usize = 1 << 20;

/// Compiles a schema.
pub(super) fn compile(schema: &Value) -> Result<jsonschema::Validator, Vec<String>> {
    if !schema.is_object() {
        return Err(vec![format!("must be an object, found {schema}")]);
    }
    let patterns = jsonschema::PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACK_MAX)
        .size_limit(COMPILED_LEN_MAX);
    jsonschema::options()
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| vec![format!("is no JSON Schema: {error}")])
}

/// Checks params.
pub(super) fn check(validator: &jsonschema::Validator, params: &Value) -> Result<(), Vec<Item>> {
    if validator.is_valid(params) {
        return Ok(());
    }
    let mut room = VALUES_LEN_MAX;
    let items = validator.iter_errors(params).take(ITEMS_MAX);
    Err(items.map(|error| item(&error, &mut room)).collect())
}

fn item(error: &jsonschema::ValidationError<'_>, room: &mut usize) -> Item {
    let len = weight(&error.instance, *room);
    let left = room.checked_sub(len);
    *room = left.unwrap_or(*room);
    // The last step of the way to the rule is its keyword.
    let keyword = error.schema_path.as_str().rsplit('/').next().unwrap_or_default();
    Item {
        kind: keyword.to_owned().into(),
        // The text without the value, which may be long and is beside it.
        message: error.masked_with("The value").to_string(),
        field: field(error.instance_path.as_str()),
        expected: None,
        actual: left.map(|_| error.instance.clone().into_owned()),
        label: None,
    }
}

/// A JSON Pointer in the form that fastest-validator gives to fields: `a.b[0]`.
fn field(pointer: &str) -> Option<String> {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(&part);
        }
    }
    (!field.is_empty()).then_some(field)
}
