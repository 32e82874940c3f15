//! The options of a node, each with its name, kind, default and sentence: the one table of them.
//!
//! Names, units and defaults are Moleculer's (moleculer: src/service-broker.js defaultOptions); where a
//! default differs, `config.rs` says why. Limits are shared with the files beside components.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::limits::{Limits, Mode};
use crate::config::log::{self, Format, Levels};
use crate::config::problem::Problems;
use crate::config::schema::{Entry, Kind, UNLIMITED, Unit};
use crate::config::value::{Located, Value};
use crate::config::{BrokerOptions, Strategy, transporter};

/// Everything that a configuration says about a node: its broker and what surrounds it.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Options of the broker.
    pub broker: BrokerOptions,
    /// Which log lines are written. info
    pub log_levels: Levels,
    /// How they look. full
    pub log_format: Format,
    /// Where the control socket is.
    pub control_socket: ControlSocket,
}

/// Where the control socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// In the user's runtime directory, where the client verbs look.
    #[default]
    Standard,
    /// At this path.
    At(PathBuf),
    /// There is none.
    Off,
}

/// Something with limits: a node (its defaults) or a service.
pub trait HasLimits {
    /// The limits.
    fn limits(&mut self) -> &mut Limits;
}

impl HasLimits for NodeOptions {
    fn limits(&mut self) -> &mut Limits {
        &mut self.broker.limits
    }
}

/// Numbers of the host's own width. All maxima of the tables fit 32 bits, so nothing is ever cut.
fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn narrow_32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One gibibyte.
const GIB: u64 = 1 << 30;

/// The options of a node, in the order of the reference.
#[must_use]
pub fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries = general();
    entries.extend(calls());
    entries.extend(mesh());
    entries.extend(surroundings());
    entries.extend(limits());
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
            kind: Kind::Switch(|node, on| node.broker.internal_services = on),
            default: "true",
            doc: "Offer the service `$node`, which the client verbs ask.",
        },
    ]
}

fn calls() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "requestTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.request_timeout = time;
            }),
            default: "0",
            doc: "Time limit of calls that bring none; 0 is no limit.",
        },
        Entry {
            name: "maxCallLevel",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.max_call_level = narrow_32(n);
            }),
            default: "0",
            doc: "Longest chain of calls; 0 is unlimited.",
        },
        Entry {
            name: "dependencyTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.dependency_timeout = time;
            }),
            default: "0",
            doc: "How long to wait for the dependencies of a service; 0 is for ever.",
        },
        Entry {
            name: "tracking.enabled",
            kind: Kind::Switch(|node, on| node.broker.tracking.enabled = on),
            default: "true",
            doc: "Let running calls finish when the node or a service stops.",
        },
        Entry {
            name: "tracking.shutdownTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.tracking.shutdown_timeout = time;
            }),
            default: "5000",
            doc: "How long a stop waits for them.",
        },
    ]
}

fn mesh() -> Vec<Entry<NodeOptions>> {
    let mut entries: Vec<Entry<NodeOptions>> = vec![
        Entry {
            name: "heartbeatInterval",
            kind: Kind::Time(Unit::Seconds, Duration::ZERO, |node, time| {
                node.broker.heartbeat_interval = time;
            }),
            default: "10",
            doc: "How often to say that this node lives; 0 is never.",
        },
        Entry {
            name: "heartbeatTimeout",
            kind: Kind::Time(Unit::Seconds, Duration::from_secs(1), |node, time| {
                node.broker.heartbeat_timeout = time;
            }),
            default: "30",
            doc: "After which silence another node is taken for lost.",
        },
        Entry {
            name: "registry.strategy",
            kind: Kind::Choice(&["RoundRobin", "Random"], |node, word| {
                node.broker.registry.strategy = match word {
                    "Random" => Strategy::Random,
                    _ => Strategy::RoundRobin,
                };
            }),
            default: "\"RoundRobin\"",
            doc: "How calls are spread over the nodes that offer an action.",
        },
        Entry {
            name: "registry.preferLocal",
            kind: Kind::Switch(|node, on| node.broker.registry.prefer_local = on),
            default: "true",
            doc: "Use an action of this node when there is one.",
        },
        Entry {
            name: "registry.stopDelay",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.registry.stop_delay = time;
            }),
            default: "100",
            doc: "At a stop: the time between saying goodbye and refusing calls.",
        },
    ];
    entries.extend(transit());
    entries
}

