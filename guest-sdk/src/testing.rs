//! Runs a service in an ordinary unit test, with a broker that answers as the test says.
//!
//! The test goes through the same code as a call from the mesh: params are read, results written and
//! errors made as in a component. What the mock does not do is what the host adds around it: limits,
//! validation by schema, middlewares, and the network.
//!
//! ```
//! use isomer_sdk::prelude::*;
//! use isomer_sdk::testing::MockBroker;
//!
//! #[derive(Default)]
//! struct Posts;
//!
//! #[service(name = "posts")]
//! impl Posts {
//!     #[action]
//!     async fn author(&self, ctx: &Context, params: Value) -> Result<Value> {
//!         ctx.call("users.get", params).await
//!     }
//! }
//!
//! let mock = MockBroker::new().on_call("users.get", |params, _| {
//!     Ok(json!({ "id": params["id"], "name": "Ada" }))
//! });
//! let author = mock.call(&mut Posts, "posts.author", json!({ "id": 5 })).unwrap();
//! assert_eq!(author, json!({ "id": 5, "name": "Ada" }));
//! assert_eq!(mock.calls()[0].action, "users.get");
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::host::EventType;
use crate::logger::Level;
use crate::service::Service;
use crate::{Context, Error, Payload, Result};

mod middleware;
mod mock_host;
mod spans;
mod streams;

use mock_host::{MockHost, matches};
use streams::{MockSink, MockSource};

pub use spans::RecordedSpan;
pub(crate) use streams::MockAnswer;
pub use streams::WrittenStream;

/// The answer to the calls of one action: from params and options to the result.
type Answer = Rc<dyn Fn(Value, Value) -> Result<Payload>>;

/// A broker in memory, whose other services are closures of the test.
///
/// Clones are the same broker. It remembers what the service under test called, sent and logged.
#[derive(Clone, Default)]
pub struct MockBroker(Rc<State>);

#[derive(Default)]
struct State {
    answers: RefCell<HashMap<String, Answer>>,
    settings: RefCell<Option<Value>>,
    meta: RefCell<Map<String, Value>>,
    headers: RefCell<Map<String, Value>>,
    response_headers: RefCell<Map<String, Value>>,
    caller: RefCell<Option<String>>,
    calls: RefCell<Vec<MadeCall>>,
    /// What calls of an action are answered with instead of a value.
    answer_streams: RefCell<HashMap<String, MockSource>>,
    /// The stream of the next call's caller.
    stream: RefCell<Option<MockSource>>,
    answered: RefCell<Vec<Rc<RefCell<WrittenStream>>>>,
    sent: RefCell<Vec<Rc<RefCell<WrittenStream>>>>,
    events: RefCell<Vec<SentEvent>>,
    logs: RefCell<Vec<LogLine>>,
    spans: spans::Recorded,
    /// Values and their lives in seconds; the mock has no clock, so they stay.
    cache: RefCell<BTreeMap<String, (Payload, Option<f64>)>>,
    contexts: Cell<u32>,
}

/// A call that the service made.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeCall {
    /// Full name of the action.
    pub action: String,
    /// Params; bytes have the JSON form of a `Buffer`.
    pub params: Value,
    /// Options under Moleculer's names.
    pub options: Value,
}

/// An event that the service sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SentEvent {
    /// How it was sent.
    pub kind: EventType,
    /// Its name.
    pub name: String,
    /// Its data; bytes have the JSON form of a `Buffer`, no data is `null`.
    pub data: Value,
    /// Options under Moleculer's names.
    pub options: Value,
}

/// A line that the service logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// Its further values.
    pub fields: Value,
}

impl MockBroker {
    /// A broker without other services, settings or meta.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the calls of an action. The closure gets params and options (`{}` when there are none).
    /// Actions without an answer fail with Moleculer's `ServiceNotFoundError`.
    #[must_use]
    pub fn on_call<R: Serialize>(
        self,
        action: &str,
        answer: impl Fn(Value, Value) -> Result<R> + 'static,
    ) -> Self {
        let answer: Answer = Rc::new(move |params, options| {
            answer(params, options).and_then(|result| Payload::from_value(&result))
        });
        self.0.answers.borrow_mut().insert(action.into(), answer);
        self
    }

    /// Answers the calls of an action with a stream of bytes, in these chunks.
    #[must_use]
    pub fn on_call_bytes(
        self,
        action: &str,
        chunks: impl IntoIterator<Item = impl Into<Vec<u8>>>,
    ) -> Self {
        let chunks = chunks.into_iter().map(|chunk| Payload::Bytes(chunk.into()));
        self.answers_with(action, MockSource::new(false, chunks))
    }

    /// Answers the calls of an action with a stream of values.
    #[must_use]
    pub fn on_call_objects(self, action: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let chunks = values.into_iter().map(Payload::from);
        self.answers_with(action, MockSource::new(true, chunks))
    }

