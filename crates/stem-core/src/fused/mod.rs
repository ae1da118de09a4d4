//! Ops that the CPU device `flex` does in one pass, where plain tensor operations take many and leave temporaries behind.
//!
//! | op | its equation, and the plain operations that every other device runs |
//! |---|---|
//! | `linear`, `chain` | [`LinearBank`](crate::nn::LinearBank): `y_e = relu(x_e W_e + b_e)` |
//! | `mix` | [`aftb`](crate::aftb): softmax, mix, masked backward |
//! | `bags` | [`Pooled`](crate::nn::Pooled): rows of the table into the models' inputs, and back |
//! | `attended` | [`Interest`](crate::nn::Interest): attention over histories |
//! | `streams` | [`Pooled`](crate::nn::Pooled): sums of groups, where something stands before a model |
//! | `fm` | [`Fm`](crate::nn::Fm): products of pairs of fields, and their map |
//! | `feature_gate`, `domain_gate`, `scaled` | [`FeatureGate`](crate::nn::FeatureGate), [`Domain`](crate::nn::Domain), and gates on [`Towers`](crate::nn::Towers) |
//! | `join`, `plus`, `spread` | streams of a [`Layer`](crate::nn::Layer) one behind another, `x_t + x_S`, logits at their places; where nothing has a gradient |
//! | `crosses` | [`Cross`](crate::nn::Cross): layers of crosses |
//! | `bce` | [`loss`](crate::loss): cross-entropy from logits |
//! | [`squared_norm`], [`add_scaled`] | norms of gradients, L2 |
//!
//! An op takes tensors, flags and numbers, and gives `None` where the tensors are not for it: not f32, or not on flex. The equation,
//! which knows the op while the op knows nothing of it, then runs its plain operations. Those are the specification; tests hold the
//! two together, gradients too. Loops over slices are in `stem-kernels`; this is what joins them to Burn, with backwards written by
//! hand: `differentiable` notes them on autodiff. `replay` watches a forward that scores and runs its kernels again, without tensors.

mod calls;

#[cfg(feature = "flex")]
mod arrange;
#[cfg(feature = "flex")]
mod attend;
#[cfg(feature = "flex")]
mod bag;
#[cfg(feature = "flex")]
mod bce;
#[cfg(feature = "flex")]
mod cross;
#[cfg(feature = "flex")]
mod differentiable;
#[cfg(feature = "flex")]
mod feature_gate;
#[cfg(feature = "flex")]
mod fm;
#[cfg(feature = "flex")]
mod linear;
#[cfg(feature = "flex")]
mod mix;
#[cfg(feature = "flex")]
mod norms;
#[cfg(feature = "flex")]
mod replay;
#[cfg(feature = "flex")]
mod sums;
#[cfg(feature = "flex")]
mod tensors;

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(feature = "flex")]
pub(crate) use {
    arrange::join, arrange::plus, arrange::spread, attend::attended, bag::bags, bag::stored_bags, bce::bce,
    cross::crosses, feature_gate::domain_gate, feature_gate::feature_gate, feature_gate::scaled, fm::fm, linear::chain,
    linear::linear, mix::mix, replay::Replay, replay::watch, sums::streams, tensors::is_fused_on,
};

#[cfg(not(feature = "flex"))]
mod none;
#[cfg(not(feature = "flex"))]
use none as norms;
#[cfg(not(feature = "flex"))]
pub(crate) use none::{
    Replay, attended, bags, bce, chain, crosses, domain_gate, feature_gate, fm, is_fused_on, join, linear, mix, plus,
    scaled, spread, stored_bags, streams, watch,
};

pub use calls::{Calls, count_calls};

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use stem_kernels::arena;
use stem_kernels::attend::Order;
use stem_kernels::bag::BagLayout;
use stem_kernels::distinct::DistinctRows;
use stem_kernels::prior::Precisions;

use crate::embedding::StoredTable;
use crate::scoped::scoped;

/// Frees the memory that the ops keep from step to step; the next step takes it anew. A training does so at its end.
pub fn release_memory() {
    arena::release();
}

/// Sets how many bytes the ops may keep unused from step to step, 2 GiB unless it is called; what was used longest ago is freed first.
/// Holds for the whole process. A step that needs more than that at a time is as right, and slower.
pub fn limit_memory(bytes: usize) {
    arena::set_limit(bytes);
}

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Runs `work` by plain operations alone, forward and the backward of that forward: to compare, or to look for a fault.
///
/// Holds for what runs **on this thread**. Work that is handed to another one (a pool's `install`, a thread that is spawned) does not
/// see it: call `without` inside of what is handed over.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use stem_core::nn::LinearBank;
/// use stem_core::{DeviceSpec, fused};
/// # use rand::SeedableRng;
///
/// let device = DeviceSpec::default().open()?;
/// let bank = LinearBank::init(2, 3, 4, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1), &device);
/// let x = Tensor::<3>::ones([1, 5, 3], &device);
/// let difference = bank.forward(x.clone()) - fused::without(|| bank.forward(x));
/// assert!(difference.abs().max().into_scalar::<f32>() < 1e-6);
/// # Ok::<(), stem_core::Error>(())
/// ```
pub fn without<R>(work: impl FnOnce() -> R) -> R {
    scoped(&ENABLED, false, work)
}

