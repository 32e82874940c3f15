//! Entries in the memory of this node (moleculer: src/cachers/memory.js, memory-lru.js).
//!
//! Bounded in bytes, and as `MemoryLRU` also in number: `Memory` gives up the oldest entries, `MemoryLRU`
//! those that were not used for longest. One lock guards them and is held for a few instructions, except
//! when many entries have expired at once. Values are copied when they are kept, so that a small one does
//! not hold the large packet that it was a part of.
//!
//! Unlike Moleculer's, reading an entry of `Memory` for a `staleTime` check does not prolong its life: a
//! busy entry would never be made anew.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::{RawEntryMut, RawOccupiedEntryMut};
use parking_lot::Mutex;

use super::lock::Locks;
use super::{Answer, Cacher, Counters, Entry, Error, Lock, Surroundings};
use crate::clock::{self, Instant};
use crate::config;
use crate::config::cacher::CacheStore;
use crate::metrics::{Metric, MetricRegistry};
use crate::payload::Payload;
use crate::schema::Pattern;
use crate::task;

/// What an entry takes beside its key and value: links, hash table, counts of the allocator.
const ENTRY_OVERHEAD: usize = 160;

/// Time between two searches for expired entries (moleculer: src/cachers/memory.js).
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A cacher in memory.
pub struct Memory(Arc<Shared>);

struct Shared {
    entries: Mutex<Entries>,
    /// Keys are made of what callers send, so they are hashed with a secret.
    secret: RandomState,
    /// Bytes that all entries may take.
    bytes_max: usize,
    locks: Locks,
    ttl: Option<Duration>,
    /// As `MemoryLRU`: reading makes an entry the newest, and with a life of the cacher's begins that anew.
    recency: bool,
    counters: Counters,
    gauges: Gauges,
}

struct Entries {
    /// First the one that goes next.
    map: LinkedHashMap<Key, Item, BuildHasherDefault<KnownHash>>,
    bytes: usize,
    bytes_max: usize,
    len_max: usize,
}

/// A key and its hash. Keys are long, so that a hash costs more than all else that is done with an entry: it
/// is made once, outside of the lock, and serves when the map grows and when the entry goes, too.
struct Key {
    hash: u64,
    text: Arc<str>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that a [`Key`] has.
#[derive(Default)]
struct KnownHash(u64);

impl Hasher for KnownHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Keys write nothing else.
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Item {
    value: Payload,
    ttl: Option<Duration>,
    expires: Option<Instant>,
}

struct Gauges {
    entries: Metric,
    bytes: Metric,
    evicted: Metric,
    too_large: Metric,
}

impl Memory {
    /// An empty cacher.
    #[must_use]
    pub fn new(options: &config::Cacher, metrics: &MetricRegistry) -> Self {
        let len_max = match options.store {
            CacheStore::MemoryLru { max } => Some(max),
            CacheStore::Memory | CacheStore::Redis { .. } => None,
        };
        Self(Arc::new(Shared {
            entries: Mutex::new(Entries {
                map: LinkedHashMap::with_hasher(BuildHasherDefault::default()),
                bytes: 0,
                bytes_max: options.max_bytes,
                len_max: len_max.unwrap_or(usize::MAX),
            }),
            secret: RandomState::new(),
            bytes_max: options.max_bytes,
            locks: Locks::default(),
            ttl: options.ttl.filter(|ttl| !ttl.is_zero()),
            recency: len_max.is_some(),
            counters: Counters::new(metrics),
            gauges: Gauges {
                entries: metrics.metric("isomer.cacher.entries"),
                bytes: metrics.metric("isomer.cacher.bytes"),
                evicted: metrics.metric("isomer.cacher.evicted.total"),
                too_large: metrics.metric("isomer.cacher.tooLarge.total"),
            },
        }))
    }
}

impl Shared {
    fn read(&self, key: &str) -> Option<Entry> {
        let hash = self.secret.hash_one(key);
        let mut entries = self.entries.lock();
        let mut found = entries.find(hash, key)?;
        if self.recency {
            found.to_back();
        }
        let item = found.get_mut();
        let Some(expires) = item.expires else {
            return Some(Entry { value: item.value.clone(), ttl: None });
        };
        let now = clock::now();
        if expires < now {
            self.counters.expired.increment();
            entries.remove(hash, key);
            self.measure(&entries);
            return None;
        }
        if self.recency && self.ttl.is_some() {
            item.expires = item.ttl.and_then(|ttl| now.checked_add(ttl));
        }
        Some(Entry { value: item.value.clone(), ttl: Some(expires.duration_since(now)) })
    }

