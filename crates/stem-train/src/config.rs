//! How to train: the section `[train]` of an experiment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stem_core::Schema;
use stem_core::loss::{Criterion, TaskLoss};
use stem_core::precision::Precision;
use stem_data::{Dataset, Split};

use crate::balance::BalanceConfig;
use crate::calibrate::Calibrate;
use crate::checkpoint::CheckpointEvery;
use crate::error::{Result, require};
use crate::monitor::{Best, EvaluateEvery, Monitor};
use crate::optimizer::OptimizerConfig;
use crate::prior::PriorConfig;
use crate::ranks::Wire;
use crate::schedule::ScheduleConfig;
use crate::step::TableMode;
use crate::warm::NewRows;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section [train] of keys")]
pub struct TrainConfig {
    /// Rows a step.
    pub batch_size: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// The rate that the schedule starts from.
    pub learning_rate: f64,
    /// How the rate goes on.
    pub schedule: ScheduleConfig,
    /// Steps over which the rate climbs to `learning_rate` at the start; 0 for none.
    pub warm_up_steps: usize,
    /// How gradients change weights.
    pub optimizer: OptimizerConfig,
    /// How often validation is asked: on real logs the best moment often lies inside the first epochs.
    pub evaluate_every: EvaluateEvery,
    /// How often all that the next step depends on is written to disk, for a training that was killed to go on from; never where it is
    /// not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<CheckpointEvery>,
    /// Whether a training leaves, beside its bundle, a checkpoint of the last moment that was the best of some task, with the optimizer's
    /// moments, for the next day's training to start from.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_checkpoint: bool,
    /// What decides whether an evaluation was better.
    pub monitor: Monitor,
    /// Whose best weights are kept: each task's own, or one state for all.
    pub best: Best,
    /// A task's weights are settled after so many evaluations in a row that were no better for it; training stops when all are.
    pub patience: usize,
    /// What is believed of the table's rows: that they are near zero, by variances that are learned, or by a number that is given.
    /// `None`: the learned one, or `embedding_l2`.
    pub prior: Option<PriorConfig>,
    /// Another name for `prior = { name = "fixed", l2 = ... }`.
    pub embedding_l2: Option<f64>,
    /// `lambda` of `(lambda / 2) ||weights and biases of the network||^2`: weight decay as part of the loss.
    pub network_l2: f64,
    /// Gradients are scaled down to this global norm.
    pub max_gradient_norm: f64,
    /// Standard deviation of the embeddings at the start.
    pub embedding_std: f32,
    /// Whether an epoch sees only a share of the rows that are positive for no task; those count by as much more, so that scores stay
    /// probabilities of all rows. All rows where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_sampling: Option<NegativeSampling>,
    /// Whether scores become probabilities that can be taken at their word, and how: by a map for each task, fitted on validation and kept in
    /// the bundle.
    #[serde(skip_serializing_if = "is_default")]
    pub calibrate: Calibrate,
    /// Where the rows of keys start that a model does not know yet, when it is trained on from an earlier training.
    #[serde(skip_serializing_if = "is_default")]
    pub new_rows: NewRows,
    /// How many keys are shown as unseen, for the row of the unseen to be trained, which every new key reads: an occurrence of a key with
    /// `n` occurrences with the probability `unseen / (unseen + n)`. 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub unseen: f64,
    /// Fields whose rows stay as the recipe's `vectors` give them; what has no vector is trained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// Whether the table, and the optimizer's state of it, start again with every epoch while the network goes on: against what a table
    /// learns by heart in its second epoch (MEDA, arXiv 2407.01607).
    pub table_restart: bool,
    /// The loss of a task by its name, where it is another than its label's kind has by default: `[train.losses.like]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<String, TaskLoss>,
    /// Weight of each task's loss by name; 1 where it is not named.
    pub task_weights: BTreeMap<String, f64>,
    /// How the tasks' losses are balanced against each other while training.
    pub balance: BalanceConfig,
    /// Row-sparse or dense.
    pub table: TableMode,
    /// Of the products in a training step: `"bf16"` rounds their factors to 8 bits where the processor multiplies those faster
    /// (AVX-512 BF16, device flex), and is `"f32"` elsewhere. Weights, sums and evaluation are f32 always.
    pub precision: Precision,
    /// How rows and gradients travel where several ranks train: as they are, or as `"bf16"`, rounded to 8 bits, which is half the bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub wire: Wire,
    /// Of weights, shuffling and dropout.
    pub seed: u64,
}

