//! Experiments with `stem` models: a run by name, a search of settings, a comparison against single-task, and what a trained model
//! is like, told as one page.
//!
//! | what | module |
//! |---|---|
//! | one TOML per experiment: how to train, sizes of every model | [`Experiment`] |
//! | a run: train by name, save, measure; the same from an earlier model, with rows of a later day | [`run()`], [`run_from()`] |
//! | models against each other, and against single-task | [`compare()`], [`CompareConfig`] |
//! | a log played again, day by day, with a model that is kept up to date | [`replay()`] |
//! | settings for them, on the validation split | [`search`] |
//! | what a model is like | `inspect` |
//! | metrics of runs, for a terminal | [`metrics_table()`] |
//! | the page of a data set | [`data_page()`] |
//!
//! A model goes by its name. `C`, the family of models that an experiment speaks of, is that of `stem-core`, or
//! [`Extended`](stem_core::models::Extended) by one of an application's own, which then enters runs, searches, comparisons and the page as any
//! other.
//!
//! ```no_run
//! use stem_data::{Dataset, PrepareOptions, Recipe, prepare};
//! use stem_experiment::{Experiment, RunOptions, run};
//!
//! let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
//! let dataset = prepare(&recipe, "data".as_ref(), "out/columns".as_ref(), &PrepareOptions::default())?;
//! let experiment = Experiment::load("datasets/simulated/experiment.toml")?;
//! let metrics = run("stem", &experiment, &dataset, "out".as_ref(), &RunOptions::default())?;
//! println!("{:?}", metrics.test);
//! # Ok::<(), stem_experiment::Error>(())
//! ```

mod experiment;
mod options;
mod folder;
mod measured;
mod run;
mod data_page;
mod finished;
mod queue;
mod text;
mod inspect;
pub mod search;
mod compare;
mod evaluate;
mod replay;
mod metrics_table;
mod error;

pub use compare::{CompareConfig, Comparison, ModelComparison, StratumComparison, compare, lend_a_hand, run_folder};
pub use data_page::{data_page, write_data_page};
pub use error::{Error, Result};
pub use evaluate::{EvaluateOptions, Evaluation, Measurement, evaluate};
pub use experiment::Experiment;
pub use measured::{RunMetrics, measure};
pub use metrics_table::metrics_table;
pub use options::{Hands, RunOptions};
pub use replay::{Replay, ReplayConfig, Way, replay};
pub use run::{check_start, run, run_from};
pub use search::SearchConfig;
pub use stem_core::ModelName;
