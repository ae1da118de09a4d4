//! PLE-ME: PLE whose every expert group reads an embedding of its own: one per task and a shared one. No gradient is stopped.
//!
//! ```text
//! o_t = sum_{e in own(t) + shared} g_t[e] h_e(x_group(e))    g_t = softmax(gate_t(x_t))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! A comparison of the STEM paper (Su et al., AAAI 2024): STEM's embeddings under PLE's gates, which read no other task's
//! experts, so that nothing needs to be stopped.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Layered, LayeredSizes, Model, ModelSpec, NetworkSize, ple};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::experts::Streams;
use crate::schema::Schema;

/// Sizes of a PLE-ME.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PleMeConfig(pub LayeredSizes);

impl ModelSpec for PleMeConfig {
    type Model = PleMe;

    fn name(&self) -> &'static str {
        "ple-me"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        ple::check(&self.0)
    }

    /// `[task 0 | ... | task T-1 | shared]`, each `D` wide.
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        vec![self.0.dim; schema.tasks.len() + 1]
    }

    fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
        (0..=schema.tasks.len()).collect()
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(ple::layers(&self.0, schema), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> PleMe {
        PleMe { net: self.0.init(ple::layers(&self.0, schema), schema, rng, device) }
    }

    fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
        self.0.gate_groups(schema)
    }
}

/// Layers on an embedding per group.
#[derive(Module, Debug)]
pub struct PleMe {
    net: Layered,
}

fn streams(x: &Pooled) -> Streams {
    let tasks = x.groups() - 1;
    Streams { tasks: x.stack(0..tasks), shared: Some(x.group(tasks)), sums: None }
}

impl Model for PleMe {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.net.forward(streams(&x))
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(streams(&x))
    }
}
