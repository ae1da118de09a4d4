//! Balancing: whose loss changes the weights how much.
//!
//! | | what | source |
//! |---|---|---|
//! | fixed | `sum_t w_t L_t`, with the weights of the configuration | |
//! | [`Uncertainty`] | `w_t` learned as `exp(-s_t)`, at the price of `s_t / 2` | Kendall et al., CVPR 2018 |
//! | [`Famo`] | `w_t` learned so that all losses fall at like rates | Liu et al., NeurIPS 2023 |
//! | [`Tchebycheff`] | the task furthest behind counts most, smoothly | Lin et al., ICML 2024 |
//! | [`GradNorm`] | `w_t` learned so that tasks' gradients train at like rates | Chen et al., ICML 2018 |
//! | [`PcGrad`] | gradients that point against each other are projected apart | Yu et al., NeurIPS 2020 |
//!
//! | [`MultiBalance`] | gradients are brought to one size, or mixed to the shortest, at the embeddings that tasks share | He et al., 2024 |
//!
//! All but the last three cost nothing; those need every task's gradient alone, that is a forward and a backward pass per task, in
//! each of which batch normalisation moves its running statistics.

mod famo;
mod grad_norm;
mod multi_balance;
mod pc_grad;
mod tchebycheff;
mod uncertainty;

pub use famo::Famo;
pub use grad_norm::GradNorm;
pub use multi_balance::MultiBalance;
pub(crate) use multi_balance::shared_groups;
pub use pc_grad::PcGrad;
pub use tchebycheff::Tchebycheff;
pub use uncertainty::Uncertainty;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use stem_core::models::Model;

use crate::error::{Result, require};
use crate::step::{Gathered, Losses, Objective, Share, StepGradients, TrainState};

/// Which balancing, with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields, expecting = "a table like { name = \"fixed\" }")]
pub enum BalanceConfig {
    /// The weights of `task_weights` as they stand.
    Fixed {}, // braces: serde lets a unit variant have any keys
    /// Uncertainty weighting (UWL).
    Uncertainty {
        /// Rate at which `s_t` is learned.
        #[serde(default = "uncertainty::default_rate")]
        rate: f64,
    },
    /// FAMO.
    Famo {
        /// Rate at which `xi_t` is learned.
        #[serde(default = "famo::default_rate")]
        rate: f64,
        /// How strongly `xi_t` is drawn back to 0.
        #[serde(default = "famo::default_decay")]
        decay: f64,
    },
    /// Smooth Tchebycheff.
    Stch {
        /// How smooth: the smaller, the more the task that is furthest behind counts.
        #[serde(default = "tchebycheff::default_mu")]
        mu: f64,
        /// Steps whose mean losses are what tasks are measured by.
        #[serde(default = "tchebycheff::default_warm_up")]
        warm_up: usize,
    },
    /// GradNorm.
    GradNorm {
        /// How strongly a task that lags behind is pulled; 0 asks for equal gradient norms.
        #[serde(default = "grad_norm::default_alpha")]
        alpha: f64,
        /// Rate at which weights are learned.
        #[serde(default = "grad_norm::default_rate")]
        rate: f64,
    },
    /// Projection of conflicting gradients.
    PcGrad {},
    /// MultiBalance.
    MultiBalance {
        /// How much of a gradient's mean norm stays in a step.
        #[serde(default = "multi_balance::default_decay")]
        decay: f64,
        /// Whether gradients are mixed so that their sum is the shortest.
        #[serde(default)]
        min_norm: bool,
    },
}

impl Default for BalanceConfig {
    fn default() -> Self {
        BalanceConfig::Fixed {}
    }
}

impl BalanceConfig {
    /// The name in an experiment.
    pub fn name(&self) -> &'static str {
        match self {
            BalanceConfig::Fixed {} => "fixed",
            BalanceConfig::Uncertainty { .. } => "uncertainty",
            BalanceConfig::Famo { .. } => "famo",
            BalanceConfig::Stch { .. } => "stch",
            BalanceConfig::GradNorm { .. } => "grad-norm",
            BalanceConfig::PcGrad {} => "pc-grad",
            BalanceConfig::MultiBalance { .. } => "multi-balance",
        }
    }

    /// Refuses settings that cannot balance.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        let least = |key, value: f64| require(key, value, "a number of 0 or more", value.is_finite() && value >= 0.0);
        match *self {
            BalanceConfig::Fixed {} | BalanceConfig::PcGrad {} => Ok(()),
            BalanceConfig::Uncertainty { rate } => least("balance.rate", rate),
            BalanceConfig::Famo { rate, decay } => {
                least("balance.rate", rate)?;
                least("balance.decay", decay)
            }
            BalanceConfig::Stch { mu, warm_up } => {
                require("balance.mu", mu, "a number of 0.01 or more", mu.is_finite() && mu >= 0.01)?;
                require(
                    "balance.warm_up",
                    warm_up,
                    "a step or more: tasks are measured by their losses there",
                    warm_up > 0,
                )
            }
            BalanceConfig::GradNorm { alpha, rate } => {
                least("balance.alpha", alpha)?;
                least("balance.rate", rate)
            }
            BalanceConfig::MultiBalance { decay, .. } => {
                require("balance.decay", decay, "a number of 0 or more and below 1", (0.0..1.0).contains(&decay))
            }
        }
    }
}

