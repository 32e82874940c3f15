//! Middlewares that are components: authentication, auditing and the like, in a sandbox
//! (`wit/middleware.wit`).
//!
//! A component stands outside of validator, bulkhead and cacher, so that a cached result is given to nobody
//! who was not let in, and inside of context tracker, circuit breaker and time limit, which count it as part
//! of the call. What it decides about is the actions and events of this node, whoever calls; calls to other
//! nodes are theirs to guard.
//!
//! It is never skipped: while it is not loaded, and however it ends, the call fails. Only what the component
//! itself calls or sends passes it by. Which actions it sees is decided when they are registered; loading a
//! new version of it keeps that, or is refused.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;

use crate::config::limits::ActionLimits;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::middleware::Middleware;
use crate::payload::Payload;
use crate::runtime::{Decision, Pool, Stage, Target};
use crate::schema::middleware::{Hooks, MiddlewareSchema};
use crate::schema::{ActionSchema, EventSchema};

/// The place of one component in the chain.
#[derive(Clone)]
pub struct ComponentMiddleware(Arc<Slot>);

struct Slot {
    name: Arc<str>,
    full_name: Arc<str>,
    loaded: ArcSwapOption<Loaded>,
}

/// A component that runs.
struct Loaded {
    pool: Pool,
    target: Arc<Target>,
    schema: MiddlewareSchema,
}

/// A new version wants to see other things than the one in place.
#[derive(Debug, thiserror::Error)]
#[error(
    "it asks for other hooks, actions or events than the version in place; restart the node for that"
)]
pub struct Different;

impl ComponentMiddleware {
    /// An empty place for the component of this name; until it is filled, every call fails.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Slot {
            name: name.into(),
            full_name: format!("$middleware.{name}").into(),
            loaded: ArcSwapOption::empty(),
        }))
    }

    /// The name by which the operator wants it: that of its file.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Its name in logs and errors, and as a caller. No service can have it.
    #[must_use]
    pub fn full_name(&self) -> &Arc<str> {
        &self.0.full_name
    }

    /// Whether the place is filled.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.loaded.load().is_some()
    }

    /// Puts a started pool into the place and gives the one that was there. Calls that run finish on it.
    ///
    /// # Errors
    /// [`Different`]; nothing has changed then.
    pub fn load(&self, pool: Pool, schema: MiddlewareSchema) -> Result<Option<Pool>, Different> {
        if let Some(old) = &*self.0.loaded.load() {
            let (old, new) = (&old.schema, &schema);
            let same = old.hooks == new.hooks && old.actions == new.actions;
            if !same || old.events != new.events {
                return Err(Different);
            }
        }
        let target = pool.target(Arc::clone(&self.0.full_name), &ActionLimits::default());
        let loaded = Arc::new(Loaded { pool, target, schema });
        Ok(self.0.loaded.swap(Some(loaded)).map(|old| old.pool.clone()))
    }

    /// Empties the place and gives the pool that was there, to be drained.
    #[must_use]
    pub fn unload(&self) -> Option<Pool> {
        self.0.loaded.swap(None).map(|old| old.pool.clone())
    }
}

impl Slot {
    /// The hooks for an action; all calls are stopped before it while nothing is loaded.
    fn hooks_of_action(&self, name: &str) -> Hooks {
        let closed = Hooks { before_call: true, ..Hooks::default() };
        match &*self.loaded.load() {
            None => closed,
            Some(loaded) if loaded.schema.actions.matches(name) => loaded.schema.hooks,
            Some(_) => Hooks::default(),
        }
    }

    /// Whether an event may have to be asked about. Only the name under which it is sent tells it for sure
    /// when the subscription is a pattern.
    fn may_ask_about(&self, subscription: &str) -> bool {
        self.loaded.load().as_ref().is_none_or(|loaded| {
            let pattern = subscription.contains(['*', '?']);
            loaded.schema.hooks.before_event
                && (pattern || loaded.schema.events.matches(subscription))
        })
    }

    /// Whether the call or event was made by this middleware itself.
    fn made(&self, ctx: &Context) -> bool {
        ctx.made_by.as_ref().is_some_and(|by| **by == *self.full_name)
    }

