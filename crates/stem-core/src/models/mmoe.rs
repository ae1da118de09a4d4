//! MMoE: experts on one embedding, mixed by a gate of its own for every task.
//!
//! ```text
//! o_t = sum_e g_t[e] h_e(x)      g_t = softmax(gate_t(x))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! Source: Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Mixture, MixtureSizes, Model, ModelSpec, NetworkSize};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::schema::Schema;

/// Sizes of an MMoE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MmoeConfig(pub MixtureSizes);

impl ModelSpec for MmoeConfig {
    type Model = Mmoe;

    fn name(&self) -> &'static str {
        "mmoe"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        self.0.check()
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.0.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(schema.tasks.len(), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Mmoe {
        Mmoe { net: self.0.init(schema.tasks.len(), schema, rng, device) }
    }
}

/// A gate per task over all experts.
#[derive(Module, Debug)]
pub struct Mmoe {
    net: Mixture,
}

impl Model for Mmoe {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let x = x.group(0); // [1, B, F * D]
        self.net.forward(x.clone(), x)
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(x.group(0))
    }
}
