//! Rows that are equal in all that the recipe reads, found by a hash of each.
//!
//! Not every hash can be kept. Where there are too many, those that end in zeros are: all copies of a row are kept then, or none, so
//! that the shares are those of all rows.

use serde::{Deserialize, Serialize};

use super::share;
use crate::split::Split;

/// Hashes that are kept at most: 4 MB.
const KEPT: usize = 1 << 18;

/// Rows that are there more than once: equal in every field, label, group and time that the recipe reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CopyFacts {
    /// One row of so many was looked at, chosen by its values: 1 is all of them.
    pub one_in: u64,
    /// Rows that were looked at.
    pub rows: usize,
    /// Those of them that are a copy of another.
    pub copies: usize,
    /// Test rows that were looked at.
    pub test: usize,
    /// Those of them that are a copy of a training row.
    pub test_in_train: usize,
    /// Different rows that are there once, twice, and so on to five times.
    pub times: [usize; 5],
}

/// Rows of one kind without which nothing is said of chance.
const LEAST: usize = 100;
/// So many times what chance allows is no chance.
const FACTOR: f64 = 4.0;

impl CopyFacts {
    /// Share of rows that are a copy of another; `None` without rows.
    pub fn share(&self) -> Option<f64> {
        share(self.copies, self.rows)
    }

    /// Whether events that repeat by themselves, each at a rate of its own, could give these copies.
    ///
    /// Their counts are then a mixture of Poisson distributions, for which `k n_k^2 <= (k + 1) n_(k-1) n_(k+1)`, where `n_k` different
    /// rows are there `k` times: whatever is there twice comes with some that is there three times. A table that is read twice breaks it.
    pub fn are_by_chance(&self) -> bool {
        self.times.windows(3).zip(2..).all(|(times, k)| {
            let [less, here, more] = [times[0] as f64, times[1] as f64, times[2] as f64];
            let k = f64::from(k);
            times[1] < LEAST || k * here * here <= FACTOR * (k + 1.0) * (less + 1.0) * (more + 1.0)
        })
    }
}

/// Sees the hashes of rows.
#[derive(Default)]
pub(super) struct Copies {
    zeros: u32,
    kept: Vec<(u64, u8)>,
}

impl Copies {
    #[inline]
    pub(super) fn see(&mut self, hash: u64, split: u8) {
        if hash.trailing_zeros() < self.zeros {
            return;
        }
        self.kept.push((hash, split));
        while self.kept.len() > KEPT && self.zeros < 32 {
            self.zeros += 1;
            let zeros = self.zeros;
            self.kept.retain(|(hash, _)| hash.trailing_zeros() >= zeros);
        }
    }

    pub(super) fn finish(mut self) -> CopyFacts {
        self.kept.sort_unstable();
        let mut facts = CopyFacts { one_in: 1 << self.zeros, rows: self.kept.len(), ..CopyFacts::default() };
        for same in self.kept.chunk_by(|a, b| a.0 == b.0) {
            let tested = same.iter().filter(|(_, split)| *split == Split::Test as u8).count();
            let trained = same[0].1 == Split::Train as u8; // the first split comes first
            if let Some(times) = facts.times.get_mut(same.len() - 1) {
                *times += 1;
            }
            facts.copies += same.len() - 1;
            facts.test += tested;
            facts.test_in_train += if trained { tested } else { 0 };
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(row: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&row.to_le_bytes())
    }

    #[test]
    fn copies_are_counted_and_those_of_training_rows_apart() {
        let mut copies = Copies::default();
        for (row, split) in [(1, 0), (1, 0), (1, 2), (2, 2), (2, 2), (3, 0), (4, 1)] {
            copies.see(hash(row), split);
        }
        let expected = CopyFacts { one_in: 1, rows: 7, copies: 3, test: 3, test_in_train: 1, times: [2, 1, 1, 0, 0] };
        assert_eq!(copies.finish(), expected);
    }

    fn of_rows(rows: impl Iterator<Item = u64>) -> CopyFacts {
        let mut copies = Copies::default();
        rows.for_each(|row| copies.see(hash(row), 0));
        copies.finish()
    }

    #[test]
    fn rows_that_repeat_by_chance_are_told_from_a_table_that_is_read_twice() {
        // 20 thousand draws among 30 thousand rows, half of them drawn from a tenth of these
        let draws = || (0..20_000).map(|i| hash(i) % if i % 2 == 0 { 3_000 } else { 30_000 });
        let chance = of_rows(draws());
        assert!(chance.share().unwrap_or(0.0) > 0.4 && chance.are_by_chance(), "{chance:?}");
        for whole in [of_rows((0..5_000).chain(0..5_000)), of_rows((0..5_000).chain(0..5_000).chain(0..5_000))] {
            assert!(!whole.are_by_chance(), "{whole:?}");
        }
        let part = of_rows((0..5_000).chain(0..500));
        assert!(!part.are_by_chance() && part.copies == 500, "{part:?}");
        assert!(of_rows((0..90).chain(0..90)).are_by_chance(), "too few to tell");
        assert!(of_rows((0..5_000).chain(0..5_000).map(|row| row % 35)).are_by_chance());
    }

    #[test]
    fn of_many_rows_a_part_tells_the_share_of_all() {
        let mut copies = Copies::default();
        let rows = 3 * KEPT as u64;
        (0..rows).for_each(|row| copies.see(hash(row % (rows * 9 / 10)), 0)); // a tenth is there twice
        assert!(copies.kept.len() <= KEPT);
        let facts = copies.finish();
        assert!(facts.one_in >= 4 && (facts.rows as u64 * facts.one_in).abs_diff(rows) < rows / 50, "{facts:?}");
        assert!((facts.share().unwrap_or(0.0) - 0.1).abs() < 0.005, "{facts:?}");
    }
}
