//! Refuses params that do not fit the schema of the action or event, before the guest is entered
//! (moleculer: src/validators/base.js middleware).
//!
//! Defaults, conversions and sanitisers change what the handler sees, not what a cache key is made of: the
//! cacher stands outside and has seen the params as they came. A schema that cannot be used refuses its
//! service when it is created; what was compiled for that is kept until its handlers are wrapped.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::config;
use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler, HandlerOf};
use crate::middleware::Middleware;
use crate::payload::Payload;
use crate::schema::{self, ActionSchema, EventSchema, ServiceSchema};
use crate::validator::{self, Check, GROWTH_MAX, Item, Refusal};

/// As many bytes of a payload of bytes have a key of their own where a rule looks at its keys.
const BYTE_KEYS_MAX: usize = 16;

/// The definition of an action or event, as its schema holds it.
type Definition = Map<String, Value>;

/// A definition's compiled schema, or what is wrong with it.
type Compiled = Result<Check, Vec<String>>;

/// The middleware.
pub struct Validator {
    options: config::Validator,
    /// Schemas of services that are being created. Those of services that did not come to life go with the
    /// next creation.
    compiled: Mutex<Vec<(Weak<Definition>, Compiled)>>,
}

impl Validator {
    /// With the broker's options.
    #[must_use]
    pub fn new(options: config::Validator) -> Self {
        Self { options, compiled: Mutex::default() }
    }

    /// The compiled schema of an action or event; none when it has none.
    fn compile(&self, definition: &Definition) -> Option<Compiled> {
        let params = definition.get("params").filter(|params| !is_off(params))?;
        match &self.options {
            config::Validator::Off => None,
            config::Validator::Fastest(options) => Some(validator::compile(params, options)),
            config::Validator::JsonSchema => Some(validator::compile_json_schema(params)),
        }
    }

    /// What was compiled when the service was created, once.
    fn take_compiled(&self, definition: &Arc<Definition>) -> Option<Compiled> {
        let mut compiled = self.compiled.lock();
        let is_it = |(of, _): &(Weak<Definition>, _)| of.as_ptr() == Arc::as_ptr(definition);
        let index = compiled.iter().position(is_it)?;
        Some(compiled.swap_remove(index).1)
    }

    /// Puts the check before a handler. A schema that cannot be used refuses everything: its service should
    /// not have come this far.
    fn before<T: Send + 'static>(
        &self,
        next: HandlerOf<T>,
        definition: &Arc<Definition>,
        subject: Subject,
        name: &Arc<str>,
    ) -> HandlerOf<T> {
        let kept = self.take_compiled(definition);
        let Some(check) = kept.or_else(|| self.compile(definition)) else { return next };
        let gate = Gate { check, subject, name: Arc::clone(name) };
        Arc::new(move |ctx: Context| match gate.pass(&ctx) {
            Ok(()) => next(ctx),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        })
    }
}

/// What Moleculer takes for "no schema".
fn is_off(params: &Value) -> bool {
    params.is_null() || *params == Value::Bool(false)
}

impl Middleware for Validator {
    fn service_creating(&self, service: &ServiceSchema) -> Result<(), MoleculerError> {
        let mut problems = Vec::new();
        let mut compiled = Vec::new();
        let mut look = |kind: &str, key: &str, definition: &Arc<Definition>| {
            let Some(made) = self.compile(definition) else { return };
            if let Err(found) = &made {
                let told = found.iter().map(|problem| format!("'{kind}.{key}.params' {problem}"));
                problems.extend(told);
            }
            compiled.push((Arc::downgrade(definition), made));
        };
        for action in &service.actions {
            look("actions", &action.key, &action.definition);
        }
        for event in &service.events {
            look("events", &event.key, &event.definition);
        }
        if problems.is_empty() {
            let mut kept = self.compiled.lock();
            kept.retain(|(definition, _)| definition.strong_count() > 0);
            kept.append(&mut compiled);
            return Ok(());
        }
        let error = schema::Error { service: service.full_name.to_string(), problems };
        Err(MoleculerError::service_schema(error.to_string()))
    }

    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        self.before(next, &action.definition, Subject::Action, &action.name)
    }

    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        self.before(next, &event.definition, Subject::Event, &event.key)
    }
}

/// What the params belong to.
#[derive(Clone, Copy)]
enum Subject {
    Action,
    Event,
}

impl Subject {
    /// Its key in an error item.
    fn key(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Event => "event",
        }
    }
}

