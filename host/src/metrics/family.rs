//! Metrics that differ by labels: one number or histogram for each set of values
//! (moleculer: src/metrics/types).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value, json};

use crate::clock::{self, Instant};
use crate::metrics::Metric;
use crate::metrics::window::Window;

/// Most sets of label values of one metric. Names come from guests and other nodes, who could make up new ones
/// without end: further sets are counted together, under empty labels.
const SERIES_MAX: usize = 10_000;

/// Between two looks at how fast a counter grows (moleculer: src/metrics/rates.js).
const RATE_INTERVAL: Duration = Duration::from_secs(5);

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// How values are spread.
    Histogram,
}

impl Kind {
    /// Moleculer's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is known of a metric before it has values.
#[derive(Debug)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its values differ by.
    pub labels: &'static [&'static str],
    /// What is counted or measured.
    pub unit: Option<&'static str>,
    /// One sentence.
    pub text: &'static str,
    /// Whether it is told how fast it grows.
    pub rate: bool,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// Nothing.
    None,
    /// A text.
    Text(Arc<str>),
    /// A number.
    Number(i64),
}

impl From<&Arc<str>> for Label {
    fn from(text: &Arc<str>) -> Self {
        Self::Text(Arc::clone(text))
    }
}

impl From<Option<&Arc<str>>> for Label {
    fn from(text: Option<&Arc<str>>) -> Self {
        text.map_or(Self::None, Self::from)
    }
}

