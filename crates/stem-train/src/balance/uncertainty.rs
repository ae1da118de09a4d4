//! Uncertainty weighting: `L = sum_t exp(-s_t) L_t + s_t / 2`, with `s_t = log sigma_t^2` learned.
//!
//! Source: Kendall, Gal and Cipolla, *Multi-Task Learning Using Uncertainty to Weigh Losses*, CVPR 2018, for classification.

use burn::tensor::{Device, Tensor};

use super::known;

pub(super) fn default_rate() -> f64 {
    0.01
}

/// `s_t` of every task. `[T]`
#[derive(Debug, Clone)]
pub struct Uncertainty {
    pub(super) s: Tensor<1>,
    rate: f64,
}

impl Uncertainty {
    /// All `s_t` 0: all weights 1.
    pub fn new(rate: f64, tasks: usize, device: &Device) -> Self {
        Self { s: Tensor::zeros([tasks], device), rate }
    }

    /// `exp(-s_t)` `[T]`
    pub fn weights(&self) -> Tensor<1> {
        self.s.clone().neg().exp()
    }

    /// A step of gradient descent: `dL/ds_t = 1/2 - exp(-s_t) L_t`. At rest `exp(-s_t) = 1 / (2 L_t)`. A loss of 0 is a task
    /// without labels in the batch: its `s_t` stays.
    pub fn learn(&mut self, losses: Tensor<1>) {
        let known = known(&losses);
        let gradient = ((self.weights() * losses).neg() + 0.5) * known;
        self.s = self.s.clone() - gradient * self.rate;
    }
}