    /// Runs one hook in a context in which the middleware is the caller of what it calls. What it sets in
    /// the meta is seen in the call, also when it refuses.
    async fn ask(&self, ctx: &Context, stage: Stage<'_>) -> Result<Decision, MoleculerError> {
        let loaded = self.loaded.load_full().ok_or_else(|| self.not_loaded())?;
        let own = ctx
            .copy()
            .with(|own| own.service = Arc::clone(&self.full_name))
            .deadline(ctx.deadline())
            .build();
        let decided = loaded.pool.intercept(own.clone(), &loaded.target, stage).await;
        take_over(ctx, &own);
        decided
    }

    fn not_loaded(&self) -> MoleculerError {
        MoleculerError::service_not_available(&self.full_name, None)
    }

    async fn call(self: Arc<Self>, hooks: Hooks, next: Handler, ctx: Context) -> Outcome {
        let mut run = ctx.clone();
        if hooks.before_call {
            match self.ask(&ctx, Stage::BeforeCall).await? {
                Decision::Proceed | Decision::Skip => {}
                Decision::ProceedWith(params) => run = changed(&ctx, params),
                Decision::Answer(result) => return Ok(result),
            }
        }
        let outcome = next(run.clone()).await;
        if !run.is_same(&ctx) {
            take_over(&ctx, &run);
        }
        match outcome {
            Ok(result) if hooks.after_call => {
                match self.ask(&ctx, Stage::AfterCall(&result)).await? {
                    Decision::ProceedWith(other) | Decision::Answer(other) => Ok(other),
                    Decision::Proceed | Decision::Skip => Ok(result),
                }
            }
            Err(error) if hooks.on_error => match self.ask(&ctx, Stage::OnError(&error)).await? {
                Decision::Answer(result) | Decision::ProceedWith(result) => Ok(result),
                Decision::Proceed | Decision::Skip => Err(error),
            },
            outcome => outcome,
        }
    }

    async fn event(
        self: Arc<Self>,
        next: EventHandler,
        ctx: Context,
    ) -> Result<(), MoleculerError> {
        match self.ask(&ctx, Stage::BeforeEvent).await? {
            Decision::Skip => Ok(()),
            Decision::ProceedWith(data) => next(changed(&ctx, data)).await,
            Decision::Proceed | Decision::Answer(_) => next(ctx).await,
        }
    }

    /// Whether an event that is delivered now is to be asked about.
    fn asks_about(&self, ctx: &Context) -> bool {
        let selected = |loaded: &Arc<Loaded>| loaded.schema.events.matches(&ctx.name);
        self.loaded.load().as_ref().is_none_or(selected) && !self.made(ctx)
    }
}

/// The same call with other params or data.
fn changed(ctx: &Context, params: Payload) -> Context {
    ctx.copy().with(|copy| copy.params = params).deadline(ctx.deadline()).build()
}

/// Puts what was set in a copy of a context into the context.
fn take_over(ctx: &Context, copy: &Context) {
    ctx.merge_meta(&copy.meta());
    let headers = copy.response_headers();
    if !headers.is_empty() {
        ctx.merge_response_headers(&headers);
    }
}

impl Middleware for ComponentMiddleware {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let hooks = self.0.hooks_of_action(&action.name);
        if !hooks.of_actions() {
            return next;
        }
        let slot = Arc::clone(&self.0);
        Arc::new(move |ctx: Context| -> BoxFuture<'static, Outcome> {
            if slot.made(&ctx) {
                return next(ctx);
            }
            Box::pin(Arc::clone(&slot).call(hooks, Arc::clone(&next), ctx))
        })
    }

    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        if !self.0.may_ask_about(&event.key) {
            return next;
        }
        let slot = Arc::clone(&self.0);
        Arc::new(move |ctx: Context| {
            if !slot.asks_about(&ctx) {
                return next(ctx);
            }
            Box::pin(Arc::clone(&slot).event(Arc::clone(&next), ctx))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextBuilder;

    #[tokio::test]
    async fn a_place_that_is_empty_lets_nothing_through() {
        let auth = ComponentMiddleware::new("auth");
        let action = crate::schema::ServiceSchema::read(
            r#"{"name":"a","actions":{"b":{}}}"#,
            &serde_json::Map::new(),
            crate::schema::Bounds { len: 100, items: 1, internal: false },
        )
        .unwrap();
        let open: Handler = Arc::new(|_| Box::pin(async { Ok(Payload::null()) }));
        let guarded = auth.local_action(open, &action.actions[0]);
        let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
        let error = guarded(ctx).await.unwrap_err();
        assert_eq!(error.kind(), "SERVICE_NOT_AVAILABLE");
        assert!(error.message().contains("$middleware.auth"), "{error}");
    }
}
