//! The table of limits: it is whole, what it names exists, and `docs/limits.md` is written from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use isomer_host::config::options;
use isomer_host::limits::{Limit, Part, Place, Scope, table};
use tests::{known, tree};

/// Constants of the source that bound nothing which grows, or are bounded by a row of the table. One line for
/// each reason: the file (or the folder), the names, the reason.
const BESIDE: &[(&str, &[&str], &str)] = &[
    ("", &["BUFFER_KEPT_MAX"], "what a buffer keeps for the next packet, after one that was large"),
    ("", &["RECONNECT_DELAY_MAX", "RETRY_MAX", "PAUSE_MAX", "TRY_AGAIN_MAX"], "pauses"),
    ("", &["QUARANTINE_MAX", "JITTER_MAX", "GATHER_MAX", "TEMPORARY_AGE_MAX"], "pauses"),
    ("", &["TIME_MAX", "EXACT_MAX", "SEQ_MAX", "DIGITS_MAX", "UNLIMITED"], "numbers of JavaScript"),
    ("cli", &["CHARS_MAX", "FOLDERS_MAX", "JOIN_TIME_MAX", "SERVICE_TIME_MAX"], "a client's own"),
    ("admin/place.rs", &["LEN_MAX", "CHARS_MAX"], "names of sockets, which the system bounds"),
    ("admin/stream.rs", &["CHUNK_TIME_MAX"], "a stream's own pace; `limits.streamIdle` bounds it"),
    (
        "cacher",
        &["PARAMS_ROOM_MAX", "NAMES_MAX", "NESTED_MAPS_MAX", "NESTED_MAX"],
        "beyond it, a slower way",
    ),
    ("serializer/json_ext", &["NESTED_MAPS_MAX"], "a packet has `transit.maxPacketSize`"),
    ("serializer", &["LEN_MAX", "VER_SHOWN_MAX"], "what is shown or written of a value"),
    (
        "config",
        &["LEN_MAX", "SIZE_MAX", "KEY_FILE_MAX", "SHOWN_CHARS_MAX", "GRANTS_MAX"],
        "the operator's own files",
    ),
    ("clock/date.rs", &["DATE_MAX"], "a number of JavaScript"),
    (
        "runtime/reach",
        &["WANTED_LEN_MAX", "NAMES_MAX"],
        "of what `TOLD_MAX` and `ADDRESSES_MAX` bound",
    ),
    ("runtime/reach/http.rs", &["PIECE_LEN_MAX"], "of `limits.httpBody`; the guest waits"),
    ("runtime/reach/http", &["ADDRESSES_MAX"], "beyond it, not tried"),
    ("runtime/wasi.rs", &["KEPT_LEN_MAX"], "of a few lines, which have `limits.logLine`"),
    ("toolchain", &["NAME_LEN_MAX"], "a developer's own names"),
    ("validator/date.rs", &["LEN_MAX"], "params have `limits.payload`"),
    (
        "validator",
        &["PAD_MAX", "PROPERTIES_MAX"],
        "growth has `GROWTH_MAX`; beyond it, a slower way",
    ),
    ("validator", &["COMPILED_LEN_MAX", "BACKTRACK_MAX"], "as `PATTERN_LEN_MAX` and its neighbour"),
    ("middleware/validator.rs", &["BYTE_KEYS_MAX"], "beyond it, a slower way"),
    (
        "middleware/bulkhead.rs",
        &["QUEUE_SIZE_MAX"],
        "the most that `bulkhead.maxQueueSize` reserves at once",
    ),
    ("middleware/compression.rs", &["SIZE_MAX"], "of the fuzzer"),
    ("runtime/host_imports/options.rs", &["META_LEN_MAX"], "of the fuzzer"),
    (
        "middleware/cacher.rs",
        &["BACKGROUND_MAX"],
        "beyond it, a stale entry is made anew by a later call",
    ),
    (
        "middleware/debugging.rs",
        &["WRITES_MAX", "FILES_MAX"],
        "a developer's own logs; what is left out is told",
    ),
    ("middleware/metrics.rs", &["CALLERS_MAX"], "a cache of labels; `SERIES_MAX` bounds these"),
    ("middleware/metrics/prometheus.rs", &["CONNECTIONS_MAX"], "one more waits to be accepted"),
    (
        "middleware/spans/event.rs",
        &["SPANS_MAX"],
        "counted by `isomer.tracing.spans.dropped.total`",
    ),
    ("middleware/stats.rs", &["SLICES_MAX"], "a minute has so many"),
    (
        "tracer",
        &["SPANS_MAX", "DEPTH_MAX", "BYTES_MAX"],
        "what the console draws; guests have `limits.spans`",
    ),
    ("schema/balance.rs", &["COUNT_MAX"], "a value of a schema that is refused"),
    ("scenario", &["STREAM_LEN_MAX", "RECORDS_MAX"], "a developer's own tests"),
    ("discoverer", &["LATENCY_PINGS_MAX", "READS_MAX"], "work at once; the rest waits"),
    (
        "discoverer/store",
        &["SIGN_MAX", "SIGNS_MAX", "SIGNS_BYTES_MAX", "ANSWER_BYTES_MAX"],
        "answers of the operator's own store: the look has failed",
    ),
    ("http.rs", &["HEADERS_MAX"], "parts of `HEAD_MAX`"),
    (
        "middleware/delivery.rs",
        &["ANSWER_MAX", "REASON_MAX"],
        "what is read and shown of an answer that nobody needs",
    ),
    (
        "middleware/spans",
        &["DEPTH_MAX", "DATAGRAM_MAX"],
        "what is sent of a span; those that do not fit are counted",
    ),
    ("registry.rs", &["PONG_MS_MAX"], "a value that is not believed"),
    ("registry/gossip/contact.rs", &["ADDRESSES_MAX"], "beyond it, not tried"),
    ("reload/scan.rs", &["DEPTH_MAX"], "the operator's own folders"),
    ("runtime", &["COMPILATIONS_MAX"], "one more waits"),
    ("runtime/core_dump.rs", &["SERVICE_LEN_MAX"], "of the name of a file"),
    ("runtime", &["MESSAGE_LEN_MAX", "CAUSE_LEN_MAX", "NAMES_MAX"], "texts and lists that are cut"),
    ("runtime/pool/retire.rs", &["CLOSE_TIME_MAX"], "a part of a stop"),
    ("transit.rs", &["REFUSALS_MAX"], "refusals on their way; beyond it, a flood has no answer"),
    ("transit/respond.rs", &["REQUESTS_PER_TASK_MAX"], "how work is shared out"),
    (
        "transporter",
        &["PINGS_MAX", "ATTEMPTS_MAX", "ROUNDS_MAX", "BATCH_MAX", "FETCH_MAX"],
        "how often, or how much in one go",
    ),
    (
        "transporter/kafka",
        &["NODES_MAX", "LEADERS_MAX", "TOPIC_LEN_MAX"],
        "what a cluster tells of itself, and its rules",
    ),
    ("transporter/amqp/topology.rs", &["NAME_MAX"], "a rule of the protocol"),
    (
        "transporter/mqtt",
        &["REST_MAX", "IN_FLIGHT_MAX"],
        "rules of the protocol; one more message waits",
    ),
    (
        "transporter/tcp",
        &["URLS_FILE_MAX", "DESTINATIONS_MAX"],
        "the operator's own files and networks",
    ),
    (
        "transporter/tcp",
        &["DATAGRAM_MAX", "INCOMING_MAX"],
        "beyond it, not read; counted by `isomer.tcp.*.refused.total`",
    ),
];

