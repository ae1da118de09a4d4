//! Adam (Kingma and Ba, 2015, algorithm 1) and AdamW (Loshchilov and Hutter, 2019, algorithm 2), in the arithmetic of PyTorch.
//!
//! ```text
//! w = (1 - rate * decay) w                       AdamW alone
//! m = m + (1 - b1)(g - m)        v = b2 v + (1 - b2) g g
//! w = w - rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::config::{require_decay, require_epsilon};
use super::rule::Rule;
use crate::error::{Result, require};

/// Hyper-parameters beside the rate. The defaults are PyTorch's; Burn's own epsilon is 1e-5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// Adam with a weight decay that does not pass through the moments. In the table a row decays in the steps that touch it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// A step multiplies weights with `1 - rate * weight_decay`.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { beta1, beta2, epsilon } = Adam::default();
        Self { beta1, beta2, epsilon, weight_decay: 0.01 }
    }
}

impl Adam {
    pub(super) fn check(&self) -> Result<()> {
        require_decay("optimizer.beta1", self.beta1)?;
        require_decay("optimizer.beta2", self.beta2)?;
        require_epsilon(self.epsilon)
    }

    /// The numbers of step `step`, counted from 1.
    pub(super) fn at(&self, step: i32, rate: f64) -> AdamStep {
        AdamStep {
            keep_m: self.beta1 as f32,
            keep_v: self.beta2 as f32,
            step_size: (rate / (1.0 - self.beta1.powi(step))) as f32,
            root: (1.0 - self.beta2.powi(step)).sqrt() as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

impl AdamW {
    pub(super) fn check(&self) -> Result<()> {
        self.adam().check()?;
        let holds = self.weight_decay.is_finite() && self.weight_decay >= 0.0;
        require("optimizer.weight_decay", self.weight_decay, "0 or more", holds)
    }

    fn adam(&self) -> Adam {
        Adam { beta1: self.beta1, beta2: self.beta2, epsilon: self.epsilon }
    }

    /// The numbers of step `step`, counted from 1.
    pub(super) fn at(&self, step: i32, rate: f64) -> AdamWStep {
        AdamWStep { keep: (1.0 - rate * self.weight_decay) as f32, adam: self.adam().at(step, rate) }
    }
}

/// The numbers of one step of Adam.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamStep {
    keep_m: f32,
    keep_v: f32,
    step_size: f32,
    root: f32,
    epsilon: f32,
}

impl Rule<2> for AdamStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], [mean, square]: [&mut [f32]; 2], grad: &[f32], scale: f32) {
        for (((w, m), v), g) in weights.iter_mut().zip(mean).zip(square).zip(grad) {
            let g = g * scale;
            *m += (g - *m) * (1.0 - self.keep_m);
            *v = *v * self.keep_v + g * g * (1.0 - self.keep_v);
            *w -= *m * self.step_size / (v.sqrt() / self.root + self.epsilon);
        }
    }

    fn tensors(&self, w: Tensor<2>, [m, v]: [Tensor<2>; 2], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 2]) {
        let m = m.clone() + (grad.clone() - m) * (1.0 - self.keep_m);
        let v = v * self.keep_v + grad.clone() * grad * (1.0 - self.keep_v);
        let w = w - m.clone() * self.step_size / (v.clone().sqrt() / self.root + self.epsilon);
        (w, [m, v])
    }
}

/// The numbers of one step of AdamW.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamWStep {
    keep: f32,
    adam: AdamStep,
}

impl Rule<2> for AdamWStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], moments: [&mut [f32]; 2], grad: &[f32], scale: f32) {
        for w in weights.iter_mut() {
            *w *= self.keep;
        }
        self.adam.row(weights, moments, grad, scale);
    }

    fn tensors(&self, weights: Tensor<2>, moments: [Tensor<2>; 2], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 2]) {
        self.adam.tensors(weights * self.keep, moments, grad)
    }
}
