//! Rows in the order of one model's scores: AUC and average precision under any weights of the groups, in one pass over the rows.

use std::ops::Range;

use rayon::prelude::*;

use super::Sample;

/// Rows by ascending score; those of one score stay in their order.
pub(super) fn ascending<T: Copy + Send>(rows: impl Iterator<Item = (f32, T)>) -> Vec<(f32, T)> {
    let mut rows: Vec<(f32, T)> = rows.collect();
    if rows.len() < MANY || rayon::current_num_threads() > FEW_THREADS {
        rows.par_sort_by(|a, b| a.0.total_cmp(&b.0));
        return rows;
    }
    by_digits(rows)
}

/// Rows from which on sorting by digits is quicker than by comparisons, and threads on which it is not: it takes one.
const MANY: usize = if cfg!(test) { 16 } else { 1 << 12 };
const FEW_THREADS: usize = 8;

/// A radix sort from the lowest digit on: three passes over 11 bits each.
fn by_digits<T: Copy>(mut rows: Vec<(f32, T)>) -> Vec<(f32, T)> {
    const BITS: u32 = 11;
    /// The order of `f32::total_cmp` as that of whole numbers.
    fn key(score: f32) -> u32 {
        let bits = score.to_bits();
        bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
    }
    let digit = |score: f32, pass: u32| (key(score) >> (pass * BITS)) as usize & ((1 << BITS) - 1);
    let mut counts = vec![[0usize; 1 << BITS]; 3];
    for (score, _) in &rows {
        (0..3).for_each(|pass| counts[pass as usize][digit(*score, pass)] += 1);
    }
    let mut sorted = rows.clone();
    for (pass, counts) in (0..3).zip(&mut counts) {
        let mut behind = 0;
        for count in counts.iter_mut() {
            behind += std::mem::replace(count, behind); // where the digit's next row goes
        }
        for row in &rows {
            let place = &mut counts[digit(row.0, pass)];
            sorted[*place] = *row;
            *place += 1;
        }
        std::mem::swap(&mut rows, &mut sorted);
    }
    rows
}

/// A [`Sample`] in the order of one model's scores. 4 bytes a row, 8 where rows count differently.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// `2 * group + label`, ascending by score.
    marks: Vec<u32>,
    /// Where one score is that of a positive and of another row: first row, and the one behind the last.
    ties: Vec<[u32; 2]>,
    groups: usize,
    /// How much each row counts, in the order of `marks`, where they count differently.
    weights: Option<Vec<f32>>,
}

/// Weights counted so far.
#[derive(Clone, Default)]
struct Pass {
    positives: u64,
    negatives: u64,
    /// Twice the pairs of a positive above a negative, equal scores counted half.
    twice_won: u128,
}

impl Order {
    /// Of the rows of a sample; `scores` are those of all rows.
    pub(super) fn new(sample: &Sample, scores: &[f32]) -> Self {
        let of_rows = (0..sample.len()).map(|place| sample.score(scores, place)).zip(sample.marks().iter().copied());
        let (rows, weights): (Vec<(f32, u32)>, _) = match sample.own_weights() {
            None => (ascending(of_rows), None),
            Some(weights) => {
                let rows = ascending(of_rows.zip(weights).map(|((score, mark), weight)| (score, (mark, *weight))));
                let (rows, weights) = rows.into_iter().map(|(score, (mark, weight))| ((score, mark), weight)).unzip();
                (rows, Some(weights))
            }
        };
        let mut ties = Vec::new();
        let mut start = 0;
        for run in rows.chunk_by(|a, b| a.0 == b.0) {
            let end = start + run.len();
            if run.len() > 1 && run.iter().any(|(_, mark)| mark & 1 == 1) {
                ties.push([start as u32, end as u32]);
            }
            start = end;
        }
        let marks = rows.into_iter().map(|(_, mark)| mark).collect();
        Self { marks, ties, groups: sample.groups(), weights }
    }

