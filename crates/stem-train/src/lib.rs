//! Training for `stem-core` models: one loop, row-sparse optimizers, early stopping, bundles.
//!
//! The modules in the order a training walks through them:
//!
//! | step | module |
//! |---|---|
//! | how to train | [`TrainConfig`] |
//! | what is monitored, how often, whose best is kept | [`Monitor`], [`EvaluateEvery`], [`Best`] |
//! | epochs, evaluations, best weights | [`Learner`] |
//! | weights to start from, where a model is trained on | [`Start`], [`NewRows`] |
//! | from score to probability, on validation | [`Calibrate`] |
//! | where it works until it is whole; what says that it has ended | [`Unfinished`], [`done`](fn@done) |
//! | gather, forward, loss, backward, clip, update | [`step`] |
//! | the weight of each task's loss | [`balance`] |
//! | what is believed of the table's rows | [`prior`] |
//! | Adam and others on the network and on rows; the rate | [`optimizer`], [`schedule`] |
//! | how much memory it will take | [`memory`] |
//! | several processes that train one model | [`ranks`] |
//!
//! Metrics are those of [`stem_report::metrics`]. Experiments of several models, by name, are in `stem-experiment`.
//!
//! ```no_run
//! use stem_core::{DeviceSpec, ModelName};
//! use stem_data::{Dataset, Split};
//! use stem_train::{Learner, TrainConfig};
//!
//! let dataset = Dataset::open("out/columns")?;
//! let (model, train) = (ModelName::Stem.default_config(), TrainConfig::default());
//! let mut learner = Learner::new(model, &dataset, train, &DeviceSpec::default().open()?, "out")?;
//! learner.fit()?;
//! println!("{:?}", learner.evaluate(Split::Test)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod monitor;
mod learner;
mod check;
mod measure;
mod training;
mod start;
mod warm;
mod given;
mod counts;
mod unseen;
mod unseen_domain;
mod calibrate;
mod keep;
pub mod step;
pub mod balance;
pub mod optimizer;
pub mod prior;
pub mod schedule;
mod early_stop;
mod checkpoint;
pub mod memory;
pub mod ranks;
mod loss_meter;
mod log;
mod done;
mod unfinished;
mod error;

pub use balance::BalanceConfig;
pub use calibrate::Calibrate;
pub use check::check;
pub use checkpoint::{CheckpointEvery, settings};
pub use config::{NegativeSampling, TrainConfig};
pub use done::{done, mark_done, unmark_done};
pub use error::{Error, Result, require};
pub use keep::{BUNDLE, JOINT, Moment};
pub use learner::{FitSummary, Learner};
pub use log::LOG;
pub use monitor::{Best, EvaluateEvery, Monitor};
pub use optimizer::OptimizerConfig;
pub use prior::PriorConfig;
pub use schedule::ScheduleConfig;
pub use start::{CHECKPOINT, Start, checkpoint_of};
pub use stem_data::{Bar, Progress, StopFlag};
pub use stem_report::analysis::Metric;
pub use step::{Objective, TableMode, TrainState};
pub use unfinished::Unfinished;
pub use warm::NewRows;
