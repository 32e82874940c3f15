//! `strategy` and `strategyOptions` of an action or event: who picks among its endpoints
//! (moleculer: src/registry/action-catalog.js add, src/registry/event-catalog.js add).
//!
//! In the schema of a service of this node whatever is wrong is reported; in what another node advertises it
//! is ignored.

use std::time::Duration;

use serde_json::{Map, Value};

use super::read::fault;
use crate::config::{BalanceOptions, Strategy, StrategyOptions};

/// Most pings that an average is made of, and most slices of the ring for each node.
const COUNT_MAX: u64 = 10_000;

/// What one action or event says of its balancing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Balance {
    strategy: Option<Strategy>,
    options: Option<StrategyOptions>,
}

impl Balance {
    /// What another node advertises of an action or event.
    #[must_use]
    pub fn advertised(definition: &Map<String, Value>) -> Self {
        Self::read("", definition, &mut Vec::new())
    }

    /// Reads a definition whose place in the schema is `path`.
    pub(super) fn read(
        path: &str,
        definition: &Map<String, Value>,
        problems: &mut Vec<String>,
    ) -> Self {
        let strategy = definition.get("strategy").filter(|found| !found.is_null());
        let options = definition.get("strategyOptions").filter(|found| !found.is_null());
        Self {
            strategy: strategy.and_then(|found| read_strategy(path, found, problems)),
            options: options.and_then(|found| read_options(path, found, problems)),
        }
    }

    /// This over what the broker's options say. Options are replaced as a whole, as in Moleculer.
    #[must_use]
    pub fn over(&self, broker: &BalanceOptions) -> BalanceOptions {
        BalanceOptions {
            strategy: self.strategy.unwrap_or(broker.strategy),
            options: self.options.clone().unwrap_or_else(|| broker.options.clone()),
        }
    }
}

fn read_strategy(path: &str, found: &Value, problems: &mut Vec<String>) -> Option<Strategy> {
    let named = found.as_str().or_else(|| found.get("type").and_then(Value::as_str));
    let strategy = named.and_then(Strategy::from_name);
    if strategy.is_none() {
        let allowed = "one of RoundRobin, Random, CpuUsage, Latency, Shard";
        problems.push(fault(&format!("{path}.strategy"), found, allowed));
    }
    strategy
}

fn read_options(path: &str, found: &Value, problems: &mut Vec<String>) -> Option<StrategyOptions> {
    let path = format!("{path}.strategyOptions");
    let Value::Object(map) = found else {
        problems.push(fault(&path, found, "an object"));
        return None;
    };
    let mut options = StrategyOptions::default();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        if let Err(allowed) = set_option(&mut options, key, value) {
            problems.push(fault(&format!("{path}.{key}"), value, allowed));
        }
    }
    Some(options)
}

/// Sets one option; the error says what is allowed.
fn set_option(options: &mut StrategyOptions, key: &str, value: &Value) -> Result<(), &'static str> {
    match key {
        "sampleCount" => {
            // Zero and less are all (moleculer: src/strategies/cpu-usage.js select).
            let count = value.as_i64().ok_or("a whole number")?;
            options.sample_count = Some(usize::try_from(count).unwrap_or(0));
        }
        "lowCpuUsage" => options.low_cpu_usage = value.as_f64().ok_or("a number of percent")?,
        "lowLatency" => options.low_latency = duration(value, 1e-3).ok_or("milliseconds")?,
        "collectCount" => {
            let count = count(value).ok_or("a whole number from 1 to 10000")?;
            options.collect_count = usize::try_from(count).unwrap_or(1);
        }
        "pingInterval" => {
            let interval = duration(value, 1.0).filter(|interval| !interval.is_zero());
            options.ping_interval = interval.ok_or("seconds, more than 0")?;
        }
        "shardKey" => {
            let key = value.as_str().ok_or("a path into the params, or with '#' into the meta")?;
            options.shard_key = Some(key.into());
        }
        "vnodes" => {
            let count = count(value).ok_or("a whole number from 1 to 10000")?;
            options.vnodes = u32::try_from(count).unwrap_or(1);
        }
        "ringSize" => {
            let size = value.as_u64().filter(|size| *size <= 1 << 53);
            options.ring_size = Some(size.ok_or("a whole number up to 2^53")?);
        }
        // Nothing is cached, since finding a key's place is cheap; the option of Moleculer changes nothing
        // that can be seen.
        "cacheSize" => {
            value.as_u64().ok_or("a whole number")?;
        }
        _ => {
            return Err("absent; known are sampleCount, lowCpuUsage, lowLatency, collectCount, \
                pingInterval, shardKey, vnodes, ringSize, cacheSize");
        }
    }
    Ok(())
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().filter(|count| (1..=COUNT_MAX).contains(count))
}

fn duration(value: &Value, unit_seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()? * unit_seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(definition: &Value) -> (Balance, Vec<String>) {
        let mut problems = Vec::new();
        let balance = Balance::read("events.e", definition.as_object().unwrap(), &mut problems);
        (balance, problems)
    }

    #[test]
    fn options_replace_those_of_the_broker_as_a_whole() {
        let options = StrategyOptions { vnodes: 7, ..StrategyOptions::default() };
        let broker = BalanceOptions { strategy: Strategy::Random, options };
        assert_eq!(read(&json!({})).0.over(&broker), broker);
        let (balance, problems) = read(&json!({"strategy": "shardstrategy"}));
        assert_eq!(problems.len(), 0);
        assert_eq!(balance.over(&broker).strategy, Strategy::Shard);
        assert_eq!(balance.over(&broker).options.vnodes, 7);
        let (balance, _) = read(&json!({"strategyOptions": {"shardKey": "#user.id"}}));
        let over = balance.over(&broker);
        assert_eq!((over.strategy, over.options.vnodes), (Strategy::Random, 10));
        assert_eq!(over.options.shard_key.as_deref(), Some("#user.id"));
    }

    #[test]
    fn every_fault_is_told_and_passed_over() {
        let wrong = json!({"strategy": "Best", "strategyOptions": {"vnodes": 0, "ringSize": -1,
            "pingInterval": 0, "depth": 3, "lowLatency": 2.5, "sampleCount": -1}});
        let (balance, problems) = read(&wrong);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert_eq!(
            problems.first().unwrap(),
            "'events.e.strategy' must be one of RoundRobin, Random, CpuUsage, Latency, Shard, found \"Best\""
        );
        assert_eq!(Balance::advertised(wrong.as_object().unwrap()), balance);
        let over = balance.over(&BalanceOptions::default());
        assert_eq!(over.strategy, Strategy::RoundRobin);
        assert_eq!(over.options.low_latency, Duration::from_micros(2_500));
        assert_eq!(over.options.sample_count, Some(0));
    }
}
