//! The table of results: a line for each comparison, in the form that README and docs use.

use std::fmt;

use crate::bench::sample::Sample;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds for one call; less is better.
    Seconds,
    /// Calls in a second; more is better.
    CallsPerSecond,
    /// Events in a second; more is better.
    EventsPerSecond,
    /// Bytes; less is better.
    Bytes,
    /// Bytes in a second; more is better.
    BytesPerSecond,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The ratio may be at most this.
    RatioAtMost(f64),
    /// The ratio must be at least this.
    RatioAtLeast(f64),
    /// The figure itself may be at most this.
    AtMost(f64),
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub what: String,
    /// What the figures count.
    pub unit: Unit,
    /// Isomer's figures.
    pub ours: Sample,
    /// What stands beside it, with its figures.
    pub beside: Option<(&'static str, Sample)>,
    /// What was wanted.
    pub target: Option<Target>,
}

impl Row {
    /// Isomer's figure divided by the other one; below 1 is faster for times.
    #[must_use]
    pub fn ratio(&self) -> Option<Sample> {
        self.beside.as_ref().map(|(_, other)| self.ours.ratio_to(other))
    }

    /// Whether the target is met; `None` without one.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        let ratio = self.ratio().map(|ratio| ratio.median());
        match (self.target?, ratio) {
            (Target::RatioAtMost(most), Some(ratio)) => Some(ratio <= most),
            (Target::RatioAtLeast(least), Some(ratio)) => Some(ratio >= least),
            (Target::AtMost(most), _) => Some(self.ours.median() <= most),
            (_, None) => None,
        }
    }

    fn target_text(&self) -> String {
        let Some(target) = self.target else { return String::new() };
        let wanted = match target {
            Target::RatioAtMost(most) => format!("≤ {most}×"),
            Target::RatioAtLeast(least) => format!("≥ {least}×"),
            Target::AtMost(most) => format!("≤ {}", quantity(most, self.unit)),
        };
        let verdict = if self.met() == Some(true) { "met" } else { "**missed**" };
        format!("{wanted}: {verdict}")
    }
}

/// All lines, as Markdown.
#[derive(Clone, Debug, Default)]
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | Isomer | beside it | ratio (lowest – highest) | target |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for row in &self.0 {
            let ours = spread(&row.ours, row.unit);
            let beside = row.beside.as_ref().map_or_else(String::new, |(name, sample)| {
                format!("{name}: {}", quantity(sample.median(), row.unit))
            });
            let ratio = row.ratio().map_or_else(String::new, |ratio| {
                let (low, high) = (ratio.lowest(), ratio.highest());
                format!("{:.2}× ({low:.2} – {high:.2})", ratio.median())
            });
            writeln!(f, "| {} | {ours} | {beside} | {ratio} | {} |", row.what, row.target_text())?;
        }
        Ok(())
    }
}

fn spread(sample: &Sample, unit: Unit) -> String {
    let [low, median, high] =
        [sample.lowest(), sample.median(), sample.highest()].map(|value| quantity(value, unit));
    if low == high { median } else { format!("{median} ({low} – {high})") }
}

/// A figure as a person reads it.
pub(super) fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value < 10e-6 => format!("{:.2} µs", value * 1e6),
        Unit::Seconds if value < 1e-3 => format!("{:.0} µs", value * 1e6),
        Unit::Seconds => format!("{:.1} ms", value * 1e3),
        Unit::CallsPerSecond | Unit::EventsPerSecond => format!("{value:.0}/s"),
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
        Unit::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, other: f64, target: Target) -> Row {
        Row {
            what: "a call".into(),
            unit: Unit::Seconds,
            ours: [ours].into_iter().collect(),
            beside: Some(("the other", [other].into_iter().collect())),
            target: Some(target),
        }
    }

    #[test]
    fn a_target_is_met_up_to_its_bound() {
        let check = |target, ours, expected| {
            assert_eq!(row(ours, 1.0, target).met(), Some(expected), "{ours} for {target:?}");
        };
        check(Target::RatioAtMost(2.5), 2.5, true);
        check(Target::RatioAtMost(2.5), 2.6, false);
        check(Target::RatioAtLeast(2.0), 2.0, true);
        check(Target::RatioAtLeast(2.0), 1.9, false);
        check(Target::AtMost(0.02), 0.02, true);
        check(Target::AtMost(0.02), 0.03, false);
    }

    #[test]
    fn a_line_reads_well() {
        let table = Table(vec![row(1.5e-6, 1e-6, Target::RatioAtMost(2.5))]).to_string();
        let expected =
            "| a call | 1.50 µs | the other: 1.00 µs | 1.50× (1.50 – 1.50) | ≤ 2.5×: met |";
        assert_eq!(table.lines().last(), Some(expected));
    }
}
