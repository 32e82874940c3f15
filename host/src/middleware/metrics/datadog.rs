//! Sends the metrics to Datadog's API for series (moleculer: src/metrics/reporters/datadog.js).
//!
//! Names, types and tags are Moleculer's. The key goes in a header instead of the address, which servers on the way
//! write into their logs; a figure that is none (a quantile without values) is left out.

use serde_json::{Value, json};

use crate::clock;
use crate::config::HttpUrl;
use crate::middleware::delivery::{Delivery, Outcome};

/// Values for one request, which the API bounds in bytes.
const REQUEST_SERIES: usize = 2_000;

/// The parts of a histogram behind its buckets and quantiles, each under a name of its own.
const PARTS: [(&str, &str); 7] = [
    ("sum", "sum"),
    ("count", "count"),
    ("min", "min"),
    ("mean", "mean"),
    ("variance", "variance"),
    ("stddev", "stdDev"),
    ("max", "max"),
];

/// Where the figures go, and whose they are.
pub(super) struct Account {
    delivery: Delivery,
    host: String,
    labels: Vec<(String, String)>,
}

impl Account {
    /// The account of a key.
    pub(super) fn new(
        url: HttpUrl,
        api_key: &str,
        host: String,
        labels: Vec<(String, String)>,
    ) -> Self {
        let headers = [("DD-API-KEY".to_owned(), api_key.to_owned())];
        let delivery = Delivery::new("metrics", "Datadog", url, &headers, "application/json");
        Self { delivery, host, labels }
    }

    /// Sends everything that is there. What is lost is lost: the next report has newer figures.
    pub(super) async fn tell(&mut self, rows: &[Value]) {
        let series = self.series(rows, clock::unix_ms() / 1_000);
        for part in series.chunks(REQUEST_SERIES) {
            let body = json!({"series": part}).to_string();
            if self.delivery.send(body.into()).await == Outcome::Away {
                return;
            }
        }
    }

    fn series(&self, rows: &[Value], now: u64) -> Vec<Value> {
        let mut series = Vec::new();
        for row in rows {
            let field = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let name = field("name");
            // One value for each moment would be one series for each moment.
            if name.starts_with("os.datetime") {
                continue;
            }
            for value in row.get("values").and_then(Value::as_array).into_iter().flatten() {
                let tags = self.tags(value);
                let mut point = |name: String, kind: &str, figure: Option<&Value>| {
                    if let Some(figure) = figure.filter(|figure| figure.is_number()) {
                        series
                            .push(json!({"metric": name, "type": kind, "points": [[now, figure]],
                            "tags": tags, "host": self.host}));
                    }
                };
                match field("type") {
                    "counter" | "gauge" => point(name.to_owned(), "gauge", value.get("value")),
                    "histogram" => histogram(name, value, &mut point),
                    _ => {}
                }
            }
        }
        series
    }

    /// `key:value` for each label; of two with one name the more special one counts.
    fn tags(&self, value: &Value) -> Vec<String> {
        let own = value.get("labels").and_then(Value::as_object);
        let is_own = |key: &str| own.is_some_and(|own| own.contains_key(key));
        let common = self.labels.iter().filter(|(key, _)| !is_own(key));
        let common = common.map(|(key, value)| (key, value.clone()));
        let own = own.into_iter().flatten().map(|(key, value)| {
            (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        });
        let tag = |(key, value): (&String, String)| {
            format!("{key}:{}", value.replace('\\', "\\\\").replace('"', "\\\""))
        };
        common.chain(own).map(tag).collect()
    }
}

fn histogram(name: &str, value: &Value, point: &mut impl FnMut(String, &str, Option<&Value>)) {
    let table = |key: &str| value.get(key).and_then(Value::as_object);
    for (bound, count) in table("buckets").into_iter().flatten() {
        point(format!("{name}.bucket_{bound}"), "rate", Some(count));
    }
    point(format!("{name}.bucket_inf"), "rate", value.get("count"));
    for (part, figure) in table("quantiles").into_iter().flatten() {
        point(format!("{name}.q{part}"), "rate", Some(figure));
    }
    for (suffix, key) in PARTS {
        point(format!("{name}.{suffix}"), "rate", value.get(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_those_of_moleculer() {
        let labels = vec![("nodeID".to_owned(), "n-1".to_owned())];
        let account = Account::new("http://h".parse().unwrap(), "k", "here".into(), labels);
        let rows = [
            json!({"type": "counter", "name": "c", "values": [
                {"labels": {"action": "a\"b", "caller": null, "level": 1}, "value": 3}]}),
            json!({"type": "info", "name": "i", "values": [{"labels": {}, "value": "rust"}]}),
            json!({"type": "gauge", "name": "os.datetime.unix", "values": [{"labels": {}, "value": 1}]}),
            json!({"type": "histogram", "name": "h", "values": [{"labels": {"nodeID": "x"}, "count": 2,
                "sum": 3.5, "buckets": {"1": 1}, "quantiles": {"0.5": 1.5, "0.9": null}, "min": 1.5,
                "mean": 1.75, "variance": null, "stdDev": null, "max": 2.0}]}),
        ];
        let series = account.series(&rows, 17);
        let tags = ["nodeID:n-1", "action:a\\\"b", "caller:null", "level:1"];
        assert_eq!(
            series[0],
            json!({"metric": "c", "type": "gauge", "points": [[17, 3]], "tags": tags, "host": "here"})
        );
        let names: Vec<_> = series[1..].iter().map(|one| one["metric"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "h.bucket_1",
                "h.bucket_inf",
                "h.q0.5",
                "h.sum",
                "h.count",
                "h.min",
                "h.mean",
                "h.max"
            ]
        );
        assert!(
            series[1..]
                .iter()
                .all(|one| one["type"] == "rate" && one["tags"] == json!(["nodeID:x"]))
        );
    }
}
