//! What a node is and what surrounds it: name, mesh, own services, files, log.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use crate::config::log::{self, Format, Level, Levels};
use crate::config::options::{ControlSocket, GIB, NodeOptions};
use crate::config::schema::{Entry, Kind, Unit};
use crate::config::serializer;
use crate::config::transmit;
use crate::config::transporter;
use crate::config::value::{Located, Value};

/// The options.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries = general();
    entries.extend(surroundings());
    entries.extend(log());
    entries
}

fn general() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "namespace",
            kind: Kind::Special("text without spaces, '*' and '>'", |node, value| {
                topic_text(value).map(|text| node.broker.namespace = text)
            }),
            default: "\"\"",
            doc: "Separates meshes on one message broker.",
        },
        Entry {
            name: "nodeID",
            kind: Kind::Special("text of 1 to 200 bytes without spaces, '*' and '>'", node_id),
            default: "",
            doc: "Unique in the mesh. Without it: host name, process ID and four random hex digits.",
        },
        Entry {
            name: "transporter",
            kind: Kind::Special(transporter::ALLOWED, |node, value| {
                transporter::read(value).map(|read| node.broker.transporter = read)
            }),
            default: "",
            doc: "How to reach other nodes. Without it the node is on its own.",
        },
        Entry {
            name: "metadata",
            kind: Kind::Free(|node, map| node.broker.metadata = map),
            default: "{}",
            doc: "Free values that other nodes see in `$node.list`.",
        },
        Entry {
            name: "internalServices",
            kind: Kind::Special("true, false, or a table {\"$node\": …}", internal_services),
            default: "true",
            doc: "Offer the service `$node`, which the client verbs ask. What the table holds is put over its \
                  schema.",
        },
        Entry {
            name: "middlewares",
            kind: Kind::Special(
                "a list of names, or of {\"name\", \"options\"} for Compression, Encryption, ActionLogger and TransitLogger",
                middlewares,
            ),
            default: "[]",
            doc: "Components that stand around the services, and what changes the bytes of packets, see \
                  [middlewares.md](middlewares.md); a later one wraps the earlier.",
        },
        Entry {
            name: "middlewareDir",
            kind: Kind::Special("a path", |node, value| {
                path(value).map(|path| node.broker.middleware_dir = Some(path))
            }),
            default: "",
            doc: "Where their files are. Without it: the folder `middlewares` beside that of the services.",
        },
        Entry {
            name: "internalMiddlewares",
            kind: Kind::Switch(|node, on| node.broker.internal_middlewares = on),
            default: "true",
            doc: "Without them no call is validated, cached, counted, tried again or refused for its load; \
                  time limits stay.",
        },
        Entry {
            name: "localOnlyDollarEvents",
            kind: Kind::Switch(|node, on| node.broker.local_only_dollar_events = on),
            default: "false",
            doc: "Events whose names begin with `$` never leave the node, as before Moleculer 0.13.",
        },
        Entry {
            name: "statistics",
            kind: Kind::Switch(|node, on| node.broker.statistics = on),
            default: "false",
            doc: "Serve `$node.stats`, as before Moleculer 0.13.",
        },
        Entry {
            name: "grants.call",
            kind: Kind::Patterns(|node, patterns| node.broker.grants.call = Some(patterns)),
            default: "",
            doc: "Actions that services may call whose own file has no such list. Default: all.",
        },
        Entry {
            name: "grants.emit",
            kind: Kind::Patterns(|node, patterns| node.broker.grants.emit = Some(patterns)),
            default: "",
            doc: "Events that such services may send. Default: all.",
        },
        Entry {
            name: "grants.hear",
            kind: Kind::Patterns(|node, patterns| node.broker.grants.hear = Some(patterns)),
            default: "",
            doc: "Events that such services may hear. Default: all.",
        },
        Entry {
            name: "serializer.type",
            kind: Kind::Special(serializer::ALLOWED, |node, value| {
                serializer::read(value).map(|read| node.broker.serializer = read)
            }),
            default: "\"JSON\"",
            doc: "How packets are written, the same on all nodes of a mesh, see [serializers.md](serializers.md). \
                  `serializer = \"JSON\"` says the same.",
        },
        Entry {
            name: "serializer.options",
            kind: Kind::Special("a table", |_, value| serializer::check_options(value)),
            default: "",
            doc: "Only what Moleculer sets itself: `useRecords` and `useTag259ForMaps` are false with CBOR.",
        },
        Entry {
            name: "compat",
            kind: Kind::Choice(&["0.12"], |_, _| {}),
            default: "",
            doc: "Defaults of an earlier Moleculer, see [Older names](#older-names).",
        },
    ]
}

