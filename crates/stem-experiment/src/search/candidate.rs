//! One configuration of one model: checked before anything is trained, trained afresh in every rung, judged on validation.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::models::ModelFamily;
use stem_core::{Predictor, files};
use stem_data::{Dataset, Split};
use stem_report::analysis::LabelKind;

use super::{SearchConfig, Settings, Space};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::finished::RunKey;
use crate::folder::BUNDLE;
use crate::measured::measure_in;
use crate::options::RunOptions;
use crate::run::{check, train};

/// A configuration, and how it has done so far.
#[derive(Debug)]
pub(super) struct Candidate<C> {
    pub model: &'static str,
    number: usize,
    pub settings: Settings,
    pub experiment: Experiment<C>,
    /// Bytes that a training of it takes.
    pub memory: u64,
    /// On the validation split, in the last rung that it entered.
    pub score: Option<f64>,
    /// Of that rung.
    pub epochs: usize,
}

/// What a training of a candidate leaves.
const OUTCOME: &str = "trial.json";

/// One training of a candidate, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Mean over the tasks of the monitored metric on the validation split, more being better; `None` where undefined, or where the loss broke.
    pub score: Option<f64>,
}

/// `[train]` and the section of a model.
///
/// # Errors
/// An unknown model.
pub(super) fn as_values<C: ModelFamily>(model: &str, experiment: &Experiment<C>) -> Result<(Value, Value)> {
    let plain = "settings are plain data";
    let train = serde_json::to_value(&experiment.train).expect(plain);
    Ok((train, serde_json::to_value(experiment.model(model)?).expect(plain)))
}

impl<C: ModelFamily> Candidate<C> {
    /// What is tried of a model.
    ///
    /// # Errors
    /// [`Error::Trial`] with the settings that cannot be trained.
    pub(super) fn all(
        config: &SearchConfig,
        model: &'static str,
        experiment: &Experiment<C>,
        dataset: &Dataset,
        available: Option<u64>,
    ) -> Result<Vec<Self>> {
        let (train, settings) = as_values(model, experiment)?;
        let space = Space::of(config, model, &train, &settings);
        let sampled = space.sample(config.trials, config.seed).into_iter().enumerate();
        let candidate = |(number, tried): (usize, Settings)| {
            let (mut train, mut settings) = (train.clone(), settings.clone());
            tried.apply(&mut train, &mut settings);
            let trainable = || -> Result<(Experiment<C>, u64)> {
                let mistyped = |e: serde_json::Error| Error::Search { what: e.to_string() };
                let mut found = experiment.clone().with_model(serde_json::from_value(settings).map_err(mistyped)?);
                found.train = serde_json::from_value(train).map_err(mistyped)?;
                let mut first = found.clone();
                first.train.epochs = first.train.epochs.min(config.first_epochs);
                Ok((found, check(model, &first, dataset, available, 1)?))
            };
            let fault = |e: Error| Error::Trial { model, settings: tried.to_string(), source: Box::new(e) };
            let (experiment, memory) = trainable().map_err(fault)?;
            Ok(Self { model, number, settings: tried, experiment, memory, score: None, epochs: 0 })
        };
        sampled.map(candidate).collect()
    }

    pub(super) fn folder(&self, out: &Path) -> PathBuf {
        let name = format!("configuration-{}-epochs-{}", self.number, self.epochs);
        out.join("search").join(self.model).join(name)
    }

    /// Trains afresh for the epochs of the rung, unless that is there already. Nothing where it was stopped before its end.
    pub(super) fn train(&self, dataset: &Dataset, out: &Path, options: &RunOptions) -> Result<Option<Outcome>> {
        let mut experiment = self.experiment.clone();
        experiment.train.epochs = self.epochs;
        let folder = self.folder(out);
        let key = RunKey::of(self.model, &experiment, dataset, options)?;
        key.once(&folder, OUTCOME, &[], options, || {
            let _span = tracing::info_span!("trial", model = self.model, number = self.number).entered();
            let outcome = self.judge(&experiment, dataset, &folder.join("work"), options)?;
            outcome.iter().try_for_each(|outcome| files::write_json(&folder.join(OUTCOME), outcome))?;
            Ok(outcome)
        })
    }

    /// What the validation split says of a training in `work`, which is removed: weights of trials are not kept.
    fn judge(
        &self,
        experiment: &Experiment<C>,
        dataset: &Dataset,
        work: &Path,
        options: &RunOptions,
    ) -> Result<Option<Outcome>> {
        let score = match train(self.model, experiment, dataset, None, work, options, false) {
            Ok(summary) if summary.interrupted => return Ok(None),
            Ok(_) => {
                let predictor = Predictor::<C>::open_model(work.join(BUNDLE), &options.device.open()?)?;
                let valid = measure_in(&predictor, dataset, Split::Valid, &[experiment.train.monitor.metric])?;
                let kinds = dataset.schema().task_names().into_iter().zip(dataset.label_kinds());
                let kinds: Vec<(String, LabelKind)> = kinds.collect();
                let named = kinds.iter().filter_map(|(task, kind)| Some((task.as_str(), *kind, valid.get(task)?)));
                experiment.train.monitor.mean(named)
            }
            Err(Error::Interrupted { .. }) => return Ok(None),
            Err(error @ Error::Train(stem_train::Error::NotFinite { .. })) => {
                tracing::warn!("{}: {error}", self.settings);
                None
            }
            Err(error) => {
                let settings = self.settings.to_string();
                return Err(Error::Trial { model: self.model, settings, source: Box::new(error) });
            }
        };
        files::remove_folder(work)?;
        Ok(Some(Outcome { score }))
    }
}
