//! A service on stage: its component runs under the normal limits, everything around it is played from a file.
//!
//! A file holds tests; each runs on a broker and a service of its own, so that none sees what another left.
//! What the service calls is answered by the mocks of the file, what it does is compared with what is
//! expected. The form is the same for every language. How it looks to people is `cli`'s business.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::broker::ServiceBroker;
use crate::clock;
use crate::config::cacher::CacheStore;
use crate::config::{BrokerOptions, ServiceOptions};
use crate::context::{CallOptions, Caller, Context, ContextBuilder, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::payload::{Object, Payload, Stream};
use crate::runtime::{Component, Runtime};
use crate::schema::{Bounds, ServiceSchema};
use crate::service;

mod compare;
mod file;
mod stage;

pub use compare::Difference;
pub use file::{Error as FileError, File, Mock, Step, Test};

use compare::Manner;
use stage::Stage;

/// Bytes of a stream that are read to compare it.
const STREAM_LEN_MAX: usize = 16 << 20;

/// The node that the service believes to be on.
const NODE_ID: &str = "test";

/// Runs tests against one component.
pub struct Theatre {
    runtime: Runtime,
    component: Component,
    /// What the component says of itself, without what it waits for.
    schema: Value,
    options: ServiceOptions,
    broker: BrokerOptions,
}

/// How a test ended.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// How long it took.
    #[serde(skip)]
    pub took: Duration,
    /// What was not as expected; none is well.
    pub problems: Vec<Difference>,
}

impl Theatre {
    /// For a component with the settings and limits of `options`. Of the broker's options those count that say
    /// how a service is run: no other node is reached.
    ///
    /// # Errors
    /// Why the component cannot be used.
    pub async fn new(
        runtime: Runtime,
        bytes: Vec<u8>,
        options: ServiceOptions,
        mut broker: BrokerOptions,
    ) -> Result<Self, String> {
        let component = runtime.load_bytes(bytes).await.map_err(|error| error.to_string())?;
        let text = component.describe(&options.limits).await.map_err(|error| error.to_string())?;
        let mut schema: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if let Some(schema) = schema.as_object_mut() {
            // They are played, so there is nobody to wait for.
            schema.remove("dependencies");
        }
        broker.node_id = Some(NODE_ID.to_owned());
        broker.transporter = None;
        broker.middlewares.clear();
        broker.hot_reload = false;
        // What is kept elsewhere would be seen by the next test, and needs a server.
        broker.cacher =
            broker.cacher.filter(|cacher| !matches!(cacher.store, CacheStore::Redis { .. }));
        broker.tracing.enabled = false;
        Ok(Self { runtime, component, schema, options, broker })
    }

    /// Runs one test; `file` brings the mocks and settings that all tests of a file have.
    pub async fn play(&self, file: &File, test: &Test) -> Report {
        let start = clock::now();
        let problems = match self.raise(file, test).await {
            Ok((broker, stage)) => {
                let problems = self.steps(test, &broker, &stage).await;
                broker.stop().await;
                problems
            }
            Err(why) => vec![Difference::said(format!("the service does not start: {why}"))],
        };
        let took = clock::now().saturating_duration_since(start);
        Report { name: test.name.clone(), took, problems }
    }

    /// A broker with the service and nothing else.
    async fn raise(&self, file: &File, test: &Test) -> Result<(ServiceBroker, Arc<Stage>), String> {
        let mut settings = self.options.settings.clone();
        settings.extend(file.settings.clone());
        settings.extend(test.settings.clone());
        let limits = &self.options.limits;
        let bounds = Bounds { len: limits.schema, items: limits.schema_items, internal: false };
        let schema = ServiceSchema::read(&self.schema.to_string(), &settings, bounds);
        let schema = schema.map_err(|error| error.to_string())?;
        let broker = ServiceBroker::new(self.broker.clone()).map_err(|error| error.to_string())?;
        broker.start().await.map_err(|error| error.to_string())?;
        let mocks = test.mock.iter().chain(&file.mock).cloned().collect();
        let stage = Arc::new(Stage::new(broker.as_caller(), mocks));
        let caller: Weak<dyn Caller> = Arc::<Stage>::downgrade(&stage);
        let (component, cacher) = (self.component.clone(), broker.cacher().cloned());
        let service = service::component::service(
            &self.runtime,
            component,
            schema,
            &self.options,
            caller,
            cacher,
        );
        match broker.add_service(service).await {
            Ok(()) => Ok((broker, stage)),
            Err(error) => {
                broker.stop().await;
                Err(error.to_string())
            }
        }
    }

    async fn steps(&self, test: &Test, broker: &ServiceBroker, stage: &Stage) -> Vec<Difference> {
        let steps = test.all_steps();
        let several = steps.len() > 1;
        for (index, step) in steps.iter().enumerate() {
            stage.forget();
            let mut problems = self.step(step, broker, stage).await;
            if problems.is_empty() {
                continue;
            }
            if several {
                problems.insert(0, Difference::said(format!("in step {}", index + 1)));
            }
            // What comes after stands on what went wrong.
            return problems;
        }
        Vec::new()
    }

