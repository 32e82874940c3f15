//! Section `cacher`: where results are kept (moleculer: src/cachers).

use std::time::Duration;

use crate::config::cacher::{CacheLock, CacheStore, Cacher};
use crate::config::options::{GIB, NodeOptions, narrow};
use crate::config::quantity;
use crate::config::redis;
use crate::config::schema::{Entry, Kind, Unit};
use crate::config::value::{Located, Value};

/// What a time to live is; `null` and 0 are for ever.
const SECONDS: &str = "seconds, or text such as \"1.5s\"; 0 is for ever";
/// The options of the lock.
const LOCK: &str = "true, false, or a table with enabled, ttl and staleTime in seconds";

/// The options. The type comes first: it says which of the others mean something.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries = common();
    entries.extend(stores());
    entries
}

fn common() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "cacher.type",
            kind: Kind::Special(
                "\"Memory\", true (the same), \"MemoryLRU\", \"Redis\", \"redis://host:6379\" or false",
                |node, value| kind(value).map(|cacher| node.broker.cacher = cacher),
            ),
            default: "false",
            doc: "Where results of actions with `cache` are kept. `cacher = \"Memory\"` is short for it.",
        },
        Entry {
            name: "cacher.options.ttl",
            kind: Kind::Special(SECONDS, |node, value| {
                let ttl = seconds(value)?;
                with(node, |cacher| cacher.ttl = ttl)
            }),
            default: "0",
            doc: "How long an entry lives when its action says nothing.",
        },
        Entry {
            name: "cacher.options.maxParamsLength",
            kind: Kind::Number(44, u32::MAX as u64, |node, n| {
                let _ = with(node, |cacher| cacher.max_params_length = Some(narrow(n)));
            }),
            default: "",
            doc: "Keys whose params are longer are hashed. Without it: none.",
        },
        Entry {
            name: "cacher.options.lock",
            kind: Kind::Special(LOCK, |node, value| {
                let lock = lock(value)?;
                with(node, |cacher| cacher.lock = lock)
            }),
            default: "false",
            doc: "Of many equal calls that miss, one makes the entry and the others wait for it.",
        },
        Entry {
            name: "cacher.options.maxBytes",
            kind: Kind::Size(1 << 10, 64 * GIB, |node, n| {
                let _ = with(node, |cacher| cacher.max_bytes = narrow(n));
            }),
            default: "\"64MiB\"",
            doc: "Memory and MemoryLRU: most bytes of keys and values; the oldest entries go.",
        },
        Entry {
            name: "cacher.options.clone",
            kind: Kind::Special("true or false", |_, value| {
                value.as_bool().map(drop).ok_or_else(|| "not true or false".into())
            }),
            default: "",
            doc: "Accepted; a guest gets a copy in any case.",
        },
    ]
}

fn stores() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "cacher.options.max",
            kind: Kind::Special("a whole number of at least 1", |node, value| {
                let entries = value.as_count().filter(|n| *n > 0).ok_or("not such a number")?;
                store(node, "MemoryLRU", |store| match store {
                    CacheStore::MemoryLru { max } => {
                        *max = narrow(entries);
                        true
                    }
                    _ => false,
                })
            }),
            default: "1000",
            doc: "MemoryLRU: most entries; the least recently used go.",
        },
        Entry {
            name: "cacher.options.redis",
            kind: Kind::Special(redis::ALLOWED, |node, value| {
                let url = redis::url(value)?;
                store(node, "Redis", |store| match store {
                    CacheStore::Redis { urls, .. } => {
                        *urls = vec![url];
                        true
                    }
                    _ => false,
                })
            }),
            default: "\"redis://localhost:6379\"",
            doc: "Redis: where it is.",
        },
        Entry {
            name: "cacher.options.cluster.nodes",
            kind: Kind::Special("a list of addresses, or of tables as above", |node, value| {
                let nodes = redis::nodes(value)?;
                store(node, "Redis", |store| match store {
                    CacheStore::Redis { urls, cluster, .. } => {
                        *cluster = true;
                        *urls = nodes;
                        true
                    }
                    _ => false,
                })
            }),
            default: "",
            doc: "Redis: the nodes of a cluster, instead of one address.",
        },
        Entry {
            name: "cacher.options.prefix",
            kind: Kind::Special("text", |node, value| {
                let text = value.as_text().ok_or("not text")?.to_owned();
                store(node, "Redis", |store| match store {
                    CacheStore::Redis { prefix, .. } => {
                        *prefix = Some(text);
                        true
                    }
                    _ => false,
                })
            }),
            default: "",
            doc: "Redis: before every key. Without it: `MOL-`, and the namespace with a `-` behind it.",
        },
        Entry {
            name: "cacher.options.pingInterval",
            kind: Kind::Special(
                "milliseconds, or text such as \"1.5s\"; 0 is never",
                |node, value| {
                    let interval = time(value, Unit::Milliseconds)?;
                    store(node, "Redis", |store| match store {
                        CacheStore::Redis { ping_interval, .. } => {
                            *ping_interval = interval;
                            true
                        }
                        _ => false,
                    })
                },
            ),
            default: "0",
            doc: "Redis: ask for a sign of life so often.",
        },
    ]
}

