//! How often each row of the table occurs in the training rows, counted once before the training.

use stem_core::{Batch, Schema};

use crate::error::Result;

/// Occurrences of the table's rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowCounts {
    /// Where the rows of each vocabulary begin, and where the last ends. `[vocabularies + 1]`
    starts: Vec<u32>,
    /// `o_r`: slots of the training rows that hold the row. `[V]`
    occurrences: Vec<u32>,
    /// `n_r`: the sum of the squared weights of those slots. `[V]`
    masses: Vec<f32>,
    /// `N`
    pub(crate) rows: usize,
}

/// Rows of a vocabulary that occur about equally often.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Bucket {
    /// Mean of their `n_r`.
    pub(crate) mass: f64,
    /// How many they are.
    pub(crate) rows: f64,
}

impl RowCounts {
    /// Counts the rows of batches.
    pub(crate) fn of(schema: &Schema, batches: impl IntoIterator<Item = Batch>) -> Result<Self> {
        let mut counts = Self::none(schema);
        for batch in batches {
            batch.check(schema)?;
            counts.add(&batch);
        }
        Ok(counts)
    }

    /// Before the first row.
    pub(crate) fn none(schema: &Schema) -> Self {
        let mut starts: Vec<u32> = schema.offsets();
        starts.push(schema.rows() as u32);
        Self { starts, occurrences: vec![0; schema.rows()], masses: vec![0.0; schema.rows()], rows: 0 }
    }

    pub(crate) fn add(&mut self, batch: &Batch) {
        self.rows += batch.rows;
        for (&id, &weight) in batch.ids.iter().zip(&batch.weights) {
            self.occurrences[id as usize] = self.occurrences[id as usize].saturating_add(1);
            self.masses[id as usize] += weight * weight;
        }
    }

    /// The same where part of the occurrences of `from` are shown as those of `to`, as many as come of it in the mean.
    pub(crate) fn show_as(&mut self, from: std::ops::Range<u32>, to: u32, part: impl Fn(u32) -> f64) {
        let (mut occurrences, mut mass) = (0.0, 0.0);
        for row in from {
            let (own, part) = (row as usize, part(self.occurrences[row as usize]));
            if self.occurrences[own] == 0 {
                continue;
            }
            let shown = f64::from(self.occurrences[own]) * part;
            occurrences += shown;
            mass += f64::from(self.masses[own]) * part;
            self.occurrences[own] = ((f64::from(self.occurrences[own]) - shown).round() as u32).max(1);
            self.masses[own] *= (1.0 - part) as f32;
        }
        let to = to as usize;
        self.occurrences[to] = self.occurrences[to].saturating_add(occurrences.round() as u32);
        self.masses[to] += mass as f32;
    }

    /// The same as if some rows never occurred.
    #[must_use]
    pub(crate) fn without(mut self, are_left_out: impl Fn(u32) -> bool) -> Self {
        for row in (0..self.occurrences.len()).filter(|&row| are_left_out(row as u32)) {
            (self.occurrences[row], self.masses[row]) = (0, 0.0);
        }
        self
    }

    pub(crate) fn vocabularies(&self) -> usize {
        self.starts.len() - 1
    }

    /// `o_r`
    pub(crate) fn occurrences(&self, row: u32) -> u32 {
        self.occurrences[row as usize]
    }

    /// What is asked of them while training.
    pub(crate) fn settled(self) -> Occurrences {
        let Self { starts, mut occurrences, masses, rows } = self;
        for (occurrences, mass) in occurrences.iter_mut().zip(masses) {
            *occurrences = (*occurrences).min(LIVE - 1) | if mass > 0.0 { LIVE } else { 0 };
        }
        Occurrences { starts, of_rows: occurrences, rows }
    }

    /// The rows of a vocabulary that occur, by how often: eight buckets for every doubling.
    pub(crate) fn histogram(&self, vocabulary: usize) -> Vec<Bucket> {
        let rows = self.starts[vocabulary] as usize..self.starts[vocabulary + 1] as usize;
        let mut buckets = std::collections::BTreeMap::<i64, Bucket>::new();
        for &mass in self.masses[rows].iter().filter(|mass| **mass > 0.0) {
            let bucket = buckets.entry((f64::from(mass).log2() * 8.0).round() as i64).or_default();
            bucket.rows += 1.0;
            bucket.mass += f64::from(mass);
        }
        buckets.into_values().map(|bucket| Bucket { mass: bucket.mass / bucket.rows, ..bucket }).collect()
    }
}

