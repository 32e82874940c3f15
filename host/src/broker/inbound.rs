//! The broker as the mesh sees it: requests, events and notices that come in.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

use super::Shared;
use super::chains::Route;
use super::emit::handle;
use crate::context::{Context, EventType};
use crate::error::MoleculerError;
use crate::packet::Body;
use crate::registry::Endpoint;
use crate::transit::{Inbound, Notice, Reply};

impl Inbound for Shared {
    fn handle_request(&self, ctx: Context) -> BoxFuture<'static, Reply> {
        let (endpoint, route) = match self.local_action(&ctx.name) {
            Ok(found) => found,
            Err(error) => {
                let reply = Reply { ctx, outcome: Err(error), resolved: false };
                return Box::pin(std::future::ready(reply));
            }
        };
        // The handler's context names its service. A caller that says nothing of a time limit gets the
        // action's (moleculer: src/middlewares/timeout.js).
        let own = ctx.into_builder().with(|own| {
            own.service = Arc::clone(&endpoint.service);
            let declared = || endpoint.timeout.unwrap_or(self.options.request_timeout);
            own.options.timeout = own.options.timeout.or_else(|| Some(declared()));
        });
        let ctx = own.build();
        let declaring = route.fallback.as_ref().and_then(|_| self.this.upgrade());
        Box::pin(async move {
            let outcome = match ((route.chain)(ctx.clone()).await, declaring) {
                (Err(error), Some(shared)) => shared.own_answer(&route, &ctx, error, None).await,
                (outcome, _) => outcome,
            };
            Reply { ctx, outcome, resolved: true }
        })
    }

    fn handle_event(&self, ctx: Context) -> BoxFuture<'static, ()> {
        let Some(event) = &ctx.event else { return Box::pin(std::future::ready(())) };
        let all = event.kind != EventType::Emit;
        let deliveries = self.deliveries(&ctx, &event.groups, all);
        Box::pin(async move {
            // Errors have been logged where they arose.
            join_all(deliveries.into_iter().map(handle)).await;
        })
    }

    fn handle_node(&self, sender: Arc<str>, body: Body) {
        if let Some(mesh) = self.mesh.get() {
            mesh.discoverer.handle_node(sender, body);
        }
    }

    fn handle_notice(&self, notice: Notice) {
        if let Some(mesh) = self.mesh.get() {
            match &notice {
                Notice::Connected { was_reconnect } => {
                    mesh.discoverer.handle_connected(*was_reconnect);
                }
                Notice::Disconnected { .. } => mesh.discoverer.handle_disconnected(),
                Notice::NodeFound { node_id } => mesh.discoverer.handle_found(node_id),
                Notice::NodeLost { node_id, unexpected } => {
                    mesh.discoverer.handle_lost(node_id, *unexpected);
                }
                _ => {}
            }
        }
        match notice {
            Notice::Connected { was_reconnect } => {
                self.forget_what_may_be_old();
                self.local_event("$transporter.connected", &json!({"wasReconnect": was_reconnect}));
            }
            Notice::Disconnected { graceful } => {
                self.local_event("$transporter.disconnected", &json!({"graceFul": graceful}));
            }
            Notice::TransporterError { message } => {
                let data = json!({"error": {"message": message}, "module": "transporter", "type": "clientError"});
                self.local_event("$transporter.error", &data);
            }
            Notice::TransitError { error, kind } => {
                let error = error.to_wire(&self.node_id);
                let data = json!({"error": error, "module": "transit", "type": kind});
                self.local_event("$transit.error", &data);
            }
            Notice::Pong(pong) => {
                self.registry.write().apply_pong(&pong.node_id, pong.elapsed_time);
                self.local_event("$node.pong", &pong.to_value());
            }
            // They are the discoverer's.
            Notice::NodeFound { .. } | Notice::NodeLost { .. } => {}
            Notice::DuplicateNodeId { instance_id } => {
                tracing::error!(
                    node_id = &*self.node_id,
                    other_instance = instance_id.as_deref(),
                    "another process uses this node's ID: give each node its own with --node-id or nodeID"
                );
            }
        }
    }
}

impl Shared {
    /// The next endpoint on this node for an action that other nodes may call, and how to call it
    /// (moleculer: src/service-broker.js _getLocalActionEndpoint).
    fn local_action(&self, name: &str) -> Result<(Arc<Endpoint>, Arc<Route>), MoleculerError> {
        let not_found = || MoleculerError::service_not_found(name, Some(&self.node_id));
        let registry = self.registry.read();
        let list = registry.actions.get(name).filter(|list| list.has_local());
        let endpoint = list
            .ok_or_else(not_found)?
            .next_local()
            .ok_or_else(|| MoleculerError::service_not_available(name, Some(&self.node_id)))?;
        if endpoint.protected {
            return Err(not_found());
        }
        let route = self.chains.read().actions.get(&endpoint.id).cloned();
        Ok((Arc::clone(endpoint), route.ok_or_else(not_found)?))
    }
}
