//! The CPU load of this machine for heartbeats: percent of all processors between two looks at
//! `/proc/stat`. On systems without it there is no load (moleculer: src/cpu-usage.js).

/// Remembers the last look.
pub(super) struct CpuMeter {
    last: Option<Ticks>,
}

/// Clock ticks since the system started, over all processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl CpuMeter {
    /// Takes the first look.
    pub(super) fn start() -> Self {
        Self { last: read() }
    }

    /// The load since the last look, a whole number; `None` when it cannot be told.
    pub(super) fn percent(&mut self) -> Option<f64> {
        let now = read();
        let last = std::mem::replace(&mut self.last, now)?;
        load(last, now?)
    }
}

fn read() -> Option<Ticks> {
    // The kernel makes this file from memory: reading it does not block.
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Reads the line `cpu user nice system idle iowait …`; idle and iowait are the fourth and fifth.
fn parse(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // Guest time (the ninth and tenth) is part of user time already.
    let ticks: Vec<u64> =
        line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    let total: u64 = ticks.iter().sum();
    Some(Ticks { busy: total.checked_sub(idle)?, total })
}

fn load(last: Ticks, now: Ticks) -> Option<f64> {
    let total = now.total.checked_sub(last.total).filter(|total| *total > 0)?;
    let busy = now.busy.saturating_sub(last.busy).min(total);
    #[expect(clippy::cast_precision_loss, reason = "ticks between two looks are few")]
    let percent = (100.0 * busy as f64 / total as f64).round();
    Some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_busy_part_of_the_time_between_two_looks() {
        let first = parse("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2 3\n").unwrap();
        let second = parse("cpu  150 0 75 1100 75 0 0 0 9 9\n").unwrap();
        assert_eq!(first, Ticks { busy: 150, total: 1000 });
        assert_eq!(load(first, second), Some(19.0));
        assert_eq!(load(second, second), None);
        assert_eq!(load(second, first), None);
        assert_eq!(parse("cpu 1 2\n"), None);
    }
}
