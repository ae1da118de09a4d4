//! How good a model is on a task of the test split, over its seeds.

use stem_data::{Dataset, Split};

use crate::measured::metrics_for;

use stem_report::analysis::{LabelKind, Metric, calibration_curve, roc_curve};
use stem_report::metrics::{TaskMetrics, column};
use stem_report::report::{Spread, TaskReport};

/// Points of a ROC curve, bins of a calibration curve: what a picture shows.
const ROC_POINTS: usize = 120;
const CALIBRATION_BINS: usize = 12;

/// Mean and standard deviation (of a sample) over seeds. `None` without seeds, and where a seed has no value: a mean over fewer seeds
/// than another model's, or another row's, is no number to compare.
pub(crate) fn spread(values: impl IntoIterator<Item = Option<f64>>) -> Option<Spread> {
    let values = values.into_iter().collect::<Option<Vec<f64>>>().filter(|values| !values.is_empty())?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = if values.len() > 1 { (squares / (values.len() - 1) as f64).sqrt() } else { 0.0 };
    Some(Spread { mean, sd, values })
}

/// AUC, gAUC, logloss and calibration over seeds.
pub(crate) fn spreads(seeds: &[TaskMetrics]) -> [Option<Spread>; 4] {
    let of = |metric: fn(&TaskMetrics) -> Option<f64>| spread(seeds.iter().map(metric));
    [of(|m| m.auc), of(|m| m.gauc), of(|m| m.logloss), of(|m| m.calibration)]
}

/// Metrics over the seeds, and the curves of the first: `seeds` are `[N, T]` scores of the test split.
pub(crate) fn task_report(seeds: &[Vec<f32>], dataset: &Dataset, t: usize, also: &[Metric]) -> TaskReport {
    let of_task = |values| column(values, t, dataset.schema().tasks.len()).copied().collect::<Vec<f32>>();
    let (labels, groups) = (of_task(dataset.labels(Split::Test)), dataset.groups(Split::Test));
    let weights = dataset.weights(Split::Test);
    let columns: Vec<Vec<f32>> = seeds.iter().map(|scores| of_task(scores)).collect();
    let kind = dataset.label_kinds()[t];
    let usual = metrics_for(kind, also);
    let metrics = columns.iter().map(|scores| TaskMetrics::measure(kind, scores, &labels, groups, weights, &usual));
    let metrics: Vec<TaskMetrics> = metrics.collect();
    let [auc, gauc, logloss, calibration] = spreads(&metrics);
    let others = usual.iter().filter_map(|metric| Some((*metric, spread(metrics.iter().map(|m| m.get(*metric)))?)));
    let others = others.collect();
    let first = columns.first().filter(|_| kind == LabelKind::Binary);
    let roc = first.and_then(|scores| roc_curve(scores, &labels, weights, ROC_POINTS)).unwrap_or_default();
    let bins = first.and_then(|scores| calibration_curve(scores, &labels, weights, CALIBRATION_BINS));
    let calibration_curve = bins.unwrap_or_default();
    TaskReport { kind, auc, gauc, logloss, calibration, others, roc, calibration_curve, ..TaskReport::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_a_sample_and_needs_a_value_of_every_seed() {
        let found = spread([Some(0.5), Some(0.7)]).unwrap();
        assert!((found.mean - 0.6).abs() < 1e-12 && (found.sd - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!(found.values, [0.5, 0.7]);
        assert_eq!((spread([None]), spread([Some(0.5), None]), spread([])), (None, None, None));
        assert_eq!(spread([Some(0.5)]).unwrap().sd, 0.0);
    }
}
