//! Section `metrics`: measuring calls and events (moleculer: src/metrics).

use std::time::Duration;

use crate::config::metrics::{MetricReporter, ReporterKind};
use crate::config::names;
use crate::config::options::{NodeOptions, narrow, reporting};
use crate::config::schema::{Entry, Kind, Unit};
use crate::config::value::{Located, Value};

/// What may stand as a reporter.
const REPORTERS: &str = "\"Console\", \"Event\", \"Prometheus\", \"StatsD\", \"Datadog\", \"CSV\", {\"type\", \"options\"} of one of them, or a list of these";
/// Rising numbers.
const BUCKETS: &str = "a list of rising numbers";
/// Rising parts.
const QUANTILES: &str = "a list of rising numbers from 0 to 1";

/// The reporters.
const OFFERED: [&str; 6] = ["Console", "Event", "Prometheus", "StatsD", "Datadog", "CSV"];

/// The options.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries: Vec<Entry<NodeOptions>> = vec![
        Entry {
            name: "metrics.enabled",
            kind: Kind::Switch(|node, on| node.broker.metrics.enabled = on),
            default: "false",
            doc: "Measure calls and events and serve `$node.metrics`. `metrics = true` is short for it.",
        },
        Entry {
            name: "metrics.reporter",
            kind: Kind::Special(REPORTERS, |node, value| {
                reporters(value).map(|reporters| node.broker.metrics.reporters = reporters)
            }),
            default: "",
            doc: "Who is told: `Console` writes into the log, `Event` sends lists as `$metrics.snapshot`, \
                  `Prometheus` answers on port 3030, `StatsD` sends to port 8125, `Datadog` sends to its API, \
                  `CSV` writes files.",
        },
        Entry {
            name: "metrics.collectProcessMetrics",
            kind: Kind::Switch(|node, on| node.broker.metrics.collect_process_metrics = on),
            default: "true",
            doc: "Show the figures of process and machine as well.",
        },
    ];
    entries.extend(histograms());
    entries
}

fn histograms() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "metrics.defaultBuckets",
            kind: Kind::Special(BUCKETS, |node, value| {
                let buckets = rising(value, f64::MAX)?;
                node.broker.metrics.default_buckets = buckets;
                Ok(())
            }),
            default: "[1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]",
            doc: "Upper bounds of histograms, in milliseconds.",
        },
        Entry {
            name: "metrics.defaultQuantiles",
            kind: Kind::Special(QUANTILES, |node, value| {
                let quantiles = rising(value, 1.0)?;
                node.broker.metrics.default_quantiles = quantiles;
                Ok(())
            }),
            default: "[0.5, 0.9, 0.95, 0.99, 0.999]",
            doc: "The part of the values for which histograms tell an upper bound.",
        },
        Entry {
            name: "metrics.defaultMaxAgeSeconds",
            kind: Kind::Time(Unit::Seconds, Duration::from_secs(1), |node, time| {
                node.broker.metrics.default_max_age = time;
            }),
            default: "60",
            doc: "How long a value counts for quantiles.",
        },
        Entry {
            name: "metrics.defaultAgeBuckets",
            kind: Kind::Number(1, 1_000, |node, n| {
                node.broker.metrics.default_age_buckets = narrow(n);
            }),
            default: "10",
            doc: "In how many steps it is forgotten.",
        },
    ]
}

fn rising(value: &Located, most: f64) -> Result<Vec<f64>, String> {
    let items = value.as_list().filter(|items| items.len() <= 100);
    let items = items.ok_or("not a list of at most 100 numbers")?;
    let numbers: Option<Vec<_>> = items.iter().map(Located::as_number).collect();
    let numbers = numbers.ok_or("not a list of numbers")?;
    let rises = numbers.iter().zip(numbers.iter().skip(1)).all(|(one, next)| one < next);
    let within = numbers.iter().all(|number| (0.0..=most).contains(number));
    if rises && within {
        Ok(numbers)
    } else {
        Err("its numbers do not rise within the range".into())
    }
}

