//! Attention over histories: scores of their values and the sums that they weigh, with nothing between written to memory.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::attend::{self as kernel, Attention, Gradients, Map, Order};
use stem_kernels::{Buffer, Precision, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, flex, in_one_piece, tensor, values};
use crate::precision;

/// `z_j = MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])` of the values that are no padding, 0 of the others; a ReLU after every map but the last.
///
/// # Shapes
/// `q [G, B, D]`, `k [G, B, L * D]`, `weights [B, L]` (0 of padding), `maps` weights `[G, I, O]` and biases `[G, 1, O]`, at least two and the
/// last with one output, `positions [G, L, D]`; gives `[G, B, L]`.
pub(crate) fn scores(
    q: &Tensor<3>,
    k: &Tensor<3>,
    weights: &Tensor<2>,
    maps: &[[Tensor<3>; 2]],
    positions: Option<(&Tensor<3>, Order)>,
) -> Option<Tensor<3>> {
    let parents: Vec<&Tensor<3>> =
        [q, k].into_iter().chain(maps.iter().flatten()).chain(positions.map(|(p, _)| p)).collect();
    let order = positions.map(|(_, order)| order);
    match maps.len() + 10 * usize::from(order.is_some()) {
        2 => of_parents::<6>(&parents, weights, order),
        3 => of_parents::<8>(&parents, weights, order),
        4 => of_parents::<10>(&parents, weights, order),
        12 => of_parents::<7>(&parents, weights, order),
        13 => of_parents::<9>(&parents, weights, order),
        14 => of_parents::<11>(&parents, weights, order),
        _ => None,
    }
}

/// The same of `q`, `k`, weight and bias of every map, and positions where there is an order.
fn of_parents<const N: usize>(parents: &[&Tensor<3>], weights: &Tensor<2>, order: Option<Order>) -> Option<Tensor<3>> {
    let parents: [&Tensor<3>; N] = parents.try_into().ok()?;
    if !(fits(parents) && fits([weights])) {
        return None;
    }
    note(|calls| calls.attend += 1);
    let ([groups, rows, dim], [_, length]) = (parents[0].dims(), weights.dims());
    let (weights, precision) = (flex(weights.clone()), precision::current());
    let forward = |parents: [FlexTensor; N]| {
        let _span = tracing::trace_span!("op", name = "attention forward").entered();
        let saved = Saved { parents, weights, dim, order, precision };
        let mut z = take(groups * rows * length); // [G, B, L]
        saved.with(|of, q, k| kernel::scores(of, q, k, &mut z));
        (saved, tensor(z, [groups, rows, length]))
    };
    Some(differentiable(parents, forward, |saved, dz, _| saved.backward(dz)))
}

/// What the forward reads, and the backward again.
#[derive(Debug, Clone)]
struct Saved<const N: usize> {
    /// `q`, `k`, weight and bias of every map, positions.
    parents: [FlexTensor; N],
    /// `[B, L]`
    weights: FlexTensor,
    /// `D`
    dim: usize,
    order: Option<Order>,
    precision: Precision,
}

impl<const N: usize> Saved<N> {
    /// Lends attention, candidates and values.
    fn with<R>(&self, work: impl FnOnce(&Attention, &[f32], &[f32]) -> R) -> R {
        let [groups, ..] = self.parents[0].shape().dims::<3>();
        let [_, length] = self.weights.shape().dims::<2>();
        let (maps, positions) = self.parents[2..].split_at(N / 2 * 2 - 2);
        let maps = maps.chunks_exact(2).map(|pair| {
            let output = pair[0].shape()[2];
            Map { weight: values(&pair[0]), bias: values(&pair[1]), output }
        });
        let maps: Vec<Map> = maps.collect();
        let positions = positions.first().map(values).zip(self.order);
        let (weights, dim, precision) = (values(&self.weights), self.dim, self.precision);
        let attention = Attention { groups, length, dim, weights, maps: &maps, positions, precision };
        work(&attention, values(&self.parents[0]), values(&self.parents[1]))
    }

    fn backward(self, dz: FlexTensor) -> [Option<FlexTensor>; N] {
        let _span = tracing::trace_span!("op", name = "attention backward").entered();
        let dz = in_one_piece(dz);
        let mut found: [Buffer; N] = self.parents.each_ref().map(|parent| take(values(parent).len()));
        self.with(|of, q, k| {
            let [dq, dk, parameters @ ..] = &mut found[..] else { unreachable!("there are candidates and values") };
            let (of_maps, positions) = parameters.split_at_mut(2 * of.maps.len());
            let pairs = of_maps.chunks_exact_mut(2).map(|pair| {
                let [weight, bias] = pair else { unreachable!("chunks of two") };
                [&mut weight[..], &mut bias[..]]
            });
            let mut gradients =
                Gradients { maps: pairs.collect(), positions: positions.first_mut().map(|buffer| &mut buffer[..]) };
            kernel::scores_backward(of, q, k, values(&dz), dq, dk, &mut gradients);
        });
        let mut shapes = self.parents.iter().map(TensorMetadata::shape);
        found.map(|buffer| shapes.next().map(|shape| tensor(buffer, shape)))
    }
}

/// `v = sum_j a_j k_j`
///
/// # Shapes
/// `a [G, B, L]`, `k [G, B, L * D]`; gives `[G, B, D]`.
pub(crate) fn sums(a: &Tensor<3>, k: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([a, k]) {
        return None;
    }
    let ([groups, rows, length], [_, _, width]) = (a.dims(), k.dims());
    let forward = |[a, k]: [FlexTensor; 2]| {
        let mut v = take(groups * rows * width / length.max(1)); // [G, B, D]
        kernel::sums(length, values(&a), values(&k), &mut v);
        ((a, k, length), tensor(v, [groups, rows, width / length.max(1)]))
    };
    Some(differentiable([a, k], forward, |(a, k, length), dv, _| {
        let dv = in_one_piece(dv);
        let (mut da, mut dk) = (take(values(&a).len()), take(values(&k).len()));
        kernel::sums_backward(length, values(&a), values(&k), values(&dv), &mut da, &mut dk);
        [Some(tensor(da, a.shape())), Some(tensor(dk, k.shape()))]
    }))
}
