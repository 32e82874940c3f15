//! Spans in a unit test: they are remembered and go nowhere.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::host::Recording;

/// A span that the service has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedSpan {
    /// Its name.
    pub name: String,
    /// Name of the span that it is a part of; `None` for one of the context.
    pub part_of: Option<String>,
    /// Moleculer's `type`; `custom` when nothing was said.
    pub kind: String,
    /// Its tags.
    pub tags: Map<String, Value>,
    /// Names and fields of its logs.
    pub logs: Vec<(String, Value)>,
    /// What it failed with.
    pub error: Option<Error>,
    /// Whether it has ended.
    pub finished: bool,
}

/// The spans of a mock, oldest first.
pub(super) type Recorded = Rc<RefCell<Vec<RecordedSpan>>>;

/// One of them, by its place.
pub(super) struct MockSpan {
    all: Recorded,
    place: usize,
}

impl MockSpan {
    pub(super) fn begin(all: &Recorded, name: &str, options: Option<&str>) -> Self {
        Self::add(all, name, None, options)
    }

    fn add(all: &Recorded, name: &str, part_of: Option<String>, options: Option<&str>) -> Self {
        let options: Value = object(options.unwrap_or("{}")).into();
        let kind = options.get("type").and_then(Value::as_str).unwrap_or("custom").into();
        let tags = options.get("tags").and_then(Value::as_object).cloned().unwrap_or_default();
        let (name, logs) = (name.into(), Vec::new());
        let span = RecordedSpan { name, part_of, kind, tags, logs, error: None, finished: false };
        let mut spans = all.borrow_mut();
        spans.push(span);
        Self { all: Rc::clone(all), place: spans.len() - 1 }
    }

    /// Changes it, if it has not ended.
    fn record(&self, change: impl FnOnce(&mut RecordedSpan)) {
        let mut spans = self.all.borrow_mut();
        if let Some(span) = spans.get_mut(self.place).filter(|span| !span.finished) {
            change(span);
        }
    }
}

impl Recording for MockSpan {
    fn add_tags(&self, tags: &str) {
        self.record(|span| span.tags.extend(object(tags)));
    }

    fn log(&self, name: &str, fields: Option<&str>) {
        let fields = fields.map_or_else(|| json!({}), |text| object(text).into());
        self.record(|span| span.logs.push((name.into(), fields)));
    }

    fn set_error(&self, error: Error) {
        self.record(|span| span.error = Some(error));
    }

    fn start_span(&self, name: &str) -> Box<dyn Recording> {
        let own = self.all.borrow().get(self.place).map(|span| span.name.clone());
        Box::new(Self::add(&self.all, name, own, None))
    }

    fn finish(&self) {
        self.record(|span| span.finished = true);
    }
}

/// What is no object is left out, as by the host.
fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockBroker;

    #[test]
    fn spans_are_remembered() {
        let broker = MockBroker::new();
        let ctx = broker.context();
        let options = json!({"type": "db", "tags": {"a": 1}});
        let span = ctx.start_span_with("find", options);
        span.tag("b", 2).tags(json!({"c": 3})).log("half", ()).error(&Error::new(404, "NO", "no"));
        let part = span.start_span("read");
        part.finish();
        let spans = broker.spans();
        assert_eq!((spans.len(), &*spans[0].kind), (2, "db"));
        assert_eq!(Value::from(spans[0].tags.clone()), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(spans[0].logs, [("half".to_owned(), json!({}))]);
        assert!(spans[0].error.is_some() && !spans[0].finished);
        assert_eq!((spans[1].part_of.as_deref(), spans[1].finished), (Some("find"), true));
        drop(span);
        assert!(broker.spans()[0].finished, "dropped is ended");
    }
}