/// Stands before one handler.
struct Gate {
    check: Compiled,
    subject: Subject,
    /// The action's full name or the event's pattern.
    name: Arc<str>,
}

impl Gate {
    fn pass(&self, ctx: &Context) -> Result<(), MoleculerError> {
        let check = match &self.check {
            Ok(check) => check,
            Err(problems) => return Err(MoleculerError::service_schema(problems.join("; "))),
        };
        let verdict = match &ctx.params {
            // Nothing is checked like an empty object, and stays nothing.
            Payload::Absent | Payload::Stream(_) => {
                check.run(&Value::Object(Map::new())).map(|_| None)
            }
            Payload::Bytes(bytes) => check.run(&keys_of(bytes)).map(|_| None),
            Payload::Json(text) if check.surely_fits(text) => return Ok(()),
            Payload::Json(_) => match ctx.params_value() {
                None => return Err(unreadable()),
                Some(Value::Null) => check.run(&Value::Object(Map::new())).map(|_| None),
                Some(params) => check.run(params),
            },
        };
        match verdict {
            Ok(None) => {}
            Ok(Some(changed)) => {
                let payload = Payload::from_value(&changed).map_err(|_| unreadable())?;
                ctx.sanitize_params(payload);
            }
            Err(refusal) => return Err(self.refused(refusal, ctx)),
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal, ctx: &Context) -> MoleculerError {
        match refusal {
            Refusal::Invalid(items) => {
                let items: Value = items.into_iter().map(|item| self.told(item, ctx)).collect();
                MoleculerError::validation("Parameters validation error!", &items)
            }
            Refusal::TooLarge => {
                let size = ctx.params.len() + GROWTH_MAX + 1;
                MoleculerError::payload_too_large("params with its defaults", GROWTH_MAX, size)
            }
        }
    }

    /// An item as the caller sees it. The node is the caller's, as in Moleculer.
    fn told(&self, item: Item, ctx: &Context) -> Value {
        let mut item = item.into_map();
        item.insert("nodeID".into(), (*ctx.node_id).into());
        item.insert(self.subject.key().into(), (*self.name).into());
        Value::Object(item)
    }
}

/// JSON that is well-formed, but has a number that no computer's number can hold.
fn unreadable() -> MoleculerError {
    MoleculerError::invalid_payload("params", "not readable: a number is out of range")
}

/// Bytes as the rules see them: an object with their indices as keys, as a `Buffer` is in JavaScript. The
/// first few are enough to be refused where keys are restricted.
fn keys_of(bytes: &[u8]) -> Value {
    let keys = bytes.iter().take(BYTE_KEYS_MAX).enumerate();
    Value::Object(keys.map(|(index, byte)| (index.to_string(), (*byte).into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validator::FastestOptions;
    use crate::context::{ContextBuilder, Outcome};
    use crate::schema::Bounds;
    use bytes::Bytes;
    use serde_json::json;

    fn middleware() -> Validator {
        Validator::new(config::Validator::Fastest(FastestOptions::default()))
    }

    fn service(params: &Value) -> ServiceSchema {
        let text = json!({"name": "s", "actions": {"a": {"params": params}}, "events": {"e.*": {"params": params}}});
        let bounds = Bounds { len: usize::MAX, items: 10, internal: false };
        ServiceSchema::read(&text.to_string(), &Map::new(), bounds).unwrap()
    }

    fn context(params: Payload) -> Context {
        ContextBuilder::new("s.a".into(), "caller".into()).with(|ctx| ctx.params = params).build()
    }

    /// Calls an action that answers with what it saw.
    async fn call(params: &Value, given: Payload) -> Outcome {
        let seen: Handler =
            Arc::new(|ctx: Context| Box::pin(std::future::ready(Ok(ctx.params().clone()))));
        let service = service(params);
        middleware().local_action(seen, &service.actions[0])(context(given)).await
    }

    fn text(value: &Value) -> Payload {
        Payload::from_value(value).unwrap()
    }

    #[tokio::test]
    async fn params_that_do_not_fit_are_refused_with_the_node_of_the_caller() {
        let error =
            call(&json!({"id": "number|positive"}), text(&json!({"id": -1}))).await.unwrap_err();
        assert_eq!(
            (error.name(), error.code(), error.kind()),
            ("ValidationError", 422, "VALIDATION_ERROR")
        );
        assert_eq!(error.message(), "Parameters validation error!");
        let item = r#"{"type":"numberPositive","message":"The 'id' field must be a positive number.","field":"id","actual":-1,"nodeID":"caller","action":"s.a"}"#;
        assert_eq!(error.fields().data.as_deref(), Some(&*format!("[{item}]")));
    }

    #[tokio::test]
    async fn the_handler_sees_defaults_and_conversions() {
        let schema = json!({"n": "number|convert", "d": {"type": "string", "default": "x"}});
        let seen = call(&schema, text(&json!({"n": "5"}))).await.unwrap();
        assert_eq!(seen, text(&json!({"n": 5, "d": "x"})));
    }

    #[tokio::test]
    async fn params_that_fit_arrive_as_the_very_text_that_came() {
        let given = Payload::from_json_text("{ \"n\" : 1.0e0 }".into()).unwrap();
        assert_eq!(call(&json!({"n": "number"}), given.clone()).await.unwrap(), given);
    }

    #[tokio::test]
    async fn nothing_is_checked_as_an_empty_object_and_stays_nothing() {
        let schema = json!({"d": {"type": "string", "default": "x"}});
        assert_eq!(call(&schema, Payload::Absent).await.unwrap(), Payload::Absent);
        assert_eq!(call(&schema, Payload::null()).await.unwrap(), Payload::null());
        assert!(call(&json!({"d": "string"}), Payload::null()).await.is_err());
    }

    #[tokio::test]
    async fn bytes_are_checked_like_an_object_without_the_fields() {
        let bytes = Payload::Bytes(Bytes::from_static(&[1, 2]));
        let optional = json!({"d": {"type": "string", "default": "x"}});
        assert_eq!(call(&optional, bytes.clone()).await.unwrap(), bytes);
        assert!(call(&json!({"d": "string"}), bytes.clone()).await.is_err());
        assert!(call(&json!({"$$strict": true, "d": "any|optional"}), bytes).await.is_err());
    }

    #[tokio::test]
    async fn an_event_with_wrong_data_does_not_reach_its_handler() {
        let handler: EventHandler = Arc::new(|_| panic!("the handler was called"));
        let service = service(&json!({"id": "number"}));
        let outcome =
            middleware().local_event(handler, &service.events[0])(context(text(&json!({})))).await;
        let data = outcome.unwrap_err().fields().data.clone().unwrap();
        assert!(data.ends_with(r#""nodeID":"caller","event":"e.*"}]"#), "{data}");
    }

    #[tokio::test]
    async fn a_number_that_cannot_be_read_is_refused() {
        let given = Payload::from_json_text("{\"n\":1e999}".into()).unwrap();
        assert_eq!(call(&json!({"n": "any"}), given).await.unwrap_err().kind(), "INVALID_PAYLOAD");
    }

    #[test]
    fn a_schema_that_cannot_be_used_refuses_its_service() {
        let error = middleware().service_creating(&service(&json!({"id": "numbr"}))).unwrap_err();
        assert_eq!(error.kind(), "SERVICE_SCHEMA_ERROR");
        let start =
            "the schema of service 's' is wrong: 'actions.a.params' 'id' has the type \"numbr\"";
        assert!(error.message().starts_with(start), "{error}");
        assert!(error.message().contains("'events.e.*.params' 'id' has the type"), "{error}");
        assert!(middleware().service_creating(&service(&json!({"id": "number"}))).is_ok());
    }

    #[test]
    fn a_schema_is_compiled_once_and_kept_no_longer_than_its_service() {
        let (middleware, created) = (middleware(), service(&json!({"id": "number"})));
        let n_kept = || middleware.compiled.lock().len();
        middleware.service_creating(&created).unwrap();
        assert_eq!(n_kept(), 2);
        let handler: Handler = Arc::new(|_| Box::pin(std::future::ready(Ok(Payload::null()))));
        drop(middleware.local_action(handler, &created.actions[0]));
        assert_eq!(n_kept(), 1, "it is taken for the chain");
        drop(created);
        middleware.service_creating(&service(&json!(null))).unwrap();
        assert_eq!(n_kept(), 0, "a service that did not come to life");
    }

    #[test]
    fn an_action_without_a_schema_is_left_alone() {
        let handler: Handler = Arc::new(|_| Box::pin(std::future::ready(Ok(Payload::null()))));
        for (middleware, params) in [
            (middleware(), json!(null)),
            (middleware(), json!(false)),
            (Validator::new(config::Validator::Off), json!({"id": "number"})),
        ] {
            let service = service(&params);
            let wrapped = middleware.local_action(Arc::clone(&handler), &service.actions[0]);
            assert!(Arc::ptr_eq(&wrapped, &handler), "{params}");
        }
    }
}
