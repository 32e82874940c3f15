//! Writes the metrics into CSV files, a row for each value that has changed
//! (moleculer: src/metrics/reporters/csv.js).
//!
//! A file is for one metric, or for one metric with one set of labels. Its first row names the columns. Fields
//! in which a delimiter stands are in quotes; Moleculer writes them as they are, so that their rows fall apart.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;

/// Characters that are left out of the names of files.
const LEFT_OUT: &str = "|&:;$%@\"<>()+,/?\\";

/// The files and how they are written.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) delimiter: String,
    pub(super) row_delimiter: String,
    /// A file for each set of labels.
    pub(super) by_label: bool,
    /// Only metrics of these types.
    pub(super) types: Option<Vec<String>>,
    /// What was written last of each value.
    pub(super) last: HashMap<String, Value>,
    /// True while it fails, which is said once.
    pub(super) failing: bool,
}

/// What goes into one file: its first row, and the new ones.
#[derive(Debug, Default, PartialEq)]
struct Rows {
    header: String,
    rows: String,
}

impl Files {
    /// Writes what has changed since the last time.
    pub(super) async fn tell(&mut self, metrics: &[Value]) {
        let mut failure = None;
        for (path, rows) in self.changed(metrics) {
            if let Err(error) = append(&path, &rows).await {
                failure = Some((path, error));
            }
        }
        let was_failing = std::mem::replace(&mut self.failing, failure.is_some());
        if let Some((path, error)) = failure.filter(|_| !was_failing) {
            tracing::warn!(file = %path.display(), %error, "metrics cannot be written");
        }
    }

    fn changed(&mut self, metrics: &[Value]) -> BTreeMap<PathBuf, Rows> {
        let mut files: BTreeMap<PathBuf, Rows> = BTreeMap::new();
        for metric in metrics {
            let kind = text(metric, "type");
            if self.types.as_ref().is_some_and(|types| !types.iter().any(|one| one == kind)) {
                continue;
            }
            for value in metric.get("values").and_then(Value::as_array).into_iter().flatten() {
                if !self.has_changed(text(metric, "name"), value) {
                    continue;
                }
                let (header, row) = columns(metric, value).into_iter().unzip();
                let file = files.entry(self.path(metric, value)).or_default();
                file.header = self.row(header);
                file.rows.push_str(&self.row(row));
            }
        }
        files
    }

    /// A value that nobody has set yet has not changed.
    fn has_changed(&mut self, name: &str, value: &Value) -> bool {
        let key = format!("{name}|{}", label_text(value));
        let now = value.get("count").or_else(|| value.get("value"));
        let Some(now) = now.filter(|now| !now.is_null()) else { return false };
        match self.last.insert(key, now.clone()) {
            Some(last) => last != *now,
            None => now.as_f64() != Some(0.0),
        }
    }

    fn path(&self, metric: &Value, value: &Value) -> PathBuf {
        let name = file_name(text(metric, "name"));
        if !self.by_label {
            return self.folder.join(format!("{name}.csv"));
        }
        let labels = label_text(value);
        let file =
            if labels.is_empty() { format!("{name}.csv") } else { format!("{name}--{labels}.csv") };
        self.folder.join(name).join(file)
    }

    fn row(&self, fields: Vec<String>) -> String {
        let quoted = |field: String| {
            let special = [self.delimiter.as_str(), self.row_delimiter.as_str(), "\"", "\n", "\r"];
            match special.iter().any(|special| field.contains(special)) {
                true => format!("\"{}\"", field.replace('"', "\"\"")),
                false => field,
            }
        };
        let fields: Vec<_> = fields.into_iter().map(quoted).collect();
        fields.join(&self.delimiter) + &self.row_delimiter
    }
}

async fn append(path: &Path, rows: &Rows) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut file = tokio::fs::OpenOptions::new().append(true).create(true).open(path).await?;
    if file.metadata().await?.len() == 0 {
        file.write_all(rows.header.as_bytes()).await?;
    }
    file.write_all(rows.rows.as_bytes()).await?;
    file.flush().await
}