    fn write(&self, key: &str, value: &Payload, ttl: Option<Duration>) {
        let ttl = ttl.map_or(self.ttl, |ttl| Some(ttl).filter(|ttl| !ttl.is_zero()));
        // A life too long for the clock is for ever.
        let expires = ttl.and_then(|ttl| clock::now().checked_add(ttl));
        // Copied before the lock is taken.
        let item = match value {
            Payload::Absent => None,
            value if cost(key.len(), value) > self.bytes_max => {
                self.gauges.too_large.increment();
                None
            }
            value => Some((Arc::from(key), Item { value: copied(value), ttl, expires })),
        };
        let hash = self.secret.hash_one(key);
        let mut entries = self.entries.lock();
        match item {
            Some((text, item)) => {
                entries.insert(Key { hash, text }, item);
                let evicted = entries.shrink();
                if evicted > 0 {
                    self.gauges.evicted.add(evicted);
                }
            }
            None => entries.remove(hash, key),
        }
        self.measure(&entries);
    }

    /// The numbers of one cacher; a second one in the same process overwrites them.
    fn measure(&self, entries: &Entries) {
        let set = |gauge: &Metric, to: usize| {
            let by = i64::try_from(to).unwrap_or(i64::MAX).saturating_sub(gauge.get());
            // A full cacher holds the same number all the time.
            if by != 0 {
                gauge.add(by);
            }
        };
        set(&self.gauges.entries, entries.map.len());
        set(&self.gauges.bytes, entries.bytes);
    }

    fn remove_where(&self, doomed: impl Fn(&str) -> bool) {
        // Patterns may be slow, so the entries are not locked while they are tried.
        let keys: Vec<(u64, Arc<str>)> = {
            let entries = self.entries.lock();
            entries.map.keys().map(|key| (key.hash, Arc::clone(&key.text))).collect()
        };
        let doomed: Vec<_> = keys.into_iter().filter(|(_, key)| doomed(key)).collect();
        let mut entries = self.entries.lock();
        for (hash, key) in doomed {
            entries.remove(hash, &key);
        }
        self.measure(&entries);
    }

    fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.map.clear();
        entries.bytes = 0;
        self.measure(&entries);
    }

    fn sweep(&self) {
        let now = clock::now();
        let mut entries = self.entries.lock();
        let (mut expired, mut freed) = (0, 0);
        entries.map.retain(|key, item| {
            let keep = item.expires.is_none_or(|expires| expires >= now);
            if !keep {
                expired += 1;
                freed += cost(key.text.len(), &item.value);
            }
            keep
        });
        entries.bytes = entries.bytes.saturating_sub(freed);
        self.counters.expired.add(expired);
        self.measure(&entries);
    }

    fn clean(&self, patterns: &[String]) -> Result<(), Error> {
        let mut compiled = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if pattern == "**" {
                self.clear();
                return Ok(());
            }
            let error = |error: &dyn std::fmt::Display| Error::Pattern {
                pattern: pattern.clone(),
                reason: error.to_string(),
            };
            compiled.push(Pattern::compile(pattern).map_err(|failed| error(&failed))?);
        }
        self.remove_where(|key| compiled.iter().any(|pattern| pattern.matches(key)));
        Ok(())
    }
}

/// An entry that is there.
type Found<'a> = RawOccupiedEntryMut<'a, Key, Item, BuildHasherDefault<KnownHash>>;

