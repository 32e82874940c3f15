//! Calling an action: choose an endpoint, make the context, run the chain, merge the meta
//! (moleculer: src/service-broker.js call, src/context.js call).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Shared;
use crate::clock;
use crate::context::{CallOptions, Context, ContextBuilder, Outcome};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::middleware::retry;
use crate::payload::Payload;
use crate::registry::{Endpoint, Lookup};

/// One attempt, ready to run.
struct Attempt {
    ctx: Context,
    /// Kept until the end: a service is in use as long as one of its handlers is.
    handler: Handler,
}

impl Attempt {
    /// Runs it. The parent sees the callee's meta, also when the call failed
    /// (moleculer: src/context.js mergeMeta).
    async fn run(self, parent: Option<Context>) -> Outcome {
        let outcome = (self.handler)(self.ctx.clone()).await;
        if let Some(parent) = parent {
            parent.merge_meta(&self.ctx.meta());
        }
        outcome
    }
}

impl Shared {
    pub(super) fn start_call(
        &self,
        action: &str,
        params: Payload,
        mut options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        let params = if params == Payload::Absent { Payload::empty_object() } else { params };
        if options.retries.unwrap_or(0) > 0 {
            return self.call_with_retries(action.into(), params, options);
        }
        let parent = options.parent.take();
        let fallback = options.fallback_response.take();
        match self.prepare(action, params, options, parent.as_ref()) {
            Ok(attempt) => match fallback {
                None => Box::pin(attempt.run(parent)),
                Some(fallback) => {
                    Box::pin(async move { attempt.run(parent).await.or(Ok(fallback)) })
                }
            },
            // Without an endpoint there is no fallback (moleculer: src/service-broker.js call).
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Tries again as long as the error is retryable; each attempt chooses its endpoint anew.
    fn call_with_retries(
        &self,
        action: Arc<str>,
        params: Payload,
        mut options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        let Some(shared) = self.this.upgrade() else {
            return Box::pin(std::future::ready(Err(MoleculerError::broker_disconnected())));
        };
        let retries = options.retries.unwrap_or(0);
        let fallback = options.fallback_response.take();
        let parent = options.parent.take();
        Box::pin(async move {
            let mut n_retries = 0;
            loop {
                let attempt =
                    shared.prepare(&action, params.clone(), options.clone(), parent.as_ref());
                let error = match attempt {
                    Ok(attempt) => match attempt.run(parent.clone()).await {
                        Ok(result) => return Ok(result),
                        Err(error) => error,
                    },
                    Err(error) => return Err(error),
                };
                let Some(delay) = retry::next_delay(&error, n_retries, retries) else {
                    return fallback.ok_or(error);
                };
                n_retries += 1;
                tokio::time::sleep(delay).await;
            }
        })
    }

    fn prepare(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
        parent: Option<&Context>,
    ) -> Result<Attempt, MoleculerError> {
        self.check_level(parent)?;
        let timeout = self.remaining_timeout(action, options.timeout, parent)?;
        let (endpoint, handler) = self.choose(action, options.node_id.as_deref())?;
        let declared = || endpoint.timeout.unwrap_or(self.options.request_timeout);
        let options = CallOptions { timeout: Some(timeout.unwrap_or_else(declared)), ..options };
        let ctx = self.context(&endpoint, params, options, parent);
        Ok(Attempt { ctx, handler })
    }

    fn check_level(&self, parent: Option<&Context>) -> Result<(), MoleculerError> {
        let max = self.options.max_call_level;
        match parent {
            Some(parent) if max > 0 && parent.level >= max => {
                Err(MoleculerError::max_call_level(&self.node_id, parent.level))
            }
            _ => Ok(()),
        }
    }

    /// The distributed timeout: a nested call gets at most what its parent has left
    /// (moleculer: src/context.js call).
    fn remaining_timeout(
        &self,
        action: &str,
        own: Option<Duration>,
        parent: Option<&Context>,
    ) -> Result<Option<Duration>, MoleculerError> {
        let Some(remaining) = parent.and_then(|parent| parent.remaining(clock::now())) else {
            return Ok(own);
        };
        if remaining.is_zero() {
            return Err(MoleculerError::request_skipped(action, &self.node_id));
        }
        // An explicit "none" does not outlive the parent either.
        let own = own.filter(|own| !own.is_zero());
        Ok(Some(own.map_or(remaining, |own| own.min(remaining))))
    }

    fn choose(
        &self,
        action: &str,
        node_id: Option<&str>,
    ) -> Result<(Arc<Endpoint>, Handler), MoleculerError> {
        let registry = self.registry.read();
        let found = match node_id {
            Some(node_id) => registry.actions.on_node(action, node_id),
            None => registry.actions.next(action, self.options.registry.prefer_local),
        };
        match found {
            Lookup::Found(endpoint) => {
                let handler = if endpoint.local {
                    self.chains.read().actions.get(&endpoint.id).cloned()
                } else {
                    self.remote.get().cloned()
                };
                let handler = handler.ok_or_else(MoleculerError::broker_disconnected)?;
                Ok((Arc::clone(endpoint), handler))
            }
            Lookup::NotFound => Err(MoleculerError::service_not_found(action, node_id)),
            Lookup::NotAvailable => Err(MoleculerError::service_not_available(action, node_id)),
        }
    }

    fn context(
        &self,
        endpoint: &Endpoint,
        params: Payload,
        mut options: CallOptions,
        parent: Option<&Context>,
    ) -> Context {
        let meta = options.meta.take().unwrap_or_default();
        let headers = options.headers.take().unwrap_or_default();
        let caller = options.caller.take();
        let request_id = options.request_id.take();
        // A local handler sees the node that called, which is this one; a remote call, its target.
        let builder =
            ContextBuilder::new(Arc::clone(&endpoint.name), Arc::clone(&endpoint.node_id));
        let inherited = parent.map_or_else(|| meta.clone(), |parent| parent.meta().merged(&meta));
        builder
            .meta(inherited)
            .with(|ctx| {
                ctx.params = params;
                ctx.headers = headers;
                ctx.options = options;
                ctx.service = Arc::clone(&endpoint.service);
                ctx.caller = caller;
                if let Some(parent) = parent {
                    ctx.adopt(parent);
                }
                if let Some(request_id) = request_id {
                    ctx.request_id = request_id;
                }
            })
            .build()
    }
}
