//! Exact, sort-based metrics of one task. Undefined is `None`, written as a dash.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::analysis::{Metric, Sample};

/// All metrics of one task on one split. Rows without a label take no part.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Area under the ROC curve, ties counted half. `None` with one class only.
    pub auc: Option<f64>,
    /// `sum_u n_u AUC_u / sum_u n_u` over groups with both classes. `None` without groups, or without such a group.
    pub gauc: Option<f64>,
    /// Mean of `-y log p - (1 - y) log(1 - p)`, in nats. `None` without rows.
    pub logloss: Option<f64>,
    /// Mean prediction over mean label; 1 is calibrated. `None` without a positive.
    pub calibration: Option<f64>,
}

impl TaskMetrics {
    /// One of them.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc,
            Metric::Gauc => self.gauc,
            Metric::Logloss => self.logloss,
        }
    }

    /// One of them, turned so that more is better.
    pub fn goodness(&self, metric: Metric) -> Option<f64> {
        self.get(metric).map(|value| metric.goodness(value))
    }

    /// Measures probabilities against labels (NaN is missing), both of one task; `groups` are the rows' users. A probability that is
    /// no number leaves AUC and gAUC undefined. With `weights` a row counts as often as its weight says, in every metric.
    ///
    /// # Panics
    /// When the slices differ in length, or there are 2^31 rows or more.
    pub fn of(scores: &[f32], labels: &[f32], groups: Option<&[u32]>, weights: Option<&[f32]>) -> Self {
        let sample = groups.map_or_else(|| Sample::ungrouped(labels), |groups| Sample::new(labels, groups, None));
        let all = Self::on(&sample.weighted(weights), scores);
        Self { gauc: all.gauc.filter(|_| groups.is_some()), ..all }
    }

    /// Measures probabilities on the rows of a sample; `scores` are those of all rows.
    pub fn on(sample: &Sample, scores: &[f32]) -> Self {
        let ranked = sample.rank(scores);
        let rows = || sample.rows(scores).zip(sample.weights()).map(|((p, y), weight)| (p, y, weight));
        let mean = |of: fn(f32, bool) -> f64| rows().map(|(p, y, weight)| weight * of(p, y)).sum::<f64>();
        let (weights, positives) = (mean(|_, _| 1.0), mean(|_, y| f64::from(u8::from(y))));
        Self {
            auc: ranked.auc(),
            gauc: ranked.gauc(),
            logloss: (weights > 0.0).then(|| mean(loss) / weights),
            calibration: (positives > 0.0).then(|| mean(|p, _| f64::from(p)) / positives),
        }
    }

    /// Measures every task of a split: `scores` and `labels` are `[N, T]`, row-major; `weights [N]`.
    pub fn per_task(
        scores: &[f32],
        labels: &[f32],
        groups: Option<&[u32]>,
        weights: Option<&[f32]>,
        tasks: usize,
    ) -> Vec<Self> {
        let of = |values, t: usize| column(values, t, tasks).copied().collect::<Vec<f32>>();
        (0..tasks).into_par_iter().map(|t| Self::of(&of(scores, t), &of(labels, t), groups, weights)).collect()
    }
}

/// Column `t` of `values [N, T]`, row-major.
pub fn column(values: &[f32], t: usize, tasks: usize) -> impl Iterator<Item = &f32> {
    values.iter().skip(t).step_by(tasks)
}

/// Cross-entropy of one row, in nats; the probability is kept `1e-7` away from 0 and 1.
pub(crate) fn loss(p: f32, y: bool) -> f64 {
    let p = f64::from(p).clamp(1e-7, 1.0 - 1e-7);
    -(if y { p } else { 1.0 - p }).ln()
}

/// Four decimals, or a dash.
pub fn four_decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_metrics_are_none_and_written_as_a_dash() {
        let one_class = TaskMetrics::of(&[0.2, 0.7], &[0.0, 0.0], Some(&[0, 0]), None);
        assert_eq!((one_class.auc, one_class.gauc, one_class.calibration), (None, None, None));
        assert!(one_class.logloss.is_some());
        assert_eq!(TaskMetrics::of(&[], &[], None, None), TaskMetrics::default());
        assert_eq!(four_decimals(None), "-");
    }

    #[test]
    fn missing_labels_take_no_part() {
        let all = TaskMetrics::of(&[0.9, 0.1, 0.8], &[1.0, 0.0, f32::NAN], Some(&[0, 0, 0]), None);
        assert_eq!(all, TaskMetrics::of(&[0.9, 0.1], &[1.0, 0.0], Some(&[0, 0]), None));
    }

    #[test]
    fn logloss_and_calibration_are_the_textbook_numbers() {
        let m = TaskMetrics::of(&[0.5, 0.25], &[1.0, 0.0], None, None);
        assert!((m.logloss.unwrap() - (2f64.ln() + (4.0f64 / 3.0).ln()) / 2.0).abs() < 1e-12);
        assert_eq!(m.calibration, Some(0.75));
        let limit = -1e-7f64.ln();
        for (score, label) in [(0.0, true), (1.0, false)] {
            assert!((loss(score, label) - limit).abs() < 1e-6, "kept 1e-7 away from both ends");
        }
        assert_eq!(four_decimals(Some(0.123_456)), "0.1235");
    }

    #[test]
    fn a_metric_is_got_by_name_and_more_of_its_goodness_is_better() {
        let m = TaskMetrics { auc: Some(0.7), gauc: Some(0.6), logloss: Some(0.5), calibration: Some(1.1) };
        assert_eq!(Metric::ALL.map(|metric| m.get(metric)), [Some(0.7), Some(0.6), Some(0.5)]);
        assert_eq!(Metric::ALL.map(|metric| m.goodness(metric)), [Some(0.7), Some(0.6), Some(-0.5)]);
        let sure = TaskMetrics::of(&[0.9, 0.8, 0.3], &[1.0, 1.0, 0.0], None, None); // 2.0 predicted, 2 positives
        assert!((sure.calibration.unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn every_task_is_measured_on_its_own_column() {
        let scores = [0.9, 0.1, 0.2, 0.3, 0.7, 0.2]; // [3, 2]
        let labels = [1.0, 1.0, 0.0, 0.0, 1.0, f32::NAN];
        assert!(column(&scores, 1, 2).eq(&[0.1, 0.3, 0.2]));
        let found = TaskMetrics::per_task(&scores, &labels, Some(&[4, 4, 5]), None, 2);
        assert_eq!(found[0], TaskMetrics::of(&[0.9, 0.2, 0.7], &[1.0, 0.0, 1.0], Some(&[4, 4, 5]), None));
        assert_eq!(found[1], TaskMetrics::of(&[0.1, 0.3], &[1.0, 0.0], Some(&[4, 4]), None));
        assert_eq!((found[0].auc, found[1].auc, found[1].gauc), (Some(1.0), Some(0.0), Some(0.0)));
    }
}
