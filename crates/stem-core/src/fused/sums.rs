//! Groups into streams, in one pass.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::{sums as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, in_one_piece, tensor, values};

/// `y_k = sum over groups g of stream k of x_g`
///
/// # Shapes
/// `x [G, B, I]`; gives `[K, B, I]`.
pub(crate) fn streams(x: &Tensor<3>, streams: &[Vec<usize>]) -> Option<Tensor<3>> {
    if !fits([x]) {
        return None;
    }
    note(|calls| calls.streams += 1);
    let [groups, rows, width] = x.dims();
    let of = streams.to_vec();
    let forward = |[x]: [FlexTensor; 1]| {
        let _span = tracing::trace_span!("op", name = "streams forward").entered();
        let mut y = take(of.len() * rows * width); // [K, B, I]
        kernel::streams(&of, groups, values(&x), &mut y);
        ((of.clone(), groups), tensor(y, [of.len(), rows, width]))
    };
    Some(differentiable([x], forward, |(of, groups), dy, _| {
        let _span = tracing::trace_span!("op", name = "streams backward").entered();
        let dy = in_one_piece(dy);
        let [_, rows, width] = dy.shape().dims();
        let mut dx = take(groups * rows * width); // [G, B, I]
        kernel::streams_backward(&of, groups, values(&dy), &mut dx);
        [Some(tensor(dx, [groups, rows, width]))]
    }))
}
