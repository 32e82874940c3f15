//! Gives calls the results of earlier ones (moleculer: src/cachers/base.js middleware).
//!
//! It stands outside of validator, bulkhead and hooks, so a hit enters none of them, nor the guest: whoever
//! checks in a hook who may call an action must have what it checks in the cache key. Keys are made of the
//! params as they came. Errors are not kept, nor are `undefined` and streams.
//!
//! A cacher that fails is as good as none: the call then runs as if nothing were cached.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;

use crate::cacher::key::{self, Keys, Path};
use crate::cacher::{Answer, Cacher as Store, Entry, Error, Lock};
use crate::config;
use crate::config::cacher::CacheLock;
use crate::context::{Context, Outcome};
use crate::handler::Handler;
use crate::middleware::Middleware;
use crate::payload::Payload;
use crate::schema::ActionSchema;
use crate::schema::cache::Cache;
use crate::task;

/// Writes and refreshes that run beside calls; what is beyond that keeps its call waiting, or is left out.
const BACKGROUND_MAX: usize = 1_000;

/// The middleware.
pub struct Cacher {
    store: Arc<dyn Store>,
    options: config::Cacher,
    background: Arc<Semaphore>,
}

/// A store that is elsewhere keeps a result.
type Write = BoxFuture<'static, Result<(), Error>>;

/// How one action is cached, and what runs when nothing is found.
struct Plan {
    store: Arc<dyn Store>,
    keys: Keys,
    params_len_max: Option<usize>,
    ttl: Option<Duration>,
    lock: Option<CacheLock>,
    background: Arc<Semaphore>,
    next: Handler,
}

impl Cacher {
    /// Keeps results in this store; the options are the defaults of the actions.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: config::Cacher) -> Self {
        Self { store, options, background: Arc::new(Semaphore::new(BACKGROUND_MAX)) }
    }

    fn plan(&self, cache: &Cache, next: Handler) -> Plan {
        let keys = cache.keys.as_ref().map_or(Keys::Params, |keys| {
            Keys::Selected(keys.iter().map(|path| Path::new(path)).collect())
        });
        let defaults = self.options.lock;
        let lock = cache.lock.map_or(defaults, |lock| CacheLock {
            enabled: lock.enabled,
            ttl: lock.ttl.unwrap_or(defaults.ttl),
            stale_time: lock.stale_time.or(defaults.stale_time),
        });
        Plan {
            store: Arc::clone(&self.store),
            keys,
            params_len_max: self.options.max_params_length,
            ttl: cache.ttl,
            lock: Some(lock).filter(|lock| lock.enabled),
            background: Arc::clone(&self.background),
            next,
        }
    }
}

impl Middleware for Cacher {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let Some(cache) = &action.cache else { return next };
        // What the node tells about itself is never old.
        if action.name.starts_with('$') {
            return next;
        }
        let plan = Arc::new(self.plan(cache, next));
        Arc::new(move |ctx| plan.run(ctx))
    }
}

/// A result that was kept.
fn hit(ctx: &Context, value: Payload) -> Outcome {
    ctx.mark_cached();
    Ok(value)
}

/// Whether the caller wants a new result: `meta.$cache` is false.
fn bypassed(ctx: &Context) -> bool {
    let meta = ctx.meta();
    // Parsed only when the key can be there; a name may be written with escapes.
    let may_be = |text: &str| text.contains("$cache") || text.contains("\\u");
    !meta.is_empty() && may_be(meta.as_str()) && meta.get("$cache") == Some("false")
}