/// Which rows without a positive an epoch sees.
///
/// ```toml
/// negative_sampling = { keep = 0.1 }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { keep = 0.1 }")]
pub struct NegativeSampling {
    /// Their share, drawn anew in every epoch.
    pub keep: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 4096,
            epochs: 20,
            learning_rate: 1e-3,
            schedule: ScheduleConfig::default(),
            warm_up_steps: 0,
            optimizer: OptimizerConfig::default(),
            evaluate_every: EvaluateEvery::default(),
            checkpoint_every: None,
            keep_checkpoint: false,
            monitor: Monitor::default(),
            best: Best::default(),
            patience: 2,
            prior: None,
            embedding_l2: None,
            network_l2: 0.0,
            max_gradient_norm: 10.0,
            embedding_std: 0.01,
            negative_sampling: None,
            calibrate: Calibrate::default(),
            new_rows: NewRows::default(),
            unseen: 0.0,
            frozen: Vec::new(),
            table_restart: false,
            losses: BTreeMap::new(),
            task_weights: BTreeMap::new(),
            balance: BalanceConfig::default(),
            table: TableMode::RowSparse,
            precision: Precision::F32,
            wire: Wire::F32,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// The prior that these settings ask for.
    pub fn prior(&self) -> PriorConfig {
        let given = || self.embedding_l2.map(|l2| PriorConfig::Fixed { l2 });
        self.prior.or_else(given).unwrap_or_default()
    }

    /// The share of rows without a positive that an epoch sees, where it is not all of them.
    pub fn kept_negatives(&self) -> Option<f64> {
        self.negative_sampling.map(|sampling| sampling.keep)
    }

    /// Steps of an epoch.
    pub fn steps_an_epoch(&self, dataset: &Dataset) -> usize {
        dataset.rows_kept(Split::Train, self.kept_negatives()).div_ceil(self.batch_size)
    }

    /// Steps of all epochs.
    pub fn planned_steps(&self, dataset: &Dataset) -> usize {
        self.epochs.saturating_mul(self.steps_an_epoch(dataset))
    }

    /// How often validation is asked in an epoch; 1 where it is asked more seldom.
    pub fn evaluations_an_epoch(&self, dataset: &Dataset) -> usize {
        self.evaluate_every.in_an_epoch(self.steps_an_epoch(dataset))
    }

    /// The same settings with the prior that they ask for written out.
    #[must_use]
    pub fn written_out(&self) -> Self {
        Self { prior: Some(self.prior()), embedding_l2: None, ..self.clone() }
    }

    /// `lambda` of the fixed prior; 0 where it is learned.
    pub fn l2(&self) -> f64 {
        match self.prior() {
            PriorConfig::Learned { .. } => 0.0,
            PriorConfig::Fixed { l2 } => l2,
        }
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may.
    pub fn check(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let (above, least) = ("a number above 0", "0 or more");
        require("batch_size", self.batch_size, "1 to 16777216", (1..=1 << 24).contains(&self.batch_size))?;
        require("epochs", self.epochs, "1 or more", self.epochs >= 1)?;
        require("learning_rate", self.learning_rate, above, positive(self.learning_rate))?;
        require("patience", self.patience, "1 or more", self.patience >= 1)?;
        self.evaluate_every.check()?;
        self.checkpoint_every.map_or(Ok(()), CheckpointEvery::check)?;
        self.monitor.check()?;
        if let Some(l2) = self.embedding_l2 {
            require("embedding_l2", l2, least, not_negative(l2))?;
            let expected = "one of `embedding_l2` and `prior`, which speak of the same thing: take one away";
            require("embedding_l2", format_args!("{l2}, beside a `prior`"), expected, self.prior.is_none())?;
        }
        self.prior().check()?;
        require("network_l2", self.network_l2, least, not_negative(self.network_l2))?;
        require("max_gradient_norm", self.max_gradient_norm, above, positive(self.max_gradient_norm))?;
        require("embedding_std", self.embedding_std, least, not_negative(f64::from(self.embedding_std)))?;
        if let Some(NegativeSampling { keep }) = self.negative_sampling {
            require("negative_sampling.keep", keep, "a share above 0 and at most 1", keep > 0.0 && keep <= 1.0)?;
        }
        require("unseen", self.unseen, least, not_negative(self.unseen))?;
        for (name, &weight) in &self.task_weights {
            let holds = (weight as f32).is_finite() && weight >= 0.0;
            require("task_weights", format_args!("{name} = {weight}"), "numbers of 0 or more", holds)?;
        }
        self.optimizer.check()?;
        if let OptimizerConfig::AdamW(adamw) = self.optimizer {
            let (decay, rate) = (adamw.weight_decay, self.learning_rate);
            let expected = "a decay that leaves something of a weight: below 1 / learning_rate";
            require(
                "optimizer.weight_decay",
                format_args!("{decay} at a rate of {rate}"),
                expected,
                rate * decay < 1.0,
            )?;
        }
        self.schedule.check()?;
        self.balance.check()
    }

    /// The losses that these settings ask for.
    ///
    /// # Errors
    /// As [`Criterion::with`].
    pub fn criterion(&self, schema: &Schema) -> Result<Criterion> {
        Ok(Criterion::with(schema, &self.losses)?)
    }

    /// Refuses weights and losses of tasks that the schema does not have, and losses that are not for a task's kind.
    ///
    /// # Errors
    /// [`UnknownLabel`](stem_core::Error::UnknownLabel) and [`Config`](stem_core::Error::Config) of `stem-core`.
    pub fn check_tasks(&self, schema: &Schema) -> Result<()> {
        self.criterion(schema)?;
        self.task_weights.keys().try_for_each(|name| schema.task_of("[train.task_weights]", name).map(drop))?;
        Ok(())
    }
}
