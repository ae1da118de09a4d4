//! Scores sorted once, measured as often as one likes: AUC of all rows, within groups, or under any weights of the groups, in one
//! pass over the rows.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use super::Metric;
use crate::metrics::loss;

/// The rows of a comparison: those with a label, of one stratum or all. Scores of every model are ranked on the same rows.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The row of each, as in the scores.
    rows: Vec<u32>,
    /// `2 * group + label`; groups are counted from 0 in the order of their first row.
    marks: Vec<u32>,
    groups: usize,
    /// How much each row counts, where they count differently.
    weights: Option<Vec<f32>>,
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
        Self { rows, marks, groups: numbers.len(), weights: None }
    }

    /// All rows with a label, as one group.
    ///
    /// # Panics
    /// When there are 2^32 rows or more.
    pub fn ungrouped(labels: &[f32]) -> Self {
        assert!(u32::try_from(labels.len()).is_ok(), "a row has 32 bits");
        let known = (0u32..).zip(labels).filter(|(_, y)| !y.is_nan());
        let (rows, marks) = known.map(|(row, y)| (row, u32::from(*y > 0.5))).unzip();
        Self { rows, marks, groups: 1, weights: None }
    }

    /// The same rows, each counted as often as its weight says; `weights` are those of all rows. A row of weight 0 takes no part.
    ///
    /// # Panics
    /// When a row of the sample has no weight.
    #[must_use]
    pub fn weighted(mut self, weights: Option<&[f32]>) -> Self {
        let Some(weights) = weights else { return self };
        let counts = |(row, _): &(u32, u32)| weights[*row as usize] > 0.0;
        (self.rows, self.marks) = self.rows.into_iter().zip(self.marks).filter(counts).unzip();
        self.weights = Some(self.rows.iter().map(|&row| weights[row as usize]).collect());
        self
    }

    /// How much each row counts that takes part.
    pub fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.rows.len()).map(|place| self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place])))
    }

    /// How many rows take part.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many of them have a positive label.
    pub fn positives(&self) -> usize {
        self.marks.iter().filter(|mark| *mark & 1 == 1).count()
    }

    /// How many groups they belong to.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Score and label of every row that takes part; `scores` are those of all rows.
    pub fn rows<'a>(&'a self, scores: &'a [f32]) -> impl Iterator<Item = (f32, bool)> + 'a {
        self.rows.iter().zip(&self.marks).map(|(&row, mark)| (scores[row as usize], mark & 1 == 1))
    }

    /// Sorts the sample by the scores of one model; `scores` are those of all rows.
    pub fn rank(&self, scores: &[f32]) -> Ranked {
        let score = |row: u32| scores[row as usize];
        let mut losses = vec![0.0; self.groups];
        for ((&row, mark), weight) in self.rows.iter().zip(&self.marks).zip(self.weights()) {
            losses[(mark >> 1) as usize] += weight * loss(score(row), mark & 1 == 1);
        }
        let of_rows = self.rows.iter().map(|&row| score(row)).zip(self.marks.iter().copied());
        let (rows, weights): (Vec<(f32, u32)>, _) = match &self.weights {
            None => (ascending(of_rows), None),
            Some(weights) => {
                let rows = ascending(of_rows.zip(weights).map(|((score, mark), weight)| (score, (mark, *weight))));
                let (rows, weights) = rows.into_iter().map(|(score, (mark, weight))| ((score, mark), weight)).unzip();
                (rows, Some(weights))
            }
        };
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
        let marks = rows.into_iter().map(|(_, mark)| mark).collect();
        Ranked { marks, ties, groups: self.groups, losses, weights, comparable }
    }
}

/// Rows by ascending score.
pub(super) fn ascending<T: Send>(rows: impl Iterator<Item = (f32, T)>) -> Vec<(f32, T)> {
    let mut rows: Vec<(f32, T)> = rows.collect();
    rows.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// A [`Sample`] in the order of one model's scores. 4 bytes a row and 8 bytes a group.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// `2 * group + label`, ascending by score.
    marks: Vec<u32>,
    /// Where equal scores hold both classes: first row, and the one behind the last.
    ties: Vec<[u32; 2]>,
    groups: usize,
    /// Sum of the cross-entropy of the rows of each group, in nats.
    losses: Vec<f64>,
    /// How much each row counts, in the order of `marks`, where they count differently.
    weights: Option<Vec<f32>>,
    /// Whether every score is a number.
    comparable: bool,
}

