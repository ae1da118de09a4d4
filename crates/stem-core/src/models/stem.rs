//! STEM-Net: an embedding per task and a shared one, gated by AFTB.
//!
//! Source: Su et al., *STEM: Unleashing the Power of Embeddings for Multi-task Recommendation*, AAAI 2024.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Model, ModelSpec, NetworkSize, check_dropout, check_size, check_widths};
use crate::embedding::Pooled;
use crate::error::{Error, Result};
use crate::layer::{LayerSizes, StemLayer};
use crate::schema::Schema;
use crate::tower::Towers;

/// Sizes of a STEM-Net; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StemConfig {
    /// `D`, width of each of the `T + 1` embeddings of a vocabulary row.
    pub dim: usize,
    /// STEM layers, 1 or more.
    pub layers: usize,
    /// Experts per task and layer.
    pub specific_experts: usize,
    /// Shared experts per layer.
    pub shared_experts: usize,
    /// Widths of every expert; the last is `H`.
    pub experts: Vec<usize>,
    /// Hidden widths of every gate.
    pub gate: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// Dropout after every hidden layer, while training.
    pub dropout: f64,
}

impl Default for StemConfig {
    fn default() -> Self {
        Self {
            dim: 16,
            layers: 1,
            specific_experts: 1,
            shared_experts: 8,
            experts: vec![512, 512, 512],
            gate: vec![128, 64],
            tower: vec![128, 64],
            dropout: 0.0,
        }
    }
}

impl ModelSpec for StemConfig {
    type Model = Stem;

    fn name(&self) -> &'static str {
        "stem"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_size("layers", self.layers, 1)?;
        check_size("specific_experts", self.specific_experts, 0)?;
        check_size("shared_experts", self.shared_experts, 0)?;
        if self.specific_experts + self.shared_experts == 0 {
            return Err(Error::Config {
                key: "specific_experts and shared_experts".into(),
                found: "0 and 0".into(),
                expected: "at least one expert".into(),
            });
        }
        check_widths("experts", &self.experts, 1)?;
        check_widths("gate", &self.gate, 0)?;
        check_widths("tower", &self.tower, 0)?;
        check_dropout(self.dropout)
    }

    /// `[task 0 | ... | task T-1 | shared]`, each `D` wide.
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        vec![self.dim; schema.tasks.len() + 1]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        let (tasks, hidden) = (schema.tasks.len(), self.experts[self.experts.len() - 1]);
        let experts = tasks * self.specific_experts + self.shared_experts;
        let layer = |l: usize| {
            let input = if l == 0 { schema.fields.len() * self.dim } else { hidden };
            let gate = [self.gate.as_slice(), &[experts]].concat();
            NetworkSize::mlps(experts, input, &self.experts)
                + NetworkSize::mlps(tasks + usize::from(l + 1 < self.layers), input, &gate)
        };
        (0..self.layers).map(layer).fold(NetworkSize::towers(tasks, hidden, &self.tower), |sum, layer| sum + layer)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Stem {
        let tasks = schema.tasks.len();
        let hidden = self.experts[self.experts.len() - 1];
        let layer = |l: usize, rng: &mut ChaCha8Rng| {
            let sizes = LayerSizes {
                tasks,
                specific: self.specific_experts,
                shared: self.shared_experts,
                input: if l == 0 { schema.fields.len() * self.dim } else { hidden },
                expert: &self.experts,
                gate: &self.gate,
                dropout: self.dropout,
                followed: l + 1 < self.layers,
            };
            StemLayer::init(sizes, rng, device)
        };
        Stem {
            layers: (0..self.layers).map(|l| layer(l, rng)).collect(),
            towers: Towers::init(tasks, hidden, &self.tower, self.dropout, rng, device),
        }
    }
}

/// Layers of experts and AFTB gates, then a tower per task.
#[derive(Module, Debug)]
pub struct Stem {
    layers: Vec<StemLayer>,
    towers: Towers,
}

impl Model for Stem {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let x = x.stacked(); // [T + 1, B, F * D]
        let o = self.layers.iter().fold(x, |x, layer| layer.forward(x)); // [T, B, H]
        self.towers.forward(o) // [B, T]
    }

    fn gate_means(&self, x: Pooled) -> Vec<Tensor<2>> {
        let mut x = x.stacked();
        let mut means = Vec::new();
        for layer in &self.layers {
            means.push(layer.gate(x.clone()).mean_dim(1).squeeze_dim(1)); // [T, E]
            x = layer.forward(x);
        }
        means
    }
}