    async fn step(&self, step: &Step, broker: &ServiceBroker, stage: &Stage) -> Vec<Difference> {
        let meta = Object::from_value(&step.meta).unwrap_or_default();
        let ctx = ContextBuilder::new(NODE_ID.into(), NODE_ID.into()).meta(meta).build();
        let outcome = match perform(step, &self.full_name(step), &ctx, broker).await {
            Ok(payload) => plain(payload).await,
            Err(error) => Err(error),
        };
        let mut problems = self.compared(step, outcome, stage);
        if let Some(expected) = &step.expect.meta {
            let meta: Value = serde_json::from_str(ctx.meta().as_str()).unwrap_or_default();
            compare::compare(expected, &meta, "meta", Manner::Contains, &mut problems);
        }
        if !problems.is_empty() {
            let own = self.full_name_of_service();
            let ours = |action: &str| {
                action.starts_with('$')
                    || action.strip_prefix(&own).is_some_and(|rest| rest.starts_with('.'))
            };
            let unplayed = stage.unplayed().into_iter().filter(|action| !ours(action));
            problems.extend(unplayed.map(|action| {
                Difference::said(format!("it called '{action}', for which there is no mock"))
            }));
        }
        problems
    }

    /// The action of a step: the service's own one of that name, else as it stands there.
    fn full_name(&self, step: &Step) -> String {
        let Some(action) = &step.call else { return String::new() };
        let own = self.schema.get("actions").and_then(|actions| actions.get(action));
        match own {
            Some(_) => format!("{}.{action}", self.full_name_of_service()),
            None => action.clone(),
        }
    }

    fn full_name_of_service(&self) -> String {
        let name = self.schema.get("name").and_then(Value::as_str).unwrap_or_default();
        match self.schema.get("version") {
            Some(Value::String(version)) => format!("{version}.{name}"),
            Some(Value::Number(version)) => format!("v{version}.{name}"),
            _ => name.to_owned(),
        }
    }

    fn compared(
        &self,
        step: &Step,
        outcome: Result<Value, MoleculerError>,
        stage: &Stage,
    ) -> Vec<Difference> {
        let expect = &step.expect;
        let mut problems = Vec::new();
        match (outcome, &expect.error) {
            (Ok(got), None) => {
                if let Some(expected) = &expect.result {
                    compare::compare(expected, &got, "result", Manner::Equals, &mut problems);
                }
                if let Some(expected) = &expect.contains {
                    compare::compare(expected, &got, "result", Manner::Contains, &mut problems);
                }
            }
            (Err(error), Some(expected)) => {
                let expected = Value::Object(expected.clone());
                let got = error.to_wire(NODE_ID);
                compare::compare(&expected, &got, "error", Manner::Contains, &mut problems);
            }
            (Ok(got), Some(expected)) => problems.push(Difference {
                at: "error".into(),
                expected: Some(Value::Object(expected.clone())),
                got: None,
                message: Some(format!("it succeeded with {got}")),
            }),
            (Err(error), None) => {
                let message = format!("it failed: {}: {}", error.name(), error.message());
                let mut got = error.to_wire(NODE_ID);
                // The names of the host's own functions help nobody here.
                got.as_object_mut().and_then(|got| got.remove("nodeID"));
                problems.push(Difference {
                    at: "error".into(),
                    expected: None,
                    got: Some(got),
                    message: Some(message),
                });
            }
        }
        let lists =
            [("calls", &expect.calls, stage.calls()), ("events", &expect.events, stage.events())];
        for (name, expected, got) in lists {
            if let Some(expected) = expected {
                compare::compare_list(expected, &got, name, &mut problems);
            }
        }
        problems
    }
}

/// Does what a step says, as a child of `ctx`, which gets the meta back.
async fn perform(step: &Step, action: &str, ctx: &Context, broker: &ServiceBroker) -> Outcome {
    let value = step.params.as_ref().or(step.data.as_ref());
    let payload = match value {
        Some(value) => Payload::from_value(value)
            .map_err(|error| MoleculerError::internal(error.to_string()))?,
        None => Payload::Absent,
    };
    let headers = (!step.headers.is_empty()).then(|| Object::from_value(&step.headers));
    let headers =
        headers.transpose().map_err(|error| MoleculerError::internal(error.to_string()))?;
    match &step.emit {
        Some(event) => {
            let parent = Some(ctx.clone());
            let options =
                EmitOptions { parent, headers, throw_error: true, ..EmitOptions::default() };
            broker.emit(event, payload, options).await.map(|()| Payload::Absent)
        }
        None => {
            let options = CallOptions { headers, ..CallOptions::child_of(ctx) };
            broker.call(action, payload, options).await
        }
    }
}

/// A result as a JSON value: bytes as Node.js shows a `Buffer`, a stream as the list of its chunks.
async fn plain(payload: Payload) -> Result<Value, MoleculerError> {
    if let Payload::Stream(stream) = &payload {
        return chunks(stream).await.map(Value::Array);
    }
    serde_json::from_str(&payload.to_json_text())
        .map_err(|error| MoleculerError::internal(error.to_string()))
}

async fn chunks(stream: &Stream) -> Result<Vec<Value>, MoleculerError> {
    let Some(mut reader) = stream.take() else { return Ok(Vec::new()) };
    let (mut chunks, mut len) = (Vec::new(), 0);
    while let Some(chunk) = reader.next().await? {
        len += chunk.len();
        if len > STREAM_LEN_MAX {
            let message = format!("the stream has more than {STREAM_LEN_MAX} bytes");
            return Err(MoleculerError::internal(message));
        }
        let text = match &chunk {
            // Bytes are mostly text in tests, and a list of numbers is hard to read.
            Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::from(text),
                Err(_) => serde_json::from_str(&chunk.to_json_text()).unwrap_or_default(),
            },
            _ => serde_json::from_str(&chunk.to_json_text()).unwrap_or_default(),
        };
        chunks.push(text);
    }
    Ok(chunks)
}

/// An object without what is null.
fn object(fields: Vec<(&str, Value)>) -> Value {
    let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}
