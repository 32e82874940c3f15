//! How instances end in good health: worn out, idle for too long, or because the pool is drained.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{self, Instant};
use crate::config::Mode;
use crate::runtime::admission::Permit;
use crate::runtime::deadline::Deadline;
use crate::runtime::instance::Instance;
use crate::runtime::pool::{Active, Pool, Shared};
use crate::task::{self, CancellationToken};

/// Time for `stopped` of one instance.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// Time for calls to notice that they have been cut off.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// An instance that is being stopped still counts against `instances.max`, and drains with the pool.
struct Stopping {
    shared: Arc<Shared>,
    _active: Active<Arc<Shared>>,
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.shared.admission.give_back();
    }
}

impl Pool {
    /// Ends the pool: calls that run or wait are served until `timeout`, then cut off with an error that
    /// can be retried; after that all instances are stopped.
    ///
    /// A call that comes late, because its caller had found this version before it was replaced, is still
    /// served unless calls had to be cut off.
    pub async fn drain(&self, timeout: Duration) {
        let shared = &*self.0;
        shared.retiring.store(true, Ordering::Release);
        if tokio::time::timeout(timeout, shared.until_quiet()).await.is_err() {
            let service = &*shared.environment.service;
            let n_cut = shared.active.load(Ordering::Acquire);
            tracing::warn!(service, n_cut, "calls are cut off because the service ends");
            shared.closed.cancel();
            // A call that does not notice is stopped when its caller drops it.
            let _ = tokio::time::timeout(CLOSE_TIME_MAX, shared.until_quiet()).await;
        }
        if let Some(sharing) = &shared.sharing {
            sharing.stop(STOP_TIME_MAX + CLOSE_TIME_MAX).await;
        }
        let idle = std::mem::take(&mut shared.slots.lock().idle);
        let stops = idle.into_iter().map(|idle| self.stop_instance(idle.instance));
        futures_util::future::join_all(stops).await;
    }

    /// Retires the instance of a call that has ended, without making its caller wait.
    pub(super) fn retire(&self, instance: Instance, permit: Permit<'_>) {
        if !self.0.lifecycle.stopped {
            return;
        }
        permit.forget();
        let shared = Arc::clone(&self.0);
        let stopping = Stopping { _active: Active::new(Arc::clone(&shared)), shared };
        let pool = self.clone();
        // It belongs to the pool and ends by its own deadline. If it fails, that is logged there.
        task::spawn("instance-stop", &CancellationToken::new(), async move {
            pool.stop_instance(instance).await;
            drop(stopping);
        });
    }

    /// Runs `stopped` and drops the instance.
    pub(super) async fn stop_instance(&self, mut instance: Instance) {
        let shared = &*self.0;
        if !shared.lifecycle.stopped || !instance.healthy() {
            return;
        }
        let mut limits = shared.own_limits;
        limits.timeout = limits.timeout.min(STOP_TIME_MAX);
        let deadline = Deadline::new(None, clock::now(), limits.timeout);
        let ctx = shared.lifecycle_context("stopped");
        // `closed` is for calls; an instance may always say goodbye within its time.
        let never = CancellationToken::new();
        if let Err(error) = instance.stopped(ctx, &limits, deadline, &never).await {
            let service = &*shared.environment.service;
            tracing::warn!(service, %error, "an instance failed to stop");
        }
    }
}

impl Shared {
    /// Whether an instance is not used again although it is healthy.
    pub(super) fn is_worn(&self, instance: &Instance) -> bool {
        let limits = &self.environment.limits;
        let reuse = limits.instances.reuse;
        self.retiring.load(Ordering::Acquire)
            || limits.mode == Some(Mode::Fresh)
            || (reuse > 0 && instance.n_calls() >= reuse)
            // Before it fails by itself: three quarters of its memory are in use, and memory never shrinks.
            || instance.memory() > limits.memory / 4 * 3
    }

    async fn until_quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// When the instance that is idle for longest may go; `None` while all are to be kept.
    fn next_expiry(&self) -> Option<Instant> {
        let slots = self.slots.lock();
        let instances = self.environment.limits.instances;
        if slots.idle.len() <= instances.min {
            return None;
        }
        slots.idle.first()?.since.checked_add(instances.idle)
    }

    /// Takes out an instance that has been idle for too long.
    fn take_expired(&self, now: Instant) -> Option<Instance> {
        let mut slots = self.slots.lock();
        let instances = self.environment.limits.instances;
        let oldest = slots.idle.first()?;
        let expired = now.saturating_duration_since(oldest.since) >= instances.idle;
        (expired && slots.idle.len() > instances.min).then(|| slots.idle.remove(0).instance)
    }
}

/// Retires surplus instances. Sleeps while there are none, without holding the pool; ends with it.
pub(super) async fn retire_idle(pool: Weak<Shared>, surplus: Arc<Notify>) {
    loop {
        match pool.upgrade().map(|shared| shared.next_expiry()) {
            None => return,
            Some(None) => surplus.notified().await,
            Some(Some(at)) => {
                tokio::time::sleep_until(at).await;
                let Some(shared) = pool.upgrade() else { return };
                while let Some(instance) = shared.take_expired(clock::now()) {
                    Pool(Arc::clone(&shared)).stop_instance(instance).await;
                }
            }
        }
    }
}
