//! One run of an experiment: train a model by name, keep its bundle, measure it on validation and test, tell it as a page.
//!
//! | step | module |
//! |---|---|
//! | is the folder free? | `folder` |
//! | settings that fit the data; the training itself | `train`, `single_task`, `states` |
//! | scores of validation and test, by one process or by all ranks; what is measured of them | `scored`, `measured` |
//! | the page | `inspect` |

mod scored;
mod single_task;
mod states;
mod train;

use std::path::Path;

use stem_core::Predictor;
use stem_core::files;
use stem_core::lock::Lock;
use stem_core::models::ModelFamily;
use stem_data::{Dataset, Split};
use stem_report::analysis::{LabelKind, Metric};
use stem_report::report;
use stem_train::{CHECKPOINT, Start, Unfinished, memory};

use scored::Scored;
pub(crate) use train::{check, train};

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::finished::{RunKey, SETTINGS};
use crate::folder::{self, BUNDLE, LOG, METRICS, PAGE};
use crate::inspect;
use crate::measured::{Measured, RunMetrics, by_task, of_kind};
use crate::options::RunOptions;

/// Trains the model of that name on `dataset`; at the end `folder` receives `bundle.safetensors`, `log.jsonl`, `metrics.json` and
/// `report.html` together. Until then they are in `folder/unfinished`, where they stay if the run fails, is killed, or is asked to
/// stop while `folder` holds an older run, which then stays as it was.
///
/// # Errors
/// An unknown model, settings that cannot train, a folder that holds a comparison, or another run unless
/// [`overwrite`](RunOptions::overwrite), or that somebody else writes into; and whatever keeps the model from being trained, saved or
/// measured.
pub fn run<C: ModelFamily>(
    model: impl AsRef<str>,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<RunMetrics> {
    run_with(C::find(model.as_ref())?, experiment, dataset, None, folder, options)
}

/// As [`run`], but trains on a model that was trained before, a bundle or a checkpoint, with rows of a later day: `dataset` is one whose
/// vocabularies have grown from the bundle's ([`stem_data::prepare_grown`]). Model and sizes are the bundle's. From a checkpoint the
/// optimizer's moments go on too.
///
/// # Errors
/// Those of [`run`]; a start that lies in `folder`, a bundle of other sizes than `experiment` says, or of other tasks; a checkpoint of another optimizer.
pub fn run_from<C: ModelFamily>(
    start: impl Into<Start<C>>,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<RunMetrics> {
    let start = start.into();
    check_start(&start, folder)?;
    let bundle = &start.bundle;
    let model = bundle.config.name();
    let experiment = match experiment.has(model) {
        true => experiment.clone(),
        false => experiment.clone().with_model(bundle.config.clone()),
    };
    run_with(model, &experiment, dataset, Some(&start), folder, options)
}

/// Refuses to train in `folder` from what lies there: a finished run, an unfinished one, or a part of them. It would be replaced or removed, and a
/// run that was killed while its files took their places would go on from its own end.
///
/// # Errors
/// [`Error::ReplacesStart`].
pub fn check_start<C: ModelFamily>(start: &Start<C>, folder: &Path) -> Result<()> {
    let whole = |path: &Path| path.canonicalize().ok();
    let (start, of_run) = (start.path(), ["unfinished", "task-", "state-"]);
    let within =
        whole(start).zip(whole(folder)).and_then(|(path, folder)| Some(path.strip_prefix(folder).ok()?.to_owned()));
    let names: Vec<String> = within.iter().flatten().map(|name| name.to_string_lossy().into_owned()).collect();
    match names.first() {
        Some(first) if names.len() == 1 || of_run.iter().any(|name| first.starts_with(name)) => {
            Err(Error::ReplacesStart { start: start.to_path_buf(), folder: folder.to_path_buf() })
        }
        _ => Ok(()),
    }
}

fn run_with<C: ModelFamily>(
    model: &'static str,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    start: Option<&Start<C>>,
    folder: &Path,
    options: &RunOptions,
) -> Result<RunMetrics> {
    let ranks = &options.ranks;
    check(model, experiment, dataset, memory::available_to(&options.device.open()?), ranks.ranks())?;
    if !ranks.is_first() {
        if let Some(done) = ranks.from_first(|| None) {
            return Ok(done);
        }
        // The first writes, measures and tells; this one takes its part in the steps, and in the scores that are measured.
        let summary = train(model, experiment, dataset, start, folder, options, true)?;
        scored::over(None::<&Predictor<C>>, &experiment.model(model)?, dataset, folder, options)?;
        return Ok(RunMetrics {
            model: model.into(),
            seed: experiment.train.seed,
            device: options.device,
            tasks: dataset.schema().task_names(),
            ..RunMetrics::of_summary(summary)
        });
    }
    let _lock = Lock::of(folder)?;
    let key = RunKey::of(model, experiment, dataset, options)?.starting_from(start.map(Start::checksum));
    let done = if options.resume { finished_before(&key, folder)? } else { None };
    if let Some(done) = ranks.from_first(|| done) {
        tracing::info!("{} is finished already", folder.display());
        return Ok(done);
    }
    folder::check_free(folder, options.overwrite)?;
    experiment.log_preset(model);
    let older = folder::finished_run(folder);
    let work = if options.resume { Unfinished::go_on(folder)? } else { Unfinished::start(folder)? };
    let run = train_and_measure(model, experiment, dataset, start, &work.path, options)?;
    let (page, metrics) = inspect::page_of_run(run, experiment, dataset, &work.path, options)?;
    page.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    files::replace_text(&work.path.join(PAGE), &report::render(&page))?;
    match older {
        Some(older) if metrics.interrupted => {
            let (folder, work) = (folder.display(), work.path.display());
            tracing::warn!(
                "stopped: {folder} still holds {older}; the best weights of this run until now are in {work}"
            );
        }
        None if metrics.interrupted && experiment.train.checkpoint_every.is_some() => {
            let work = work.path.display();
            tracing::warn!("stopped: the best weights until now are in {work}; `--resume` goes on from the last step");
        }
        _ => {
            if !metrics.interrupted {
                key.write(&work.path)?;
            }
            publish(work)?;
        }
    }
    Ok(metrics)
}

/// What a run may leave, in the order in which it takes its place; what it was asked for comes last.
const PUBLISHED: [&str; 6] = [BUNDLE, CHECKPOINT, LOG, METRICS, PAGE, SETTINGS];

/// What of it every run leaves.
const TOGETHER: [&str; 5] = [BUNDLE, LOG, METRICS, PAGE, SETTINGS];

/// Puts a run that is whole, and measured, in its place.
fn publish(work: Unfinished) -> Result<()> {
    folder::tidy(&work.path)?;
    Ok(work.publish(&PUBLISHED)?)
}

/// What a run of this key came to that ended before, also if the program was killed while its files took their places.
fn finished_before(key: &RunKey, folder: &Path) -> Result<Option<RunMetrics>> {
    let work = Unfinished::go_on(folder)?;
    if let Some(done) = key.finished(folder, METRICS, &TOGETHER) {
        files::remove_folder(&work.path)?;
        return Ok(Some(done));
    }
    if !key.is_of(&work.path) {
        return Ok(None);
    }
    publish(work)?;
    Ok(key.finished(folder, METRICS, &TOGETHER))
}

/// A run without its page, in `folder`. What it is measured by besides the bundle stays there until the run is [`tidied`](folder::tidy), so that
/// one that is killed here is measured again to the same numbers.
pub(crate) fn train_and_measure<C: ModelFamily>(
    model: &'static str,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    start: Option<&Start<C>>,
    folder: &Path,
    options: &RunOptions,
) -> Result<Measured<C>> {
    let summary = train(model, experiment, dataset, start, folder, options, true)?;
    let device = options.device.open()?;
    let also: Vec<Metric> = options.metrics.iter().copied().chain([experiment.train.monitor.metric]).collect();
    let predictor = Predictor::open_model(folder.join(BUNDLE), &device)?;
    let Scored { test, valid, joint_test, uncalibrated_test } = match options.ranks.is_several() {
        true => scored::over(Some(&predictor), &experiment.model(model)?, dataset, folder, options)?,
        false => scored::alone(&predictor, dataset, folder, &device)?,
    };
    let measured = |scores: &[f32], split| by_task(scores, dataset, split, &also);
    let measured_too =
        |scores: Option<Vec<f32>>| scores.map(|scores| measured(&scores, Split::Test)).unwrap_or_default();
    let metrics = RunMetrics {
        model: model.into(),
        seed: experiment.train.seed,
        device: options.device,
        states: predictor.states(),
        tasks: dataset.schema().task_names(),
        test: measured(&test, Split::Test),
        valid: measured(&valid, Split::Valid),
        numbers: of_kind(dataset, LabelKind::Value),
        classes: of_kind(dataset, LabelKind::Class),
        joint_test: measured_too(joint_test),
        uncalibrated_test: measured_too(uncalibrated_test),
        ..RunMetrics::of_summary(summary)
    };
    files::write_json(&folder.join(METRICS), &metrics)?;
    Ok(Measured { metrics, predictor, scores: test })
}
