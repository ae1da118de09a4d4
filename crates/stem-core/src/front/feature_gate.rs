//! Gates on the features that experts read, so that experts of one input may look at it differently.
//!
//! ```text
//! x = x_2 * 2 sigmoid((x_2 B + b) A + a)          B [F D, R], A [R, F D] of each embedding group; * number by number
//! ```
//!
//! `A` and `a` start at 0 and the gate at 1.
//!
//! Source: Wang et al., *HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou*, 2024 (arXiv 2408.05430), its feature gate. There
//! every expert has one, without `b` and `a`, and gates read what is not gated; here every embedding group has one, and all that reads it reads it
//! gated.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require};
use crate::fused;
use crate::mlp::{LinearBank, scaled};
use crate::size::NetworkSize;

/// Gates on features: `feature_gate = { rank = 16 }` among a model's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { rank = 16 }")]
pub struct FeatureGateConfig {
    /// `R`, how many directions a gate looks in.
    pub rank: usize,
}

impl Default for FeatureGateConfig {
    fn default() -> Self {
        Self { rank: 16 }
    }
}

impl FeatureGateConfig {
    /// Refuses absurd sizes.
    pub(super) fn check(&self) -> Result<()> {
        require("feature_gate.rank", self.rank, "1 to 4096", (1..=4096).contains(&self.rank))
    }

    /// What `groups` groups of width `input` add to a network.
    pub(super) fn size(&self, groups: usize, input: usize) -> NetworkSize {
        let (groups, rank, input) = (groups as u64, self.rank as u64, input as u64);
        NetworkSize {
            parameters: groups.saturating_mul((2 * rank + 1).saturating_mul(input).saturating_add(rank)),
            activations: groups.saturating_mul(rank + 3 * input), // x B; that A, the gate, and what comes out
        }
    }

    /// Draws the maps.
    pub fn init(&self, groups: usize, input: usize, rng: &mut ChaCha8Rng, device: &Device) -> FeatureGate {
        let zeros = |rows, columns| Param::from_tensor(Tensor::zeros([groups, rows, columns], device));
        FeatureGate {
            down: LinearBank::init(groups, input, self.rank, rng, device),
            up: LinearBank { weight: zeros(self.rank, input), bias: zeros(1, input) },
        }
    }
}

/// Gates on the features of every embedding group.
#[derive(Module, Debug)]
pub struct FeatureGate {
    down: LinearBank, // [G, F * D, R]
    up: LinearBank,   // [G, R, F * D]
}

impl FeatureGate {
    /// # Shapes
    /// `x [G, B, F * D]`; gives as many.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let maps = [&self.down, &self.up].map(|map| [map.weight.val(), map.bias.val()]);
        fused::feature_gate(&x, &maps).unwrap_or_else(|| {
            let z = self.up.forward(self.down.forward(x.clone())); // [G, B, F * D]
            scaled(x, z)
        })
    }
}
