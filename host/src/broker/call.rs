//! Calling an action: choose an endpoint, make the context, run the chain, merge the meta
//! (moleculer: src/service-broker.js call, src/context.js call).

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Shared;
use super::chains::Route;
use crate::clock;
use crate::context::{CallOptions, Context, ContextBuilder, Outcome};
use crate::error::MoleculerError;
use crate::metrics::{Metric, MetricRegistry};
use crate::middleware::{fallback, retry};
use crate::payload::{Payload, Stream};
use crate::registry::{Endpoint, Lookup};
use crate::strategy::Subject;
use crate::uid;

/// The shortest pause before a retry, as that of JavaScript's timers: attempts that fail at once must not
/// keep a thread busy.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(1);

/// What calls count beside their chains.
pub(super) struct Counters {
    retries: Metric,
    fallbacks: Metric,
}

impl Counters {
    pub(super) fn new(metrics: &MetricRegistry) -> Self {
        Self {
            retries: metrics.metric("moleculer.request.retry.attempts.total"),
            fallbacks: metrics.metric("moleculer.request.fallback.total"),
        }
    }
}

/// One attempt, ready to run.
struct Attempt {
    ctx: Context,
    /// Kept until the end: a service is in use as long as one of its handlers is.
    route: Arc<Route>,
}

