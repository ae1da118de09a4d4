//! Groups into streams, in one pass.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::{sums as kernel, take};

use super::calls::note;
use super::differentiable::fan_out;
use super::tensors::{fits, in_one_piece, owned, tensor, values};

/// `y_k = sum over groups g of stream k of x_g`, for several lists of streams.
///
/// # Shapes
/// `x [G, B, I]`; gives `[K, B, I]` for each list.
pub(crate) fn streams<const N: usize>(x: &Tensor<3>, lists: &[Vec<Vec<usize>>; N]) -> Option<[Tensor<3>; N]> {
    if !fits([x]) {
        return None;
    }
    note(|calls| calls.streams += 1);
    let of = |list: &Vec<Vec<usize>>| Saved { streams: list.clone(), groups: x.dims()[0] };
    Some(fan_out(x, lists.each_ref().map(of), Saved::forward, Saved::backward))
}

/// Streams of so many groups.
#[derive(Debug, Clone)]
struct Saved {
    streams: Vec<Vec<usize>>,
    groups: usize,
}

impl Saved {
    fn forward(&self, x: FlexTensor) -> FlexTensor {
        let _span = tracing::trace_span!("op", name = "streams forward").entered();
        if self.streams.iter().map(Vec::as_slice).eq((0..self.groups).map(|g| [g])) {
            return x; // the groups as they are
        }
        let [_, rows, width] = x.shape().dims();
        let mut y = take(self.streams.len() * rows * width); // [K, B, I]
        kernel::streams(&self.streams, self.groups, values(&x), &mut y);
        tensor(y, [self.streams.len(), rows, width])
    }

    /// The gradient of `x`, with that `so far`.
    fn backward(self, dy: FlexTensor, so_far: Option<FlexTensor>) -> FlexTensor {
        let _span = tracing::trace_span!("op", name = "streams backward").entered();
        let (dy, adds) = (in_one_piece(dy), so_far.is_some());
        let [_, rows, width] = dy.shape().dims();
        let shape = [self.groups, rows, width];
        let mut dx = so_far.map_or_else(|| tensor(take(shape.iter().product()), shape), owned); // [G, B, I]
        let to = dx.try_storage_mut().expect("owned, or taken some lines above");
        kernel::streams_backward(&self.streams, self.groups, values(&dy), to, adds);
        dx
    }
}
