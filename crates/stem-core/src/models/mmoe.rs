//! MMoE: experts on one embedding, mixed by a gate of its own for every task.
//!
//! ```text
//! o_t = sum_e g_t[e] h_e(x)      g_t = softmax(gate_t(x))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! Source: Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018.

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;

use super::mixture::WiredMixture;
use super::{Mixture, MixtureSizes, ModelSpec, NetworkSize};
use crate::error::Result;
use crate::schema::Schema;

variant! {
    /// Sizes of an MMoE.
    MmoeConfig(MixtureSizes) = "mmoe": MixtureSizes::check,
    sizes => WiredMixture { sizes, gate_per_task: true, embedding_per_expert: false }, Mixture {
        fn penalty_is_of_rows(&self) -> bool {
            self.0.covariance.is_none()
        }
    }
}
