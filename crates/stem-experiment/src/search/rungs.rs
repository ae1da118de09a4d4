//! The search itself: every model's configurations, rung by rung.

use std::path::Path;

use serde_json::Value;
use stem_core::models::ModelFamily;
use stem_data::{Dataset, Split};

use super::candidate::{Candidate, as_values};
use super::{Rungs, SearchConfig, Space, summary, survivors};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::options::RunOptions;
use crate::queue::{Shared, check_memory, in_turn};
use stem_report::report::SearchReport;

/// A search that can be carried out: all that it will try is known and trainable.
#[derive(Debug)]
pub(crate) struct Search<C> {
    trials: usize,
    /// Every model's configurations.
    all: Vec<Vec<Candidate<C>>>,
    /// Every model's rungs.
    plans: Vec<Rungs>,
    /// Epochs of a training in full.
    epochs: usize,
}

/// What a search has found.
#[derive(Debug)]
pub(crate) struct Found<C> {
    /// An experiment for every model, in their order.
    pub winners: Vec<Experiment<C>>,
    /// Everything that was tried.
    pub report: SearchReport,
    /// What a reader has to know of it.
    pub warnings: Vec<String>,
}

impl<C: ModelFamily> Search<C> {
    /// Draws the same number of configurations for every model, as far as each has so many.
    ///
    /// # Errors
    /// [`Error::Search`] for a search that cannot judge or would not search, a key of the space without effect, and
    /// [`Error::Trial`] for a configuration that cannot be trained.
    pub(crate) fn new(
        config: &SearchConfig,
        models: &[(&'static str, Experiment<C>)],
        at_once: usize,
        dataset: &Dataset,
        available: Option<u64>,
    ) -> Result<Self> {
        let fault = |what: String| Error::Search { what };
        config.check().map_err(fault)?;
        if dataset.rows(Split::Valid) == 0 {
            return Err(fault("the validation split has no rows to judge by: give the recipe's split some".into()));
        }
        let values = models.iter().map(|(model, experiment)| as_values(model, experiment));
        let values = values.collect::<Result<Vec<_>>>()?;
        let named = models.iter().zip(&values).map(|((model, _), (_, settings))| (*model, settings));
        let named: Vec<(&str, &Value)> = named.collect();
        if let Some(what) = values.first().and_then(|(train, _)| Space::unused(config, &named, train)) {
            return Err(fault(what));
        }
        let all =
            models.iter().map(|(model, experiment)| Candidate::all(config, model, experiment, dataset, available));
        let all: Vec<Vec<Candidate<C>>> = all.collect::<Result<_>>()?;
        if all.iter().all(|of| of.len() < 2) {
            let what = "the space holds nothing but the experiment's own settings: name values that differ from them";
            return Err(fault(what.into()));
        }
        let trainings: Vec<u64> = all.iter().flatten().map(|candidate| candidate.memory).collect();
        check_memory(&trainings, at_once, available)?;
        let epochs = models.first().map_or(1, |(_, experiment)| experiment.train.epochs);
        let plans = all.iter().map(|of| Rungs::new(of.len(), config.first_epochs, config.keep, epochs)).collect();
        Ok(Self { trials: config.trials, all, plans, epochs })
    }

    /// Tries them all, and never looks at the test split.
    ///
    /// # Errors
    /// Whatever keeps a configuration from being trained, [`Error::Search`] where none of a model's has a score,
    /// [`Error::Stopped`].
    pub(crate) fn run(
        mut self,
        at_once: usize,
        dataset: &Dataset,
        out: &Path,
        options: &RunOptions,
    ) -> Result<Found<C>> {
        let mut left: Vec<Vec<usize>> = self.all.iter().map(|of| (0..of.len()).collect()).collect();
        let trainings = self.plans.iter().flat_map(|plan| plan.as_slice()).map(|rung| rung.trials).sum();
        let bar = options.progress.pieces("search", trainings);
        for r in 0..self.plans.iter().map(|plan| plan.as_slice().len()).max().unwrap_or(0) {
            let entered = self.enter(r, &mut left);
            let shared = Shared { folder: &|&(m, c): &(usize, usize)| self.all[m][c].folder(out), stop: &options.stop };
            let shared = Some(&shared).filter(|_| options.hands.are_several());
            let outcomes = in_turn(&entered, at_once, shared, |&(m, c)| {
                let candidate = &self.all[m][c];
                bar.say(format!("{}, {} epochs", candidate.model, candidate.epochs));
                let outcome = candidate.train(dataset, out, options)?;
                bar.advance(1);
                Ok(outcome)
            })?;
            let done = outcomes.iter().flatten().count();
            if done < entered.len() {
                let (what, all) = ("trainings of this rung of the search", entered.len());
                return Err(Error::Stopped { what, done, all, folder: out.to_path_buf() });
            }
            for (&(m, c), outcome) in entered.iter().zip(outcomes.into_iter().flatten()) {
                self.all[m][c].score = outcome.score;
            }
            self.check_scores(&entered)?;
        }
        let won: Vec<usize> = self.all.iter().zip(&left).map(|(of, left)| best(of, left)).collect();
        for (of, &c) in self.all.iter().zip(&won).filter(|(of, _)| of.len() > 1) {
            tracing::info!("search: {} is best with {}", of[c].model, of[c].settings);
        }
        let (report, warnings) = summary::report(self.trials, &self.plans, &self.all, &won);
        let winners = self.all.into_iter().zip(won).map(|(mut of, c)| {
            let mut winner = of.swap_remove(c).experiment;
            winner.train.epochs = self.epochs;
            winner
        });
        Ok(Found { winners: winners.collect(), report, warnings })
    }

    /// Who enters rung `r`: place of the model, place of the configuration.
    fn enter(&mut self, r: usize, left: &mut [Vec<usize>]) -> Vec<(usize, usize)> {
        let mut entered = Vec::new();
        for (m, left) in left.iter_mut().enumerate() {
            let Some(rung) = self.plans[m].as_slice().get(r) else { continue };
            if r > 0 {
                let scores: Vec<Option<f64>> = left.iter().map(|&c| self.all[m][c].score).collect();
                *left = survivors(&scores, rung.trials).into_iter().map(|i| left[i]).collect();
            }
            left.iter().for_each(|&c| self.all[m][c].epochs = rung.epochs);
            entered.extend(left.iter().map(|&c| (m, c)));
        }
        entered
    }

    /// Refuses to choose where there is nothing to choose by.
    fn check_scores(&self, entered: &[(usize, usize)]) -> Result<()> {
        let scored = |m: usize| entered.iter().any(|&(n, c)| n == m && self.all[m][c].score.is_some());
        let Some(&(m, c)) = entered.iter().find(|&&(m, _)| !scored(m)) else { return Ok(()) };
        let Candidate { model, experiment, .. } = &self.all[m][c];
        let what = format!(
            "no configuration of {model} has a validation {}: every loss left the numbers, or the validation labels are of \
             one class",
            experiment.train.monitor.name()
        );
        Err(Error::Search { what })
    }
}

/// The best of those left of a model.
fn best<C>(of: &[Candidate<C>], left: &[usize]) -> usize {
    let scores: Vec<Option<f64>> = left.iter().map(|&c| of[c].score).collect();
    survivors(&scores, 1).first().map_or(0, |&i| left[i])
}
