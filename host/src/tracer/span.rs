//! One span (moleculer: src/tracing/span.js).

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::clock::{self, Instant};
use crate::error::MoleculerError;
use crate::tracer::Tracer;
use crate::uid;

/// Most logs of one span, and most bytes of tags and logs together, so that a guest cannot bloat the node.
const LOGS_MAX: usize = 100;
const BYTES_MAX: usize = 256 << 10;

/// Why something was not added to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It carries as many bytes as it may.
    #[error("a span holds at most {max} bytes of tags and logs")]
    TooLarge {
        /// So many it may.
        max: usize,
    },
    /// It has as many logs as it may.
    #[error("a span holds at most {LOGS_MAX} logs")]
    TooMany,
}

/// What a span is made with. Unset fields are those of a span that begins a chain.
#[derive(Clone, Debug, Default)]
pub struct SpanOptions {
    /// Its ID; a new one when unset.
    pub id: Option<Arc<str>>,
    /// ID of the chain; that of the span when unset.
    pub trace_id: Option<Arc<str>>,
    /// The span or context that it is part of.
    pub parent_id: Option<Arc<str>>,
    /// `action`, `event`, or what its maker says; `custom` when unset.
    pub kind: Option<Arc<str>>,
    /// The service that does the work.
    pub service: Option<Service>,
    /// For `sampling.minPriority`; 5 when unset.
    pub priority: Option<f64>,
    /// What has been decided for the chain; unset, the tracer decides.
    pub sampled: Option<bool>,
    /// Over the default tags.
    pub tags: Map<String, Value>,
    /// Most bytes of tags and logs together, those given here among them. Unset, it is 256 KiB of what is added
    /// later.
    pub bytes_max: Option<usize>,
}

/// The service of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Name without version.
    pub name: Arc<str>,
    /// Number, text or null.
    pub version: Value,
    /// Name with version.
    pub full_name: Arc<str>,
}

/// A span; a handle that is cheap to clone.
#[derive(Clone, Debug)]
pub struct Span(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracer: Tracer,
    name: Arc<str>,
    kind: Arc<str>,
    id: Arc<str>,
    trace_id: Arc<str>,
    parent_id: Option<Arc<str>>,
    service: Option<Service>,
    priority: f64,
    sampled: bool,
    /// Milliseconds since 1970.
    start_time: f64,
    begin: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Milliseconds, once it has ended.
    duration: Option<f64>,
    error: Option<MoleculerError>,
    logs: Vec<Value>,
    tags: Map<String, Value>,
    bytes: usize,
    bytes_max: usize,
}

impl Span {
    pub(super) fn start(
        tracer: Tracer,
        name: Arc<str>,
        options: SpanOptions,
        sampled: bool,
    ) -> Self {
        #[expect(clippy::unwrap_or_default, reason = "an ID is not the default of a text")]
        let id = options.id.unwrap_or_else(uid::new);
        let state = State {
            bytes: options.bytes_max.map_or(0, |_| weight(&options.tags)),
            bytes_max: options.bytes_max.unwrap_or(BYTES_MAX),
            tags: if sampled {
                let mut tags = tracer.options().default_tags.clone();
                tags.extend(options.tags);
                tags
            } else {
                Map::new()
            },
            ..State::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit for long")]
        let start_time = clock::unix_ms() as f64;
        Self(Arc::new(Inner {
            name,
            kind: options.kind.unwrap_or_else(|| "custom".into()),
            trace_id: options.trace_id.unwrap_or_else(|| Arc::clone(&id)),
            id,
            parent_id: options.parent_id,
            service: options.service,
            priority: options.priority.unwrap_or(super::PRIORITY),
            sampled,
            start_time,
            begin: clock::now(),
            state: Mutex::new(state),
            tracer,
        }))
    }

    /// Begins a part of it.
    #[must_use]
    pub fn start_span(&self, name: impl Into<Arc<str>>, options: SpanOptions) -> Self {
        let part = SpanOptions {
            trace_id: Some(Arc::clone(&self.0.trace_id)),
            parent_id: Some(Arc::clone(&self.0.id)),
            service: options.service.or_else(|| self.0.service.clone()),
            sampled: Some(self.0.sampled),
            ..options
        };
        self.0.tracer.start_span(name, part)
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.0.id
    }

    /// ID of its chain.
    #[must_use]
    pub fn trace_id(&self) -> &Arc<str> {
        &self.0.trace_id
    }

    /// What it is part of.
    #[must_use]
    pub fn parent_id(&self) -> Option<&Arc<str>> {
        self.0.parent_id.as_ref()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is exported.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.0.sampled
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.0.state.lock().duration.is_none()
    }

    /// Milliseconds since 1970 at its begin.
    #[must_use]
    pub fn start_time(&self) -> f64 {
        self.0.start_time
    }

    /// How long it took, in milliseconds; `None` before its end.
    #[must_use]
    pub fn duration(&self) -> Option<f64> {
        self.0.state.lock().duration
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.0.state.lock().error.is_some()
    }

    /// Whether a tag is there and true.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.0.state.lock().tags.get(tag) == Some(&Value::Bool(true))
    }

