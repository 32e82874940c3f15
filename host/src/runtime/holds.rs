//! Who waits inside one instance for another of its calls: the functions `hold` and `release` of `timers`.
//!
//! An entry lives as long as its future, so what is kept is bounded by the futures that a guest may have.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The waiting futures of one instance, by the number that they wait for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    n_made: u64,
    by_number: HashMap<u32, HashMap<u64, oneshot::Sender<()>>>,
}

/// Removes an entry when nobody waits for it any more.
struct Entry {
    holds: Holds,
    number: u32,
    key: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut waiting = self.holds.0.lock();
        if let Some(entries) = waiting.by_number.get_mut(&self.number) {
            entries.remove(&self.key);
            if entries.is_empty() {
                waiting.by_number.remove(&self.number);
            }
        }
    }
}

impl Holds {
    /// Waits for a release of this number: true when it came, false after `time`. It waits from now on.
    pub(super) fn hold(
        &self,
        number: u32,
        time: Option<Duration>,
    ) -> impl Future<Output = bool> + Send + use<> {
        let (release, released) = oneshot::channel();
        let key = {
            let mut waiting = self.0.lock();
            waiting.n_made += 1;
            let key = waiting.n_made;
            waiting.by_number.entry(number).or_default().insert(key, release);
            key
        };
        let entry = Entry { holds: self.clone(), number, key };
        // A time that the clock cannot reach is no limit.
        let until = time.and_then(|time| crate::clock::now().checked_add(time));
        async move {
            let _entry = entry;
            match until {
                None => released.await.is_ok(),
                Some(until) => {
                    matches!(tokio::time::timeout_at(until, released).await, Ok(Ok(())))
                }
            }
        }
    }

    /// Ends every hold of this number.
    pub(super) fn release(&self, number: u32) {
        let entries = self.0.lock().by_number.remove(&number);
        for release in entries.into_iter().flat_map(HashMap::into_values) {
            // It may have been dropped at this moment.
            let _ = release.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_with_its_release_or_its_time_and_leaves_nothing() {
        let holds = Holds::default();
        let (first, second) = (holds.hold(1, None), holds.hold(1, Some(Duration::from_secs(9))));
        let other = holds.hold(2, Some(Duration::from_secs(1)));
        holds.release(1);
        assert!(first.await && second.await);
        assert!(!other.await);
        drop(holds.hold(3, None));
        assert!(holds.0.lock().by_number.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_nobody_waits_for_is_forgotten() {
        let holds = Holds::default();
        holds.release(1);
        assert!(!holds.hold(1, Some(Duration::from_secs(1))).await);
    }
}
