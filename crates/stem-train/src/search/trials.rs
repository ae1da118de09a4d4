//! The search itself: every model's configurations, rung by rung, judged on the validation split.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::{ModelConfig, ModelName, ModelSpec, Predictor};
use stem_data::{Dataset, Split};

use super::{Rungs, SearchConfig, Settings, Space, survivors};
use crate::compare::{forget, in_turn, keep, kept, run_settings};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, TrainConfig};
use crate::files;
use crate::fit::{fit, in_section};
use crate::report::{SearchReport, Trial};
use crate::run::{RunOptions, bundle_path, measure};

/// What a search has found.
#[derive(Debug)]
pub(crate) struct Found {
    /// An experiment for every model, in their order.
    pub winners: Vec<Experiment>,
    /// Everything that was tried.
    pub report: SearchReport,
}

/// One configuration of one model, and how it did.
struct Candidate {
    model: ModelName,
    number: usize,
    settings: Settings,
    experiment: Experiment,
    score: Option<f64>,
    epochs: usize,
}

/// One training of a candidate, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Outcome {
    /// Mean over the tasks of the monitored metric on the validation split; `None` where undefined, or where the loss broke.
    score: Option<f64>,
}

/// Tries the same number of configurations of every model, and never looks at the test split.
///
/// # Errors
/// A key of the space without effect, a configuration that cannot train, whatever keeps one from being trained,
/// [`Error::Stopped`].
pub(crate) fn search(
    config: &SearchConfig,
    models: &[(ModelName, Experiment)],
    at_once: usize,
    dataset: &Dataset,
    out: &Path,
    options: &RunOptions,
) -> Result<Found> {
    let all = models.iter().map(|(model, experiment)| candidates(config, *model, experiment, dataset));
    let mut all: Vec<Vec<Candidate>> = all.collect::<Result<_>>()?;
    let most = models.iter().map(|(_, experiment)| experiment.train.epochs).max().unwrap_or(1);
    let rungs = |of: &[Candidate]| Rungs::new(of.len(), config.first_epochs, config.keep, most);
    let plans: Vec<Rungs> = all.iter().map(|of| rungs(of)).collect();
    let mut left: Vec<Vec<usize>> = all.iter().map(|of| (0..of.len()).collect()).collect();
    let trainings = plans.iter().flat_map(|plan| plan.as_slice()).map(|rung| rung.trials).sum();
    let bar = options.progress.pieces("search", trainings);
    for r in 0..plans.iter().map(|plan| plan.as_slice().len()).max().unwrap_or(0) {
        let rung = |m: usize| plans[m].as_slice().get(r);
        for (m, left) in left.iter_mut().enumerate() {
            let Some(rung) = rung(m) else { continue };
            let scores: Vec<Option<f64>> = left.iter().map(|&c| all[m][c].score).collect();
            if r > 0 {
                *left = survivors(&scores, rung.trials).into_iter().map(|i| left[i]).collect();
            }
            left.iter().for_each(|&c| all[m][c].epochs = rung.epochs);
        }
        let entered = |m: usize| if rung(m).is_some() { left[m].as_slice() } else { &[] };
        let places: Vec<(usize, usize)> =
            (0..all.len()).flat_map(|m| entered(m).iter().map(move |&c| (m, c))).collect();
        let outcomes = in_turn(&places, at_once, |&(m, c)| {
            if options.stop.is_set() {
                return Ok(None);
            }
            let candidate = &all[m][c];
            bar.say(format!("{}, {} epochs", candidate.model, candidate.epochs));
            let outcome = candidate.train(dataset, out, options)?;
            bar.advance(1);
            Ok(outcome)
        })?;
        let done = outcomes.iter().flatten().count();
        if done < places.len() {
            return Err(Error::Stopped {
                what: "trials of this rung",
                done,
                all: places.len(),
                folder: out.to_path_buf(),
            });
        }
        for (&(m, c), outcome) in places.iter().zip(outcomes.into_iter().flatten()) {
            all[m][c].score = outcome.score;
        }
    }
    let winner = |(of, left): (&Vec<Candidate>, &Vec<usize>)| {
        let scores: Vec<Option<f64>> = left.iter().map(|&c| of[c].score).collect();
        survivors(&scores, 1).first().map_or(0, |&i| left[i])
    };
    let won: Vec<usize> = all.iter().zip(&left).map(winner).collect();
    for (of, &c) in all.iter().zip(&won) {
        tracing::info!("search: {} is best with {}", of[c].model, told(&of[c].settings));
    }
    Ok(Found { report: report(config, &plans, &all, &won, models), winners: winners(all, &won, models) })
}

/// What is tried of a model, each checked before anything is trained.
fn candidates(
    config: &SearchConfig,
    model: ModelName,
    experiment: &Experiment,
    dataset: &Dataset,
) -> Result<Vec<Candidate>> {
    let (train, settings) = as_values(model, experiment);
    let space = Space::of(config, model.as_str(), &train, &settings);
    let sampled = space.sample(config.trials, config.seed).into_iter().enumerate();
    let candidate = |(number, tried): (usize, Settings)| {
        let fault = |e: String| {
            let what = format!("search: {model} cannot be trained with {}: {e}", told(&tried));
            Error::Comparison { what }
        };
        let (mut train, mut settings) = (train.clone(), settings.clone());
        tried.apply(&mut train, &mut settings);
        let train: TrainConfig = serde_json::from_value(train).map_err(|e| fault(e.to_string()))?;
        train.check().map_err(|e| fault(e.to_string()))?;
        train.check_tasks(dataset.schema()).map_err(|e| fault(e.to_string()))?;
        let config: ModelConfig = serde_json::from_value(settings).map_err(|e| fault(e.to_string()))?;
        config.check(dataset.schema()).map_err(|e| fault(in_section(model, e).to_string()))?;
        let mut experiment = experiment.clone().with_model(config);
        experiment.train = train;
        Ok(Candidate { model, number, settings: tried, experiment, score: None, epochs: 0 })
    };
    sampled.map(candidate).collect()
}

