//! Crosses of features before the experts: a product of what a row has, of any order, learned.
//!
//! ```text
//! x_{l+1} = x_0 * (U_l (V_l x_l) + b_l) + x_l          V_l [F D, R], U_l [R, F D]; * number by number; x_0 the embeddings of a group
//! ```
//!
//! Source: Wang et al., *DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems*, WWW 2021, in
//! its low-rank form (`V_l` has a bias too, which only moves `b_l`). Every embedding group has crosses of its own.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require};
use crate::fused;
use crate::mlp::LinearBank;
use crate::size::NetworkSize;

/// How often features are crossed: `cross = { layers = 2, rank = 16 }` among a model's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { layers = 2, rank = 16 }")]
pub struct CrossConfig {
    /// `L`: products of up to `L + 1` features; 0 for none.
    pub layers: usize,
    /// `R`, how many directions a cross looks in.
    pub rank: usize,
}

impl Default for CrossConfig {
    fn default() -> Self {
        Self { layers: 0, rank: 16 }
    }
}

impl CrossConfig {
    /// Whether nothing is crossed.
    pub fn is_none(&self) -> bool {
        self.layers == 0
    }

    /// Refuses absurd sizes.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_none() {
            return Ok(());
        }
        require("cross.layers", self.layers, "0 to 16", self.layers <= 16)?;
        require("cross.rank", self.rank, "1 to 4096", (1..=4096).contains(&self.rank))
    }

    /// What `groups` groups of width `input` add to a network.
    pub(super) fn size(&self, groups: usize, input: usize) -> NetworkSize {
        let product = |a: usize, b: usize| (a as u64).saturating_mul(b as u64);
        let maps = product(2 * self.rank + 1, input).saturating_add(self.rank as u64);
        let (layers, groups) = (self.layers as u64, if self.is_none() { 0 } else { groups as u64 });
        NetworkSize {
            parameters: maps.saturating_mul(layers).saturating_mul(groups),
            // V x, U (V x) and what comes out
            activations: groups.saturating_mul(layers.saturating_mul((2 * input + self.rank) as u64)),
        }
    }

    /// Draws the maps; `None` where nothing is crossed.
    pub fn init(&self, groups: usize, input: usize, rng: &mut ChaCha8Rng, device: &Device) -> Option<Cross> {
        if self.is_none() {
            return None;
        }
        let layer = |_| CrossLayer {
            down: LinearBank::init(groups, input, self.rank, rng, device),
            up: LinearBank::init(groups, self.rank, input, rng, device),
        };
        Some(Cross { layers: (0..self.layers).map(layer).collect() })
    }
}

/// Crosses of every embedding group.
#[derive(Module, Debug)]
pub struct Cross {
    layers: Vec<CrossLayer>,
}

/// `V_l` and `U_l`, `b_l` of all groups.
#[derive(Module, Debug)]
struct CrossLayer {
    down: LinearBank, // [G, F * D, R]
    up: LinearBank,   // [G, R, F * D]
}

impl Cross {
    /// # Shapes
    /// `x_0 [G, B, F * D]`; gives as many.
    pub fn forward(&self, x0: Tensor<3>) -> Tensor<3> {
        let maps: Vec<[Tensor<3>; 4]> = self.layers.iter().map(CrossLayer::maps).collect();
        fused::crosses(&x0, &maps).unwrap_or_else(|| self.plain(x0))
    }

    /// The same layer by layer.
    fn plain(&self, x0: Tensor<3>) -> Tensor<3> {
        self.layers.iter().fold(x0.clone(), |x, layer| {
            let u = layer.up.forward(layer.down.forward(x.clone())); // [G, B, F * D]
            x0.clone() * u + x
        })
    }
}

impl CrossLayer {
    /// `V`, its bias, `U`, `b`.
    fn maps(&self) -> [Tensor<3>; 4] {
        let Self { down, up } = self;
        [&down.weight, &down.bias, &up.weight, &up.bias].map(|map| map.val())
    }
}
