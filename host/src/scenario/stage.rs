//! The broker as the service sees it on stage: answers by mocks, and a record of what was called and sent.
//!
//! What no mock answers goes to the broker, which has the service itself and the node's own services.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::file::Mock;
use super::{compare, object};
use crate::context::{CallOptions, Caller, EmitOptions, EventType, Outcome};
use crate::error::MoleculerError;
use crate::payload::{Object, Payload};

/// Calls and events that are kept; a service that makes more in one step is not compared by hand.
const RECORDS_MAX: usize = 10_000;

/// See the module.
pub(super) struct Stage {
    broker: Arc<dyn Caller>,
    mocks: Vec<Mock>,
    record: Mutex<Record>,
}

/// What the service did.
#[derive(Default)]
struct Record {
    calls: Vec<Value>,
    events: Vec<Value>,
    /// Actions that no mock answered.
    unplayed: Vec<String>,
}

impl Stage {
    pub(super) fn new(broker: Arc<dyn Caller>, mocks: Vec<Mock>) -> Self {
        Self { broker, mocks, record: Mutex::default() }
    }

    /// Forgets what was done so far.
    pub(super) fn forget(&self) {
        *self.record.lock() = Record::default();
    }

    /// The calls since then: `{action, params, meta}`.
    pub(super) fn calls(&self) -> Vec<Value> {
        self.record.lock().calls.clone()
    }

    /// The events since then: `{event, data, kind, groups, meta}`.
    pub(super) fn events(&self) -> Vec<Value> {
        self.record.lock().events.clone()
    }

    /// Actions that were called without a mock.
    pub(super) fn unplayed(&self) -> Vec<String> {
        self.record.lock().unplayed.clone()
    }

    fn note_event(&self, kind: EventType, event: &str, data: &Payload, options: &EmitOptions) {
        let groups: Vec<&str> = options.groups.iter().map(|group| &**group).collect();
        let groups = if groups.is_empty() { Value::Null } else { groups.into() };
        let noted = object(vec![
            ("event", event.into()),
            ("data", shown(data)),
            ("kind", kind.name().into()),
            ("groups", groups),
            ("meta", meta(options.meta.as_ref())),
        ]);
        let events = &mut self.record.lock().events;
        if events.len() < RECORDS_MAX {
            events.push(noted);
        }
    }
}

fn shown(payload: &Payload) -> Value {
    serde_json::from_str(&payload.to_json_text()).unwrap_or_default()
}

fn meta(meta: Option<&Object>) -> Value {
    let meta = meta.filter(|meta| !meta.is_empty());
    meta.and_then(|meta| serde_json::from_str(meta.as_str()).ok()).unwrap_or_default()
}

/// What a mock answers to this call.
fn answer(mock: &Mock, options: &CallOptions) -> Outcome {
    if let Some(parent) = &options.parent
        && !mock.meta.is_empty()
    {
        parent.merge_meta(&Object::from_value(&mock.meta).unwrap_or_default());
    }
    match &mock.error {
        None => Payload::from_value(&mock.result)
            .map_err(|error| MoleculerError::internal(error.to_string())),
        Some(error) => {
            // What a remote service would at least send.
            let mut wire = Map::from_iter([
                ("name".to_owned(), Value::from("MoleculerError")),
                ("message".to_owned(), Value::from("played by a test")),
                ("code".to_owned(), Value::from(500)),
            ]);
            wire.extend(error.clone());
            Err(MoleculerError::from_wire(Value::Object(wire), &Arc::from("mock")))
        }
    }
}

impl Caller for Stage {
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        let given = shown(&params);
        let fits = |mock: &&Mock| {
            mock.action == action
                && mock.params.as_ref().is_none_or(|wanted| compare::contains(wanted, &given))
        };
        let mock = self.mocks.iter().find(fits);
        let noted = object(vec![
            ("action", action.into()),
            ("params", given.clone()),
            ("meta", meta(options.meta.as_ref())),
        ]);
        {
            let mut record = self.record.lock();
            if record.calls.len() < RECORDS_MAX {
                record.calls.push(noted);
                if mock.is_none() {
                    record.unplayed.push(action.to_owned());
                }
            }
        }
        match mock {
            Some(mock) => Box::pin(std::future::ready(answer(mock, &options))),
            None => self.broker.call(action, params, options),
        }
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.note_event(kind, event, &data, &options);
        self.broker.send(kind, event, data, options)
    }

    fn wait_for_services(
        &self,
        _services: Vec<String>,
        _timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        // Whoever is played is there.
        Box::pin(std::future::ready(Ok(())))
    }
}