    /// A tag.
    #[must_use]
    pub fn tag(&self, tag: &str) -> Option<Value> {
        self.0.state.lock().tags.get(tag).cloned()
    }

    /// What its tags and logs weigh, roughly as their text.
    #[must_use]
    pub fn weight(&self) -> usize {
        let state = self.0.state.lock();
        weight(&state.tags) + state.logs.iter().map(size).sum::<usize>()
    }

    /// Adds tags; those of the same name are replaced.
    ///
    /// # Errors
    /// [`Refused`]; nothing is added then.
    pub fn add_tags(&self, tags: Map<String, Value>) -> Result<(), Refused> {
        if !self.0.sampled {
            return Ok(());
        }
        let mut state = self.0.state.lock();
        state.grow(weight(&tags))?;
        state.tags.extend(tags);
        Ok(())
    }

    /// Notes that something happened.
    ///
    /// # Errors
    /// [`Refused`]; nothing is added then.
    pub fn log(&self, name: &str, fields: Map<String, Value>) -> Result<(), Refused> {
        if !self.0.sampled {
            return Ok(());
        }
        let elapsed = self.elapsed();
        let fields = Value::Object(fields);
        let mut state = self.0.state.lock();
        if state.logs.len() >= LOGS_MAX {
            return Err(Refused::TooMany);
        }
        state.grow(name.len() + size(&fields))?;
        let time = self.0.start_time + elapsed;
        state.logs.push(json!({"name": name, "fields": fields, "time": time, "elapsed": elapsed}));
        Ok(())
    }

    /// What it stands for has failed.
    pub fn set_error(&self, error: MoleculerError) {
        self.0.state.lock().error = Some(error);
    }

    /// Ends it. Only the first time counts.
    pub fn finish(&self) {
        let elapsed = self.elapsed();
        if self.0.state.lock().duration.replace(elapsed).is_none() && self.0.sampled {
            self.0.tracer.finished(self);
        }
    }

    fn elapsed(&self) -> f64 {
        clock::now().saturating_duration_since(self.0.begin).as_secs_f64() * 1e3
    }

    /// It in the form in which Moleculer exports it; `more` are tags that go below its own.
    #[must_use]
    pub fn to_value(&self, more: &Map<String, Value>) -> Value {
        let span = &*self.0;
        let state = span.state.lock();
        let mut tags = more.clone();
        tags.extend(state.tags.clone());
        let error = state.error.as_ref().map(|error| self.picked(error));
        let mut value = json!({
            "name": &*span.name,
            "type": &*span.kind,
            "id": &*span.id,
            "traceID": &*span.trace_id,
            "priority": span.priority,
            "sampled": span.sampled,
            "startTime": span.start_time,
            "startTicks": span.tracer.ticks(span.begin),
            "finishTime": state.duration.map(|duration| span.start_time + duration),
            "duration": state.duration,
            "error": error,
            "logs": state.logs,
            "tags": tags,
        });
        if let Value::Object(fields) = &mut value {
            if let Some(parent_id) = &span.parent_id {
                fields.insert("parentID".into(), json!(&**parent_id));
            }
            if let Some(service) = &span.service {
                let mut shown = Map::new();
                shown.insert("name".into(), (*service.name).into());
                if !service.version.is_null() {
                    shown.insert("version".into(), service.version.clone());
                }
                shown.insert("fullName".into(), (*service.full_name).into());
                fields.insert("service".into(), shown.into());
            }
        }
        value
    }

    /// The fields of an error that the options name.
    fn picked(&self, error: &MoleculerError) -> Value {
        let options = self.0.tracer.options();
        let Ok(Value::Object(mut fields)) = serde_json::to_value(error.to_wire("")) else {
            return Value::Null;
        };
        let wanted = |key: &str| {
            options.error_fields.iter().any(|field| field == key)
                || (options.stack_trace && key == "stack")
        };
        fields.retain(|key, _| wanted(key));
        Value::Object(fields)
    }
}

impl State {
    fn grow(&mut self, by: usize) -> Result<(), Refused> {
        let bytes = self.bytes.saturating_add(by);
        if bytes > self.bytes_max {
            return Err(Refused::TooLarge { max: self.bytes_max });
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// What tags weigh against the bytes that a span may carry.
#[must_use]
pub fn weight(tags: &Map<String, Value>) -> usize {
    tags.iter().map(|(key, value)| key.len() + size(value)).sum()
}

/// What a value weighs, roughly as its text.
fn size(value: &Value) -> usize {
    const LEAF: usize = 8;
    match value {
        Value::String(text) => text.len() + LEAF,
        Value::Array(items) => LEAF + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => LEAF + weight(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => LEAF,
    }
}
