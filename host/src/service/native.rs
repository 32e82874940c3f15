//! Services in Rust, beside the components: what an embedding program writes.
//!
//! Params and results are serde types; handlers are async functions. Definitions carry Moleculer's keys
//! (`cache`, `params`, `visibility`, `timeout` …) and have the same effect as those of a component.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::payload::Payload;
use crate::schema::{self, Bounds};
use crate::service::{LocalService, Started, Stopped};

/// Makes a [`LocalService`]; from [`LocalService::builder`].
///
/// ```
/// use isomer_host::service::LocalService;
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Add { a: f64, b: f64 }
///
/// let math = LocalService::builder("math")
///     .version(2)
///     .action("add", json!({"params": {"a": "number", "b": "number"}}), |_ctx, add: Add| async move {
///         Ok(add.a + add.b)
///     })
///     .build()?;
/// assert_eq!(&*math.schema.full_name, "v2.math");
/// # Ok::<(), isomer_host::schema::Error>(())
/// ```
pub struct Builder {
    schema: Map<String, Value>,
    actions: Vec<(String, Value, Handler)>,
    events: Vec<(String, Value, EventHandler)>,
    started: Option<Started>,
    stopped: Option<Stopped>,
}

impl LocalService {
    /// A service of this name, without anything in it yet.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder {
            schema: Map::from_iter([("name".to_owned(), name.into())]),
            actions: Vec::new(),
            events: Vec::new(),
            started: None,
            stopped: None,
        }
    }
}

impl Builder {
    /// Any key of the schema: `settings`, `metadata`, `dependencies`, `isomer`.
    #[must_use]
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.schema.insert(key.to_owned(), value);
        self
    }

    /// The version: a number (`v2.math`) or a text (`staging.math`).
    #[must_use]
    pub fn version(self, version: impl Into<Value>) -> Self {
        self.key("version", version.into())
    }

    /// An action. Params that do not have the form of `P` are a `ValidationError` (422).
    #[must_use]
    pub fn action<P, R, Fut>(
        self,
        name: &str,
        definition: Value,
        work: impl Fn(Context, P) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        R: Serialize,
        Fut: Future<Output = Result<R, MoleculerError>> + Send + 'static,
    {
        self.handler(
            name,
            definition,
            Arc::new(move |ctx| {
                let work = read(ctx.params()).map(|params| work(ctx, params));
                Box::pin(async move { write(&work?.await?) })
            }),
        )
    }

    /// An action that takes its params from the context as they are, and gives its result as bytes or text.
    #[must_use]
    pub fn handler(mut self, name: &str, definition: Value, handler: Handler) -> Self {
        self.actions.push((name.to_owned(), definition, handler));
        self
    }

    /// Handles the events whose names match a pattern. Data that does not have the form of `D` is an error,
    /// which is logged.
    #[must_use]
    pub fn event<D, Fut>(
        mut self,
        pattern: &str,
        definition: Value,
        work: impl Fn(Context, D) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        D: DeserializeOwned,
        Fut: Future<Output = Result<(), MoleculerError>> + Send + 'static,
    {
        let handler: EventHandler = Arc::new(move |ctx| {
            let work = read(ctx.params()).map(|data| work(ctx, data));
            Box::pin(async move { work?.await })
        });
        self.events.push((pattern.to_owned(), definition, handler));
        self
    }

    /// Runs before the service is known; an error keeps it from starting.
    #[must_use]
    pub fn started<Fut>(mut self, work: impl FnOnce() -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), MoleculerError>> + Send + 'static,
    {
        self.started = Some(Box::new(move || Box::pin(work())));
        self
    }

    /// Runs when the service has been taken away and its calls have ended.
    #[must_use]
    pub fn stopped<Fut>(mut self, work: impl FnOnce() -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.stopped = Some(Box::new(move |_| Box::pin(work())));
        self
    }

    /// The service.
    ///
    /// # Errors
    /// [`schema::Error`] with everything that is wrong with the names and definitions.
    pub fn build(self) -> Result<LocalService, schema::Error> {
        let Self { mut schema, actions, events, started, stopped } = self;
        let listed = |items: Vec<(&String, &Value)>| {
            Value::Object(items.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect())
        };
        schema.insert("actions".into(), listed(actions.iter().map(|(k, v, _)| (k, v)).collect()));
        schema.insert("events".into(), listed(events.iter().map(|(k, v, _)| (k, v)).collect()));
        let bounds = Bounds { len: usize::MAX, items: usize::MAX, internal: false };
        let actions = actions.iter().map(|(k, _, h)| (k.as_str(), Arc::clone(h))).collect();
        let events = events.iter().map(|(k, _, h)| (k.as_str(), Arc::clone(h))).collect();
        let service = LocalService::with_handlers(&schema.into(), bounds, actions, events)?;
        Ok(LocalService { started, stopped, ..service })
    }
}

fn read<T: DeserializeOwned>(payload: &Payload) -> Result<T, MoleculerError> {
    payload.parse().map_err(|error| {
        let item = json!([{"type": "params", "message": error.to_string()}]);
        MoleculerError::validation("Parameters validation error!", &item)
    })
}

fn write<T: Serialize>(value: &T) -> Result<Payload, MoleculerError> {
    Payload::from_value(value).map_err(|error| MoleculerError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextBuilder;

    #[tokio::test]
    async fn params_and_results_are_typed() {
        let service = LocalService::builder("math")
            .action("double", json!({}), |_, n: i64| async move { Ok(n * 2) })
            .build()
            .unwrap();
        let call = |params: Value| {
            let ctx = ContextBuilder::new("math.double".into(), "n".into())
                .with(|ctx| ctx.params = Payload::from_value(&params).unwrap())
                .build();
            (service.actions[0])(ctx)
        };
        assert_eq!(call(json!(21)).await.unwrap(), Payload::from_value(&42).unwrap());
        assert_eq!(call(json!("x")).await.unwrap_err().kind(), "VALIDATION_ERROR");
    }

    #[test]
    fn a_wrong_definition_is_refused_with_its_key() {
        let wrong = LocalService::builder("math")
            .version(true)
            .action("a b", json!({}), |_, (): ()| async { Ok(()) })
            .build();
        let error = wrong.err().unwrap().to_string();
        assert!(error.contains("'version'") && error.contains("actions.a b"), "{error}");
        let kept = LocalService::builder("$mine").build();
        assert!(kept.is_err(), "names with $ are the node's own");
    }
}