/// What a balance has learned, for a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BalanceState {
    /// `s_t` of uncertainty weighting, `w_t` of GradNorm, FAMO and STCH, `m_t` of MultiBalance. `[T]`
    values: Vec<f32>,
    /// `L_t(0)` of GradNorm. `[T]`
    first: Option<Vec<f32>>,
    /// What else FAMO, STCH and MultiBalance have of every task, in the order in which they name it. `[T]` each
    more: Vec<Vec<f32>>,
    /// Steps of STCH's warm-up.
    steps: usize,
    /// Words that PCGrad's generator has given.
    drawn: Option<u64>,
}

fn floats(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("weights are f32")
}

/// Balancing in progress.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one a training
pub enum Balance {
    /// Nothing is learned.
    Fixed,
    /// Uncertainty weighting.
    Uncertainty(Uncertainty),
    /// FAMO.
    Famo(Famo),
    /// Smooth Tchebycheff.
    Tchebycheff(Tchebycheff),
    /// GradNorm.
    GradNorm(GradNorm),
    /// PCGrad.
    PcGrad(PcGrad),
    /// MultiBalance.
    MultiBalance(MultiBalance),
}

impl Balance {
    /// Starts with equal weights for `tasks` tasks of a model whose embedding groups `shared` no task has to itself: `multi-balance` balances there.
    pub fn at(shared: &[usize], config: BalanceConfig, tasks: usize, seed: u64, device: &Device) -> Self {
        match config {
            BalanceConfig::Fixed {} => Balance::Fixed,
            BalanceConfig::Uncertainty { rate } => Balance::Uncertainty(Uncertainty::new(rate, tasks, device)),
            BalanceConfig::Famo { rate, decay } => Balance::Famo(Famo::new(rate, decay, tasks, device)),
            BalanceConfig::Stch { mu, warm_up } => Balance::Tchebycheff(Tchebycheff::new(mu, warm_up, tasks, device)),
            BalanceConfig::GradNorm { alpha, rate } => Balance::GradNorm(GradNorm::new(alpha, rate, tasks, device)),
            BalanceConfig::PcGrad {} => Balance::PcGrad(PcGrad::new(seed)),
            BalanceConfig::MultiBalance { decay, min_norm } => {
                Balance::MultiBalance(MultiBalance::new(decay, min_norm, shared.to_vec(), tasks))
            }
        }
    }

    /// The same of a model of one embedding, which all tasks share.
    pub fn new(config: BalanceConfig, tasks: usize, seed: u64, device: &Device) -> Self {
        Self::at(&[0], config, tasks, seed, device)
    }

    /// The gradients of a step, balanced; changes the balance, not the weights.
    pub fn differentiate<M: Model>(
        &mut self,
        state: &TrainState<M>,
        batch: Gathered,
        objective: &Objective,
    ) -> (Losses, StepGradients) {
        let batch = &batch;
        let (losses, gradients) = match self {
            Balance::Fixed => state.task_gradients(batch, Share::of(objective, state.device())),
            Balance::Uncertainty(balance) => {
                let Share { weights, penalty } = Share::of(objective, state.device());
                let (losses, gradients) =
                    state.task_gradients(batch, Share { weights: weights * balance.weights(), penalty });
                balance.learn(losses.tasks.clone());
                (losses, gradients)
            }
            Balance::Famo(balance) => {
                let share = Share::of(objective, state.device());
                state.weighed_gradients(batch, share, Some(&mut |losses, weights| balance.weigh(losses, weights)))
            }
            Balance::Tchebycheff(balance) => {
                let share = Share::of(objective, state.device());
                state.weighed_gradients(batch, share, Some(&mut |losses, weights| balance.weigh(losses, weights)))
            }
            Balance::GradNorm(balance) => {
                let (losses, apart) = apart(state, batch, objective);
                let norms = apart.iter().map(|task| task.rows_norm()).collect();
                let weights = balance.weights();
                balance.learn(losses.tasks.clone(), Tensor::cat(norms, 0));
                (losses, sum(apart, Some(weights)))
            }
            Balance::PcGrad(balance) => {
                let (losses, apart) = apart(state, batch, objective);
                (losses, sum(balance.project(apart), None))
            }
            Balance::MultiBalance(balance) => {
                let at = (balance.shared.clone(), balance.min_norm);
                let mut weigh = |products: &[Vec<f64>]| balance.weigh(products, &objective.task_weights);
                state.gradients_weighed_at(batch, objective, (&at.0, at.1), &mut weigh)
            }
        };
        state.regularize(losses, gradients, objective)
    }