/// Options of limits that bound nothing which grows.
const OTHER_OPTIONS: [&str; 3] = ["limits.mode", "limits.instances.min", "limits.instances.idle"];

fn rows() -> impl Iterator<Item = &'static Limit> {
    table().into_iter().flat_map(|part| part.limits)
}

/// The name of a limit, as it is shown.
fn name(limit: &Limit) -> String {
    match limit.place {
        Place::Option(name) => name.to_owned(),
        Place::Constant(file, name) => format!("{file} {name}"),
    }
}

/// Constants of the host with `_MAX` in their names, and those of the table: file, name → text of the value.
fn constants() -> BTreeMap<(String, String), String> {
    let top = tree::top().join("host/src");
    let wanted: BTreeSet<&str> = rows()
        .filter_map(|row| match row.place {
            Place::Constant(_, name) => Some(name),
            Place::Option(_) => None,
        })
        .collect();
    let mut found = BTreeMap::new();
    for path in tree::files(&top) {
        let file = path.strip_prefix(&top).unwrap().to_string_lossy().into_owned();
        let of_tests = |part: &str| ["tests", "tests.rs", "fuzz", "fuzz.rs"].contains(&part);
        if !file.ends_with(".rs") || file.starts_with("limits") || file.split('/').any(of_tests) {
            continue;
        }
        let text = tree::read(&path);
        let code = text.split("mod tests {").next().unwrap_or_default();
        for line in code.lines() {
            let Some((_, rest)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let Some((_, value)) = rest.split_once(" = ") else { continue };
            if name.ends_with("_MAX") || wanted.contains(name) {
                let value = value.trim_end_matches(';').to_owned();
                found.insert((file.clone(), name.to_owned()), value);
            }
        }
    }
    found
}

/// Every metric that the host names.
fn metrics() -> BTreeSet<String> {
    let files = tree::files(&tree::top().join("host/src"));
    let texts = files.iter().filter(|path| !path.starts_with(tree::top().join("host/src/limits")));
    let names = |path: &std::path::PathBuf| -> Vec<String> {
        let text = tree::read(path);
        text.split('"').skip(1).step_by(2).filter(|n| n.contains('.')).map(str::to_owned).collect()
    };
    texts.flat_map(names).collect()
}

#[test]
fn every_limit_names_what_exists_and_has_a_test_on_both_sides() {
    let known = known::tests();
    let (constants, metrics) = (constants(), metrics());
    let options: BTreeSet<&str> = options::entries().iter().map(|entry| entry.name).collect();
    let mut broken = Vec::new();
    let mut names = BTreeSet::new();
    for row in rows() {
        let name = name(row);
        let mut say = |what: &str| broken.push(format!("{name}: {what}"));
        match row.place {
            Place::Option(option) if !options.contains(option) => say("is no option"),
            Place::Constant(file, constant)
                if !constants.contains_key(&(file.to_owned(), constant.to_owned())) =>
            {
                say("is no constant");
            }
            _ => {}
        }
        for test in [row.at, row.past] {
            if !known.contains(test) {
                say(&format!("'{test}' is no test"));
            }
        }
        if row.beyond.is_empty() {
            say("does not say what happens beyond it");
        }
        if let Some(metric) = row.metric.filter(|metric| !metrics.contains(*metric)) {
            say(&format!("'{metric}' is no metric"));
        }
        if !names.insert(name.clone()) {
            broken.push(format!("{name} stands there twice"));
        }
    }
    assert!(broken.is_empty(), "host/src/limits.rs:\n  {}", broken.join("\n  "));
}

#[test]
fn no_limit_is_missing_from_the_table() {
    let named: BTreeSet<String> = rows().map(name).collect();
    let beside = |file: &str, name: &str| {
        BESIDE.iter().any(|(place, names, _)| {
            (place.is_empty()
                || Path::new(file).starts_with(place)
                || file == format!("{place}.rs"))
                && names.contains(&name)
        })
    };
    let mut missing: Vec<String> = constants()
        .into_keys()
        .filter(|(file, name)| !named.contains(&format!("{file} {name}")) && !beside(file, name))
        .map(|(file, name)| format!("{file} {name}"))
        .collect();
    missing.extend(
        options::entries()
            .iter()
            .map(|entry| entry.name)
            .filter(|name| name.starts_with("limits.") && !OTHER_OPTIONS.contains(name))
            .filter(|name| !named.contains(*name))
            .map(str::to_owned),
    );
    assert!(
        missing.is_empty(),
        "neither in the table (host/src/limits.rs) nor beside it (here, with the reason):\n  {}",
        missing.join("\n  ")
    );
}

/// `4 << 20` → 4 MiB, `10_000` → 10 000, `Duration::from_secs(10)` → 10 s.
fn shown(value: &str) -> String {
    let (number, unit) = match value.split_once(" << ") {
        Some((number, "10")) => (number, " KiB"),
        Some((number, "20")) => (number, " MiB"),
        Some((number, "30")) => (number, " GiB"),
        _ => match value.strip_prefix("Duration::from_secs(") {
            Some(rest) => (rest.trim_end_matches(')'), " s"),
            None => (value, ""),
        },
    };
    format!("{}{unit}", number.replace('_', "\u{202f}"))
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Action => "call",
        Scope::Handler => "handler",
        Scope::Instance => "instance",
        Scope::Service => "service",
        Scope::Peer => "peer",
        Scope::Node => "node",
    }
}

