//! Sends the metrics to a StatsD server (moleculer: src/metrics/reporters/statsd.js).
//!
//! Here counters are sent as what they grew by since the last report, which is what a server adds up;
//! Moleculer sends their whole value again each time. Labels are tags as Datadog writes them.

use std::collections::HashMap;

use serde_json::Value;
use tokio::net::UdpSocket;

/// Where the server is, and how it is spoken to.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// Bytes of a datagram.
    pub(super) payload_max: usize,
    /// Counters and histograms as they were told last.
    pub(super) last: HashMap<String, i64>,
}

impl Server {
    /// Sends everything that is there. What is lost on the way is lost.
    pub(super) async fn tell(&mut self, rows: &[Value]) {
        let lines = self.lines(rows);
        if let Err(error) = self.send(&lines).await {
            tracing::warn!(%error, "metrics cannot be sent to StatsD on {}:{}", self.host, self.port);
        }
    }

    async fn send(&self, lines: &[String]) -> std::io::Result<()> {
        let place = (self.host.as_str(), self.port);
        let address = tokio::net::lookup_host(place).await?.next();
        let address = address.ok_or_else(|| std::io::Error::other("the host has no address"))?;
        let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(own).await?;
        for datagram in datagrams(lines, self.payload_max) {
            socket.send_to(datagram.as_bytes(), address).await?;
        }
        Ok(())
    }

    fn lines(&mut self, rows: &[Value]) -> Vec<String> {
        let mut lines = Vec::new();
        for row in rows {
            let field = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let name: String = field("name").replace([':', '|', '@', '\n'], "_");
            for value in row.get("values").and_then(Value::as_array).into_iter().flatten() {
                self.line(field("type"), &name, value, &mut lines);
            }
        }
        lines
    }

    fn line(&mut self, kind: &str, name: &str, value: &Value, lines: &mut Vec<String>) {
        let tags = tags(value);
        let number = value.get("value");
        match kind {
            "counter" => {
                let more = self.growth(name, &tags, number.and_then(Value::as_i64));
                if more != 0 {
                    lines.push(format!("{name}:{more}|c{tags}"));
                }
            }
            "histogram" => {
                let last = value.get("lastValue").and_then(Value::as_f64);
                let count = value.get("count").and_then(Value::as_i64);
                if self.growth(name, &tags, count) != 0
                    && let Some(last) = last
                {
                    lines.push(format!("{name}:{last}|ms{tags}"));
                }
            }
            "info" => {
                let text = number.map_or_else(String::new, |value| match value.as_str() {
                    Some(text) => format!("\"{}\"", text.replace([':', '|', '\n'], "_")),
                    None => value.to_string(),
                });
                lines.push(format!("{name}:{text}|s{tags}"));
            }
            _ => {
                let Some(number) = number.and_then(Value::as_f64) else { return };
                // With a sign it would be a change.
                if number < 0.0 {
                    lines.push(format!("{name}:0|g{tags}"));
                }
                lines.push(format!("{name}:{number}|g{tags}"));
            }
        }
    }

    /// How much more it is than last time; one that began anew counts from nothing.
    fn growth(&mut self, name: &str, tags: &str, now: Option<i64>) -> i64 {
        let now = now.unwrap_or(0);
        let before = self.last.insert(format!("{name}{tags}"), now).unwrap_or(0);
        if now >= before { now - before } else { now }
    }
}

fn tags(value: &Value) -> String {
    let labels = value.get("labels").and_then(Value::as_object).into_iter().flatten();
    let tags: Vec<_> = labels
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}:{}", text.replace([',', '|', '\n'], "_"))
        })
        .collect();
    if tags.is_empty() { String::new() } else { format!("|#{}", tags.join(",")) }
}

/// As many lines in each as fit, one at least.
fn datagrams(lines: &[String], payload_max: usize) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= payload_max => {
                last.push('\n');
                last.push_str(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_grow_and_the_rest_is_told_as_it_is() {
        let mut server =
            Server { host: "h".into(), port: 1, payload_max: 1_300, last: HashMap::new() };
        let rows = |count: u32| {
            [
                json!({"type": "counter", "name": "a.total", "values":
                    [{"labels": {"action": "x|y", "caller": null}, "value": count}]}),
                json!({"type": "gauge", "name": "b", "values": [{"labels": {}, "value": -1.5}]}),
                json!({"type": "info", "name": "c", "values": [{"labels": {}, "value": "t"}]}),
                json!({"type": "histogram", "name": "d", "values":
                    [{"labels": {}, "count": count, "lastValue": 2.5}]}),
            ]
        };
        let rest = ["b:0|g", "b:-1.5|g", "c:\"t\"|s"];
        let first = server.lines(&rows(3));
        assert_eq!(first[0], "a.total:3|c|#action:x_y,caller:null");
        assert_eq!((&first[1..4], &*first[4]), (&rest.map(str::to_owned)[..], "d:2.5|ms"));
        assert_eq!(server.lines(&rows(3)), rest);
        assert_eq!(server.lines(&rows(5))[0], "a.total:2|c|#action:x_y,caller:null");
    }

    #[test]
    fn datagrams_are_no_larger_than_allowed() {
        let lines: Vec<_> = (0..10).map(|n| format!("metric{n}:1|c")).collect();
        let sent = datagrams(&lines, 40);
        assert!(sent.iter().all(|datagram| datagram.len() <= 40), "{sent:?}");
        assert_eq!(sent.join("\n"), lines.join("\n"));
        assert_eq!(datagrams(&lines, 1).len(), 10);
    }
}
