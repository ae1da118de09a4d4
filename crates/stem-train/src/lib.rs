//! Training for `stem-core` models: one loop, row-sparse optimizers, exact metrics, early stopping, bundles.
//!
//! The modules in the order a training walks through them:
//!
//! | step | module |
//! |---|---|
//! | one TOML per experiment | [`Experiment`], [`TrainConfig`] |
//! | a run: train by name, save, measure | [`run()`] |
//! | epochs, evaluation, best weights | [`Learner`] |
//! | gather, forward, loss, backward, clip, update | [`step`] |
//! | whose loss counts how much | [`balance`] |
//! | Adam and others on the network and on rows; the rate | [`optimizer`], [`schedule`] |
//! | AUC, gAUC, logloss, calibration | [`metrics`] |
//! | how much it takes, told beforehand | [`memory`] |
//! | models against each other, and against single-task | [`compare()`], [`CompareConfig`] |
//! | settings for them, on the validation split | [`search`] |
//! | intervals, strata, likeness, on plain slices | [`analysis`] |
//! | what a model is like | [`inspect`] |
//! | all of it as one page | [`report`] |
//! | held to the reference, number by number | [`parity`] |
//!
//! ```no_run
//! use stem_data::{Dataset, Recipe, prepare};
//! use stem_train::{Experiment, ModelName, RunOptions, run};
//!
//! let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
//! let dataset = prepare(&recipe, "data".as_ref(), "out/columns".as_ref(), true)?;
//! let experiment = Experiment::load("datasets/simulated/experiment.toml")?;
//! let metrics = run(ModelName::Stem, &experiment, &dataset, "out".as_ref(), &RunOptions::default())?;
//! println!("{:?}", metrics.test);
//! # Ok::<(), stem_train::Error>(())
//! ```

mod experiment;
mod run;
mod fit;
mod learner;
pub mod step;
pub mod balance;
pub mod optimizer;
pub mod schedule;
mod early_stop;
mod single_task;
pub mod metrics;
pub mod memory;
mod loss_meter;
mod progress;
mod log;
mod files;
pub mod analysis;
pub mod inspect;
mod queue;
mod kept;
pub mod search;
mod compare;
pub mod report;
pub mod reference;
pub mod parity;
mod error;

pub use balance::BalanceConfig;
pub use compare::{
    CompareConfig, Comparison, ModelComparison, StratumComparison, StratumNumbers, TaskComparison, compare, run_folder,
};
pub use error::{Error, Result};
pub use experiment::{Experiment, Monitor, TrainConfig};
pub use fit::RunOptions;
pub use learner::{FitSummary, Learner, StopFlag};
pub use metrics::TaskMetrics;
pub use optimizer::OptimizerConfig;
pub use progress::Progress;
pub use run::{RunMetrics, measure, run};
pub use schedule::ScheduleConfig;
pub use search::SearchConfig;
pub use stem_core::ModelName;
pub use step::{Objective, TableMode, TrainState};