fn document() -> String {
    let constants = constants();
    let options = options::entries();
    let mut text = "\n".to_owned();
    for Part { who, limits } in table() {
        text += &format!(
            "\n## {who}\n\n| limit | default | of a | one more | counted by | tests |\n|---|---|---|---|---|---|\n"
        );
        for row in limits {
            let (what, default) = match row.place {
                Place::Option(name) => {
                    let entry = options.iter().find(|entry| entry.name == name).unwrap();
                    let doc = entry.doc.trim_end_matches('.');
                    (format!("`{name}`: {doc}"), entry.default.trim_matches('"').to_owned())
                }
                Place::Constant(file, name) => {
                    let value = &constants[&(file.to_owned(), name.to_owned())];
                    (row.what.to_owned(), format!("{}, fixed", shown(value)))
                }
            };
            let metric = row.metric.map_or_else(|| "–".to_owned(), |metric| format!("`{metric}`"));
            let tests = if row.at == row.past {
                format!("`{}`", row.at)
            } else {
                format!("`{}`, `{}`", row.at, row.past)
            };
            let (scope, beyond) = (scope(row.scope), row.beyond);
            text += &format!("| {what} | {default} | {scope} | {beyond} | {metric} | {tests} |\n");
        }
    }
    text + "\n"
}

/// Run with `UPDATE_DOCS=1` to write the table into the document.
#[test]
fn the_document_is_the_table() {
    const BEGIN: &str = "<!-- limits: written by the test limits -->";
    const END: &str = "<!-- end of limits -->";
    let path = tree::top().join("docs/limits.md");
    let present = tree::read(&path);
    let (before, rest) = present.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let whole = format!("{before}{BEGIN}{}{END}{after}", document());
        std::fs::write(&path, whole).unwrap();
    } else {
        assert_eq!(shown, document(), "run this test with UPDATE_DOCS=1");
    }
}
