//! A bank of MLPs side by side: the experts of a layer, its gates and the towers are each one bank.
//!
//! All members of a bank have the same widths, so one batched product serves them all: `y_e = x_e W_e + b_e`.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// `E` linear maps of the same shape.
#[derive(Module, Debug)]
pub struct LinearBank {
    /// `[E, I, O]`
    pub weight: Param<Tensor<3>>,
    /// `[E, 1, O]`
    pub bias: Param<Tensor<3>>,
}

impl LinearBank {
    /// Xavier-normal weights, `std = sqrt(2 / (I + O))`; biases 0.
    pub fn init(members: usize, input: usize, output: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let std = (2.0 / (input + output) as f32).sqrt();
        let normal = Normal::new(0.0f32, std).expect("std is finite and not negative");
        let weight: Vec<f32> = normal.sample_iter(rng).take(members * input * output).collect();
        Self {
            weight: Param::from_data(TensorData::new(weight, [members, input, output]), device),
            bias: Param::from_tensor(Tensor::zeros([members, 1, output], device)),
        }
    }

    /// # Shapes
    /// `x [E, B, I]`, or `[1, B, I]` when all members read the same; gives `[E, B, O]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x.matmul(self.weight.val()) + self.bias.val()
    }
}

/// `E` MLPs of the same widths: linear, ReLU, dropout, and so on. Whether the last layer has a ReLU is the bank's choice:
/// experts have it, gates and towers end in a plain linear layer.
#[derive(Module, Debug)]
pub struct MlpBank {
    /// In the order they are applied.
    pub layers: Vec<LinearBank>,
    dropout: Dropout,
    last_is_linear: bool,
}

impl MlpBank {
    /// An MLP with ReLU (and dropout) after every layer.
    pub fn hidden(
        members: usize,
        input: usize,
        widths: &[usize],
        dropout: f64,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let inputs = std::iter::once(&input).chain(widths);
        let layers =
            inputs.zip(widths).map(|(&input, &output)| LinearBank::init(members, input, output, rng, device)).collect();
        Self { layers, dropout: DropoutConfig::new(dropout).init(), last_is_linear: false }
    }

    /// An MLP with ReLU after every layer but the last, which maps to `output`.
    pub fn with_output(
        members: usize,
        input: usize,
        widths: &[usize],
        output: usize,
        dropout: f64,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let widths: Vec<usize> = widths.iter().copied().chain([output]).collect();
        Self { last_is_linear: true, ..Self::hidden(members, input, &widths, dropout, rng, device) }
    }

    /// # Shapes
    /// `x [E, B, I]`, or `[1, B, I]` when all members read the same; gives `[E, B, O]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let y = layer.forward(x);
            if i == last && self.last_is_linear { y } else { self.dropout.forward(relu(y)) }
        })
    }
}
