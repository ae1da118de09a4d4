//! One run of an experiment: train a model by name, keep its bundle, measure it on validation and test, tell it as a page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stem_core::{DeviceSpec, ModelName, ModelSpec, Predictor};
use stem_data::{BatchPlan, Dataset, Split};

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::inspect;
use crate::options::RunOptions;
use crate::single_task;
use crate::training::Training;
use stem_core::files;
use stem_report::metrics::TaskMetrics;
use stem_report::report;
use stem_train::{self as learner, FitSummary};

/// The file that makes a folder a comparison's.
pub(crate) const PLAN: &str = "plan.toml";

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
    /// Bytes that table, optimizer state and a batch take, as planned before training.
    #[serde(default)]
    pub memory: u64,
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

/// Trains `model` on `dataset`; `folder` receives `bundle.safetensors`, `log.jsonl`, `metrics.json` and `report.html`.
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
    if folder.join(PLAN).exists() {
        let what = format!("{} holds a comparison: name another folder for a single run", folder.display());
        return Err(Error::Comparison { what });
    }
    if !experiment.has(model) {
        tracing::info!("the experiment has no section [{model}]: default sizes");
    }
    let run = train_and_measure(model, experiment, dataset, folder, options)?;
    let page = inspect::page_of_run(&run, experiment, dataset, folder, options)?;
    page.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    files::replace_text(&folder.join("report.html"), &report::render(&page))?;
    Ok(run.metrics)
}

/// What a run leaves in memory.
#[derive(Debug)]
pub(crate) struct Measured {
    /// All that was measured.
    pub metrics: RunMetrics,
    /// What was trained.
    pub predictor: Predictor,
    /// Probabilities of the test split. `[N, T]`
    pub scores: Vec<f32>,
}

/// A run without its page.
pub(crate) fn train_and_measure(
    model: ModelName,
    experiment: &Experiment,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<Measured> {
    let fit = train(model, experiment, dataset, folder, options)?;
    let predictor = Predictor::open(bundle_path(folder), &options.device.open()?)?;
    let scores = score_split(&predictor, dataset, Split::Test)?;
    let metrics = RunMetrics {
        model,
        seed: experiment.train.seed,
        device: options.device,
        epochs: fit.epochs,
        seconds: fit.seconds,
        rows_per_second: fit.rows_per_second,
        parameters: fit.parameters,
        memory: fit.memory,
        interrupted: fit.interrupted,
        tasks: dataset.schema().task_names(),
        test: by_task(&scores, dataset, Split::Test),
        valid: measure(&predictor, dataset, Split::Valid)?,
    };
    files::write_json(&folder.join("metrics.json"), &metrics)?;
    Ok(Measured { metrics, predictor, scores })
}

/// Everything that can be told before a training: settings that fit the data, and memory for it.
///
/// # Errors
/// What [`train`] would refuse before its first step.
pub(crate) fn check(model: ModelName, experiment: &Experiment, dataset: &Dataset) -> Result<()> {
    let spec = experiment.model(model);
    let train = &experiment.train;
    train.check_tasks(dataset.schema())?;
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    if !spec.trains_apart() {
        return Ok(learner::check(&spec, dataset, train).map(drop)?);
    }
    let tasks = dataset.schema().tasks.iter().enumerate();
    for (t, task) in tasks {
        learner::check(&spec, &dataset.only_task(t), &single_task::train_of(train, &task.name))?;
    }
    Ok(())
}

/// Trains `model` as the experiment says; `folder` receives `bundle.safetensors` and `log.jsonl`.
///
/// # Errors
/// Whatever keeps the model from being trained or saved.
pub(crate) fn train(
    model: ModelName,
    experiment: &Experiment,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<FitSummary> {
    let device = &options.device.open()?;
    files::create_folder(folder)?;
    let spec = &experiment.model(model);
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    let training = Training { spec, train: &experiment.train, dataset, folder, device, options };
    if spec.trains_apart() { single_task::train(&training) } else { training.jointly() }
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

/// Where a run leaves its bundle.
pub(crate) fn bundle_path(folder: &Path) -> PathBuf {
    folder.join("bundle.safetensors")
}

/// Metrics of every task on a split, from a predictor.
///
/// # Errors
/// Batches that do not read.
pub fn measure(predictor: &Predictor, dataset: &Dataset, split: Split) -> Result<BTreeMap<String, TaskMetrics>> {
    Ok(by_task(&score_split(predictor, dataset, split)?, dataset, split))
}

fn by_task(scores: &[f32], dataset: &Dataset, split: Split) -> BTreeMap<String, TaskMetrics> {
    let tasks = dataset.schema().task_names();
    let metrics = TaskMetrics::per_task(scores, dataset.labels(split), dataset.groups(split), tasks.len());
    tasks.into_iter().zip(metrics).collect()
}

/// Probabilities of every row of a split, in order. `[N, T]`, row-major.
pub(crate) fn score_split(predictor: &Predictor, dataset: &Dataset, split: Split) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(dataset.rows(split) * dataset.schema().tasks.len());
    for batch in dataset.batches(split, BatchPlan { size: 8192, shuffle: None }) {
        predictor.score(&batch)?.rows().for_each(|row| scores.extend_from_slice(row));
    }
    Ok(scores)
}
