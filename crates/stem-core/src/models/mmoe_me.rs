//! MMoE-ME: MMoE whose every expert reads an embedding of its own. No gradient is stopped.
//!
//! ```text
//! o_t = sum_e g_t[e] h_e(x_e)    g_t = softmax(gate_t(sum_e x_e))
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! A comparison of the STEM paper (Su et al., AAAI 2024): more embeddings, but none that belongs to a task. The paper does not
//! say what a gate reads; here it is the sum of the experts' inputs, as STEM's gates read `x_t + x_S`.

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;

use super::mixture::WiredMixture;
use super::{Mixture, MixtureSizes, ModelSpec, NetworkSize};
use crate::error::Result;
use crate::schema::Schema;

variant! {
    /// Sizes of an MMoE-ME.
    MmoeMeConfig(MixtureSizes) = "mmoe-me": MixtureSizes::check,
    sizes => WiredMixture { sizes, gate_per_task: true, embedding_per_expert: true }, Mixture {
        fn penalty_is_of_rows(&self) -> bool {
            self.0.covariance.is_none()
        }
    }
}