    fn answers_with(self, action: &str, source: MockSource) -> Self {
        self.0.answer_streams.borrow_mut().insert(action.into(), source);
        self
    }

    /// Sends a stream of bytes, in these chunks, with the next call of an action of the service.
    #[must_use]
    pub fn with_stream(self, chunks: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let chunks = chunks.into_iter().map(|chunk| Payload::Bytes(chunk.into()));
        self.0.stream.replace(Some(MockSource::new(false, chunks)));
        self
    }

    /// Sends a stream of values with the next call of an action of the service.
    #[must_use]
    pub fn with_objects(self, values: impl IntoIterator<Item = Value>) -> Self {
        let chunks = values.into_iter().map(Payload::from);
        self.0.stream.replace(Some(MockSource::new(true, chunks)));
        self
    }

    /// The streams with which actions of the service have answered, in their order.
    #[must_use]
    pub fn answered_streams(&self) -> Vec<WrittenStream> {
        self.0.answered.borrow().iter().map(|stream| stream.borrow().clone()).collect()
    }

    /// The streams that the service has sent with its calls, in their order.
    #[must_use]
    pub fn sent_streams(&self) -> Vec<WrittenStream> {
        self.0.sent.borrow().iter().map(|stream| stream.borrow().clone()).collect()
    }

    /// Sets what [`Context::settings`] reads, instead of the settings in the schema.
    #[must_use]
    pub fn with_settings(self, settings: Value) -> Self {
        self.0.settings.replace(Some(settings));
        self
    }

    /// Puts the keys of an object over the meta of the chain.
    #[must_use]
    pub fn with_meta(self, meta: Value) -> Self {
        if let Value::Object(meta) = meta {
            self.0.meta.borrow_mut().extend(meta);
        }
        self
    }

    /// Puts the keys of an object over the headers of the request.
    #[must_use]
    pub fn with_headers(self, headers: Value) -> Self {
        if let Value::Object(headers) = headers {
            self.0.headers.borrow_mut().extend(headers);
        }
        self
    }

    /// Sets the name of the calling service.
    #[must_use]
    pub fn with_caller(self, caller: &str) -> Self {
        self.0.caller.replace(Some(caller.into()));
        self
    }

    /// Puts a value into the cacher of the node, whose entries stay however long they may live.
    ///
    /// # Panics
    /// When the value has no JSON form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test reports by panicking")]
    pub fn with_cached(self, key: &str, value: impl Serialize) -> Self {
        let value = Payload::from_value(&value).expect("a value with a JSON form");
        self.0.cache.borrow_mut().insert(key.into(), (value, None));
        self
    }

    /// The keys in the cacher, sorted.
    #[must_use]
    pub fn cached_keys(&self) -> Vec<String> {
        self.0.cache.borrow().keys().cloned().collect()
    }

    /// A new instance, made as in a component (`#[created]`, else `Default`).
    #[must_use]
    pub fn create<S: Service>(&self) -> S {
        S::create()
    }

