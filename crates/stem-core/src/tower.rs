//! `y_t = sigmoid(tower_t(o_t))`: towers give logits; the loss and the predictor take the sigmoid.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::mlp::MlpBank;

/// One MLP per task, ending in one number.
#[derive(Module, Debug)]
pub struct Towers {
    bank: MlpBank,
}

impl Towers {
    /// `tasks` towers with hidden widths `widths` on inputs of width `input`.
    pub fn init(
        tasks: usize,
        input: usize,
        widths: &[usize],
        dropout: f64,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self { bank: MlpBank::with_output(tasks, input, widths, 1, dropout, rng, device) }
    }

    /// # Shapes
    /// `o [T, B, H]`, or `[1, B, H]` when all towers read the same; gives logits `[B, T]`.
    pub fn forward(&self, o: Tensor<3>) -> Tensor<2> {
        let y = self.bank.forward(o); // [T, B, 1]
        y.squeeze_dim::<2>(2).transpose() // [B, T]
    }
}
