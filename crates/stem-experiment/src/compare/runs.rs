//! Every model with every seed, each in a folder of its own; what is finished is not trained again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use stem_core::models::ModelFamily;
use stem_data::Dataset;

use super::CompareConfig;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::finished::RunKey;
use crate::folder::{BUNDLE, LOG, METRICS, tidy};
use crate::measured::RunMetrics;
use crate::options::RunOptions;
use crate::queue::{Shared, in_turn};
use crate::run::train_and_measure;

/// A model with a seed.
struct Job<C> {
    model: &'static str,
    experiment: Experiment<C>,
    folder: PathBuf,
}

/// Where a comparison in `out` keeps a run: its bundle, log and metrics.
pub fn run_folder(out: &Path, model: impl AsRef<str>, seed: u64) -> PathBuf {
    out.join("runs").join(model.as_ref()).join(format!("seed-{seed}"))
}

/// Trains what is missing. A list of seeds for every model of the plan.
///
/// # Errors
/// [`Error::Run`] with the model and seed whose training failed, [`Error::Stopped`] when asked to stop.
pub(super) fn train<C: ModelFamily>(
    plan: &Plan<C>,
    config: &CompareConfig,
    dataset: &Dataset,
    out: &Path,
    options: &RunOptions,
) -> Result<Vec<Vec<RunMetrics>>> {
    let job = |model: &'static str, experiment: &Experiment<C>, seed: u64| {
        let mut experiment = experiment.clone();
        experiment.train.seed = seed;
        Job { model, folder: run_folder(out, model, seed), experiment }
    };
    let jobs: Vec<Job<C>> = plan
        .models
        .iter()
        .flat_map(|(model, experiment)| config.seeds.iter().map(|&seed| job(model, experiment, seed)))
        .collect();
    let bar = options.progress.pieces("runs", jobs.len());
    let (begun, all) = (AtomicUsize::new(1), jobs.len());
    let shared = Shared { folder: &|job: &Job<C>| job.folder.clone(), stop: &options.stop };
    let done = in_turn(&jobs, config.jobs, Some(&shared).filter(|_| options.hands.are_several()), |job| {
        let number = begun.fetch_add(1, Ordering::Relaxed);
        tracing::info!("run {number} of {all}: {} with seed {}", job.model, job.experiment.train.seed);
        bar.say(format!("{} with seed {}", job.model, job.experiment.train.seed));
        let metrics = job.run(dataset, options)?;
        bar.advance(1);
        Ok(metrics)
    })?;
    let finished = done.iter().flatten().count();
    if finished < jobs.len() {
        return Err(Error::Stopped { what: "runs", done: finished, all: jobs.len(), folder: out.to_path_buf() });
    }
    let done: Vec<RunMetrics> = done.into_iter().flatten().collect();
    Ok(done.chunks(config.seeds.len()).map(<[RunMetrics]>::to_vec).collect())
}

impl<C: ModelFamily> Job<C> {
    /// Nothing where it was stopped before its end.
    fn run(&self, dataset: &Dataset, options: &RunOptions) -> Result<Option<RunMetrics>> {
        let Self { model, experiment, folder } = self;
        let seed = experiment.train.seed;
        let key = RunKey::of(model, experiment, dataset, options)?;
        let metrics = key.once(folder, METRICS, &[BUNDLE, LOG], options, || {
            let _span = tracing::info_span!("run", model = %model, seed).entered();
            let run = |resume| {
                let options = RunOptions { resume, ..options.clone() };
                train_and_measure(model, experiment, dataset, None, folder, &options)
            };
            let run = match run(true) {
                Err(Error::Train(stem_train::Error::OtherSettings { .. })) => run(false), // of an older comparison
                run => run,
            };
            match run {
                Ok(run) => Ok(Some(run.metrics).filter(|metrics| !metrics.interrupted)),
                Err(Error::Interrupted { .. }) => Ok(None),
                Err(error) => Err(Error::Run { model, seed, source: Box::new(error) }),
            }
        })?;
        if metrics.is_some() {
            tidy(folder)?;
        }
        Ok(metrics)
    }
}
