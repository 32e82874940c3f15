//! Locks on keys within this node: one holder each, the others in the order in which they came
//! (moleculer: src/lock.js).
//!
//! A key is in the table as long as somebody holds or waits for its lock; both leave by being dropped.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

type Queue = Arc<tokio::sync::Mutex<()>>;
type Table = Arc<Mutex<HashMap<Arc<str>, Queue>>>;

/// The locks of a cacher.
#[derive(Clone, Default)]
pub(super) struct Locks(Table);

/// The lock of one key, held. Fields are dropped in this order: the next one is let in, then the table is
/// looked after.
pub(super) struct Held {
    _guard: tokio::sync::OwnedMutexGuard<()>,
    _interest: Interest,
}

/// Somebody who holds the lock or waits for it.
struct Interest {
    table: Table,
    key: Arc<str>,
    queue: Queue,
}

impl Locks {
    /// Waits for the lock of a key.
    pub(super) async fn lock(self, key: Arc<str>) -> Held {
        let interest = self.interest(key);
        let guard = Arc::clone(&interest.queue).lock_owned().await;
        Held { _guard: guard, _interest: interest }
    }

    /// Takes the lock of a key, if it is free.
    pub(super) fn try_lock(&self, key: Arc<str>) -> Option<Held> {
        let interest = self.interest(key);
        let guard = Arc::clone(&interest.queue).try_lock_owned().ok()?;
        Some(Held { _guard: guard, _interest: interest })
    }

    fn interest(&self, key: Arc<str>) -> Interest {
        let mut table = self.0.lock();
        let queue = Arc::clone(table.entry(Arc::clone(&key)).or_default());
        Interest { table: Arc::clone(&self.0), key, queue }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        // The table's own reference and this one: nobody else is there, and nobody can come while the
        // table is locked.
        if Arc::strong_count(&self.queue) == 2 {
            table.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_holds_the_lock_and_the_others_follow_in_order() {
        let locks = Locks::default();
        let first = locks.clone().lock("k".into()).await;
        assert!(locks.try_lock("k".into()).is_none());
        assert!(locks.try_lock("other".into()).is_some());
        let mut second = Box::pin(locks.clone().lock("k".into()));
        let mut third = Box::pin(locks.clone().lock("k".into()));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.as_mut().now_or_never().unwrap();
        drop(second);
        drop(third.await);
        assert_eq!(locks.len(), 0);
    }

    #[tokio::test]
    async fn one_that_waits_in_vain_leaves_nothing_behind() {
        let locks = Locks::default();
        let held = locks.clone().lock("k".into()).await;
        let mut waiting = Box::pin(locks.clone().lock("k".into()));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert_eq!(locks.len(), 0);
    }
}
