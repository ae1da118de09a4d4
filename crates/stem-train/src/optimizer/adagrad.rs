//! Adagrad (Duchi et al., 2011) in the arithmetic of PyTorch, and its row-wise form for tables (Naumov et al., 2019; FBGEMM).
//!
//! ```text
//! element-wise    s_i = s_i + g_i g_i                 w_i = w_i - rate * g_i / (sqrt(s_i) + eps)
//! row-wise        s   = s + (1 / W) sum_i g_i g_i     w_i = w_i - rate * g_i / (sqrt(s) + eps)
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::config::require_epsilon;
use super::rule::Rule;
use crate::error::{Result, require};

/// Settings beside the rate. The defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// Added to the root of the sum.
    pub epsilon: f64,
    /// What the sums start from.
    pub initial: f64,
    /// One sum for a whole row of the table, all its embeddings together: `1 / W` of the memory. The network's parameters have
    /// a sum for every element all the same.
    pub row_wise: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { epsilon: 1e-10, initial: 0.0, row_wise: false }
    }
}

impl Adagrad {
    pub(super) fn check(&self) -> Result<()> {
        require_epsilon(self.epsilon)?;
        let holds = self.initial >= 0.0 && (self.initial as f32).is_finite();
        require("optimizer.initial", self.initial, "0 or more", holds)
    }

    pub(super) fn element_step(&self, rate: f64) -> ElementStep {
        ElementStep { rate: rate as f32, epsilon: self.epsilon as f32 }
    }

    pub(super) fn row_step(&self, rate: f64) -> RowStep {
        RowStep { rate: rate as f32, epsilon: self.epsilon as f32 }
    }
}

/// The numbers of one step with a sum for every element.
#[derive(Debug, Clone, Copy)]
pub(super) struct ElementStep {
    rate: f32,
    epsilon: f32,
}

impl Rule<1> for ElementStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], [sums]: [&mut [f32]; 1], grad: &[f32], scale: f32) {
        for ((w, s), g) in weights.iter_mut().zip(sums).zip(grad) {
            let g = g * scale;
            *s += g * g;
            *w -= g * self.rate / (s.sqrt() + self.epsilon);
        }
    }

    fn tensors(&self, w: Tensor<2>, [s]: [Tensor<2>; 1], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 1]) {
        let s = s + grad.clone() * grad.clone();
        let w = w - grad * self.rate / (s.clone().sqrt() + self.epsilon);
        (w, [s])
    }
}

/// The numbers of one step with a sum for every row.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowStep {
    rate: f32,
    epsilon: f32,
}

impl Rule<1> for RowStep {
    #[inline(always)]
    fn row(&self, weights: &mut [f32], [sum]: [&mut [f32]; 1], grad: &[f32], scale: f32) {
        let squares: f32 = grad.iter().map(|g| (g * scale) * (g * scale)).sum();
        sum[0] += squares / grad.len() as f32;
        let rate = self.rate / (sum[0].sqrt() + self.epsilon);
        for (w, g) in weights.iter_mut().zip(grad) {
            *w -= g * scale * rate;
        }
    }

    fn tensors(&self, w: Tensor<2>, [s]: [Tensor<2>; 1], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 1]) {
        let s = s + (grad.clone() * grad.clone()).mean_dim(1); // [U, 1]
        let rate = (s.clone().sqrt() + self.epsilon).recip() * self.rate; // [U, 1]
        (w - grad * rate, [s])
    }
}
