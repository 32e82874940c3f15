//! Tells others of the metrics: the log, the mesh, files, StatsD and Datadog again and again, Prometheus when it asks
//! (moleculer: src/metrics/reporters).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::config::metrics::{MetricReporter, ReporterKind};
use crate::context::{Caller, EmitOptions, EventType};
use crate::middleware::metrics::csv::Files;
use crate::middleware::metrics::datadog::Account;
use crate::middleware::metrics::prometheus::{self, Place};
use crate::middleware::metrics::statsd::Server;
use crate::payload::Payload;
use crate::schema;
use crate::task::{self, CancellationToken};

/// Gives all metrics as they are now.
pub type List = Arc<dyn Fn() -> Vec<Value> + Send + Sync>;

/// Gives those that a reporter wants.
pub(super) type Rows = List;

/// Who reports: stands at every value that Prometheus or Datadog get.
pub type Labels = Vec<(String, String)>;

/// Reports on a runtime until it is cancelled or the broker is gone.
pub fn report(
    reporter: MetricReporter,
    list: List,
    labels: Labels,
    host: &str,
    caller: Weak<dyn Caller>,
    work: &Handle,
    cancel: CancellationToken,
) {
    if let ReporterKind::Prometheus { host, port, path, default_labels } = &reporter.kind {
        let labels = default_labels.clone().unwrap_or(labels);
        let (host, port, path) = (host.clone(), *port, path.clone());
        let place = Place { host, port, path, labels };
        let rows: Rows = Arc::new(move || wanted(&reporter, list(), &mut HashMap::new()));
        task::spawn_on(work, "metrics reporter", async move {
            let serving = prometheus::serve(place, rows, cancel.clone());
            cancel.run_until_cancelled(serving).await;
        });
        return;
    }
    let mut statsd = match &reporter.kind {
        ReporterKind::StatsD { host, port, payload_max } => Some(Server {
            host: host.clone(),
            port: *port,
            payload_max: *payload_max,
            last: HashMap::new(),
        }),
        _ => None,
    };
    let mut files = files(&reporter.kind);
    let mut account = account(&reporter.kind, labels, host);
    let reports = async move {
        let mut ticks = tokio::time::interval(reporter.interval);
        ticks.tick().await;
        let mut last = HashMap::new();
        loop {
            ticks.tick().await;
            let Some(caller) = caller.upgrade() else { return };
            let rows = wanted(&reporter, list(), &mut last);
            if let Some(server) = &mut statsd {
                server.tell(&rows).await;
            } else if let Some(files) = &mut files {
                files.tell(&rows).await;
            } else if let Some(account) = &mut account {
                account.tell(&rows).await;
            } else if !rows.is_empty() {
                tell(&reporter.kind, rows, &*caller).await;
            }
        }
    };
    task::spawn_on(work, "metrics reporter", async move {
        cancel.run_until_cancelled(reports).await;
    });
}

/// The account of a reporter that has one.
fn account(kind: &ReporterKind, labels: Labels, here: &str) -> Option<Account> {
    let ReporterKind::Datadog { url, api_key, host, default_labels } = kind else { return None };
    let host = host.clone().unwrap_or_else(|| here.to_owned());
    Some(Account::new(url.clone(), api_key, host, default_labels.clone().unwrap_or(labels)))
}

/// The files of a reporter that writes some.
fn files(kind: &ReporterKind) -> Option<Files> {
    let ReporterKind::Csv { folder, delimiter, row_delimiter, by_label, types } = kind else {
        return None;
    };
    Some(Files {
        folder: folder.clone(),
        delimiter: delimiter.clone(),
        row_delimiter: row_delimiter.clone(),
        by_label: *by_label,
        types: types.clone(),
        last: HashMap::new(),
        failing: false,
    })
}

/// The metrics that the reporter tells; `last` is what they were.
fn wanted(
    reporter: &MetricReporter,
    rows: Vec<Value>,
    last: &mut HashMap<String, Value>,
) -> Vec<Value> {
    let any =
        |patterns: &[String], name: &str| patterns.iter().any(|one| schema::matches(one, name));
    let mut told = Vec::new();
    for row in rows {
        let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
        let included = reporter.includes.as_ref().is_none_or(|patterns| any(patterns, name));
        if !included || any(&reporter.excludes, name) {
            continue;
        }
        if reporter.only_changes {
            let values = timeless(&row);
            if last.get(name) == Some(&values) {
                continue;
            }
            last.insert(name.to_owned(), values);
        }
        told.push(renamed(reporter, row));
    }
    told
}

