//! A service that is a Wasm component: its handlers ask a pool of instances.

use std::sync::{Arc, Weak};

use crate::cacher::Cacher;
use crate::config::ServiceOptions;
use crate::config::limits::ActionLimits;
use crate::context::Caller;
use crate::handler::{EventHandler, FallbackHandler, Handler};
use crate::runtime::{Component, Pool, PoolOptions, Runtime, Traps, Wish};
use crate::schema::{ActionSchema, EventSchema, ServiceSchema};
use crate::service::{LocalService, heard, probe};

/// Makes a service of a component and its schema. Nothing of it runs before the broker starts it.
#[must_use]
pub fn service(
    runtime: &Runtime,
    component: Component,
    mut schema: ServiceSchema,
    options: &ServiceOptions,
    caller: Weak<dyn Caller>,
    cacher: Option<Arc<dyn Cacher>>,
) -> LocalService {
    heard::keep(&mut schema, &options.grants);
    watched(runtime, component, schema, options, caller, cacher).0
}

/// The same, and how often it traps. What it may not hear has been taken out of its schema by then.
#[must_use]
pub fn watched(
    runtime: &Runtime,
    component: Component,
    schema: ServiceSchema,
    options: &ServiceOptions,
    caller: Weak<dyn Caller>,
    cacher: Option<Arc<dyn Cacher>>,
) -> (LocalService, Arc<Traps>) {
    let wish = Wish {
        limits: &schema.limits,
        mode: schema.mode,
        settings: &schema.settings,
        lifecycle: schema.lifecycle,
    };
    let mut options = PoolOptions::new(Arc::clone(&schema.full_name), options, wish, caller);
    options.cacher = cacher;
    let pool = Pool::new(runtime, component, options);
    let (starting, stopping) = (pool.clone(), pool.clone());
    let actions: Vec<Handler> =
        schema.actions.iter().map(|action| action_handler(&pool, action)).collect();
    let probe = probe::of(&schema, &actions, runtime.node_id());
    let traps = Arc::clone(pool.traps());
    let service = LocalService {
        actions,
        fallbacks: schema.actions.iter().map(|action| fallback_handler(&pool, action)).collect(),
        events: schema.events.iter().map(|event| event_handler(&pool, event)).collect(),
        schema: Arc::new(schema),
        origin: None,
        started: Some(Box::new(move || {
            Box::pin(async move {
                starting.start().await?;
                match probe {
                    Some(probe) => probe.run().await,
                    None => Ok(()),
                }
            })
        })),
        // The broker has waited for the calls; handlers that still write to a stream have what is left.
        stopped: Some(Box::new(move |left| Box::pin(async move { stopping.drain(left).await }))),
    };
    (service, traps)
}

fn action_handler(pool: &Pool, action: &ActionSchema) -> Handler {
    let target = pool.target(Arc::clone(&action.key), &action.limits);
    let pool = pool.clone();
    Arc::new(move |ctx| Box::pin(pool.call_action(ctx, &target)))
}

/// The guest knows the fallback of an action as `ACTION|fallback` (wit: handler.call-action).
fn fallback_handler(pool: &Pool, action: &ActionSchema) -> Option<FallbackHandler> {
    action.fallback.as_ref()?;
    let key = format!("{}|fallback", action.key);
    let target = pool.target(key.into(), &action.limits);
    let pool = pool.clone();
    Some(Arc::new(move |ctx, error| Box::pin(pool.call_fallback(ctx, error, &target))))
}

fn event_handler(pool: &Pool, event: &EventSchema) -> EventHandler {
    let target = pool.target(Arc::clone(&event.key), &ActionLimits::default());
    let pool = pool.clone();
    Arc::new(move |ctx| {
        let (pool, target) = (pool.clone(), Arc::clone(&target));
        Box::pin(async move { pool.handle_event(ctx, &target).await })
    })
}
