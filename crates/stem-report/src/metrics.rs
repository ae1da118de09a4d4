//! Exact, sort-based metrics of one task. Undefined is `None`, written as a dash.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};

use crate::analysis::{LabelKind, Metric, Sample};

/// All metrics of one task on one split. Rows without a label take no part.
///
/// In files it is one object: `{"auc":0.7,"gauc":null,"logloss":0.5,"calibration":1.01,"pr-auc":0.4,"ndcg@10":0.6}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Area under the ROC curve, ties counted half. `None` with one class only, and of labels that are numbers.
    pub auc: Option<f64>,
    /// `sum_u n_u AUC_u / sum_u n_u` over groups with both classes. `None` without groups, or without such a group, and of labels that are
    /// numbers.
    pub gauc: Option<f64>,
    /// Mean of `-y log p - (1 - y) log(1 - p)`, in nats. `None` without rows, and of labels that are numbers.
    pub logloss: Option<f64>,
    /// Mean prediction over mean label; 1 is calibrated. `None` where the labels do not add up to more than 0.
    pub calibration: Option<f64>,
    /// What else was asked for and is defined.
    #[serde(flatten, deserialize_with = "defined")]
    pub others: BTreeMap<Metric, f64>,
}

/// The metrics of an object that have a value.
fn defined<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Metric, f64>, D::Error> {
    let all = BTreeMap::<Metric, Option<f64>>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect())
}

