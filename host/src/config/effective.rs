//! What is in force: every option with its value and where it comes from, without secrets.

use serde_json::{Map, Value as Json, json};

use crate::config::mask;
use crate::config::problem::Place;
use crate::config::schema::Entry;
use crate::config::value::{Located, Value};

/// One option, or one value of an option that holds several.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// Dotted name.
    pub name: String,
    /// The value as it was written, or the default; secrets are masked.
    pub value: Json,
    /// Where it was written; `None` is the default.
    pub origin: Option<Place>,
}

impl Effective {
    /// The origin as a JSON object: `{"kind": "file", "path": …, "line": …}` and the like.
    #[must_use]
    pub fn origin_json(&self) -> Json {
        match &self.origin {
            None => json!({"kind": "default"}),
            Some(Place::File { path, line }) => {
                json!({"kind": "file", "path": path.display().to_string(), "line": line})
            }
            Some(Place::Variable(name)) => json!({"kind": "variable", "name": name}),
            Some(Place::Flag(name)) => json!({"kind": "flag", "name": name}),
            Some(Place::Set(name)) => json!({"kind": "flag", "name": "--set", "option": name}),
            Some(Place::Profile(name)) => json!({"kind": "profile", "name": name}),
        }
    }
}

/// All options in the order of the table; `tree` is what was written.
#[must_use]
pub fn list<T>(entries: &[Entry<T>], tree: &Located) -> Vec<Effective> {
    let mut list = Vec::with_capacity(entries.len());
    for entry in entries {
        match tree.find(entry.name) {
            // Null leaves an option as it is.
            Some(Located { value: Value::Null, .. }) | None => list.push(Effective {
                name: entry.name.to_owned(),
                value: standard(entry.default),
                origin: None,
            }),
            Some(located) => leaves(entry.name, located, false, &mut list),
        }
    }
    list
}

/// A table may come from several places, so each of its values stands alone.
fn leaves(name: &str, located: &Located, secret: bool, list: &mut Vec<Effective>) {
    let secret = secret || mask::is_secret(name);
    match &located.value {
        Value::Table(entries) if !entries.is_empty() => {
            for (key, inner) in entries {
                leaves(&format!("{name}.{key}"), inner, secret, list);
            }
        }
        _ => {
            let value = match located.to_json() {
                value @ (Json::Null | Json::Bool(_)) => value,
                _ if secret => mask::MASK.into(),
                value => mask::value(name, value),
            };
            let origin = Some(located.place.clone());
            list.push(Effective { name: name.to_owned(), value, origin });
        }
    }
}

/// The default as it is written in the table of options: TOML, of which only tables are not JSON as well.
fn standard(default: &str) -> Json {
    serde_json::from_str(default).unwrap_or_else(|_| {
        let table: Option<Map<String, Json>> =
            toml::from_str::<Map<String, Json>>(&format!("value = {default}")).ok();
        table.and_then(|mut table| table.remove("value")).unwrap_or(Json::Null)
    })
}
