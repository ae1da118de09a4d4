//! Whether one model is no worse than another, on the same rows.

use stem_data::{Dataset, Split};
use stem_report::analysis::{Metric, Sample};
use stem_report::metrics::TaskMetrics;
use stem_report::report::{GateReport, GateTask, GateVerdict};

use super::quality::{groups, of_task};
use super::{EvaluateOptions, Measurement, unlike};
use crate::compare::metrics_of;
use crate::error::Result;

/// The scores of another model with the tasks in the order of the data set's. `[N, T]`
///
/// # Errors
/// Rows, labels or tasks that are not the same.
pub(super) fn in_order_of(dataset: &Dataset, other: &Measurement<'_>, scores: Vec<f32>) -> Result<Vec<f32>> {
    let (tasks, others) = (dataset.schema().task_names(), other.dataset.schema().task_names());
    let place = |task: &String| {
        let missing = || unlike(format!("{} does not score '{task}', it scores {}", other.name, others.join(", ")));
        others.iter().position(|name| name == task).ok_or_else(missing)
    };
    let places = tasks.iter().map(place).collect::<Result<Vec<usize>>>()?;
    let rows = [dataset, other.dataset].map(|dataset| dataset.rows(Split::Test));
    if rows[0] != rows[1] {
        return Err(unlike(format!("{} rows for one and {} for {}", rows[0], rows[1], other.name)));
    }
    let take = |values: &[f32]| -> Vec<f32> {
        values.chunks_exact(others.len()).flat_map(|row| places.iter().map(|&place| row[place])).collect()
    };
    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    if !dataset.labels(Split::Test).iter().zip(&take(other.dataset.labels(Split::Test))).all(same) {
        return Err(unlike(format!("the labels of the rows differ between the two and {}", other.name)));
    }
    Ok(take(&scores))
}

/// The gains of `scores` over `others`, both `[N, T]`.
pub(super) fn gate(
    against: &str,
    scores: &[f32],
    others: &[f32],
    dataset: &Dataset,
    options: &EvaluateOptions,
) -> GateReport {
    let EvaluateOptions { margin, bootstrap, .. } = options;
    let metrics = metrics_of(dataset, options.metric, &options.metrics);
    let groups = groups(dataset);
    let tasks = dataset.schema().tasks.iter().enumerate().map(|(t, task)| {
        let is_defined = !metrics[t].needs_groups() || dataset.schema().group.is_some();
        let kind = dataset.label_kinds()[t];
        let metric = if is_defined { metrics[t] } else { Metric::plain(kind) };
        let sample = Sample::of(kind, &of_task(dataset.labels(Split::Test), t, dataset), Some(&groups), None);
        let sample = sample.weighted(dataset.weights(Split::Test));
        let rank = |scores: &[f32]| sample.rank_for(&of_task(scores, t, dataset), &[metric]);
        let gain = bootstrap.paired_by(metric, &[rank(others)], &[vec![rank(scores)]]);
        let gain = gain.into_iter().next().flatten().map(|difference| difference.users);
        // Of what has a unit the margin is a part of the other's value.
        let other = || TaskMetrics::on(&sample, &of_task(others, t, dataset), &[metric]).get(metric).unwrap_or(0.0);
        let margin = if matches!(metric, Metric::Rmse | Metric::Mae) { margin * other() } else { *margin };
        GateTask { task: task.name.clone(), metric, gain, verdict: GateVerdict::of(gain, margin) }
    });
    let tasks: Vec<GateTask> = tasks.collect();
    let passed = tasks.iter().all(|task| task.verdict.passes());
    GateReport { against: against.into(), metric: options.metric, margin: *margin, tasks, passed }
}
