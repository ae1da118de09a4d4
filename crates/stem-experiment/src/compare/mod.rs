//! Does sharing help, for whom, and what to ship: several models with several seeds on one data set, against single-task.
//!
//! | step | module |
//! |---|---|
//! | which models, with which settings | `plan` |
//! | may they go into this folder? | `folder` |
//! | settings found on the validation split | [`search`](crate::search) |
//! | every model with every seed, none twice | `runs` |
//! | what each is like on the test split | `measure` |
//! | who gains, of all users and of the comparable | `transfer` |
//! | `comparison.json` | [`Comparison`] |
//! | `report.html` | [`report`](stem_report::report) |
//!
//! ```no_run
//! use stem_data::{Dataset, PrepareOptions, Recipe, prepare};
//! use stem_experiment::{CompareConfig, Experiment, RunOptions, compare};
//! use stem_report::report;
//!
//! let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
//! let dataset = prepare(&recipe, "out/sim".as_ref(), "out/sim/columns".as_ref(), &PrepareOptions::default())?;
//! let experiment = Experiment::load("datasets/simulated/experiment.toml")?;
//! let config = CompareConfig { models: vec!["stem".into(), "mmoe".into()], ..CompareConfig::default() };
//! let found = compare(&config, &experiment, &dataset, "out/sim".as_ref(), &RunOptions::default())?;
//! report::verdicts(&found).iter().for_each(|verdict| println!("{}", verdict.headline));
//! # Ok::<(), stem_experiment::Error>(())
//! ```

mod folder;
mod json;
mod measure;
mod plan;
mod runs;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use stem_core::lock::Lock;
use stem_core::models::ModelFamily;
use stem_core::{ModelName, Task, files};
use stem_data::Dataset;

pub use json::{Comparison, ModelComparison, StratumComparison};
pub use runs::run_folder;

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::folder::PLAN;
use crate::inspect::{self, pairs, picture_field, provenance};
use crate::measured::RunMetrics;
use crate::options::RunOptions;
use crate::queue::A_WHILE;
use crate::search::{Search, SearchConfig};
use plan::Plan;
use stem_report::analysis::{Bootstrap, LabelKind, Metric};
use stem_report::report::{self, Report, SearchReport};
use stem_train::memory;
use transfer::Compared;

/// The model that the others are compared with: one of its own for every task.
pub(crate) const REFERENCE: &str = ModelName::SingleTask.as_str();

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareConfig {
    /// Names of models, in the order they are shown. Single-task, the reference, is added where it is missing.
    pub models: Vec<String>,
    /// A run for each, of every model.
    pub seeds: Vec<u64>,
    /// Runs at the same time. With dropout they draw from one generator: more than one makes such runs differ from time to time.
    pub jobs: usize,
    /// Where users are cut into strata, by their share of positives of the second task of a pair; terciles of the test rows if absent.
    pub cuts: Option<[f64; 2]>,
    /// The field whose embeddings are drawn; by default the users.
    pub picture: Option<String>,
    /// What decides: a recipe's `verdict`.
    pub metric: Metric,
    /// What decides on a task, by its name: a label's `metric`. Of the others `metric` does, or XAUC where their label is a number and it
    /// is a metric of labels 0 and 1.
    pub metrics: BTreeMap<String, Metric>,
    /// How intervals are drawn.
    pub bootstrap: Bootstrap,
    /// Finds settings for every model first.
    pub search: Option<SearchConfig>,
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self {
            models: vec!["stem".into(), "shared-bottom".into()],
            seeds: vec![1, 2, 3],
            jobs: 1,
            cuts: None,
            picture: None,
            metric: Metric::default(),
            metrics: BTreeMap::new(),
            bootstrap: Bootstrap::default(),
            search: None,
        }
    }
}

/// Trains every model with every seed, except what is there already, and measures them on the test split. `out` receives
/// `runs/MODEL/seed-N`, `comparison.json` and `report.html`.
///
/// # Errors
/// A comparison that cannot be made (an unknown model, no group, a folder of another comparison unless
/// [`overwrite`](RunOptions::overwrite), or that somebody else writes into ...), and whatever keeps a model from being trained or
/// measured. Finished runs are kept, and the same call goes on from there.
pub fn compare<C: ModelFamily>(
    config: &CompareConfig,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    out: &Path,
    options: &RunOptions,
) -> Result<Report> {
    options.alone("a comparison")?;
    let (plan, search) = planned(config, experiment, dataset, options)?;
    let field = picture_field(dataset.schema(), config.picture.as_deref())?;
    let _lock = Lock::of(out)?;
    folder::take(out, &plan, config.search.as_ref(), dataset, options)?;
    plan.models.iter().for_each(|(model, _)| experiment.log_preset(model));
    let Trained { plan, runs, search, warnings: of_search } = trained(plan, search, config, dataset, out, options)?;
    let mut warnings = inspect::of_dataset(dataset);
    warnings.extend(inspect::of_training(&experiment.train, dataset));
    warnings.extend(of_search);

    let tasks = dataset.schema().task_names();
    let pairs = pairs(dataset, config.cuts);
    let metrics = metrics_of(dataset, config.metric, &config.metrics);
    let (mut models, scores) = measure::models(&plan, &runs, dataset, &pairs, field, &metrics, out, options)?;
    warnings.extend(plan.warnings(experiment, config, &runs));
    let constants = inspect::constants(dataset);
    for (model, seeds) in models.iter().zip(&scores) {
        warnings.extend(inspect::of_model(model, seeds, &constants, dataset));
    }
    let compared = Compared {
        scores: &scores,
        reference: plan.reference,
        dataset,
        metrics: &metrics,
        bootstrap: config.bootstrap,
    };
    let (pairs, doubtful) = transfer::fill(&mut models, &compared, &pairs, out, options)?;
    warnings.extend(doubtful);
    let mut told = BTreeSet::new();
    warnings.retain(|warning| told.insert(warning.clone()));
    let seconds = runs.iter().flatten().map(|run| run.seconds).sum();
    let found = Report {
        title: format!("Does sharing help on {}?", dataset.name()),
        provenance: provenance(dataset, &experiment.train, &config.seeds, options, seconds),
        tasks,
        reference: Some(REFERENCE.into()),
        metric: config.metric,
        metrics,
        models,
        pairs,
        warnings,
        search,
        replay: None,
        evaluation: None,
    };
    files::write_json(&out.join("comparison.json"), &Comparison::of(&found))?;
    files::replace_text(&out.join("report.html"), &report::render(&found))?;
    Ok(found)
}