/// `[train]` and the section of a model.
fn as_values(model: ModelName, experiment: &Experiment) -> (Value, Value) {
    let plain = "settings are plain data";
    let train = serde_json::to_value(&experiment.train).expect(plain);
    (train, serde_json::to_value(experiment.model(model)).expect(plain))
}

/// Refuses keys that no model would notice.
///
/// # Errors
/// [`Error::Comparison`] with the key.
pub(crate) fn check_effect(config: &SearchConfig, models: &[(ModelName, Experiment)]) -> Result<()> {
    let values: Vec<(Value, Value)> = models.iter().map(|(model, experiment)| as_values(*model, experiment)).collect();
    let named = models.iter().zip(&values).map(|((model, _), (_, settings))| (model.as_str(), settings));
    let Some((train, _)) = values.first() else { return Ok(()) };
    match Space::unused(config, &named.collect::<Vec<_>>(), train) {
        None => Ok(()),
        Some(what) => Err(Error::Comparison { what: format!("search: {what}") }),
    }
}

/// Settings for people.
fn told(settings: &Settings) -> String {
    let told: Vec<String> = settings.shown().into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if told.is_empty() { "the experiment's own settings".into() } else { told.join(", ") }
}

impl Candidate {
    fn folder(&self, out: &Path) -> PathBuf {
        let name = format!("configuration-{}-epochs-{}", self.number, self.epochs);
        out.join("search").join(self.model.as_str()).join(name)
    }

    /// Trains afresh for the epochs of the rung, unless that is there already. Nothing where it was stopped before its end.
    fn train(&self, dataset: &Dataset, out: &Path, options: &RunOptions) -> Result<Option<Outcome>> {
        let mut experiment = self.experiment.clone();
        experiment.train.epochs = self.epochs;
        let folder = self.folder(out);
        let settings = run_settings(self.model, &experiment, dataset, options);
        if let Some(outcome) = kept(&folder, "trial.json", &settings) {
            return Ok(Some(outcome));
        }
        forget(&folder)?;
        let _span = tracing::info_span!("trial", model = %self.model, number = self.number).entered();
        let work = folder.join("work"); // weights of a trial are not kept
        let score = match fit(self.model, &experiment, dataset, &work, options) {
            Ok(fit) if fit.interrupted => return Ok(None),
            Ok(_) => {
                let predictor = Predictor::open(bundle_path(&work), &options.device.open()?)?;
                experiment.train.monitor.mean(measure(&predictor, dataset, Split::Valid)?.values())
            }
            Err(Error::Interrupted { .. }) => return Ok(None),
            Err(error @ Error::NotFinite { .. }) => {
                tracing::warn!("{}: {error}", told(&self.settings));
                None
            }
            Err(error) => {
                let seed = experiment.train.seed;
                return Err(Error::Run { model: self.model, seed, source: Box::new(error) });
            }
        };
        files::remove_folder(&work)?;
        let outcome = Outcome { score };
        files::write_json(&folder.join("trial.json"), &outcome)?;
        keep(&folder, &settings)?;
        Ok(Some(outcome))
    }
}

/// The best settings, to be trained in full.
fn winners(all: Vec<Vec<Candidate>>, won: &[usize], models: &[(ModelName, Experiment)]) -> Vec<Experiment> {
    let full = |((mut of, &c), (_, experiment)): ((Vec<Candidate>, &usize), &(ModelName, Experiment))| {
        let mut found = of.swap_remove(c).experiment;
        found.train.epochs = experiment.train.epochs;
        found
    };
    all.into_iter().zip(won).zip(models).map(full).collect()
}

fn report(
    config: &SearchConfig,
    plans: &[Rungs],
    all: &[Vec<Candidate>],
    won: &[usize],
    models: &[(ModelName, Experiment)],
) -> SearchReport {
    let budget = plans.iter().map(Rungs::budget).max().unwrap_or(0);
    let rungs: Vec<String> = plans
        .iter()
        .max_by_key(|plan| plan.budget())
        .into_iter()
        .flat_map(Rungs::as_slice)
        .map(|rung| format!("{} for {} epochs", rung.trials, rung.epochs))
        .collect();
    let monitor = models.first().map_or("AUC", |(_, experiment)| experiment.train.monitor.shown());
    let trial = |c: usize, candidate: &Candidate, won: usize| Trial {
        model: candidate.model.to_string(),
        settings: candidate.settings.shown(),
        epochs: candidate.epochs,
        score: candidate.score,
        won: c == won,
    };
    let trials = all.iter().zip(won);
    let fewer = all.iter().filter(|of| of.len() < config.trials).filter_map(|of| {
        let candidate = of.first()?;
        Some(format!(" {} has only {} configurations, all tried.", candidate.model, of.len()))
    });
    SearchReport {
        budget: format!(
            "Every model had the same budget: at most {} configurations ({}), {budget} epochs in all, with one seed.",
            config.trials,
            rungs.join(", the best "),
        ),
        note: format!(
            "Judged by the mean validation {monitor} over the tasks; the test split was looked at once, by the winner of each \
             model.{}",
            fewer.collect::<String>()
        ),
        trials: trials.flat_map(|(of, &won)| of.iter().enumerate().map(move |(c, t)| trial(c, t, won))).collect(),
    }
}
