//! Streams of a layer put together, where nothing has a gradient: for scoring, of which the [list of kernels](super::replay) knows it.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use stem_kernels::take;

use super::replay::{Step, saw_streams};
use super::tensors::{below_autodiff, fits, tensor, values};

/// `a` and `b` one behind the other. `None` on autodiff.
///
/// # Shapes
/// `a [K_1, B, W]`, `b [K_2, B, W]`; gives `[K_1 + K_2, B, W]`.
pub(crate) fn join(a: &Tensor<3>, b: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([a, b]) {
        return None;
    }
    let (a, b) = (below_autodiff(a.clone())?, below_autodiff(b.clone())?);
    let ([first, rows, width], [second, ..]) = (a.shape().dims(), b.shape().dims::<3>());
    let mut y = take((first + second) * rows * width);
    join_into(values(&a), values(&b), &mut y);
    let y = tensor(y, [first + second, rows, width]);
    saw_streams([&a, &b], &y, Step::Join);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// `a_k + b` for every stream `k`. `None` on autodiff.
///
/// # Shapes
/// `a [K, B, W]`, `b [1, B, W]`; gives `[K, B, W]`.
pub(crate) fn plus(a: &Tensor<3>, b: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([a, b]) {
        return None;
    }
    let (a, b) = (below_autodiff(a.clone())?, below_autodiff(b.clone())?);
    if b.shape()[0] != 1 {
        return None;
    }
    let mut y = take(values(&a).len());
    plus_into(values(&a), values(&b), &mut y);
    let y = tensor(y, a.shape());
    saw_streams([&a, &b], &y, Step::Plus);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// Logits over some experts put at their places among all, every other `out_of_reach`: the first `own` of stream `k` at `k * own`, those behind
/// them at `before`. `None` on autodiff.
///
/// # Shapes
/// `z [K, B, own + C]`; gives `[K, B, before + C]`.
pub(crate) fn spread(z: &Tensor<3>, own: usize, before: usize, out_of_reach: f32) -> Option<Tensor<3>> {
    if !fits([z]) {
        return None;
    }
    let z = below_autodiff(z.clone())?;
    let [streams, rows, width] = z.shape().dims();
    let to = Spread { streams, own, before, experts: before + width - own, out_of_reach };
    let mut y = take(streams * rows * to.experts);
    to.run(values(&z), &mut y);
    let y = tensor(y, [streams, rows, to.experts]);
    saw_streams([&z], &y, |[z]| Step::Spread(z, to));
    Some(Tensor::from_primitive::<Flex>(y))
}

/// Where the logits of [`spread`] go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    streams: usize,
    own: usize,
    before: usize,
    experts: usize,
    out_of_reach: f32,
}

impl Spread {
    /// `z [K, B, own + C]`, `y [K, B, E]`
    pub(super) fn run(self, z: &[f32], y: &mut [f32]) {
        let Self { streams, own, before, experts, out_of_reach } = self;
        let width = experts - before + own;
        let rows = y.len() / (streams * experts).max(1);
        if width * rows == 0 {
            return y.fill(out_of_reach);
        }
        for (i, (z, y)) in z.chunks_exact(width).zip(y.chunks_exact_mut(experts)).enumerate() {
            y[..before].fill(out_of_reach);
            y[i / rows * own..][..own].copy_from_slice(&z[..own]);
            y[before..].copy_from_slice(&z[own..]);
        }
    }
}

/// What [`join`] does to the numbers.
pub(super) fn join_into(a: &[f32], b: &[f32], y: &mut [f32]) {
    let (first, second) = y.split_at_mut(a.len());
    first.copy_from_slice(a);
    second.copy_from_slice(b);
}

/// What [`plus`] does to the numbers.
pub(super) fn plus_into(a: &[f32], b: &[f32], y: &mut [f32]) {
    if b.is_empty() {
        return;
    }
    for (a, y) in a.chunks_exact(b.len()).zip(y.chunks_exact_mut(b.len())) {
        a.iter().zip(b).zip(y).for_each(|((a, b), y)| *y = a + b);
    }
}
