//! Single-task: every task has an embedding, a bottom and a tower of its own. The reference that transfer is measured against.

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

/// Sizes of each task's model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SingleTaskConfig {
    /// `D`, width of each task's embedding.
    pub dim: usize,
    /// Widths of each task's bottom.
    pub bottom: Vec<usize>,
    /// Hidden widths of each task's tower.
    pub tower: Vec<usize>,
    /// Dropout after every hidden layer, while training.
    pub dropout: f64,
}

impl Default for SingleTaskConfig {
    fn default() -> Self {
        Self { dim: 16, bottom: vec![512, 512, 512], tower: vec![128, 64], dropout: 0.0 }
    }
}

impl ModelSpec for SingleTaskConfig {
    type Model = SingleTask;

    fn name(&self) -> &'static str {
        "single-task"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_widths("bottom", &self.bottom, 1)?;
        check_widths("tower", &self.tower, 0)?;
        check_dropout(self.dropout)
    }

    /// One group per task, none shared.
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        vec![self.dim; schema.tasks.len()]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        let (input, hidden) = (schema.fields.len() * self.dim, self.bottom[self.bottom.len() - 1]);
        NetworkSize::mlps(schema.tasks.len(), input, &self.bottom)
            + NetworkSize::towers(schema.tasks.len(), hidden, &self.tower)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> SingleTask {
        let (tasks, input) = (schema.tasks.len(), schema.fields.len() * self.dim);
        let hidden = self.bottom[self.bottom.len() - 1];
        SingleTask {
            bottoms: MlpBank::hidden(tasks, input, &self.bottom, self.dropout, rng, device),
            towers: Towers::init(tasks, hidden, &self.tower, self.dropout, rng, device),
        }
    }
}

/// `T` models side by side that share nothing.
#[derive(Module, Debug)]
pub struct SingleTask {
    bottoms: MlpBank,
    towers: Towers,
}

impl Model for SingleTask {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let h = self.bottoms.forward(x.stacked()); // [T, B, H]
        self.towers.forward(h) // [B, T]
    }
}
