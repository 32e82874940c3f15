//! Entries in a Redis that nodes share, with keys and values as Moleculer JS writes them
//! (moleculer: src/cachers/redis.js).
//!
//! A key is the prefix (`MOL-`, `MOL-<namespace>-`, or the option's and `-`) and the key of the call; a value
//! is JSON text. A Redis that is away fails every request at once until it is found again.
//!
//! Locks are those of the package `redlock` with one server: `<key>-lock` holds a random token for the time
//! of the lock, and is deleted only by whoever knows that token.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Pipeline, cmd};
use bytestring::ByteString;
use serde_json::json;

use super::{Answer, Cacher, Counters, Entry, Error, LocalEvent, Lock, Surroundings};
use crate::backoff;
use crate::clock;
use crate::config;
use crate::config::cacher::CacheStore;
use crate::metrics::MetricRegistry;
use crate::payload::Payload;
use crate::redis::{self, Change, Client, Link, Loss, Scan};
use crate::task;
use crate::uid;

/// Time between two attempts to get a lock, and the most that is added or taken at random
/// (redlock: retryDelay, retryJitter).
const LOCK_RETRY: Duration = Duration::from_millis(200);
const LOCK_JITTER: Duration = Duration::from_millis(100);

/// Keys that a scan looks at in one step (moleculer: src/cachers/redis.js scanStream).
const SCAN_COUNT: usize = 100;

/// Deletes a lock whose token is still the holder's.
const UNLOCK: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then \
                      return redis.call('del', KEYS[1]) else return 0 end";

/// A cacher in Redis.
pub struct Redis(Arc<Shared>);

struct Shared {
    prefix: String,
    ttl: Option<Duration>,
    counters: Counters,
    link: Link,
    /// Where locks are released whose holder was dropped.
    runtime: tokio::runtime::Handle,
}

impl Redis {
    /// A cacher that is not connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(
        options: &config::Cacher,
        namespace: &str,
        metrics: &MetricRegistry,
    ) -> Result<Self, Error> {
        let CacheStore::Redis { urls, cluster, prefix, ping_interval } = &options.store else {
            return Err(Error::Address { reason: "there is none".into() });
        };
        let client = Client::new(urls, *cluster)?;
        Ok(Self(Arc::new(Shared {
            prefix: full_prefix(prefix.as_deref(), namespace),
            ttl: options.ttl.filter(|ttl| !ttl.is_zero()),
            counters: Counters::new(metrics),
            link: Link::new(client, *ping_interval),
            runtime: tokio::runtime::Handle::current(),
        })))
    }
}

// moleculer: src/cachers/base.js init
fn full_prefix(option: Option<&str>, namespace: &str) -> String {
    match (option, namespace) {
        (Some(prefix), _) if !prefix.is_empty() => format!("{prefix}-"),
        (_, "") => "MOL-".into(),
        (_, namespace) => format!("MOL-{namespace}-"),
    }
}

impl Shared {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn read(&self, key: &str) -> Result<Option<Payload>, Error> {
        self.counters.get.increment();
        let text: Option<Vec<u8>> = self.link.ask(cmd("GET").arg(self.full(key))).await?;
        let found = text.and_then(|text| value_of(key, text));
        if found.is_some() {
            self.counters.found.increment();
        }
        Ok(found)
    }

    async fn read_with_ttl(&self, key: &str) -> Result<Option<Entry>, Error> {
        let key_there = self.full(key);
        let mut both = Pipeline::new();
        both.cmd("GET").arg(&key_there).cmd("PTTL").arg(&key_there);
        let (text, left_ms): (Option<Vec<u8>>, i64) = self.link.ask_all(&both).await?;
        let Some(value) = text.and_then(|text| value_of(key, text)) else { return Ok(None) };
        // Negative: it has no end.
        let ttl = u64::try_from(left_ms).ok().map(Duration::from_millis);
        Ok(Some(Entry { value, ttl }))
    }