fn surroundings() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "hotReload",
            kind: Kind::Special("true or false", |node, value| {
                hot_reload(value).map(|on| node.broker.hot_reload = on)
            }),
            default: "true",
            doc: "Pick up components that are added, replaced or deleted while the node runs.",
        },
        Entry {
            name: "cacheDir",
            kind: Kind::Special("a path", |node, value| {
                path(value).map(|path| node.broker.cache_dir = Some(path))
            }),
            default: "",
            doc: "Where compiled components are kept. Without it: `$XDG_CACHE_HOME/isomer` or `~/.cache/isomer`.",
        },
        Entry {
            name: "stateDir",
            kind: Kind::Special("a path", |node, value| {
                path(value).map(|path| node.broker.state_dir = Some(path))
            }),
            default: "",
            doc: "Where earlier versions of services are kept for the next start. Without it: \
                  `$XDG_STATE_HOME/isomer` or `~/.local/state/isomer`.",
        },
        Entry {
            name: "compile.memory",
            kind: Kind::Size(64 << 20, 1 << 40, |node, n| node.broker.compile.memory = n),
            default: "\"4GiB\"",
            doc: "Address space of the process that compiles a component.",
        },
        Entry {
            name: "compile.timeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::from_millis(1), |node, time| {
                node.broker.compile.timeout = time;
            }),
            default: "300000",
            doc: "How long compiling one component may take.",
        },
        Entry {
            name: "compile.fileSize",
            kind: Kind::Size(1, GIB, |node, n| node.broker.compile.file_size = n),
            default: "\"64MiB\"",
            doc: "Largest component; a larger file is not read.",
        },
        Entry {
            name: "memory.max",
            kind: Kind::Size(64 << 20, 1 << 44, |node, n| node.broker.memory.max = Some(n)),
            default: "",
            doc: "Memory in use by the node beyond which guests get no more. Without it: nine tenths of what its control \
                  group may use, or of what the machine has.",
        },
        Entry {
            name: "coreDumps.dir",
            kind: Kind::Special("a path", |node, value| {
                path(value).map(|path| node.broker.core_dumps.dir = Some(path))
            }),
            default: "",
            doc: "Where core dumps of guests that trap are kept. Without it: nowhere.",
        },
        Entry {
            name: "coreDumps.files",
            kind: Kind::Number(1, 10_000, |node, n| {
                node.broker.core_dumps.files = usize::try_from(n).unwrap_or(usize::MAX);
            }),
            default: "10",
            doc: "Core dumps that are kept; the oldest makes room for one more.",
        },
        Entry {
            name: "coreDumps.size",
            kind: Kind::Size(64 << 10, 16 * GIB, |node, n| node.broker.core_dumps.size = n),
            default: "\"256MiB\"",
            doc: "Memory of a guest of which a core dump is made, all linear memories together.",
        },
        Entry {
            name: "controlSocket",
            kind: Kind::Special("a path, or false for none", |node, value| {
                control_socket(value).map(|read| node.control_socket = read)
            }),
            default: "",
            doc: "Where the client verbs reach this node. Without it: below `$XDG_RUNTIME_DIR/isomer` or `/tmp/isomer-<user ID>`.",
        },
    ]
}

/// Whether there is a log comes last: off is off, whatever the levels.
fn log() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "logLevel",
            kind: Kind::Special(log::ALLOWED, |node, value| {
                Levels::read(value).map(|levels| node.log_levels = levels)
            }),
            default: "\"info\"",
            doc: "Which log lines are written, for all and for single modules.",
        },
        Entry {
            name: "logger.options.level",
            kind: Kind::Special("as logLevel", |node, value| {
                Levels::read(value).map(|levels| node.log_levels = levels)
            }),
            default: "",
            doc: "The same; it goes over `logLevel`.",
        },
        Entry {
            name: "logger.options.colors",
            kind: Kind::Switch(|node, on| node.log_colors = Some(on)),
            default: "",
            doc: "Colours. Without it: on a terminal, unless `NO_COLOR` is set.",
        },
        Entry {
            name: "logger.type",
            kind: Kind::Special(
                "\"Console\", true (the same), false (no log), or the name of a format",
                logger,
            ),
            default: "\"Console\"",
            doc: "Where lines go: always standard error. `logger = \"json\"` is short for \
                  `logger.options.formatter`; names of JavaScript's loggers mean JSON lines.",
        },
        Entry {
            name: "logger.options.formatter",
            kind: Kind::Choice(&["full", "short", "simple", "json", "jsonext"], |node, word| {
                node.log_format = format(word);
            }),
            default: "\"full\"",
            doc: "How lines look. `jsonext` is the same as `json`.",
        },
    ]
}

