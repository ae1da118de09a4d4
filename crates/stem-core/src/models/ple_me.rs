//! PLE-ME: PLE whose every expert group reads an embedding of its own: one per task and a shared one. No gradient is stopped.
//!
//! ```text
//! o_t = sum_{e in own(t) + shared} g_t[e] h_e(x_group(e))    g_t = softmax(gate_t(x_t))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! A comparison of the STEM paper (Su et al., AAAI 2024): STEM's embeddings under PLE's gates, which read no other task's
//! experts, so that nothing needs to be stopped.

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;

use super::{LayeredSizes, ModelSpec, NetworkSize, Stem, ple};
use crate::error::Result;
use crate::schema::Schema;

variant! {
    /// Sizes of a PLE-ME.
    PleMeConfig(LayeredSizes) = "ple-me": ple::check,
    sizes => ple::wired(sizes), Stem {
        fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
            (0..=schema.tasks.len()).collect()
        }
        fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
            self.0.gate_groups(schema)
        }
    }
}
