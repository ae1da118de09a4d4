//! Between Burn's tensors and slices.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{DType, DispatchDevice, Flex, TensorMetadata};
use burn::tensor::{Device, Shape, Tensor};
use stem_kernels::map::Map;
use stem_kernels::{Buffer, take};

/// Whether the ops take tensors of this device.
pub(crate) fn is_fused_on(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether the ops take these tensors, which are on one device: f32 on flex, below autodiff or on it.
pub(super) fn fits<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    let of_floats = tensors.iter().all(|tensor| tensor.dtype() == DType::F32);
    super::ENABLED.get() && of_floats && is_fused_on(&tensors[0].device())
}

/// What is behind a tensor that fits, in one piece and without its graph.
pub(super) fn flex<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    in_one_piece(tensor.inner().try_into_primitive::<Flex>().expect("the op fits: the tensor is on flex"))
}

/// What is behind a tensor that has no gradient, in one piece. `None` on autodiff, on other devices, and of other numbers than f32.
pub(super) fn below_autodiff<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    tensor.try_into_primitive::<Flex>().ok().filter(|tensor| tensor.dtype() == DType::F32).map(in_one_piece)
}

/// The tensor with its numbers in one piece: itself where they are.
pub(super) fn in_one_piece(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The numbers of a tensor that lies in one piece.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("f32 in one piece: the op fits, and in_one_piece put it so")
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
    let mut copy = take(values(&tensor).len());
    copy.copy_from_slice(values(&tensor));
    self::tensor(copy, tensor.shape())
}

/// The map of `weight [G, I, O]` and `bias [G, 1, O]`.
pub(super) fn map<'a>(weight: &'a FlexTensor, bias: &'a FlexTensor) -> Map<'a> {
    Map { weight: values(weight), bias: values(bias), output: weight.shape()[2] }
}

/// A buffer for the gradient of a tensor.
pub(super) fn buffer_for(of: &FlexTensor) -> Buffer {
    take(values(of).len())
}
