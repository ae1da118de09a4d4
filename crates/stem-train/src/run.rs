//! One run of an experiment: train a model by name, keep its bundle, measure it on validation and test.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use stem_core::{DeviceSpec, ModelConfig, ModelName, ModelSpec, Predictor};
use stem_data::{BatchPlan, Dataset, Split};

use crate::error::Result;
use crate::experiment::{Experiment, TrainConfig};
use crate::files::{create_folder, write_json};
use crate::learner::{FitSummary, Learner, StopFlag};
use crate::metrics::TaskMetrics;
use crate::single_task;

/// What a run writes to `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMetrics {
    /// Name of the model.
    pub model: ModelName,
    /// Seed of weights, shuffling and dropout.
    pub seed: u64,
    /// Device it was trained on.
    pub device: DeviceSpec,
    /// Epochs that were run; of single-task, the most of any task.
    pub epochs: usize,
    /// Seconds in training steps.
    pub seconds: f64,
    /// Training rows a second.
    pub rows_per_second: f64,
    /// Parameters, table included.
    pub parameters: usize,
    /// Whether it was asked to stop early.
    pub interrupted: bool,
    /// Tasks in the recipe's order.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// By task, on the test split.
    pub test: BTreeMap<String, TaskMetrics>,
    /// By task, on the validation split.
    pub valid: BTreeMap<String, TaskMetrics>,
}

/// How a run is carried out.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Device to train on.
    pub device: DeviceSpec,
    /// Whether to draw progress bars on stderr.
    pub progress: bool,
    /// Asks the run to stop.
    pub stop: StopFlag,
}

/// Trains `model` on `dataset`; `folder` receives `bundle.safetensors`, `log.jsonl` and `metrics.json`.
///
/// # Errors
/// Whatever keeps the model from being trained, saved or measured.
pub fn run(
    model: ModelName,
    experiment: &Experiment,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<RunMetrics> {
    let device = options.device.open()?;
    create_folder(folder)?;
    let spec = experiment.model(model);
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    if !experiment.has(model) {
        tracing::info!("the experiment has no section [{model}]: default sizes");
    }
    let path = folder.join("bundle.safetensors");
    let fit = if spec.trains_apart() { single_task::fit } else { fit_jointly };
    let (fit, parameters) = fit(spec, &experiment.train, dataset, folder, &device, options)?;
    let predictor = Predictor::open(&path, &device)?;
    let metrics = RunMetrics {
        model,
        seed: experiment.train.seed,
        device: options.device,
        epochs: fit.epochs,
        seconds: fit.seconds,
        rows_per_second: fit.rows_per_second,
        parameters,
        interrupted: fit.interrupted,
        tasks: dataset.schema().tasks.iter().map(|task| task.name.clone()).collect(),
        test: measure(&predictor, dataset, Split::Test)?,
        valid: measure(&predictor, dataset, Split::Valid)?,
    };
    metrics.test.iter().for_each(|(task, metrics)| call_out(task, metrics));
    write_json(&folder.join("metrics.json"), &metrics)?;
    Ok(metrics)
}

/// The error with the section that the key stands in.
fn in_section(model: ModelName, error: stem_core::Error) -> stem_core::Error {
    match error {
        stem_core::Error::Config { key, found, expected } => {
            stem_core::Error::Config { key: format!("[{model}] {key}"), found, expected }
        }
        other => other,
    }
}

/// Says what looks too bad or too good to be true.
fn call_out(task: &str, metrics: &TaskMetrics) {
    match metrics.auc {
        None => tracing::warn!("task '{task}' has no test AUC: its test labels are missing or of one class"),
        Some(auc) if (auc - 0.5).abs() < 0.01 => {
            tracing::warn!(
                "task '{task}' has a test AUC of {auc:.4}: nothing was learned. Too few epochs, a rate far off, or features that say nothing of it?"
            );
        }
        Some(auc) if auc > 0.99 => {
            tracing::warn!("task '{task}' has a test AUC of {auc:.4}: does a feature hold the label?");
        }
        Some(_) => {}
    }
}

/// Trains one model on all tasks of a data set; gives its number of parameters too.
pub(crate) fn fit_jointly(
    spec: ModelConfig,
    train: &TrainConfig,
    dataset: &Dataset,
    folder: &Path,
    device: &Device,
    options: &RunOptions,
) -> Result<(FitSummary, usize)> {
    let learner = Learner::new(spec, dataset, train.clone(), device, folder)?;
    let mut learner = learner.with_progress(options.progress).with_stop(options.stop.clone());
    let fit = learner.fit()?;
    Ok((fit, learner.parameters()))
}

/// Metrics of every task on a split, from a predictor.
///
/// # Errors
/// Batches that do not read.
pub fn measure(predictor: &Predictor, dataset: &Dataset, split: Split) -> Result<BTreeMap<String, TaskMetrics>> {
    let tasks = &dataset.schema().tasks;
    let mut scores = Vec::with_capacity(dataset.rows(split) * tasks.len());
    for batch in dataset.batches(split, BatchPlan { size: 8192, shuffle: None }) {
        predictor.score(&batch)?.rows().for_each(|row| scores.extend_from_slice(row));
    }
    let metrics = TaskMetrics::per_task(&scores, dataset.labels(split), dataset.groups(split), tasks.len());
    Ok(tasks.iter().map(|task| task.name.clone()).zip(metrics).collect())
}
