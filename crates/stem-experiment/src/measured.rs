//! What a run comes to: its metrics, and the scores that they are of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stem_core::models::ModelSpec;
use stem_core::{Batch, DeviceSpec, Predictor};
use stem_data::{BatchPlan, Dataset, Split};
use stem_report::analysis::{LabelKind, Metric};
use stem_report::metrics::TaskMetrics;
use stem_train::{FitSummary, Moment};

use crate::error::Result;

/// What a run writes to `metrics.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunMetrics {
    /// Name of the model.
    pub model: String,
    /// Seed of weights, shuffling and dropout.
    pub seed: u64,
    /// Device it was trained on.
    pub device: DeviceSpec,
    /// Epochs that were run; of single-task, the most of any task.
    pub epochs: usize,
    /// The moment of the training whose weights each task is scored with.
    #[serde(default)]
    pub kept: BTreeMap<String, Moment>,
    /// Seconds in training steps.
    pub seconds: f64,
    /// Training rows a second.
    pub rows_per_second: f64,
    /// Parameters of a state, table included.
    pub parameters: usize,
    /// States that the bundle holds: moments of the training that were the best of some tasks.
    #[serde(default = "one")]
    pub states: usize,
    /// Bytes that table, optimizer state and a batch take, as planned before training.
    #[serde(default)]
    pub memory: u64,
    /// Whether it was asked to stop early.
    pub interrupted: bool,
    /// Tasks in the recipe's order.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// Those whose label is a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,
    /// Those whose label is a class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// By task, on the test split.
    pub test: BTreeMap<String, TaskMetrics>,
    /// By task, on the validation split.
    pub valid: BTreeMap<String, TaskMetrics>,
    /// By task, on the test split, had one moment been kept for all tasks; empty where that is so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joint_test: BTreeMap<String, TaskMetrics>,
    /// By task, on the test split, before the scores were calibrated; empty where they are not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uncalibrated_test: BTreeMap<String, TaskMetrics>,
}

fn one() -> usize {
    1
}

impl RunMetrics {
    /// What a training says of itself; nothing is measured yet.
    pub(crate) fn of_summary(summary: FitSummary) -> Self {
        let FitSummary { epochs, kept, seconds, rows_per_second, parameters, memory, interrupted, .. } = summary;
        Self { epochs, kept, seconds, rows_per_second, parameters, memory, interrupted, ..Self::default() }
    }
}

/// What a run leaves in memory.
#[derive(Debug)]
pub(crate) struct Measured<C: ModelSpec> {
    /// All that was measured.
    pub metrics: RunMetrics,
    /// What was trained.
    pub predictor: Predictor<C>,
    /// Probabilities of the test split. `[N, T]`
    pub scores: Vec<f32>,
}

/// Metrics of every task on a split, from a predictor.
///
/// # Errors
/// Batches that do not read.
pub fn measure<C: ModelSpec>(
    predictor: &Predictor<C>,
    dataset: &Dataset,
    split: Split,
) -> Result<BTreeMap<String, TaskMetrics>> {
    measure_in(predictor, dataset, split, &[])
}

/// The same, in these metrics too.
pub(crate) fn measure_in<C: ModelSpec>(
    predictor: &Predictor<C>,
    dataset: &Dataset,
    split: Split,
    also: &[Metric],
) -> Result<BTreeMap<String, TaskMetrics>> {
    Ok(by_task(&score_split(predictor, dataset, split)?, dataset, split, also))
}

/// What a task is measured in: the usual, and what else is asked for and says something of its labels.
pub(crate) fn metrics_for(kind: LabelKind, also: &[Metric]) -> Vec<Metric> {
    let mut metrics = Metric::usual(kind);
    for metric in also.iter().filter(|metric| metric.applies_to(kind)) {
        if !metrics.contains(metric) {
            metrics.push(*metric);
        }
    }
    metrics
}

/// Metrics of every task, from scores `[N, T]` of a split.
pub(crate) fn by_task(
    scores: &[f32],
    dataset: &Dataset,
    split: Split,
    also: &[Metric],
) -> BTreeMap<String, TaskMetrics> {
    let tasks = dataset.schema().task_names();
    let metrics = TaskMetrics::per_task(
        &dataset.label_kinds(),
        scores,
        dataset.labels(split),
        dataset.groups(split),
        dataset.weights(split),
        |kind| metrics_for(kind, also),
    );
    tasks.into_iter().zip(metrics).collect()
}

/// Probabilities of every row of a split, in order. `[N, T]`, row-major.
pub(crate) fn score_split<C: ModelSpec>(predictor: &Predictor<C>, dataset: &Dataset, split: Split) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(dataset.rows(split) * dataset.schema().tasks.len());
    for (_, batch) in in_order(dataset, split) {
        predictor.score(&batch)?.rows().for_each(|row| scores.extend_from_slice(row));
    }
    Ok(scores)
}

/// The batches of a split in order, each with the place of its first row.
pub(crate) fn in_order(dataset: &Dataset, split: Split) -> impl Iterator<Item = (usize, Batch)> {
    let mut next = 0;
    dataset.batches(split, BatchPlan { size: 8192, shuffle: None }).map(move |batch| {
        let first = next;
        next += batch.rows;
        (first, batch)
    })
}

/// Names of the tasks whose label is of a kind.
pub(crate) fn of_kind(dataset: &Dataset, kind: LabelKind) -> Vec<String> {
    let tasks = dataset.schema().tasks.iter().zip(dataset.label_kinds()).filter(|(_, own)| *own == kind);
    tasks.map(|(task, _)| task.name.clone()).collect()
}
