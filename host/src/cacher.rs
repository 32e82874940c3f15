//! Results of calls that are kept for the next caller (moleculer: src/cachers).
//!
//! [`Cacher`] is where they are kept: the memory of this node or a Redis that nodes share. An answer that
//! needs no waiting is given at once, without a future, because a hit must cost less than the call it saves.
//! Which calls are cached, and what a miss does, is `middleware::cacher`'s business; [`key`] makes the keys.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::config;
use crate::config::cacher::CacheStore;
use crate::metrics::{Metric, MetricRegistry};
use crate::payload::Payload;
use crate::task::CancellationToken;

pub mod key;
mod lock;
mod memory;
mod redis;

pub use self::redis::Redis;
pub use memory::Memory;

/// Why a cacher did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection now; it is being made in the background.
    #[error("the cacher is not connected")]
    Disconnected,
    /// The store refused, failed, or did not answer in time.
    #[error("the cacher's store failed: {reason}")]
    Store {
        /// What it says.
        reason: String,
    },
    /// A pattern that cannot be compiled.
    #[error("the pattern '{pattern}' cannot be used: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else held the lock for its whole life.
    #[error("the lock of '{key}' was not released in time")]
    Locked {
        /// The key.
        key: String,
    },
    /// An address that is none.
    #[error("cannot use the address of the cacher's store: {reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
}

/// What a cacher answers: at once, or later.
pub enum Answer<T> {
    /// Known already.
    Now(Result<T, Error>),
    /// Must be waited for.
    Later(BoxFuture<'static, Result<T, Error>>),
}

impl<T> Answer<T> {
    /// The answer, after waiting for it if need be.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn wait(self) -> Result<T, Error> {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// A value and how long it will be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Payload,
    /// What is left of its life; `None` is for ever.
    pub ttl: Option<Duration>,
}

/// A lock on a key; dropping it lets the next one in.
pub struct Lock {
    _held: Box<dyn Any + Send>,
}

impl Lock {
    /// A lock that is held until this value is dropped.
    #[must_use]
    pub fn new(held: impl Any + Send) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Sends one of the node's own events to its services.
pub type LocalEvent = Arc<dyn Fn(&'static str, Value) + Send + Sync>;

/// What a cacher gets from its broker when that starts.
pub struct Surroundings {
    /// Sends an event to the services of this node: `$cacher.error`.
    pub local_event: LocalEvent,
    /// Cancelled when the broker has stopped.
    pub cancel: CancellationToken,
}

/// Where results are kept. Embedding programs may bring their own.
///
/// A [`Payload::Absent`] (JavaScript's `undefined`) is never kept: it means that there is no entry.
/// The life of an entry is that of `set`, else the cacher's own; zero is for ever.
pub trait Cacher: Send + Sync {
    /// Begins what it does in the background. Called once, in the runtime of the broker.
    fn start(&self, _surroundings: Surroundings) {}

    /// False while the store cannot be reached: calls then go past the cacher.
    fn connected(&self) -> bool {
        true
    }

    /// Whether the entries belong to this node alone, so that it has to hear what other nodes clean.
    fn node_local(&self) -> bool;

    /// The value of a key.
    fn get(&self, key: &str) -> Answer<Option<Payload>>;

    /// The value of a key and how long it will be there.
    fn get_with_ttl(&self, key: &str) -> Answer<Option<Entry>>;

    /// Keeps a value.
    fn set(&self, key: &str, value: Payload, ttl: Option<Duration>) -> Answer<()>;

    /// Removes entries.
    fn del(&self, keys: &[String]) -> Answer<()>;

    /// Removes the entries whose keys match one of these patterns.
    fn clean(&self, patterns: &[String]) -> Answer<()>;

    /// All keys (moleculer: getCacheKeys).
    fn keys(&self) -> Answer<Vec<String>>;

    /// Waits for the lock of a key; it is given up after `ttl` at the latest where its holder may be on
    /// another node. [`Error::Locked`] when it was not free in that time.
    fn lock(&self, key: &str, ttl: Duration) -> Answer<Lock>;

    /// Takes the lock of a key, if it is free.
    fn try_lock(&self, key: &str, ttl: Duration) -> Answer<Option<Lock>>;
}

/// Makes the cacher that the options describe. Must be called within a tokio runtime.
///
/// # Errors
/// [`Error::Address`].
pub fn new(
    options: &config::Cacher,
    namespace: &str,
    metrics: &MetricRegistry,
) -> Result<Arc<dyn Cacher>, Error> {
    match &options.store {
        CacheStore::Memory | CacheStore::MemoryLru { .. } => {
            Ok(Arc::new(Memory::new(options, metrics)))
        }
        CacheStore::Redis { .. } => Ok(Arc::new(Redis::new(options, namespace, metrics)?)),
    }
}

/// Moleculer's counters of a cacher.
#[derive(Clone, Debug)]
struct Counters {
    get: Metric,
    found: Metric,
    set: Metric,
    del: Metric,
    clean: Metric,
    expired: Metric,
}

impl Counters {
    fn new(metrics: &MetricRegistry) -> Self {
        Self {
            get: metrics.metric("moleculer.cacher.get.total"),
            found: metrics.metric("moleculer.cacher.found.total"),
            set: metrics.metric("moleculer.cacher.set.total"),
            del: metrics.metric("moleculer.cacher.del.total"),
            clean: metrics.metric("moleculer.cacher.clean.total"),
            expired: metrics.metric("moleculer.cacher.expired.total"),
        }
    }
}
