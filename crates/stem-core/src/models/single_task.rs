//! Single-task: every task has an embedding, a bottom and a tower of its own. The reference that transfer is measured against.
//!
//! ```text
//! y_t = sigmoid(tower_t(bottom_t(x_t)))
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{BottomSizes, Model, ModelSpec, NetworkSize};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::front::FrontConfig;
use crate::mlp::MlpBank;
use crate::schema::Schema;
use crate::tower::Towers;

/// Sizes of each task's model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SingleTaskConfig(pub BottomSizes);

impl ModelSpec for SingleTaskConfig {
    type Model = SingleTask;

    fn name(&self) -> &'static str {
        "single-task"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        self.0.check()
    }

    fn front(&self) -> FrontConfig {
        self.0.front.clone()
    }

    fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
        self.0.towers(schema).inputs()
    }

    /// One group per task, none shared.
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        vec![self.0.dim; schema.tasks.len()]
    }

    fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
        (0..schema.tasks.len()).collect()
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(schema.tasks.len(), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> SingleTask {
        SingleTask {
            bottoms: self.0.bottoms(schema.tasks.len(), schema).init(rng, device),
            towers: Towers::init(self.0.towers(schema), schema, rng, device),
        }
    }

    fn trains_apart(&self) -> bool {
        true
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
        let h = self.bottoms.forward(x.stack(0..x.groups())); // [T, B, H]
        self.towers.forward_gated(h, x.tower_gates()) // [B, T]
    }
}
