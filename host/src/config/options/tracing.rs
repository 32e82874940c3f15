//! Section `tracing`: spans of calls and events (moleculer: src/tracing).

use serde_json::Value as Json;

use crate::config::names;
use crate::config::options::{NodeOptions, reporting};
use crate::config::schema::{Entry, Kind};
use crate::config::tracing::{EventExporter, TagRules, TraceExporter};
use crate::config::value::Located;

mod upload;

/// What may stand as an exporter.
const EXPORTERS: &str = "\"Console\", \"Event\", \"Zipkin\", \"Jaeger\", \"OTLP\", \"Datadog\", \
     \"DatadogSimple\", \"NewRelic\", {\"type\", \"options\"} of one of them, or a list of these";
/// What may stand as tags.
const TAGS: &str = "a table with params, meta, response, each true, false or a list of keys";

/// The exporters.
const OFFERED: [&str; 8] =
    ["Console", "Event", "Zipkin", "Jaeger", "OTLP", "Datadog", "DatadogSimple", "NewRelic"];

/// An exporter of Moleculer 0.14 that 0.15 does not have.
const LEGACY: &str = "EventLegacy";

/// The options.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries: Vec<Entry<NodeOptions>> = vec![
        Entry {
            name: "tracing.enabled",
            kind: Kind::Switch(|node, on| node.broker.tracing.enabled = on),
            default: "false",
            doc: "Make spans of what runs on this node. `tracing = true` is short for it.",
        },
        Entry {
            name: "tracing.exporter",
            kind: Kind::Special(EXPORTERS, |node, value| {
                exporters(value).map(|exporters| node.broker.tracing.exporters = exporters)
            }),
            default: "",
            doc: "Where spans go: `Console` draws each chain into the log, `Event` sends lists of spans as \
                  `$tracing.spans`, the others send to servers; see [tracing.md](tracing.md).",
        },
        Entry {
            name: "tracing.actions",
            kind: Kind::Switch(|node, on| node.broker.tracing.actions = on),
            default: "true",
            doc: "A span for each call.",
        },
        Entry {
            name: "tracing.events",
            kind: Kind::Switch(|node, on| node.broker.tracing.events = on),
            default: "false",
            doc: "A span for each event handler that runs.",
        },
    ];
    entries.extend(sampling());
    entries.extend(contents());
    entries
}

fn sampling() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "tracing.sampling.rate",
            kind: Kind::Real(0.0, 1.0, |node, rate| node.broker.tracing.sampling.rate = rate),
            default: "1",
            doc: "The part of the chains beginning here that are traced.",
        },
        Entry {
            name: "tracing.sampling.tracesPerSecond",
            kind: Kind::Real(0.0, 1e6, |node, n| {
                node.broker.tracing.sampling.traces_per_second = Some(n).filter(|n| *n > 0.0);
            }),
            default: "",
            doc: "At most so many chains in a second, instead of the rate; 0 is no limit.",
        },
        Entry {
            name: "tracing.sampling.minPriority",
            kind: Kind::Real(0.0, 1e6, |node, n| {
                node.broker.tracing.sampling.min_priority = Some(n);
            }),
            default: "",
            doc: "Spans of a lower priority are not traced; calls and events have 5.",
        },
    ]
}

fn contents() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "tracing.errorFields",
            kind: Kind::Patterns(|node, fields| node.broker.tracing.error_fields = fields),
            default: "[\"name\", \"message\", \"code\", \"type\", \"data\"]",
            doc: "What a span shows of an error.",
        },
        Entry {
            name: "tracing.stackTrace",
            kind: Kind::Switch(|node, on| node.broker.tracing.stack_trace = on),
            default: "false",
            doc: "Show the stack of an error as well.",
        },
        Entry {
            name: "tracing.defaultTags",
            kind: Kind::Free(|node, tags| node.broker.tracing.default_tags = tags),
            default: "",
            doc: "Tags of all spans.",
        },
        Entry {
            name: "tracing.tags.action",
            kind: Kind::Special(TAGS, |node, value| {
                tags(value).map(|rules| node.broker.tracing.action_tags = rules)
            }),
            default: "",
            doc: "What spans of calls carry: all params and nothing else, unless this says more or less.",
        },
        Entry {
            name: "tracing.tags.event",
            kind: Kind::Special(TAGS, |node, value| {
                tags(value).map(|rules| node.broker.tracing.event_tags = rules)
            }),
            default: "",
            doc: "The same for events.",
        },
    ]
}

fn tags(value: &Located) -> Result<TagRules, String> {
    match value.to_json() {
        Json::Null => Ok(TagRules::default()),
        Json::Object(rules) => TagRules::read(&rules),
        _ => Err("not a table".into()),
    }
}

fn exporters(value: &Located) -> Result<Vec<TraceExporter>, String> {
    let chosen = reporting::list(value)?;
    chosen.into_iter().map(|(name, options)| named(&name, options.as_ref())).collect()
}

fn named(name: &str, options: Option<&Located>) -> Result<TraceExporter, String> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if is("Console") {
        console(options)
    } else if is("Event") {
        event(options).map(TraceExporter::Event)
    } else if is(LEGACY) {
        Err(format!(
            "{name} is gone since Moleculer 0.15; \"Event\" sends the same spans, as they are today"
        ))
    } else {
        match upload::read(name, options)? {
            Some(upload) => Ok(TraceExporter::Upload(upload)),
            None => Err(format!("'{name}' is no exporter{}", names::did_you_mean(name, OFFERED))),
        }
    }
}

fn console(options: Option<&Located>) -> Result<TraceExporter, String> {
    let (mut width, mut gauge_width) = (100, 40);
    for (key, value) in reporting::keys(options, &["width", "gaugeWidth", "colors"])? {
        match key {
            // The log decides about colours.
            "colors" => {
                value.as_bool().ok_or("'colors' is not true or false")?;
            }
            _ => {
                let columns = value.as_count().and_then(|n| usize::try_from(n).ok());
                let columns = columns.filter(|n| (10..=1_000).contains(n));
                let columns =
                    columns.ok_or_else(|| format!("'{key}' is not a number from 10 to 1000"))?;
                *(if key == "width" { &mut width } else { &mut gauge_width }) = columns;
            }
        }
    }
    Ok(TraceExporter::Console { width, gauge_width })
}

fn event(options: Option<&Located>) -> Result<EventExporter, String> {
    let known = [
        "eventName",
        "sendStartSpan",
        "sendFinishSpan",
        "broadcast",
        "groups",
        "interval",
        "defaultTags",
    ];
    let mut exporter = EventExporter::default();
    for (key, value) in reporting::keys(options, &known)? {
        match key {
            "eventName" => {
                let name = value.as_text().filter(|name| !name.is_empty());
                exporter.event_name = name.ok_or("'eventName' is not text")?.to_owned();
            }
            "sendStartSpan" => exporter.send_start_span = reporting::switch(key, value)?,
            "sendFinishSpan" => exporter.send_finish_span = reporting::switch(key, value)?,
            "broadcast" => exporter.broadcast = reporting::switch(key, value)?,
            "groups" => exporter.groups = reporting::names(key, value)?,
            "interval" => exporter.interval = reporting::seconds(value)?,
            _ => exporter.default_tags = reporting::table(key, value)?,
        }
    }
    Ok(exporter)
}