/// Takes part in the comparison that another process makes by [`compare`] in the folder `out`, which both see, with the same arguments: trains runs, of its
/// search too, that no other is at, until all are there. A run of a process that died is gone on with by another. Returns when nothing is left to train; what
/// the runs come to the other one measures.
///
/// # Errors
/// Those of [`compare`] before its first measurement, and a folder that is still of another comparison after an hour.
pub fn lend_a_hand<C: ModelFamily>(
    config: &CompareConfig,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    out: &Path,
    options: &RunOptions,
) -> Result<()> {
    let (plan, search) = planned(config, experiment, dataset, options)?;
    let begun = Instant::now();
    loop {
        let what = match out.join(PLAN).exists() {
            true => folder::other(out, &plan, config.search.as_ref(), dataset, options)?,
            false => Some("it holds no plan".into()),
        };
        match what {
            None => break,
            Some(_) if begun.elapsed() < LONGEST_WAIT && !options.stop.is_set() => sleep(A_WHILE),
            Some(what) => {
                let what = format!("is not of this comparison, which the first process has to begin ({what})");
                return Err(Error::OtherComparison { folder: out.to_path_buf(), what });
            }
        }
    }
    trained(plan, search, config, dataset, out, options).map(drop)
}

/// Time for the first process to begin a comparison.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

fn planned<C: ModelFamily>(
    config: &CompareConfig,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    options: &RunOptions,
) -> Result<(Plan<C>, Option<Search<C>>)> {
    let available = memory::available_to(&options.device.open()?);
    let plan = Plan::new(config, experiment, dataset, available)?;
    let search = config.search.as_ref();
    let search = search.map(|search| Search::new(search, &plan.models, config.jobs, dataset, available)).transpose()?;
    Ok((plan, search))
}

/// All that is trained for a comparison.
struct Trained<C> {
    /// With what the search has found.
    plan: Plan<C>,
    /// Of each model one with each seed.
    runs: Vec<Vec<RunMetrics>>,
    search: Option<SearchReport>,
    warnings: Vec<String>,
}

fn trained<C: ModelFamily>(
    mut plan: Plan<C>,
    search: Option<Search<C>>,
    config: &CompareConfig,
    dataset: &Dataset,
    out: &Path,
    options: &RunOptions,
) -> Result<Trained<C>> {
    let mut warnings = Vec::new();
    let search = match search {
        None => None,
        Some(search) => {
            let found = search.run(config.jobs, dataset, out, options)?;
            plan.take_over(found.winners);
            warnings = found.warnings;
            Some(found.report)
        }
    };
    let runs = runs::train(&plan, config, dataset, out, options)?;
    Ok(Trained { plan, runs, search, warnings })
}

/// What decides on each task.
pub(crate) fn metrics_of(dataset: &Dataset, metric: Metric, own: &BTreeMap<String, Metric>) -> Vec<Metric> {
    let of = |(task, kind): (&Task, LabelKind)| deciding(kind, metric, own.get(&task.name).copied());
    dataset.schema().tasks.iter().zip(dataset.label_kinds()).map(of).collect()
}

/// What decides on a task: its own metric, that of all, or what says something of its kind of label.
fn deciding(kind: LabelKind, of_all: Metric, own: Option<Metric>) -> Metric {
    let is_of_others = matches!(of_all, Metric::Rmse | Metric::Mae | Metric::Xauc | Metric::Accuracy);
    let says_nothing = !of_all.applies_to(kind) || kind == LabelKind::Binary && is_of_others;
    let fallback = if says_nothing { Metric::plain(kind) } else { of_all };
    own.filter(|own| own.applies_to(kind)).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_decided_by_its_own_metric_or_by_one_that_says_something_of_its_label() {
        let (binary, value) = (LabelKind::Binary, LabelKind::Value);
        assert_eq!(deciding(binary, Metric::Gauc, None), Metric::Gauc);
        assert_eq!(deciding(value, Metric::Gauc, None), Metric::Xauc, "there are no two classes of a number");
        assert_eq!(deciding(binary, Metric::Rmse, None), Metric::Auc, "an error of labels of 0 and 1 does not rank");
        assert_eq!(deciding(value, Metric::Rmse, None), Metric::Rmse);
        assert_eq!(deciding(LabelKind::Class, Metric::Gauc, None), Metric::Accuracy, "classes have no order");
        assert_eq!(deciding(value, Metric::Accuracy, None), Metric::Xauc);
        assert_eq!(deciding(binary, Metric::Gauc, Some(Metric::Logloss)), Metric::Logloss);
        assert_eq!(deciding(value, Metric::Mae, Some(Metric::Gauc)), Metric::Mae, "its own says nothing of a number");
    }
}
