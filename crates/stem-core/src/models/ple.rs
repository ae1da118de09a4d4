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

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;

use super::{LayeredSizes, ModelSpec, NetworkSize, Stem, StemConfig};
use crate::error::Result;
use crate::layer::{GateInput, Reach};
use crate::schema::Schema;

/// PLE's gates on STEM's embeddings: own and shared experts, by the task's own stream, nothing stopped.
pub(super) fn wired(sizes: &LayeredSizes) -> StemConfig {
    let whole = StemConfig::from(sizes.clone());
    StemConfig { reach: Reach::OwnAndShared, gate_input: GateInput::Own, stop_gradient: false, ..whole }
}

/// Sizes, and the shared expert that the shared stream between layers needs.
pub(super) fn check(sizes: &LayeredSizes) -> Result<()> {
    sizes.check()?;
    sizes.check_shared_stream()
}

variant! {
    /// Sizes of a PLE.
    PleConfig(LayeredSizes) = "ple": check,
    sizes => StemConfig { task_embeddings: false, ..wired(sizes) }, Stem {
        fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
            self.0.gate_groups(schema)
        }
    }
}