fn reporters(value: &Located) -> Result<Vec<MetricReporter>, String> {
    reporting::list(value)?
        .into_iter()
        .map(|(name, options)| reporter(&name, options.as_ref()))
        .collect()
}

fn reporter(name: &str, options: Option<&Located>) -> Result<MetricReporter, String> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if is("Console") {
        read(ReporterKind::Console, true, options)
    } else if is("Event") {
        let event_name = "$metrics.snapshot".to_owned();
        let kind = ReporterKind::Event { event_name, broadcast: false, groups: Vec::new() };
        read(kind, false, options)
    } else if is("Prometheus") {
        let (host, path) = ("0.0.0.0".to_owned(), "/metrics".to_owned());
        let kind = ReporterKind::Prometheus { host, port: 3030, path, default_labels: None };
        read(kind, false, options)
    } else if is("StatsD") {
        let host = "localhost".to_owned();
        read(ReporterKind::StatsD { host, port: 8125, payload_max: 1_300 }, false, options)
    } else if is("CSV") {
        let kind = ReporterKind::Csv {
            folder: "./reports/metrics".into(),
            delimiter: ",".to_owned(),
            row_delimiter: "\n".to_owned(),
            by_label: false,
            types: None,
        };
        read(kind, false, options)
    } else if is("Datadog") {
        datadog(options)
    } else {
        Err(format!("'{name}' is no reporter{}", names::did_you_mean(name, OFFERED)))
    }
}

/// Its address is put together of three options, and it needs a key (moleculer:
/// src/metrics/reporters/datadog.js).
fn datadog(options: Option<&Located>) -> Result<MetricReporter, String> {
    let option = |name: &str| options.and_then(|options| options.find(name));
    let of = |name: &str, standard: &str| match option(name) {
        Some(value) => reporting::text(name, value),
        None => Ok(standard.to_owned()),
    };
    let base = of("baseUrl", "https://api.datadoghq.com/api/")?;
    let version = of("apiVersion", "v1")?;
    if version != "v1" {
        return Err("'apiVersion' is not \"v1\", the only one whose form is known".into());
    }
    let url = format!("{base}{version}{}", of("path", "/series")?).parse();
    let url = url.map_err(|error| format!("'baseUrl' is not an address: {error}"))?;
    let api_key = option("apiKey").map(|value| reporting::text("apiKey", value));
    let api_key = api_key.ok_or(
        "it has no 'apiKey'; give it in the options or in the environment variable DATADOG_API_KEY",
    )??;
    let kind = ReporterKind::Datadog { url, api_key, host: None, default_labels: None };
    let mut reporter = read(kind, false, options)?;
    if option("interval").is_none() {
        reporter.interval = Duration::from_secs(10);
    }
    Ok(reporter)
}

fn read(
    kind: ReporterKind,
    only_changes: bool,
    options: Option<&Located>,
) -> Result<MetricReporter, String> {
    let common = ["interval", "onlyChanges", "includes", "excludes", "colors"];
    let events = ["eventName", "broadcast", "groups"];
    let names = ["includes", "excludes", "metricNamePrefix", "metricNameSuffix"];
    let known: Vec<_> = match kind {
        ReporterKind::Console => common.to_vec(),
        ReporterKind::Event { .. } => common.into_iter().chain(events).collect(),
        ReporterKind::Prometheus { .. } => {
            names.into_iter().chain(["host", "port", "path", "defaultLabels"]).collect()
        }
        ReporterKind::StatsD { .. } => {
            names.into_iter().chain(["interval", "host", "port", "maxPayloadSize"]).collect()
        }
        ReporterKind::Datadog { .. } => {
            let own =
                ["interval", "host", "defaultLabels", "baseUrl", "apiVersion", "path", "apiKey"];
            names.into_iter().chain(own).collect()
        }
        ReporterKind::Csv { .. } => {
            let own = ["interval", "folder", "delimiter", "rowDelimiter", "mode", "types"];
            names.into_iter().chain(own).collect()
        }
    };
    let interval = Duration::from_secs(5);
    let (includes, excludes) = (None, Vec::new());
    let (name_prefix, name_suffix) = (String::new(), String::new());
    let mut reporter = MetricReporter {
        kind,
        interval,
        only_changes,
        includes,
        excludes,
        name_prefix,
        name_suffix,
    };
    for (key, value) in reporting::keys(options, &known)? {
        match key {
            "interval" => {
                reporter.interval = reporting::seconds(value)?;
                if reporter.interval.is_zero() {
                    return Err("'interval' is 0; a report needs some time".into());
                }
            }
            "onlyChanges" => reporter.only_changes = reporting::switch(key, value)?,
            "includes" => reporter.includes = Some(reporting::names(key, value)?),
            "excludes" => reporter.excludes = reporting::names(key, value)?,
            // The log decides about colours.
            "colors" => {
                reporting::switch(key, value)?;
            }
            "metricNamePrefix" => reporter.name_prefix = reporting::text(key, value)?,
            "metricNameSuffix" => reporter.name_suffix = reporting::text(key, value)?,
            _ => read_own(&mut reporter.kind, key, value)?,
        }
    }
    Ok(reporter)
}

