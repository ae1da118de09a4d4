//! Ops that the CPU device `flex` does in one pass, where plain tensor operations take many and leave temporaries behind.
//!
//! | op | its equation, and the plain operations that every other device runs |
//! |---|---|
//! | [`linear`] | [`LinearBank`](crate::LinearBank): `y_e = relu(x_e W_e + b_e)` |
//! | [`mix`] | [`aftb`](crate::aftb): softmax, mix, masked backward |
//! | [`bag`] | [`Pooled`](crate::Pooled): rows of the table into the models' inputs, and back |
//! | [`bce`] | [`loss`](crate::loss): cross-entropy from logits |
//!
//! The plain operations are the specification; tests hold the two together, gradients too. Whoever has an equation asks whether
//! its tensors [`fits`], f32 on flex, and else runs the plain ones. Loops over slices are in `stem-kernels`; this
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
pub(crate) use {bag::bag, bag::bag_fits, bce::bce, linear::chain, linear::linear, mix::mix, tensors::fits};
#[cfg(feature = "flex")]
pub use tensors::{add_scaled, squared_norm};

use std::sync::Arc;

use stem_kernels::bag::{Layout, Streams};

use crate::embedding::DistinctRows;

/// What beside tensors makes an embedding bag.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which slots make which field.
    pub layout: Arc<Layout>,
    /// Which columns of a row are summed into which stream.
    pub streams: Streams,
    /// Where in the batch each distinct row stands; the backward reads it.
    pub distinct: Option<Arc<DistinctRows>>,
}

#[cfg(not(feature = "flex"))]
mod none;
#[cfg(not(feature = "flex"))]
pub use none::*;
