//! The ways to keep a model up to date, and a log played by one of them.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stem_core::models::ModelFamily;
use stem_core::{Bundle, Predictor};
use stem_data::{Known, PrepareOptions, Recipe, Rows, Split, SplitRecipe, prepare, prepare_grown, prepare_known};
use stem_report::analysis::Metric;
use stem_report::report::ReplayDay;
use stem_train::{CHECKPOINT, Start};

use super::ReplayConfig;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::folder::BUNDLE;
use crate::measured::{RunMetrics, measure};
use crate::options::RunOptions;
use crate::run::{run, run_from};

/// The folder of the model that all ways begin with.
const FIRST: &str = "first";

/// A way to keep a model up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Trained anew on all days until now.
    Full,
    /// Yesterday's model trained on with today's rows.
    Warm,
    /// The first model, never trained again.
    Frozen,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Warm, Self::Frozen];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Warm => "warm",
            Self::Frozen => "frozen",
        }
    }

    /// What it does, for a reader.
    pub(super) fn does<C>(self, config: &ReplayConfig, experiment: &Experiment<C>) -> String {
        let epochs = |epochs: usize| format!("{epochs} epoch{} at most", if epochs == 1 { "" } else { "s" });
        let all = experiment.train.epochs;
        match self {
            Self::Full => format!("trained anew on all days until the day before, {}", epochs(all)),
            Self::Warm => {
                let passes = match config.warm_epochs {
                    Some(1) => "one pass over all of them".into(),
                    Some(passes) => format!("{passes} passes over all of them"),
                    None => epochs(all),
                };
                let moments = if config.moments { ", with the optimizer's moments" } else { "" };
                format!("yesterday's model trained on with the rows of the day before, {passes}{moments}")
            }
            Self::Frozen => "the first model, never trained again".into(),
        }
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|way| way.name() == text).ok_or_else(|| format!("expected some of {}", names()))
    }
}

/// A log, and how it is played.
pub(super) struct Days<'a, C> {
    pub(super) model: &'static str,
    pub(super) config: &'a ReplayConfig,
    pub(super) experiment: &'a Experiment<C>,
    pub(super) recipe: &'a Recipe,
    pub(super) data: &'a Path,
    pub(super) out: &'a Path,
    /// All days in order.
    pub(super) names: &'a [String],
    pub(super) options: &'a RunOptions,
}

/// What a way came to.
pub(super) struct Replayed {
    pub(super) days: Vec<ReplayDay>,
    pub(super) tasks: Vec<String>,
}

