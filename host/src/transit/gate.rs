//! Keeps what other nodes can provoke from flooding the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Instant;

/// Lets one line through per second and counts the others.
#[derive(Default)]
pub struct Gate(Mutex<GateState>);

#[derive(Default)]
struct GateState {
    last: Option<Instant>,
    held_back: u64,
}

/// Time between two lines of a gate.
const GATE_PERIOD: Duration = Duration::from_secs(1);

impl Gate {
    /// `Some(number of lines held back before)` when a line may be written now.
    pub fn open(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now.duration_since(last) < GATE_PERIOD) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

/// Names that have been seen. Forgets all of them when there are too many, so that it stays bounded
/// whatever names others make up.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashSet<Arc<str>>>);

/// Names kept.
const SEEN_MAX: usize = 1_000;

impl Seen {
    /// True the first time that a name is shown.
    pub(super) fn first_time(&self, name: &Arc<str>) -> bool {
        let mut names = self.0.lock();
        if names.len() >= SEEN_MAX {
            names.clear();
        }
        names.insert(Arc::clone(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_once_per_period_and_tells_what_it_held_back() {
        let (gate, now) = (Gate::default(), crate::clock::now());
        assert_eq!(gate.open(now), Some(0));
        assert_eq!(gate.open(now), None);
        assert_eq!(gate.open(now + GATE_PERIOD / 2), None);
        assert_eq!(gate.open(now + GATE_PERIOD), Some(2));
    }

    #[test]
    fn names_are_remembered_and_bounded() {
        let seen = Seen::default();
        assert!(seen.first_time(&"a".into()));
        assert!(!seen.first_time(&"a".into()));
        for n in 0..3 * SEEN_MAX {
            seen.first_time(&n.to_string().into());
        }
        assert!(seen.0.lock().len() <= SEEN_MAX);
    }
}
