//! A mixture of experts that all tasks share: what OMoE, MMoE and MMoE-ME have in common.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{check_size, check_widths, last};
use crate::aftb::{self, AftbMask};
use crate::error::Result;
use crate::gate::Gates;
use crate::mlp::{HiddenConfig, MlpBank, MlpShape};
use crate::schema::Schema;
use crate::size::NetworkSize;
use crate::tower::Towers;

/// Sizes of a mixture; the defaults match the paper's experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureSizes {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// `E`, number of experts.
    pub expert_count: usize,
    /// Widths of every expert; the last is `H`.
    pub experts: Vec<usize>,
    /// Hidden widths of every gate.
    pub gate: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
}

impl Default for MixtureSizes {
    fn default() -> Self {
        Self {
            dim: 16,
            expert_count: 8,
            experts: vec![512, 512, 512],
            gate: vec![128, 64],
            tower: vec![128, 64],
            hidden: HiddenConfig::default(),
        }
    }
}

impl MixtureSizes {
    /// Refuses sizes of 0, or absurd ones.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_size("expert_count", self.expert_count, 1)?;
        check_widths("experts", &self.experts, 1)?;
        check_widths("gate", &self.gate, 0)?;
        check_widths("tower", &self.tower, 0)?;
        self.hidden.check()
    }

    /// Experts, `gates` gates over them, and a tower per task.
    fn shapes(&self, gates: usize, schema: &Schema) -> [MlpShape<'_>; 3] {
        let (input, hidden, count) = (schema.fields.len() * self.dim, &self.hidden, self.expert_count);
        [
            MlpShape { members: count, input, widths: &self.experts, output: None, hidden },
            MlpShape { members: gates, input, widths: &self.gate, output: Some(count), hidden },
            Towers::shape(schema.tasks.len(), last(&self.experts), &self.tower, hidden),
        ]
    }

    /// That of all banks, and for one row of a batch the softmax of the gates and what comes out of the mix.
    pub(crate) fn size(&self, gates: usize, schema: &Schema) -> NetworkSize {
        let mixed = (self.expert_count as u64).saturating_add(last(&self.experts) as u64);
        let between = NetworkSize { parameters: 0, activations: mixed.saturating_mul(gates as u64) };
        self.shapes(gates, schema).iter().map(MlpShape::size).sum::<NetworkSize>() + between
    }

    pub(crate) fn init(&self, gates: usize, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Mixture {
        let mask = AftbMask::open(gates, self.expert_count);
        let [experts, gates, towers] = self.shapes(gates, schema);
        Mixture {
            experts: experts.init(rng, device),
            gates: Gates::init(gates, rng, device),
            towers: Towers::init(towers, rng, device),
            mask,
        }
    }
}

/// Experts, gates that weigh them, and towers.
#[derive(Module, Debug)]
pub struct Mixture {
    experts: MlpBank,
    gates: Gates,
    towers: Towers,
    #[module(skip)]
    mask: AftbMask,
}

impl Mixture {
    /// `y_t = tower_t(sum_e g_t[e] h_e)`
    ///
    /// # Shapes
    /// `x [E, B, I]` for the experts and `x_gate [T, B, I]` for the gates, or `[1, B, I]` where all read the same; gives
    /// logits `[B, T]`.
    pub fn forward(&self, x: Tensor<3>, x_gate: Tensor<3>) -> Tensor<2> {
        let z = self.gates.logits(x_gate); // [T, B, E], or [1, B, E] of one gate
        let h = self.experts.forward(x); // [E, B, H]
        let o = aftb::gated(z, h.into(), &self.mask); // [T, B, H]
        self.towers.forward(o) // [B, T]
    }

    /// Weight of every expert. `[T, B, E]`, or `[1, B, E]` of one gate.
    pub fn gates(&self, x_gate: Tensor<3>) -> Vec<Tensor<3>> {
        vec![self.gates.forward(x_gate)]
    }
}
