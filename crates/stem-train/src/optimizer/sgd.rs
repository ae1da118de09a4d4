//! Stochastic gradient descent with momentum (Sutskever et al., 2013), in the arithmetic of PyTorch.
//!
//! ```text
//! plain       w = w - rate * g
//! momentum    b = mu b + g      w = w - rate * b               the first step's b is g
//! Nesterov    b = mu b + g      w = w - rate * (g + mu b)
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::config::require_decay;
use super::rule::Rule;
use crate::error::{Result, require};

/// Settings beside the rate. The defaults are PyTorch's: no momentum.
///
/// In the table a row's momentum changes only in steps that touch the row: it neither decays nor pushes the row in between. It
/// starts from 0, so that a row's first touch sets it to the gradient, as the first step does in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// `mu`, the decay of the sum of gradients; 0 keeps no such sum.
    pub momentum: f64,
    /// Whether the step looks ahead by the momentum.
    pub nesterov: bool,
}

impl Sgd {
    pub(super) fn check(&self) -> Result<()> {
        require_decay("optimizer.momentum", self.momentum)?;
        let holds = !self.nesterov || self.momentum > 0.0;
        require("optimizer.nesterov", "true without momentum", "false, or a momentum above 0", holds)
    }

    pub(super) fn plain_step(rate: f64) -> PlainStep {
        PlainStep { rate: rate as f32 }
    }

    pub(super) fn momentum_step(&self, rate: f64) -> MomentumStep {
        MomentumStep { rate: rate as f32, momentum: self.momentum as f32, nesterov: self.nesterov }
    }
}

/// The number of one step without momentum.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainStep {
    rate: f32,
}

impl Rule<0> for PlainStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], []: [&mut [f32]; 0], grad: &[f32], scale: f32) {
        for (w, g) in weights.iter_mut().zip(grad) {
            *w -= g * scale * self.rate;
        }
    }

    fn tensors(&self, weights: Tensor<2>, []: [Tensor<2>; 0], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 0]) {
        (weights - grad * self.rate, [])
    }
}

/// The numbers of one step with momentum.
#[derive(Debug, Clone, Copy)]
pub(super) struct MomentumStep {
    rate: f32,
    momentum: f32,
    nesterov: bool,
}

impl Rule<1> for MomentumStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], [buffer]: [&mut [f32]; 1], grad: &[f32], scale: f32) {
        for ((w, b), g) in weights.iter_mut().zip(buffer).zip(grad) {
            let g = g * scale;
            *b = *b * self.momentum + g;
            let direction = if self.nesterov { g + *b * self.momentum } else { *b };
            *w -= direction * self.rate;
        }
    }

    fn tensors(&self, weights: Tensor<2>, [b]: [Tensor<2>; 1], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 1]) {
        let b = b * self.momentum + grad.clone();
        let direction = if self.nesterov { grad + b.clone() * self.momentum } else { b.clone() };
        (weights - direction * self.rate, [b])
    }
}
