//! The question that a new version must answer before it is put into service, when its schema names one:
//! `isomer: {probe: "health"}`, or `{action, params, timeout}`.
//!
//! It goes to the new version alone, past the chain of middlewares: nobody else has it yet. Any answer but an
//! error will do.

use std::sync::Arc;
use std::time::Duration;

use crate::context::ContextBuilder;
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::payload::Payload;
use crate::schema::ServiceSchema;

/// A question, and whom to ask.
pub(super) struct Probe {
    name: Arc<str>,
    service: Arc<str>,
    node_id: Arc<str>,
    handler: Handler,
    params: Payload,
    timeout: Duration,
}

/// The question of a schema; `actions` are the handlers in its order.
pub(super) fn of(schema: &ServiceSchema, actions: &[Handler], node_id: &Arc<str>) -> Option<Probe> {
    let probe = schema.probe.as_ref()?;
    let at = schema.actions.iter().position(|action| *action.key == *probe.action)?;
    Some(Probe {
        name: Arc::clone(&schema.actions.get(at)?.name),
        service: Arc::clone(&schema.full_name),
        node_id: Arc::clone(node_id),
        handler: Arc::clone(actions.get(at)?),
        params: probe.params.clone(),
        timeout: probe.timeout,
    })
}

impl Probe {
    /// Asks.
    ///
    /// # Errors
    /// `PROBE_FAILED` with what it answered.
    pub(super) async fn run(self) -> Result<(), MoleculerError> {
        let ctx = ContextBuilder::new(Arc::clone(&self.name), self.node_id)
            .with(|ctx| {
                ctx.params = self.params;
                ctx.service = self.service;
            })
            .build();
        let why = match tokio::time::timeout(self.timeout, (self.handler)(ctx)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => format!("{}: {error}", error.name()),
            Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
        };
        let text = format!("the probe '{}' failed: {why}", self.name);
        Err(MoleculerError::server("PROBE_FAILED", text))
    }
}
