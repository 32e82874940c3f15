//! Whether all topics can be read: the client library makes lost connections anew by itself, and this is
//! how the rest of the node hears of it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::transporter::{Event, Listener};

/// How many cannot do their work at the moment.
pub(super) struct Health {
    listener: Arc<dyn Listener>,
    lost: Mutex<usize>,
}

impl Health {
    pub(super) fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, lost: Mutex::new(0) }
    }

    /// Whether everybody can do their work.
    pub(super) fn is_good(&self) -> bool {
        *self.lost.lock() == 0
    }

    /// One more cannot; the first of them is told.
    pub(super) fn lose(&self, cause: String) {
        let first = {
            let mut lost = self.lost.lock();
            *lost += 1;
            *lost == 1
        };
        if first {
            self.listener.handle_event(Event::Disconnected);
            self.listener.handle_event(Event::Trouble(cause));
        }
    }

    /// One more can again; the last of them is told.
    pub(super) fn recover(&self) {
        let last = {
            let mut lost = self.lost.lock();
            *lost = lost.saturating_sub(1);
            *lost == 0
        };
        if last {
            self.listener.handle_event(Event::Reconnected);
        }
    }
}
