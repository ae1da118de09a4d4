//! PLE: task experts and shared experts on one embedding; a task reads its own and the shared ones. Layers stack.
//!
//! ```text
//! o_t = sum_{e in own(t) + shared} g_t[e] h_e(x_t)     g_t = softmax(gate_t(x_t))
//! o_S = sum_{e in shared} g_S[e] h_e(x_S)              g_S = softmax(gate_S(x_S))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! In the first layer all streams are the one `x`; layer `l + 1` reads `o_0 .. o_{T-1}, o_S` of layer `l`.
//!
//! Source: Tang et al., *Progressive Layered Extraction*, RecSys 2020. There the shared stream reads all experts; here it reads
//! the shared ones, as in the reference implementation, whose numbers this model is held to.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::layered::FirstInput;
use super::{Layered, LayeredSizes, Model, ModelSpec, NetworkSize};
use crate::embedding::Pooled;
use crate::error::Result;
use crate::experts::Streams;
use crate::layer::{GateInput, LayerShape, Reach, Wiring};
use crate::schema::Schema;

/// PLE's gates: own and shared experts, by the task's own stream, nothing stopped.
const WIRING: Wiring = Wiring { reach: Reach::OwnAndShared, gate_input: GateInput::Own, stop_gradient: false };

/// Sizes of a PLE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PleConfig(pub LayeredSizes);

/// PLE's layers, whatever embeddings of one width the first reads.
pub(super) fn layers<'a>(sizes: &'a LayeredSizes, schema: &'a Schema) -> impl Iterator<Item = LayerShape<'a>> {
    let width = schema.fields.len() * sizes.dim;
    let first = FirstInput { tasks: width, shared: Some(width) };
    (0..sizes.layers).map(move |l| sizes.layer(l, first, WIRING, schema))
}

/// Sizes, and the shared expert that the shared stream between layers needs.
pub(super) fn check(sizes: &LayeredSizes) -> Result<()> {
    sizes.check()?;
    sizes.check_shared_stream()
}

impl ModelSpec for PleConfig {
    type Model = Ple;

    fn name(&self) -> &'static str {
        "ple"
    }

    fn check(&self, _schema: &Schema) -> Result<()> {
        check(&self.0)
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.0.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.0.size(layers(&self.0, schema), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Ple {
        Ple { net: self.0.init(layers(&self.0, schema), schema, rng, device) }
    }

    fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
        self.0.gate_groups(schema)
    }
}

/// Layers on one embedding.
#[derive(Module, Debug)]
pub struct Ple {
    net: Layered,
}

fn streams(x: &Pooled) -> Streams {
    let x = x.group(0); // [1, B, F * D]
    Streams { tasks: x.clone(), shared: Some(x), sums: None }
}

impl Model for Ple {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.net.forward(streams(&x))
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(streams(&x))
    }
}
