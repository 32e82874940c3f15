//! Section `registry.discoverer`: where nodes find each other (moleculer: src/registry/discoverers/index.js).

use crate::config::discoverer::Finder;
use crate::config::options::{NodeOptions, narrow, narrow_32};
use crate::config::redis;
use crate::config::schema::{Entry, Kind};
use crate::config::serializer;
use crate::config::value::{Located, Value};

/// What names a discoverer.
const TYPES: &str =
    "\"Local\", \"Redis\", \"redis://host:6379\", \"Etcd3\" or \"etcd3://host:2379\"";
/// What says where an etcd is.
const ETCD: &str =
    "a table with hosts (an address or a list of them) and auth (username, password)";

/// The options. The type comes first: it says which of the others mean something.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "registry.discoverer.type",
            kind: Kind::Special(TYPES, |node, value| {
                node.broker.registry.discoverer.finder = finder(value)?;
                Ok(())
            }),
            default: "\"Local\"",
            doc: "How nodes find each other. `registry.discoverer = \"Local\"` says the same.",
        },
        Entry {
            name: "registry.discoverer.options.redis",
            kind: Kind::Special(redis::ALLOWED, |node, value| {
                let url = redis::url(value)?;
                in_redis(node, |finder| {
                    if let Finder::Redis { urls, .. } = finder {
                        *urls = vec![url];
                    }
                })
            }),
            default: "",
            doc: "Redis: where it is. Without it: `redis://localhost:6379`.",
        },
        Entry {
            name: "registry.discoverer.options.cluster.nodes",
            kind: Kind::Special("a list of addresses, or of tables as above", |node, value| {
                let nodes = redis::nodes(value)?;
                in_redis(node, |finder| {
                    if let Finder::Redis { urls, cluster, .. } = finder {
                        *cluster = true;
                        *urls = nodes;
                    }
                })
            }),
            default: "",
            doc: "Redis: the nodes of a cluster, instead of one address.",
        },
        Entry {
            name: "registry.discoverer.options.scanLength",
            kind: Kind::Special("a whole number of at least 1", |node, value| {
                let length = value.as_count().filter(|n| *n > 0).ok_or("not such a number")?;
                in_redis(node, |finder| {
                    if let Finder::Redis { scan_length, .. } = finder {
                        *scan_length = narrow(length);
                    }
                })
            }),
            default: "",
            doc: "Redis: keys that a server looks at in one step of a search. Without it: 100.",
        },
        Entry {
            name: "registry.discoverer.options.etcd",
            kind: Kind::Special(ETCD, etcd),
            default: "",
            doc: "Etcd3: where it is. Without it: `localhost:2379`.",
        },
        Entry {
            name: "registry.discoverer.options.fullCheck",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.registry.discoverer.full_check = narrow_32(n);
            }),
            default: "10",
            doc: "Redis, Etcd3: each so many looks also the load of the nodes is read; 0 is never.",
        },
        Entry {
            name: "registry.discoverer.options.serializer",
            kind: Kind::Special(serializer::ALLOWED, |node, value| {
                let read = serializer::read(value)?;
                node.broker.registry.discoverer.serializer = read;
                Ok(())
            }),
            default: "\"JSON\"",
            doc: "Redis, Etcd3: how what nodes leave there is written, the same on all of them.",
        },
    ]
}

fn finder(value: &Located) -> Result<Finder, String> {
    if matches!(value.value, Value::Null) {
        return Ok(Finder::Local);
    }
    let text = value.as_text().ok_or("not a name or address")?;
    match text.to_ascii_lowercase().as_str() {
        "local" => Ok(Finder::Local),
        "redis" => Ok(at_redis(redis::DEFAULT.to_owned())),
        "etcd3" => Ok(at_etcd(vec![DEFAULT_ETCD.to_owned()])),
        // moleculer: src/registry/discoverers/etcd3.js constructor
        lower if lower.starts_with("etcd3://") => {
            let hosts = text.split(',').map(|host| {
                let host = host.trim();
                host.split_once("://").map_or(host, |(_, rest)| rest)
            });
            hosts.map(etcd_host).collect::<Result<_, _>>().map(at_etcd)
        }
        lower if redis::is_url(lower) => redis::url(value).map(at_redis),
        _ => Err("there is no such discoverer".into()),
    }
}

/// Where etcd is when nothing else is said.
const DEFAULT_ETCD: &str = "localhost:2379";

fn at_redis(url: String) -> Finder {
    Finder::Redis { urls: vec![url], cluster: false, scan_length: 100 }
}

fn at_etcd(hosts: Vec<String>) -> Finder {
    Finder::Etcd3 { hosts, login: None }
}

/// Sets something that only Redis has.
fn in_redis(node: &mut NodeOptions, set: impl FnOnce(&mut Finder)) -> Result<(), String> {
    let finder = &mut node.broker.registry.discoverer.finder;
    if !matches!(finder, Finder::Redis { .. }) {
        return Err("only a discoverer of type Redis has it".into());
    }
    set(finder);
    Ok(())
}

fn etcd(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    let Finder::Etcd3 { hosts, login } = &mut node.broker.registry.discoverer.finder else {
        return Err("only a discoverer of type Etcd3 has it".into());
    };
    let Value::Table(entries) = &value.value else { return Err("not a table".into()) };
    for (key, value) in entries {
        match key.as_str() {
            "hosts" => {
                let given = value.as_list().filter(|hosts| !hosts.is_empty());
                let given = given.ok_or("hosts are no addresses")?;
                let texts = given.iter().map(|host| host.as_text().ok_or("a host is no text"));
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                *hosts = texts.into_iter().map(etcd_host).collect::<Result<_, _>>()?;
            }
            "auth" => {
                let text = |key: &str| value.find(key).and_then(Located::as_text);
                *login = match (text("username"), text("password")) {
                    (Some(name), Some(password)) => Some((name.to_owned(), password.to_owned())),
                    _ => return Err("auth has no username and password".into()),
                };
            }
            _ => return Err(format!("there is no '{key}'; TLS is asked for with https://")),
        }
    }
    Ok(())
}

/// An address without a login, which stands in `auth`.
fn etcd_host(text: &str) -> Result<String, String> {
    let place = text.split_once("://").map_or(text, |(_, rest)| rest);
    if place.is_empty() || place.contains(['@', ' ']) {
        return Err("an address is a host with its port".into());
    }
    Ok(text.to_owned())
}
