//! Waiting for room in what is to be written.

use tokio::sync::Notify;

/// What `attempt` gives, tried again whenever waiters on `room` are told that something has changed.
pub(super) async fn retry<T>(room: &Notify, mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        // Made before looking: from then on it hears of room that comes in between.
        let changed = room.notified();
        if let Some(done) = attempt() {
            return done;
        }
        changed.await;
    }
}
