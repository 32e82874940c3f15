//! Spans in the OpenTelemetry protocol, as JSON over HTTP: what collectors of today take. Moleculer has no such
//! exporter; tags are those of its others.
//!
//! The protocol: opentelemetry-proto, `collector/trace/v1`, with its rules for JSON (IDs as hexadecimal digits,
//! 64-bit numbers as text).

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::middleware::spans::tags;

/// Kinds of spans.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CONSUMER: u8 = 5;

/// State of a span that failed.
const ERROR: u8 = 2;

/// Whose spans they are.
pub(super) struct Form {
    pub(super) namespace: String,
    pub(super) node_id: String,
    pub(super) host: String,
    pub(super) default_tags: Map<String, Value>,
}

impl Form {
    /// One request: the spans of each service are those of one resource.
    pub(super) fn request(&self, spans: &[Value]) -> Value {
        let mut services: IndexMap<&str, Vec<&Value>> = IndexMap::new();
        for span in spans {
            services.entry(tags::service(span).unwrap_or_default()).or_default().push(span);
        }
        let scope = json!({"name": "isomer", "version": env!("CARGO_PKG_VERSION")});
        let resources = services.into_iter().map(|(name, spans)| {
            let resource = json!({"attributes": self.resource(name, spans.first().copied())});
            let spans: Vec<_> = spans.into_iter().map(|span| self.payload(span)).collect();
            json!({"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]})
        });
        json!({"resourceSpans": resources.collect::<Vec<_>>()})
    }

    fn resource(&self, name: &str, span: Option<&Value>) -> Value {
        let mut all = Map::new();
        let name = if name.is_empty() { "isomer" } else { name };
        all.insert("service.name".into(), name.into());
        let version = span.and_then(|span| span.pointer("/service/version"));
        all.extend(version.map(|version| ("service.version".into(), tags::text(version).into())));
        if !self.namespace.is_empty() {
            all.insert("service.namespace".into(), self.namespace.clone().into());
        }
        all.insert("service.instance.id".into(), self.node_id.clone().into());
        all.insert("host.name".into(), self.host.clone().into());
        all.insert("telemetry.sdk.name".into(), "isomer".into());
        all.insert("telemetry.sdk.language".into(), "rust".into());
        all.insert("telemetry.sdk.version".into(), env!("CARGO_PKG_VERSION").into());
        attributes(all)
    }

    fn payload(&self, span: &Value) -> Value {
        let start = tags::time(span, "startTime", 1.0).unwrap_or(0).saturating_mul(1_000_000);
        let end = start.saturating_add(tags::time(span, "duration", 1e6).unwrap_or(0));
        let mut all = self.default_tags.clone();
        all.extend(tags::field(span, "type").map(|kind| ("span.type".to_owned(), kind.into())));
        tags::flatten(&mut all, "", &span["tags"]);
        let mut events: Vec<_> = span["logs"].as_array().into_iter().flatten().map(event).collect();
        let error = tags::error(span);
        if let Some(error) = error {
            tags::flatten(&mut all, "error", error);
            events.push(exception(error, end));
        }
        let mut payload = json!({
            "traceId": tags::field(span, "traceID").map(|id| tags::hex(id, 32)),
            "spanId": tags::field(span, "id").map(|id| tags::hex(id, 16)),
            "name": tags::field(span, "name"),
            "kind": kind(span),
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "attributes": attributes(all),
            "events": events,
            "status": error.map_or_else(|| json!({}), |error| {
                json!({"code": ERROR, "message": tags::field(error, "message")})
            }),
        });
        if let Value::Object(fields) = &mut payload
            && let Some(parent) = tags::field(span, "parentID")
        {
            fields.insert("parentSpanId".into(), tags::hex(parent, 16).into());
        }
        payload
    }
}

fn kind(span: &Value) -> u8 {
    match tags::field(span, "type") {
        Some("action") if span.pointer("/tags/remoteCall") == Some(&Value::Bool(true)) => SERVER,
        Some("event") => CONSUMER,
        _ => INTERNAL,
    }
}

fn event(log: &Value) -> Value {
    let mut all = Map::new();
    tags::flatten(&mut all, "", &log["fields"]);
    let time = tags::time(log, "time", 1e6).unwrap_or(0).to_string();
    json!({"timeUnixNano": time, "name": tags::field(log, "name"), "attributes": attributes(all)})
}

fn exception(error: &Value, time: u64) -> Value {
    let mut all = Map::new();
    for (key, field) in [("type", "name"), ("message", "message"), ("stacktrace", "stack")] {
        all.extend(error.get(field).map(|value| (format!("exception.{key}"), value.clone())));
    }
    json!({"timeUnixNano": time.to_string(), "name": "exception", "attributes": attributes(all)})
}

fn attributes(all: Map<String, Value>) -> Value {
    let attribute = |(key, value): (String, Value)| {
        let value = match &value {
            Value::Bool(_) => json!({"boolValue": value}),
            Value::Number(number) if number.is_f64() => json!({"doubleValue": value}),
            Value::Number(number) => json!({"intValue": number.to_string()}),
            other => json!({"stringValue": tags::text(other)}),
        };
        json!({"key": key, "value": value})
    };
    all.into_iter().map(attribute).collect()
}
