//! Softmax of the gates, mix of the experts, and the masked backward: one pass over the experts' outputs each way.

use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::{mix as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::replay::saw_mix;
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
    Some(match others {
        None => mix_parts([z, first], open),
        Some(others) => mix_parts([z, first, others], open),
    })
}

/// [`mix`] of the logits and all parts of the experts.
fn mix_parts<const N: usize>(parents: [&Tensor<3>; N], open: &Arc<[bool]>) -> Tensor<3> {
    let forward = |mut parts: [FlexTensor; N]| {
        let shape = shape(&parts);
        let bytes = 4 * (shape.experts * shape.hiddens() + shape.outputs()) as u64;
        let _span = tracing::trace_span!("op", name = "mix forward", bytes).entered();
        let (mut g, mut o) = (take(shape.gates()), take(shape.outputs())); // [T, B, E], [T, B, H]
        let h = experts(&parts, &shape);
        kernel::forward(shape, values(&parts[0]), &h, &mut g, &mut o);
        let kernel::MixShape { tasks, rows, experts, hidden } = shape;
        let o = tensor(o, [tasks, rows, hidden]);
        saw_mix(shape, values(&parts[0]), &h, &o);
        parts[0] = tensor(g, [tasks, rows, experts]); // what the backward reads in place of the logits
        ((parts, open.clone()), o)
    };
    differentiable(parents, forward, |(parts, open), d_o, _| backward(&parts, d_o, &open))
}

/// The gradients of the logits and of all parts of the experts, from gates and experts.
fn backward<const N: usize>(parts: &[FlexTensor; N], d_o: FlexTensor, open: &[bool]) -> [Option<FlexTensor>; N] {
    let (d_o, shape) = (in_one_piece(d_o), shape(parts));
    let bytes = 4 * (2 * shape.experts * shape.hiddens() + shape.outputs()) as u64;
    let _span = tracing::trace_span!("op", name = "mix backward", bytes).entered();
    let mut gradients = parts.each_ref().map(|part| take(values(part).len())); // [T, B, E], then [E_i, B, H]
    let (dz, of_parts) = gradients.split_first_mut().expect("a mix has logits");
    let mut dh = Vec::with_capacity(shape.experts);
    for (h, of_part) in parts[1..].iter().zip(of_parts) {
        let mut rest = &mut **of_part;
        dh.extend((0..h.shape()[0]).map_while(|_| rest.split_off_mut(..shape.hiddens())));
    }
    kernel::backward(shape, open, values(&parts[0]), &experts(parts, &shape), values(&d_o), dz, dh);
    let mut shapes = parts.iter().map(|part| part.shape());
    gradients.map(|gradient| shapes.next().map(|shape| tensor(gradient, shape)))
}

/// Sizes of the kernel's mix, from gates or logits `[T, B, E]` and parts of the experts `[E_i, B, H]`.
fn shape(parts: &[FlexTensor]) -> kernel::MixShape {
    let ([tasks, rows, experts], [_, _, hidden]) = (parts[0].shape().dims(), parts[1].shape().dims());
    kernel::MixShape { tasks, rows, experts, hidden }
}

/// Every expert's output, `E` times `[B, H]`, of the parts behind the first: also where a batch has no rows.
fn experts<'h>(parts: &'h [FlexTensor], shape: &kernel::MixShape) -> Vec<&'h [f32]> {
    let size = shape.hiddens();
    let part = |h: &'h FlexTensor| (0..h.shape()[0]).map(move |e| &values(h)[e * size..][..size]);
    let mut all = Vec::with_capacity(shape.experts);
    parts[1..].iter().for_each(|h| all.extend(part(h)));
    all
}
