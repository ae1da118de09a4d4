//! A training: what is known before it, and how it is carried out.

use std::path::Path;

use burn::tensor::Device;
use stem_core::files;
use stem_core::models::{ModelFamily, ModelSpec};
use stem_data::Dataset;
use stem_train::{self as learner, FitSummary, Learner, Start, TrainConfig, done, mark_done, settings, unmark_done};

use super::{single_task, states};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::options::RunOptions;

/// Everything that a training needs to know.
#[derive(Clone)]
pub(super) struct Training<'a, C> {
    pub spec: &'a C,
    pub train: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub folder: &'a Path,
    pub device: &'a Device,
    pub options: &'a RunOptions,
    /// A model that was trained before, and its state that it starts from.
    pub start: Option<(&'a Start<C>, usize)>,
    /// Whether the weights that are best for all tasks together are wanted beside each task's own best.
    pub with_joint: bool,
}

impl<C: ModelSpec> Training<'_, C> {
    /// Trains one model on all tasks of the data set. Lines of the log say the task that it is trained for alone, if it is.
    pub(super) fn jointly(&self, alone: Option<&str>) -> Result<FitSummary> {
        let (ranks, spec) = (self.options.ranks.clone(), self.spec.clone());
        let learner = Learner::over(ranks, spec, self.dataset, self.train.clone(), self.device, self.folder)?;
        let learner = learner.with_progress(self.options.progress.clone()).with_stop(self.options.stop.clone());
        let learner = match self.start {
            Some((start, state)) => learner.with_start(start.clone(), state)?,
            None => learner,
        };
        let learner = learner.with_task(alone.map(Into::into)).with_joint(self.with_joint);
        Ok(learner.with_resume(self.options.resume).fit_in_place()?)
    }

    /// Makes one model of several trainings, as `train` does, and marks that it is there: a run that goes on does not make it again.
    pub(super) fn once(&self, train: impl FnOnce() -> Result<FitSummary>) -> Result<FitSummary> {
        let from = self.start.map(|(from, state)| format!("{}:{state}", from.checksum()));
        let settings = settings(self.spec, self.train, self.dataset, None, from.as_deref());
        let ranks = &self.options.ranks;
        if let Some(before) = ranks.from_first(|| done(self.folder, &settings).filter(|_| self.options.resume)) {
            return Ok(before);
        }
        let is_first = self.options.ranks.is_first();
        if is_first {
            unmark_done(self.folder)?;
        }
        let summary = train()?;
        if is_first && !summary.interrupted {
            mark_done(self.folder, &settings, &summary)?;
        }
        Ok(summary)
    }
}

/// Everything that is known before a training on so many `ranks`: settings that fit the data, and that it fits into the `available` bytes, where
/// those are known. Gives the bytes that it will take.
///
/// # Errors
/// What [`train`] would refuse before its first step.
pub(crate) fn check<C: ModelFamily>(
    model: &str,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    available: Option<u64>,
    ranks: usize,
) -> Result<u64> {
    fits(model, experiment, dataset, available, ranks).map_err(|e| experiment.in_file(e))
}

fn fits<C: ModelFamily>(
    model: &str,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    available: Option<u64>,
    ranks: usize,
) -> Result<u64> {
    let spec = experiment.model(model)?;
    let (train, schema) = (&experiment.train, dataset.schema());
    train.check_tasks(schema)?;
    spec.check(schema).map_err(|e| in_section(model, e))?;
    let bytes = |dataset: &Dataset, train: &TrainConfig| -> Result<u64> {
        let plan = learner::check(&spec, dataset, train)?.over(ranks);
        available.map_or(Ok(()), |available| plan.check(available))?;
        Ok(plan.total())
    };
    if !spec.trains_apart() {
        return bytes(dataset, train);
    }
    let mut most = 0; // one task is trained after the other
    for (t, task) in schema.tasks.iter().enumerate() {
        most = most.max(bytes(&dataset.only_task(t), &single_task::train_of(train, task))?);
    }
    Ok(most)
}

/// Trains `model` as the experiment says, from drawn weights or from those of `start`; `folder`, which is the caller's alone, receives bundle and log, and `with_joint` a bundle of
/// the weights that are best for all tasks together, where they are not those of every task.
///
/// # Errors
/// Whatever keeps the model from being trained or saved.
pub(crate) fn train<C: ModelFamily>(
    model: &str,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    start: Option<&Start<C>>,
    folder: &Path,
    options: &RunOptions,
    with_joint: bool,
) -> Result<FitSummary> {
    let device = &options.device.open()?;
    if options.ranks.is_first() {
        files::create_folder(folder)?;
    }
    let spec = &experiment.model(model)?;
    spec.check(dataset.schema()).map_err(|e| in_section(model, e))?;
    let start = start.map(|start| (start, 0));
    let training = Training { spec, train: &experiment.train, dataset, folder, device, options, start, with_joint };
    let states = start.map_or(1, |(start, _)| start.states());
    if experiment.train.keep_checkpoint && spec.trains_apart() {
        tracing::warn!(
            "`keep_checkpoint`: none is left, for the tasks are trained one after the other, each with its own weights"
        );
    }
    match start {
        _ if spec.trains_apart() => single_task::train(&training),
        Some((start, _)) if states > 1 => states::train(&training, start),
        _ => training.jointly(None),
    }
}

/// The error with the section that the key stands in.
fn in_section(model: &str, error: stem_core::Error) -> stem_core::Error {
    match error {
        stem_core::Error::Config { key, found, expected } => {
            stem_core::Error::Config { key: format!("[{model}] {key}"), found, expected }
        }
        other => other,
    }
}
