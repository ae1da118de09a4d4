//! What bends an MLP: the activations of a bank, with their slopes where they are learned.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::norm::BatchNormBank;

/// Slope of negative inputs that PReLU starts from, as in the reference implementation.
const PRELU_START: f32 = 0.1;

/// The non-linearity after each hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(y, 0)`
    #[default]
    Relu,
    /// `y Phi(y)`, with the exact normal distribution function. Hendrycks and Gimpel, 2016.
    Gelu,
    /// `tanh(y)`
    Tanh,
    /// `y sigmoid(y)`, also called SiLU. Ramachandran et al., *Searching for Activation Functions*, 2017.
    Swish,
    /// `max(y, 0) + a min(y, 0)` with a learned `a` for every output. He et al., ICCV 2015.
    Prelu,
    /// `p y + a (1 - p) y` with `p = sigmoid(batch_norm(y))` and a learned `a` for every output. Zhou et al., *Deep Interest
    /// Network*, KDD 2018.
    Dice,
}

impl Activation {
    /// Numbers that a bank holds for every output.
    pub(crate) fn parameters(self) -> u64 {
        match self {
            Activation::Relu | Activation::Gelu | Activation::Tanh | Activation::Swish => 0,
            Activation::Prelu => 1,
            Activation::Dice => 3, // slope, running mean and variance
        }
    }

    /// Tensors that a training step keeps beside the output.
    pub(crate) fn outputs(self) -> u64 {
        match self {
            Activation::Relu | Activation::Tanh => 0,
            Activation::Prelu | Activation::Swish => 2,
            Activation::Gelu => 3,
            Activation::Dice => 5,
        }
    }
}

/// An activation over a bank's outputs.
#[derive(Module, Debug)]
pub struct ActivationBank {
    #[module(skip)]
    kind: Activation,
    slope: Option<Param<Tensor<3>>>, // [E, 1, O]
    norm: Option<BatchNormBank>,
}

impl ActivationBank {
    /// For `members` members of `width` outputs.
    pub fn init(kind: Activation, members: usize, width: usize, device: &Device) -> Self {
        let slope = |start: f32| Some(Param::from_tensor(Tensor::full([members, 1, width], start, device)));
        let (slope, norm) = match kind {
            Activation::Relu | Activation::Gelu | Activation::Tanh | Activation::Swish => (None, None),
            Activation::Prelu => (slope(PRELU_START), None),
            Activation::Dice => (slope(0.0), Some(BatchNormBank::plain(members, width, 0.01, 1e-9, device))),
        };
        Self { kind, slope, norm }
    }

    /// Whether it is a plain ReLU, which a linear map can do on its way.
    pub(crate) fn is_relu(&self) -> bool {
        self.kind == Activation::Relu
    }

    /// # Shapes
    /// `y [E, B, O]`; gives the same.
    pub fn forward(&self, y: Tensor<3>) -> Tensor<3> {
        match (self.kind, &self.slope, &self.norm) {
            (Activation::Gelu, ..) => activation::gelu(y),
            (Activation::Tanh, ..) => y.tanh(),
            (Activation::Swish, ..) => y.clone() * activation::sigmoid(y),
            (Activation::Prelu, Some(slope), _) => {
                let slope = slope.val();
                y.clone() * slope.clone() + activation::relu(y) * (slope.neg() + 1.0) // gradient a at 0, as PyTorch's
            }
            (Activation::Dice, Some(slope), Some(norm)) => {
                let p = activation::sigmoid(norm.forward(y.clone()));
                (p.clone() + (p.neg() + 1.0) * slope.val()) * y
            }
            (Activation::Relu | Activation::Prelu | Activation::Dice, ..) => activation::relu(y),
        }
    }
}
