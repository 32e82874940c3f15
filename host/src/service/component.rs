//! A service that is a Wasm component: its handlers ask a pool of instances.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::cacher::Cacher;
use crate::config::limits::ActionLimits;
use crate::config::{Mode, ServiceOptions};
use crate::context::Caller;
use crate::handler::{EventHandler, Handler};
use crate::payload::Object;
use crate::runtime::{Component, Pool, PoolOptions, Runtime};
use crate::schema::{ActionSchema, EventSchema, ServiceSchema};
use crate::service::LocalService;

/// Makes a service of a component and its schema. Nothing of it runs before the broker starts it.
///
/// The schema may narrow the operator's limits and ask for the stricter mode, never for more.
#[must_use]
pub fn service(
    runtime: &Runtime,
    component: Component,
    schema: ServiceSchema,
    options: &ServiceOptions,
    caller: Weak<dyn Caller>,
    cacher: Option<Arc<dyn Cacher>>,
) -> LocalService {
    let mut limits = options.limits.narrowed(&schema.limits);
    if schema.mode == Some(Mode::Fresh) {
        limits.mode = Mode::Fresh;
    }
    let pool = Pool::new(
        runtime,
        component,
        PoolOptions {
            service: Arc::clone(&schema.full_name),
            limits,
            grants: options.grants.clone(),
            // Settings came from JSON, so they can be written as JSON.
            settings: Object::from_value(&schema.settings).unwrap_or_default(),
            env: options.env.clone().into_iter().collect(),
            lifecycle: schema.lifecycle,
            caller,
            cacher,
        },
    );
    let (starting, stopping) = (pool.clone(), pool.clone());
    LocalService {
        actions: schema.actions.iter().map(|action| action_handler(&pool, action)).collect(),
        fallbacks: vec![None; schema.actions.len()],
        events: schema.events.iter().map(|event| event_handler(&pool, event)).collect(),
        schema: Arc::new(schema),
        origin: None,
        started: Some(Box::new(move || Box::pin(async move { starting.start().await }))),
        // The broker has waited for the calls; what is left is cut off.
        stopped: Some(Box::new(move || {
            Box::pin(async move { stopping.drain(Duration::ZERO).await })
        })),
    }
}

fn action_handler(pool: &Pool, action: &ActionSchema) -> Handler {
    let target = Arc::new(pool.target(Arc::clone(&action.key), &action.limits));
    let pool = pool.clone();
    Arc::new(move |ctx| {
        let (pool, target) = (pool.clone(), Arc::clone(&target));
        Box::pin(async move { pool.call_action(ctx, &target).await })
    })
}

fn event_handler(pool: &Pool, event: &EventSchema) -> EventHandler {
    let target = Arc::new(pool.target(Arc::clone(&event.key), &ActionLimits::default()));
    let pool = pool.clone();
    Arc::new(move |ctx| {
        let (pool, target) = (pool.clone(), Arc::clone(&target));
        Box::pin(async move { pool.handle_event(ctx, &target).await })
    })
}
