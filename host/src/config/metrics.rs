//! Section `metrics`: whether calls and events are measured, and who is told
//! (moleculer: src/metrics/registry.js).

use std::path::PathBuf;
use std::time::Duration;

use crate::config::HttpUrl;

/// Options of the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Measure calls and events; `$node.metrics` answers only then. false
    pub enabled: bool,
    /// Who is told regularly. None
    pub reporters: Vec<MetricReporter>,
    /// Show the figures of the process and the machine as well. true
    pub collect_process_metrics: bool,
    /// Upper bounds of histograms, in milliseconds. 1, 5, 10, 25, 50, 100, 250, 500, 1 000, 2 500, 5 000, 10 000
    pub default_buckets: Vec<f64>,
    /// Parts from 0 to 1 for which histograms tell a value. 0.5, 0.9, 0.95, 0.99, 0.999
    pub default_quantiles: Vec<f64>,
    /// How long a value counts for quantiles. 60 s
    pub default_max_age: Duration,
    /// In how many steps it is forgotten. 10
    pub default_age_buckets: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: false,
            reporters: Vec::new(),
            collect_process_metrics: true,
            default_buckets: [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000]
                .map(f64::from)
                .into(),
            default_quantiles: vec![0.5, 0.9, 0.95, 0.99, 0.999],
            default_max_age: Duration::from_secs(60),
            default_age_buckets: 10,
        }
    }
}

/// Somebody who is told of the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricReporter {
    /// Where to.
    pub kind: ReporterKind,
    /// Between two reports. 5 s
    pub interval: Duration,
    /// Only metrics that have changed since the last report. true for `Console`, false for `Event`
    pub only_changes: bool,
    /// Only metrics whose names match one of these patterns. All
    pub includes: Option<Vec<String>>,
    /// No metrics whose names match one of these patterns. None
    pub excludes: Vec<String>,
    /// Stands before every name. Nothing
    pub name_prefix: String,
    /// Stands behind every name. Nothing
    pub name_suffix: String,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq)]
pub enum ReporterKind {
    /// Into the log.
    Console,
    /// An event with a list of metrics.
    Event {
        /// Its name. `$metrics.snapshot`
        event_name: String,
        /// Send it to all nodes. false
        broadcast: bool,
        /// Only to these groups. None
        groups: Vec<String>,
    },
    /// Prometheus, which comes and asks by HTTP.
    Prometheus {
        /// Where to listen. 0.0.0.0
        host: String,
        /// 3030
        port: u16,
        /// `/metrics`
        path: String,
        /// Stand at every value; `None` for namespace and node ID.
        default_labels: Option<Vec<(String, String)>>,
    },
    /// A StatsD server.
    StatsD {
        /// localhost
        host: String,
        /// 8125
        port: u16,
        /// Bytes of a datagram. 1300
        payload_max: usize,
    },
    /// Datadog's API for series.
    Datadog {
        /// With version and path, without a key. `https://api.datadoghq.com/api/v1/series`
        url: HttpUrl,
        /// The API key.
        api_key: String,
        /// Whose figures they are; `None` for the name of this host.
        host: Option<String>,
        /// Stand at every value; `None` for namespace and node ID.
        default_labels: Option<Vec<(String, String)>>,
    },
    /// Files with a row for each change.
    Csv {
        /// `./reports/metrics`
        folder: PathBuf,
        /// Between fields. `,`
        delimiter: String,
        /// Behind each row. A line feed
        row_delimiter: String,
        /// A file for each set of labels, instead of one for each metric. false
        by_label: bool,
        /// Only metrics of these types. All
        types: Option<Vec<String>>,
    },
}

impl ReporterKind {
    /// Its name in the options.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console => "Console",
            Self::Event { .. } => "Event",
            Self::Prometheus { .. } => "Prometheus",
            Self::StatsD { .. } => "StatsD",
            Self::Datadog { .. } => "Datadog",
            Self::Csv { .. } => "CSV",
        }
    }
}
