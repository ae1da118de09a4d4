//! Batch normalisation of a bank: every member's every output has a mean and a variance of its own.
//!
//! Where others hold parts of the batch, mean and variance are those of all its rows ([`parts`](crate::parts)).
//!
//! Source: Ioffe and Szegedy, *Batch Normalization*, ICML 2015; running statistics as PyTorch keeps them (momentum 0.1,
//! unbiased variance).

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor};

use crate::parts::{self, Moments};

/// `(y - mean) / sqrt(var + eps)`, then scaled and shifted. In training mean and variance are the batch's, in scoring the
/// running ones.
#[derive(Module, Debug)]
pub struct BatchNormBank {
    affine: Option<Affine>,
    mean: RunningState<Tensor<3>>,     // [E, 1, O]
    variance: RunningState<Tensor<3>>, // [E, 1, O]
    momentum: f64,
    epsilon: f64,
}

/// `gamma y + beta`
#[derive(Module, Debug)]
struct Affine {
    gamma: Param<Tensor<3>>, // [E, 1, O]
    beta: Param<Tensor<3>>,  // [E, 1, O]
}

impl BatchNormBank {
    /// Numbers held for each output: scale, shift, running mean and variance.
    pub(crate) const NUMBERS: u64 = 4;

    /// Scale 1, shift 0, running mean 0 and variance 1.
    pub fn init(members: usize, width: usize, device: &Device) -> Self {
        let full = |value: f32| Param::from_tensor(Tensor::full([members, 1, width], value, device));
        Self {
            affine: Some(Affine { gamma: full(1.0), beta: full(0.0) }),
            ..Self::plain(members, width, 0.1, 1e-5, device)
        }
    }

    /// Without scale and shift.
    pub(crate) fn plain(members: usize, width: usize, momentum: f64, epsilon: f64, device: &Device) -> Self {
        let full = |value: f32| RunningState::new(Tensor::full([members, 1, width], value, device));
        Self { affine: None, mean: full(0.0), variance: full(1.0), momentum, epsilon }
    }

    /// # Shapes
    /// `y [E, B, O]`; gives the same.
    pub fn forward(&self, y: Tensor<3>) -> Tensor<3> {
        let (mean, variance) = if y.is_autodiff() {
            let Moments { mean, variance, rows } = match parts::current() {
                Some(among) => among.moments(&y),
                None => moments(&y),
            };
            if rows > 1 {
                self.update_running(&self.mean, mean.clone().detach());
                self.update_running(&self.variance, variance.clone().detach() * (rows as f64 / (rows - 1) as f64));
            } // one row says nothing of a variance
            (mean, variance)
        } else {
            (self.mean.value(), self.variance.value())
        };
        let normal = (y - mean) / (variance + self.epsilon).sqrt();
        match &self.affine {
            Some(affine) => normal * affine.gamma.val() + affine.beta.val(),
            None => normal,
        }
    }

    /// `running = (1 - momentum) running + momentum batch`
    fn update_running(&self, running: &RunningState<Tensor<3>>, batch: Tensor<3>) {
        let before = running.value_sync().to_device(&batch.device());
        running.update(before.detach() * (1.0 - self.momentum) + batch * self.momentum);
    }
}

/// Of the rows of a batch. `y [E, B, O]`
fn moments(y: &Tensor<3>) -> Moments {
    let [_, rows, _] = y.dims();
    let mean = y.clone().mean_dim(1); // [E, 1, O]
    let centred = y.clone() - mean.clone();
    let variance = (centred.clone() * centred).mean_dim(1); // [E, 1, O]
    Moments { mean, variance, rows }
}
