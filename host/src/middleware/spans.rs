//! Makes a span of each call that runs and each event that is handled on this node
//! (moleculer: src/middlewares/tracing.js).
//!
//! Tags are put together only for chains that are sampled. A call that is abandoned ends its span as well.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Map, Value, json};

use crate::config::tracing::{Pick, TagRules};
use crate::context::Context;
use crate::error::MoleculerError;
use crate::handler::{EventHandler, Handler};
use crate::middleware::Middleware;
use crate::payload::{Object, Payload};
use crate::schema::{ActionSchema, EventSchema, ServiceSchema};
use crate::tracer::{Service, Span, SpanOptions, Tracer};

mod datadog;
mod event;
mod jaeger;
mod otlp;
mod tags;
mod upload;
mod zipkin;

pub use event::Event;
pub use upload::{Origin, Upload};

/// The middleware. Cheap to clone.
#[derive(Clone)]
pub struct Tracing(Arc<Shared>);

struct Shared {
    tracer: Tracer,
    node_id: Arc<str>,
    /// The services of this node by full name.
    services: RwLock<HashMap<Arc<str>, Service>>,
}

impl Tracing {
    /// Spans of the calls and events of this node.
    #[must_use]
    pub fn new(tracer: Tracer, node_id: Arc<str>) -> Self {
        Self(Arc::new(Shared { tracer, node_id, services: RwLock::default() }))
    }
}

impl Middleware for Tracing {
    fn service_created(&self, service: &ServiceSchema) {
        let of = Service {
            name: Arc::clone(&service.name),
            version: service.version.clone(),
            full_name: Arc::clone(&service.full_name),
        };
        self.0.services.write().insert(Arc::clone(&service.full_name), of);
    }

    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let options = self.0.tracer.options();
        if !options.actions || action.tracing.off {
            return next;
        }
        let shared = Arc::clone(&self.0);
        let name: Arc<str> = match &action.tracing.span_name {
            Some(name) => name.as_str().into(),
            None => format!("action '{}'", action.name).into(),
        };
        let rules = Arc::new(action.tracing.tags.over(&options.action_tags));
        let shown = json!({"name": &*action.name, "rawName": &*action.key});
        Arc::new(move |ctx: Context| {
            let tags = |ctx: &Context| shared.action_tags(ctx, &shown, &rules);
            let going = Going::begin(&shared, &name, "action", ctx.clone(), tags);
            let work = next(ctx);
            let rules = Arc::clone(&rules);
            Box::pin(async move {
                let outcome = work.await;
                match &outcome {
                    Ok(result) => going.succeed(Some((result, &rules))),
                    Err(error) => going.fail(error),
                }
                outcome
            })
        })
    }

    fn local_event(&self, next: EventHandler, event: &EventSchema) -> EventHandler {
        let options = self.0.tracer.options();
        if !options.events || event.tracing.off {
            return next;
        }
        let shared = Arc::clone(&self.0);
        let own_name: Option<Arc<str>> = event.tracing.span_name.as_deref().map(Into::into);
        let rules = event.tracing.tags.over(&options.event_tags);
        let shown = json!({"name": &*event.key, "group": &*event.group});
        Arc::new(move |ctx: Context| {
            let usual = || format!("event '{}' in '{}'", ctx.name, ctx.service).into();
            let name = own_name.clone().unwrap_or_else(usual);
            let tags = |ctx: &Context| shared.event_tags(ctx, &shown, &rules);
            let going = Going::begin(&shared, &name, "event", ctx.clone(), tags);
            let work = next(ctx);
            Box::pin(async move {
                let outcome = work.await;
                match &outcome {
                    Ok(()) => going.succeed(None),
                    Err(error) => going.fail(error),
                }
                outcome
            })
        })
    }
}

impl Shared {
    fn common_tags(&self, ctx: &Context) -> Map<String, Value> {
        let mut tags = Map::new();
        tags.insert("callingLevel".into(), ctx.level.into());
        tags.insert("remoteCall".into(), (ctx.node_id != self.node_id).into());
        tags.insert("callerNodeID".into(), (*ctx.node_id).into());
        tags.insert("nodeID".into(), (*self.node_id).into());
        tags.insert("requestID".into(), (*ctx.request_id).into());
        tags
    }

