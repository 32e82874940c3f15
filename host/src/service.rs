//! A service of this node: what it declares and how it is run. Where it came from is `reload`'s business.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, FallbackHandler, Handler, HandlerOf};
use crate::schema::{self, Bounds, ServiceSchema};

pub mod component;
pub mod heard;
pub mod internals;
pub mod native;
mod probe;

/// Runs before the service is registered; a failure keeps it from starting.
pub type Started =
    Box<dyn FnOnce() -> BoxFuture<'static, Result<(), MoleculerError>> + Send + Sync>;
/// Runs when nobody uses the service any more, with what is left of the time that it had for its calls.
pub type Stopped = Box<dyn FnOnce(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// A service that can be registered with a broker.
pub struct LocalService {
    /// What it declares.
    pub schema: Arc<ServiceSchema>,
    /// One for each action of the schema, in its order.
    pub actions: Vec<Handler>,
    /// One for each action of the schema, in its order: answers when the action failed.
    pub fallbacks: Vec<Option<FallbackHandler>>,
    /// One for each event of the schema, in its order.
    pub events: Vec<EventHandler>,
    /// Shown in `$node.services` of this node.
    pub origin: Option<Value>,
    /// Run by the broker before the service is registered.
    pub started: Option<Started>,
    /// Run by the broker after it was taken away and its calls have ended.
    pub stopped: Option<Stopped>,
}

impl LocalService {
    /// A service of the host's own. Handlers are given by the keys of the schema.
    ///
    /// # Errors
    /// [`schema::Error`] when the schema is wrong or an action or event has no handler.
    pub fn native(
        schema: &Value,
        actions: Vec<(&str, Handler)>,
        events: Vec<(&str, EventHandler)>,
    ) -> Result<Self, schema::Error> {
        let bounds = Bounds { len: usize::MAX, items: usize::MAX, internal: true };
        Self::with_handlers(schema, bounds, actions, events)
    }

    fn with_handlers(
        schema: &Value,
        bounds: Bounds,
        mut actions: Vec<(&str, Handler)>,
        mut events: Vec<(&str, EventHandler)>,
    ) -> Result<Self, schema::Error> {
        let schema = ServiceSchema::read(&schema.to_string(), &Map::new(), bounds)?;
        let mut problems = Vec::new();
        let mut take_action = |key: &Arc<str>| {
            let found = actions.iter().position(|(name, _)| **name == **key);
            found.map(|index| actions.swap_remove(index).1).or_else(|| {
                problems.push(format!("action '{key}' has no handler"));
                None
            })
        };
        let action_handlers: Vec<_> =
            schema.actions.iter().filter_map(|action| take_action(&action.key)).collect();
        let mut take_event = |key: &Arc<str>| {
            let found = events.iter().position(|(name, _)| **name == **key);
            found.map(|index| events.swap_remove(index).1).or_else(|| {
                problems.push(format!("event '{key}' has no handler"));
                None
            })
        };
        let event_handlers: Vec<_> =
            schema.events.iter().filter_map(|event| take_event(&event.key)).collect();
        if !problems.is_empty() {
            return Err(schema::Error { service: schema.full_name.to_string(), problems });
        }
        Ok(Self {
            fallbacks: vec![None; action_handlers.len()],
            schema: Arc::new(schema),
            actions: action_handlers,
            events: event_handlers,
            origin: None,
            started: None,
            stopped: None,
        })
    }

    /// Makes every handler hold a token, and gives what waits until all handlers, and all calls that were
    /// made through them, are gone.
    pub fn watch_use(&mut self) -> InUse {
        let (token, released) = mpsc::channel::<()>(1);
        for handler in &mut self.actions {
            *handler = holding(&token, handler);
        }
        for handler in &mut self.events {
            *handler = holding(&token, handler);
        }
        for handler in self.fallbacks.iter_mut().flatten() {
            let next = Arc::clone(handler);
            let token = token.clone();
            *handler = Arc::new(move |ctx: Context, error: MoleculerError| {
                let _in_use = &token;
                next(ctx, error)
            });
        }
        InUse(released)
    }
}

/// The handler, which holds the token as long as it lives.
fn holding<T: 'static>(token: &mpsc::Sender<()>, handler: &HandlerOf<T>) -> HandlerOf<T> {
    let (token, next) = (token.clone(), Arc::clone(handler));
    Arc::new(move |ctx: Context| {
        let _in_use = &token;
        next(ctx)
    })
}

/// Tells when a service is no longer used. Whoever calls a handler keeps it until the call has ended.
pub struct InUse(mpsc::Receiver<()>);

impl InUse {
    /// Waits until every handler has been dropped.
    pub async fn released(&mut self) {
        // Nothing is ever sent: the end of the channel is the signal.
        let _ = self.0.recv().await;
    }
}