/// Weights counted so far.
#[derive(Clone, Default)]
struct Pass {
    positives: u64,
    negatives: u64,
    /// Twice the pairs of a positive above a negative, equal scores counted half.
    twice_won: u128,
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
            return pass.auc().filter(|_| self.comparable);
        }
        let mut pass = Pass::default();
        self.runs(|rows, tied| match tied {
            true => pass.equal(&self.marks[rows], weights),
            false => pass.distinct(&self.marks[rows], weights),
        });
        pass.auc().filter(|_| self.comparable)
    }

    /// AUC within groups: `sum_g n_g AUC_g / sum_g n_g` over the groups with both classes. `None` when there is none, or a score is
    /// no number.
    pub fn gauc(&self) -> Option<f64> {
        ratio(&self.auc_by_group(), None).filter(|_| self.comparable)
    }

    /// Mean cross-entropy of scores that are probabilities, in nats. `None` without rows, or when a score is no number.
    pub fn logloss(&self) -> Option<f64> {
        ratio(&self.loss_by_group(), None).filter(|_| self.comparable)
    }

    /// The metric of that name.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc(),
            Metric::Gauc => self.gauc(),
            Metric::Logloss => self.logloss(),
        }
    }

    /// Whether every score is a number.
    pub(super) fn comparable(&self) -> bool {
        self.comparable
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

    /// Sum of the cross-entropy and number of rows of every group. `[G]`
    pub(super) fn loss_by_group(&self) -> Vec<[f64; 2]> {
        let mut groups: Vec<[f64; 2]> = self.losses.iter().map(|&sum| [sum, 0.0]).collect();
        for (place, mark) in self.marks.iter().enumerate() {
            let weight = self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]));
            groups[(mark >> 1) as usize][1] += weight;
        }
        groups
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