/// Whether ops run fused where they can: not inside of [`without`].
pub(crate) fn is_enabled() -> bool {
    ENABLED.get()
}

/// `||x||^2` of a tensor below autodiff, on the CPU in one pass and summed in a fixed order. `[1]`
pub fn squared_norm(x: &Tensor<2>) -> Tensor<1> {
    match norms::squared_norm(x) {
        Some(squares) => Tensor::from_floats([squares], &x.device()),
        None => (x.clone() * x.clone()).sum(),
    }
}

/// `grad + scale * weights` and `||weights||^2` `[1]`, of tensors below autodiff, on the CPU in one pass and in place where nobody else
/// holds `grad`.
pub fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f64) -> (Tensor<2>, Tensor<1>) {
    match norms::add_scaled(grad, weights, scale as f32) {
        (sum, Some(squares)) => (sum, Tensor::from_floats([squares], &weights.device())),
        (grad, None) => (grad + weights.clone() * scale, squared_norm(weights)),
    }
}

/// The gradients `grad [U, W]` of the rows `weights [U, W]` with the pull of a prior on them, of tensors below autodiff, on the CPU in
/// one pass and in place where nobody else holds `grad`. Row `u` is of vocabulary `of[u]` and pulled `strength[u]` times; the equations
/// are in [`stem_kernels::prior`].
pub fn add_pull(
    grad: Tensor<2>,
    weights: &Tensor<2>,
    of: &[u32],
    strength: &[f32],
    precisions: &Precisions,
) -> Tensor<2> {
    let (grad, done) = norms::add_pull(grad, weights, of, strength, precisions);
    if done { grad } else { grad + pull(weights, of, strength, precisions) }
}

/// The pull as plain operations. `[U, W]`
fn pull(weights: &Tensor<2>, of: &[u32], strength: &[f32], precisions: &Precisions) -> Tensor<2> {
    let (device, [rows, width]) = (weights.device(), weights.dims());
    let of = crate::forward::upload_index(of, &device); // [U]
    let strength = Tensor::<1>::from_floats(strength, &device).reshape([rows, 1]);
    let table = |values: &[f32], columns: usize| {
        Tensor::<1>::from_floats(values, &device).reshape([values.len() / columns, columns]).select(0, of.clone())
    };
    let pull = match precisions {
        Precisions::Diagonal { values, width } => table(values, *width) * weights.clone(), // [U, W]
        Precisions::Tied { values, groups, dim } => {
            let precision = table(values, groups * groups).reshape([rows, *groups, *groups]); // [U, G, G]
            precision.matmul(weights.clone().reshape([rows, *groups, *dim])).reshape([rows, width]) // [U, W]
        }
    };
    pull * strength
}

/// A batch's slots over the rows of a table: what an embedding bag reads.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
pub(crate) struct Slots<'a> {
    /// The table, or a batch's distinct rows. `[V, W]` or `[U, W]`
    pub rows: &'a Tensor<2>,
    /// Which row each slot names. `[B * S]`
    pub index: &'a Tensor<1, Int>,
    /// What it is multiplied with. `[B, S]`
    pub weights: &'a Tensor<2>,
    /// Which slots make which field.
    pub layout: &'a Arc<BagLayout>,
    /// Where in the batch each of the rows stands, where somebody knows; a backward needs it.
    pub distinct: Option<&'a Arc<DistinctRows>>,
}

/// Where a history stands among the fields and slots of a batch, and how it is attended.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
pub(crate) struct Attended {
    /// The candidate's place among the fields.
    pub candidate: usize,
    /// The history's.
    pub history: usize,
    /// Its slots. `L` of them
    pub slots: Range<usize>,
    /// The slots of how long before the row its values were. `L` of them
    pub gaps: Option<Range<usize>>,
    /// Whether weights sum to 1.
    pub softmax: bool,
    /// From which end positions are counted.
    pub order: Order,
}

/// The parameters of the scores: weights `[G, I, O]` and biases `[G, 1, O]`, at least two maps and the last with one output, and
/// `positions [G, L, D]`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
pub(crate) struct Scores<'a> {
    pub maps: &'a [[Tensor<3>; 2]],
    pub positions: Option<&'a Tensor<3>>,
}

/// The values of a batch's histories.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "flex"), allow(dead_code))]
pub(crate) enum HistoryValues<'a> {
    /// Rows of a table `[U, W]`, which of them each slot names `[B * S]`, and where in the batch each stands: a backward needs it.
    Rows(&'a Tensor<2>, &'a Tensor<1, Int>, Option<&'a Arc<DistinctRows>>),
    /// Rows that are read in a file and have no gradient.
    Stored(&'a StoredTable, &'a Tensor<1, Int>),
    /// The values themselves. `[G, B, L * D]`
    Given(&'a Tensor<3>),
}
