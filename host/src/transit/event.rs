//! Events to and from other nodes (moleculer: src/transit.js sendEvent, eventHandler).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::context::{Context, ContextBuilder, EventInfo, EventType};
use crate::error::MoleculerError;
use crate::packet::{Body, Event};
use crate::task;
use crate::transit::counters::Refusal;
use crate::transit::respond::InFlight;
use crate::transit::{INBOUND_EVENTS_MAX, Shared, Transit};
use crate::transporter::receipt;
use crate::uid;

impl Transit {
    /// Sends an event to one node. `groups` are those for which this node was chosen; `None` for a
    /// broadcast to all groups.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn send_event(
        &self,
        ctx: &Context,
        node_id: &Arc<str>,
        groups: Option<Vec<Arc<str>>>,
    ) -> Result<(), MoleculerError> {
        let sent = self.send(event_packet(ctx, groups), Some(node_id)).await;
        if let Err(error) = &sent {
            self.0.report_unsent("failedSendEventPacket", node_id, error.clone());
        }
        sent
    }

    /// Sends an event to the queues of these groups, from each of which one node takes it.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn send_event_to_queues(
        &self,
        ctx: &Context,
        groups: Vec<Arc<str>>,
    ) -> Result<(), MoleculerError> {
        let sent = self.send(event_packet(ctx, Some(groups)), None).await;
        if let Err(error) = &sent {
            self.0.report_unsent("failedSendEventPacket", "a queue", error.clone());
        }
        sent
    }
}

fn event_packet(ctx: &Context, groups: Option<Vec<Arc<str>>>) -> Body {
    let broadcast = ctx.event.as_ref().is_some_and(|event| event.kind == EventType::Broadcast);
    Body::Event(Event {
        // Every target gets a context of its own (moleculer: src/service-broker.js emit, ctx.copy).
        id: uid::new(),
        event: Arc::clone(&ctx.name),
        data: ctx.params.clone(),
        groups,
        broadcast,
        meta: ctx.meta(),
        headers: ctx.headers.clone(),
        level: ctx.level,
        tracing: ctx.tracing(),
        parent_id: ctx.parent_id.clone(),
        request_id: Some(Arc::clone(&ctx.request_id)),
        caller: ctx.caller.clone(),
    })
}

impl Shared {
    /// Runs the handlers of an event as a task of its own.
    pub(super) fn handle_event(self: &Arc<Self>, sender: Arc<str>, event: Event) {
        if self.stopping.load(Ordering::Acquire) {
            tracing::debug!(event = %event.event, %sender, "an event was dropped: the node stops");
            return;
        }
        let Some(in_flight) = InFlight::enter(&self.counters.inbound_events, INBOUND_EVENTS_MAX)
        else {
            self.refuse(Refusal::Overload, Some(&sender), "EVENT", &"too many events at once");
            return;
        };
        let Some(inbound) = self.inbound.upgrade() else { return };
        let ctx = event_context(sender, event);
        let stop = self.stop.clone();
        let receipt = receipt::take();
        task::spawn_on(&self.settings.work, "event", async move {
            let (_in_flight, _receipt) = (in_flight, receipt);
            // A handler that is ended by the stop owes nobody an answer.
            let _ = stop.run_until_cancelled(inbound.handle_event(ctx)).await;
        });
    }
}

fn event_context(sender: Arc<str>, event: Event) -> Context {
    let kind = if event.broadcast { EventType::Broadcast } else { EventType::Emit };
    let groups = event.groups.unwrap_or_default().into();
    ContextBuilder::received(event.event, sender, event.id)
        .with(|ctx| {
            if let Some(request_id) = event.request_id {
                ctx.request_id = request_id;
            }
            ctx.parent_id = event.parent_id;
            ctx.caller = event.caller;
            ctx.level = event.level;
            // Moleculer makes a decision out of null here, but not for requests.
            ctx.tracing = Some(event.tracing.unwrap_or(false));
            ctx.event = Some(EventInfo { kind, groups });
            ctx.params = event.data;
            ctx.headers = event.headers;
        })
        .meta(event.meta)
        .build()
}
