//! Values of the last while, in slices of time, of which the oldest are forgotten.
//!
//! Where Moleculer keeps each value, a slice holds a histogram whose classes are an eighth of a power of two
//! wide, so that memory is bounded whatever the load; quantiles are the middle of their class. There is no
//! timer: slices are turned over when somebody adds or looks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Instant;

/// Classes per power of two.
const CLASSES: f64 = 8.0;

/// What lies below is in one class; a microsecond, when values are milliseconds.
const LEAST: f64 = 1e-3;

/// The values.
#[derive(Clone, Debug)]
pub struct Window {
    slice: Duration,
    slices_max: usize,
    slices: VecDeque<Slice>,
}

/// The values of one slice of time.
#[derive(Clone, Debug)]
pub struct Slice {
    /// When it began.
    pub begin: Instant,
    /// How many there were.
    pub count: u64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
    /// Values by their class.
    classes: BTreeMap<i16, u64>,
}

/// What a window comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The least value.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// Sample variance, of at least two values.
    pub variance: Option<f64>,
    /// The greatest value.
    pub max: f64,
}

impl Window {
    /// An empty window of so many slices of this length.
    #[must_use]
    pub fn new(slice: Duration, slices_max: usize) -> Self {
        Self { slice, slices_max, slices: VecDeque::new() }
    }

    /// The slices, the oldest first.
    pub fn slices(&self) -> impl DoubleEndedIterator<Item = &Slice> + ExactSizeIterator {
        self.slices.iter()
    }

    /// Begins new slices up to now and drops the oldest. Slices begin at multiples of their length since the
    /// first, so that those of several windows can be added up.
    pub fn turn(&mut self, now: Instant) {
        let Some(last) = self.slices.back() else { return };
        let begin = last.begin;
        let length = self.slice.as_nanos().max(1);
        let passed = now.saturating_duration_since(begin).as_nanos() / length;
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let kept = u32::try_from(self.slices_max).unwrap_or(u32::MAX);
        for n in passed.saturating_sub(kept)..passed {
            self.slices.push_back(Slice::new(begin + self.slice * (n + 1)));
        }
        while self.slices.len() > self.slices_max {
            self.slices.pop_front();
        }
    }

    /// Adds a value.
    pub fn add(&mut self, now: Instant, value: f64) {
        self.turn(now);
        if self.slices.is_empty() {
            self.slices.push_back(Slice::new(now));
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.add(value);
        }
    }

    /// Adds the values of another window of the same form. Both must have been turned to the same moment.
    pub fn merge(&mut self, other: &Self) {
        // Both end now, so that slices are counted from the end.
        for (index, slice) in other.slices.iter().rev().enumerate() {
            match self.slices.len().checked_sub(index + 1).and_then(|at| self.slices.get_mut(at)) {
                Some(own) => own.merge(slice),
                None => self.slices.push_front(slice.clone()),
            }
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.slices.iter().map(|slice| slice.count).sum()
    }

    /// What they come to; `None` when there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the values of a minute")]
    pub fn summary(&self) -> Option<Summary> {
        let count = Some(self.count()).filter(|count| *count > 0)? as f64;
        let sum: f64 = self.slices.iter().map(|slice| slice.sum).sum();
        let squares: f64 = self.slices.iter().map(|slice| slice.squares).sum();
        let mean = sum / count;
        let variance = (count > 1.0).then(|| ((squares - sum * mean) / (count - 1.0)).max(0.0));
        Some(Summary {
            min: self.slices.iter().map(|slice| slice.min).fold(f64::INFINITY, f64::min),
            mean,
            variance,
            max: self.slices.iter().map(|slice| slice.max).fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The value below which this part of all values lies, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the values of a minute")]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let mut classes: BTreeMap<i16, u64> = BTreeMap::new();
        for (class, count) in self.slices.iter().flat_map(|slice| &slice.classes) {
            *classes.entry(*class).or_default() += count;
        }
        let wanted = part * self.count() as f64;
        let mut seen = 0.0;
        let reached = |(_, count): &(&i16, &u64)| {
            seen += **count as f64;
            seen >= wanted
        };
        classes.iter().find(reached).map(|(class, _)| middle(*class))
    }
}

impl Slice {
    fn new(begin: Instant) -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { begin, count: 0, sum: 0.0, squares: 0.0, min, max, classes: BTreeMap::new() }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        *self.classes.entry(class(value)).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.begin = self.begin.min(other.begin);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
    }
}

/// The class of a value.
fn class(value: f64) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a double is below 1100")]
    let class = (value.max(LEAST).log2() * CLASSES).floor() as i16;
    class
}

/// The value in the middle of a class.
fn middle(class: i16) -> f64 {
    ((f64::from(class) + 0.5) / CLASSES).exp2()
}
