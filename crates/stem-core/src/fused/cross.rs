//! A layer of crosses in one pass.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::{cross as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, in_one_piece, tensor, values};

/// `y = x_0 u + x`, number by number.
///
/// # Shapes
/// All `[G, B, I]`.
pub(crate) fn cross(x0: &Tensor<3>, u: &Tensor<3>, x: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([x0, u, x]) {
        return None;
    }
    note(|calls| calls.cross += 1);
    let forward = |[x0, u, x]: [FlexTensor; 3]| {
        let mut y = take(values(&x).len()); // [G, B, I]
        kernel::forward(values(&x0), values(&u), values(&x), &mut y);
        let shape = x.shape();
        ((x0, u), tensor(y, shape))
    };
    Some(differentiable([x0, u, x], forward, |(x0, u), dy, _| {
        let dy = in_one_piece(dy);
        let count = values(&dy).len();
        let (mut dx0, mut du) = (take(count), take(count)); // [G, B, I] each
        kernel::backward(values(&x0), values(&u), values(&dy), &mut dx0, &mut du);
        let shape = || dy.shape();
        [Some(tensor(dx0, shape())), Some(tensor(du, shape())), Some(dy.clone())]
    }))
}