    /// What was learned so far.
    pub(crate) fn state(&self) -> BalanceState {
        match self {
            Balance::Fixed => BalanceState::default(),
            Balance::Uncertainty(balance) => BalanceState { values: floats(&balance.s), ..BalanceState::default() },
            Balance::Famo(Famo { xi, moments: [mean, square], steps, last, weights, .. }) => {
                let more = [xi, mean, square, steps, last].map(floats).to_vec();
                BalanceState { values: floats(weights), more, ..BalanceState::default() }
            }
            Balance::Tchebycheff(balance) => {
                let more = vec![floats(&balance.sums), floats(&balance.counts)];
                let steps = balance.steps;
                BalanceState { values: floats(&balance.weights), more, steps, ..BalanceState::default() }
            }
            Balance::GradNorm(balance) => {
                let first = balance.first.as_ref().map(floats);
                BalanceState { values: floats(&balance.weights), first, ..BalanceState::default() }
            }
            Balance::PcGrad(balance) => {
                BalanceState { drawn: Some(balance.rng.get_word_pos() as u64), ..BalanceState::default() }
            }
            Balance::MultiBalance(MultiBalance { norms, weights, .. }) => {
                BalanceState { values: weights.clone(), more: vec![norms.clone()], ..BalanceState::default() }
            }
        }
    }

    /// Goes on from there.
    pub(crate) fn restore(&mut self, state: &BalanceState, device: &Device) {
        let tensor = |values: &Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), device);
        match self {
            Balance::Fixed => {}
            Balance::Uncertainty(balance) => balance.s = tensor(&state.values),
            Balance::Famo(Famo { xi, moments: [mean, square], steps, last, weights, .. }) => {
                *weights = tensor(&state.values);
                let learned = [xi, mean, square, steps, last];
                learned.into_iter().zip(&state.more).for_each(|(learned, values)| *learned = tensor(values));
            }
            Balance::Tchebycheff(balance) => {
                (balance.weights, balance.steps) = (tensor(&state.values), state.steps);
                let learned = [&mut balance.sums, &mut balance.counts];
                learned.into_iter().zip(&state.more).for_each(|(learned, values)| *learned = tensor(values));
            }
            Balance::GradNorm(balance) => {
                balance.weights = tensor(&state.values);
                balance.first = state.first.as_ref().map(tensor);
            }
            Balance::PcGrad(balance) => balance.rng.set_word_pos(u128::from(state.drawn.unwrap_or(0))),
            Balance::MultiBalance(MultiBalance { norms, weights, .. }) => {
                weights.clone_from(&state.values);
                state.more.iter().for_each(|values| norms.clone_from(values));
            }
        }
    }

    /// What each task's loss is multiplied with at present, beside its configured weight; `None` where nothing is learned.
    pub fn weights(&self) -> Option<Vec<f32>> {
        let weights = match self {
            Balance::Fixed | Balance::PcGrad(_) => return None,
            Balance::Uncertainty(balance) => balance.weights(),
            Balance::Famo(balance) => balance.weights(),
            Balance::Tchebycheff(balance) => balance.weights(),
            Balance::GradNorm(balance) => balance.weights(),
            Balance::MultiBalance(balance) => return Some(balance.weights().to_vec()),
        };
        Some(weights.into_data().try_into_vec().expect("weights are f32"))
    }
}

/// 1 where a step says something of a task, else 0: a loss is exactly 0 without labels, a norm without a gradient. `[T]`
fn known(values: &Tensor<1>) -> Tensor<1> {
    values.clone().greater_elem(0.0).float()
}

/// `a_t` where `known_t` is 1, `b_t` where it is 0. `[T]` all
fn mix(a: &Tensor<1>, b: &Tensor<1>, known: &Tensor<1>) -> Tensor<1> {
    b.clone().mask_where(known.clone().greater_elem(0.0), a.clone())
}

/// Every task's gradients alone, each with its configured weight and its part of the model's penalty.
fn apart<M: Model>(state: &TrainState<M>, batch: &Gathered, objective: &Objective) -> (Losses, Vec<StepGradients>) {
    let tasks = objective.task_weights.len();
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for t in 0..tasks {
        let weight = |k: usize| if k == t { objective.task_weights[k] } else { 0.0 };
        let alone = Objective { task_weights: (0..tasks).map(weight).collect(), ..objective.clone() };
        let share = Share { penalty: 1.0 / tasks as f64, ..Share::of(&alone, state.device()) };
        let (step, task) = state.task_gradients(batch, share);
        losses.push(step);
        gradients.push(task);
    }
    (losses.swap_remove(0), gradients)
}

/// `sum_t w_t g_t`, in the order of the tasks.
fn sum(gradients: Vec<StepGradients>, weights: Option<Tensor<1>>) -> StepGradients {
    let weighted = gradients.into_iter().enumerate().map(|(t, task)| match &weights {
        Some(weights) => task.scaled(&weights.clone().slice_dim(0, t..t + 1)),
        None => task,
    });
    weighted.reduce(|all, task| all.add(&task, None)).expect("a schema has a task")
}
