//! Shows the metrics to whoever asks for them by HTTP, in the text format of Prometheus
//! (moleculer: src/metrics/reporters/prometheus.js).
//!
//! A connection is one question and one answer. How many are open, how much is read and how long that may
//! take is bounded; nothing but the one path is there.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::clock;
use crate::middleware::metrics::reporter::Rows;
use crate::task::{self, CancellationToken};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// Bytes of a question.
const HEAD_MAX: usize = 8 << 10;

/// How long a question and its answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be accepted, for lack of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where it listens, and what it says of this node.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    /// Stand at every value.
    pub(super) labels: Vec<(String, String)>,
}

/// Answers until it is cancelled.
pub(super) async fn serve(place: Place, rows: Rows, cancel: CancellationToken) {
    let (host, port) = (&*place.host, place.port);
    let listener = match TcpListener::bind((host, port)).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                %error,
                "the Prometheus reporter cannot listen on {host}:{port}; give metrics.reporter another port"
            );
            return;
        }
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("Prometheus metric reporter listening on http://{address}{}", place.path);
    }
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let place = Arc::new(place);
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (place, rows) = (Arc::clone(&place), Arc::clone(&rows));
        task::spawn("prometheus answer", &cancel, async move {
            // Whoever asks too slowly, or goes away, gets nothing.
            let _ = clock::within(clock::now() + TIMEOUT, answer(socket, &place, &rows)).await;
            drop(permit);
        });
    }
}

async fn answer(mut socket: TcpStream, place: &Place, rows: &Rows) -> std::io::Result<()> {
    let (status, body) = match question(&mut socket).await {
        None => ("400 Bad Request", String::new()),
        Some((method, path)) => match (&*method, path.split('?').next() == Some(&*place.path)) {
            ("GET" | "HEAD", true) => ("200 OK", text(&rows(), &place.labels)),
            (_, true) => ("405 Method Not Allowed", String::new()),
            (_, false) => ("404 Not Found", String::new()),
        },
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}

/// Method and path; `None` for what is no question of HTTP.
async fn question(source: &mut (impl AsyncRead + Unpin)) -> Option<(String, String)> {
    let mut head = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        if request.parse(&head).ok()?.is_complete() {
            return Some((request.method?.to_owned(), request.path?.to_owned()));
        }
        if head.len() >= HEAD_MAX || source.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
}

/// All metrics, as Moleculer writes them.
pub(super) fn text(rows: &[Value], labels: &[(String, String)]) -> String {
    let mut out = String::new();
    for row in rows {
        // One value for each moment would be one series for each moment.
        let field = |key: &str| row.get(key).and_then(Value::as_str);
        let name = field("name").unwrap_or_default();
        if name.starts_with("os.datetime") {
            continue;
        }
        let written = name_of(name);
        let about = match (field("description"), field("unit")) {
            (Some(text), _) => text.to_owned(),
            (None, Some(unit)) => format!("{name} ({unit})"),
            (None, None) => name.to_owned(),
        };
        let kind = field("type").unwrap_or("gauge");
        let values = row.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if values.is_empty() {
            continue;
        }
        let shown = if kind == "info" { "gauge" } else { kind };
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "# HELP {written} {}", about.replace('\\', "\\\\").replace('\n', "\\n"));
        let _ = writeln!(out, "# TYPE {written} {shown}");
        for value in values {
            Line { out: &mut out, name: &written, common: labels, value }.write(kind);
        }
        out.push('\n');
    }
    out
}

/// Letters, digits and `_`, and no digit at the beginning.
fn name_of(name: &str) -> String {
    let fits = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let mut written: String = name.chars().map(fits).collect();
    if written.starts_with(|letter: char| letter.is_ascii_digit()) {
        written.insert(0, '_');
    }
    written
}

/// One value of a metric.
struct Line<'a> {
    out: &'a mut String,
    name: &'a str,
    common: &'a [(String, String)],
    value: &'a Value,
}

