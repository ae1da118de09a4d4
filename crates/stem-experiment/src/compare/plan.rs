//! Which models are compared, with which settings.

use std::fmt::Display;

use stem_core::models::ModelFamily;
use stem_data::{Dataset, Split};
use stem_train::TrainConfig;

use super::{CompareConfig, REFERENCE};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::measured::RunMetrics;
use crate::queue::check_memory;
use crate::run::check;

/// The models in the order they are shown, each with the experiment it is run with.
#[derive(Debug)]
pub(crate) struct Plan<C> {
    pub models: Vec<(&'static str, Experiment<C>)>,
    /// The place of single-task.
    pub reference: usize,
    /// How all are trained where no search has found something else.
    pub train: TrainConfig,
}

impl CompareConfig {
    /// Refuses what no data could be compared by.
    ///
    /// # Errors
    /// [`Error::Compare`] with what stands there and what may.
    pub fn check(&self) -> Result<()> {
        let require = |key: &'static str, found: &dyn Display, expected: &str, holds: bool| {
            let fault = || Error::Compare { key, found: found.to_string(), expected: expected.into() };
            if holds { Ok(()) } else { Err(fault()) }
        };
        let models = self.models.join(", ");
        require("models", &"empty", "one or more to compare with single-task", !self.models.is_empty())?;
        require("models", &models, "a model that shares: single-task is compared with nothing", models != REFERENCE)?;
        require("models", &models, "every name once", !repeats(&self.models))?;
        require("seeds", &"empty", "one or more, e.g. 1, 2, 3", !self.seeds.is_empty())?;
        let seeds = self.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let expected = "every seed once: the same run twice says nothing about the spread of seeds";
        require("seeds", &seeds, expected, !repeats(&self.seeds))?;
        require("jobs", &self.jobs, "1 or more", self.jobs > 0)?;
        let resamples = self.bootstrap.resamples;
        require("bootstrap.resamples", &resamples, "20 or more for a 95 % interval, 1000 as a rule", resamples >= 20)?;
        if let Some([low, high]) = self.cuts {
            let ascending = 0.0 <= low && low <= high && high <= 1.0;
            require("cuts", &format_args!("{low}, {high}"), "ascending shares from 0 to 1", ascending)?;
        }
        match &self.search {
            None => Ok(()),
            Some(search) => search.check().map_err(|what| Error::Search { what }),
        }
    }
}

impl<C: ModelFamily> Plan<C> {
    /// Checks everything that can be told before the long work.
    pub(crate) fn new(
        config: &CompareConfig,
        experiment: &Experiment<C>,
        dataset: &Dataset,
        available: Option<u64>,
    ) -> Result<Self> {
        config.check()?;
        experiment.train.check()?;
        check_data(config, dataset)?;
        let mut names = config.models.iter().map(|name| C::find(name)).collect::<Result<Vec<_>, _>>()?;
        let reference = names.iter().position(|model| *model == REFERENCE).unwrap_or(names.len());
        if reference == names.len() {
            names.push(C::find(REFERENCE)?);
        }
        let mut runs = Vec::new();
        for model in &names {
            let bytes = check(model, experiment, dataset, available, 1)?;
            runs.extend(config.seeds.iter().map(|_| bytes));
        }
        check_memory(&runs, config.jobs, available)?;
        let models = names.into_iter().map(|model| (model, experiment.clone())).collect();
        Ok(Self { models, reference, train: experiment.train.clone() })
    }

    /// What may be compared besides sharing.
    pub(super) fn warnings(
        &self,
        experiment: &Experiment<C>,
        config: &CompareConfig,
        runs: &[Vec<RunMetrics>],
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if config.seeds.len() == 1 {
            warnings.push("One seed: how much of a difference is the luck of training is not known.".into());
        }
        let unnamed: Vec<&str> = self.models.iter().map(|(model, _)| *model).filter(|m| !experiment.has(m)).collect();
        if !unnamed.is_empty() && config.search.is_none() {
            let sizes = experiment.preset_sizes();
            warnings.push(format!("The experiment has no sections for {}: these have {sizes}.", unnamed.join(", ")));
        }
        let epochs =
            |runs: &Vec<RunMetrics>| runs.iter().map(|run| run.epochs).sum::<usize>() as f64 / runs.len() as f64;
        let full = epochs(&runs[self.reference]);
        for ((model, _), runs) in self.models.iter().zip(runs).filter(|(_, runs)| 2.0 * epochs(runs) < full) {
            warnings.push(format!(
                "{model} stopped after {:.0} epochs on average and single-task after {full:.0}: what is compared may be early \
                 stopping rather than sharing. More patience would tell.",
                epochs(runs)
            ));
        }
        warnings
    }