impl Entries {
    /// Puts an entry in as the newest, in the place of an older one with this key.
    fn insert(&mut self, key: Key, item: Item) {
        let key_len = key.text.len();
        self.bytes = self.bytes.saturating_add(cost(key_len, &item.value));
        match self.map.raw_entry_mut().from_hash(key.hash, |known| known.text == key.text) {
            RawEntryMut::Occupied(mut entry) => {
                entry.to_back();
                let replaced = std::mem::replace(entry.get_mut(), item);
                self.bytes = self.bytes.saturating_sub(cost(key_len, &replaced.value));
            }
            RawEntryMut::Vacant(entry) => {
                entry.insert_hashed_nocheck(key.hash, key, item);
            }
        }
    }

    fn find(&mut self, hash: u64, key: &str) -> Option<Found<'_>> {
        match self.map.raw_entry_mut().from_hash(hash, |known| &*known.text == key) {
            RawEntryMut::Occupied(entry) => Some(entry),
            RawEntryMut::Vacant(_) => None,
        }
    }

    fn remove(&mut self, hash: u64, key: &str) {
        let Some(found) = self.find(hash, key) else { return };
        let item = found.remove();
        self.bytes = self.bytes.saturating_sub(cost(key.len(), &item.value));
    }

    /// Gives up entries until the rest fits; says how many.
    fn shrink(&mut self) -> i64 {
        let mut evicted = 0;
        while self.bytes > self.bytes_max || self.map.len() > self.len_max {
            let Some((key, item)) = self.map.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(cost(key.text.len(), &item.value));
            evicted += 1;
        }
        evicted
    }
}

/// Bytes that an entry takes.
fn cost(key_len: usize, value: &Payload) -> usize {
    key_len.saturating_add(value.len()).saturating_add(ENTRY_OVERHEAD)
}

/// A value that shares its bytes with nothing else.
fn copied(value: &Payload) -> Payload {
    match value {
        // Streams are read once, so they are never kept.
        Payload::Absent | Payload::Stream(_) => Payload::Absent,
        Payload::Json(text) => Payload::Json((&**text).into()),
        Payload::Bytes(bytes) => Payload::Bytes(Bytes::copy_from_slice(bytes)),
    }
}

impl Cacher for Memory {
    fn start(&self, surroundings: Surroundings) {
        let shared = Arc::downgrade(&self.0);
        task::spawn("cacher sweep", &surroundings.cancel, async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                shared.sweep();
            }
        });
    }

    fn node_local(&self) -> bool {
        true
    }

    fn get(&self, key: &str) -> Answer<Option<Payload>> {
        self.0.counters.get.increment();
        let found = self.0.read(key).map(|entry| entry.value);
        if found.is_some() {
            self.0.counters.found.increment();
        }
        Answer::Now(Ok(found))
    }

    fn get_with_ttl(&self, key: &str) -> Answer<Option<Entry>> {
        Answer::Now(Ok(self.0.read(key)))
    }

    fn set(&self, key: &str, value: Payload, ttl: Option<Duration>) -> Answer<()> {
        self.0.counters.set.increment();
        self.0.write(key, &value, ttl);
        Answer::Now(Ok(()))
    }

    fn del(&self, keys: &[String]) -> Answer<()> {
        self.0.counters.del.increment();
        let mut entries = self.0.entries.lock();
        for key in keys {
            entries.remove(self.0.secret.hash_one(key.as_str()), key);
        }
        self.0.measure(&entries);
        Answer::Now(Ok(()))
    }

    fn clean(&self, patterns: &[String]) -> Answer<()> {
        self.0.counters.clean.increment();
        Answer::Now(self.0.clean(patterns))
    }

    fn keys(&self) -> Answer<Vec<String>> {
        let entries = self.0.entries.lock();
        Answer::Now(Ok(entries.map.keys().map(|key| String::from(&*key.text)).collect()))
    }

    fn lock(&self, key: &str, _ttl: Duration) -> Answer<Lock> {
        let (locks, key) = (self.0.locks.clone(), Arc::from(key));
        Answer::Later(Box::pin(async move { Ok(Lock::new(locks.lock(key).await)) }))
    }

    fn try_lock(&self, key: &str, _ttl: Duration) -> Answer<Option<Lock>> {
        Answer::Now(Ok(self.0.locks.try_lock(key.into()).map(Lock::new)))
    }
}

#[cfg(test)]
mod tests;
