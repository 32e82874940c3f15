//! The least busy of a few (moleculer: src/strategies/cpu-usage.js).

use std::sync::Arc;

use super::{Candidate, lowest_of_sample};
use crate::config::StrategyOptions;

/// Endpoints that are looked at when the options say nothing.
const SAMPLE_COUNT: usize = 3;

/// By CPU load.
#[derive(Debug)]
pub(super) struct CpuUsage {
    sample_count: usize,
    low: f64,
}

impl CpuUsage {
    pub(super) fn new(options: &StrategyOptions) -> Self {
        let sample_count = options.sample_count.unwrap_or(SAMPLE_COUNT);
        Self { sample_count, low: options.low_cpu_usage }
    }

    pub(super) fn select<'a, C: Candidate>(
        &self,
        candidates: &(impl Iterator<Item = &'a Arc<C>> + Clone),
        len: usize,
    ) -> Option<&'a Arc<C>> {
        lowest_of_sample(candidates, len, self.sample_count, self.low, |one| one.load().cpu())
    }
}
