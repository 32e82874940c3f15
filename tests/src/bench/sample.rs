//! What the rounds of one measurement gave: medians, spreads and ratios within a round.

/// One value for each round, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// No rounds yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the value of the next round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// This one divided by another, round by round: what drifts for both cancels out.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    /// Seconds for one instead of how many in a second.
    #[must_use]
    pub fn inverse(&self) -> Self {
        self.0.iter().map(|value| value.recip()).collect()
    }

    /// The value in the middle; the mean of both when there are two.
    ///
    /// # Panics
    /// Without values.
    #[must_use]
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    /// The lowest value.
    ///
    /// # Panics
    /// Without values.
    #[must_use]
    pub fn lowest(&self) -> f64 {
        self.sorted()[0]
    }

    /// The highest value.
    ///
    /// # Panics
    /// Without values.
    #[must_use]
    pub fn highest(&self) -> f64 {
        *self.sorted().last().unwrap()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let check = |values: &[f64], expected: (f64, f64, f64)| {
            let sample: Sample = values.iter().copied().collect();
            let found = (sample.lowest(), sample.median(), sample.highest());
            assert!(found == expected, "{values:?}: {found:?}");
        };
        check(&[5.0], (5.0, 5.0, 5.0));
        check(&[3.0, 1.0], (1.0, 2.0, 3.0));
        check(&[9.0, 1.0, 2.0], (1.0, 2.0, 9.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let own: Sample = [2.0, 4.0, 8.0].into_iter().collect();
        let other: Sample = [1.0, 2.0, 4.0].into_iter().collect();
        let ratio = own.ratio_to(&other);
        assert!((ratio.lowest(), ratio.highest()) == (2.0, 2.0));
    }
}
