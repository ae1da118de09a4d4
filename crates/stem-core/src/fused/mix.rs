//! Softmax of the gates, mix of the experts, and the masked backward: one pass over the experts' outputs each way.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::{mix as kernel, take};

use super::tensors::{in_one_piece, tensor, values};
use crate::aftb::AftbMask;

/// `o_t = sum_e softmax(z_t)[e] sg_t(h_e)`: see [`aftb::mix`](crate::aftb::mix).
///
/// # Shapes
/// `z [T, B, E]`, logits; experts in one part or two, `[E_i, B, H]`, that are `E` together; gives `o [T, B, H]`.
pub(crate) fn mix(z: Tensor<3>, own: Tensor<3>, shared: Option<Tensor<3>>, mask: Arc<AftbMask>) -> Tensor<3> {
    let (z, own) = (z.into_dispatch(), own.into_dispatch());
    Tensor::from_dispatch(match shared {
        None => <Dispatch as MixOps>::mix_one(z, own, mask),
        Some(shared) => <Dispatch as MixOps>::mix_two(z, own, shared.into_dispatch(), mask),
    })
}

/// The forward, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait MixOps: Backend {
    /// Of experts that lie in one tensor.
    fn mix_one(z: FloatTensor<Self>, h: FloatTensor<Self>, mask: Arc<AftbMask>) -> FloatTensor<Self>;

    /// Of experts that lie in two.
    fn mix_two(
        z: FloatTensor<Self>,
        own: FloatTensor<Self>,
        shared: FloatTensor<Self>,
        mask: Arc<AftbMask>,
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
        mask: &AftbMask,
    ) -> (FloatTensor<Self>, [FloatTensor<Self>; N]);
}

impl MixOps for Flex {
    fn mix_one(z: FlexTensor, h: FlexTensor, _: Arc<AftbMask>) -> FlexTensor {
        Self::mix(z, [h]).0
    }

    fn mix_two(z: FlexTensor, own: FlexTensor, shared: FlexTensor, _: Arc<AftbMask>) -> FlexTensor {
        Self::mix(z, [own, shared]).0
    }
}

/// Sizes of the kernel's mix, from gates or logits `[T, B, E]` and a part of the experts `[E_i, B, H]`.
fn shape(gates: &FlexTensor, h: &FlexTensor) -> kernel::Shape {
    let ([tasks, rows, experts], [_, _, hidden]) = (gates.shape().dims(), h.shape().dims());
    kernel::Shape { tasks, rows, experts, hidden }
}

/// Every expert's output, `E` times `[B, H]`.
fn experts<'h, const N: usize>(h: &'h [FlexTensor; N], shape: &kernel::Shape) -> Vec<&'h [f32]> {
    h.iter().flat_map(|h| values(h).chunks_exact(shape.hiddens().max(1))).collect()
}

impl MixBody for Flex {
    fn mix<const N: usize>(z: FlexTensor, h: [FlexTensor; N]) -> (FlexTensor, FlexTensor) {
        let (z, h) = (in_one_piece(z), h.map(in_one_piece));
        let shape = shape(&z, &h[0]);
        let bytes = 4 * (shape.experts * shape.hiddens() + shape.outputs()) as u64;
        let _span = tracing::trace_span!("op", name = "mix forward", bytes).entered();
        let (mut g, mut o) = (take(shape.gates()), take(shape.outputs())); // [T, B, E], [T, B, H]
        kernel::forward(shape, values(&z), &experts(&h, &shape), &mut g, &mut o);
        let kernel::Shape { tasks, rows, experts, hidden } = shape;
        (tensor(o, [tasks, rows, hidden]), tensor(g, [tasks, rows, experts]))
    }

    fn mix_backward<const N: usize>(
        g: FlexTensor,
        h: [FlexTensor; N],
        d_o: FlexTensor,
        mask: &AftbMask,
    ) -> (FlexTensor, [FlexTensor; N]) {
        let (g, d_o, h) = (in_one_piece(g), in_one_piece(d_o), h.map(in_one_piece));
        let shape = shape(&g, &h[0]);
        let bytes = 4 * (2 * shape.experts * shape.hiddens() + shape.outputs()) as u64;
        let _span = tracing::trace_span!("op", name = "mix backward", bytes).entered();
        let mut dz = take(shape.gates()); // [T, B, E]
        let mut dh = h.each_ref().map(|h| take(values(h).len())); // [E_i, B, H]
        let one = shape.hiddens().max(1);
        let parts = dh.iter_mut().flat_map(|dh| dh.chunks_exact_mut(one)).collect();
        kernel::backward(shape, mask.rows(), values(&g), &experts(&h, &shape), values(&d_o), &mut dz, parts);
        let mut shapes = h.iter().map(|h| h.shape());
        let dh = dh.map(|dh| tensor(dh, shapes.next().expect("as many shapes as parts")));
        (tensor(dz, g.shape()), dh)
    }
}

/// The step back through a mix of experts in `N` parts; its parents are the logits and the parts.
#[derive(Debug)]
struct Step<const N: usize>;

impl<B: MixBody, const N: usize, const PARENTS: usize> Backward<B, PARENTS> for Step<N> {
    type State = (FloatTensor<B>, [FloatTensor<B>; N], Arc<AftbMask>);

    fn backward(self, ops: Ops<Self::State, PARENTS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_o = grads.consume::<B>(&ops.node);
        let (g, h, mask) = ops.state;
        let (dz, dh) = B::mix_backward(g, h, d_o, &mask);
        for (parent, gradient) in ops.parents.into_iter().zip(std::iter::once(dz).chain(dh)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Runs the mix below autodiff and notes the step back. `tensors`: the logits, then the parts.
fn tracked<B: MixBody, C: CheckpointStrategy, const N: usize, const PARENTS: usize>(
    z: FloatTensor<Autodiff<B, C>>,
    h: [FloatTensor<Autodiff<B, C>>; N],
    mask: Arc<AftbMask>,
) -> FloatTensor<Autodiff<B, C>> {
    let (z, of_z) = z.into_parts();
    let mut nodes = vec![of_z];
    let h = h.map(|h| {
        let (h, of_h) = h.into_parts();
        nodes.push(of_h);
        h
    });
    let Ok(nodes) = <[_; PARENTS]>::try_from(nodes) else { unreachable!("the parents are the logits and the parts") };
    match Backward::<B, PARENTS>::prepare::<C>(Step::<N>, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (o, g) = B::mix(z, h.clone());
            prepared.finish((g, h, mask), o)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(B::mix(z, h).0),
    }
}

impl<B: MixBody + MixOps, C: CheckpointStrategy> MixOps for Autodiff<B, C> {
    fn mix_one(z: FloatTensor<Self>, h: FloatTensor<Self>, mask: Arc<AftbMask>) -> FloatTensor<Self> {
        tracked::<B, C, 1, 2>(z, [h], mask)
    }

    fn mix_two(
        z: FloatTensor<Self>,
        own: FloatTensor<Self>,
        shared: FloatTensor<Self>,
        mask: Arc<AftbMask>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, 2, 3>(z, [own, shared], mask)
    }
}
