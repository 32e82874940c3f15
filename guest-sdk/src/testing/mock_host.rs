//! The mock's side of a context.
//!
//! A call that is started is answered at once; what the executor waits for is then already there.

use std::cell::{Cell, RefCell};

use serde_json::{Map, Value, json};

use super::spans::MockSpan;
use super::{LogLine, MockBroker, MockSink, SentEvent};
use crate::host::{EventType, Host, Pending, Recording, Sink, Source};
use crate::logger::Level;
use crate::{Error, Payload, Result};

/// The context of one handler that the test runs.
pub(super) struct MockHost {
    pub(super) broker: MockBroker,
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) event: Option<EventType>,
    pub(super) settings: Value,
    /// Full name of the service under test; empty when no service is.
    pub(super) service: String,
    /// The error for which a fallback runs.
    pub(super) cause: Option<Error>,
    /// Whether its caller has been answered with a stream.
    pub(super) answered: Cell<bool>,
}

/// Puts the keys of a JSON object over a map, as the host does.
fn merge(what: &str, map: &RefCell<Map<String, Value>>, object: &str) -> Result<()> {
    match serde_json::from_str(object)? {
        Value::Object(object) => {
            map.borrow_mut().extend(object);
            Ok(())
        }
        _ => {
            let message = format!("The {what} is not a JSON object.");
            Err(Error::new(422, "INVALID_PAYLOAD", message).named("InvalidPayloadError"))
        }
    }
}

fn text(map: &RefCell<Map<String, Value>>) -> String {
    Value::Object(map.borrow().clone()).to_string()
}

impl Host for MockHost {
    fn id(&self) -> String {
        format!("context-{}", self.number)
    }

    fn request_id(&self) -> String {
        self.id()
    }

    fn parent_id(&self) -> Option<String> {
        None
    }

    fn caller(&self) -> Option<String> {
        self.broker.0.caller.borrow().clone()
    }

    fn level(&self) -> u32 {
        1
    }