    /// AUC with every row as often as the weight of its group says. `None` unless both classes are present.
    pub(super) fn auc<W: Copy + Into<u64>>(&self, weights: &[W]) -> Option<f64> {
        if let Some(of_rows) = &self.weights {
            let mut pass = WeightedPass::default();
            self.runs(|rows, tied| {
                let of_group = |mark: u32| {
                    let weight: u64 = weights[(mark >> 1) as usize].into();
                    weight as f64
                };
                let rows = self.marks[rows.clone()].iter().zip(&of_rows[rows]);
                pass.add(rows.map(|(mark, weight)| (*mark, of_group(*mark) * f64::from(*weight))), tied);
            });
            return pass.auc();
        }
        let mut pass = Pass::default();
        self.runs(|rows, tied| match tied {
            true => pass.equal(&self.marks[rows], weights),
            false => pass.distinct(&self.marks[rows], weights),
        });
        pass.auc()
    }

    /// Average precision with every row as often as the weight of its group says: `sum_i w_i P(s_i) / sum_i w_i` over positives `i`, with
    /// `P(s)` the share of positives among the rows that score `s` or more. `None` without a positive.
    pub(super) fn average_precision(&self, weights: &[u8]) -> Option<f64> {
        let of_row = |place: usize| self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]));
        let weight = |place: usize| f64::from(weights[(self.marks[place] >> 1) as usize]) * of_row(place);
        let mut above = [0.0, 0.0]; // weights of negatives and positives
        let mut sum = 0.0;
        self.runs_down(|rows, tied| {
            if tied {
                let mut tie = [0.0, 0.0];
                rows.for_each(|place| tie[(self.marks[place] & 1) as usize] += weight(place));
                above = [above[0] + tie[0], above[1] + tie[1]];
                if tie[1] > 0.0 {
                    sum += tie[1] * above[1] / (above[0] + above[1]);
                }
                return;
            }
            for place in rows.rev() {
                let (class, weight) = ((self.marks[place] & 1) as usize, weight(place));
                above[class] += weight;
                if class == 1 && weight > 0.0 {
                    sum += weight * above[1] / (above[0] + above[1]);
                }
            }
        });
        (above[1] > 0.0).then(|| sum / above[1])
    }

    /// `n_g AUC_g` and `n_g` of every group, zeros where it lacks a class. `[G]`
    pub(super) fn auc_by_group(&self) -> Vec<[f64; 2]> {
        if let Some(of_rows) = &self.weights {
            let mut groups = vec![WeightedPass::default(); self.groups];
            self.runs(|rows, tied| {
                let rows = self.marks[rows.clone()].iter().zip(&of_rows[rows]);
                let mut rows: Vec<(u32, f64)> = rows.map(|(mark, weight)| (*mark, f64::from(*weight))).collect();
                if tied {
                    rows.sort_by_key(|(mark, _)| mark >> 1);
                }
                for run in rows.chunk_by(|a, b| tied && a.0 >> 1 == b.0 >> 1) {
                    groups[(run[0].0 >> 1) as usize].add(run.iter().copied(), tied);
                }
            });
            let rows = |group: &WeightedPass| group.positives + group.negatives;
            return groups
                .iter()
                .map(|group| group.auc().map_or([0.0; 2], |auc| [auc * rows(group), rows(group)]))
                .collect();
        }
        let mut groups = vec![Pass::default(); self.groups];
        self.runs(|rows, tied| {
            let marks = &self.marks[rows];
            for run in marks.chunks(if tied { marks.len() } else { 1 }) {
                let of =
                    |class: u32| run.iter().filter(move |mark| *mark & 1 == class).map(|mark| (mark >> 1) as usize);
                // A positive counts the negatives before its tie and those with it, so that the latter are worth half.
                of(1).for_each(|g| groups[g].twice_won += u128::from(groups[g].negatives));
                of(0).for_each(|g| groups[g].negatives += 1);
                of(1).for_each(|g| groups[g].twice_won += u128::from(groups[g].negatives));
                of(1).for_each(|g| groups[g].positives += 1);
            }
        });
        let rows = |group: &Pass| (group.positives + group.negatives) as f64;
        groups.iter().map(|group| group.auc().map_or([0.0; 2], |auc| [auc * rows(group), rows(group)])).collect()
    }

    /// Walks the rows from the lowest score on: stretches in which no two of different classes have one score, and between them ties.
    fn runs(&self, mut each: impl FnMut(Range<usize>, bool)) {
        let mut start = 0;
        for &[tie, end] in &self.ties {
            each(start..tie as usize, false);
            each(tie as usize..end as usize, true);
            start = end as usize;
        }
        each(start..self.marks.len(), false);
    }

    /// The same from the highest score on; the rows of a stretch are to be walked backwards.
    fn runs_down(&self, mut each: impl FnMut(Range<usize>, bool)) {
        let mut end = self.marks.len();
        for &[tie, behind] in self.ties.iter().rev() {
            each(behind as usize..end, false);
            each(tie as usize..behind as usize, true);
            end = tie as usize;
        }
        each(0..end, false);
    }
}