impl Attempt {
    /// Begins it. What it does before it first waits is done now: a circuit breaker must know of the call
    /// before the next one chooses its endpoint.
    fn start(&self) -> BoxFuture<'static, Outcome> {
        (self.route.chain)(self.ctx.clone())
    }

    /// The parent sees the callee's meta, also when the call failed
    /// (moleculer: src/context.js mergeMeta).
    fn give_meta(&self, parent: Option<&Context>) {
        if let Some(parent) = parent {
            parent.merge_meta(&self.ctx.meta());
        }
    }

    /// The most that may be tried again: the call's own number, which needs no policy, or the policy's.
    fn retries(&self) -> u32 {
        let policy = self.route.retry.as_ref().map_or(0, |policy| policy.retries);
        self.ctx.options.retries.unwrap_or(policy)
    }

    /// Whether there is anything to do when it fails.
    fn is_final(&self) -> bool {
        self.route.retry.is_none() && self.route.fallback.is_none() && self.retries() == 0
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
        let parent = options.parent.take();
        let fallback = options.fallback_response.take();
        let attempt = match self.prepare(action, params, options, parent.as_ref()) {
            Ok(attempt) => attempt,
            // Without an endpoint there is no fallback (moleculer: src/service-broker.js call).
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let running = attempt.start();
        // Only a call that fails needs more than its chain.
        let insists = fallback.is_some() || !attempt.is_final();
        let shared = insists.then(|| Weak::clone(&self.this));
        Box::pin(async move {
            let outcome = running.await;
            attempt.give_meta(parent.as_ref());
            let shared = shared.and_then(|shared| shared.upgrade());
            match (outcome, shared) {
                (Err(error), Some(shared)) => {
                    Box::pin(shared.insist(attempt, error, parent.as_ref(), fallback)).await
                }
                (outcome, _) => outcome,
            }
        })
    }

    /// Runs a call that failed to its end: tries again as long as the policies allow, then asks for another
    /// answer (moleculer: src/middlewares/retry.js, fallback.js).
    async fn insist(
        &self,
        mut attempt: Attempt,
        mut error: MoleculerError,
        parent: Option<&Context>,
        fallback: Option<Payload>,
    ) -> Outcome {
        let mut n_retries = 0;
        // An earlier attempt whose action has a fallback: it is asked when the last one has none.
        let mut earlier = None;
        while let Some(delay) = self.retry_delay(&attempt, &error, n_retries, parent) {
            n_retries += 1;
            tracing::warn!(action = &*attempt.ctx.name, request_id = &*attempt.ctx.request_id,
                n_retries, ?delay, %error, "the call failed; it is tried again");
            tokio::time::sleep(delay).await;
            let next = match self.prepare_again(&attempt.ctx, parent) {
                Ok(next) => next,
                Err(refused) => {
                    error = refused;
                    break;
                }
            };
            let running = next.start();
            let failed = std::mem::replace(&mut attempt, next);
            if failed.route.fallback.is_some() {
                earlier = Some(failed);
            }
            let outcome = running.await;
            attempt.give_meta(parent);
            match outcome {
                Ok(result) => return Ok(result),
                Err(again) => error = again,
            }
        }
        if let Some(response) = fallback {
            self.count_fallback(&attempt.ctx, &error);
            return Ok(response);
        }
        let declares = |one: &&Attempt| one.route.fallback.is_some();
        match [Some(&attempt), earlier.as_ref()].into_iter().flatten().find(declares) {
            Some(declaring) => {
                self.own_answer(&declaring.route, &declaring.ctx, error, parent).await
            }
            None => Err(error),
        }
    }

    /// What the fallback of an action says, when there is one.
    pub(super) async fn own_answer(
        &self,
        route: &Route,
        ctx: &Context,
        error: MoleculerError,
        parent: Option<&Context>,
    ) -> Outcome {
        let Some(fallback) = &route.fallback else { return Err(error) };
        self.count_fallback(ctx, &error);
        let outcome = fallback::answer(fallback, ctx, error).await;
        if let Some(parent) = parent {
            parent.merge_meta(&ctx.meta());
        }
        outcome
    }

    fn count_fallback(&self, ctx: &Context, error: &MoleculerError) {
        self.counters.fallbacks.increment();
        tracing::warn!(action = &*ctx.name, request_id = &*ctx.request_id, %error,
            "the call failed; its fallback answers");
    }

    /// How long to wait before the next attempt, or `None` when this was the last one: also when the
    /// parent's time would be over by then.
    fn retry_delay(
        &self,
        attempt: &Attempt,
        error: &MoleculerError,
        n_retries: u32,
        parent: Option<&Context>,
    ) -> Option<Duration> {
        // What was read of a stream cannot be sent again.
        if attempt.ctx.stream.as_ref().is_some_and(Stream::taken) {
            return None;
        }
        let retries = attempt.retries();
        let policy = attempt.route.retry.as_ref();
        if policy.is_none() && retries == 0 {
            return None;
        }
        let policy = policy.unwrap_or(&self.options.retry_policy);
        if policy.check.matches(error) {
            self.counters.retries.increment();
        }
        let delay = retry::next_delay(policy, error, n_retries, retries)?.max(RETRY_PAUSE_MIN);
        let remaining = parent.and_then(|parent| parent.remaining(clock::now()));
        remaining.is_none_or(|remaining| delay < remaining).then_some(delay)
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
        let subject = Subject::call(&params, options.meta.as_ref(), parent);
        let stream = options.stream.as_ref();
        let (endpoint, route) =
            self.choose(action, options.node_id.as_deref(), stream, subject, parent)?;
        let declared = || endpoint.timeout.unwrap_or(self.options.request_timeout);
        let options = CallOptions { timeout: Some(timeout.unwrap_or_else(declared)), ..options };
        let ctx = self.context(&endpoint, params, options, parent);
        Ok(Attempt { ctx, route })
    }

    /// The next attempt: the same call as a new request, perhaps to another endpoint
    /// (moleculer: src/middlewares/retry.js, src/context.js copy). A node that the call names is kept, where
    /// Moleculer forgets it.
    fn prepare_again(
        &self,
        failed: &Context,
        parent: Option<&Context>,
    ) -> Result<Attempt, MoleculerError> {
        let options = &failed.options;
        let timeout = self.remaining_timeout(&failed.name, options.timeout, parent)?;
        let (subject, stream) = (Subject::context(failed), failed.stream.as_ref());
        let (endpoint, route) =
            self.choose(&failed.name, options.node_id.as_deref(), stream, subject, parent)?;
        let ctx = failed.copy().with(|ctx| {
            ctx.id = uid::new();
            ctx.node_id = Arc::clone(&endpoint.node_id);
            ctx.service = Arc::clone(&endpoint.service);
            ctx.options.timeout = timeout;
        });
        Ok(Attempt { ctx: ctx.build(), route })
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
        stream: Option<&Stream>,
        subject: Subject<'_>,
        parent: Option<&Context>,
    ) -> Result<(Arc<Endpoint>, Arc<Route>), MoleculerError> {
        // All of a stream goes to one node, so it is chosen here.
        if node_id.is_none()
            && stream.is_none()
            && let Some(anywhere) = self.route_anywhere(action)
        {
            return Ok(anywhere);
        }
        let (endpoint, route) = {
            let prefer_local = self.options.registry.prefer_local;
            let registry = self.registry.read();
            let found = match node_id {
                Some(node_id) => registry.actions.on_node(action, node_id),
                None => registry.actions.next(action, prefer_local, subject),
            };
            // Whoever may call a private action finds it; for all others there is none.
            let own = || {
                let here = node_id.is_none_or(|node_id| *node_id == *self.node_id);
                parent.filter(|_| here).and_then(|p| registry.private_action(&p.service, action))
            };
            let found = match found {
                Lookup::Found(_) => found,
                other => own().map_or(other, Lookup::Found),
            };
            match found {
                Lookup::Found(endpoint) => {
                    let route = self.chains.read().actions.get(&endpoint.id).cloned();
                    (Arc::clone(endpoint), route)
                }
                Lookup::NotFound => {
                    return Err(MoleculerError::service_not_found(action, node_id));
                }
                Lookup::NotAvailable => {
                    return Err(MoleculerError::service_not_available(action, node_id));
                }
            }
        };
        let route = match route {
            Some(route) => route,
            None if endpoint.local => return Err(MoleculerError::broker_disconnected()),
            None => self.remote_route(&endpoint)?,
        };
        Ok((endpoint, route))
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
        let stream = options.stream.take();
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
                ctx.stream = stream;
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
