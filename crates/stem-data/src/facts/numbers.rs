//! Mean, spread and histogram of numbers.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::gather::CodedRows;
use crate::split::Split;
use crate::splitter::LEFT_OUT;

/// Rows that one thread takes at a time.
const CHUNK: usize = 1 << 14;
/// Training rows of which a histogram is made, at even distances.
const SAMPLE: usize = 100_000;
/// Bars of a histogram.
const BARS: usize = 24;
/// What lies beyond this share of the numbers at either end is counted in the outermost bar, for one number could leave all others in one.
const TAIL: f64 = 0.005;

/// The numbers of a field in one split, nulls left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NumberFacts {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of the whole and not of a sample.
    pub std: f64,
}

/// How many numbers lie in each of equal steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Histogram {
    /// Where the first bar begins.
    pub low: f64,
    /// Where the last one ends.
    pub high: f64,
    /// Numbers in each bar; those beyond the ends are in the outermost ones.
    pub counts: Vec<u64>,
}

/// Sums that join: of a chunk and of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) n: usize,
    facts: NumberFacts,
    squares: f64, // sum of squared distances from the mean
}

impl Default for Moments {
    fn default() -> Self {
        let facts = NumberFacts { min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, std: 0.0 };
        Self { n: 0, facts, squares: 0.0 }
    }
}

impl Moments {
    fn see(&mut self, value: f64) {
        self.n += 1;
        let away = value - self.facts.mean;
        self.facts.mean += away / self.n as f64;
        self.squares += away * (value - self.facts.mean);
        self.facts.min = self.facts.min.min(value);
        self.facts.max = self.facts.max.max(value);
    }

    fn and(self, other: Self) -> Self {
        let n = self.n + other.n;
        if other.n == 0 {
            return self;
        }
        let (share, away) = (other.n as f64 / n as f64, other.facts.mean - self.facts.mean);
        let facts = NumberFacts {
            min: self.facts.min.min(other.facts.min),
            max: self.facts.max.max(other.facts.max),
            mean: self.facts.mean + away * share,
            std: 0.0,
        };
        Self { n, facts, squares: self.squares + other.squares + away * away * self.n as f64 * share }
    }

    /// `None` without numbers, and where they are too large for sums.
    pub(super) fn facts(&self) -> Option<NumberFacts> {
        let std = (self.squares / self.n.max(1) as f64).sqrt();
        let facts = NumberFacts { std, ..self.facts };
        (self.n > 0 && facts.mean.is_finite() && std.is_finite()).then_some(facts)
    }
}

/// Of each column of numbers in each split. `[columns]`
pub(super) fn moments(rows: &CodedRows) -> Vec<[Moments; 3]> {
    let cols = rows.numbers.cols();
    if cols == 0 {
        return vec![];
    }
    let none = || vec![[Moments::default(); 3]; cols];
    let chunks = rows.numbers.values().par_chunks(CHUNK * cols).zip(rows.splits.par_chunks(CHUNK));
    let of_chunk = chunks.map(|(values, splits)| {
        let mut found = none();
        for (values, &split) in values.chunks_exact(cols).zip(splits).filter(|(_, split)| **split != LEFT_OUT) {
            for (moments, &value) in found.iter_mut().zip(values).filter(|(_, value)| !value.is_nan()) {
                moments[split as usize].see(value);
            }
        }
        found
    });
    // joined in the order of the rows, so that the same rows give the same digits
    of_chunk.collect::<Vec<_>>().into_iter().fold(none(), |mut all, found| {
        for (all, found) in all.iter_mut().flatten().zip(found.iter().flatten()) {
            *all = all.and(*found);
        }
        all
    })
}

/// Of each column of numbers in training; `None` without a number. `[columns]`
pub(super) fn histograms(rows: &CodedRows) -> Vec<Option<Histogram>> {
    let cols = rows.numbers.cols();
    let trained = rows.splits.iter().filter(|split| **split == Split::Train as u8).count();
    let training = (0..rows.rows).filter(|&row| rows.splits[row] == Split::Train as u8);
    let sample: Vec<usize> =
        if cols == 0 { vec![] } else { training.step_by(trained.div_ceil(SAMPLE).max(1)).collect() };
    let of_column = |column: usize| {
        let values = sample.iter().map(|row| rows.numbers.row(*row)[column]).filter(|v| !v.is_nan());
        histogram(values.collect())
    };
    (0..cols).into_par_iter().map(of_column).collect()
}

fn histogram(mut values: Vec<f64>) -> Option<Histogram> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() - 1) as f64 * share).round() as usize).copied();
    let (low, high) = if values.is_empty() { return None } else { (at(TAIL)?, at(1.0 - TAIL)?) };
    let mut counts = vec![0; BARS];
    for value in &values {
        let place = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * BARS as f64; // halves: a difference may be infinite
        counts[place.clamp(0.0, (BARS - 1) as f64) as usize] += 1; // NaN of equal numbers is the first
    }
    Some(Histogram { low, high, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.see(*value));
        moments
    }

    #[test]
    fn parts_join_to_the_moments_of_the_whole() {
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i * 7 % 1000)).collect();
        let joined = values.chunks(37).map(of).fold(Moments::default(), Moments::and);
        let facts = joined.facts().unwrap_or_default();
        assert_eq!((joined.n, facts.min, facts.max), (1000, 1e9, 1e9 + 999.0));
        assert!((facts.mean - 1e9 - 499.5).abs() < 1e-5, "{facts:?}");
        assert!((facts.std - (999_999.0f64 / 12.0).sqrt()).abs() < 1e-5, "{facts:?}");
        assert_eq!(Moments::default().facts(), None);
        assert_eq!(of(&[1e300, -1e300]).facts(), None, "no number stands for one that is too large");
    }

    #[test]
    fn one_number_far_off_does_not_leave_the_others_in_one_bar() {
        let values = (0..1000).map(f64::from).chain([1e12]).collect();
        let found = histogram(values).unwrap_or_default();
        assert_eq!(found.counts.iter().sum::<u64>(), 1001);
        assert!(found.high < 1000.0 && found.counts.iter().all(|count| (20..70).contains(count)), "{found:?}");
        assert_eq!(histogram(vec![3.0; 5]).unwrap_or_default().counts[0], 5);
        assert_eq!(histogram(vec![]), None);
    }
}