/// The cacher of this type with its defaults (moleculer: src/cachers/index.js resolve).
fn kind(value: &Located) -> Result<Option<Cacher>, String> {
    if value.is_off() {
        return Ok(None);
    }
    if value.as_bool() == Some(true) {
        return Ok(Some(Cacher::default()));
    }
    let text = value.as_text().ok_or("not a name or address")?;
    let store = match text.to_ascii_lowercase().as_str() {
        "memory" => CacheStore::Memory,
        "memorylru" => CacheStore::MemoryLru { max: 1_000 },
        "redis" => at(redis::DEFAULT.to_owned()),
        lower if redis::is_url(lower) => at(redis::url(value)?),
        _ => return Err("there is no such cacher".into()),
    };
    Ok(Some(Cacher { store, ..Cacher::default() }))
}

fn at(url: String) -> CacheStore {
    CacheStore::Redis { urls: vec![url], cluster: false, prefix: None, ping_interval: None }
}

/// Sets something of the cacher. Where there is none, options may stand; they only must be right.
fn with(node: &mut NodeOptions, set: impl FnOnce(&mut Cacher)) -> Result<(), String> {
    if let Some(cacher) = &mut node.broker.cacher {
        set(cacher);
    }
    Ok(())
}

/// Sets something that only one kind of store has; `set` tells whether it did.
fn store(
    node: &mut NodeOptions,
    kind: &str,
    set: impl FnOnce(&mut CacheStore) -> bool,
) -> Result<(), String> {
    match &mut node.broker.cacher {
        Some(cacher) => {
            let done = set(&mut cacher.store);
            done.then_some(()).ok_or_else(|| format!("only a cacher of type {kind} has it"))
        }
        None => Ok(()),
    }
}

fn seconds(value: &Located) -> Result<Option<Duration>, String> {
    time(value, Unit::Seconds)
}

/// A time of which zero and `null` mean none.
fn time(value: &Located, unit: Unit) -> Result<Option<Duration>, String> {
    let time = match (&value.value, value.as_number(), value.as_text()) {
        (Value::Null, ..) => return Ok(None),
        (_, Some(number), _) => {
            let seconds = if unit == Unit::Seconds { number } else { number / 1_000.0 };
            Duration::try_from_secs_f64(seconds).ok()
        }
        (_, None, Some(text)) => quantity::duration(text),
        _ => None,
    };
    let time = time.ok_or("not such a time")?;
    Ok(Some(time).filter(|time| !time.is_zero()))
}

fn lock(value: &Located) -> Result<CacheLock, String> {
    let mut lock = CacheLock::default();
    let Value::Table(entries) = &value.value else {
        lock.enabled = match value.value {
            Value::Null => false,
            _ => value.as_bool().ok_or("not a lock")?,
        };
        return Ok(lock);
    };
    // moleculer: src/cachers/base.js middleware: a table is on unless it says otherwise.
    lock.enabled = true;
    for (key, value) in entries {
        match key.as_str() {
            "enabled" => lock.enabled = value.as_bool().ok_or("enabled is not true or false")?,
            "ttl" => lock.ttl = seconds(value)?.unwrap_or(lock.ttl),
            "staleTime" => lock.stale_time = seconds(value)?,
            _ => return Err(format!("there is no '{key}'")),
        }
    }
    Ok(lock)
}
