//! What makes one optimizer differ from another: the arithmetic of a row, written for slices and for tensors.

use burn::tensor::Tensor;

/// One step of an optimizer, its numbers known, on weights with `N` matrices of state beside them.
pub(super) trait Rule<const N: usize>: Copy + Sync {
    /// Updates a row `[W]` of weights and its rows of state with its gradient `[W]` times `scale`, in place.
    fn row(&self, weights: &mut [f32], state: [&mut [f32]; N], grad: &[f32], scale: f32);

    /// The same on `[U, W]`: new weights and new state from old ones and the gradient.
    fn tensors(&self, weights: Tensor<2>, state: [Tensor<2>; N], grad: Tensor<2>) -> (Tensor<2>, [Tensor<2>; N]);
}
