//! Adding, replacing and removing services of this node, and waiting for services of the mesh.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::chains::Route;
use super::{Running, ServiceBroker, Shared};
use crate::clock;
use crate::error::MoleculerError;
use crate::middleware::Chain;
use crate::registry::{Registered, Registry};
use crate::schema::ServiceSchema;
use crate::service::LocalService;
use crate::task;

impl ServiceBroker {
    /// Starts a service and registers it: waits for its dependencies, runs its `started`, then makes it
    /// known. One with the same full name is replaced in the same instant; its running calls finish on the
    /// old version, in the background.
    ///
    /// # Errors
    /// What `started` failed with, or `WAITFOR_SERVICES`. Nothing has changed then.
    pub async fn add_service(&self, service: LocalService) -> Result<(), MoleculerError> {
        self.0.hooked_create(service).await
    }

    /// Waits for what a service depends on, as long as its settings or the broker's options say.
    ///
    /// # Errors
    /// `WAITFOR_SERVICES` with the names that did not come.
    pub async fn wait_for_dependencies(
        &self,
        schema: &ServiceSchema,
    ) -> Result<(), MoleculerError> {
        self.0.wait_for_dependencies(schema).await
    }

    /// Takes a service away, waits for its running calls and runs its `stopped`. False when there is none.
    pub async fn remove_service(&self, full_name: &Arc<str>) -> bool {
        self.0.hooked_destroy(full_name).await
    }

    /// The same, for whom a missing service is an error (moleculer: src/service-broker.js destroyService).
    /// Names of services with a version are made by [`schema::full_name`](crate::schema::full_name).
    ///
    /// # Errors
    /// `ServiceNotFoundError`.
    pub async fn destroy_service(&self, full_name: &str) -> Result<(), MoleculerError> {
        match self.remove_service(&full_name.into()).await {
            true => Ok(()),
            false => Err(MoleculerError::service_not_found(full_name, Some(&self.0.node_id))),
        }
    }

    /// The schema of a service of this node (moleculer: src/service-broker.js getLocalService).
    #[must_use]
    pub fn get_local_service(&self, full_name: &str) -> Option<Arc<ServiceSchema>> {
        self.0.services.lock().get(full_name).map(|running| Arc::clone(&running.schema))
    }

    /// Changes what `$node.services` says of the origin of a service of this node.
    pub fn set_service_origin(&self, full_name: &Arc<str>, origin: Value) {
        self.0.registry.write().set_origin(full_name, origin);
    }
}

impl Shared {
    /// The whole way of a service into this node (moleculer: src/service.js _init, _start).
    pub(super) async fn create_service(
        &self,
        mut service: LocalService,
    ) -> Result<(), MoleculerError> {
        let schema = Arc::clone(&service.schema);
        self.chain.check(|middleware| middleware.service_creating(&schema))?;
        self.chain.tell(|middleware| middleware.service_created(&schema));
        self.chain.steps(|middleware| middleware.service_starting(&schema)).await?;
        self.wait_for_dependencies(&schema).await?;
        if let Some(started) = service.started.take() {
            started().await?;
        }
        self.hooked_register(service);
        if let Err(error) = self.chain.steps(|m| m.service_started(&schema)).await {
            let service = &*schema.full_name;
            tracing::error!(service, %error, "a middleware failed in its hook 'serviceStarted'");
        }
        Ok(())
    }

    async fn wait_for_dependencies(&self, schema: &ServiceSchema) -> Result<(), MoleculerError> {
        let dependencies: Vec<_> = schema.dependencies.iter().map(|d| d.any_of.clone()).collect();
        if missing(&self.registry.read(), &dependencies).is_empty() {
            return Ok(());
        }
        let limit = schema.dependency_timeout().unwrap_or(self.options.dependency_timeout);
        let names: Vec<_> = dependencies.iter().map(|any_of| any_of.join(" or ")).collect();
        let names = names.join(", ");
        tracing::info!(
            service = &*schema.full_name,
            names,
            "waiting for the services it depends on"
        );
        self.wait_for(dependencies, Some(limit).filter(|limit| !limit.is_zero())).await
    }

