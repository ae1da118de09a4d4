//! A bank of MLPs side by side: the experts of a layer, its gates and the towers are each one bank.
//!
//! All members of a bank have the same widths, so one batched product serves them all: `y_e = x_e W_e + b_e`.

use burn::module::{Module, Param};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use crate::activation::{Activation, ActivationBank};
use crate::dropout::Dropout;
use crate::error::{Result, require};
use crate::fused;
use crate::norm::BatchNormBank;
use crate::size::NetworkSize;

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
        linear(x, self.weight.val(), self.bias.val(), false)
    }

    /// `relu` of what [`forward`](Self::forward) gives.
    pub fn forward_relu(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.weight.val(), self.bias.val(), true)
    }

    /// One member alone.
    ///
    /// # Shapes
    /// `x [1, B, I]`; gives `[1, B, O]`.
    pub fn forward_member(&self, member: usize, x: Tensor<3>) -> Tensor<3> {
        let one = member..member + 1;
        linear(x, self.weight.val().slice_dim(0, one.clone()), self.bias.val().slice_dim(0, one), false)
    }
}

/// `y_e = x_e W_e + b_e`, through a ReLU if asked for.
fn linear(x: Tensor<3>, weight: Tensor<3>, bias: Tensor<3>, rectified: bool) -> Tensor<3> {
    fused::linear(&x, &weight, &bias, rectified).unwrap_or_else(|| plain_linear(x, weight, bias, rectified))
}

/// The same as plain operations.
pub(crate) fn plain_linear(x: Tensor<3>, weight: Tensor<3>, bias: Tensor<3>, rectified: bool) -> Tensor<3> {
    let y = x.matmul(weight) + bias; // [E, B, O]
    if rectified { relu(y) } else { y }
}

/// `x * 2 sigmoid(z)`: gates on features, and on what towers read.
pub(crate) fn scaled(x: Tensor<3>, z: Tensor<3>) -> Tensor<3> {
    fused::scaled(&x, &z).unwrap_or_else(|| x * (sigmoid(z) * 2.0))
}

/// What follows each linear map inside an MLP: batch normalisation, activation, dropout, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { activation = \"relu\" }")]
pub struct HiddenConfig {
    /// The non-linearity.
    pub activation: Activation,
    /// Whether outputs are normalised over the batch first.
    pub batch_norm: bool,
    /// Share of outputs set to 0 in a training step; 0 or more, and less than 1.
    pub dropout: f64,
}

impl HiddenConfig {
    /// Refuses a dropout outside `0 <= rate < 1`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        let holds = (0.0..1.0).contains(&self.dropout);
        require("hidden.dropout", self.dropout, "0 or more, and less than 1", holds)
    }

    /// Tensors of a hidden layer's shape that a training step keeps: the activation's output, and what comes before it.
    fn outputs(&self) -> u64 {
        1 + self.activation.outputs() + if self.batch_norm { 3 } else { 0 } + u64::from(self.dropout > 0.0)
    }

    /// Numbers that a bank holds for every hidden output, beside weights and biases.
    fn parameters(&self) -> u64 {
        let norm = if self.batch_norm { BatchNormBank::NUMBERS } else { 0 };
        norm + self.activation.parameters()
    }
}

/// A bank to be: it says what the bank will cost, and draws it.
#[derive(Debug, Clone, Copy)]
pub struct MlpShape<'a> {
    /// `E`, MLPs side by side.
    pub members: usize,
    /// `I`, width of what each reads.
    pub input: usize,
    /// Widths of the hidden layers.
    pub widths: &'a [usize],
    /// Width of a plain linear layer at the end; without it the MLP ends with its last hidden layer.
    pub output: Option<usize>,
    /// What follows each hidden layer's linear map.
    pub hidden: &'a HiddenConfig,
}

impl MlpShape<'_> {
    /// Input and output widths of every linear map, in order.
    fn maps(&self) -> impl Iterator<Item = (usize, usize)> {
        let outputs = || self.widths.iter().copied().chain(self.output);
        std::iter::once(self.input).chain(outputs()).zip(outputs())
    }

    /// What each linear map reads, in order.
    pub fn inputs(&self) -> Vec<usize> {
        self.maps().map(|(input, _)| input).collect()
    }

    /// Numbers held, and outputs for one row of a batch.
    pub fn size(&self) -> NetworkSize {
        let map = |(input, output)| (input as u64 + 1).saturating_mul(output as u64);
        let weights = self.maps().map(map).fold(0, u64::saturating_add);
        let hidden: u64 = self.widths.iter().map(|&width| width as u64).sum();
        let outputs = hidden * self.hidden.outputs() + self.output.unwrap_or(0) as u64;
        let members = self.members as u64;
        NetworkSize {
            parameters: members.saturating_mul(weights.saturating_add(hidden * self.hidden.parameters())),
            activations: members.saturating_mul(outputs),
        }
    }

    /// Draws the weights from `rng`.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> MlpBank {
        let linear = |(input, output)| LinearBank::init(self.members, input, output, rng, device);
        MlpBank {
            layers: self.maps().map(linear).collect(),
            hidden: self.widths.iter().map(|&width| Hidden::init(self.members, width, self.hidden, device)).collect(),
            dropout: Dropout::new(self.hidden.dropout),
        }
    }
}

/// Normalisation and activation after one linear map.
#[derive(Module, Debug)]
pub struct Hidden {
    norm: Option<BatchNormBank>,
    activation: ActivationBank,
}