/// `sum_g w_g a_g / sum_g w_g b_g` of parts `[a_g, b_g]`, every weight 1 by default. `None` where the denominator is 0.
pub(super) fn ratio(parts: &[[f64; 2]], weights: Option<&[u8]>) -> Option<f64> {
    let add = |[above, below]: [f64; 2], [a, b]: &[f64; 2], w: f64| [above + w * a, below + w * b];
    let [above, below] = match weights {
        Some(weights) => parts.iter().zip(weights).fold([0.0; 2], |sum, (part, &w)| add(sum, part, f64::from(w))),
        None => parts.iter().fold([0.0; 2], |sum, part| add(sum, part, 1.0)),
    };
    (below > 0.0).then(|| above / below)
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
    use crate::analysis::tests::by_pairs;
    use crate::metrics::TaskMetrics;
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

    proptest! {
        #[test]
        fn auc_within_groups_is_the_mean_of_the_groups_own_weighted_by_rows(rows in rows()) {
            let (scores, labels, groups) = columns(&rows);
            let (mut sum, mut weight) = (0.0, 0.0);
            for group in 100..106 {
                let (s, l, _) = columns(&rows.iter().copied().filter(|row| row.2 == group).collect::<Vec<_>>());
                let known = l.iter().filter(|y| !y.is_nan()).count() as f64;
                if let Some(auc) = by_pairs(&s, &l) {
                    (sum, weight) = (sum + auc * known, weight + known);
                }
            }
            let found = Sample::new(&labels, &groups, None).rank(&scores).gauc();
            prop_assert!(close(found, (weight > 0.0).then(|| sum / weight)));
        }

        #[test]
        fn auc_within_one_group_is_plain_auc_and_order_does_not_matter(rows in rows()) {
            let (scores, labels, groups) = columns(&rows);
            let one = Sample::ungrouped(&labels).rank(&scores);
            prop_assert!(close(one.auc(), by_pairs(&scores, &labels)) && close(one.gauc(), one.auc()));
            let (s, l, g) = columns(&rows.iter().copied().rev().collect::<Vec<_>>());
            let [a, b] = [(&scores, &labels, &groups), (&s, &l, &g)].map(|(s, l, g)| Sample::new(l, g, None).rank(s).gauc());
            prop_assert!(close(a, b));
        }
    }

    proptest! {
        /// Whole weights are repetitions of rows, in every metric and also under weights of the groups; weight 0 is a row less.
        #[test]
        fn weights_of_rows_are_repetitions_of_them(rows in rows(), weights in prop::collection::vec(0u8..4, 60), drawn in prop::collection::vec(0u8..3, 6)) {
            let (scores, labels, groups) = columns(&rows);
            let of_rows: Vec<f32> = rows.iter().zip(&weights).map(|(_, weight)| f32::from(*weight)).collect();
            let repeated = rows.iter().zip(&weights).flat_map(|(row, &times)| vec![*row; times.into()]);
            let repeated: Vec<Row> = repeated.collect();
            let (s, l, g) = columns(&repeated);
            let weighted = Sample::new(&labels, &groups, None).weighted(Some(&of_rows));
            let plain = Sample::new(&l, &g, None);
            let [a, b] = [(&weighted, &scores), (&plain, &s)].map(|(sample, scores)| sample.rank(scores));
            for metric in Metric::ALL {
                prop_assert!(close(a.metric(metric), b.metric(metric)), "{:?}", metric);
            }
            let of_sample = |sample: &Sample, groups: &[u32]| {
                let mut counts = vec![0u8; sample.groups()];
                for (row, mark) in sample.rows.iter().zip(&sample.marks) {
                    counts[(mark >> 1) as usize] = drawn[(groups[*row as usize] - 100) as usize];
                }
                counts
            };
            prop_assert!(close(a.weighted_auc(&of_sample(&weighted, &groups)), b.weighted_auc(&of_sample(&plain, &g))));
            let [a, b] = [(&weighted, &scores), (&plain, &s)].map(|(sample, scores)| TaskMetrics::on(sample, scores));
            prop_assert!(close(a.calibration, b.calibration) && close(a.logloss, b.logloss));
        }
    }

    #[test]
    fn every_metric_is_the_one_of_the_tables() {
        let (scores, labels) = ([0.1, 0.9, 0.4, 0.6, 0.3], [0.0, 1.0, 1.0, 0.0, f32::NAN]);
        let sample = Sample::new(&labels, &[0, 0, 1, 1, 1], None);
        let (ranked, table) = (sample.rank(&scores), crate::metrics::TaskMetrics::on(&sample, &scores));
        let found = Metric::ALL.map(|metric| ranked.metric(metric));
        assert!(found.iter().zip([table.auc, table.gauc, table.logloss]).all(|(a, b)| close(*a, b)), "{found:?}");
        let unknown = sample.rank(&[0.1, f32::NAN, 0.4, 0.6, 0.3]);
        assert_eq!(Metric::ALL.map(|metric| unknown.metric(metric)), [None; 3]);
        assert_eq!(Sample::new(&[], &[], None).rank(&[]).logloss(), None);
    }

    #[test]
    fn groups_with_one_class_are_left_out() {
        let gauc = |groups: &[u32]| Sample::new(&[0.0, 1.0, 1.0, 1.0], groups, None).rank(&[0.1, 0.9, 0.5, 0.6]).gauc();
        assert_eq!((gauc(&[0, 0, 1, 1]), gauc(&[0, 1, 2, 3])), (Some(1.0), None));
    }

    #[test]
    fn a_group_weighs_as_many_rows_as_it_has() {
        // Group 7: AUC 1 over 2 rows; group 8: AUC 0 over 3; group 9 has one class and no weight.
        let scores = [0.1, 0.9, 0.9, 0.8, 0.1, 0.5, 0.5, 0.5, 0.5];
        let labels = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let groups = [7, 7, 8, 8, 8, 9, 9, 9, 9];
        assert_eq!(Sample::new(&labels, &groups, None).rank(&scores).gauc(), Some(2.0 / 5.0));
    }

    #[test]
    fn equal_scores_are_worth_half() {
        let auc = |scores: &[f32], labels: &[f32]| Sample::ungrouped(labels).rank(scores).auc();
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]), Some(0.75));
        assert_eq!(auc(&[0.3; 4], &[1.0, 0.0, 1.0, 0.0]), Some(0.5));
        assert_eq!((auc(&[0.3, 0.4], &[1.0, 1.0]), auc(&[], &[])), (None, None));
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

    #[test]
    fn a_sample_says_how_many_take_part() {
        let labels = [1.0, 0.0, f32::NAN, 1.0, 1.0];
        let all = Sample::new(&labels, &[7, 7, 8, 9, 9], None);
        assert_eq!((all.len(), all.positives(), all.groups(), all.is_empty()), (4, 3, 2, false));
        let some = Sample::new(&labels, &[7, 7, 8, 9, 9], Some(&[1, 2]));
        assert_eq!((some.len(), some.positives(), some.groups()), (1, 0, 1));
        assert!(Sample::new(&labels, &[7; 5], Some(&[2])).is_empty());
        assert_eq!(Sample::ungrouped(&labels).groups(), 1);
    }
}
