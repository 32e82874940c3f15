//! Options of the cacher (moleculer: src/cachers).

use std::time::Duration;

/// Option `cacher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cacher {
    /// Where entries are kept.
    pub store: CacheStore,
    /// How long an entry lives when its action says nothing; `None` is for ever.
    pub ttl: Option<Duration>,
    /// Keys whose params are longer are hashed; at least 44. `None` never hashes.
    pub max_params_length: Option<usize>,
    /// Protection against many equal calls that all miss.
    pub lock: CacheLock,
    /// Most bytes of keys and values that the memory of this node holds. 64 MiB
    pub max_bytes: usize,
}

/// Where entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheStore {
    /// In the memory of this node; the oldest go when it is full.
    Memory,
    /// In the memory of this node, at most so many entries; the least recently used go.
    MemoryLru {
        /// 1000
        max: usize,
    },
    /// In Redis, shared with other nodes.
    Redis {
        /// One URL, or the nodes of a cluster.
        urls: Vec<String>,
        /// Whether they are a cluster.
        cluster: bool,
        /// Before every key. `MOL-` and the namespace
        prefix: Option<String>,
        /// Ask for a sign of life so often. `None` is never
        ping_interval: Option<Duration>,
    },
}

/// Section `cacher.lock`, and `cache.lock` of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLock {
    /// false
    pub enabled: bool,
    /// How long one may hold the lock. 15 s
    pub ttl: Duration,
    /// When less than this is left of an entry's life, one call makes it anew and the others get the old one.
    pub stale_time: Option<Duration>,
}

impl Default for CacheLock {
    fn default() -> Self {
        Self { enabled: false, ttl: Duration::from_secs(15), stale_time: None }
    }
}

impl Default for Cacher {
    fn default() -> Self {
        Self {
            store: CacheStore::Memory,
            ttl: None,
            max_params_length: None,
            lock: CacheLock::default(),
            max_bytes: 64 << 20,
        }
    }
}