impl TaskMetrics {
    /// One of them. `None` where it is undefined or was not asked for.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc,
            Metric::Gauc => self.gauc,
            Metric::Logloss => self.logloss,
            other => self.others.get(&other).copied(),
        }
    }

    /// One of them, turned so that more is better.
    pub fn goodness(&self, metric: Metric) -> Option<f64> {
        self.get(metric).map(|value| metric.goodness(value))
    }

    /// Measures predictions against labels (NaN is missing), both of one task, in the four fields and in the metrics of `also` that apply
    /// to labels of that kind; `groups` are the rows' users. A prediction that is no number leaves all but logloss and calibration
    /// undefined. With `weights` a row counts as often as its weight says, in every metric.
    ///
    /// ```
    /// # use stem_report::{analysis::{LabelKind, Metric}, metrics::TaskMetrics};
    /// let (predicted, seconds) = ([4.0, 1.0, 2.5], [6.0, 0.0, 3.0]);
    /// let also = [Metric::Mae, Metric::Xauc];
    /// let watched = TaskMetrics::measure(LabelKind::Value, &predicted, &seconds, None, None, &also);
    /// assert_eq!((watched.get(Metric::Mae), watched.get(Metric::Xauc), watched.auc), (Some(3.5 / 3.0), Some(1.0), None));
    /// ```
    ///
    /// # Panics
    /// When the slices differ in length, or there are 2^31 rows or more.
    pub fn measure(
        kind: LabelKind,
        scores: &[f32],
        labels: &[f32],
        groups: Option<&[u32]>,
        weights: Option<&[f32]>,
        also: &[Metric],
    ) -> Self {
        assert_eq!(scores.len(), labels.len(), "every score has a label");
        let sample = Sample::of(kind, labels, groups, None).weighted(weights);
        let also = also.iter().filter(|metric| groups.is_some() || !metric.needs_groups());
        let all = Self::on(&sample, scores, &also.copied().collect::<Vec<_>>());
        Self { gauc: all.gauc.filter(|_| groups.is_some()), ..all }
    }

    /// The four fields of a task with labels 0 and 1, as [`measure`](Self::measure).
    ///
    /// # Panics
    /// When the slices differ in length, or there are 2^31 rows or more.
    pub fn of(scores: &[f32], labels: &[f32], groups: Option<&[u32]>, weights: Option<&[f32]>) -> Self {
        Self::measure(LabelKind::Binary, scores, labels, groups, weights, &[])
    }

    /// Measures predictions on the rows of a sample, as [`measure`](Self::measure); `scores` are those of all rows.
    pub fn on(sample: &Sample, scores: &[f32], also: &[Metric]) -> Self {
        let fields = [Metric::Auc, Metric::Gauc];
        let also = || also.iter().copied().filter(|metric| !Metric::ALL.contains(metric));
        let ranked = sample.rank_for(scores, &fields.into_iter().chain(also()).collect::<Vec<_>>());
        let rows = || sample.rows(scores).zip(sample.labels()).zip(sample.weights());
        let sum = |of: &dyn Fn(f32, f32) -> f64| rows().map(|(((p, _), y), weight)| weight * of(p, y)).sum::<f64>();
        let (weights, labels) = (sum(&|_, _| 1.0), sum(&|_, y| f64::from(y)));
        let has_logloss = Metric::Logloss.applies_to(sample.kind()) && weights > 0.0;
        Self {
            auc: ranked.auc(),
            gauc: ranked.gauc(),
            logloss: has_logloss.then(|| sum(&|p, y| loss(p, y > 0.5)) / weights),
            calibration: (labels > 0.0 && sample.kind() != LabelKind::Class)
                .then(|| sum(&|p, _| f64::from(p)) / labels),
            others: also().filter_map(|metric| Some((metric, ranked.metric(metric)?))).collect(),
        }
    }

    /// Measures every task of a split, `also` being what else is wanted of a kind of labels
    /// ([`Metric::usual`]): `scores` and `labels` are `[N, T]`, row-major; `kinds [T]`, `weights [N]`.
    pub fn per_task(
        kinds: &[LabelKind],
        scores: &[f32],
        labels: &[f32],
        groups: Option<&[u32]>,
        weights: Option<&[f32]>,
        also: impl Fn(LabelKind) -> Vec<Metric> + Sync,
    ) -> Vec<Self> {
        let of = |values, t: usize| column(values, t, kinds.len()).copied().collect::<Vec<f32>>();
        let task = |(t, &kind): (usize, &LabelKind)| {
            Self::measure(kind, &of(scores, t), &of(labels, t), groups, weights, &also(kind))
        };
        kinds.par_iter().enumerate().map(task).collect()
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
        let others = [(Metric::Rmse, 2.0), (Metric::Ndcg(5), 0.3)].into();
        let m = TaskMetrics { auc: Some(0.7), gauc: Some(0.6), logloss: Some(0.5), calibration: Some(1.1), others };
        let all = [Metric::Auc, Metric::Gauc, Metric::Logloss, Metric::Rmse, Metric::Ndcg(5), Metric::Ndcg(6)];
        assert_eq!(all.map(|metric| m.get(metric)), [Some(0.7), Some(0.6), Some(0.5), Some(2.0), Some(0.3), None]);
        assert_eq!(all.map(|metric| m.goodness(metric))[2..5], [Some(-0.5), Some(-2.0), Some(0.3)]);
        let sure = TaskMetrics::of(&[0.9, 0.8, 0.3], &[1.0, 1.0, 0.0], None, None); // 2.0 predicted, 2 positives
        assert!((sure.calibration.unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn every_task_is_measured_on_its_own_column() {
        let scores = [0.9, 0.1, 0.2, 0.3, 0.7, 0.2]; // [3, 2]
        let labels = [1.0, 1.0, 0.0, 0.0, 1.0, f32::NAN];
        assert!(column(&scores, 1, 2).eq(&[0.1, 0.3, 0.2]));
        let found =
            TaskMetrics::per_task(&[LabelKind::Binary; 2], &scores, &labels, Some(&[4, 4, 5]), None, |_| vec![]);
        assert_eq!(found[0], TaskMetrics::of(&[0.9, 0.2, 0.7], &[1.0, 0.0, 1.0], Some(&[4, 4, 5]), None));
        assert_eq!(found[1], TaskMetrics::of(&[0.1, 0.3], &[1.0, 0.0], Some(&[4, 4]), None));
        assert_eq!((found[0].auc, found[1].auc, found[1].gauc), (Some(1.0), Some(0.0), Some(0.0)));
        let kinds = [LabelKind::Value, LabelKind::Binary];
        let found = TaskMetrics::per_task(&kinds, &scores, &labels, Some(&[4, 4, 5]), None, Metric::usual);
        assert_eq!((found[0].auc, found[0].get(Metric::Xauc), found[0].get(Metric::Ece)), (None, Some(1.0), None));
        assert_eq!((found[1].auc, found[1].get(Metric::Xauc)), (Some(0.0), None));
        assert!(found[1].get(Metric::Ece).is_some() && found[1].get(Metric::Ndcg(10)).is_some());
    }

    #[test]
    fn a_task_of_numbers_has_its_own_metrics_and_no_others() {
        let (scores, labels) = ([30.0, 10.0, 5.0], [20.0, 0.0, 10.0]);
        let all = [Metric::Auc, Metric::Logloss, Metric::Ece, Metric::Rmse, Metric::Mae, Metric::Xauc, Metric::Mrr];
        let m = TaskMetrics::measure(LabelKind::Value, &scores, &labels, Some(&[1, 1, 2]), None, &all);
        assert_eq!((m.auc, m.gauc, m.logloss, m.calibration), (None, None, None, Some(1.5)));
        assert_eq!(
            m.others.keys().copied().collect::<Vec<_>>(),
            [Metric::Mrr, Metric::Xauc, Metric::Rmse, Metric::Mae]
        );
        assert_eq!(m.get(Metric::Xauc), Some(2.0 / 3.0));
        let ungrouped = TaskMetrics::measure(LabelKind::Value, &scores, &labels, None, None, &all);
        assert_eq!((ungrouped.get(Metric::Mrr), ungrouped.get(Metric::Mae)), (None, m.get(Metric::Mae)));
        let unpaid = TaskMetrics::measure(LabelKind::Value, &scores, &[0.0; 3], None, None, &all);
        assert_eq!((unpaid.calibration, unpaid.get(Metric::Xauc), unpaid.get(Metric::Mae)), (None, None, Some(15.0)));
    }

    #[test]
    fn metrics_are_one_object_in_files_and_files_of_before_are_read() {
        let before = r#"{"auc":0.7,"gauc":null,"logloss":0.5,"calibration":1.01}"#;
        let m: TaskMetrics = serde_json::from_str(before).unwrap();
        assert_eq!(
            m,
            TaskMetrics { auc: Some(0.7), logloss: Some(0.5), calibration: Some(1.01), ..Default::default() }
        );
        assert_eq!(serde_json::to_string(&m).unwrap(), before, "nothing is written that was not measured");
        let m = TaskMetrics { others: [(Metric::Ndcg(10), 0.6), (Metric::PrAuc, 0.4)].into(), ..m };
        let text = serde_json::to_string(&m).unwrap();
        assert_eq!(text, format!("{},{}", &before[..before.len() - 1], r#""pr-auc":0.4,"ndcg@10":0.6}"#));
        assert_eq!(serde_json::from_str::<TaskMetrics>(&text).unwrap(), m);
        let with_null = text.replace("0.4", "null");
        assert_eq!(serde_json::from_str::<TaskMetrics>(&with_null).unwrap().get(Metric::PrAuc), None);
    }
}
