//! `g_t = softmax(gate_t(x_t + x_S))`: how much of every expert a task reads, row by row.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::softmax};
use rand_chacha::ChaCha8Rng;

use crate::mlp::MlpBank;

/// The gates of one layer: an MLP each, and a softmax over the experts.
#[derive(Module, Debug)]
pub struct Gates {
    bank: MlpBank,
}

impl Gates {
    /// `gates` gates over `experts` experts, hidden widths `widths`, on inputs of width `input`.
    pub fn init(
        gates: usize,
        input: usize,
        widths: &[usize],
        experts: usize,
        dropout: f64,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self { bank: MlpBank::with_output(gates, input, widths, experts, dropout, rng, device) }
    }

    /// # Shapes
    /// `x [T, B, I]`, one entry per gate; gives `[T, B, E]`, each row summing to 1.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        softmax(self.bank.forward(x), 2)
    }
}
