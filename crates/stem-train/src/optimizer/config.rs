//! Which optimizer, with which settings, as an experiment writes it.

use serde::{Deserialize, Serialize};

use super::{Adagrad, Adam, AdamW, Sgd};
use crate::error::{Result, require};

/// An optimizer and its settings beside the rate. Keys that are not written have the optimizer's defaults.
///
/// ```toml
/// optimizer = { name = "adagrad", row_wise = true }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields, expecting = "a table like { name = \"adam\" }")]
pub enum OptimizerConfig {
    /// Adam, the default.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamW),
    /// Adagrad, with a state for every element or for every row.
    Adagrad(Adagrad),
    /// Stochastic gradient descent, with or without momentum.
    Sgd(Sgd),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig::Adam(Adam::default())
    }
}

impl OptimizerConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may.
    pub fn check(&self) -> Result<()> {
        match self {
            OptimizerConfig::Adam(adam) => adam.check(),
            OptimizerConfig::AdamW(adamw) => adamw.check(),
            OptimizerConfig::Adagrad(adagrad) => adagrad.check(),
            OptimizerConfig::Sgd(sgd) => sgd.check(),
        }
    }

    /// Floats of state beside a row of `width` weights.
    pub fn state_floats(&self, width: usize) -> usize {
        self.state_widths(width).iter().sum()
    }

    /// The same optimizer with a state for every element, as a network's parameters have it: their rows mean nothing.
    #[must_use]
    pub fn element_wise(self) -> Self {
        match self {
            OptimizerConfig::Adagrad(adagrad) => OptimizerConfig::Adagrad(Adagrad { row_wise: false, ..adagrad }),
            other => other,
        }
    }

    /// The width of each matrix of state beside weights of `width`, in the order the rule takes them.
    pub(super) fn state_widths(&self, width: usize) -> Vec<usize> {
        match self {
            OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => vec![width, width],
            OptimizerConfig::Adagrad(adagrad) if adagrad.row_wise => vec![1],
            OptimizerConfig::Sgd(sgd) if sgd.momentum == 0.0 => vec![],
            OptimizerConfig::Adagrad(_) | OptimizerConfig::Sgd(_) => vec![width],
        }
    }

    /// What all state starts from.
    pub(super) fn initial(&self) -> f64 {
        match self {
            OptimizerConfig::Adagrad(adagrad) => adagrad.initial,
            _ => 0.0,
        }
    }
}

/// A decay that is still below 1 as the f32 that the update multiplies with.
pub(super) fn require_decay(key: &'static str, decay: f64) -> Result<()> {
    require(key, decay, "0 or more, below 1", decay >= 0.0 && (decay as f32) < 1.0)
}

/// An epsilon that is still above 0 as the f32 that the update divides by.
pub(super) fn require_epsilon(epsilon: f64) -> Result<()> {
    let holds = epsilon.is_finite() && epsilon as f32 >= f32::MIN_POSITIVE && (epsilon as f32).is_finite();
    require("optimizer.epsilon", format_args!("{epsilon:e}"), "a number above 0", holds)
}
