//! Which of several endpoints takes a call or an event.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config;
use crate::uid;

/// A balancing strategy with the state of one endpoint list.
#[derive(Debug)]
pub enum Strategy {
    /// One after the other (moleculer: src/strategies/round-robin.js).
    RoundRobin(AtomicUsize),
    /// Any (moleculer: src/strategies/random.js).
    Random,
}

impl Strategy {
    /// The strategy of this name, at its beginning.
    #[must_use]
    pub fn new(name: config::Strategy) -> Self {
        match name {
            config::Strategy::RoundRobin => Self::RoundRobin(AtomicUsize::new(0)),
            config::Strategy::Random => Self::Random,
        }
    }

    /// The index of the one to take, below `len`; 0 when there is nothing to choose.
    pub fn select(&self, len: usize) -> usize {
        match self {
            _ if len < 2 => 0,
            // The counter wraps at a multiple of nothing in particular: once in 2^64 calls the order jumps.
            Self::RoundRobin(counter) => counter.fetch_add(1, Ordering::Relaxed) % len,
            Self::Random => uid::random_below(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_takes_each_in_turn() {
        let strategy = Strategy::new(config::Strategy::RoundRobin);
        let picks: Vec<usize> = (0..5).map(|_| strategy.select(2)).collect();
        assert_eq!(picks, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn random_takes_all() {
        let strategy = Strategy::new(config::Strategy::Random);
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[strategy.select(3)] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
