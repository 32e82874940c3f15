//! Options of balancing: which strategy picks among endpoints, and what it is told
//! (moleculer: src/strategies). Section `registry`, and `strategy`/`strategyOptions` of actions and events.

use std::sync::Arc;
use std::time::Duration;

/// Names of balancing strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// The least busy of a few, by the CPU load that nodes tell with their heartbeats.
    CpuUsage,
    /// The nearest of a few, by the time that their hosts need to answer a ping.
    Latency,
    /// Always the same node for the same key.
    Shard,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::RoundRobin, Self::Random, Self::CpuUsage, Self::Latency, Self::Shard];

    /// Moleculer's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::Random => "Random",
            Self::CpuUsage => "CpuUsage",
            Self::Latency => "Latency",
            Self::Shard => "Shard",
        }
    }

    /// The strategy of this name in any case, also with `Strategy` behind it, as the classes are called.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let short = lower.strip_suffix("strategy").unwrap_or(&lower);
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(short))
    }
}

/// What strategies are told; each reads its own. Numbers are Moleculer's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyOptions {
    /// CpuUsage and Latency: how many endpoints are looked at; 0 is all. 3 for CpuUsage, 5 for Latency
    pub sample_count: Option<usize>,
    /// CpuUsage: a load below this, in percent, is taken at once. 10
    pub low_cpu_usage: f64,
    /// Latency: an answer within this time is taken at once. 10 ms
    pub low_latency: Duration,
    /// Latency: how many of the last pings make the average. 5
    pub collect_count: usize,
    /// Latency: between two pings of a host. 10 s
    pub ping_interval: Duration,
    /// Shard: where the key is: a path into the params, or with `#` before it into the meta. Without one,
    /// any endpoint is taken.
    pub shard_key: Option<Arc<str>>,
    /// Shard: slices of the ring for each node. 10
    pub vnodes: u32,
    /// Shard: size of the ring; `None` is 2^32.
    pub ring_size: Option<u64>,
}

impl Default for StrategyOptions {
    fn default() -> Self {
        Self {
            sample_count: None,
            low_cpu_usage: 10.0,
            low_latency: Duration::from_millis(10),
            collect_count: 5,
            ping_interval: Duration::from_secs(10),
            shard_key: None,
            vnodes: 10,
            ring_size: None,
        }
    }
}

/// How the endpoints of one action, or of one event and group, are balanced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BalanceOptions {
    /// Who picks.
    pub strategy: Strategy,
    /// What it is told.
    pub options: StrategyOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case_and_as_classes_are_called() {
        let check =
            |name: &str, expected| assert_eq!(Strategy::from_name(name), expected, "{name}");
        check("RoundRobin", Some(Strategy::RoundRobin));
        check("roundrobinstrategy", Some(Strategy::RoundRobin));
        check("SHARD", Some(Strategy::Shard));
        check("CpuUsageStrategy", Some(Strategy::CpuUsage));
        check("Strategy", None);
        check("round-robin", None);
    }
}
