//! Events: to whom they go, and running the handlers of this node
//! (moleculer: src/service-broker.js emit, broadcast, broadcastLocal).
//!
//! Sending does not wait for handlers, unless `throwError` asks for their errors: a service that hears its
//! own event would otherwise wait for itself. Errors of handlers are logged here and do not travel back.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use super::Shared;
use crate::context::{Context, ContextBuilder, EmitOptions, EventInfo, EventType};
use crate::error::MoleculerError;
use crate::handler::EventHandler;
use crate::payload::Payload;
use crate::strategy::Subject;
use crate::task;

/// What sending an event ends with.
type Sent = BoxFuture<'static, Result<(), MoleculerError>>;

/// One handler with its own copy of the context.
type Delivery = (EventHandler, Context);

impl Shared {
    pub(super) fn emit_balanced(&self, event: &str, data: Payload, options: EmitOptions) -> Sent {
        let ctx = self.event_context(event, data, &options, EventType::Emit);
        if self.stays_here(event) {
            let deliveries = self.deliveries(&ctx, &options.groups, false);
            return self.finish(deliveries, Vec::new(), options.throw_error);
        }
        if self.leaves_balancing() {
            let groups = self.groups_of(event, options.groups);
            let sends = self.send_event_to_queues(&ctx, groups).into_iter().collect();
            return self.finish(Vec::new(), sends, options.throw_error);
        }
        let targets = {
            let registry = self.registry.read();
            let prefer_local = self.options.registry.prefer_local;
            let subject = Subject::context(&ctx);
            registry.events.balance(event, &options.groups, prefer_local, subject)
        };
        let (mut deliveries, mut sends) = (Vec::new(), Vec::new());
        for target in targets {
            if target.node_id == self.node_id {
                deliveries.extend(self.deliveries(&ctx, &target.groups, false));
            } else {
                sends.extend(self.send_event(&ctx, &target.node_id, &target.groups));
            }
        }
        self.finish(deliveries, sends, options.throw_error)
    }

    pub(super) fn broadcast_all(&self, event: &str, data: Payload, options: EmitOptions) -> Sent {
        let ctx = self.event_context(event, data, &options, EventType::Broadcast);
        if self.stays_here(event) {
            let deliveries = self.deliveries(&ctx, &options.groups, true);
            return self.finish(deliveries, Vec::new(), options.throw_error);
        }
        // Without a balancer of its own a node always names the groups.
        let groups = match self.leaves_balancing() {
            true => self.groups_of(event, options.groups.clone()),
            false => options.groups.clone(),
        };
        let nodes = self.registry.read().events.nodes(event, &groups);
        let (mut deliveries, mut sends) = (Vec::new(), Vec::new());
        for node_id in nodes {
            if node_id == self.node_id {
                deliveries.extend(self.deliveries(&ctx, &options.groups, true));
            } else {
                sends.extend(self.send_event(&ctx, &node_id, &groups));
            }
        }
        self.finish(deliveries, sends, options.throw_error)
    }

    pub(super) fn broadcast_here(&self, event: &str, data: Payload, options: EmitOptions) -> Sent {
        let ctx = self.event_context(event, data, &options, EventType::BroadcastLocal);
        let deliveries = self.deliveries(&ctx, &options.groups, true);
        self.finish(deliveries, Vec::new(), options.throw_error)
    }

    /// The groups that are wanted, or all that are known to listen.
    fn groups_of(&self, event: &str, wanted: Vec<Arc<str>>) -> Vec<Arc<str>> {
        if wanted.is_empty() { self.registry.read().events.groups(event) } else { wanted }
    }

    /// Whether an event is kept on this node, as all with a `$` were before Moleculer 0.13.
    fn stays_here(&self, event: &str) -> bool {
        self.options.local_only_dollar_events && event.starts_with('$')
    }

    fn event_context(
        &self,
        event: &str,
        data: Payload,
        options: &EmitOptions,
        kind: EventType,
    ) -> Context {
        let meta = options.meta.clone().unwrap_or_default();
        let parent = options.parent.as_ref();
        let inherited = parent.map_or_else(|| meta.clone(), |parent| parent.meta().merged(&meta));
        ContextBuilder::new(event.into(), Arc::clone(&self.node_id))
            .meta(inherited)
            .with(|ctx| {
                ctx.params = data;
                ctx.headers = options.headers.clone().unwrap_or_default();
                ctx.event = Some(EventInfo { kind, groups: options.groups.as_slice().into() });
                if let Some(parent) = parent {
                    ctx.adopt(parent);
                    if !options.throw_error {
                        // Nobody waits for this event, so it holds none of the parent's instances.
                        ctx.parent = None;
                    }
                }
                if let Some(request_id) = &options.request_id {
                    ctx.request_id = Arc::clone(request_id);
                }
            })
            .build()
    }

    /// The handlers of this node, each with its own copy of the context.
    pub(super) fn deliveries(
        &self,
        ctx: &Context,
        groups: &[Arc<str>],
        all: bool,
    ) -> Vec<Delivery> {
        let registry = self.registry.read();
        let endpoints = registry.events.local(&ctx.name, groups, all);
        let chains = self.chains.read();
        let delivery = |endpoint: &Arc<crate::registry::Endpoint>| {
            let handler = chains.events.get(&endpoint.id)?;
            let ctx = ctx.copy().with(|copy| copy.service = Arc::clone(&endpoint.service)).build();
            Some((Arc::clone(handler), ctx))
        };
        endpoints.iter().filter_map(delivery).collect()
    }

    fn finish(&self, deliveries: Vec<Delivery>, sends: Vec<Sent>, throw_error: bool) -> Sent {
        if throw_error {
            let deliveries =
                deliveries.into_iter().map(|delivery| -> Sent { Box::pin(handle(delivery)) });
            let all: Vec<Sent> = deliveries.chain(sends).collect();
            return Box::pin(async move { join_all(all).await.into_iter().collect() });
        }
        for delivery in deliveries {
            self.spawn_delivery(delivery);
        }
        Box::pin(async move {
            for outcome in join_all(sends).await {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "an event could not be sent");
                }
            }
            Ok(())
        })
    }

    pub(super) fn spawn_delivery(&self, delivery: Delivery) {
        let _on = self.work.enter();
        task::spawn("event handler", &self.cancel, async move {
            // The error has been logged where it arose.
            let _ = handle(delivery).await;
        });
    }
}

/// Runs one handler and logs its error. The handler is kept until the end: its service is in use.
pub(super) async fn handle((handler, ctx): Delivery) -> Result<(), MoleculerError> {
    let outcome = handler(ctx.clone()).await;
    if let Err(error) = &outcome {
        tracing::error!(event = &*ctx.name, service = &*ctx.service, request_id = &*ctx.request_id,
            %error, "an event handler failed");
    }
    outcome
}