    pub(super) fn register(&self, mut service: LocalService) {
        let in_use = service.watch_use();
        let LocalService { schema, actions, fallbacks, events, origin, stopped, .. } = service;
        let routes: Vec<_> = actions
            .into_iter()
            .zip(fallbacks)
            .zip(&schema.actions)
            .map(|((handler, fallback), action)| {
                let chain = self.chain.local_action(handler, action);
                let retry = self.retry_policy(&action.faults);
                Arc::new(Route { chain, retry, fallback })
            })
            .collect();
        let event_chains: Vec<_> = events
            .into_iter()
            .zip(&schema.events)
            .map(|(handler, event)| self.chain.local_event(handler, event))
            .collect();
        let registered = {
            let mut registry = self.registry.write();
            let registered = registry.register_local(&schema, origin);
            let mut chains = self.chains.write();
            for (id, route) in registered.actions.iter().zip(routes) {
                chains.actions.insert(*id, route);
            }
            chains.events.extend(registered.events.iter().copied().zip(event_chains));
            chains.retire(&registered.retired);
            registered
        };
        let shutdown_timeout =
            schema.shutdown_timeout().unwrap_or(self.options.tracking.shutdown_timeout);
        let running = Running { schema: Arc::clone(&schema), in_use, stopped, shutdown_timeout };
        let replaced = self.services.lock().insert(Arc::clone(&schema.full_name), running);
        if let Some(old) = replaced {
            let chain = self.chain.clone();
            let _on = self.work.enter();
            task::spawn("drain", &self.cancel, async move { old.end(&chain).await });
        }
        self.announce(&schema.full_name, &registered);
    }

    fn announce(&self, full_name: &Arc<str>, registered: &Registered) {
        self.registry_changed();
        if registered.changed {
            self.local_event("$services.changed", &json!({"localService": true}));
            self.tell_mesh(registered.shrunk.then(|| Arc::clone(full_name)));
        }
    }

    /// Makes a service unknown in one step; calls that run keep their handlers. False when there is none.
    pub(super) fn unregister(&self, full_name: &Arc<str>) -> bool {
        let mut registry = self.registry.write();
        let Some(retired) = registry.unregister_local(full_name) else { return false };
        self.chains.write().retire(&retired);
        true
    }

    pub(super) async fn remove_service(&self, full_name: &Arc<str>) -> bool {
        if !self.unregister(full_name) {
            return false;
        }
        self.registry_changed();
        self.local_event("$services.changed", &json!({"localService": true}));
        self.tell_mesh(None);
        let running = self.services.lock().remove(full_name);
        if let Some(running) = running {
            running.end(&self.chain).await;
        }
        true
    }

    /// Waits until for every entry one of its names is offered by some node.
    pub(super) fn wait_for(
        &self,
        services: Vec<Vec<String>>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        let registry = Arc::clone(&self.registry);
        let mut changes = self.changes.subscribe();
        Box::pin(async move {
            let missing = || missing(&registry.read(), &services);
            let wait = async {
                while !missing().is_empty() {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            match timeout {
                Some(timeout) => {
                    let _ = tokio::time::timeout(timeout, wait).await;
                }
                None => wait.await,
            }
            let missing = missing();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(MoleculerError::wait_for_services(&missing.join(", ")))
            }
        })
    }
}

/// The entries of which no name is offered by any node.
fn missing(registry: &Registry, services: &[Vec<String>]) -> Vec<String> {
    let absent = |any_of: &&Vec<String>| !any_of.iter().any(|name| registry.services.has(name));
    services.iter().filter(absent).map(|any_of| any_of.join(" or ")).collect()
}

impl Running {
    /// Waits for the calls that still run, at most as long as the service allows, and stops it.
    pub(super) async fn end(mut self, chain: &Chain) {
        let (limit, schema) = (self.shutdown_timeout, &self.schema);
        let until = clock::now().checked_add(limit);
        if tokio::time::timeout(limit, self.in_use.released()).await.is_err() {
            let error =
                MoleculerError::graceful_stop_timeout(Some((&schema.name, &schema.version)));
            let service = &*schema.full_name;
            tracing::error!(service, ?limit, %error, "calls were still running; they are ended");
        }
        chain.steps_back("serviceStopping", |m| m.service_stopping(schema)).await;
        if let Some(stopped) = self.stopped {
            let left = until.map_or(limit, |until| until.saturating_duration_since(clock::now()));
            stopped(left).await;
        }
        chain.steps_back("serviceStopped", |m| m.service_stopped(schema)).await;
    }
}
