//! SharedBottom: one embedding, one bottom network, a tower per task.
//!
//! Source: Caruana, *Multitask Learning*, Machine Learning 28, 1997.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Model, ModelSpec, NetworkSize, check_dropout, check_size, check_widths};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::mlp::MlpBank;
use crate::schema::Schema;
use crate::tower::Towers;

/// Sizes of a SharedBottom; the defaults match the paper's experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedBottomConfig {
    /// `D`, width of a vocabulary row.
    pub dim: usize,
    /// Widths of the bottom.
    pub bottom: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// Dropout after every hidden layer, while training.
    pub dropout: f64,
}

impl Default for SharedBottomConfig {
    fn default() -> Self {
        Self { dim: 16, bottom: vec![512, 512, 512], tower: vec![128, 64], dropout: 0.0 }
    }
}

impl ModelSpec for SharedBottomConfig {
    type Model = SharedBottom;

    fn name(&self) -> &'static str {
        "shared-bottom"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_widths("bottom", &self.bottom, 1)?;
        check_widths("tower", &self.tower, 0)?;
        check_dropout(self.dropout)
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        let (input, hidden) = (schema.fields.len() * self.dim, self.bottom[self.bottom.len() - 1]);
        NetworkSize::mlps(1, input, &self.bottom) + NetworkSize::towers(schema.tasks.len(), hidden, &self.tower)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> SharedBottom {
        let input = schema.fields.len() * self.dim;
        let hidden = self.bottom[self.bottom.len() - 1];
        SharedBottom {
            bottom: MlpBank::hidden(1, input, &self.bottom, self.dropout, rng, device),
            towers: Towers::init(schema.tasks.len(), hidden, &self.tower, self.dropout, rng, device),
        }
    }
}

/// A bank of one, then a tower per task.
#[derive(Module, Debug)]
pub struct SharedBottom {
    bottom: MlpBank,
    towers: Towers,
}

impl Model for SharedBottom {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let h = self.bottom.forward(x.stacked()); // [1, B, H]
        self.towers.forward(h) // [B, T]
    }
}
