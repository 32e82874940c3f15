//! `NAME.toml` beside `NAME.wasm`: what the operator says of one service.
//!
//! The operator's word always wins over what the guest asks for. Limits start from the node's, so a file
//! holds only what differs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use crate::config::limits::Limits;
use crate::config::options::{self, HasLimits};
use crate::config::problem::Problems;
use crate::config::schema::{self, Entry, Kind, UNLIMITED, Unit};
use crate::config::value::{Located, Value};
use crate::config::{ServiceOptions, file};

impl HasLimits for ServiceOptions {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }
}

/// The file that belongs to a component.
#[must_use]
pub fn path_of(component: &Path) -> PathBuf {
    component.with_extension("toml")
}

/// Reads the file beside a component; without one the service has the node's limits and every grant.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn read(component: &Path, defaults: &Limits) -> Result<ServiceOptions, Problems> {
    let path = path_of(component);
    let mut problems = Problems::default();
    // Only "not there" means "no file": one that cannot be read may hold the grants that narrow a guest.
    let tree = match path.try_exists() {
        Ok(false) => None,
        _ => file::read(&path, &mut problems),
    };
    finish(tree, defaults, problems)
}

/// Reads the text of such a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str, defaults: &Limits) -> Result<ServiceOptions, Problems> {
    let mut problems = Problems::default();
    let tree = file::parse(path, text, &mut problems);
    finish(tree, defaults, problems)
}

fn finish(
    tree: Option<Located>,
    defaults: &Limits,
    mut problems: Problems,
) -> Result<ServiceOptions, Problems> {
    let mut service = ServiceOptions { limits: defaults.clone(), ..ServiceOptions::default() };
    if let Some(tree) = tree {
        schema::read(&entries(), &[], &tree, &mut service, &mut problems);
        options::check_instances(&service.limits, &tree, &mut problems);
    }
    problems.into_result()?;
    Ok(service)
}

/// The options of a service, in the order of the reference. `mode` and `instances` may stand without
/// `limits.`, because they are what is set most.
#[must_use]
pub fn entries() -> Vec<Entry<ServiceOptions>> {
    let mut entries: Vec<Entry<ServiceOptions>> = vec![
        Entry {
            name: "mode",
            kind: Kind::Choice(&["pooled", "fresh", "shared"], |service, word| {
                service.limits.mode = Some(options::limits::mode(word));
            }),
            default: "",
            doc: "Short for `limits.mode`; else as the component asks.",
        },
        Entry {
            name: "settings",
            kind: Kind::Free(|service, map| service.settings = map),
            default: "{}",
            doc: "Put over the settings of the service's schema.",
        },
        Entry {
            name: "env",
            kind: Kind::Special("a table of names and texts", |service, value| {
                variables(value).map(|variables| service.env = variables)
            }),
            default: "{}",
            doc: "Environment variables of the guest; it sees no others.",
        },
        Entry {
            name: "grants.call",
            kind: Kind::Patterns(|service, patterns| service.grants.call = Some(patterns)),
            default: "",
            doc: "Actions that the service may call, as patterns. Without it: all; `[]` is none.",
        },
        Entry {
            name: "grants.emit",
            kind: Kind::Patterns(|service, patterns| service.grants.emit = Some(patterns)),
            default: "",
            doc: "Events that the service may send, as patterns. Without it: all; `[]` is none.",
        },
        Entry {
            name: "grants.cache",
            kind: Kind::Patterns(|service, patterns| service.grants.cache = patterns),
            default: "[]",
            doc: "Keys of the cacher that the service may use beside its own, as patterns.",
        },
    ];
    entries.extend(short_instances());
    entries.extend(options::limits::entries());
    entries
}

fn short_instances() -> Vec<Entry<ServiceOptions>> {
    vec![
        Entry {
            name: "instances.min",
            kind: Kind::Number(0, 10_000, |service, n| {
                service.limits.instances.min = usize::try_from(n).unwrap_or(usize::MAX);
            }),
            default: "1",
            doc: "Short for `limits.instances.min`.",
        },
        Entry {
            name: "instances.max",
            kind: Kind::Number(1, 10_000, |service, n| {
                service.limits.instances.max = usize::try_from(n).unwrap_or(usize::MAX);
            }),
            default: "32",
            doc: "Short for `limits.instances.max`.",
        },
        Entry {
            name: "instances.idle",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |service, time| {
                service.limits.instances.idle = time;
            }),
            default: "60000",
            doc: "Short for `limits.instances.idle`.",
        },
        Entry {
            name: "instances.reuse",
            kind: Kind::Number(0, UNLIMITED, |service, n| service.limits.instances.reuse = n),
            default: "0",
            doc: "Short for `limits.instances.reuse`.",
        },
        Entry {
            name: "instances.concurrency",
            kind: Kind::Number(1, 100_000, |service: &mut ServiceOptions, n| {
                service.limits.instances.concurrency = usize::try_from(n).unwrap_or(usize::MAX);
            }),
            default: "100",
            doc: "Short for `limits.instances.concurrency`.",
        },
    ]
}

fn variables(value: &Located) -> Result<BTreeMap<String, String>, String> {
    let Value::Table(entries) = &value.value else { return Err("not a table".into()) };
    entries
        .iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("'{name}' is no name of a variable"));
            }
            match value.to_json() {
                Json::String(text) => Ok((name.clone(), text)),
                // Numbers and truth values have one obvious text.
                scalar @ (Json::Number(_) | Json::Bool(_)) => {
                    Ok((name.clone(), scalar.to_string()))
                }
                _ => Err(format!("{name} is {}", value.found())),
            }
        })
        .collect()
}
