//! Products of pairs of features, beside them.
//!
//! ```text
//! b = 1/2 ((sum_f v_f)^2 - sum_f v_f^2) = sum_{f < g} v_f * v_g          v_f [D] the embedding of field f; * number by number
//! x = x_0 + W b + c                                                     W [D, F D], c [F D]
//! ```
//!
//! Source: Rendle, *Factorization Machines*, ICDM 2010; as what a network reads He and Chua, *Neural Factorization Machines for Sparse Predictive
//! Analytics*, SIGIR 2017. Here a map adds `b` to the embeddings: a linear layer over `x` is one over `x_0` and `b` side by side. Every
//! embedding group has a map of its own.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fused;
use crate::mlp::LinearBank;
use crate::size::NetworkSize;

/// Whether products of pairs of features are read beside them: `fm = true` among a model's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FmConfig(pub bool);

impl FmConfig {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        !self.0
    }

    /// What `groups` groups of `input` numbers, fields of width `dim`, add to a network.
    pub(super) fn size(&self, groups: usize, dim: usize, input: usize) -> NetworkSize {
        if self.is_none() {
            return NetworkSize::default();
        }
        let (groups, dim, input) = (groups as u64, dim as u64, input as u64);
        NetworkSize {
            parameters: groups.saturating_mul((dim + 1).saturating_mul(input)),
            // the squares, the sum, its square, b; W b and what comes out
            activations: groups.saturating_mul(3 * input + 4 * dim),
        }
    }

    /// Draws the maps; `None` where there are none.
    pub fn init(&self, groups: usize, dim: usize, input: usize, rng: &mut ChaCha8Rng, device: &Device) -> Option<Fm> {
        (!self.is_none()).then(|| Fm { map: LinearBank::init(groups, dim, input, rng, device) })
    }
}

/// `W` and `c` of every embedding group.
#[derive(Module, Debug)]
pub struct Fm {
    map: LinearBank, // [G, D, F * D]
}

impl Fm {
    /// `x_2 + W b + c`, `b` of `x`; `x_2` is `x` where none is given.
    ///
    /// # Shapes
    /// `x [G, B, F * D]` and `x2`; gives as many.
    pub fn forward(&self, x: Tensor<3>, x2: Option<Tensor<3>>) -> Tensor<3> {
        let (weight, bias) = (self.map.weight.val(), self.map.bias.val());
        fused::fm(&x, x2.as_ref(), &weight, &bias).unwrap_or_else(|| {
            let [_, dim, _] = weight.dims();
            x2.unwrap_or_else(|| x.clone()) + self.map.forward(pairs(x, dim)) // [G, B, F * D]
        })
    }
}

/// `b` of fields of width `dim`. `[G, B, D]`
fn pairs(x: Tensor<3>, dim: usize) -> Tensor<3> {
    let [groups, rows, input] = x.dims();
    let v = x.reshape([groups, rows, input / dim, dim]); // [G, B, F, D]
    let (sum, squares) = (v.clone().sum_dim(2), (v.clone() * v).sum_dim(2)); // [G, B, 1, D] each
    let b = (sum.clone() * sum - squares) * 0.5;
    b.reshape([groups, rows, dim])
}