impl Line<'_> {
    fn write(&mut self, kind: &str) {
        match kind {
            "histogram" => self.histogram(),
            "info" => {
                let shown = self.value.get("value").map_or_else(String::new, plain);
                self.put("", Some(("value", &shown)), "1");
            }
            _ => self.field("", "value"),
        }
        if let Some(rate) = self.value.get("rate").filter(|rate| rate.as_f64() != Some(0.0)) {
            self.put("_rate", None, &figure(Some(rate)));
        }
    }

    fn histogram(&mut self) {
        let table = |key: &str| self.value.get(key).and_then(Value::as_object).cloned();
        for (bound, count) in table("buckets").unwrap_or_default() {
            self.put("_bucket", Some(("le", &bound)), &figure(Some(&count)));
        }
        self.put("_bucket", Some(("le", "+Inf")), &figure(self.value.get("count")));
        for (part, number) in table("quantiles").unwrap_or_default() {
            self.put("", Some(("quantile", &part)), &figure(Some(&number)));
        }
        for (suffix, key) in [
            ("_sum", "sum"),
            ("_count", "count"),
            ("_min", "min"),
            ("_mean", "mean"),
            ("_variance", "variance"),
            ("_stddev", "stdDev"),
            ("_max", "max"),
        ] {
            self.field(suffix, key);
        }
    }

    fn field(&mut self, suffix: &str, key: &str) {
        self.put(suffix, None, &figure(self.value.get(key)));
    }

    fn put(&mut self, suffix: &str, extra: Option<(&str, &str)>, figure: &str) {
        let none = Map::new();
        let own = self.value.get("labels").and_then(Value::as_object).unwrap_or(&none);
        // Of two with one name the more special one counts.
        let is_own =
            |key: &str| own.contains_key(key) || extra.is_some_and(|(name, _)| name == key);
        let common = self.common.iter().filter(|(key, _)| !is_own(key));
        let common = common.map(|(key, value)| (key.as_str(), value.clone()));
        let own = own.iter().map(|(key, value)| (key.as_str(), plain(value)));
        let extra = extra.map(|(key, value)| (key, value.to_owned()));
        let labels: Vec<_> = common
            .chain(own)
            .chain(extra)
            .map(|(key, value)| format!("{}=\"{}\"", name_of(key), escaped(&value)))
            .collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.out, "{}{suffix}{labels} {figure}", self.name);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as it is, and what is none as Prometheus calls it.
fn figure(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(on)) => u8::from(*on).to_string(),
        _ => "NaN".into(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_written_as_moleculer_writes_them() {
        let rows = [
            json!({"type": "counter", "name": "moleculer.request.total", "description": "Number of requests",
                "values": [{"labels": {"action": "a\"b", "caller": null}, "value": 3, "rate": 1.5}]}),
            json!({"type": "info", "name": "node.type", "description": null, "unit": null,
                "values": [{"labels": {}, "value": "rust"}]}),
            json!({"type": "histogram", "name": "a-b.time", "unit": "millisecond", "values": [{"labels": {},
                "count": 2, "sum": 3.5, "buckets": {"1": 1, "5": 2}, "quantiles": {"0.5": 1.5}, "min": 1.5,
                "mean": 1.75, "variance": null, "stdDev": null, "max": 2.0}]}),
            json!({"type": "gauge", "name": "os.datetime.unix", "values": [{"labels": {}, "value": 1}]}),
        ];
        let labels = [("nodeID".to_owned(), "n-1".to_owned())];
        let expected = r#"# HELP moleculer_request_total Number of requests
# TYPE moleculer_request_total counter
moleculer_request_total{nodeID="n-1",action="a\"b",caller="null"} 3
moleculer_request_total_rate{nodeID="n-1",action="a\"b",caller="null"} 1.5

# HELP node_type node.type
# TYPE node_type gauge
node_type{nodeID="n-1",value="rust"} 1

# HELP a_b_time a-b.time (millisecond)
# TYPE a_b_time histogram
a_b_time_bucket{nodeID="n-1",le="1"} 1
a_b_time_bucket{nodeID="n-1",le="5"} 2
a_b_time_bucket{nodeID="n-1",le="+Inf"} 2
a_b_time{nodeID="n-1",quantile="0.5"} 1.5
a_b_time_sum{nodeID="n-1"} 3.5
a_b_time_count{nodeID="n-1"} 2
a_b_time_min{nodeID="n-1"} 1.5
a_b_time_mean{nodeID="n-1"} 1.75
a_b_time_variance{nodeID="n-1"} NaN
a_b_time_stddev{nodeID="n-1"} NaN
a_b_time_max{nodeID="n-1"} 2.0

"#;
        assert_eq!(text(&rows, &labels), expected);
    }

    #[tokio::test]
    async fn questions_are_read_within_bounds() {
        let ask = async |head: &[u8]| question(&mut &*head).await;
        let get = ask(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(get, Some(("GET".into(), "/metrics".into())));
        assert_eq!(ask(b"GET /metrics HTTP/1.1\r\n").await, None);
        assert_eq!(ask(b"\0\0\0").await, None);
        let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &vec![b'x'; 4 * HEAD_MAX]].concat();
        assert_eq!(ask(&endless).await, None);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
        assert_eq!(ask(many.as_bytes()).await, None);
    }
}