impl Plan {
    fn run(self: &Arc<Self>, ctx: Context) -> BoxFuture<'static, Outcome> {
        // The key says nothing of a stream, so that it cannot say which result belongs to it.
        if !self.store.connected() || ctx.stream.is_some() || bypassed(&ctx) {
            return (self.next)(ctx);
        }
        let key = key::of(&ctx, &self.keys, self.params_len_max);
        match self.look(&ctx, &key) {
            Answer::Now(Ok(Some(value))) => Box::pin(ready(hit(&ctx, value))),
            Answer::Now(Ok(None)) if self.lock.is_none() => self.miss_unlocked(ctx, key),
            Answer::Now(Ok(None)) => Box::pin(Arc::clone(self).miss(ctx, key)),
            Answer::Now(Err(error)) => {
                note(&error);
                (self.next)(ctx)
            }
            Answer::Later(answer) => {
                let plan = Arc::clone(self);
                Box::pin(async move {
                    match answer.await {
                        Ok(Some(value)) => hit(&ctx, value),
                        Ok(None) => plan.miss(ctx, key).await,
                        Err(error) => {
                            note(&error);
                            (plan.next)(ctx).await
                        }
                    }
                })
            }
        }
    }

    /// Asks the store. An entry that is nearly over is still good, but somebody is sent to make it anew.
    fn look(self: &Arc<Self>, ctx: &Context, key: &str) -> Answer<Option<Payload>> {
        let stale_time = self.lock.and_then(|lock| lock.stale_time);
        let Some(stale_time) = stale_time else { return self.store.get(key) };
        match self.store.get_with_ttl(key) {
            Answer::Now(entry) => {
                Answer::Now(entry.map(|entry| self.refreshed(ctx, key, entry, stale_time)))
            }
            Answer::Later(answer) => {
                let (plan, ctx, key) = (Arc::clone(self), ctx.clone(), key.to_owned());
                Answer::Later(Box::pin(async move {
                    Ok(plan.refreshed(&ctx, &key, answer.await?, stale_time))
                }))
            }
        }
    }

    fn refreshed(
        self: &Arc<Self>,
        ctx: &Context,
        key: &str,
        entry: Option<Entry>,
        stale_time: Duration,
    ) -> Option<Payload> {
        let entry = entry?;
        if entry.ttl.is_some_and(|left| left < stale_time) {
            self.refresh(ctx, key);
        }
        Some(entry.value)
    }

    /// Makes an entry anew beside the call, unless somebody does already.
    fn refresh(self: &Arc<Self>, ctx: &Context, key: &str) {
        let Ok(permit) = Arc::clone(&self.background).try_acquire_owned() else { return };
        // Asked for now, so that the next stale hit sees that somebody is at it.
        let lock = self.store.try_lock(key, self.lock_ttl());
        let (plan, key) = (Arc::clone(self), key.to_owned());
        // Nobody waits for it, so it holds none of the caller's instances.
        let ctx = ctx.copy().with(|copy| copy.parent = None).deadline(ctx.deadline()).build();
        task::spawn_on(&Runtime::current(), "cacher refresh", async move {
            let _permit = permit;
            let Ok(Some(_held)) = lock.wait().await else { return };
            let written = match (plan.next)(ctx).await {
                // A stream can be read once.
                Ok(Payload::Stream(_)) => return,
                Ok(result) => plan.store.set(&key, result, plan.ttl).wait().await,
                // The next call shall see the error instead of the old result.
                Err(_) => plan.store.del(&[key]).wait().await,
            };
            written.unwrap_or_else(|error| note(&error));
        });
    }

    fn lock_ttl(&self) -> Duration {
        self.lock.unwrap_or_default().ttl
    }

    /// Runs the action and keeps its result. With a lock, one of several equal calls does so and the others
    /// wait for what it finds.
    async fn miss(self: Arc<Self>, ctx: Context, key: String) -> Outcome {
        let mut held = None;
        if self.lock.is_some() {
            match self.store.lock(&key, self.lock_ttl()).wait().await {
                Ok(lock) => held = Some(lock),
                Err(error) => note(&error),
            }
            if let Ok(Some(value)) = self.store.get(&key).wait().await {
                return hit(&ctx, value);
            }
        }
        let result = (self.next)(ctx).await?;
        self.keep(&key, &result, held).await;
        Ok(result)
    }

    /// The same without a lock: a call and a place for its result, in a future that has room for no more.
    fn miss_unlocked(self: &Arc<Self>, ctx: Context, key: String) -> BoxFuture<'static, Outcome> {
        let (plan, work) = (Arc::clone(self), (self.next)(ctx));
        Box::pin(async move {
            let result = work.await?;
            if let Some(write) = plan.begin_keeping(&key, &result) {
                Box::pin(plan.go_on_keeping(write, None)).await;
            }
            Ok(result)
        })
    }

    /// Keeps a result, then lets the next one in.
    async fn keep(&self, key: &str, result: &Payload, held: Option<Lock>) {
        if let Some(write) = self.begin_keeping(key, result) {
            self.go_on_keeping(write, held).await;
        }
    }

    /// Keeps a result; gives what is left to be waited for.
    fn begin_keeping(&self, key: &str, result: &Payload) -> Option<Write> {
        // A stream can be read once.
        if matches!(result, Payload::Absent | Payload::Stream(_)) {
            return None;
        }
        match self.store.set(key, result.clone(), self.ttl) {
            Answer::Now(written) => {
                written.unwrap_or_else(|error| note(&error));
                None
            }
            Answer::Later(write) => Some(write),
        }
    }

    /// A store that is elsewhere does not keep the call waiting.
    async fn go_on_keeping(&self, write: Write, held: Option<Lock>) {
        match Arc::clone(&self.background).try_acquire_owned() {
            Ok(permit) => {
                task::spawn_on(&Runtime::current(), "cacher write", async move {
                    let _until_written = (permit, held);
                    write.await.unwrap_or_else(|error| note(&error));
                });
            }
            Err(_) => write.await.unwrap_or_else(|error| note(&error)),
        }
    }
}

/// The store itself tells when it is away; single failures are of interest to those who look for them.
fn note(error: &Error) {
    tracing::debug!(%error, "a call went past the cacher");
}

#[cfg(test)]
mod tests;