fn node_id(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    // Topics carry it, and so does the name of the control socket.
    const LEN_MAX: usize = 200;
    if matches!(value.value, Value::Null) {
        return Ok(());
    }
    let text = topic_text(value)?;
    if text.is_empty() || text.len() > LEN_MAX {
        return Err(format!("{} bytes long", text.len()));
    }
    node.broker.node_id = Some(text);
    Ok(())
}

/// Text that can be a part of a topic of any message broker.
fn topic_text(value: &Located) -> Result<String, String> {
    let text = match &value.value {
        Value::Null => "",
        _ => value.as_text().ok_or("not text")?,
    };
    match text.chars().find(|c| c.is_whitespace() || c.is_control() || "*>".contains(*c)) {
        Some(c) => Err(format!("{c:?} cannot stand in a topic")),
        None => Ok(text.to_owned()),
    }
}

fn path(value: &Located) -> Result<PathBuf, String> {
    match value.as_text() {
        Some(text) if !text.is_empty() => Ok(PathBuf::from(text)),
        _ => Err("not a path".into()),
    }
}

fn control_socket(value: &Located) -> Result<ControlSocket, String> {
    match value.as_bool() {
        Some(false) => Ok(ControlSocket::Off),
        Some(true) => Ok(ControlSocket::Standard),
        None => path(value).map(ControlSocket::At),
    }
}

/// Moleculer's object form says what to watch; here it only says that something is watched.
fn hot_reload(value: &Located) -> Result<bool, String> {
    match &value.value {
        Value::Null => Ok(false),
        Value::Table(_) => Ok(true),
        _ => value.as_bool().ok_or_else(|| "not true or false".into()),
    }
}

/// Components by their names, which are names of files without their ending, and transmit middlewares.
fn middlewares(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    let (mut components, mut transmit) = (Vec::new(), Vec::new());
    let items = match value.value {
        Value::Null => Vec::new(),
        _ => value.as_list().ok_or("not a list")?,
    };
    for item in &items {
        match transmit::read(item)? {
            Some(one) => transmit.push(one),
            None => components.push(component_name(item)?),
        }
    }
    (node.broker.middlewares, node.broker.transmit) = (components, transmit);
    Ok(())
}

fn component_name(item: &Located) -> Result<String, String> {
    match item.as_text() {
        Some(name) if !name.is_empty() && !name.contains(['/', '\\']) => Ok(name.to_owned()),
        _ => Err(format!("{} is no name", item.found())),
    }
}

/// moleculer: src/service-broker.js registerInternalServices
fn internal_services(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    let Value::Table(entries) = &value.value else {
        let off = matches!(value.value, Value::Null).then_some(false);
        node.broker.internal_services =
            off.or_else(|| value.as_bool()).ok_or("not true or false")?;
        return Ok(());
    };
    for (key, schema) in entries {
        match (key.as_str(), schema.to_json()) {
            ("$node", Json::Object(schema)) => node.broker.internal_schema = schema,
            ("$node", _) => return Err("'$node' is not a table".into()),
            _ => return Err(format!("there is no internal service '{key}'")),
        }
    }
    Ok(())
}

fn logger(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    // moleculer: src/logger-factory.js init: null and false are no log.
    if matches!(value.value, Value::Null) || value.as_bool() == Some(false) {
        node.log_levels = Levels { default: Level::Off, modules: Vec::new() };
        return Ok(());
    }
    if value.as_bool() == Some(true) {
        return Ok(());
    }
    let word = value.as_text().ok_or("not a logger")?.to_ascii_lowercase();
    match word.as_str() {
        "console" => {}
        "full" | "short" | "simple" | "json" | "jsonext" => node.log_format = format(&word),
        "pino" | "bunyan" | "winston" | "log4js" | "debug" => node.log_format = Format::Json,
        "file" | "datadog" => return Err("this version writes to standard error only".into()),
        _ => return Err("not a logger".into()),
    }
    Ok(())
}

fn format(word: &str) -> Format {
    match word {
        "short" => Format::Short,
        "simple" => Format::Simple,
        "json" | "jsonext" => Format::Json,
        _ => Format::Full,
    }
}