fn transit() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "transit.maxQueueSize",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.transit.max_queue_size = narrow(n);
            }),
            default: "50000",
            doc: "Requests to other nodes that wait for an answer; 0 is unlimited.",
        },
        Entry {
            name: "transit.maxPacketSize",
            kind: Kind::Size(1 << 10, GIB, |node, n| {
                node.broker.transit.max_packet_size = narrow(n);
            }),
            default: "\"16MiB\"",
            doc: "Largest packet that is read or sent.",
        },
        Entry {
            name: "transit.disableReconnect",
            kind: Kind::Switch(|node, on| node.broker.transit.disable_reconnect = on),
            default: "false",
            doc: "Do not try again when the connection is lost.",
        },
        Entry {
            name: "transit.disableVersionCheck",
            kind: Kind::Switch(|node, on| node.broker.transit.disable_version_check = on),
            default: "false",
            doc: "Take packets of any protocol version.",
        },
        Entry {
            name: "transit.serviceChangedDebounceTime",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.transit.service_changed_debounce_time = time;
            }),
            default: "50",
            doc: "Changes of services within this time are announced together.",
        },
    ]
}

fn surroundings() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "hotReload",
            kind: Kind::Switch(|node, on| node.broker.hot_reload = on),
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
            name: "controlSocket",
            kind: Kind::Special("a path, or false for none", |node, value| {
                control_socket(value).map(|read| node.control_socket = read)
            }),
            default: "",
            doc: "Where the client verbs reach this node. Without it: below `$XDG_RUNTIME_DIR/isomer` or `/tmp/isomer-<user ID>`.",
        },
        Entry {
            name: "logLevel",
            kind: Kind::Special(log::ALLOWED, |node, value| {
                Levels::read(value).map(|levels| node.log_levels = levels)
            }),
            default: "\"info\"",
            doc: "Which log lines are written, for all and for single modules.",
        },
        Entry {
            name: "logger",
            kind: Kind::Special("\"full\", \"json\", true (full) or false (no log)", logger),
            default: "\"full\"",
            doc: "How log lines look: for people, or one JSON object per line. They go to standard error.",
        },
    ]
}

/// The limits of a service, as the node's defaults or beside a component.
#[must_use]
pub fn limits<T: HasLimits>() -> Vec<Entry<T>> {
    let mut entries: Vec<Entry<T>> = vec![
        Entry {
            name: "limits.fuel",
            kind: Kind::Number(1, UNLIMITED, |target: &mut T, n| target.limits().fuel = n),
            default: "2000000000",
            doc: "Units of work per call, about one per Wasm instruction.",
        },
        Entry {
            name: "limits.timeout",
            kind: Kind::Time(
                Unit::Milliseconds,
                Duration::from_millis(1),
                |target: &mut T, time| {
                    target.limits().timeout = time;
                },
            ),
            default: "30000",
            doc: "Wall-clock time of one call in the guest, whatever the caller allows.",
        },
        Entry {
            name: "limits.memory",
            kind: Kind::Size(64 << 10, 4 * GIB, |target: &mut T, n| {
                target.limits().memory = narrow(n);
            }),
            default: "\"128MiB\"",
            doc: "Memory of one instance, all linear memories together.",
        },
        Entry {
            name: "limits.payload",
            kind: Kind::Size(1, GIB, |target: &mut T, n| target.limits().payload = narrow(n)),
            default: "\"8MiB\"",
            doc: "Params, result or event data, either way.",
        },
        Entry {
            name: "limits.meta",
            kind: Kind::Size(2, GIB, |target: &mut T, n| target.limits().meta = narrow(n)),
            default: "\"64KiB\"",
            doc: "Meta and headers, each.",
        },
        Entry {
            name: "limits.stack",
            kind: Kind::Size(64 << 10, 8 << 20, |target: &mut T, n| {
                target.limits().stack = narrow(n);
            }),
            default: "\"512KiB\"",
            doc: "Stack of the guest.",
        },
    ];
    entries.extend(instances());
    entries.extend(counts());
    entries
}

fn instances<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.mode",
            kind: Kind::Choice(&["pooled", "fresh"], |target: &mut T, word| {
                target.limits().mode = mode(word);
            }),
            default: "\"pooled\"",
            doc: "Keep instances warm for the next call, or make a new one for every call.",
        },
        Entry {
            name: "limits.instances.min",
            kind: Kind::Number(0, 10_000, |target: &mut T, n| {
                target.limits().instances.min = narrow(n);
            }),
            default: "1",
            doc: "Instances that are kept warm even when idle.",
        },
        Entry {
            name: "limits.instances.max",
            kind: Kind::Number(1, 10_000, |target: &mut T, n| {
                target.limits().instances.max = narrow(n);
            }),
            default: "32",
            doc: "Most instances, so also most calls at once.",
        },
        Entry {
            name: "limits.instances.idle",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |target: &mut T, time| {
                target.limits().instances.idle = time;
            }),
            default: "60000",
            doc: "A surplus instance is retired after being idle this long.",
        },
        Entry {
            name: "limits.instances.reuse",
            kind: Kind::Number(0, UNLIMITED, |target: &mut T, n| {
                target.limits().instances.reuse = n;
            }),
            default: "0",
            doc: "An instance is retired after this many calls; 0 is never.",
        },
        Entry {
            name: "limits.queue",
            kind: Kind::Number(0, 10_000_000, |target: &mut T, n| {
                target.limits().queue = narrow(n);
            }),
            default: "1000",
            doc: "Calls that wait for an instance; more are refused with `QueueIsFullError`.",
        },
    ]
}

