//! Spans as Zipkin's API 2 takes them, for Zipkin and New Relic
//! (moleculer: src/tracing/exporters/zipkin.js, newrelic.js).

use serde_json::{Map, Value, json};

use crate::middleware::spans::tags;

/// In which points the two differ, and what was asked for.
pub(super) struct Form {
    pub(super) new_relic: bool,
    pub(super) debug: bool,
    pub(super) shared: bool,
    /// On one level, as text.
    pub(super) default_tags: Map<String, Value>,
}

impl Form {
    pub(super) fn payload(&self, span: &Value) -> Value {
        let service = tags::service(span);
        let endpoint = json!({"serviceName": service});
        let id = |key: &str| tags::field(span, key).map(|id| tags::hex(id, 16));
        let start = tags::time(span, "startTime", 1e3);
        json!({
            "name": tags::field(span, "name"),
            "kind": if self.new_relic { "CONSUMER" } else { "SERVER" },
            "traceId": id("traceID"),
            "id": id("id"),
            "parentId": id("parentID"),
            "localEndpoint": endpoint,
            "remoteEndpoint": endpoint,
            "annotations": self.annotations(span, service),
            "timestamp": start,
            "duration": tags::time(span, "duration", 1e3),
            "tags": self.tags(span, service),
            "debug": self.debug,
            "shared": self.shared,
        })
    }

    fn annotations(&self, span: &Value, service: Option<&str>) -> Vec<Value> {
        let end = tags::time(span, "finishTime", 1e3);
        let mut annotations = Vec::new();
        if self.new_relic {
            annotations
                .push(json!({"timestamp": tags::time(span, "startTime", 1e3), "value": "sr"}));
            annotations.push(json!({"timestamp": end, "value": "ss"}));
        }
        if tags::error(span).is_some() {
            let endpoint = json!({"serviceName": service, "ipv4": "", "port": 0});
            annotations.push(json!({"value": "error", "endpoint": endpoint, "timestamp": end}));
        }
        annotations
    }

    fn tags(&self, span: &Value, service: Option<&str>) -> Map<String, Value> {
        let mut all = Map::new();
        // A tag that is null, as Moleculer sends it, makes Zipkin refuse all spans of the request.
        all.extend(service.map(|name| ("service".to_owned(), name.into())));
        all.extend(tags::field(span, "type").map(|kind| ("span.type".to_owned(), kind.into())));
        let error = tags::error(span);
        if let Some(error) = error {
            let message = tags::field(error, "message").unwrap_or("Unknown error");
            all.insert("error".into(), message.into());
        }
        all.extend(self.default_tags.clone());
        tags::flatten_text(&mut all, "", &span["tags"]);
        if let Some(error) = error {
            tags::flatten_text(&mut all, "error", error);
        }
        all
    }
}
