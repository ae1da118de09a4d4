//! GradNorm: weights are learned so that every task's gradient has the norm that its pace of learning asks for.
//!
//! ```text
//! G_t = w_t ||grad L_t||     G = mean_t G_t
//! r_t = (L_t / L_t(0)) / mean of the same over tasks       above 1: the task lags behind
//! minimise sum_t |G_t - G r_t^alpha| in w, targets held fixed; then scale so that sum_t w_t = T
//! ```
//!
//! Norms are taken over the batch's embedding rows, which every model has and all tasks reach. The gradient in `w` is divided by
//! `G`, so that the rate does not depend on the scale of the losses.
//!
//! Source: Chen et al., *GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks*, ICML 2018.

use burn::tensor::{Device, Tensor};

use super::known;

/// Weights stay above this.
const LEAST_WEIGHT: f64 = 1e-3;

pub(super) fn default_alpha() -> f64 {
    1.5
}

pub(super) fn default_rate() -> f64 {
    0.025
}

/// `w_t` of every task. `[T]`
#[derive(Debug, Clone)]
pub struct GradNorm {
    pub(super) weights: Tensor<1>,
    pub(super) first: Option<Tensor<1>>,
    alpha: f64,
    rate: f64,
}

impl GradNorm {
    /// All weights 1.
    pub fn new(alpha: f64, rate: f64, tasks: usize, device: &Device) -> Self {
        Self { weights: Tensor::ones([tasks], device), first: None, alpha, rate }
    }

    /// `w_t` `[T]`
    pub fn weights(&self) -> Tensor<1> {
        self.weights.clone()
    }

    /// A step on the weights, given the losses and the norms of their gradients, unweighted. `[T]` each. A task without labels in
    /// the batch (loss 0), or whose configured weight is 0 (norm 0), takes no part.
    pub fn learn(&mut self, losses: Tensor<1>, norms: Tensor<1>) {
        let [tasks] = losses.dims();
        let known = known(&losses) * known(&norms);
        let mean = |values: Tensor<1>| (values * known.clone()).sum() / known.clone().sum().clamp_min(1.0); // of the known
        let first = self.first.take().unwrap_or_else(|| losses.zeros_like());
        let first = first.clone() + losses.clone() * first.equal_elem(0.0).float(); // each task's first known loss
        self.first = Some(first.clone());
        let pace = losses / (first + 1e-12);
        let r = pace.clone() / (mean(pace) + 1e-12);
        let g = self.weights.clone() * norms.clone();
        let mean = mean(g.clone());
        let target = r.powf_scalar(self.alpha) * mean.clone();
        let off = g - target;
        let even = off.clone().abs().lower(mean.clone() * 1e-6).float(); // as good as on target
        let gradient = off.sign() * norms / (mean + 1e-12) * known * (even.neg() + 1.0);
        let weights = (self.weights.clone() - gradient * self.rate).clamp_min(LEAST_WEIGHT);
        self.weights = weights.clone() / weights.sum() * tasks as f64;
    }
}
