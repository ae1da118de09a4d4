//! OMoE: experts on one embedding, mixed by one gate for all tasks.
//!
//! ```text
//! o   = sum_e g[e] h_e(x)        g = softmax(gate(x))
//! y_t = sigmoid(tower_t(o))
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

/// Sizes of an OMoE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OmoeConfig(pub MixtureSizes);

impl ModelSpec for OmoeConfig {
    type Model = Omoe;

    fn name(&self) -> &'static str {
        "omoe"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        self.0.check()
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.0.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(1, schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Omoe {
        Omoe { net: self.0.init(1, schema, rng, device) }
    }
}

/// One gate over all experts.
#[derive(Module, Debug)]
pub struct Omoe {
    net: Mixture,
}

impl Model for Omoe {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let x = x.group(0); // [1, B, F * D]
        self.net.forward(x.clone(), x)
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(x.group(0))
    }
}