    /// Runs every model with what a search has found for it.
    pub(crate) fn take_over(&mut self, found: Vec<Experiment<C>>) {
        self.models.iter_mut().zip(found).for_each(|((_, experiment), found)| *experiment = found);
    }
}

/// Refuses data on which no models can be compared, and settings that have no effect on it.
fn check_data(config: &CompareConfig, dataset: &Dataset) -> Result<()> {
    let one_task = dataset.schema().tasks.len() < 2;
    let without_effect = |key, found: String| {
        let expected = "nothing where there is one task: without a pair of tasks it has no effect".into();
        Err(Error::Compare { key, found, expected })
    };
    if let Some([low, high]) = config.cuts.filter(|_| one_task) {
        return without_effect("cuts", format!("{low}, {high}"));
    }
    if let Some(field) = config.picture.clone().filter(|_| one_task) {
        return without_effect("picture", field);
    }
    if dataset.groups(Split::Test).is_none() {
        let what =
            "the recipe names no `group`, and users are what intervals are drawn over and what is cut into strata";
        return Err(Error::Incomparable { what, remedy: "add e.g. group = \"user\" to the recipe" });
    }
    if dataset.rows(Split::Test) == 0 {
        let what = "the test split has no rows, so that nothing can be measured";
        return Err(Error::Incomparable { what, remedy: "give the recipe's split some" });
    }
    Ok(())
}

/// Whether an item occurs a second time.
fn repeats<T: PartialEq>(items: &[T]) -> bool {
    (1..items.len()).any(|i| items[..i].contains(&items[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::ModelConfig;
    use stem_core::models::Preset;

    fn of_epochs(epochs: &[usize]) -> Vec<RunMetrics> {
        let run = |&epochs: &usize| {
            let text = format!(
                r#"{{"model":"x","seed":1,"device":"flex","epochs":{epochs},"seconds":1.0,"rows_per_second":1.0,
                    "parameters":1,"interrupted":false,"test":{{}},"valid":{{}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        epochs.iter().map(run).collect()
    }

    fn warnings(preset: Preset, seeds: &[u64], stem: &[usize], single: &[usize]) -> Vec<String> {
        let mut experiment = Experiment::<ModelConfig>::default();
        experiment.preset = preset;
        let experiment = experiment.with_model(ModelConfig::of_preset("stem", preset).unwrap());
        let models = vec![("stem", experiment.clone()), ("single-task", experiment.clone())];
        let plan = Plan { models, reference: 1, train: experiment.train.clone() };
        let config = CompareConfig { seeds: seeds.to_vec(), ..CompareConfig::default() };
        plan.warnings(&experiment, &config, &[of_epochs(stem), of_epochs(single)])
    }

    #[test]
    fn a_model_that_stopped_before_half_of_single_tasks_epochs_is_warned_of() {
        let sizes = "The experiment has no sections for single-task: these have the STEM paper's sizes.";
        let of = |stem: &[usize], single: &[usize]| warnings(Preset::Paper, &[1, 2], stem, single);
        assert_eq!(of(&[2, 3], &[5, 5]), [sizes], "half is not less than half");
        let found = of(&[2, 2], &[5, 5]);
        assert_eq!(found.len(), 2);
        assert!(
            found[1]
                .starts_with("stem stopped after 2 epochs on average and single-task after 5: what is compared may be"),
            "{found:?}"
        );
        assert_eq!(of(&[9, 9], &[2, 2]), [sizes], "more than single-task is no early stop");
    }

    #[test]
    fn one_seed_and_sizes_that_nobody_named_are_warned_of() {
        let found = warnings(Preset::Small, &[1], &[5], &[5]);
        assert!(found[0].starts_with("One seed: "), "{found:?}");
        assert_eq!(found[1], "The experiment has no sections for single-task: these have small sizes.");
    }
}
