//! Softmax of the gates, mix of the experts, and the masked backward: one pass over the experts' outputs each way.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::{mix as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, in_one_piece, tensor, values};

/// `o_t = sum_e softmax(z_t)[e] sg_t(h_e)`, where `sg_t` stops the gradient of experts that `open [T, E]` shuts to stream `t`.
///
/// # Shapes
/// `z [T, B, E]`, logits; experts in one part or two, `[E_i, B, H]`, that are `E` together; gives `o [T, B, H]`.
pub(crate) fn mix(
    z: &Tensor<3>,
    first: &Tensor<3>,
    others: Option<&Tensor<3>>,
    open: &Arc<[bool]>,
) -> Option<Tensor<3>> {
    if !fits([z, first, others.unwrap_or(first)]) {
        return None;
    }
    note(|calls| calls.mix += 1);
    let (z, first, open) = (z.clone().into_dispatch(), first.clone().into_dispatch(), open.clone());
    Some(Tensor::from_dispatch(match others {
        None => <Dispatch as MixOps>::mix_one(z, first, open),
        Some(others) => <Dispatch as MixOps>::mix_two(z, first, others.clone().into_dispatch(), open),
    }))
}

/// The forward, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait MixOps: Backend {
    /// Of experts that lie in one tensor.
    fn mix_one(z: FloatTensor<Self>, h: FloatTensor<Self>, open: Arc<[bool]>) -> FloatTensor<Self>;

    /// Of experts that lie in two.
    fn mix_two(
        z: FloatTensor<Self>,
        first: FloatTensor<Self>,
        others: FloatTensor<Self>,
        open: Arc<[bool]>,
    ) -> FloatTensor<Self>;
}

/// What the ops of any number of parts are made of, on backends below autodiff.
pub trait MixBody: Backend {
    /// `(o, g)`: the mix, and the gates that the backward reads.
    fn mix<const N: usize>(z: FloatTensor<Self>, h: [FloatTensor<Self>; N]) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `(dz, dh)`
    fn mix_backward<const N: usize>(
        g: FloatTensor<Self>,
        h: [FloatTensor<Self>; N],
        d_o: FloatTensor<Self>,
        open: &[bool],
    ) -> (FloatTensor<Self>, [FloatTensor<Self>; N]);
}

impl MixOps for Flex {
    fn mix_one(z: FlexTensor, h: FlexTensor, _: Arc<[bool]>) -> FlexTensor {
        Self::mix(z, [h]).0
    }

    fn mix_two(z: FlexTensor, first: FlexTensor, others: FlexTensor, _: Arc<[bool]>) -> FlexTensor {
        Self::mix(z, [first, others]).0
    }
}

/// Sizes of the kernel's mix, from gates or logits `[T, B, E]` and a part of the experts `[E_i, B, H]`.
fn shape(gates: &FlexTensor, h: &FlexTensor) -> kernel::MixShape {
    let ([tasks, rows, experts], [_, _, hidden]) = (gates.shape().dims(), h.shape().dims());
    kernel::MixShape { tasks, rows, experts, hidden }
}

/// Every expert's output, `E` times `[B, H]`: also where a batch has no rows.
fn experts<'h, const N: usize>(h: &'h [FlexTensor; N], shape: &kernel::MixShape) -> Vec<&'h [f32]> {
    let size = shape.hiddens();
    let part = |h: &'h FlexTensor| (0..h.shape()[0]).map(move |e| &values(h)[e * size..][..size]);
    h.iter().flat_map(part).collect()
}

impl MixBody for Flex {
    fn mix<const N: usize>(z: FlexTensor, h: [FlexTensor; N]) -> (FlexTensor, FlexTensor) {
        let (z, h) = (in_one_piece(z), h.map(in_one_piece));
        let shape = shape(&z, &h[0]);
        let bytes = 4 * (shape.experts * shape.hiddens() + shape.outputs()) as u64;
        let _span = tracing::trace_span!("op", name = "mix forward", bytes).entered();
        let (mut g, mut o) = (take(shape.gates()), take(shape.outputs())); // [T, B, E], [T, B, H]
        kernel::forward(shape, values(&z), &experts(&h, &shape), &mut g, &mut o);
        let kernel::MixShape { tasks, rows, experts, hidden } = shape;
        (tensor(o, [tasks, rows, hidden]), tensor(g, [tasks, rows, experts]))
    }

    fn mix_backward<const N: usize>(
        g: FlexTensor,
        h: [FlexTensor; N],
        d_o: FlexTensor,
        open: &[bool],
    ) -> (FlexTensor, [FlexTensor; N]) {
        let (g, d_o, h) = (in_one_piece(g), in_one_piece(d_o), h.map(in_one_piece));
        let shape = shape(&g, &h[0]);
        let bytes = 4 * (2 * shape.experts * shape.hiddens() + shape.outputs()) as u64;
        let _span = tracing::trace_span!("op", name = "mix backward", bytes).entered();
        let mut dz = take(shape.gates()); // [T, B, E]
        let mut dh = h.each_ref().map(|h| take(values(h).len())); // [E_i, B, H]
        let mut parts = Vec::with_capacity(shape.experts);
        for (h, dh) in h.iter().zip(&mut dh) {
            let mut rest = &mut **dh;
            parts.extend((0..h.shape()[0]).map_while(|_| rest.split_off_mut(..shape.hiddens())));
        }
        kernel::backward(shape, open, values(&g), &experts(&h, &shape), values(&d_o), &mut dz, parts);
        let mut shapes = h.iter().map(|h| h.shape());
        let dh = dh.map(|dh| tensor(dh, shapes.next().expect("as many shapes as parts")));
        (tensor(dz, g.shape()), dh)
    }
}

impl<B: MixBody + MixOps, C: CheckpointStrategy> MixOps for Autodiff<B, C> {
    fn mix_one(z: FloatTensor<Self>, h: FloatTensor<Self>, open: Arc<[bool]>) -> FloatTensor<Self> {
        differentiable::<B, C, _, 2>(
            [z, h],
            |[z, h]| {
                let (o, g) = B::mix(z, [h.clone()]);
                ((g, h, open), o)
            },
            |(g, h, open), d_o, _| {
                let (dz, [dh]) = B::mix_backward(g, [h], d_o, &open);
                [Some(dz), Some(dh)]
            },
        )
    }

    fn mix_two(
        z: FloatTensor<Self>,
        first: FloatTensor<Self>,
        others: FloatTensor<Self>,
        open: Arc<[bool]>,
    ) -> FloatTensor<Self> {
        differentiable::<B, C, _, 3>(
            [z, first, others],
            |[z, first, others]| {
                let (o, g) = B::mix(z, [first.clone(), others.clone()]);
                ((g, [first, others], open), o)
            },
            |(g, h, open), d_o, _| {
                let (dz, [first, others]) = B::mix_backward(g, h, d_o, &open);
                [Some(dz), Some(first), Some(others)]
            },
        )
    }
}