fn counts<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.tableElements",
            kind: Kind::Number(1, 100_000_000, |target: &mut T, n| {
                target.limits().table_elements = narrow(n);
            }),
            default: "100000",
            doc: "Elements of all tables of an instance together.",
        },
        Entry {
            name: "limits.objects",
            kind: Kind::Number(1, 10_000, |target: &mut T, n| target.limits().objects = narrow(n)),
            default: "100",
            doc: "Linear memories, tables and core instances of an instance, each.",
        },
        Entry {
            name: "limits.handles",
            kind: Kind::Number(16, 1_000_000, |target: &mut T, n| {
                target.limits().handles = narrow(n);
            }),
            default: "1000",
            doc: "Handles that an instance holds at once: contexts, pending calls, WASI resources.",
        },
        Entry {
            name: "limits.callsInFlight",
            kind: Kind::Number(1, 100_000, |target: &mut T, n| {
                target.limits().calls_in_flight = narrow(n);
            }),
            default: "128",
            doc: "Calls that one handler has in flight at once.",
        },
        Entry {
            name: "limits.logRate",
            kind: Kind::Number(0, 1_000_000, |target: &mut T, n| {
                target.limits().log_rate = narrow_32(n);
            }),
            default: "200",
            doc: "Log lines per second; more are counted and dropped.",
        },
        Entry {
            name: "limits.logLine",
            kind: Kind::Size(64, 1 << 20, |target: &mut T, n| {
                target.limits().log_line = narrow(n);
            }),
            default: "\"8KiB\"",
            doc: "Length of a log line; longer ones are cut.",
        },
        Entry {
            name: "limits.schema",
            kind: Kind::Size(1 << 10, 64 << 20, |target: &mut T, n| {
                target.limits().schema = narrow(n);
            }),
            default: "\"1MiB\"",
            doc: "The schema that a component describes itself with.",
        },
        Entry {
            name: "limits.schemaItems",
            kind: Kind::Number(1, 100_000, |target: &mut T, n| {
                target.limits().schema_items = narrow(n);
            }),
            default: "1000",
            doc: "Actions and events of a schema, each.",
        },
    ]
}

/// The mode of this name; the entry has checked it.
pub(crate) fn mode(word: &str) -> Mode {
    match word {
        "fresh" => Mode::Fresh,
        _ => Mode::Pooled,
    }
}

/// What no single value shows: values that contradict each other.
pub fn check_together(node: &NodeOptions, tree: &Located, problems: &mut Problems) {
    let broker = &node.broker;
    if broker.heartbeat_interval >= broker.heartbeat_timeout {
        let (interval, timeout) = (broker.heartbeat_interval, broker.heartbeat_timeout);
        contradict(
            tree,
            &["heartbeatTimeout", "heartbeatInterval"],
            problems,
            &format!(
                "heartbeatInterval ({interval:?}) must be shorter than heartbeatTimeout ({timeout:?}), \
             or every node is taken for lost"
            ),
        );
    }
    check_instances(&broker.limits, tree, problems);
}

/// `instances.min` must not be above `instances.max`.
pub fn check_instances(limits: &Limits, tree: &Located, problems: &mut Problems) {
    let (min, max) = (limits.instances.min, limits.instances.max);
    if min > max {
        let names =
            ["limits.instances.min", "instances.min", "limits.instances.max", "instances.max"];
        let message = format!("instances.min ({min}) must not be above instances.max ({max})");
        contradict(tree, &names, problems, &message);
    }
}

/// Reports at the first of the options that was written down.
fn contradict(tree: &Located, names: &[&str], problems: &mut Problems, message: &str) {
    match names.iter().find_map(|name| tree.find(name)) {
        Some(value) => problems.add(&value.place, message),
        None => problems.add_general(message),
    }
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

fn logger(node: &mut NodeOptions, value: &Located) -> Result<(), String> {
    if matches!(value.value, Value::Null) || value.as_bool() == Some(true) {
        return Ok(());
    }
    if value.as_bool() == Some(false) {
        node.log_levels = Levels { default: log::Level::Off, modules: Vec::new() };
        return Ok(());
    }
    let word = value.as_text().ok_or("not a format")?;
    node.log_format = match word.to_ascii_lowercase().as_str() {
        "full" | "console" => Format::Full,
        "json" => Format::Json,
        _ => return Err("not a format".into()),
    };
    Ok(())
}