    fn action_tags(&self, ctx: &Context, action: &Value, rules: &TagRules) -> Map<String, Value> {
        let mut tags = self.common_tags(ctx);
        tags.insert("action".into(), action.clone());
        // What was not said is not there, as JSON has it of JavaScript's undefined.
        let mut options = Map::new();
        let timeout = ctx.options.timeout.filter(|timeout| !timeout.is_zero());
        let timeout = timeout.map(|timeout| timeout.as_secs_f64() * 1e3);
        options.extend(timeout.map(|timeout| ("timeout".to_owned(), timeout.into())));
        options.extend(ctx.options.retries.map(|n| ("retries".to_owned(), n.into())));
        tags.insert("options".into(), options.into());
        add_picked(&mut tags, ctx, rules);
        tags
    }

    fn event_tags(&self, ctx: &Context, event: &Value, rules: &TagRules) -> Map<String, Value> {
        let mut tags = self.common_tags(ctx);
        let kind = ctx.event.as_ref().map(|event| event.kind.name()).unwrap_or_default();
        tags.insert("event".into(), event.clone());
        tags.insert("eventName".into(), (*ctx.name).into());
        tags.insert("eventType".into(), kind.into());
        add_picked(&mut tags, ctx, rules);
        tags
    }
}

fn add_picked(tags: &mut Map<String, Value>, ctx: &Context, rules: &TagRules) {
    // All params unless something else is said, no meta unless it is asked for.
    if let Some(params) = picked(rules.params.as_ref().unwrap_or(&Pick::All), &ctx.params) {
        tags.insert("params".into(), params);
    }
    let meta = |meta: &Object| Payload::Json(meta.text().clone());
    if let Some(meta) = rules.meta.as_ref().and_then(|pick| picked(pick, &meta(&ctx.meta()))) {
        tags.insert("meta".into(), meta);
    }
}

/// What is wanted of a value; `None` when nothing is.
fn picked(pick: &Pick, payload: &Payload) -> Option<Value> {
    let value = || match payload {
        Payload::Absent | Payload::Stream(_) => None,
        Payload::Bytes(bytes) => Some(format!("<{} bytes>", bytes.len()).into()),
        Payload::Json(text) => serde_json::from_str::<Value>(text).ok(),
    };
    match pick {
        Pick::None => None,
        Pick::All => value(),
        Pick::Keys(keys) => {
            let value = value()?;
            let mut kept = Value::Object(Map::new());
            for key in keys {
                let path: Vec<&str> = key.split('.').collect();
                let found = path.iter().try_fold(&value, |value, part| value.get(part));
                if let Some(found) = found {
                    put(&mut kept, &path, found.clone());
                }
            }
            Some(kept)
        }
    }
}

/// Puts a value where a path leads, and makes the objects on it.
fn put(tree: &mut Value, path: &[&str], value: Value) {
    let Value::Object(fields) = tree else { return };
    match path {
        [] => {}
        [last] => {
            fields.insert((*last).into(), value);
        }
        [first, rest @ ..] => {
            let below = fields.entry(*first).or_insert_with(|| Value::Object(Map::new()));
            put(below, rest, value);
        }
    }
}

/// The span of a handler that runs.
struct Going {
    ctx: Context,
    span: Span,
}

impl Going {
    fn begin(
        shared: &Shared,
        name: &Arc<str>,
        kind: &'static str,
        ctx: Context,
        tags: impl Fn(&Context) -> Map<String, Value>,
    ) -> Self {
        let service = shared.services.read().get(&ctx.service).cloned();
        let options = SpanOptions {
            id: Some(Arc::clone(&ctx.id)),
            trace_id: Some(Arc::clone(&ctx.request_id)),
            parent_id: ctx.parent_id.clone(),
            kind: Some(kind.into()),
            service,
            priority: None,
            sampled: ctx.tracing(),
            tags: Map::new(),
            bytes_max: None,
        };
        let span = shared.tracer.start_span_with(Arc::clone(name), options, || tags(&ctx));
        ctx.decide_tracing(span.sampled());
        ctx.enter_span(span.clone());
        Self { ctx, span }
    }

    fn succeed(self, response: Option<(&Payload, &TagRules)>) {
        if let Some((result, rules)) = response
            && self.span.sampled()
        {
            let mut tags = Map::new();
            tags.insert("fromCache".into(), self.ctx.cached_result().into());
            let response = rules.response.as_ref().and_then(|pick| picked(pick, result));
            tags.extend(response.map(|response| ("response".into(), response)));
            // What is too large to be kept is left out.
            let _ = self.span.add_tags(tags);
        }
    }

    fn fail(self, error: &MoleculerError) {
        self.span.set_error(error.clone());
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let fuel = self.ctx.fuel();
        if fuel > 0 && self.span.sampled() {
            // One number more is never too much for a span of this node's own.
            let _ = self.span.add_tags(Map::from_iter([("isomer.fuel".to_owned(), fuel.into())]));
        }
        self.ctx.finish_span(&self.span);
    }
}