    async fn write(&self, key: &str, value: Payload, ttl: Option<Duration>) -> Result<(), Error> {
        self.counters.set.increment();
        let mut set = cmd("SET");
        set.arg(self.full(key)).arg(&*value.to_json_text());
        if let Some(ttl) = ttl.or(self.ttl).filter(|ttl| !ttl.is_zero()) {
            match ttl.subsec_nanos() {
                0 => set.arg("EX").arg(ttl.as_secs()),
                _ => set.arg("PX").arg(millis(ttl)),
            };
        }
        Ok(self.link.ask(&set).await?)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), Error> {
        self.counters.del.increment();
        if keys.is_empty() {
            return Ok(());
        }
        let mut del = cmd("DEL");
        for key in keys {
            del.arg(self.full(key));
        }
        Ok(self.link.ask(&del).await?)
    }

    async fn clean(&self, patterns: &[String]) -> Result<(), Error> {
        self.counters.clean.increment();
        for pattern in patterns {
            // Redis knows one star, and it takes dots as well.
            let mut scan = self.scan(&pattern.replace("**", "*")).await?;
            while let Some(keys) = scan.next().await? {
                let mut del = cmd("DEL");
                for key in keys {
                    del.arg(key);
                }
                self.link.ask::<()>(&del).await?;
            }
        }
        Ok(())
    }

    async fn all_keys(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        let mut scan = self.scan("*").await?;
        while let Some(keys) = scan.next().await? {
            let texts = keys.iter().map(|key| String::from_utf8_lossy(key));
            all.extend(texts.filter_map(|key| Some(key.strip_prefix(&self.prefix)?.to_owned())));
        }
        Ok(all)
    }

    /// Begins to look for the keys that match.
    async fn scan(&self, pattern: &str) -> Result<Scan<'_>, Error> {
        Ok(Scan::new(&self.link, self.full(pattern), SCAN_COUNT).await?)
    }
}

// moleculer: src/cachers/redis.js init
fn report(local_event: &LocalEvent, loss: &Loss) {
    tracing::warn!(reason = loss.reason, "the cacher is away; calls go past it until it is back");
    let error = json!({"name": "Error", "message": loss.reason});
    local_event("$cacher.error", json!({"error": error, "module": "cacher", "type": loss.kind}));
}

impl From<redis::Error> for Error {
    fn from(error: redis::Error) -> Self {
        match error {
            redis::Error::Away => Self::Disconnected,
            redis::Error::Lost { reason } | redis::Error::Failed { reason } => {
                Self::Store { reason }
            }
            redis::Error::Address { reason } => Self::Address { reason },
        }
    }
}

