//! Who may have an instance now, who waits, and who is sent away: the bounded queue before the pool.
//!
//! Nobody waits longer than its deadline, and a waiting call that is dropped leaves the queue. Waiting is
//! first come, first served.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{Limits, Mode};
use crate::runtime::deadline::{Deadline, Stop, within};
use crate::task::CancellationToken;

/// The right to use one instance.
pub(super) type Permit<'a> = SemaphorePermit<'a>;

/// Why a call does not get an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// So many calls wait already.
    QueueFull(usize),
    /// It waited until its time was over.
    Stopped(Stop),
}

/// Permits and the queue of one pool.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Semaphore,
    n_permits: usize,
    waiting: AtomicUsize,
    queue_len_max: usize,
}

/// One place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let n_permits = match limits.mode.unwrap_or_default() {
            Mode::Shared => limits.instances.concurrency,
            Mode::Pooled | Mode::Fresh => limits.instances.max,
        };
        let n_permits = n_permits.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Semaphore::new(n_permits),
            n_permits,
            waiting: AtomicUsize::new(0),
            queue_len_max: limits.queue,
        }
    }

    /// A permit, if one is free and nobody waits for it.
    pub(super) fn try_admit(&self) -> Option<Permit<'_>> {
        self.permits.try_acquire().ok()
    }

    /// Waits for a permit.
    pub(super) async fn admit(
        &self,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<Permit<'_>, Refusal> {
        let place = Place(&self.waiting);
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        if ahead >= self.queue_len_max {
            return Err(Refusal::QueueFull(ahead));
        }
        let permit = within(deadline, closed, self.permits.acquire()).await;
        drop(place);
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed; a closed one would admit nobody.
            Ok(Err(_)) => Err(Refusal::Stopped(Stop::Closed)),
            Err(stop) => Err(Refusal::Stopped(stop)),
        }
    }

    /// Gives back a permit that was forgotten.
    pub(super) fn give_back(&self) {
        self.permits.add_permits(1);
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Permits in all.
    pub(super) fn n_permits(&self) -> usize {
        self.n_permits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::config::limits::Instances;

    fn admission(queue: usize) -> Admission {
        let instances = Instances { max: 1, ..Limits::default().instances };
        Admission::new(&Limits { queue, instances, ..Limits::default() })
    }

    fn in_ms(ms: u64) -> Deadline {
        Deadline::Caller(clock::now() + Duration::from_millis(ms))
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_the_queue_is_long_and_no_more() {
        let admission = admission(1);
        let open = CancellationToken::new();
        let held = admission.try_admit().unwrap();
        assert!(admission.try_admit().is_none());
        let mut first = std::pin::pin!(admission.admit(in_ms(100), &open));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert_eq!(admission.waiting(), 1);
        let second = admission.admit(in_ms(100), &open).await;
        assert_eq!(second.unwrap_err(), Refusal::QueueFull(1));
        drop(held);
        assert!(first.await.is_ok());
        assert_eq!(admission.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_deadline_and_leaves_the_queue() {
        let admission = admission(1);
        let _held = admission.try_admit().unwrap();
        let refused = admission.admit(in_ms(5), &CancellationToken::new()).await.unwrap_err();
        assert_eq!(refused, Refusal::Stopped(Stop::Caller));
        assert_eq!(admission.waiting(), 0);
    }
}
