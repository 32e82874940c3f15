//! Benchmarks: what Isomer costs, each figure beside what it is compared with, measured in turns.
//!
//! The machine drifts while a run lasts, so nothing is measured in one go: every subject gets a short
//! slice, then the next one does, and so on for several rounds. A ratio is taken within a round and the
//! median over the rounds is shown with the lowest and the highest. `benches/table.rs` runs it all;
//! `it/bench.rs` runs the same code on a tiny scale, so that it cannot rot.

use std::time::Duration;

pub mod bare;
mod cpu;
pub mod features;
pub mod js;
pub mod languages;
pub mod local;
pub mod memory;
pub mod raw_nats;
mod raw_own;
pub mod remote;
pub mod sample;
pub mod sandbox;
pub mod start;
mod stream;
pub mod swap;
pub mod table;

/// The payload of all echo calls: 100 bytes of JSON with a text, a number and a boolean.
pub const PAYLOAD: &str = concat!(
    r#"{"text":"0123456789012345678901234567890123456789"#,
    r#"01234567890123456789012345678","n":12345,"ok":true}"#
);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Turns of each subject.
    pub rounds: usize,
    /// How long one turn of one subject is.
    pub slice: Duration,
    /// How often a component is replaced.
    pub swaps: usize,
    /// Idle instances whose memory is measured.
    pub instances: usize,
    /// Languages that are compared, of the list of conformance guests.
    pub languages: usize,
}

impl Scale {
    /// For figures that are published; takes about three minutes.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 9,
            slice: Duration::from_millis(700),
            swaps: 30,
            instances: 500,
            languages: usize::MAX,
        }
    }

    /// Just enough to see that everything works.
    #[must_use]
    pub fn tiny() -> Self {
        Self { rounds: 1, slice: Duration::from_millis(5), swaps: 2, instances: 3, languages: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_has_the_size_that_the_table_says() {
        assert_eq!(PAYLOAD.len(), 100);
        serde_json::from_str::<serde_json::Value>(PAYLOAD).unwrap();
    }
}
