//! Ops that the CPU device `flex` does in one pass, where plain tensor operations take many and leave temporaries behind.
//!
//! | op | its equation, and the plain operations that every other device runs |
//! |---|---|
//! | `linear`, `chain` | [`LinearBank`](crate::nn::LinearBank): `y_e = relu(x_e W_e + b_e)` |
//! | `mix` | [`aftb`](crate::aftb): softmax, mix, masked backward |
//! | `bag` | [`Pooled`](crate::nn::Pooled): rows of the table into the models' inputs, and back |
//! | `bce` | [`loss`](crate::loss): cross-entropy from logits |
//!
//! The plain operations are the specification; tests hold the two together, gradients too. Whoever has an equation asks whether
//! its tensors fit, f32 on flex, and else runs the plain ones. Loops over slices are in `stem-kernels`; this
//! is what joins them to Burn: an extension op of the backend with its backward written by hand.

#[cfg(feature = "flex")]
mod bag;
#[cfg(feature = "flex")]
mod bce;
#[cfg(feature = "flex")]
mod linear;
#[cfg(feature = "flex")]
mod mix;
#[cfg(feature = "flex")]
mod tensors;

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(feature = "flex")]
use tensors as norms;
#[cfg(feature = "flex")]
use tensors::are_read;
#[cfg(feature = "flex")]
pub(crate) use {bag::bag, bag::bags, bce::bce, linear::chain, linear::linear, mix::mix};

use std::cell::Cell;
use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use stem_kernels::bag::{Layout, Streams};

use crate::embedding::DistinctRows;
use crate::scoped::scoped;

/// Frees the memory that the ops keep from step to step; the next step takes it anew. A training does so at its end.
pub fn release_memory() {
    stem_kernels::buffer::release();
}

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Runs `work` by plain operations alone, forward and the backward of that forward: to compare, or to look for a fault. Holds for
/// this thread.
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

/// `||x||^2` of a tensor below autodiff, on the CPU in one pass and summed in a fixed order. `[1]`
pub fn squared_norm(x: &Tensor<2>) -> Tensor<1> {
    match fits([x]) {
        true => Tensor::from_floats([norms::squared_norm(x)], &x.device()),
        false => (x.clone() * x.clone()).sum(),
    }
}

/// `grad + scale * weights` and `||weights||^2` `[1]`, of tensors below autodiff, on the CPU in one pass and in place where nobody else
/// holds `grad`.
pub fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f64) -> (Tensor<2>, Tensor<1>) {
    if fits([&grad, weights]) {
        let (sum, squares) = norms::add_scaled(grad, weights, scale as f32);
        return (sum, Tensor::from_floats([squares], &weights.device()));
    }
    (grad + weights.clone() * scale, squared_norm(weights))
}

/// Whether the fused ops take these tensors, which are on one device: f32 on flex, below autodiff or on it.
pub(crate) fn fits<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    ENABLED.get() && are_read(tensors)
}

/// Whether the bag takes these: where rows are differentiated it has to know where in the batch they stand.
pub(crate) fn bag_fits(rows: &Tensor<2>, index: &Tensor<1, Int>, weights: &Tensor<2>, plan: &Plan) -> bool {
    let differentiable = plan.distinct.is_some() || !rows.is_require_grad();
    differentiable && index.dtype() == burn::tensor::DType::I32 && fits([rows, weights])
}

/// What beside tensors makes an embedding bag.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which slots make which field.
    pub layout: Arc<Layout>,
    /// Which columns of a row are summed into which stream.
    pub streams: Streams,
    /// Where in the batch each distinct row stands; the backward reads it.
    pub distinct: Option<Arc<DistinctRows>>,
    /// What the forward gives, where it was computed with that of other bags.
    #[cfg(feature = "flex")]
    ready: Option<burn::backend::flex::FlexTensor>,
}

impl Plan {
    /// A bag that is computed when it is asked for.
    pub fn new(layout: Arc<Layout>, streams: Streams, distinct: Option<Arc<DistinctRows>>) -> Self {
        Self {
            layout,
            streams,
            distinct,
            #[cfg(feature = "flex")]
            ready: None,
        }
    }
}

#[cfg(not(feature = "flex"))]
mod none;
#[cfg(not(feature = "flex"))]
use none as norms;
#[cfg(not(feature = "flex"))]
use none::are_read;
#[cfg(not(feature = "flex"))]
pub(crate) use none::{bag, bags, bce, chain, linear, mix};