/// The same of rows that count differently.
#[derive(Clone, Default)]
struct WeightedPass {
    positives: f64,
    negatives: f64,
    /// Pairs of a positive above a negative by the product of their weights, equal scores counted half.
    won: f64,
}

impl WeightedPass {
    /// Adds rows: marks and weights, all of one score where they are `tied`.
    fn add(&mut self, rows: impl Iterator<Item = (u32, f64)>, tied: bool) {
        let mut tie = [0.0; 2]; // weights of negatives and positives
        for (mark, weight) in rows {
            match (tied, mark & 1 == 1) {
                (true, _) => tie[(mark & 1) as usize] += weight,
                (false, true) => {
                    (self.positives, self.won) = (self.positives + weight, self.won + weight * self.negatives)
                }
                (false, false) => self.negatives += weight,
            }
        }
        self.won += tie[1] * (self.negatives + tie[0] / 2.0);
        (self.negatives, self.positives) = (self.negatives + tie[0], self.positives + tie[1]);
    }

    /// `None` unless both classes are present.
    fn auc(&self) -> Option<f64> {
        let pairs = self.positives * self.negatives;
        (pairs > 0.0).then(|| self.won / pairs)
    }
}

impl Pass {
    /// Rows of which no two of different classes have one score. No branch depends on what is read.
    fn distinct<W: Copy + Into<u64>>(&mut self, marks: &[u32], weights: &[W]) {
        let (mut positives, mut negatives, mut won) = (self.positives, self.negatives, 0);
        for &mark in marks {
            let weight: u64 = weights[(mark >> 1) as usize].into();
            let positive = weight * u64::from(mark & 1);
            won += u128::from(positive) * u128::from(negatives);
            positives += positive;
            negatives += weight - positive;
        }
        (self.positives, self.negatives, self.twice_won) = (positives, negatives, self.twice_won + 2 * won);
    }

    /// Rows of one score.
    fn equal<W: Copy + Into<u64>>(&mut self, marks: &[u32], weights: &[W]) {
        let mut tie = Self::default();
        tie.distinct(marks, weights);
        self.twice_won += u128::from(tie.positives) * (2 * u128::from(self.negatives) + u128::from(tie.negatives));
        self.positives += tie.positives;
        self.negatives += tie.negatives;
    }

    /// `None` unless both classes are present.
    fn auc(&self) -> Option<f64> {
        let pairs = self.positives as f64 * self.negatives as f64;
        (pairs > 0.0).then(|| self.twice_won as f64 / (2.0 * pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sorting_by_digits_is_sorting_by_comparisons(bits in prop::collection::vec(any::<u32>(), 0..300), few in any::<bool>()) {
            let score = |bits: u32| f32::from_bits(if few { bits & 0x8180_0000 } else { bits });
            let rows: Vec<(f32, u32)> = bits.into_iter().map(score).zip(0..).collect();
            let mut expected = rows.clone();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            let exact = |rows: &[(f32, u32)]| rows.iter().map(|(score, place)| (score.to_bits(), *place)).collect::<Vec<_>>();
            prop_assert_eq!(exact(&by_digits(rows)), exact(&expected));
        }
    }
}
