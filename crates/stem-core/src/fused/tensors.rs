//! Between Burn's tensors and slices.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{DType, DispatchDevice, Flex, TensorMetadata};
use burn::tensor::{Shape, Tensor};
use stem_kernels::{Buffer, norms};

/// Whether the kernels can read these: f32 on flex, below autodiff or on it.
pub(super) fn are_read<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    let on_flex = || matches!(tensors[0].device().inner().as_dispatch(), DispatchDevice::Flex(_));
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32) && on_flex()
}

/// Whether the kernels can read it.
pub(super) fn is_f32(tensor: &FlexTensor) -> bool {
    tensor.dtype() == DType::F32
}

/// The tensor with its numbers in one piece: itself where they are.
pub(super) fn in_one_piece(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The numbers of a tensor that lies in one piece.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("f32 in one piece: checked by whoever calls the op, and put so by in_one_piece")
}

/// A tensor of an arena's buffer: dropped, it gives the memory back.
pub(super) fn tensor(buffer: Buffer, shape: impl Into<Shape>) -> FlexTensor {
    let shape = shape.into();
    let mut strides = vec![1; shape.num_dims()];
    for d in (1..strides.len()).rev() {
        strides[d - 1] = strides[d] * shape[d] as isize;
    }
    FlexTensor::new(buffer.into_bytes(), Layout::new(shape, strides, 0), DType::F32)
}

/// The same numbers, for changing: the tensor itself where nobody else holds it, else a copy in a buffer of the arena.
pub(super) fn owned(tensor: FlexTensor) -> FlexTensor {
    let mut tensor = in_one_piece(tensor);
    let whole = size_of_val(values(&tensor)) == tensor.bytes().len();
    if whole && tensor.try_storage_mut::<f32>().is_some() {
        return tensor;
    }
    let mut copy = stem_kernels::take(values(&tensor).len());
    copy.copy_from_slice(values(&tensor));
    self::tensor(copy, tensor.shape())
}

/// `||x||^2`, of a tensor that is read.
pub(super) fn squared_norm(x: &Tensor<2>) -> f32 {
    norms::squared(values(&in_one_piece(flex(x.clone())))) as f32
}

/// `grad + scale * weights` and `||weights||^2`, of tensors that are read; in place where nobody else holds `grad`.
pub(super) fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f32) -> (Tensor<2>, f32) {
    let (mut grad, weights) = (owned(flex(grad)), in_one_piece(flex(weights.clone())));
    let slice = grad.try_storage_mut().expect("owned a line above");
    let (squares, _) = norms::add_scaled_norms(slice, values(&weights), scale);
    (Tensor::from_primitive::<Flex>(grad), squares as f32)
}

/// What is behind a tensor of flex.
fn flex(tensor: Tensor<2>) -> FlexTensor {
    tensor.inner().try_into_primitive::<Flex>().expect("on flex: checked by whoever calls")
}
