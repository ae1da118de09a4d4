//! OMoE: experts on one embedding, mixed by one gate for all tasks.
//!
//! ```text
//! o   = sum_e g[e] h_e(x)        g = softmax(gate(x))
//! y_t = sigmoid(tower_t(o))
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
    /// Sizes of an OMoE.
    OmoeConfig(MixtureSizes) = "omoe": MixtureSizes::check,
    sizes => WiredMixture { sizes, gate_per_task: false, embedding_per_expert: false }, Mixture {
        fn penalty_is_of_rows(&self) -> bool {
            self.0.covariance.is_none()
        }
    }
}
