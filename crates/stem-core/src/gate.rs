//! `g_t = softmax(gate_t(x))`: how much of every expert a task reads, row by row.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::softmax};
use rand_chacha::ChaCha8Rng;

use crate::mlp::{MlpBank, MlpShape};

/// Gates side by side: an MLP each, and a softmax over the experts.
#[derive(Module, Debug)]
pub struct Gates {
    bank: MlpBank,
}

impl Gates {
    /// One gate per member; the shape's `output` is the number of experts to choose from.
    pub fn init(shape: MlpShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self { bank: shape.init(rng, device) }
    }

    /// What the softmax is taken of.
    ///
    /// # Shapes
    /// `x [T, B, I]`, one entry per gate, or `[1, B, I]` when all read the same; gives `[T, B, E]`.
    pub fn logits(&self, x: Tensor<3>) -> Tensor<3> {
        self.bank.forward(x)
    }

    /// The softmax of the [`logits`](Self::logits): each row sums to 1.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        softmax(self.logits(x), 2)
    }
}
