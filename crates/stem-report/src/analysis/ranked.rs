//! One model's scores of a sample, sorted once and measured as often as one likes, under any weights of the groups.

use super::order::Order;
use super::prepared::Prepared;
use super::{LabelKind, Metric, Sample};

impl Sample {
    /// Prepares the scores of one model for [`Metric::ALL`]; `scores` are those of all rows.
    pub fn rank(&self, scores: &[f32]) -> Ranked {
        self.rank_for(scores, &Metric::ALL)
    }

    /// Prepares the scores of one model for these metrics; those that say nothing of the sample's labels are undefined at no cost.
    pub fn rank_for(&self, scores: &[f32], metrics: &[Metric]) -> Ranked {
        let comparable = (0..self.len()).all(|place| !self.score(scores, place).is_nan());
        let mut wanted = metrics.to_vec();
        wanted.retain(|metric| metric.applies_to(self.kind()));
        wanted.sort_unstable();
        wanted.dedup();
        let measured: &[Metric] = if comparable { &wanted } else { &[] };
        let of_order = |metric: &Metric| by_order(*metric, self.kind());
        let order = measured.iter().any(of_order).then(|| Order::new(self, scores));
        let prepared = Prepared::all(self, scores, measured.iter().copied().filter(|metric| !of_order(metric)));
        Ranked { kind: self.kind(), groups: self.groups(), comparable, wanted, order, prepared }
    }
}

/// Whether a metric is measured on rows in the order of their scores, positives and others told apart.
fn by_order(metric: Metric, kind: LabelKind) -> bool {
    match metric {
        Metric::Auc | Metric::Gauc | Metric::PrAuc => true,
        Metric::Xauc => kind == LabelKind::Binary,
        _ => false,
    }
}

/// A [`Sample`] with one model's scores, ready for the metrics that were asked for.
///
/// | metrics | memory |
/// |---|---|
/// | AUC, gAUC, PR-AUC, XAUC of labels 0 and 1 | 4 bytes a row together; 8 where rows have weights |
/// | XAUC of numbers | 4 bytes a row; from the first resample on 20, 28 where rows have weights; the sample is shared |
/// | ECE | 16 bytes a bin of a group that has rows |
/// | every other | 16 bytes a group, 24 for NE |
#[derive(Debug, Clone)]
pub struct Ranked {
    kind: LabelKind,
    groups: usize,
    /// Whether every score is a number.
    comparable: bool,
    /// What it was ranked for, ascending.
    wanted: Vec<Metric>,
    order: Option<Order>,
    prepared: Vec<(Metric, Prepared)>,
}

impl Ranked {
    /// How many groups the rows belong to.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// AUC, ties counted half. `None` unless both classes are present and every score is a number.
    ///
    /// # Panics
    /// When it was not ranked for it, as all the others.
    pub fn auc(&self) -> Option<f64> {
        self.metric(Metric::Auc)
    }

    /// AUC with every row as often as the weight of its group says, groups in the order of their first row in the sample:
    /// `sum_ij w_i w_j [s_i > s_j] / sum_ij w_i w_j` over positives `i` and negatives `j`, equal scores counted half.
    ///
    /// # Panics
    /// When it was not ranked for AUC.
    pub fn weighted_auc<W: Copy + Into<u64>>(&self, weights: &[W]) -> Option<f64> {
        self.is_defined(Metric::Auc).then_some(self.order.as_ref()).flatten()?.auc(weights)
    }

    /// AUC within groups: `sum_g n_g AUC_g / sum_g n_g` over the groups with both classes. `None` when there is none, or a score is
    /// no number.
    ///
    /// # Panics
    /// When it was not ranked for it.
    pub fn gauc(&self) -> Option<f64> {
        self.metric(Metric::Gauc)
    }

    /// Mean cross-entropy of scores that are probabilities, in nats. `None` without rows, or when a score is no number.
    ///
    /// # Panics
    /// When it was not ranked for it.
    pub fn logloss(&self) -> Option<f64> {
        self.metric(Metric::Logloss)
    }

