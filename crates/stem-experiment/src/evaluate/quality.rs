//! Metrics of every task, of all rows and of slices.

use std::collections::BTreeMap;

use stem_data::{Dataset, Split};
use stem_report::analysis::{Bootstrap, LabelKind, Metric, Sample, calibration_curve};
use stem_report::metrics::{TaskMetrics, column};
use stem_report::report::{MeasuredSlice, MeasuredTask};

/// Calibration is told of tenths of the rows.
const DECILES: usize = 10;

/// One column of values `[N, T]`. `[N]`
pub(super) fn of_task(values: &[f32], t: usize, dataset: &Dataset) -> Vec<f32> {
    column(values, t, dataset.schema().tasks.len()).copied().collect()
}

/// The groups of the rows; where there are none each row is its own.
pub(super) fn groups(dataset: &Dataset) -> Vec<u32> {
    dataset.groups(Split::Test).map_or_else(|| (0..dataset.rows(Split::Test) as u32).collect(), <[u32]>::to_vec)
}

/// Of all rows. `scores [N, T]`
pub(super) fn tasks(scores: &[f32], dataset: &Dataset, bootstrap: &Bootstrap) -> Vec<MeasuredTask> {
    let (groups, weights) = (groups(dataset), dataset.weights(Split::Test));
    let tasks = dataset.schema().tasks.iter().enumerate().map(|(t, task)| {
        let (scores, labels) = (of_task(scores, t, dataset), of_task(dataset.labels(Split::Test), t, dataset));
        let kind = dataset.label_kinds()[t];
        let sample = Sample::of(kind, &labels, Some(&groups), None).weighted(weights);
        let usual = Metric::ALL.into_iter().filter(|metric| metric.applies_to(kind)).chain(Metric::usual(kind));
        let usual = usual.filter(|metric| !metric.needs_groups() || dataset.schema().group.is_some());
        let usual: Vec<Metric> = usual.collect();
        let ranked = sample.rank_for(&scores, &usual);
        let intervals = usual.into_iter();
        let intervals = intervals.filter_map(|metric| Some((metric, bootstrap.interval(metric, &ranked)?)));
        MeasuredTask {
            intervals: intervals.collect::<BTreeMap<_, _>>(),
            deciles: match kind {
                LabelKind::Binary => calibration_curve(&scores, &labels, weights, DECILES).unwrap_or_default(),
                LabelKind::Value | LabelKind::Class => Vec::new(),
            },
            ..measured((&task.name, kind), &scores, &labels, dataset.groups(Split::Test), weights)
        }
    });
    tasks.collect()
}

fn measured(
    (task, kind): (&str, LabelKind),
    scores: &[f32],
    labels: &[f32],
    groups: Option<&[u32]>,
    weights: Option<&[f32]>,
) -> MeasuredTask {
    MeasuredTask {
        task: task.into(),
        kind,
        rows: labels.iter().filter(|label| !label.is_nan()).count(),
        positives: labels.iter().filter(|label| kind.is_positive(**label)).count(),
        metrics: TaskMetrics::measure(kind, scores, labels, groups, weights, &Metric::usual(kind)),
        ..MeasuredTask::default()
    }
}

/// Of the rows of each value of each column that rows are cut by; the values with the most rows first.
pub(super) fn slices(scores: &[f32], dataset: &Dataset) -> Vec<MeasuredSlice> {
    let (labels, groups) = (dataset.labels(Split::Test), dataset.groups(Split::Test));
    let weights = dataset.weights(Split::Test);
    let (tasks, kinds) = (dataset.schema().tasks.len(), dataset.label_kinds());
    let mut all = Vec::new();
    for (slice, codes) in dataset.slices(Split::Test) {
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); slice.values.len()];
        codes.iter().enumerate().for_each(|(row, &code)| rows[code as usize].push(row));
        let mut own: Vec<(&String, Vec<usize>)> = slice.values.iter().zip(rows).collect();
        own.retain(|(_, rows)| !rows.is_empty());
        own.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        for (value, rows) in own {
            let of = |values: &[f32], t: usize| rows.iter().map(|row| values[row * tasks + t]).collect::<Vec<f32>>();
            let groups = groups.map(|groups| rows.iter().map(|&row| groups[row]).collect::<Vec<u32>>());
            let weights = weights.map(|weights| rows.iter().map(|&row| weights[row]).collect::<Vec<f32>>());
            let measured = dataset.schema().tasks.iter().enumerate().map(|(t, task)| {
                let named = (task.name.as_str(), kinds[t]);
                measured(named, &of(scores, t), &of(labels, t), groups.as_deref(), weights.as_deref())
            });
            let tasks = measured.collect();
            all.push(MeasuredSlice { column: slice.column.clone(), value: value.clone(), rows: rows.len(), tasks });
        }
    }
    all
}
