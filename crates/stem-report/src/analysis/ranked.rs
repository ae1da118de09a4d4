//! Scores sorted once, measured as often as one likes: AUC under any weights of the groups in one pass over the rows.

use std::collections::HashMap;

use rayon::prelude::*;

/// The rows of a comparison: those with a label, of one stratum or all. Scores of every model are ranked on the same rows.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The row of each, as in the scores.
    rows: Vec<u32>,
    /// `2 * group + label`; groups are counted from 0 in the order of their first row.
    marks: Vec<u32>,
    groups: usize,
}

impl Sample {
    /// Labels (NaN is missing) and users of all rows, and which rows to take: all by default.
    ///
    /// A user is any number. Where rows belong to nobody, let each be its own group: `0..N`.
    ///
    /// # Panics
    /// When the slices differ in length, a row is not there, or there are 2^31 rows or more.
    pub fn new(labels: &[f32], groups: &[u32], rows: Option<&[u32]>) -> Self {
        assert_eq!(labels.len(), groups.len(), "every label has a group");
        assert!(labels.len() < 1 << 31, "a row and a group have 31 bits");
        let all = || (0..labels.len() as u32).collect();
        let mut rows: Vec<u32> = rows.map_or_else(all, <[u32]>::to_vec);
        rows.retain(|&row| !labels[row as usize].is_nan());
        let mut numbers = HashMap::new();
        let marks = rows.iter().map(|&row| {
            let next = numbers.len() as u32;
            let group = *numbers.entry(groups[row as usize]).or_insert(next);
            2 * group + u32::from(labels[row as usize] > 0.5)
        });
        let marks = marks.collect();
        Self { rows, marks, groups: numbers.len() }
    }

    /// How many rows take part.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many groups they belong to.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Sorts the sample by the scores of one model; `scores` are those of all rows.
    pub fn rank(&self, scores: &[f32]) -> Ranked {
        let score = |&row: &u32| scores[row as usize];
        let mut rows: Vec<(f32, u32)> = self.rows.iter().map(score).zip(self.marks.iter().copied()).collect();
        rows.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let comparable = rows.iter().all(|(score, _)| !score.is_nan());
        let mut ties = Vec::new();
        let mut start = 0;
        for run in rows.chunk_by(|a, b| a.0 == b.0) {
            let end = start + run.len();
            if run.iter().any(|(_, mark)| (mark ^ run[0].1) & 1 == 1) {
                ties.push([start as u32, end as u32]);
            }
            start = end;
        }
        Ranked { marks: rows.into_iter().map(|(_, mark)| mark).collect(), ties, groups: self.groups, comparable }
    }
}

/// A [`Sample`] in the order of one model's scores. 4 bytes a row.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// `2 * group + label`, ascending by score.
    marks: Vec<u32>,
    /// Where equal scores hold both classes: first row, and the one behind the last.
    ties: Vec<[u32; 2]>,
    groups: usize,
    /// Whether every score is a number.
    comparable: bool,
}

/// Weights counted so far.
#[derive(Default)]
struct Pass {
    positives: u64,
    negatives: u64,
    /// Pairs of a positive above a negative.
    won: u128,
    /// Pairs of equal scores.
    tied: u128,
}

impl Ranked {
    /// How many groups the rows belong to.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// AUC, ties counted half. `None` unless both classes are present and every score is a number.
    pub fn auc(&self) -> Option<f64> {
        self.weighted_auc(&vec![1u8; self.groups])
    }

    /// AUC with every row as often as the weight of its group says, groups in the order of their first row in the sample:
    /// `sum_ij w_i w_j [s_i > s_j] / sum_ij w_i w_j` over positives `i` and negatives `j`, equal scores counted half.
    pub fn weighted_auc<W: Copy + Into<u64>>(&self, weights: &[W]) -> Option<f64> {
        let mut pass = Pass::default();
        let mut start = 0;
        for &[tie, end] in &self.ties {
            pass.distinct(&self.marks[start..tie as usize], weights);
            pass.equal(&self.marks[tie as usize..end as usize], weights);
            start = end as usize;
        }
        pass.distinct(&self.marks[start..], weights);
        (self.comparable && pass.positives > 0 && pass.negatives > 0).then(|| pass.auc())
    }
}

impl Pass {
    /// Rows of which no two of different classes have one score. No branch depends on what is read.
    fn distinct<W: Copy + Into<u64>>(&mut self, marks: &[u32], weights: &[W]) {
        let (mut positives, mut negatives, mut won) = (self.positives, self.negatives, self.won);
        for &mark in marks {
            let weight: u64 = weights[(mark >> 1) as usize].into();
            let positive = weight * u64::from(mark & 1);
            won += u128::from(positive) * u128::from(negatives);
            positives += positive;
            negatives += weight - positive;
        }
        (self.positives, self.negatives, self.won) = (positives, negatives, won);
    }