/// Of a row that is [live](Occurrences::is_live).
const LIVE: u32 = 1 << 31;

/// How often each row of the table occurs, in four bytes a row, for all that lasts as long as the training: every rank has those of the whole table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Occurrences {
    /// As in [`RowCounts`].
    starts: Vec<u32>,
    /// `o_r`, at most 2^31 - 1, and [`LIVE`]. `[V]`
    of_rows: Vec<u32>,
    /// `N`
    pub(crate) rows: usize,
}

impl Occurrences {
    pub(crate) fn vocabularies(&self) -> usize {
        self.starts.len() - 1
    }

    /// The vocabulary of a row.
    pub(crate) fn vocabulary(&self, row: u32) -> usize {
        self.starts.partition_point(|&start| start <= row) - 1
    }

    /// `o_r`
    pub(crate) fn of(&self, row: u32) -> u32 {
        self.of_rows[row as usize] & !LIVE
    }

    /// `n_r > 0`
    pub(crate) fn is_live(&self, row: u32) -> bool {
        self.of_rows[row as usize] & LIVE != 0
    }

    /// Whether a row lies behind the last of a vocabulary.
    pub(crate) fn ends_before(&self, vocabulary: usize, row: u32) -> bool {
        self.starts[vocabulary + 1] <= row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::{Field, Task, VocabularySpec};

    #[test]
    fn occurrences_that_are_shown_as_another_row_are_that_ones() {
        let schema =
            Schema::new(vec![Field::category("user", 0)], vec![VocabularySpec::new("user", 4)], vec![Task::new("a")]);
        let mut counts = RowCounts::none(&schema);
        counts.add(&Batch::new(11, [vec![1], vec![2; 10]].concat(), vec![1.0; 11]));
        counts.show_as(1..3, 3, |n| 1.0 / (1.0 + f64::from(n)));
        assert_eq!([1, 2, 3].map(|row| counts.occurrences(row)), [1, 9, 1], "half of one, and one of eleven of ten");
        assert!(counts.settled().is_live(3));
    }

    #[test]
    fn rows_are_counted_with_their_squared_weights_and_padding_is_not() {
        let fields = vec![Field::category("user", 0), Field::category("item", 1)];
        let vocabularies = vec![VocabularySpec::new("user", 4), VocabularySpec::new("item", 5)];
        let schema = Schema::new(fields, vocabularies, vec![Task::new("a")]);
        let mut counts = RowCounts::none(&schema);
        let batch = Batch::new(3, vec![1, 6, 1, 7, 2, 4], vec![1.0, 0.5, 1.0, 2.0, 1.0, 0.0]);
        counts.add(&batch);
        assert_eq!((counts.rows, counts.vocabularies()), (3, 2));
        assert_eq!([1, 2, 4, 5, 7].map(|row| counts.occurrences(row)), [2, 1, 1, 0, 1]);
        assert_eq!(counts.histogram(0), [Bucket { mass: 1.0, rows: 1.0 }, Bucket { mass: 2.0, rows: 1.0 }]);
        assert_eq!(counts.histogram(1), [Bucket { mass: 0.25, rows: 1.0 }, Bucket { mass: 4.0, rows: 1.0 }]);
        let settled = counts.clone().settled();
        assert_eq!((settled.rows, settled.vocabularies()), (3, 2));
        assert_eq!([0, 3, 4, 8].map(|row| settled.vocabulary(row)), [0, 0, 1, 1]);
        assert_eq!([3, 4].map(|row| settled.ends_before(0, row)), [false, true]);
        assert_eq!([1, 2, 4, 5, 7].map(|row| settled.of(row)), [2, 1, 1, 0, 1]);
        assert_eq!([1, 4, 5].map(|row| settled.is_live(row)), [true, false, false]);
        let some = counts.without(|row| row == 1 || row == 7);
        assert_eq!(some.histogram(1), [Bucket { mass: 0.25, rows: 1.0 }]);
        let some = some.settled();
        assert_eq!(
            [1, 2, 6, 7].map(|row| (some.of(row), some.is_live(row))),
            [(0, false), (1, true), (1, true), (0, false)]
        );
    }
}
