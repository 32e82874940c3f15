//! Which of several endpoints takes a call or an event (moleculer: src/strategies).
//!
//! A strategy keeps the state of one endpoint list and is asked with those that may be taken now. It chooses
//! without a lock and without memory; only Shard looks into the call. Who measures loads and latencies is the
//! discoverer's business; here they are read.

use std::sync::Arc;

use crate::config::{self, BalanceOptions};
use crate::context::Context;
use crate::payload::{Object, Payload};
use crate::uid;

mod cpu_usage;
mod latency;
mod load;
mod path;
mod round_robin;
mod shard;

use cpu_usage::CpuUsage;
use latency::Latency;
pub use load::NodeLoad;
use round_robin::RoundRobin;
use shard::Shard;

/// An endpoint, as strategies see it.
pub trait Candidate {
    /// The node that it is on.
    fn node_id(&self) -> &Arc<str>;
    /// What is known of that node's load.
    fn load(&self) -> &NodeLoad;
}

/// The call or event that an endpoint is chosen for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    params: Option<&'a Payload>,
    meta: Option<&'a Object>,
    inherited: Option<&'a Context>,
}

impl<'a> Subject<'a> {
    /// A call that has no context yet: its meta will be `meta` over that of `parent`.
    #[must_use]
    pub fn call(
        params: &'a Payload,
        meta: Option<&'a Object>,
        parent: Option<&'a Context>,
    ) -> Self {
        Self { params: Some(params), meta, inherited: parent }
    }

    /// A call or event with its context.
    #[must_use]
    pub fn context(ctx: &'a Context) -> Self {
        Self { params: Some(&ctx.params), meta: None, inherited: Some(ctx) }
    }
}

/// A balancing strategy with the state of one endpoint list.
#[derive(Debug)]
pub struct Strategy(Kind);

#[derive(Debug)]
enum Kind {
    RoundRobin(RoundRobin),
    Random,
    CpuUsage(CpuUsage),
    Latency(Latency),
    Shard(Shard),
}

impl Strategy {
    /// A strategy at its beginning, for a list without endpoints.
    #[must_use]
    pub fn new(balance: &BalanceOptions) -> Self {
        let options = &balance.options;
        Self(match balance.strategy {
            config::Strategy::RoundRobin => Kind::RoundRobin(RoundRobin::default()),
            config::Strategy::Random => Kind::Random,
            config::Strategy::CpuUsage => Kind::CpuUsage(CpuUsage::new(options)),
            config::Strategy::Latency => Kind::Latency(Latency::new(options)),
            config::Strategy::Shard => Kind::Shard(Shard::new(options)),
        })
    }

    /// The same for the endpoints of one node, which differ in nothing that other strategies look at: one
    /// after the other, or any.
    #[must_use]
    pub fn within_node(balance: &BalanceOptions) -> Self {
        Self(match balance.strategy {
            config::Strategy::Random => Kind::Random,
            _ => Kind::RoundRobin(RoundRobin::default()),
        })
    }

    /// An endpoint on this node came into the list.
    pub fn add(&mut self, node_id: &Arc<str>) {
        if let Kind::Shard(shard) = &mut self.0 {
            shard.add(node_id);
        }
    }

    /// An endpoint on this node left the list.
    pub fn remove(&mut self, node_id: &str) {
        if let Kind::Shard(shard) = &mut self.0 {
            shard.remove(node_id);
        }
    }

    /// The one to take of those that may be taken; `None` when there is none.
    pub fn select<'a, C: Candidate>(
        &self,
        mut candidates: impl Iterator<Item = &'a Arc<C>> + Clone,
        subject: Subject<'_>,
    ) -> Option<&'a Arc<C>> {
        let len = candidates.clone().count();
        if len < 2 {
            return candidates.next();
        }
        let chosen = match &self.0 {
            Kind::RoundRobin(turn) => return candidates.nth(turn.next(len)),
            Kind::Random => None,
            Kind::CpuUsage(usage) => usage.select(&candidates, len),
            Kind::Latency(latency) => latency.select(&candidates, len),
            Kind::Shard(shard) => shard.select(&candidates, subject),
        };
        chosen.or_else(|| candidates.nth(uid::random_below(len)))
    }
}

/// Looks at `sample_count` candidates, each picked by chance, or at all of them when that is zero or more
/// than there are: the first whose figure is below `low`, else the one with the lowest. Those without a figure
/// are passed over; `None` when there is no other.
fn lowest_of_sample<'a, C>(
    candidates: &(impl Iterator<Item = &'a Arc<C>> + Clone),
    len: usize,
    sample_count: usize,
    low: f64,
    figure: impl Fn(&C) -> Option<f64>,
) -> Option<&'a Arc<C>> {
    let count = if sample_count == 0 || sample_count > len { len } else { sample_count };
    let mut lowest: Option<(f64, &Arc<C>)> = None;
    for index in 0..count {
        let index = if count == len { index } else { uid::random_below(len) };
        let Some(candidate) = candidates.clone().nth(index) else { continue };
        let Some(value) = figure(candidate) else { continue };
        if value < low {
            return Some(candidate);
        }
        if lowest.is_none_or(|(least, _)| value < least) {
            lowest = Some((value, candidate));
        }
    }
    lowest.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
