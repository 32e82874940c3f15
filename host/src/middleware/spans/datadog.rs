//! Spans as the agent of Datadog takes them, version 0.4 of its form, in JSON
//! (moleculer: src/tracing/exporters/datadog-simple.js; what datadog.js leaves to Datadog's library).

use serde_json::{Map, Value, json};

use crate::middleware::spans::tags;

/// Which of the two exporters, and what was asked for.
pub(super) struct Form {
    /// Just what Moleculer's `DatadogSimple` sends.
    pub(super) simple: bool,
    pub(super) env: Option<String>,
    pub(super) sampling_priority: i8,
    /// On one level, as text.
    pub(super) default_tags: Map<String, Value>,
}

impl Form {
    /// The spans of each trace together.
    pub(super) fn traces(&self, spans: &[Value]) -> Vec<Vec<Value>> {
        let mut traces: indexmap::IndexMap<&str, Vec<Value>> = indexmap::IndexMap::new();
        for span in spans {
            let trace = tags::field(span, "traceID").unwrap_or_default();
            traces.entry(trace).or_default().push(self.payload(span));
        }
        traces.into_values().collect()
    }

    fn payload(&self, span: &Value) -> Value {
        let id = |key: &str| tags::field(span, key).map(|id| self.id(id));
        let mut payload = json!({
            "trace_id": id("traceID"),
            "span_id": id("id"),
            "parent_id": id("parentID"),
            "name": tags::field(span, "name"),
            "resource": span.pointer("/tags/action/name"),
            "service": tags::service(span),
            "type": "custom",
            "start": tags::time(span, "startTime", 1e6),
            "duration": tags::time(span, "duration", 1e6),
            "error": i32::from(tags::error(span).is_some()),
            "meta": self.meta(span),
        });
        if let Value::Object(fields) = &mut payload
            && !self.simple
        {
            let metrics = json!({"_sampling_priority_v1": self.sampling_priority});
            fields.insert("metrics".into(), metrics);
        }
        payload
    }

    /// 32 bits as in Moleculer, or the 64 that the agent has room for.
    fn id(&self, id: &str) -> u64 {
        let id = tags::id64(id);
        if self.simple { id >> 32 } else { id }
    }

    fn meta(&self, span: &Value) -> Map<String, Value> {
        let mut meta = self.default_tags.clone();
        if !self.simple {
            meta.extend(self.env.as_deref().map(|env| ("env".to_owned(), env.into())));
            meta.insert("span.kind".into(), "server".into());
            meta.extend(
                tags::field(span, "type").map(|kind| ("span.type".to_owned(), kind.into())),
            );
        }
        tags::flatten_text(&mut meta, "", &span["tags"]);
        if let Some(error) = tags::error(span) {
            tags::flatten_text(&mut meta, "error", error);
        }
        meta
    }
}