    /// The metric of that name. `None` where it is undefined: no rows, one class, no group with a positive, a score that is no number,
    /// a metric that says nothing of such labels.
    ///
    /// # Panics
    /// When it was not ranked for it ([`Sample::rank_for`]).
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        let value = match self.found(metric) {
            Measure::Prepared(prepared) => prepared.whole(self.groups),
            other => other.value(&vec![1; self.groups]),
        };
        value.filter(|value| value.is_finite())
    }

    /// A metric, to be measured again and again under weights of the groups.
    ///
    /// # Panics
    /// When it was not ranked for it.
    pub(super) fn measure(&self, metric: Metric) -> Measure<'_> {
        let measure = self.found(metric);
        if let Measure::Prepared(prepared) = measure {
            prepared.make_ready();
        }
        measure
    }

    fn found(&self, metric: Metric) -> Measure<'_> {
        if !self.is_defined(metric) {
            return Measure::Undefined;
        }
        match (metric, &self.order) {
            (Metric::Auc | Metric::Xauc, Some(order)) if by_order(metric, self.kind) => Measure::Auc(order),
            (Metric::PrAuc, Some(order)) => Measure::AveragePrecision(order),
            (Metric::Gauc, Some(order)) => Measure::Own(Prepared::Mean(order.auc_by_group())),
            _ => {
                let found = self.prepared.binary_search_by_key(&metric, |(own, _)| *own);
                Measure::Prepared(&self.prepared[found.expect("everything wanted is prepared")].1)
            }
        }
    }

    /// Whether scores and labels are such that the metric may have a value.
    fn is_defined(&self, metric: Metric) -> bool {
        let applies = metric.applies_to(self.kind);
        assert!(
            !applies || self.wanted.contains(&metric),
            "{metric} is asked of scores that were ranked for {:?}: name it in Sample::rank_for",
            self.wanted
        );
        applies && self.comparable
    }
}

/// A metric of one model, under any weights of the groups.
pub(super) enum Measure<'a> {
    Auc(&'a Order),
    AveragePrecision(&'a Order),
    Prepared(&'a Prepared),
    Own(Prepared),
    Undefined,
}

impl Measure<'_> {
    /// With every group as often as it is counted.
    pub(super) fn value(&self, counts: &[u8]) -> Option<f64> {
        let value = match self {
            Self::Auc(order) => order.auc(counts),
            Self::AveragePrecision(order) => order.average_precision(counts),
            Self::Prepared(prepared) => prepared.value(counts),
            Self::Own(prepared) => prepared.value(counts),
            Self::Undefined => None,
        };
        value.filter(|value| value.is_finite())
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

    /// Groups in the place of scores.
    fn of_groups(groups: &[u32]) -> Vec<f32> {
        groups.iter().map(|&group| group as f32).collect()
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
                let of_rows = sample.rows(&of_groups(groups)).map(|(group, _)| group as usize - 100).collect::<Vec<_>>();
                for (group, mark) in of_rows.into_iter().zip(sample.marks()) {
                    counts[(mark >> 1) as usize] = drawn[group];
                }
                counts
            };
            prop_assert!(close(a.weighted_auc(&of_sample(&weighted, &groups)), b.weighted_auc(&of_sample(&plain, &g))));
            let [a, b] = [(&weighted, &scores), (&plain, &s)].map(|(sample, scores)| TaskMetrics::on(sample, scores, &[]));
            prop_assert!(close(a.calibration, b.calibration) && close(a.logloss, b.logloss));
        }
    }

    #[test]
    fn every_metric_is_the_one_of_the_tables() {
        let (scores, labels) = ([0.1, 0.9, 0.4, 0.6, 0.3], [0.0, 1.0, 1.0, 0.0, f32::NAN]);
        let sample = Sample::new(&labels, &[0, 0, 1, 1, 1], None);
        let (ranked, table) = (sample.rank(&scores), crate::metrics::TaskMetrics::on(&sample, &scores, &[]));
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