    fn node_id(&self) -> String {
        "mock".into()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn event_type(&self) -> Option<EventType> {
        self.event
    }

    fn event_groups(&self) -> Vec<String> {
        Vec::new()
    }

    fn meta(&self) -> String {
        text(&self.broker.0.meta)
    }

    fn set_meta(&self, object: &str) -> Result<()> {
        merge("meta", &self.broker.0.meta, object)
    }

    fn headers(&self) -> String {
        text(&self.broker.0.headers)
    }

    fn set_response_headers(&self, object: &str) -> Result<()> {
        merge("headers", &self.broker.0.response_headers, object)
    }

    fn remaining_time(&self) -> Option<u32> {
        None
    }

    fn cause(&self) -> Option<Error> {
        self.cause.clone()
    }

    fn call(&self, action: &str, params: Payload, options: Option<&str>) -> Result<Payload> {
        self.broker.answer(action, params, options)
    }

    fn start_call(&self, action: &str, params: Payload, options: Option<&str>) -> Pending {
        Pending::Mock(self.broker.begin_call(action, params, options))
    }

    fn wait_any(&self, calls: &[&Pending]) -> Option<usize> {
        (!calls.is_empty()).then_some(0)
    }

    fn stream(&self) -> Option<Box<dyn Source>> {
        let stream = self.broker.0.stream.borrow_mut().take();
        stream.filter(|_| self.event.is_none()).map(|source| Box::new(source) as Box<dyn Source>)
    }

    fn respond_stream(&self, object_mode: bool) -> Result<Box<dyn Sink>> {
        if self.event.is_some() || self.answered.replace(true) {
            let message = "Only an action can answer with a stream, and only once.";
            return Err(Error::client(409, "STREAM_NOT_POSSIBLE", message));
        }
        let (sink, written) = MockSink::new(object_mode);
        self.broker.0.answered.borrow_mut().push(written);
        Ok(Box::new(sink))
    }

    fn start_stream_call(
        &self,
        action: &str,
        params: Payload,
        options: Option<&str>,
        object_mode: bool,
    ) -> (Box<dyn Sink>, Pending) {
        let (sink, written) = MockSink::new(object_mode);
        self.broker.0.sent.borrow_mut().push(written);
        (Box::new(sink), self.start_call(action, params, options))
    }

    fn mcall(&self, calls: &str, options: Option<&str>) -> Result<Payload> {
        let options: Value = serde_json::from_str(options.unwrap_or("{}"))?;
        let settled = options.get("settled") == Some(&json!(true));
        let one = |call: &Value| -> Result<Value> {
            let action = call.get("action").and_then(Value::as_str).unwrap_or_default();
            let params = call.get("params").cloned().map_or(Payload::Absent, Payload::from);
            let options = call.get("options").map(Value::to_string);
            let result =
                self.call(action, params, options.as_deref()).and_then(Payload::into_value);
            match result {
                Ok(value) if settled => Ok(json!({"status": "fulfilled", "value": value})),
                Err(error) if settled => {
                    Ok(json!({"status": "rejected", "reason": error.to_json()}))
                }
                other => other,
            }
        };
        let result = match serde_json::from_str(calls)? {
            Value::Array(calls) => calls.iter().map(one).collect::<Result<Value>>()?,
            Value::Object(calls) => calls
                .iter()
                .map(|(key, call)| Ok((key.clone(), one(call)?)))
                .collect::<Result<Value>>()?,
            _ => return Err(Error::validation("Invalid calling definitions.")),
        };
        Ok(result.into())
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: Option<&str>,
    ) -> Result<()> {
        let options = serde_json::from_str(options.unwrap_or("{}"))?;
        let event = SentEvent { kind, name: event.into(), data: data.into_value()?, options };
        self.broker.0.events.borrow_mut().push(event);
        Ok(())
    }

    fn wait_for_services(&self, _: &[String], _: Option<u32>) -> Result<()> {
        Ok(())
    }

    fn cacher_enabled(&self) -> bool {
        true
    }

    fn cacher_get(&self, key: &str) -> Result<Option<Payload>> {
        Ok(self.cacher_get_with_ttl(key)?.map(|(value, _)| value))
    }

    fn cacher_get_with_ttl(&self, key: &str) -> Result<Option<(Payload, Option<f64>)>> {
        Ok(self.broker.0.cache.borrow().get(key).cloned())
    }

    fn cacher_set(&self, key: &str, value: Payload, ttl: Option<f64>) -> Result<()> {
        let mut cache = self.broker.0.cache.borrow_mut();
        match value {
            Payload::Absent => drop(cache.remove(key)),
            value => drop(cache.insert(key.into(), (value, ttl.filter(|ttl| *ttl > 0.0)))),
        }
        Ok(())
    }

    fn cacher_del(&self, keys: &[String]) -> Result<()> {
        let mut cache = self.broker.0.cache.borrow_mut();
        cache.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    fn cacher_clean(&self, patterns: &[String]) -> Result<()> {
        let mut cache = self.broker.0.cache.borrow_mut();
        cache.retain(|key, _| !patterns.iter().any(|pattern| matches(pattern, key)));
        Ok(())
    }

    fn start_span(&self, name: &str, options: Option<&str>) -> Box<dyn Recording> {
        Box::new(MockSpan::begin(&self.broker.0.spans, name, options))
    }

    fn log(&self, level: Level, message: &str, fields: Option<&str>) {
        let fields = fields.and_then(|fields| serde_json::from_str(fields).ok());
        let line = LogLine { level, message: message.into(), fields: fields.unwrap_or(json!({})) };
        self.broker.0.logs.borrow_mut().push(line);
    }

    fn log_enabled(&self, _: Level) -> bool {
        true
    }

    fn settings(&self) -> String {
        self.settings.to_string()
    }

    fn local_node_id(&self) -> String {
        "mock".into()
    }

    fn namespace(&self) -> String {
        String::new()
    }

    fn service(&self) -> String {
        self.service.clone()
    }
}

/// Whether a pattern matches an event: `*` stands for one part between dots, `**` for any number of parts,
/// `?` for one character (moleculer: src/utils.js match).
pub(super) fn matches(pattern: &str, event: &str) -> bool {
    fn rest(pattern: &[u8], event: &[u8]) -> bool {
        match (pattern, event) {
            ([b'*', b'*', pattern @ ..], event) => {
                (0..=event.len()).any(|skip| rest(pattern, event.get(skip..).unwrap_or_default()))
            }
            ([b'*', pattern @ ..], event) => {
                let part = event.iter().position(|byte| *byte == b'.').unwrap_or(event.len());
                (0..=part).any(|skip| rest(pattern, event.get(skip..).unwrap_or_default()))
            }
            ([b'?', pattern @ ..], [byte, event @ ..]) => *byte != b'.' && rest(pattern, event),
            ([a, pattern @ ..], [b, event @ ..]) => a == b && rest(pattern, event),
            (pattern, event) => pattern.is_empty() && event.is_empty(),
        }
    }
    rest(pattern.as_bytes(), event.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_moleculer() {
        let check = |pattern: &str, event: &str, expected: bool| {
            assert_eq!(matches(pattern, event), expected, "{pattern} {event}");
        };
        check("user.created", "user.created", true);
        check("user.*", "user.created", true);
        check("user.*", "user.address.created", false);
        check("user.**", "user.address.created", true);
        check("**", "user.created", true);
        check("*.created", "user.created", true);
        check("user.creat?d", "user.created", true);
        check("user.created", "user.removed", false);
    }
}
