//! Memory is given back when a burst of calls is over.
//!
//! Each call needs some kilobytes of the host while it runs or waits; what hundreds of them needed at once would
//! else stay with the node for ever, as a part of every idle instance. Calls that come one after the other,
//! however many, use the same memory again and are no burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// As many calls at once are a burst.
const CALLS_MIN: usize = 64;

/// From the end of a burst until memory is given back: the last answers are on their way.
const DELAY: Duration = Duration::from_millis(100);

/// From one time to the next, at least.
const PAUSE: Duration = Duration::from_secs(5);

/// Notices bursts.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    under_way: AtomicBool,
    over: Arc<Notify>,
}

impl Bursts {
    /// So many calls are there now.
    pub(super) fn note(&self, n_calls: usize) {
        if n_calls >= CALLS_MIN {
            self.under_way.store(true, Ordering::Relaxed);
        }
    }

    /// None is there any more.
    pub(super) fn quiet(&self) {
        if self.under_way.load(Ordering::Relaxed) && self.under_way.swap(false, Ordering::Relaxed) {
            self.over.notify_one();
        }
    }

    /// Gives memory back after each burst, with pauses, until it is dropped.
    pub(super) fn follow<F: Fn() + Send>(
        &self,
        give_back: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let over = Arc::clone(&self.over);
        async move {
            loop {
                over.notified().await;
                tokio::time::sleep(DELAY).await;
                give_back();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_once_after_a_burst_and_not_too_often() {
        let (bursts, n_times) = (Bursts::default(), AtomicUsize::new(0));
        let follow = bursts.follow(|| {
            n_times.fetch_add(1, Ordering::Relaxed);
        });
        let check = async {
            let after = async |n_calls: usize, time: Duration| {
                bursts.note(n_calls);
                bursts.quiet();
                tokio::time::sleep(time).await;
                n_times.load(Ordering::Relaxed)
            };
            assert_eq!(after(CALLS_MIN - 1, PAUSE).await, 0);
            assert_eq!(after(CALLS_MIN, DELAY * 2).await, 1);
            assert_eq!(after(CALLS_MIN, DELAY * 2).await, 1);
            assert_eq!(after(CALLS_MIN, PAUSE).await, 2);
            assert_eq!(after(1, PAUSE * 2).await, 2);
        };
        tokio::select! {
            () = follow => {}
            () = check => {}
        }
    }
}
