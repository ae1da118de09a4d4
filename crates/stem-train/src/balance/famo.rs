//! FAMO: every task's loss falls at a like rate, learned from the losses alone.
//!
//! ```text
//! z = softmax(xi)     w_t = c z_t / L_t,  c so that sum_t w_t = T          the gradient of sum_t z_t log L_t, scaled
//! d_t = z_t (f_t - sum_s z_s f_s),   f_t = log L_t - log L_t'              how much faster than the others task t has fallen
//! xi = xi - Adam(d + decay xi)                                             who falls slowly gets more
//! ```
//!
//! `L'` are the losses after the step. The authors run the same batch forward once more for them; here they are those of the next batch,
//! which cost nothing. What batches differ by does not pile up: with `L'` of one step being `L` of the next, the sum of all `f_t` is
//! `log L_t(first) - log L_t(last)`. The authors' weights add up to 1, these to `T`, as GradNorm's do.
//!
//! Source: Liu et al., *FAMO: Fast Adaptive Multitask Optimization*, NeurIPS 2023.

use burn::tensor::{Device, Tensor, activation::softmax};

use super::mix;

/// Adam's decays of its two moments, and what keeps it from dividing by 0.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

pub(super) fn default_rate() -> f64 {
    0.025
}

pub(super) fn default_decay() -> f64 {
    1e-3
}

/// `xi_t` of every task, with Adam's moments of it. `[T]` each
#[derive(Debug, Clone)]
pub struct Famo {
    pub(super) xi: Tensor<1>,
    pub(super) moments: [Tensor<1>; 2],
    /// Steps that each task took part in.
    pub(super) steps: Tensor<1>,
    /// `L_t` when it was known last; 0 before.
    pub(super) last: Tensor<1>,
    pub(super) weights: Tensor<1>,
    rate: f64,
    decay: f64,
}

impl Famo {
    /// All `xi_t` 0: `w_t` in proportion to `1 / L_t`.
    pub fn new(rate: f64, decay: f64, tasks: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([tasks], device);
        let weights = Tensor::ones([tasks], device);
        Self { xi: zeros(), moments: [zeros(), zeros()], steps: zeros(), last: zeros(), weights, rate, decay }
    }

    /// `w_t` of the last step `[T]`
    pub fn weights(&self) -> Tensor<1> {
        self.weights.clone()
    }

    /// Learns from what the losses are after the last step, and gives the weights of this one. `task_weights` are the configured ones. A task
    /// without labels in the batch (loss 0), or whose configured weight is 0, takes no part. `[T]` all
    pub fn weigh(&mut self, losses: &Tensor<1>, task_weights: &Tensor<1>) -> Tensor<1> {
        let known = super::known(losses) * super::known(task_weights);
        self.learn(losses, known.clone());
        self.last = mix(losses, &self.last, &known);
        let pull = softmax(self.xi.clone(), 0) * known.clone() / mix(losses, &losses.ones_like(), &known); // z_t / L_t
        let scale = known.sum() / (pull.clone().sum() + 1e-30);
        self.weights = pull * scale;
        self.weights()
    }

    /// A step of Adam on `xi`, of the tasks whose loss is known now and was before.
    fn learn(&mut self, losses: &Tensor<1>, known_now: Tensor<1>) {
        let known = known_now * super::known(&self.last);
        let log = |values: &Tensor<1>| mix(values, &values.ones_like(), &known).log(); // 0 of the others
        let fallen = log(&self.last) - log(losses);
        let z = softmax(self.xi.clone(), 0) * known.clone();
        let z = z.clone() / (z.sum() + 1e-30);
        let mean = (z.clone() * fallen.clone()).sum();
        let gradient = z * (fallen - mean) + self.xi.clone() * self.decay;
        self.steps = self.steps.clone() + known.clone();
        let mut estimates = Vec::new();
        for ((moment, beta), of) in self.moments.iter_mut().zip(BETAS).zip([gradient.clone(), gradient.square()]) {
            *moment = mix(&(moment.clone() * beta + of * (1.0 - beta)), moment, &known);
            let bias = (self.steps.clone() * beta.ln()).exp().neg() + 1.0; // 1 - beta^steps
            estimates.push(moment.clone() / (bias + 1e-30));
        }
        let [mean, square] = <[_; 2]>::try_from(estimates).expect("Adam has two moments");
        self.xi = self.xi.clone() - mean / (square.sqrt() + EPSILON) * known * self.rate;
    }
}
