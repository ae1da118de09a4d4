//! PCGrad: where two tasks' gradients point against each other, each loses its part along the other.
//!
//! ```text
//! for every task i, for every other task j in random order:
//!     if <g_i, g_j> < 0:   g_i = g_i - <g_i, g_j> / ||g_j||^2 g_j        (g_j as it was before any projection)
//! ```
//!
//! A gradient here is all parameters and the batch's embedding rows as one vector, as in the authors' implementation.
//!
//! Source: Yu et al., *Gradient Surgery for Multi-Task Learning*, NeurIPS 2020.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::step::StepGradients;

/// The order of projections.
#[derive(Debug)]
pub struct PcGrad {
    pub(super) rng: ChaCha8Rng,
}

impl PcGrad {
    /// Orders drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Every task's gradient without what conflicts with another's.
    pub fn project(&mut self, gradients: Vec<StepGradients>) -> Vec<StepGradients> {
        let norms: Vec<_> = gradients.iter().map(|g| g.dot(g)).collect();
        let mut projected = Vec::with_capacity(gradients.len());
        for (i, own) in gradients.iter().enumerate() {
            let mut others: Vec<usize> = (0..gradients.len()).filter(|&j| j != i).collect();
            others.shuffle(&mut self.rng);
            let project = |g: StepGradients, j: usize| {
                let conflict = g.dot(&gradients[j]).clamp_max(0.0); // 0 where they agree
                let scale = (conflict / (norms[j].clone() + 1e-30)).neg();
                g.add(&gradients[j], Some(&scale))
            };
            projected.push(others.into_iter().fold(own.clone(), project));
        }
        projected
    }
}