/// Reads a value. What is no JSON was not written by a cacher, and is made anew.
fn value_of(key: &str, text: Vec<u8>) -> Option<Payload> {
    let text = ByteString::try_from(text).map_err(|error| error.to_string());
    match text.and_then(|text| Payload::from_json_text(text).map_err(|error| error.to_string())) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(key, error, "an entry of the cacher cannot be read");
            None
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A lock in Redis.
struct Held {
    shared: Arc<Shared>,
    key: String,
    token: String,
}

impl Held {
    /// Takes the lock of a key, if it is free.
    async fn take(shared: &Arc<Shared>, key: &str, ttl: Duration) -> Result<Option<Self>, Error> {
        let key = format!("{}-lock", shared.full(key));
        let token = uid::new().replace('-', "");
        let mut set = cmd("SET");
        set.arg(&key).arg(&token).arg("NX").arg("PX").arg(millis(ttl));
        let set: Option<String> = shared.link.ask(&set).await?;
        Ok(set.map(|_| Self { shared: Arc::clone(shared), key, token }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (shared, key) = (Arc::clone(&self.shared), std::mem::take(&mut self.key));
        let token = std::mem::take(&mut self.token);
        task::spawn_on(&self.shared.runtime, "cacher unlock", async move {
            let mut unlock = cmd("EVAL");
            unlock.arg(UNLOCK).arg(1).arg(key).arg(token);
            // A lock that cannot be released ends by itself.
            let _: Result<i64, redis::Error> = shared.link.ask(&unlock).await;
        });
    }
}

/// Waits for the lock of a key. Its holder has it for `ttl` at most, and so long one waits.
async fn lock(shared: Arc<Shared>, key: String, ttl: Duration) -> Result<Lock, Error> {
    let until = clock::now().checked_add(ttl);
    loop {
        if let Some(held) = Held::take(&shared, &key, ttl).await? {
            return Ok(Lock::new(held));
        }
        if until.is_some_and(|until| clock::now() >= until) {
            return Err(Error::Locked { key });
        }
        tokio::time::sleep(LOCK_RETRY - LOCK_JITTER + backoff::jitter(2 * LOCK_JITTER)).await;
    }
}

impl Redis {
    /// Does something with the store, unless it is away.
    fn later<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        if !self.connected() {
            return Answer::Now(Err(Error::Disconnected));
        }
        Answer::Later(Box::pin(work(Arc::clone(&self.0))))
    }
}

impl Cacher for Redis {
    fn start(&self, surroundings: Surroundings) {
        let local_event = surroundings.local_event;
        let told = move |change| match change {
            Change::Connected => tracing::info!("the cacher is connected"),
            Change::Lost(loss) => report(&local_event, &loss),
        };
        let keep = self.0.link.clone().keep(told);
        task::spawn("cacher connection", &surroundings.cancel, keep);
    }

    fn connected(&self) -> bool {
        self.0.link.connected()
    }

    fn node_local(&self) -> bool {
        false
    }

    fn get(&self, key: &str) -> Answer<Option<Payload>> {
        let key = key.to_owned();
        self.later(|shared| async move { shared.read(&key).await })
    }

    fn get_with_ttl(&self, key: &str) -> Answer<Option<Entry>> {
        let key = key.to_owned();
        self.later(|shared| async move { shared.read_with_ttl(&key).await })
    }

    fn set(&self, key: &str, value: Payload, ttl: Option<Duration>) -> Answer<()> {
        if value == Payload::Absent {
            return Answer::Now(Ok(()));
        }
        let key = key.to_owned();
        self.later(|shared| async move { shared.write(&key, value, ttl).await })
    }

    fn del(&self, keys: &[String]) -> Answer<()> {
        let keys = keys.to_vec();
        self.later(|shared| async move { shared.delete(&keys).await })
    }

    fn clean(&self, patterns: &[String]) -> Answer<()> {
        let patterns = patterns.to_vec();
        self.later(|shared| async move { shared.clean(&patterns).await })
    }

    fn keys(&self) -> Answer<Vec<String>> {
        self.later(|shared| async move { shared.all_keys().await })
    }

    fn lock(&self, key: &str, ttl: Duration) -> Answer<Lock> {
        let key = key.to_owned();
        self.later(|shared| lock(shared, key, ttl))
    }

    fn try_lock(&self, key: &str, ttl: Duration) -> Answer<Option<Lock>> {
        let key = key.to_owned();
        self.later(|shared| async move { Ok(Held::take(&shared, &key, ttl).await?.map(Lock::new)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // moleculer: src/cachers/base.js init
    #[test]
    fn the_prefix_is_that_of_moleculer() {
        assert_eq!(full_prefix(None, ""), "MOL-");
        assert_eq!(full_prefix(None, "dev"), "MOL-dev-");
        assert_eq!(full_prefix(Some("app"), "dev"), "app-");
    }

    #[test]
    fn an_entry_that_is_no_json_is_none() {
        assert_eq!(value_of("k", b"null".to_vec()), Some(Payload::null()));
        assert_eq!(value_of("k", b"{".to_vec()), None);
        assert_eq!(value_of("k", vec![b'"', 0xFF, b'"']), None);
    }
}
