//! What waits for an answer from another node, by ID.
//!
//! Pure bookkeeping: no time, no packets. An entry is owned by its [`Waiting`]; dropping that, at whatever
//! point, removes the entry. An answer counts only when it comes from the node that was asked, if one was.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::metrics::Metric;

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled<T> {
    /// The answer.
    Answer(T),
    /// The node that was asked is gone.
    NodeLost,
    /// This node leaves the mesh.
    Closed,
}

/// Why nothing more can wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many wait as are allowed.
    Full { size: usize, limit: usize },
    /// Something with this ID waits already.
    Duplicate,
}

/// The map.
pub(super) struct Pending<T> {
    entries: Mutex<HashMap<Arc<str>, Entry<T>>>,
    /// Entries at once; 0 is unlimited (moleculer: transit.maxQueueSize).
    limit: usize,
    /// Follows the number of entries.
    gauge: Metric,
}

struct Entry<T> {
    node_id: Arc<str>,
    tx: oneshot::Sender<Settled<T>>,
}

impl<T> Entry<T> {
    fn may_be_answered_by(&self, sender: &str) -> bool {
        self.node_id.is_empty() || &*self.node_id == sender
    }
}

/// One that waits.
pub(super) struct Waiting<T> {
    pending: Arc<Pending<T>>,
    id: Arc<str>,
    rx: oneshot::Receiver<Settled<T>>,
    /// True when whoever answered has taken the entry out.
    settled: bool,
}

impl<T> Pending<T> {
    pub(super) fn new(limit: usize, gauge: Metric) -> Self {
        Self { entries: Mutex::default(), limit, gauge }
    }

    /// Begins to wait for `node_id` to answer `id`; an empty one is any.
    pub(super) fn insert(
        self: &Arc<Self>,
        id: &Arc<str>,
        node_id: &Arc<str>,
    ) -> Result<Waiting<T>, Refused> {
        let (tx, rx) = oneshot::channel();
        let mut entries = self.entries.lock();
        let size = entries.len();
        if self.limit > 0 && size >= self.limit {
            return Err(Refused::Full { size, limit: self.limit });
        }
        match entries.entry(Arc::clone(id)) {
            MapEntry::Occupied(_) => return Err(Refused::Duplicate),
            MapEntry::Vacant(entry) => {
                entry.insert(Entry { node_id: Arc::clone(node_id), tx });
            }
        }
        self.gauge.increment();
        Ok(Waiting { pending: Arc::clone(self), id: Arc::clone(id), rx, settled: false })
    }

    /// Gives an answer to who waits for it. False when nobody waits for it from this sender.
    pub(super) fn settle(&self, id: &str, sender: &str, answer: T) -> bool {
        let mut entries = self.entries.lock();
        // Taken out at once, because an answer from elsewhere is rare.
        let Some((id, entry)) = entries.remove_entry(id) else { return false };
        if !entry.may_be_answered_by(sender) {
            entries.insert(id, entry);
            return false;
        }
        drop(entries);
        self.gauge.add(-1);
        // The one that waited may be gone in this moment; then the answer is late.
        entry.tx.send(Settled::Answer(answer)).is_ok()
    }

    /// Whether somebody waits for this sender to answer `id`.
    pub(super) fn awaits(&self, id: &str, sender: &str) -> bool {
        self.entries.lock().get(id).is_some_and(|entry| entry.may_be_answered_by(sender))
    }

    /// Ends the waiting of all who wait for this node; how many they were.
    pub(super) fn reject_node(&self, node_id: &str) -> usize {
        self.end(|entry| &*entry.node_id == node_id, || Settled::NodeLost)
    }

    /// Ends all waiting.
    pub(super) fn clear(&self) {
        self.end(|_| true, || Settled::Closed);
    }

