//! How often the instances of one version of a service have trapped, for whoever takes a version out of service
//! that keeps doing so. Only traps count: limits and time-outs may be the callers' doing.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The count, which can be waited for.
#[derive(Debug, Default)]
pub struct Traps {
    total: AtomicU64,
    more: Notify,
}

impl Traps {
    pub(super) fn note(&self) {
        self.total.fetch_add(1, Ordering::AcqRel);
        self.more.notify_waiters();
    }

    /// How many there were, as soon as there are more than `seen`.
    pub async fn more_than(&self, seen: u64) -> u64 {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            // Registered before looking, so that none is missed in between.
            more.as_mut().enable();
            let total = self.total.load(Ordering::Acquire);
            if total > seen {
                return total;
            }
            more.await;
        }
    }
}
