//! Between Burn's tensors and slices.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{DType, DispatchDevice, Flex, TensorMetadata};
use burn::tensor::{Device, Tensor};
use stem_kernels::{Buffer, norms};

/// Whether tensors of this device are slices that the kernels can read.
pub(super) fn runs_on(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether all of these are f32 on flex.
pub(super) fn takes<const N: usize>(of: [(Device, burn::tensor::DType); N]) -> bool {
    of.iter().all(|(device, dtype)| *dtype == DType::F32 && runs_on(device))
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
pub(super) fn tensor(buffer: Buffer, shape: impl Into<Vec<usize>>) -> FlexTensor {
    let shape: Vec<usize> = shape.into();
    FlexTensor::new(buffer.into_bytes(), Layout::contiguous(shape.into()), DType::F32)
}

/// The same numbers, for changing: the tensor itself where nobody else holds it, else a copy in a buffer of the arena.
pub(super) fn owned(tensor: FlexTensor) -> FlexTensor {
    let mut tensor = in_one_piece(tensor);
    let whole = values(&tensor).len() * size_of::<f32>() == tensor.bytes().len();
    if whole && tensor.try_storage_mut::<f32>().is_some() {
        return tensor;
    }
    let mut copy = stem_kernels::take(values(&tensor).len());
    copy.copy_from_slice(values(&tensor));
    self::tensor(copy, tensor.shape().to_vec())
}

/// `||x||^2` in one pass, summed in a fixed order; `None` on other devices.
pub fn squared_norm<const D: usize>(x: &Tensor<D>) -> Option<f32> {
    if !takes([(x.device(), x.dtype())]) {
        return None;
    }
    let x = in_one_piece(x.clone().try_into_primitive::<Flex>().ok()?);
    Some(norms::squared(values(&x)) as f32)
}

/// `grad + scale * weights` and `||weights||^2`, in one pass and in place where nobody else holds `grad`; gives `grad` back on
/// other devices.
///
/// # Errors
/// `grad`, unchanged.
pub fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f32) -> Result<(Tensor<2>, f32), Tensor<2>> {
    if !takes([(grad.device(), grad.dtype()), (weights.device(), weights.dtype())]) {
        return Err(grad);
    }
    let (Ok(grad), Ok(weights)) =
        (grad.clone().try_into_primitive::<Flex>(), weights.clone().try_into_primitive::<Flex>())
    else {
        return Err(grad);
    };
    let (mut grad, weights) = (owned(grad), in_one_piece(weights));
    let slice = grad.try_storage_mut().expect("owned a line above");
    let (squares, _) = norms::add_scaled_norms(slice, values(&weights), scale);
    Ok((Tensor::from_primitive::<Flex>(grad), squares as f32))
}