    fn end(&self, chosen: impl Fn(&Entry<T>) -> bool, how: impl Fn() -> Settled<T>) -> usize {
        let ended: Vec<_> = self.entries.lock().extract_if(|_, entry| chosen(entry)).collect();
        self.gauge.add(-i64::try_from(ended.len()).unwrap_or(0));
        let count = ended.len();
        for (_, entry) in ended {
            // One that stopped waiting in this moment needs no word.
            let _ = entry.tx.send(how());
        }
        count
    }

    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

impl<T> Waiting<T> {
    /// Waits. How long is up to the caller: dropping the future ends it.
    pub(super) async fn wait(mut self) -> Settled<T> {
        let settled = (&mut self.rx).await.unwrap_or(Settled::Closed);
        self.settled = true;
        settled
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if !self.settled && self.pending.entries.lock().remove(&self.id).is_some() {
            self.pending.gauge.add(-1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn pending(limit: usize) -> (Arc<Pending<u32>>, Metric) {
        let gauge = Metric::default();
        (Arc::new(Pending::new(limit, gauge.clone())), gauge)
    }

    fn wait_for(pending: &Arc<Pending<u32>>, id: &str, node: &str) -> Waiting<u32> {
        pending.insert(&id.into(), &node.into()).unwrap()
    }

    #[test]
    fn an_answer_reaches_the_one_that_waits_once() {
        let (pending, gauge) = pending(0);
        let waiting = wait_for(&pending, "1", "b");
        assert_eq!(gauge.get(), 1);
        assert!(pending.settle("1", "b", 7));
        assert!(!pending.settle("1", "b", 8));
        assert_eq!(waiting.wait().now_or_never(), Some(Settled::Answer(7)));
        assert_eq!((pending.len(), gauge.get()), (0, 0));
    }

    #[test]
    fn an_answer_of_another_node_is_none() {
        let (pending, _) = pending(0);
        let waiting = wait_for(&pending, "1", "b");
        assert!(!pending.settle("1", "mallory", 7));
        assert_eq!(waiting.wait().now_or_never(), None);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn anybody_may_answer_when_nobody_was_named() {
        let (pending, _) = pending(0);
        let waiting = wait_for(&pending, "1", "");
        assert_eq!(pending.reject_node("b"), 0);
        assert!(pending.settle("1", "b", 7));
        assert_eq!(waiting.wait().now_or_never(), Some(Settled::Answer(7)));
    }

    #[test]
    fn dropping_the_future_at_any_point_empties_the_map() {
        let (pending, gauge) = pending(0);
        drop(wait_for(&pending, "1", "b"));
        let mut polled = Box::pin(wait_for(&pending, "2", "b").wait());
        assert!(polled.as_mut().now_or_never().is_none());
        assert_eq!(pending.len(), 1);
        drop(polled);
        assert_eq!((pending.len(), gauge.get()), (0, 0));
    }

    #[test]
    fn a_lost_node_takes_only_its_own_requests() {
        let (pending, gauge) = pending(0);
        let lost = wait_for(&pending, "1", "b");
        let kept = wait_for(&pending, "2", "c");
        assert_eq!(pending.reject_node("b"), 1);
        assert_eq!(lost.wait().now_or_never(), Some(Settled::NodeLost));
        assert_eq!(gauge.get(), 1);
        pending.clear();
        assert_eq!(kept.wait().now_or_never(), Some(Settled::Closed));
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn no_more_wait_than_are_allowed() {
        let (pending, _) = pending(2);
        let first = wait_for(&pending, "1", "b");
        let _second = wait_for(&pending, "2", "b");
        let refused = pending.insert(&"3".into(), &"b".into()).err();
        assert_eq!(refused, Some(Refused::Full { size: 2, limit: 2 }));
        drop(first);
        let _third = wait_for(&pending, "3", "b");
    }

    #[test]
    fn an_id_cannot_wait_twice_and_the_first_keeps_waiting() {
        let (pending, _) = pending(0);
        let first = wait_for(&pending, "1", "b");
        assert_eq!(pending.insert(&"1".into(), &"b".into()).err(), Some(Refused::Duplicate));
        assert!(pending.settle("1", "b", 7));
        assert_eq!(first.wait().now_or_never(), Some(Settled::Answer(7)));
    }
}