fn read_event(kind: &mut ReporterKind, key: &str, value: &Located) -> Result<(), String> {
    let ReporterKind::Event { event_name, broadcast, groups } = kind else { return Ok(()) };
    match (key, &value.value) {
        ("broadcast", _) => *broadcast = reporting::switch(key, value)?,
        ("groups", _) => *groups = reporting::names(key, value)?,
        (_, Value::Text(name) | Value::Word(name)) if !name.is_empty() => {
            name.clone_into(event_name)
        }
        _ => return Err(format!("'{key}' is not text")),
    }
    Ok(())
}

/// The keys that only one kind has.
fn read_own(kind: &mut ReporterKind, key: &str, value: &Located) -> Result<(), String> {
    match (kind, key) {
        (ReporterKind::Prometheus { host, .. } | ReporterKind::StatsD { host, .. }, "host") => {
            *host = reporting::text(key, value)?;
        }
        (ReporterKind::Prometheus { port, .. }, "port") => {
            *port = reporting::number(key, value, 0)?
        }
        (ReporterKind::StatsD { port, .. }, "port") => *port = reporting::number(key, value, 1)?,
        (ReporterKind::Prometheus { path, .. }, "path") => {
            *path = reporting::text(key, value)?;
            if !path.starts_with('/') {
                return Err("'path' does not begin with '/'".into());
            }
        }
        (ReporterKind::Prometheus { default_labels, .. }, _)
        | (ReporterKind::Datadog { default_labels, .. }, "defaultLabels") => {
            *default_labels = Some(reporting::labels(key, value)?);
        }
        (ReporterKind::Datadog { host, .. }, "host") => *host = Some(reporting::text(key, value)?),
        (ReporterKind::StatsD { payload_max, .. }, _) => {
            *payload_max = reporting::number::<u16>(key, value, 100)?.into();
        }
        (kind @ ReporterKind::Csv { .. }, _) => read_csv(kind, key, value)?,
        // Read with its address.
        (ReporterKind::Datadog { .. }, _) => {}
        (kind, _) => read_event(kind, key, value)?,
    }
    Ok(())
}

fn read_csv(kind: &mut ReporterKind, key: &str, value: &Located) -> Result<(), String> {
    let ReporterKind::Csv { folder, delimiter, row_delimiter, by_label, types } = kind else {
        return Ok(());
    };
    match key {
        "folder" => *folder = reporting::text(key, value)?.into(),
        "delimiter" => *delimiter = reporting::text(key, value)?,
        "rowDelimiter" => *row_delimiter = reporting::text(key, value)?,
        "types" => *types = Some(reporting::names(key, value)?),
        _ => {
            *by_label = match value.as_text() {
                Some("metric") => false,
                Some("label") => true,
                _ => return Err("'mode' is neither \"metric\" nor \"label\"".into()),
            };
        }
    }
    Ok(())
}