impl<C: ModelFamily> Days<'_, C> {
    /// Trains on the first days, then measures every day and trains on it, as the way says.
    pub(super) fn play(&self, way: Way) -> Result<Replayed> {
        let mut played = Replayed { days: Vec::new(), tasks: Vec::new() };
        let mut last: Option<PathBuf> = None;
        for today in self.config.first..self.names.len() {
            if self.options.stop.is_set() {
                let (done, all) = (played.days.len(), self.names.len() - self.config.first);
                return Err(Error::Stopped { what: "days", done, all, folder: self.out.to_path_buf() });
            }
            // The model that has seen the days before `today` is trained and measured at once: today is its test split.
            let of = if last.is_none() { FIRST } else { way.name() }; // all ways begin with the same model
            let folder = self.out.join(of).join(folder_name(&self.names[today - 1]));
            let columns = self.out.join(format!("columns-{of}")); // those of the day before are replaced
            let (metrics, is_trained) = match (way, &last) {
                (Way::Frozen, Some(bundle)) => (self.measured(bundle, today, &columns)?, false),
                (Way::Warm, Some(bundle)) => (self.trained_on(bundle, today, &folder, &columns)?, true),
                _ => (self.trained(today, &folder, &columns)?, true),
            };
            if metrics.interrupted {
                let (done, all) = (played.days.len(), self.names.len() - self.config.first);
                return Err(Error::Stopped { what: "days", done, all, folder: self.out.to_path_buf() });
            }
            tracing::info!("{}, {}: {}", way.name(), self.names[today], told(&metrics));
            let (seconds, rows) = match is_trained {
                true => (metrics.seconds, (metrics.seconds * metrics.rows_per_second).round() as u64),
                false => (0.0, 0),
            };
            let tasks = metrics.tasks.iter().map(|task| metrics.test.get(task).cloned().unwrap_or_default()).collect();
            played.days.push(ReplayDay { seconds, rows, tasks });
            played.tasks = metrics.tasks;
            if way != Way::Frozen || last.is_none() {
                last = Some(folder.join(BUNDLE));
            }
        }
        Ok(played)
    }

    /// The rows of some days to be trained on, and those of `today` to be measured. Of the days before, the rows whose labels have become known
    /// with these days.
    fn recipe(&self, days: std::ops::Range<usize>, today: usize, valid: f64) -> Recipe {
        let ReplayConfig { column, .. } = self.config;
        let are_late = self.recipe.labels.iter().any(|label| label.mature.is_some());
        let before = if are_late { self.names[..days.start].to_vec() } else { Vec::new() };
        self.recipe.clone().with_split(SplitRecipe::Days {
            column: column.clone(),
            before,
            train: self.names[days].to_vec(),
            valid,
            test: vec![self.names[today].clone()],
            seed: self.experiment.train.seed,
        })
    }

    fn reading(&self) -> PrepareOptions {
        PrepareOptions { progress: self.options.progress.clone(), stop: self.options.stop.clone() }
    }

    fn trained(&self, today: usize, folder: &Path, columns: &Path) -> Result<RunMetrics> {
        let dataset = prepare(&self.recipe(0..today, today, self.config.valid), self.data, columns, &self.reading())?;
        self.going_on(|options| run(self.model, self.experiment, &dataset, folder, options))
    }

    fn trained_on(&self, bundle: &Path, today: usize, folder: &Path, columns: &Path) -> Result<RunMetrics> {
        let start = self.start(bundle)?;
        let valid = if self.config.warm_epochs.is_some() { 0.0 } else { self.config.valid };
        let recipe = self.recipe(today - 1..today, today, valid);
        let dataset = prepare_grown(&recipe, Known::from(&*start.bundle), self.data, columns, &self.reading())?;
        let mut experiment = self.experiment.clone();
        experiment.train.epochs = self.config.warm_epochs.unwrap_or(experiment.train.epochs);
        experiment.train.keep_checkpoint |= self.config.moments;
        self.going_on(|options| run_from(start.clone(), &experiment, &dataset, folder, options))
    }

    /// Yesterday's model: where moments go on, and there is a checkpoint of each of its states beside it, from there.
    fn start(&self, bundle: &Path) -> Result<Start<C>> {
        let of_bundle = Start::from(Arc::new(Bundle::<C>::open(bundle)?));
        let checkpoint = bundle.with_file_name(CHECKPOINT);
        if self.config.moments && checkpoint.is_file() {
            let start = Start::open(checkpoint)?;
            if start.states() == of_bundle.states() {
                return Ok(start);
            }
        }
        Ok(of_bundle)
    }

    fn measured(&self, bundle: &Path, today: usize, columns: &Path) -> Result<RunMetrics> {
        let predictor = Predictor::<C>::open_model(bundle, &self.options.device.open()?)?;
        let (recipe, known) = (self.recipe(0..0, today, 0.0), Known::from(&predictor));
        let dataset = prepare_known(&recipe, known, Rows::BySplit, &[], self.data, columns, &self.reading())?;
        let (tasks, test) = (dataset.schema().task_names(), measure(&predictor, &dataset, Split::Test)?);
        Ok(RunMetrics { tasks, test, ..RunMetrics::default() })
    }

    /// A day that is finished is not trained again, one that was stopped goes on; what is left of other settings is replaced.
    fn going_on(&self, train: impl Fn(&RunOptions) -> Result<RunMetrics>) -> Result<RunMetrics> {
        let options = RunOptions { resume: true, overwrite: true, ..self.options.clone() };
        match train(&options) {
            Err(Error::Train(stem_train::Error::OtherSettings { .. })) => {
                train(&RunOptions { resume: false, ..options })
            }
            done => done,
        }
    }
}

/// A day as the name of a folder.
fn folder_name(day: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    day.chars().map(plain).collect()
}

fn told(metrics: &RunMetrics) -> String {
    let of = |task: &String| {
        let auc = metrics.test.get(task).and_then(|metrics| metrics.auc.or_else(|| metrics.get(Metric::Xauc)));
        format!("{task} {}", stem_report::metrics::four_decimals(auc))
    };
    format!("AUC {}", metrics.tasks.iter().map(of).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_written_by_name_and_days_become_names_of_folders() {
        assert_eq!("warm".parse(), Ok(Way::Warm));
        assert_eq!("hot".parse::<Way>().unwrap_err(), "expected some of full, warm, frozen");
        assert_eq!(folder_name("2022-05-01 00:00:00/../x"), "2022-05-01_00_00_00____x");
    }
}
