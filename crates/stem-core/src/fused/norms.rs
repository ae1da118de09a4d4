//! Norms of gradients, the L2 term and the pull of priors, on tensors below autodiff.

use burn::backend::Flex;
use burn::tensor::Tensor;
use stem_kernels::norms as kernel;
use stem_kernels::prior::{self, Precisions};

use super::calls::note;
use super::tensors::{fits, flex, owned, values};

/// `||x||^2`
pub(super) fn squared_norm(x: &Tensor<2>) -> Option<f32> {
    if !fits([x]) {
        return None;
    }
    note(|calls| calls.norm += 1);
    Some(kernel::squared(values(&flex(x.clone()))) as f32)
}

/// `grad + scale * weights` and `||weights||^2`, in place where nobody else holds `grad`; or `grad` as it was.
pub(super) fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f32) -> (Tensor<2>, Option<f32>) {
    if !fits([&grad, weights]) {
        return (grad, None);
    }
    note(|calls| calls.norm += 1);
    let (mut grad, weights) = (owned(flex(grad)), flex(weights.clone()));
    let slice = grad.try_storage_mut().expect("owned a line above");
    let (squares, _) = kernel::add_scaled_norms(slice, values(&weights), scale);
    (Tensor::from_primitive::<Flex>(grad), Some(squares as f32))
}

/// `grad` with the pull of a prior, in place where nobody else holds it; or `grad` as it was, and `false`.
pub(super) fn add_pull(
    grad: Tensor<2>,
    weights: &Tensor<2>,
    of: &[u32],
    strength: &[f32],
    precisions: &Precisions,
) -> (Tensor<2>, bool) {
    if !fits([&grad, weights]) {
        return (grad, false);
    }
    note(|calls| calls.norm += 1);
    let (mut grad, weights) = (owned(flex(grad)), flex(weights.clone()));
    let slice = grad.try_storage_mut().expect("owned a line above");
    prior::add_pull(slice, values(&weights), of, strength, precisions);
    (Tensor::from_primitive::<Flex>(grad), true)
}
