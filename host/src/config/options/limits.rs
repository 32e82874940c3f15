//! The limits of services as options: the node's defaults, and the same beside a component.

use std::time::Duration;

use crate::config::limits::{Limits, Mode};
use crate::config::options::{GIB, contradict, narrow, narrow_32};
use crate::config::problem::Problems;
use crate::config::schema::{Entry, Kind, UNLIMITED, Unit};
use crate::config::value::Located;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Something with limits: a node (its defaults) or a service.
pub trait HasLimits {
    /// The limits.
    fn limits(&mut self) -> &mut Limits;
}

/// The limits of a service, as the node's defaults or beside a component.
#[must_use]
pub fn entries<T: HasLimits>() -> Vec<Entry<T>> {
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
    entries.extend(streams());
    entries.extend(http());
    entries.extend(spans());
    entries
}

fn streams<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.streams",
            kind: Kind::Number(1, 10_000, |target: &mut T, n| target.limits().streams = narrow(n)),
            default: "32",
            doc: "Streams that one handler has open at once, beside that of its caller.",
        },
        Entry {
            name: "limits.streamBuffer",
            kind: Kind::Size(1 << 10, 64 << 20, |target: &mut T, n| {
                target.limits().stream_buffer = narrow(n);
            }),
            default: "\"256KiB\"",
            doc: "What waits to be read in a stream that a guest writes; then the guest waits.",
        },
        Entry {
            name: "limits.streamIdle",
            kind: Kind::Time(Unit::Milliseconds, MILLISECOND, |target: &mut T, time| {
                target.limits().stream_idle = time;
            }),
            default: "60000",
            doc: "How long a guest waits for one chunk of a stream to come or to go.",
        },
        Entry {
            name: "limits.streamTimeout",
            kind: Kind::Time(Unit::Milliseconds, MILLISECOND, |target: &mut T, time| {
                target.limits().stream_timeout = time;
            }),
            default: "600000",
            doc: "Wall-clock time of a call with a stream, in the place of `limits.timeout`: from its \
                  start, and anew when it answers with one.",
        },
    ]
}

fn http<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.httpRequests",
            kind: Kind::Number(1, 10_000, |target: &mut T, n| {
                target.limits().http_requests = narrow(n);
            }),
            default: "32",
            doc: "HTTP requests that one instance has under way at once, with those whose answer it still reads.",
        },
        Entry {
            name: "limits.httpBody",
            kind: Kind::Size(0, GIB, |target: &mut T, n| target.limits().http_body = narrow(n)),
            default: "\"8MiB\"",
            doc: "The body of an HTTP request of a guest, and that of its answer, each.",
        },
    ]
}

fn spans<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.spans",
            kind: Kind::Number(0, 100_000, |target: &mut T, n| target.limits().spans = narrow(n)),
            default: "200",
            doc: "Spans that one handler makes, beside that of its call; further ones record nothing.",
        },
        Entry {
            name: "limits.openSpans",
            kind: Kind::Number(0, 10_000, |target: &mut T, n| {
                target.limits().open_spans = narrow(n);
            }),
            default: "32",
            doc: "Spans of one handler that have not ended, at once.",
        },
        Entry {
            name: "limits.spanBytes",
            kind: Kind::Size(0, 1 << 20, |target: &mut T, n| {
                target.limits().span_bytes = narrow(n);
            }),
            default: "\"16KiB\"",
            doc: "Tags and logs of one span of a guest.",
        },
    ]
}

fn instances<T: HasLimits>() -> Vec<Entry<T>> {
    vec![
        Entry {
            name: "limits.mode",
            kind: Kind::Choice(&["pooled", "fresh", "shared"], |target: &mut T, word| {
                target.limits().mode = Some(mode(word));
            }),
            default: "",
            doc: "Keep instances warm for the next call, make a new one for every call, or have one \
                  for all calls, many at once (only for `service-async`); else as the component \
                  asks, or pooled. One that asks for `\"fresh\"` stays so.",
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
            name: "limits.instances.concurrency",
            kind: Kind::Number(1, 100_000, |target: &mut T, n| {
                target.limits().instances.concurrency = narrow(n);
            }),
            default: "100",
            doc: "Calls at once in the one instance of mode `shared`.",
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
            name: "limits.events",
            kind: Kind::Number(0, 10_000_000, |target: &mut T, n| {
                target.limits().events = narrow(n);
            }),
            default: "10000",
            doc: "Events that one handler sends; more are refused with `QueueIsFullError`.",
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
        "shared" => Mode::Shared,
        _ => Mode::Pooled,
    }
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
