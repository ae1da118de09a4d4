//! Training of a model by name, jointly on all tasks or a task at a time: what a run and a trial of a search have in common.

use std::path::Path;

use burn::tensor::Device;
use stem_core::{ModelConfig, ModelName, ModelSpec};
use stem_data::Dataset;

use crate::error::Result;
use crate::experiment::{Experiment, TrainConfig};
use crate::files::create_folder;
use crate::learner::{self, FitSummary, Learner};
use crate::run::RunOptions;
use crate::single_task;

/// Everything that a training needs to know.
#[derive(Clone)]
pub(crate) struct Fit<'a> {
    pub spec: &'a ModelConfig,
    pub train: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub folder: &'a Path,
    pub device: &'a Device,
    pub options: &'a RunOptions,
}

impl Fit<'_> {
    /// Trains one model on all tasks of the data set.
    pub(crate) fn jointly(&self) -> Result<FitSummary> {
        let learner = Learner::new(self.spec.clone(), self.dataset, self.train.clone(), self.device, self.folder)?;
        learner.with_progress(self.options.progress.clone()).with_stop(self.options.stop.clone()).fit()
    }
}

/// Everything that can be told before a training: settings that fit the data, and memory for it.
///
/// # Errors
/// What [`fit`] would refuse before its first step.
pub(crate) fn check(model: ModelName, experiment: &Experiment, dataset: &Dataset) -> Result<()> {
    let spec = experiment.model(model);
    let train = &experiment.train;
    train.check_tasks(dataset.schema())?;
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    if !spec.trains_apart() {
        return learner::check(&spec, dataset, train).map(drop);
    }
    let tasks = dataset.schema().tasks.iter().enumerate();
    tasks
        .map(|(t, task)| (dataset.only_task(t), single_task::train_of(train, &task.name)))
        .try_for_each(|(dataset, train)| learner::check(&spec, &dataset, &train).map(drop))
}

/// Trains `model` as the experiment says; `folder` receives `bundle.safetensors` and `log.jsonl`.
///
/// # Errors
/// Whatever keeps the model from being trained or saved.
pub(crate) fn fit(
    model: ModelName,
    experiment: &Experiment,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<FitSummary> {
    let device = &options.device.open()?;
    create_folder(folder)?;
    let spec = &experiment.model(model);
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    let fit = Fit { spec, train: &experiment.train, dataset, folder, device, options };
    if spec.trains_apart() { single_task::fit(&fit) } else { fit.jointly() }
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
