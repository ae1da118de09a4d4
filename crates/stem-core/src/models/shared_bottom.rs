//! SharedBottom: one embedding, one bottom network, a tower per task.
//!
//! ```text
//! h   = bottom(x)
//! y_t = sigmoid(tower_t(h))
//! ```
//!
//! Source: Caruana, *Multitask Learning*, Machine Learning 28, 1997.

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

/// Sizes of a SharedBottom.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedBottomConfig(pub BottomSizes);

impl ModelSpec for SharedBottomConfig {
    type Model = SharedBottom;

    fn name(&self) -> &'static str {
        "shared-bottom"
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

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.0.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(1, schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> SharedBottom {
        SharedBottom {
            bottom: self.0.bottoms(1, schema).init(rng, device),
            towers: Towers::init(self.0.towers(schema), schema, rng, device),
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
        let h = self.bottom.forward(x.group(0)); // [1, B, H]
        self.towers.forward_gated(h, x.tower_gates()) // [B, T]
    }
}
