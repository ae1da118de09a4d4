//! Norms of gradients, and the L2 term, on tensors below autodiff.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::norms as kernel;

use super::calls::note;
use super::tensors::{fits, in_one_piece, owned, values};

/// `||x||^2`
pub(super) fn squared_norm(x: &Tensor<2>) -> Option<f32> {
    if !fits([x]) {
        return None;
    }
    let x = in_one_piece(flex(x.clone())?);
    note(|calls| calls.norm += 1);
    Some(kernel::squared(values(&x)) as f32)
}

/// `grad + scale * weights` and `||weights||^2`, in place where nobody else holds `grad`; or `grad` as it was.
pub(super) fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f32) -> (Tensor<2>, Option<f32>) {
    if !fits([&grad, weights]) {
        return (grad, None);
    }
    let Some(weights) = flex(weights.clone()).map(in_one_piece) else { return (grad, None) };
    note(|calls| calls.norm += 1);
    let mut grad = owned(flex(grad).expect("on flex, as the weights are"));
    let slice = grad.try_storage_mut().expect("owned a line above");
    let (squares, _) = kernel::add_scaled_norms(slice, values(&weights), scale);
    (Tensor::from_primitive::<Flex>(grad), Some(squares as f32))
}

/// What is behind a tensor of flex.
fn flex(tensor: Tensor<2>) -> Option<FlexTensor> {
    tensor.inner().try_into_primitive::<Flex>().ok()
}
