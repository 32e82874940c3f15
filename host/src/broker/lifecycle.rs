//! Starting and stopping, in Moleculer's order (moleculer: src/service-broker.js start, stop).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde_json::json;

use super::{ServiceBroker, Shared};
use crate::broker::hostname;
use crate::clock;
use crate::context::{Caller, EmitOptions};
use crate::error::MoleculerError;
use crate::middleware::{ComponentMiddleware, metrics};
use crate::payload::Payload;
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
    /// A middleware that is a component has not been loaded before the start.
    #[error("the middleware '{name}', which the options name, is not loaded")]
    NotLoaded {
        /// Its name.
        name: String,
    },
    /// A middleware, a service or a callback of the embedding program refused.
    #[error("{what} failed: {error}")]
    Refused {
        /// Who refused.
        what: String,
        /// Why.
        error: MoleculerError,
    },
}

fn refused(what: &str) -> impl FnOnce(MoleculerError) -> StartError {
    let what = what.to_owned();
    move |error| StartError::Refused { what, error }
}

impl ServiceBroker {
    /// Starts the node: its own service, the transporter, the services that the builder was given, then
    /// `$broker.started`. Services that are added afterwards do not hear that one.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self) -> Result<(), StartError> {
        self.start_with(std::future::ready(())).await
    }

    /// The same, with more work before `$broker.started`, such as loading components, which are to hear it.
    ///
    /// # Errors
    /// [`StartError`]; what the work ends with is given back, whatever it is.
    pub async fn start_with<T>(&self, load: impl Future<Output = T>) -> Result<T, StartError> {
        let shared = &self.0;
        let chain = &shared.chain;
        if let Some(missing) = shared.components.iter().find(|place| !place.is_loaded()) {
            return Err(StartError::NotLoaded { name: missing.name().to_string() });
        }
        chain.steps(|m| m.starting()).await.map_err(refused("the hook 'starting'"))?;
        if shared.options.internal_services {
            let service = internals::service(&internals::Parts {
                registry: &shared.registry,
                options: &shared.options,
                collector: shared.collector(),
                stats: shared
                    .stats
                    .clone()
                    .map(|stats| -> internals::Snapshot { Arc::new(move || stats.snapshot()) }),
            })?;
            shared.hooked_create(service).await.map_err(refused("service '$node'"))?;
        }
        shared.start_reporters();
        shared.start_cacher()?;
        shared.connect().await?;
        shared.start_services().await?;
        let loaded = load.await;
        shared.local_event("$broker.started", &json!(null));
        chain.steps(|m| m.started()).await.map_err(refused("the hook 'started'"))?;
        let started = shared.own.started.lock().take();
        if let Some(started) = started {
            started(self.clone()).await.map_err(refused("the callback 'started'"))?;
        }
        Ok(loaded)
    }

    /// Stops the node, each step with its limit: tells the others that it offers nothing any more, refuses
    /// new requests, lets running calls finish, sends `$broker.stopped`, stops the services, says good-bye and
    /// closes the connection. (Moleculer sends that event last, when a component can no longer hear it.)
    pub async fn stop(&self) {
        let shared = &self.0;
        if shared.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        shared.leave().await;
        let limit = shared.options.tracking.shutdown_timeout;
        let until = clock::now() + limit;
        let left = shared.tracker.idle(limit).await;
        if left > 0 {
            let error = MoleculerError::graceful_stop_timeout(None);
            tracing::error!(left, ?limit, %error, "calls were still running; they are ended");
        }
        // What calls have answered with is sent to its end while its services can still make it.
        if tokio::time::timeout_at(until, shared.streams_sent()).await.is_err() {
            tracing::warn!(?limit, "streams to other nodes were still open; they are ended");
        }
        shared.chain.steps_back("stopping", |m| m.stopping()).await;
        shared.say_stopped(limit).await;
        let services = std::mem::take(&mut *shared.services.lock());
        join_all(services.into_iter().map(|(name, running)| shared.end_service(name, running)))
            .await;
        let pools = shared.components.iter().filter_map(ComponentMiddleware::unload);
        join_all(pools.map(|pool| async move { pool.drain(Duration::ZERO).await })).await;
        shared.tracer.stop().await;
        shared.disconnect().await;
        shared.chain.steps_back("stopped", |m| m.stopped()).await;
        let stopped = shared.own.stopped.lock().take();
        if let Some(stopped) = stopped
            && let Err(error) = stopped(self.clone()).await
        {
            tracing::error!(%error, "the callback 'stopped' failed");
        }
        shared.cancel.cancel();
    }
}

impl Shared {
    /// Where lists of all metrics come from.
    fn collector(&self) -> internals::Collector {
        internals::Collector {
            metrics: self.metrics.clone(),
            registry: Arc::clone(&self.registry),
            process: self.options.metrics.collect_process_metrics,
            namespace: self.options.namespace.as_str().into(),
        }
    }

    fn start_reporters(&self) {
        let options = &self.options.metrics;
        for reporter in options.reporters.iter().filter(|_| options.enabled) {
            let collector = self.collector();
            let list: metrics::List = Arc::new(move || collector.list());
            let caller: Weak<dyn Caller> = Weak::<Self>::clone(&self.this);
            // moleculer: src/metrics/reporters/prometheus.js defaultLabels
            let labels = vec![
                ("namespace".to_owned(), self.options.namespace.clone()),
                ("nodeID".to_owned(), self.node_id.to_string()),
            ];
            let cancel = self.cancel.clone();
            metrics::report(
                reporter.clone(),
                list,
                labels,
                &hostname(),
                caller,
                &self.work,
                cancel,
            );
        }
    }

    /// The services of the builder, all at once, because they may wait for each other.
    async fn start_services(&self) -> Result<(), StartError> {
        let services = std::mem::take(&mut *self.own.services.lock());
        let starts = services.into_iter().map(|service| async {
            let what = format!("service '{}'", service.schema.full_name);
            self.hooked_create(service).await.map_err(refused(&what))
        });
        try_join_all(starts).await.map(drop)
    }

    /// Lets the services of this node hear `$broker.stopped` while they still can.
    async fn say_stopped(&self, limit: Duration) {
        let options = EmitOptions { throw_error: true, ..EmitOptions::default() };
        let heard = self.broadcast_here("$broker.stopped", Payload::null(), options);
        // Errors of handlers have been logged; one that takes too long is cut off with its service.
        let _ = tokio::time::timeout(limit, heard).await;
    }

    async fn end_service(&self, name: Arc<str>, running: super::Running) {
        self.unregister(&name);
        running.end(&self.chain).await;
    }
}
