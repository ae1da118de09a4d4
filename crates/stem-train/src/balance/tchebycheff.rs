//! Smooth Tchebycheff (STCH): the task that is furthest behind counts most, smoothly.
//!
//! ```text
//! g = mu log sum_t exp(lambda_t log(L_t / n_t) / mu) T        mu -> 0: the largest of lambda_t log(L_t / n_t)
//! w_t = dg / dL_t = T lambda_t s_t / L_t,   s = softmax(lambda log(L / n) / mu)
//! ```
//!
//! `lambda_t` are the configured weights of the tasks, the preference of the paper. `n_t` is the mean loss of the first steps, in which
//! `w_t = lambda_t / L_t`, the gradient of `sum_t lambda_t log L_t`.
//!
//! Source: Lin et al., *Smooth Tchebycheff Scalarization for Multi-Objective Optimization*, ICML 2024, in the form of its experiments with
//! networks: of logarithms, and with `n_t` from a warm-up.

use burn::tensor::{Device, Tensor, activation::softmax};

use super::{known, mix};

pub(super) fn default_mu() -> f64 {
    1.0
}

pub(super) fn default_warm_up() -> usize {
    100
}

/// `n_t` of every task, as it becomes known. `[T]` each
#[derive(Debug, Clone)]
pub struct Tchebycheff {
    /// Sum of the losses of the first steps, and of how many.
    pub(super) sums: Tensor<1>,
    pub(super) counts: Tensor<1>,
    pub(super) weights: Tensor<1>,
    /// Steps taken, as far as the warm-up goes.
    pub(super) steps: usize,
    mu: f64,
    warm_up: usize,
}

impl Tchebycheff {
    /// Before the first step; `n_t` comes from so many steps.
    pub fn new(mu: f64, warm_up: usize, tasks: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([tasks], device);
        Self { sums: zeros(), counts: zeros(), weights: Tensor::ones([tasks], device), steps: 0, mu, warm_up }
    }

    /// `w_t / lambda_t` of the last step `[T]`
    pub fn weights(&self) -> Tensor<1> {
        self.weights.clone()
    }

    /// `w_t / lambda_t` of a step with these losses; `task_weights` are `lambda_t`. A task without labels in the batch (loss 0), or of weight 0,
    /// takes no part. One that the warm-up did not see has its first loss as `n_t`. `[T]` all
    pub fn weigh(&mut self, losses: &Tensor<1>, task_weights: &Tensor<1>) -> Tensor<1> {
        let [tasks] = losses.dims();
        let known = known(losses) * known(task_weights);
        let losses = mix(losses, &losses.ones_like(), &known);
        let is_warming_up = self.steps < self.warm_up;
        let counted =
            if is_warming_up { known.clone() } else { known.clone() * self.counts.clone().equal_elem(0.0).float() };
        self.sums = self.sums.clone() + losses.clone() * counted.clone();
        self.counts = self.counts.clone() + counted;
        let inverse = known.clone() / losses.clone(); // 1 / L_t
        self.weights = if is_warming_up {
            self.steps += 1;
            inverse
        } else {
            let worst = self.sums.clone() / self.counts.clone().clamp_min(1.0); // n_t
            let behind = (losses / mix(&worst, &worst.ones_like(), &known)).log() * task_weights.clone() / self.mu;
            let share = softmax(behind - (known.neg() + 1.0) * 1e30, 0); // s_t, 0 of who takes no part
            share * inverse * tasks as f64
        };
        self.weights()
    }
}