/// With what stands before and behind every name.
fn renamed(reporter: &MetricReporter, mut row: Value) -> Value {
    let (prefix, suffix) = (&reporter.name_prefix, &reporter.name_suffix);
    if let Some(Value::String(name)) = row.get_mut("name")
        && !(prefix.is_empty() && suffix.is_empty())
    {
        *name = format!("{prefix}{name}{suffix}");
    }
    row
}

/// The values of a metric without the times at which they were read.
fn timeless(row: &Value) -> Value {
    let mut values = row.get("values").cloned().unwrap_or_default();
    for value in values.as_array_mut().into_iter().flatten() {
        if let Value::Object(fields) = value {
            fields.shift_remove("timestamp");
        }
    }
    values
}

async fn tell(kind: &ReporterKind, rows: Vec<Value>, caller: &dyn Caller) {
    match kind {
        // They have their own ways.
        ReporterKind::Prometheus { .. }
        | ReporterKind::StatsD { .. }
        | ReporterKind::Datadog { .. }
        | ReporterKind::Csv { .. } => {}
        ReporterKind::Console => rows.iter().for_each(print),
        ReporterKind::Event { event_name, broadcast, groups } => {
            let Ok(data) = Payload::from_value(&rows) else { return };
            let groups = groups.iter().map(|group| group.as_str().into()).collect();
            let options = EmitOptions { groups, ..EmitOptions::default() };
            let kind = if *broadcast { EventType::Broadcast } else { EventType::Emit };
            if let Err(error) = caller.send(kind, event_name, data, options).await {
                tracing::debug!(%error, "metrics could not be sent");
            }
        }
    }
}

/// A line for each value of a metric.
fn print(row: &Value) {
    let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
    for value in row.get("values").and_then(Value::as_array).into_iter().flatten() {
        tracing::info!("{name}{} {}", labels(value), figure(value));
    }
}

fn labels(value: &Value) -> String {
    let none = Map::new();
    let labels = value.get("labels").and_then(Value::as_object).unwrap_or(&none);
    let labels: Vec<_> = labels
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(", ")) }
}

fn figure(value: &Value) -> String {
    let Some(count) = value.get("count") else {
        return value.get("value").map_or_else(String::new, plain);
    };
    let mut text = format!("count={count}");
    for key in ["min", "mean", "max"] {
        if let Some(number) = value.get(key).and_then(Value::as_f64) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {key}={number:.3}");
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn row(name: &str, value: u32, timestamp: u32) -> Value {
        json!({"name": name, "values": [{"key": "", "value": value, "labels": {}, "timestamp": timestamp}]})
    }

    #[test]
    fn only_what_is_wanted_and_has_changed_is_told() {
        let reporter = MetricReporter {
            kind: ReporterKind::Console,
            interval: Duration::from_secs(5),
            only_changes: true,
            includes: Some(vec!["a.**".into()]),
            excludes: vec!["a.x".into()],
            name_prefix: String::new(),
            name_suffix: String::new(),
        };
        let mut last = HashMap::new();
        let names = |rows: Vec<Value>| -> Vec<String> {
            rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
        };
        let rows = |n, time| {
            vec![row("a.b", 1, time), row("a.c", n, time), row("a.x", 1, time), row("b", 1, time)]
        };
        assert_eq!(names(wanted(&reporter, rows(1, 1), &mut last)), ["a.b", "a.c"]);
        assert_eq!(names(wanted(&reporter, rows(2, 2), &mut last)), ["a.c"]);
        assert!(wanted(&reporter, rows(2, 3), &mut last).is_empty());
    }

    #[test]
    fn values_are_written_for_people() {
        let value = json!({"labels": {"action": "a.b", "caller": null}, "count": 2, "min": 1.0, "mean": 1.5, "max": 2.0});
        assert_eq!(labels(&value), "{action=a.b}");
        assert_eq!(figure(&value), "count=2 min=1.000 mean=1.500 max=2.000");
        assert_eq!(figure(&json!({"labels": {}, "value": "linux"})), "linux");
    }
}
