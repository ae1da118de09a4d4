//! `y_t = sigmoid(tower_t(o_t))`: towers give logits; the loss and the predictor take the sigmoid.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::mlp::{HiddenConfig, MlpBank, MlpShape};

/// One MLP per task, ending in one number.
#[derive(Module, Debug)]
pub struct Towers {
    bank: MlpBank,
}

impl Towers {
    /// The shape of `tasks` towers with hidden widths `widths` on inputs of width `input`.
    pub fn shape<'a>(tasks: usize, input: usize, widths: &'a [usize], hidden: &'a HiddenConfig) -> MlpShape<'a> {
        MlpShape { members: tasks, input, widths, output: Some(1), hidden }
    }

    /// Draws towers of a [`Towers::shape`].
    pub fn init(shape: MlpShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self { bank: shape.init(rng, device) }
    }

    /// # Shapes
    /// `o [T, B, H]`, or `[1, B, H]` when all towers read the same; gives logits `[B, T]`.
    pub fn forward(&self, o: Tensor<3>) -> Tensor<2> {
        let y = self.bank.forward(o); // [T, B, 1]
        y.squeeze_dim::<2>(2).transpose() // [B, T]
    }
}