/// The columns of a value with their names.
fn columns(metric: &Value, value: &Value) -> Vec<(String, String)> {
    let mut columns = vec![
        ("Timestamp".to_owned(), field(value, "timestamp")),
        ("Metric".to_owned(), text(metric, "name").to_owned()),
    ];
    let labels = value.get("labels");
    for label in metric.get("labelNames").and_then(Value::as_array).into_iter().flatten() {
        let label = label.as_str().unwrap_or_default();
        let of = labels.map_or_else(String::new, |labels| field(labels, label));
        columns.push((format!("Label {label}"), of));
    }
    let mut add = |name: &str, key: &str| columns.push((name.to_owned(), field(value, key)));
    if value.get("count").is_none() {
        add("Value", "value");
        return columns;
    }
    add("Count", "count");
    add("Sum", "sum");
    add_all(&mut columns, "Bucket", value.get("buckets"));
    if let Some(quantiles) = value.get("quantiles") {
        for (name, key) in [
            ("Min", "min"),
            ("Mean", "mean"),
            ("Var", "variance"),
            ("StdDev", "stdDev"),
            ("Max", "max"),
        ] {
            columns.push((name.to_owned(), field(value, key)));
        }
        add_all(&mut columns, "Quantile", Some(quantiles));
    }
    columns
}

fn add_all(columns: &mut Vec<(String, String)>, name: &str, values: Option<&Value>) {
    let values = values.and_then(Value::as_object).into_iter().flatten();
    columns.extend(values.map(|(key, value)| (format!("{name}_{key}"), plain(value))));
}

/// Labels in the name of a file. In Moleculer, what is not there is `null`.
fn label_text(value: &Value) -> String {
    let none = Map::new();
    let labels = value.get("labels").and_then(Value::as_object).unwrap_or(&none);
    let labels = labels.iter().map(|(key, value)| match value {
        Value::Null => format!("{key}=null"),
        value => format!("{key}={}", plain(value)),
    });
    file_name(&labels.collect::<Vec<_>>().join("--"))
}

fn file_name(text: &str) -> String {
    let kept = text.chars().filter(|c| !LEFT_OUT.contains(*c) && !c.is_control());
    kept.map(|c| if c.is_whitespace() { '_' } else { c }).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn field(value: &Value, key: &str) -> String {
    value.get(key).map_or_else(String::new, plain)
}

/// As JavaScript writes it: nothing for null, and no decimal point behind which there is nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(by_label: bool) -> Files {
        Files {
            folder: "/reports".into(),
            delimiter: ",".into(),
            row_delimiter: "\n".into(),
            by_label,
            types: None,
            last: HashMap::new(),
            failing: false,
        }
    }

    fn counter(value: u32, action: &str) -> Value {
        json!({"type": "counter", "name": "request.total", "labelNames": ["action", "caller"], "values": [
            {"key": "", "value": value, "labels": {"action": action, "caller": null}, "timestamp": 7}]})
    }

    // Compared with the rows that moleculer: src/metrics/reporters/csv.js writes.
    #[test]
    fn rows_are_those_of_moleculer() {
        let histogram = json!({"type": "histogram", "name": "time", "labelNames": [], "values": [
            {"key": "", "count": 2, "sum": 3.5, "lastValue": 1.0, "buckets": {"1": 1, "2.5": 2}, "min": 1.0,
             "mean": 1.75, "variance": null, "stdDev": null, "max": 2.5, "quantiles": {"0.5": 1.0},
             "labels": {}, "timestamp": 9}]});
        let written = files(false).changed(&[counter(3, "a.x"), histogram]);
        let rows = |name: &str| &written[Path::new(name)];
        assert_eq!(
            *rows("/reports/request.total.csv"),
            Rows {
                header: "Timestamp,Metric,Label action,Label caller,Value\n".into(),
                rows: "7,request.total,a.x,,3\n".into()
            }
        );
        assert_eq!(
            *rows("/reports/time.csv"),
            Rows {
                header: "Timestamp,Metric,Count,Sum,Bucket_1,Bucket_2.5,Min,Mean,Var,StdDev,Max,Quantile_0.5\n"
                    .into(),
                rows: "9,time,2,3.5,1,2,1,1.75,,,2.5,1\n".into()
            }
        );
    }

    #[test]
    fn only_what_has_changed_is_written_and_each_file_is_within_the_folder() {
        let mut files = files(true);
        let first = files.changed(&[counter(1, "a/../b x,\"y\"")]);
        let path = "/reports/request.total/request.total--action=a..b_xy--caller=null.csv";
        assert_eq!(first.keys().collect::<Vec<_>>(), [Path::new(path)]);
        assert_eq!(first[Path::new(path)].rows, "7,request.total,\"a/../b x,\"\"y\"\"\",,1\n");
        assert!(files.changed(&[counter(1, "a/../b x,\"y\"")]).is_empty());
        assert_eq!(files.changed(&[counter(2, "a/../b x,\"y\"")]).len(), 1);
        assert!(files.changed(&[counter(0, "b")]).is_empty(), "nobody has counted yet");
        files.types = Some(vec!["gauge".into()]);
        assert!(files.changed(&[counter(5, "b")]).is_empty());
    }
}
