//! `h_e = MLP_e(x_{group(e)})`: each expert reads the embeddings of its group.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::mlp::MlpBank;

/// The experts of one layer, ReLU after every linear map.
#[derive(Module, Debug)]
pub struct Experts {
    bank: MlpBank,
    /// Which input stream each expert reads.
    groups: Vec<usize>,
}

impl Experts {
    /// One expert per entry of `groups`, each of the widths `widths` on inputs of width `input`.
    pub fn init(
        groups: Vec<usize>,
        input: usize,
        widths: &[usize],
        dropout: f64,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self { bank: MlpBank::hidden(groups.len(), input, widths, dropout, rng, device), groups }
    }

    /// # Shapes
    /// `x [G, B, I]`, one entry per stream; gives `h [E, B, H]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [streams, ..] = x.dims();
        let one_each = self.groups.iter().copied().eq(0..streams);
        let x = if one_each {
            x
        } else {
            let groups: Vec<i32> = self.groups.iter().map(|&group| group as i32).collect();
            let index = Tensor::<1, Int>::from_ints(groups.as_slice(), &x.device());
            x.select(0, index) // [E, B, I]
        };
        self.bank.forward(x)
    }
}