impl Hidden {
    fn init(members: usize, width: usize, config: &HiddenConfig, device: &Device) -> Self {
        Self {
            norm: config.batch_norm.then(|| BatchNormBank::init(members, width, device)),
            activation: ActivationBank::init(config.activation, members, width, device),
        }
    }

    fn is_relu(&self) -> bool {
        self.norm.is_none() && self.activation.is_relu()
    }

    /// What follows `layer`, and the layer with it.
    fn forward(&self, layer: &LinearBank, x: Tensor<3>) -> Tensor<3> {
        if self.is_relu() {
            return layer.forward_relu(x);
        }
        let y = layer.forward(x);
        self.activation.forward(match &self.norm {
            Some(norm) => norm.forward(y),
            None => y,
        })
    }
}

/// `E` MLPs of the same widths. Experts end with a hidden layer, gates and towers with a plain linear one.
#[derive(Module, Debug)]
pub struct MlpBank {
    /// The linear maps, in the order they are applied.
    pub layers: Vec<LinearBank>,
    hidden: Vec<Hidden>,
    dropout: Dropout,
}

impl MlpBank {
    /// Weights and biases of all maps, where nothing but a ReLU lies between them.
    pub(crate) fn rectified(&self) -> Option<Vec<[Tensor<3>; 2]>> {
        let maps = || self.layers.iter().map(|layer| [layer.weight.val(), layer.bias.val()]).collect();
        self.hidden.iter().all(Hidden::is_relu).then(maps)
    }

    /// # Shapes
    /// `x [N, B, I]`, each of whose `N` streams `E / N` members read, one after the other: `[E, B, I]`, or `[1, B, I]` when all read the same,
    /// or a stream for each task. Gives `[E, B, O]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let maps = self.layers.iter().map(|layer| [layer.weight.val(), layer.bias.val()]);
        if self.hidden.iter().all(Hidden::is_relu)
            && let Some(y) = fused::chain(&x, maps, self.hidden.len())
        {
            return y;
        }
        (0..self.layers.len()).fold(self.repeat(x), |x, i| self.forward_layer(i, x))
    }

    /// Each stream once for every member that reads it. `[N, B, I]` to `[E, B, I]`; `[1, B, I]` stays.
    fn repeat(&self, x: Tensor<3>) -> Tensor<3> {
        let ([streams, ..], members) = (x.dims(), self.layers.first().map_or(1, |layer| layer.weight.dims()[0]));
        if streams <= 1 || members <= streams {
            return x;
        }
        let index: Vec<i32> = (0..streams as i32).flat_map(|t| std::iter::repeat_n(t, members / streams)).collect();
        let index = Tensor::<1, Int>::from_ints(index.as_slice(), &x.device());
        x.select(0, index)
    }

    /// As [`forward`](Self::forward), with what each linear map reads multiplied by its gate, `2 sigmoid(z)`, number by number.
    ///
    /// # Shapes
    /// `z [E, B, I_l]` each, one of every map; `x` and what comes out as of [`forward`](Self::forward).
    pub fn forward_gated(&self, x: Tensor<3>, z: &[Tensor<3>]) -> Tensor<3> {
        z.iter().enumerate().fold(x, |x, (i, z)| self.forward_layer(i, scaled(x, z.clone())))
    }

    /// One linear map, and what follows it.
    fn forward_layer(&self, i: usize, x: Tensor<3>) -> Tensor<3> {
        match self.hidden.get(i) {
            Some(hidden) => self.dropout.forward(hidden.forward(&self.layers[i], x)),
            None => self.layers[i].forward(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;
    use rand::SeedableRng;

    #[test]
    fn weights_are_drawn_as_xavier_has_it_and_biases_are_zero() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let bank = LinearBank::init(2, 300, 100, &mut ChaCha8Rng::seed_from_u64(1), &device);
        let weight: Vec<f32> = bank.weight.val().into_data().try_into_vec().unwrap();
        let mean =
            |of: &dyn Fn(f64) -> f64| weight.iter().map(|w| of(f64::from(*w))).sum::<f64>() / weight.len() as f64;
        let std = (2.0f64 / 400.0).sqrt();
        assert!(mean(&|w| w).abs() < 5.0 * std / (weight.len() as f64).sqrt());
        assert!((mean(&|w| w * w).sqrt() / std - 1.0).abs() < 0.01, "{}, expected {std}", mean(&|w| w * w).sqrt());
        assert_eq!(bank.bias.val().into_data().try_into_vec::<f32>().unwrap(), [0.0; 200]);
    }

    #[test]
    fn the_outputs_told_beforehand_are_those_that_a_step_keeps() {
        // of a hidden output: the activation's own; then what PReLU, swish, Dice or GELU need of it; three of a normalisation; dropout's
        let none = HiddenConfig::default();
        for (hidden, kept) in [
            (none, 1),
            (HiddenConfig { activation: Activation::Tanh, ..none }, 1),
            (HiddenConfig { activation: Activation::Prelu, ..none }, 3),
            (HiddenConfig { activation: Activation::Swish, ..none }, 3),
            (HiddenConfig { activation: Activation::Gelu, ..none }, 4),
            (HiddenConfig { activation: Activation::Dice, ..none }, 6),
            (HiddenConfig { batch_norm: true, ..none }, 4),
            (HiddenConfig { dropout: 0.1, ..none }, 2),
            (HiddenConfig { activation: Activation::Prelu, batch_norm: true, dropout: 0.1 }, 7),
        ] {
            let shape = MlpShape { members: 3, input: 9, widths: &[4, 2], output: Some(5), hidden: &hidden };
            assert_eq!(shape.size().activations, 3 * ((4 + 2) * kept + 5), "{hidden:?}");
        }
    }
}
