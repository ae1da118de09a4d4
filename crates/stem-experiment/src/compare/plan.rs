//! Which models are compared, with which settings.

use stem_core::ModelName;
use stem_data::{Dataset, Split};

use super::CompareConfig;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::run::{RunMetrics, check};
use stem_train::TrainConfig;

/// The models in the order they are shown, each with the experiment it is run with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub models: Vec<(ModelName, Experiment)>,
    /// The place of single-task.
    pub reference: usize,
    /// How all are trained where no search has found something else.
    pub train: TrainConfig,
}

impl CompareConfig {
    /// Refuses what no data could be compared by.
    ///
    /// # Errors
    /// [`Error::Comparison`] with what stands there and what may.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::Comparison { what });
        if self.models.is_empty() {
            return fault("no model is named: name one or more to compare with single-task".into());
        }
        if self.models == [ModelName::SingleTask] {
            return fault("single-task alone is compared with nothing: name a model that shares".into());
        }
        if let Some(model) = twice(&self.models) {
            return fault(format!("model '{model}' is named twice"));
        }
        if self.seeds.is_empty() {
            return fault("no seed is named: name one or more, e.g. 1,2,3".into());
        }
        if let Some(seed) = twice(&self.seeds) {
            return fault(format!(
                "seed {seed} is named twice: the same run twice says nothing about the spread of seeds"
            ));
        }
        if self.jobs == 0 {
            return fault("0 runs at the same time: expected 1 or more".into());
        }
        if self.bootstrap.resamples < 20 {
            let found = self.bootstrap.resamples;
            return fault(format!("{found} resamples give no 95 % interval: expected 20 or more, 1000 as a rule"));
        }
        if let Some([low, high]) = self.cuts
            && !(0.0 <= low && low <= high && high <= 1.0)
        {
            return fault(format!("the cuts {low}, {high} are no ascending shares from 0 to 1"));
        }
        match &self.search {
            None => Ok(()),
            Some(search) => search.check().or_else(|what| fault(format!("search: {what}"))),
        }
    }
}

impl Plan {
    /// Checks everything that can be told before the long work.
    pub(crate) fn new(config: &CompareConfig, experiment: &Experiment, dataset: &Dataset) -> Result<Self> {
        config.check()?;
        experiment.train.check()?;
        let fault = |what: String| Err(Error::Comparison { what });
        let schema = dataset.schema();
        if schema.tasks.len() < 2 {
            if config.cuts.is_some() {
                return fault("cuts have no effect with one task: there is no pair of tasks to be cut by".into());
            }
            if config.picture.is_some() {
                return fault(
                    "a picture has no effect with one task: its points have the colours of a pair's strata".into(),
                );
            }
        }
        if dataset.groups(Split::Test).is_none() {
            return fault(
                "the recipe names no `group`: users are what intervals are drawn over and what is cut into strata. Add e.g. \
                 group = \"user\" to the recipe"
                    .into(),
            );
        }
        if dataset.rows(Split::Test) == 0 {
            return fault("the test split has no rows: nothing can be measured".into());
        }
        let mut names = config.models.clone();
        if !names.contains(&ModelName::SingleTask) {
            names.push(ModelName::SingleTask);
        }
        for &model in &names {
            check(model, experiment, dataset)?;
            if !experiment.has(model) {
                tracing::info!("the experiment has no section [{model}]: default sizes");
            }
        }
        let reference = names.iter().position(|model| *model == ModelName::SingleTask).expect("it was just added");
        let models = names.into_iter().map(|model| (model, experiment.clone())).collect();
        Ok(Self { models, reference, train: experiment.train.clone() })
    }

    /// What may be compared besides sharing.
    pub(super) fn warnings(
        &self,
        experiment: &Experiment,
        config: &CompareConfig,
        runs: &[Vec<RunMetrics>],
    ) -> Vec<String> {
        let mut told = Vec::new();
        if config.seeds.len() == 1 {
            told.push("One seed: how much of a difference is the luck of training is not known.".into());
        }
        let sizes: Vec<&str> =
            self.models.iter().map(|(m, _)| *m).filter(|m| !experiment.has(*m)).map(ModelName::as_str).collect();
        if !sizes.is_empty() && config.search.is_none() {
            let sections = sizes.join(", ");
            told.push(format!(
                "The experiment has no sections for {sections}: these have default sizes, which are large."
            ));
        }
        let epochs =
            |runs: &Vec<RunMetrics>| runs.iter().map(|run| run.epochs).sum::<usize>() as f64 / runs.len() as f64;
        let full = epochs(&runs[self.reference]);
        for ((model, _), runs) in self.models.iter().zip(runs).filter(|(_, runs)| 2.0 * epochs(runs) < full) {
            told.push(format!(
                "{model} stopped after {:.0} epochs on average and single-task after {full:.0}: what is compared may be early \
                 stopping rather than sharing. More patience would tell.",
                epochs(runs)
            ));
        }
        told
    }

    /// Runs every model with what a search has found for it.
    pub(crate) fn take_over(&mut self, found: Vec<Experiment>) {
        self.models.iter_mut().zip(found).for_each(|((_, experiment), found)| *experiment = found);
    }
}

/// The first item that occurs a second time.
fn twice<T: PartialEq + Copy>(items: &[T]) -> Option<T> {
    (1..items.len()).find(|&i| items[..i].contains(&items[i])).map(|i| items[i])
}