    /// A context for calling a method of the service directly.
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new(self.host("test", None))
    }

    /// Calls an action of the service by its full name (`posts.get`, `v2.posts.get`), with its hooks, and
    /// with its fallback when it fails.
    ///
    /// # Errors
    /// The handler's, or `ServiceNotFoundError` when the service has no such action.
    pub fn call<S: Service>(
        &self,
        service: &mut S,
        action: &str,
        params: impl Serialize,
    ) -> Result<Value> {
        self.call_as(service, action, params)
    }

    /// [`MockBroker::call`] with a result of another type, such as [`Payload`] or [`crate::Bytes`].
    ///
    /// # Errors
    /// As [`MockBroker::call`], and when the result has another form than `T`.
    pub fn call_as<T: DeserializeOwned, S: Service>(
        &self,
        service: &mut S,
        action: &str,
        params: impl Serialize,
    ) -> Result<T> {
        let schema = schema::<S>()?;
        let own = action.strip_prefix(&full_name(&schema)).and_then(|rest| rest.strip_prefix('.'));
        let Some(own) = own.filter(|own| has_action(&schema, own)) else {
            return Err(Error::service_not_found(action, None));
        };
        let params = as_params(Payload::from_value(&params)?);
        let ctx = Context::new(self.host_of(action, None, &schema));
        let outcome = ctx.run(service.call_action(&ctx, own, params.clone()));
        let result = match outcome {
            Err(error) if has_fallback(&schema, own) => {
                let mut host = self.host_of(action, None, &schema);
                host.cause = Some(error);
                let ctx = Context::new(host);
                ctx.run(service.call_action(&ctx, &format!("{own}|fallback"), params))
            }
            outcome => outcome,
        };
        result?.into_value()
    }

    /// Sends an event to every handler of the service whose pattern matches, one after the other.
    ///
    /// # Errors
    /// That of the first handler which fails.
    pub fn emit<S: Service>(
        &self,
        service: &mut S,
        event: &str,
        data: impl Serialize,
    ) -> Result<()> {
        let schema = schema::<S>()?;
        let data = Payload::from_value(&data)?;
        let patterns = schema.get("events").and_then(Value::as_object).into_iter().flatten();
        for (pattern, _) in patterns.filter(|(pattern, _)| matches(pattern, event)) {
            let ctx = Context::new(self.host_of(event, Some(EventType::Emit), &schema));
            ctx.run(service.handle_event(&ctx, pattern, data.clone()))?;
        }
        Ok(())
    }

    /// Runs what the node runs in a new instance.
    ///
    /// # Errors
    /// Those of the function marked `#[started]`.
    pub fn start<S: Service>(&self, service: &mut S) -> Result<()> {
        let ctx = Context::new(self.host_of("started", None, &schema::<S>()?));
        ctx.run(service.started(&ctx))
    }

    /// Runs what the node runs in an instance that is retired.
    ///
    /// # Errors
    /// Those of the function marked `#[stopped]`.
    pub fn stop<S: Service>(&self, service: &mut S) -> Result<()> {
        let ctx = Context::new(self.host_of("stopped", None, &schema::<S>()?));
        ctx.run(service.stopped(&ctx))
    }

    /// The calls that were made, in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<MadeCall> {
        self.0.calls.borrow().clone()
    }

    /// The events that were sent, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<SentEvent> {
        self.0.events.borrow().clone()
    }

    /// The lines that were logged, in their order.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.logs.borrow().clone()
    }

    /// The spans that were begun, in their order.
    #[must_use]
    pub fn spans(&self) -> Vec<RecordedSpan> {
        self.0.spans.borrow().clone()
    }

    /// The meta as it is now.
    #[must_use]
    pub fn meta(&self) -> Value {
        Value::Object(self.0.meta.borrow().clone())
    }

    /// The headers of the response as they are now.
    #[must_use]
    pub fn response_headers(&self) -> Value {
        Value::Object(self.0.response_headers.borrow().clone())
    }

    fn host(&self, name: &str, event: Option<EventType>) -> MockHost {
        let number = self.0.contexts.get() + 1;
        self.0.contexts.set(number);
        let settings = self.0.settings.borrow().clone().unwrap_or_else(|| json!({}));
        let (name, broker) = (name.into(), self.clone());
        let (service, answered) = (String::new(), Cell::new(false));
        MockHost { broker, number, name, event, settings, service, cause: None, answered }
    }

    fn host_of(&self, name: &str, event: Option<EventType>, schema: &Value) -> MockHost {
        let mut host = self.host(name, event);
        host.service = full_name(schema);
        if self.0.settings.borrow().is_none()
            && let Some(settings) = schema.get("settings")
        {
            host.settings = settings.clone();
        }
        host
    }

    /// Makes a call of the service under test that may be answered with a stream.
    fn begin_call(&self, action: &str, params: Payload, options: Option<&str>) -> MockAnswer {
        let stream = self.0.answer_streams.borrow().get(action).cloned();
        let result = self.answer(action, params, options);
        match stream {
            Some(stream) => MockAnswer::new(Ok(Payload::Absent), Some(stream)),
            None => MockAnswer::new(result, None),
        }
    }

    /// Makes a call of the service under test.
    fn answer(&self, action: &str, params: Payload, options: Option<&str>) -> Result<Payload> {
        let params: Value = as_params(params).into_value()?;
        let options: Value = serde_json::from_str(options.unwrap_or("{}"))?;
        let call =
            MadeCall { action: action.into(), params: params.clone(), options: options.clone() };
        self.0.calls.borrow_mut().push(call);
        let answer = self.0.answers.borrow().get(action).cloned();
        answer
            .ok_or_else(|| Error::service_not_found(action, None))
            .and_then(|answer| answer(params, options))
    }
}

/// Omitted params are `{}`, as in every Moleculer broker.
fn as_params(params: Payload) -> Payload {
    if params == Payload::Absent { Payload::Json("{}".into()) } else { params }
}

fn schema<S: Service>() -> Result<Value> {
    Ok(serde_json::from_str(S::SCHEMA)?)
}

/// `posts`, `v2.posts`, `staging.posts` (moleculer: src/service.js getVersionedFullName).
fn full_name(schema: &Value) -> String {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let prefixed = schema.pointer("/settings/$noVersionPrefix") != Some(&json!(true));
    match schema.get("version") {
        Some(Value::Number(version)) if prefixed => format!("v{version}.{name}"),
        Some(Value::String(version)) if prefixed => format!("{version}.{name}"),
        _ => name.into(),
    }
}

fn has_action(schema: &Value, action: &str) -> bool {
    schema.get("actions").and_then(|actions| actions.get(action)).is_some()
}

fn has_fallback(schema: &Value, action: &str) -> bool {
    let action = schema.get("actions").and_then(|actions| actions.get(action));
    action.and_then(|action| action.get("fallback")).is_some_and(Value::is_string)
}