impl Label {
    fn to_value(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Text(text) => (**text).into(),
            Self::Number(number) => (*number).into(),
        }
    }

    /// moleculer: src/metrics/types/base.js hashingLabels
    fn key(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// How histograms are made (moleculer: src/metrics/registry.js).
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramOptions {
    /// Upper bounds, rising.
    pub buckets: Vec<f64>,
    /// Parts from 0 to 1, rising.
    pub quantiles: Vec<f64>,
    /// How long a value counts for the quantiles.
    pub max_age: Duration,
    /// In how many steps it is forgotten.
    pub age_buckets: usize,
}

impl Default for HistogramOptions {
    fn default() -> Self {
        Self {
            buckets: [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000]
                .map(f64::from)
                .into(),
            quantiles: vec![0.5, 0.9, 0.95, 0.99, 0.999],
            max_age: Duration::from_secs(60),
            age_buckets: 10,
        }
    }
}

/// One metric with all its values.
#[derive(Debug)]
pub struct Family {
    description: &'static Description,
    options: Arc<HistogramOptions>,
    series: RwLock<HashMap<Vec<Label>, Arc<Series>>>,
}

/// The values under one set of labels.
#[derive(Debug)]
pub struct Series {
    number: Metric,
    histogram: Option<Mutex<Histogram>>,
    rate: Option<Mutex<Rate>>,
}

#[derive(Debug)]
struct Histogram {
    count: u64,
    sum: f64,
    last: Option<f64>,
    /// How many values were at most as large as each bound.
    buckets: Vec<u64>,
    window: Window,
}

/// How many more there were in a minute, evened out.
#[derive(Debug)]
struct Rate {
    per_minute: f64,
    seen: f64,
    at: Instant,
}

impl Family {
    pub(super) fn new(description: &'static Description, options: Arc<HistogramOptions>) -> Self {
        Self { description, options, series: RwLock::default() }
    }

    /// The values under these labels, in the order of the description.
    #[must_use]
    pub fn with(&self, labels: Vec<Label>) -> Arc<Series> {
        if let Some(series) = self.series.read().get(&labels) {
            return Arc::clone(series);
        }
        let mut all = self.series.write();
        let full = all.len() >= SERIES_MAX && !all.contains_key(&labels);
        let labels = if full { vec![Label::None; labels.len()] } else { labels };
        Arc::clone(all.entry(labels).or_insert_with(|| Arc::new(self.empty())))
    }

    fn empty(&self) -> Series {
        let options = &self.options;
        let slices = u32::try_from(options.age_buckets.max(1)).unwrap_or(1);
        let histogram = || Histogram {
            count: 0,
            sum: 0.0,
            last: None,
            buckets: vec![0; options.buckets.len()],
            window: Window::new(options.max_age / slices, options.age_buckets.max(1)),
        };
        let rate = || Rate { per_minute: 0.0, seen: 0.0, at: clock::now() };
        Series {
            number: Metric::default(),
            histogram: (self.description.kind == Kind::Histogram).then(|| Mutex::new(histogram())),
            rate: self.description.rate.then(|| Mutex::new(rate())),
        }
    }

    /// The metric as Moleculer shows it (moleculer: src/metrics/types/base.js toObject).
    #[must_use]
    pub fn to_value(&self) -> Value {
        let description = self.description;
        let all: Vec<_> = {
            let series = self.series.read();
            series.iter().map(|(labels, one)| (labels.clone(), Arc::clone(one))).collect()
        };
        let mut values: Vec<_> =
            all.iter().map(|(labels, series)| self.show(labels, series)).collect();
        values.sort_by_cached_key(|value| value.get("key").map(Value::to_string));
        json!({
            "type": description.kind.as_str(),
            "name": description.name,
            "description": description.text,
            "labelNames": description.labels,
            "unit": description.unit,
            "values": values,
        })
    }

    fn show(&self, labels: &[Label], series: &Series) -> Value {
        let key: Vec<_> = labels.iter().map(Label::key).collect();
        let names = description_names(self.description);
        let labels: Map<_, _> = names.zip(labels.iter().map(Label::to_value)).collect();
        let mut shown = Map::new();
        shown.insert("key".into(), key.join("|").into());
        shown.insert("labels".into(), labels.into());
        let now = clock::now();
        let mut total = self.count_of(series);
        match &series.histogram {
            None => {
                shown.insert("value".into(), series.number.get().into());
            }
            Some(histogram) => {
                let mut histogram = histogram.lock();
                histogram.window.turn(now);
                histogram.show(&self.options, &mut shown);
                total = precise(histogram.count);
            }
        }
        if let Some(rate) = &series.rate {
            shown.insert("rate".into(), rate.lock().look(total, now).into());
        }
        shown.insert("timestamp".into(), clock::unix_ms().into());
        Value::Object(shown)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
    fn count_of(&self, series: &Series) -> f64 {
        series.number.get() as f64
    }
}

fn description_names(description: &Description) -> impl Iterator<Item = String> {
    description.labels.iter().map(|name| (*name).to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
fn precise(count: u64) -> f64 {
    count as f64
}

impl Series {
    /// The number; of a histogram it means nothing.
    #[must_use]
    pub fn number(&self) -> &Metric {
        &self.number
    }

    /// Adds a value to a histogram.
    pub fn observe(&self, bounds: &[f64], value: f64, now: Instant) {
        let Some(histogram) = &self.histogram else { return };
        let mut histogram = histogram.lock();
        histogram.count += 1;
        histogram.sum += value;
        histogram.last = Some(value);
        histogram.window.add(now, value);
        for (bucket, bound) in histogram.buckets.iter_mut().zip(bounds) {
            *bucket += u64::from(value <= *bound);
        }
    }
}

impl Histogram {
    fn show(&self, options: &HistogramOptions, shown: &mut Map<String, Value>) {
        shown.insert("count".into(), self.count.into());
        shown.insert("sum".into(), self.sum.into());
        shown.insert("lastValue".into(), self.last.into());
        let bounds = options.buckets.iter().zip(&self.buckets);
        let buckets: Map<_, _> =
            bounds.map(|(bound, count)| (bound.to_string(), (*count).into())).collect();
        shown.insert("buckets".into(), buckets.into());
        let summary = self.window.summary();
        let variance = summary.and_then(|summary| summary.variance);
        shown.insert("min".into(), summary.map(|summary| summary.min).into());
        shown.insert("mean".into(), summary.map(|summary| summary.mean).into());
        shown.insert("variance".into(), variance.into());
        shown.insert("stdDev".into(), variance.map(f64::sqrt).into());
        shown.insert("max".into(), summary.map(|summary| summary.max).into());
        let quantile = |part: &f64| (part.to_string(), self.window.quantile(*part).into());
        let quantiles: Map<_, _> = options.quantiles.iter().map(quantile).collect();
        shown.insert("quantiles".into(), quantiles.into());
    }
}

impl Rate {
    /// What it is now; moved on when somebody looks and enough time has passed.
    fn look(&mut self, total: f64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed >= RATE_INTERVAL {
            let minute = (total - self.seen) / elapsed.as_secs_f64() * 60.0;
            let rate = self.per_minute + (minute - self.per_minute) * 0.5;
            self.per_minute = if rate.abs() < 0.05 { 0.0 } else { rate };
            self.seen = total;
            self.at = now;
        }
        self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TIME: Description = Description {
        name: "time",
        kind: Kind::Histogram,
        labels: &["action", "caller"],
        unit: Some("millisecond"),
        text: "How long it took.",
        rate: false,
    };
    static TOTAL: Description = Description {
        name: "total",
        kind: Kind::Counter,
        labels: &["event"],
        unit: None,
        text: "How many.",
        rate: true,
    };

    #[tokio::test(start_paused = true)]
    async fn a_histogram_has_moleculer_s_fields() {
        let options = Arc::new(HistogramOptions::default());
        let family = Family::new(&TIME, Arc::clone(&options));
        let series = family.with(vec![Label::Text("a.b".into()), Label::None]);
        for n in 1..=100 {
            series.observe(&options.buckets, f64::from(n), clock::now());
        }
        let row = family.to_value();
        assert_eq!(
            (&row["type"], &row["labelNames"]),
            (&json!("histogram"), &json!(["action", "caller"]))
        );
        let value = &row["values"][0];
        assert_eq!(value["key"], "\"a.b\"|");
        assert_eq!(value["labels"], json!({"action": "a.b", "caller": null}));
        assert_eq!((&value["count"], &value["sum"]), (&json!(100), &json!(5050.0)));
        assert_eq!(value["buckets"]["10"], 10);
        assert_eq!(
            (&value["min"], &value["max"], &value["mean"]),
            (&json!(1.0), &json!(100.0), &json!(50.5))
        );
        assert!((value["variance"].as_f64().unwrap() - 841.666).abs() < 0.01);
        let p90 = value["quantiles"]["0.9"].as_f64().unwrap();
        assert!((p90 / 90.0 - 1.0).abs() < 0.06, "{p90}");
        tokio::time::advance(Duration::from_secs(61)).await;
        let later = &family.to_value()["values"][0];
        assert_eq!((&later["count"], &later["quantiles"]["0.9"]), (&json!(100), &Value::Null));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_told_per_minute() {
        let family = Family::new(&TOTAL, Arc::default());
        let series = family.with(vec![Label::Text("e".into())]);
        let rate = || family.to_value()["values"][0]["rate"].as_f64().unwrap();
        series.number().add(10);
        assert!(rate().abs() < f64::EPSILON);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!((rate() - 30.0).abs() < 0.01);
        assert!((rate() - 30.0).abs() < 0.01, "looking changes nothing");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!((rate() - 15.0).abs() < 0.01);
    }

    #[test]
    fn made_up_labels_are_counted_together_beyond_the_limit() {
        let family = Family::new(&TOTAL, Arc::default());
        for n in 0..SERIES_MAX + 5 {
            family.with(vec![Label::Text(format!("e{n}").into())]).number().increment();
        }
        assert_eq!(family.series.read().len(), SERIES_MAX + 1);
        assert_eq!(family.with(vec![Label::None]).number().get(), 5);
    }
}
