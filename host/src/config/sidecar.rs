//! `NAME.toml` beside `NAME.wasm`: what the operator says of one service.
//!
//! The operator's word always wins over what the guest asks for. Limits and grants start from the node's, so
//! a file holds only what differs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use crate::config::grants::{DirGrant, HostGrant};
use crate::config::limits::Limits;
use crate::config::options::{self, HasLimits};
use crate::config::problem::Problems;
use crate::config::schema::{self, Entry, Kind, UNLIMITED, Unit};
use crate::config::value::{Located, Value};
use crate::config::{BrokerOptions, ServiceOptions, file};

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

/// Reads the file beside a component; without one the service has the node's limits and grants, and nothing of
/// the machine.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn read(component: &Path, defaults: &BrokerOptions) -> Result<ServiceOptions, Problems> {
    read_with_text(component, defaults).map(|(options, _)| options)
}

/// As [`read`], with the text of the file when there is one.
///
/// # Errors
/// As [`read`].
pub fn read_with_text(
    component: &Path,
    defaults: &BrokerOptions,
) -> Result<(ServiceOptions, Option<String>), Problems> {
    let path = path_of(component);
    let mut problems = Problems::default();
    // Only "not there" means "no file": one that cannot be read may hold the grants that narrow a guest.
    let text = match path.try_exists() {
        Ok(false) => None,
        _ => file::read_text_of(&path, &mut problems),
    };
    let tree = text.as_ref().and_then(|text| file::parse(&path, text, &mut problems));
    finish(tree, defaults, problems).map(|options| (options, text))
}

/// Reads the text of such a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(
    path: &Path,
    text: &str,
    defaults: &BrokerOptions,
) -> Result<ServiceOptions, Problems> {
    let mut problems = Problems::default();
    let tree = file::parse(path, text, &mut problems);
    finish(tree, defaults, problems)
}

fn finish(
    tree: Option<Located>,
    defaults: &BrokerOptions,
    mut problems: Problems,
) -> Result<ServiceOptions, Problems> {
    let mut service = ServiceOptions {
        limits: defaults.limits.clone(),
        grants: defaults.grants.clone(),
        ..ServiceOptions::default()
    };
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
    entries.extend(reach());
    entries.extend(short_instances());
    entries.extend(options::limits::entries());
    entries
}

/// What the service may reach outside of the broker, and what of the broker's events it hears.
fn reach() -> Vec<Entry<ServiceOptions>> {
    vec![
        Entry {
            name: "grants.hear",
            kind: Kind::Patterns(|service, patterns| service.grants.hear = Some(patterns)),
            default: "",
            doc: "Events that the service may hear, as patterns: other subscriptions are not registered. \
                  Without it: all; `[]` is none.",
        },
        Entry {
            name: "grants.dirs",
            kind: Kind::Special(
                "a table such as { \"/data\" = \"/srv/data\" }, or a list of tables with host, guest and write",
                |service, value| dirs(value).map(|dirs| service.grants.dirs = dirs),
            ),
            default: "{}",
            doc: "Folders that the service sees, by its own paths; only to read, unless `write = true`.",
        },
        Entry {
            name: "grants.hosts",
            kind: Kind::Special("a list of HOST or HOST:PORT", |service, value| {
                hosts(value, HostGrant::http).map(|hosts| service.grants.hosts = hosts)
            }),
            default: "[]",
            doc: "Whom the service may send HTTP requests: names, `*.` and a name, addresses or networks.",
        },
        Entry {
            name: "grants.tcp",
            kind: Kind::Special("a list of HOST:PORT", |service, value| {
                hosts(value, HostGrant::tcp).map(|hosts| service.grants.tcp = hosts)
            }),
            default: "[]",
            doc: "Where the service may open TCP connections; the port may be `*`.",
        },
    ]
}

/// Most entries of one list of grants: each is looked at with every use.
const GRANTS_MAX: usize = 1_000;

fn hosts(
    value: &Located,
    read: fn(&str) -> Result<HostGrant, String>,
) -> Result<Vec<HostGrant>, String> {
    let texts: Vec<&Located> = match &value.value {
        Value::List(items) => items.iter().collect(),
        Value::Text(_) => vec![value],
        _ => return Err("not a list".into()),
    };
    if texts.len() > GRANTS_MAX {
        return Err(format!("more than {GRANTS_MAX} entries"));
    }
    let text = |item: &Located| match item.as_text() {
        Some(text) => read(text),
        None => Err(format!("{} is no text", item.found())),
    };
    texts.into_iter().map(text).collect()
}

fn dirs(value: &Located) -> Result<Vec<DirGrant>, String> {
    let dirs: Vec<DirGrant> = match &value.value {
        Value::Table(entries) => entries
            .iter()
            .map(|(guest, value)| dir(Some(guest), value))
            .collect::<Result<_, _>>()?,
        Value::List(items) => {
            items.iter().map(|value| dir(None, value)).collect::<Result<_, _>>()?
        }
        _ => return Err("neither a table nor a list".into()),
    };
    if dirs.len() > GRANTS_MAX {
        return Err(format!("more than {GRANTS_MAX} entries"));
    }
    for (n, dir) in dirs.iter().enumerate() {
        if dirs.iter().take(n).any(|other| other.guest == dir.guest) {
            return Err(format!("'{}' is there twice", dir.guest));
        }
    }
    Ok(dirs)
}

/// One folder. Without a path of its own it has the host's.
fn dir(guest: Option<&str>, value: &Located) -> Result<DirGrant, String> {
    if let Some(host) = value.as_text() {
        return DirGrant::new(host, guest.unwrap_or(host), false);
    }
    let Value::Table(entries) = &value.value else {
        return Err(format!("{} is neither a path nor a table", value.found()));
    };
    let (mut host, mut guest, mut write) = (None, guest, false);
    for (key, value) in entries {
        let text = || value.as_text().ok_or_else(|| format!("{key} is {}", value.found()));
        match key.as_str() {
            "host" => host = Some(text()?),
            "guest" if guest.is_none() => guest = Some(text()?),
            "write" => {
                write = value.as_bool().ok_or_else(|| format!("write is {}", value.found()))?;
            }
            _ => return Err(format!("'{key}' is unknown there; there are: host, guest, write")),
        }
    }
    let host = host.ok_or("a folder without 'host'")?;
    DirGrant::new(host, guest.unwrap_or(host), write)
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
