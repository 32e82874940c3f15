//! Starting and stopping, in Moleculer's order (moleculer: src/service-broker.js start, stop).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use serde_json::json;

use super::{ServiceBroker, Shared};
use crate::error::MoleculerError;
use crate::service::internals;

/// Why a broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node's own service could not be made.
    #[error(transparent)]
    Internal(#[from] crate::schema::Error),
    /// The mesh could not be joined.
    #[error(transparent)]
    Mesh(#[from] super::MeshError),
}

impl ServiceBroker {
    /// Starts the node: its own service, the transporter, then `$broker.started`. Services are added
    /// afterwards.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self) -> Result<(), StartError> {
        let shared = &self.0;
        if shared.options.internal_services {
            let service = internals::service(&shared.registry, &shared.options)?;
            shared.register(service);
        }
        shared.connect().await?;
        shared.local_event("$broker.started", &json!(null));
        Ok(())
    }

    /// Stops the node, each step with its limit: tells the others that it offers nothing any more, refuses
    /// new requests, lets running calls finish, stops the services, says good-bye and closes the connection.
    pub async fn stop(&self) {
        let shared = &self.0;
        if shared.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        shared.leave().await;
        let limit = shared.options.tracking.shutdown_timeout;
        let left = shared.tracker.idle(limit).await;
        if left > 0 {
            let error = MoleculerError::graceful_stop_timeout(None);
            tracing::error!(left, ?limit, %error, "calls were still running; they are ended");
        }
        let services = std::mem::take(&mut *shared.services.lock());
        join_all(services.into_iter().map(|(name, running)| shared.end_service(name, running)))
            .await;
        shared.disconnect().await;
        shared.local_event("$broker.stopped", &json!(null));
        shared.cancel.cancel();
    }
}

impl Shared {
    async fn end_service(&self, name: Arc<str>, running: super::Running) {
        self.unregister(&name);
        running.end(&name).await;
    }
}
