//! One after the other (moleculer: src/strategies/round-robin.js).

use std::sync::atomic::{AtomicUsize, Ordering};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// The index of the next one, below `len`. Begins anew past the end, also when the list became shorter.
    pub(super) fn next(&self, len: usize) -> usize {
        let after = |turn: usize| if turn >= len { 1 } else { turn + 1 };
        let turn =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |turn| Some(after(turn)));
        // The update is never refused; both arms hold the turn before it.
        let turn = turn.unwrap_or_else(|turn| turn);
        if turn >= len { 0 } else { turn }
    }
}
