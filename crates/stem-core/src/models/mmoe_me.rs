//! MMoE-ME: MMoE whose every expert reads an embedding of its own. No gradient is stopped.
//!
//! ```text
//! o_t = sum_e g_t[e] h_e(x_e)    g_t = softmax(gate_t(sum_e x_e))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! A comparison of the STEM paper (Su et al., AAAI 2024): more embeddings, but none that belongs to a task. The paper does not
//! say what a gate reads; here it is the sum of the experts' inputs, as STEM's gates read `x_t + x_S`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Mixture, MixtureSizes, Model, ModelSpec, NetworkSize};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::schema::Schema;

/// Sizes of an MMoE-ME.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MmoeMeConfig(pub MixtureSizes);

impl ModelSpec for MmoeMeConfig {
    type Model = MmoeMe;

    fn name(&self) -> &'static str {
        "mmoe-me"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        self.0.check()
    }

    /// One group per expert.
    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.0.dim; self.0.expert_count]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(schema.tasks.len(), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> MmoeMe {
        MmoeMe { net: self.0.init(schema.tasks.len(), schema, rng, device) }
    }
}

/// A gate per task over experts that each read their own embedding.
#[derive(Module, Debug)]
pub struct MmoeMe {
    net: Mixture,
}

impl Model for MmoeMe {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let x = x.stack(0..x.groups()); // [E, B, F * D]
        self.net.forward(x.clone(), x.sum_dim(0))
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(x.stack(0..x.groups()).sum_dim(0))
    }
}
