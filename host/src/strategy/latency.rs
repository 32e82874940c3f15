//! The nearest of a few (moleculer: src/strategies/latency.js).

use std::sync::Arc;

use super::{Candidate, lowest_of_sample};
use crate::config::StrategyOptions;

/// Endpoints that are looked at when the options say nothing.
const SAMPLE_COUNT: usize = 5;

/// By the average of the last pings of a node's host.
#[derive(Debug)]
pub(super) struct Latency {
    sample_count: usize,
    low_ms: f64,
}

impl Latency {
    pub(super) fn new(options: &StrategyOptions) -> Self {
        let sample_count = options.sample_count.unwrap_or(SAMPLE_COUNT);
        Self { sample_count, low_ms: options.low_latency.as_secs_f64() * 1_000.0 }
    }

    pub(super) fn select<'a, C: Candidate>(
        &self,
        candidates: &(impl Iterator<Item = &'a Arc<C>> + Clone),
        len: usize,
    ) -> Option<&'a Arc<C>> {
        lowest_of_sample(candidates, len, self.sample_count, self.low_ms, |one| {
            one.load().latency()
        })
    }
}