    /// Rows of one score.
    fn equal<W: Copy + Into<u64>>(&mut self, marks: &[u32], weights: &[W]) {
        let (mut positives, mut negatives) = (0, 0);
        for &mark in marks {
            let weight: u64 = weights[(mark >> 1) as usize].into();
            let positive = weight * u64::from(mark & 1);
            positives += positive;
            negatives += weight - positive;
        }
        self.won += u128::from(positives) * u128::from(self.negatives);
        self.tied += u128::from(positives) * u128::from(negatives);
        self.positives += positives;
        self.negatives += negatives;
    }

    fn auc(&self) -> f64 {
        (self.won as f64 + self.tied as f64 / 2.0) / (self.positives as f64 * self.negatives as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::by_pairs;
    use proptest::prelude::*;

    type Row = (u8, Option<bool>, u32);

    fn columns(rows: &[Row]) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
        let label = |y: Option<bool>| y.map_or(f32::NAN, |y| f32::from(u8::from(y)));
        (
            rows.iter().map(|r| f32::from(r.0) / 7.0).collect(),
            rows.iter().map(|r| label(r.1)).collect(),
            rows.iter().map(|r| r.2).collect(),
        )
    }

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        a.is_some() == b.is_some() && (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-12
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        prop::collection::vec((0u8..9, prop::option::weighted(0.8, any::<bool>()), 100u32..106), 0..60)
    }

    proptest! {
        #[test]
        fn one_pass_gives_what_all_pairs_give(rows in rows()) {
            let (scores, labels, groups) = columns(&rows);
            let sample = Sample::new(&labels, &groups, None);
            prop_assert!(close(sample.rank(&scores).auc(), by_pairs(&scores, &labels)));
        }

        #[test]
        fn weights_are_repetitions_of_rows(rows in rows(), weights in prop::collection::vec(0u32..4, 6)) {
            let (scores, labels, groups) = columns(&rows);
            let sample = Sample::new(&labels, &groups, None);
            let mut order: Vec<u32> = groups.iter().zip(&labels).filter(|(_, y)| !y.is_nan()).map(|(g, _)| *g).collect();
            let mut seen = Vec::new();
            order.retain(|group| !seen.contains(group) && { seen.push(*group); true });
            let weight = |group: u32| weights[(group - 100) as usize];
            let of_sample: Vec<u32> = order.iter().map(|&group| weight(group)).collect();
            let repeated: Vec<Row> = rows.iter().flat_map(|row| vec![*row; weight(row.2) as usize]).collect();
            let (s, l, _) = columns(&repeated);
            prop_assert_eq!(sample.groups(), order.len());
            prop_assert!(close(sample.rank(&scores).weighted_auc(&of_sample), by_pairs(&s, &l)));
        }

        #[test]
        fn a_stratum_is_measured_as_if_there_were_no_other_rows(rows in rows(), keep in prop::collection::vec(any::<bool>(), 60)) {
            let (scores, labels, groups) = columns(&rows);
            let stratum: Vec<u32> = (0..rows.len() as u32).filter(|&i| keep[i as usize]).collect();
            let (s, l, g) = columns(&stratum.iter().map(|&i| rows[i as usize]).collect::<Vec<_>>());
            let (part, alone) = (Sample::new(&labels, &groups, Some(&stratum)), Sample::new(&l, &g, None));
            prop_assert_eq!((part.len(), part.groups()), (alone.len(), alone.groups()));
            prop_assert_eq!(part.rank(&scores).auc(), alone.rank(&s).auc());
        }
    }

    #[test]
    fn one_class_no_rows_and_scores_that_are_no_numbers_are_none() {
        assert_eq!(Sample::new(&[1.0, 1.0], &[0, 1], None).rank(&[0.1, 0.2]).auc(), None);
        assert_eq!(Sample::new(&[], &[], None).rank(&[]).auc(), None);
        let sample = Sample::new(&[1.0, 0.0, 1.0], &[0, 1, 2], None);
        assert_eq!(sample.rank(&[0.1, f32::NAN, 0.3]).auc(), None);
        assert_eq!(sample.rank(&[0.0, -0.0, f32::INFINITY]).auc(), Some(0.75));
        assert_eq!(sample.rank(&[0.1, 0.2, 0.3]).weighted_auc(&[1u8, 0, 1]), None);
    }

    #[test]
    fn large_weights_do_not_overflow() {
        let ranked = Sample::new(&[1.0, 0.0, 1.0], &[0, 1, 2], None).rank(&[0.1, 0.2, 0.3]);
        assert_eq!(ranked.weighted_auc(&[u32::MAX; 3]), Some(0.5));
    }
}
