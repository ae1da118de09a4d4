//! MultiBalance: tasks' gradients are balanced at the embeddings that they share, and not at parameters.
//!
//! ```text
//! g_t = w_t dL_t / dh,  h = x_S                                 what the model's wiring reads of the embeddings that no task has to itself
//! n_t = decay n_t + (1 - decay) ||g_t|| / w_t                   the first norm to begin with
//! d   = sum_t m_t g_t,  m_t = (sum_s n_s) lambda_t / n_t        what goes on from h to the rows, in the place of sum_t g_t
//!
//! lambda_t = 1 / T                                              every task pulls as w_t has it, at the mean of the norms
//! lambda   = argmin || sum_t lambda_t g_t / n_t ||^2,  lambda_t >= 0, sum_t lambda_t = 1     with `min_norm`: no task is worked against (MGDA)
//! ```
//!
//! A moving average keeps a batch of small gradients from being blown up. The network's own gradients, and those of embeddings that a task has to itself,
//! are `sum_t` as they are: what lies above `h` has its own task's gradient, or is shared and above what is balanced.
//!
//! Source: He et al., *MultiBalance: Multi-Objective Gradient Balancing in Industrial-Scale Multi-Task Recommendation System*, 2024 (arXiv 2411.11871); the
//! equations are as notes on it tell them, its text was not to be had in full. There tasks' heads alone are run for each task; here all above the embeddings is,
//! for in STEM tasks part there, and Burn keeps no graph for a second backward pass.

use stem_core::Schema;
use stem_core::models::ModelSpec;

pub(super) fn default_decay() -> f64 {
    0.9
}

/// Rounds of the search for the shortest mix of gradients, and how close to it is enough.
const ROUNDS: usize = 10_000;
const ENOUGH: f64 = 1e-12;

/// The embedding groups of a model that no task has to itself: the shared one, or all where they belong to nobody.
pub(crate) fn shared_groups<C: ModelSpec>(spec: &C, schema: &Schema) -> Vec<usize> {
    let (groups, owners) = (spec.widths(schema).len(), spec.embedding_groups(schema));
    (0..groups).filter(|&k| owners.get(k).is_none_or(|&owner| owner == schema.tasks.len())).collect()
}

/// `n_t` and `m_t` of every task. `[T]` each
#[derive(Debug, Clone)]
pub struct MultiBalance {
    /// 0 before the task's first gradient.
    pub(super) norms: Vec<f32>,
    pub(super) weights: Vec<f32>,
    /// Embedding groups at which tasks are balanced.
    pub(super) shared: Vec<usize>,
    pub(super) min_norm: bool,
    decay: f64,
}

impl MultiBalance {
    /// All weights 1, balanced at those embedding groups.
    pub fn new(decay: f64, min_norm: bool, shared: Vec<usize>, tasks: usize) -> Self {
        Self { norms: vec![0.0; tasks], weights: vec![1.0; tasks], shared, min_norm, decay }
    }

    /// `m_t` of the last step `[T]`
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// `m_t` of a step, given the inner products of the `g_t` `[T, T]` (the diagonal alone matters without `min_norm`) and the `w_t` `[T]`. A task whose
    /// gradient is 0 (no labels in the batch, a weight of 0) takes no part, and its `n_t` stays.
    pub fn weigh(&mut self, products: &[Vec<f64>], task_weights: &[f64]) -> Vec<f64> {
        let known: Vec<usize> =
            (0..task_weights.len()).filter(|&t| products[t][t] > 0.0 && task_weights[t] > 0.0).collect();
        for &t in &known {
            let norm = products[t][t].sqrt() / task_weights[t];
            let before = f64::from(self.norms[t]);
            self.norms[t] = if before > 0.0 { self.decay * before + (1.0 - self.decay) * norm } else { norm } as f32;
        }
        let n = |t: usize| f64::from(self.norms[t]);
        let lambda = match self.min_norm {
            true => shortest(known.len(), |a, b| products[known[a]][known[b]] / (n(known[a]) * n(known[b]))),
            false => vec![1.0 / known.len().max(1) as f64; known.len()],
        };
        let sum: f64 = known.iter().map(|&t| n(t)).sum();
        let mut weights = vec![0.0; task_weights.len()];
        known.iter().zip(lambda).for_each(|(&t, lambda)| weights[t] = sum * lambda / n(t));
        self.weights = weights.iter().map(|&weight| weight as f32).collect();
        weights
    }
}

/// `lambda` on the simplex at which `sum_ab lambda_a lambda_b product(a, b)` is least: weight moves from the task whose share of it is largest to that whose is
/// smallest, as far as is best (Frank and Wolfe's steps in pairs).
fn shortest(count: usize, product: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut lambda = vec![1.0 / count.max(1) as f64; count];
    let size = (0..count).map(|a| product(a, a)).fold(0.0, f64::max);
    for _ in 0..ROUNDS {
        let pull: Vec<f64> = (0..count).map(|a| (0..count).map(|b| lambda[b] * product(a, b)).sum()).collect();
        let Some(to) = (0..count).min_by(|&a, &b| pull[a].total_cmp(&pull[b])) else { break };
        let Some(from) = (0..count).filter(|&a| lambda[a] > 0.0).max_by(|&a, &b| pull[a].total_cmp(&pull[b])) else {
            break;
        };
        let gain = pull[from] - pull[to];
        if gain <= ENOUGH * size {
            break;
        }
        let apart = product(from, from) + product(to, to) - 2.0 * product(from, to); // ||u_from - u_to||^2
        let step = if apart > 0.0 { (gain / apart).min(lambda[from]) } else { lambda[from] };
        lambda[from] -= step;
        lambda[to] += step;
    }
    lambda
}
