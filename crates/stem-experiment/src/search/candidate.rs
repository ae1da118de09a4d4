//! One configuration of one model: checked before anything is trained, trained afresh in every rung, judged on validation.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::{ModelConfig, ModelName, Predictor};
use stem_data::{Dataset, Split};

use super::{SearchConfig, Settings, Space};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::kept::{forget, keep, kept, settings};
use crate::options::RunOptions;
use crate::run::{bundle_path, check, measure, train};
use stem_core::files;

/// A configuration, and how it has done so far.
#[derive(Debug)]
pub(super) struct Candidate {
    pub model: ModelName,
    number: usize,
    pub settings: Settings,
    pub experiment: Experiment,
    /// On the validation split, in the last rung that it entered.
    pub score: Option<f64>,
    /// Of that rung.
    pub epochs: usize,
}

/// One training of a candidate, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Mean over the tasks of the monitored metric on the validation split; `None` where undefined, or where the loss broke.
    pub score: Option<f64>,
}

/// `[train]` and the section of a model.
pub(super) fn as_values(model: ModelName, experiment: &Experiment) -> (Value, Value) {
    let plain = "settings are plain data";
    let train = serde_json::to_value(&experiment.train).expect(plain);
    (train, serde_json::to_value(experiment.model(model)).expect(plain))
}

impl Candidate {
    /// What is tried of a model.
    ///
    /// # Errors
    /// [`Error::Comparison`] with the settings that cannot be trained, and why.
    pub(super) fn all(
        config: &SearchConfig,
        model: ModelName,
        experiment: &Experiment,
        dataset: &Dataset,
    ) -> Result<Vec<Self>> {
        let (train, settings) = as_values(model, experiment);
        let space = Space::of(config, model.as_str(), &train, &settings);
        let sampled = space.sample(config.trials, config.seed).into_iter().enumerate();
        let candidate = |(number, tried): (usize, Settings)| {
            let (mut train, mut settings) = (train.clone(), settings.clone());
            tried.apply(&mut train, &mut settings);
            let trainable = || -> Result<Experiment, String> {
                let config_of_model: ModelConfig = serde_json::from_value(settings).map_err(|e| e.to_string())?;
                let mut found = experiment.clone().with_model(config_of_model);
                found.train = serde_json::from_value(train).map_err(|e| e.to_string())?;
                let mut first = found.clone();
                first.train.epochs = first.train.epochs.min(config.first_epochs);
                check(model, &first, dataset).map_err(|e| e.to_string())?;
                Ok(found)
            };
            match trainable() {
                Ok(experiment) => Ok(Self { model, number, settings: tried, experiment, score: None, epochs: 0 }),
                Err(why) => {
                    let what = format!("search: {model} cannot be trained with {}: {why}", told(&tried));
                    Err(Error::Comparison { what })
                }
            }
        };
        sampled.map(candidate).collect()
    }

    fn folder(&self, out: &Path) -> PathBuf {
        let name = format!("configuration-{}-epochs-{}", self.number, self.epochs);
        out.join("search").join(self.model.as_str()).join(name)
    }

    /// Trains afresh for the epochs of the rung, unless that is there already. Nothing where it was stopped before its end.
    pub(super) fn train(&self, dataset: &Dataset, out: &Path, options: &RunOptions) -> Result<Option<Outcome>> {
        let mut experiment = self.experiment.clone();
        experiment.train.epochs = self.epochs;
        let folder = self.folder(out);
        let settings = settings(self.model, &experiment, dataset, options);
        if let Some(outcome) = kept(&folder, "trial.json", &[], &settings) {
            return Ok(Some(outcome));
        }
        if options.stop.is_set() {
            return Ok(None);
        }
        forget(&folder)?;
        let _span = tracing::info_span!("trial", model = %self.model, number = self.number).entered();
        let Some(outcome) = self.judge(&experiment, dataset, &folder.join("work"), options)? else {
            return Ok(None);
        };
        files::write_json(&folder.join("trial.json"), &outcome)?;
        keep(&folder, &settings)?;
        Ok(Some(outcome))
    }

    /// What the validation split says of a training in `work`, which is removed: weights of trials are not kept.
    fn judge(
        &self,
        experiment: &Experiment,
        dataset: &Dataset,
        work: &Path,
        options: &RunOptions,
    ) -> Result<Option<Outcome>> {
        let score = match train(self.model, experiment, dataset, work, options) {
            Ok(fit) if fit.interrupted => return Ok(None),
            Ok(_) => {
                let predictor = Predictor::open(bundle_path(work), &options.device.open()?)?;
                experiment.train.monitor.mean(measure(&predictor, dataset, Split::Valid)?.values())
            }
            Err(Error::Interrupted { .. }) => return Ok(None),
            Err(error @ Error::Train(stem_train::Error::NotFinite { .. })) => {
                tracing::warn!("{}: {error}", told(&self.settings));
                None
            }
            Err(error) => {
                let what = format!("search: {} with {}: {error}", self.model, told(&self.settings));
                return Err(Error::Comparison { what });
            }
        };
        files::remove_folder(work)?;
        Ok(Some(Outcome { score }))
    }
}

/// Settings for people.
pub(super) fn told(settings: &Settings) -> String {
    let told: Vec<String> = settings.shown().into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if told.is_empty() { "the experiment's own settings".into() } else { told.join(", ") }
}
