//! One run of an experiment: train a model by name, keep its bundle, measure it on validation and test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use stem_core::{DeviceSpec, ModelConfig, Predictor};
use stem_data::{BatchPlan, Dataset, Split};

use crate::error::{Error, Result};
use crate::experiment::{Experiment, ModelName, TrainConfig};
use crate::learner::{FitSummary, Learner, StopFlag, create_folder};
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
    let path = folder.join("bundle.safetensors");
    let (fit, parameters) = match model {
        ModelName::SingleTask => fit_apart(spec, &experiment.train, dataset, folder, &path, &device, options)?,
        _ => fit_one(spec, &experiment.train, dataset, folder, &device, options)?,
    };
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
        test: measure(&predictor, dataset, Split::Test)?,
        valid: measure(&predictor, dataset, Split::Valid)?,
    };
    metrics.test.iter().for_each(|(task, metrics)| call_out(task, metrics));
    write_json(&folder.join("metrics.json"), &metrics)?;
    Ok(metrics)
}

/// Says what looks too bad or too good to be true.
fn call_out(task: &str, metrics: &TaskMetrics) {
    match metrics.auc {
        None => tracing::warn!("task '{task}' has no test AUC: its test labels are missing or of one class"),
        Some(auc) if (auc - 0.5).abs() < 0.01 => {
            tracing::warn!(
                "task '{task}' has a test AUC of {auc:.4}: nothing was learned. Do the features say anything of it?"
            );
        }
        Some(auc) if auc > 0.99 => {
            tracing::warn!("task '{task}' has a test AUC of {auc:.4}: does a feature hold the label?");
        }
        Some(_) => {}
    }
}

fn fit_one(
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

/// A model per task, each with its own early stopping, in `folder/task-N`; then one bundle and one log of them all.
fn fit_apart(
    spec: ModelConfig,
    train: &TrainConfig,
    dataset: &Dataset,
    folder: &Path,
    path: &Path,
    device: &Device,
    options: &RunOptions,
) -> Result<(FitSummary, usize)> {
    let mut sum: Option<(FitSummary, usize)> = None;
    let mut parts: Vec<PathBuf> = Vec::new();
    let mut rows = 0.0;
    train.check_tasks(dataset.schema())?;
    let mut log = String::new();
    for (t, task) in dataset.schema().tasks.iter().enumerate() {
        let part = folder.join(format!("task-{t}"));
        tracing::info!("single-task: {}", task.name);
        let mut train = train.clone();
        train.task_weights.retain(|name, _| *name == task.name);
        let (fit, parameters) = fit_one(spec.clone(), &train, &dataset.only_task(t), &part, device, options)?;
        if options.stop.is_set() && fit.best_epoch == 0 {
            return Err(Error::Interrupted { task: task.name.clone(), folder: folder.to_path_buf() });
        }
        parts.push(part.join("bundle.safetensors"));
        let path = part.join("log.jsonl");
        let lines = std::fs::read_to_string(&path).map_err(|source| Error::Io { action: "read", path, source })?;
        let task = serde_json::Value::from(task.name.as_str());
        log.extend(lines.lines().filter_map(|line| Some(format!("{{\"task\":{task},{}\n", line.strip_prefix('{')?))));
        rows += fit.rows_per_second * fit.seconds;
        sum = Some(match sum {
            None => (fit, parameters),
            Some((all, count)) => {
                let all = FitSummary {
                    epochs: all.epochs.max(fit.epochs),
                    best_epoch: all.best_epoch.max(fit.best_epoch),
                    seconds: all.seconds + fit.seconds,
                    interrupted: all.interrupted || fit.interrupted,
                    ..all
                };
                (all, count + parameters)
            }
        });
    }
    let path_of_log = folder.join("log.jsonl");
    std::fs::write(&path_of_log, log).map_err(|source| Error::Io { action: "write", path: path_of_log, source })?;
    let (mut fit, parameters) = sum.expect("a checked schema has a task");
    fit.rows_per_second = if fit.seconds > 0.0 { rows / fit.seconds } else { 0.0 };
    single_task::merge(&parts, dataset, &spec, path, device)?;
    Ok((fit, parameters))
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

/// Writes pretty JSON beside the target and renames it.
fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let failed = |source| Error::Io { action: "write", path: path.to_path_buf(), source };
    let text = serde_json::to_string_pretty(value).expect("metrics are plain data");
    let scratch = path.with_extension("json.tmp");
    std::fs::write(&scratch, text + "\n").and_then(|()| std::fs::rename(&scratch, path)).map_err(failed)
}
