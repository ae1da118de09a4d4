//! Layers of crosses in one op: rows go through all of them without leaving the cache, forward and backward.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::cross::{self as kernel, Crosses};
use stem_kernels::map::{Map, MapGradient};
use stem_kernels::{Precision, take};
use tracing::trace_span;

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{buffer_for, fits, map, owned, tensor, values};
use crate::precision;

/// `x_{l+1} = x_0 * ((x_l V_l + c_l) U_l + b_l) + x_l`, one layer after the other. `None` of more than four, and of none.
///
/// # Shapes
/// `x0 [G, B, I]`; of every layer `V [G, I, R]`, `c [G, 1, R]`, `U [G, R, I]`, `b [G, 1, I]`; gives as many as `x0`.
pub(crate) fn crosses(x0: &Tensor<3>, layers: &[[Tensor<3>; 4]]) -> Option<Tensor<3>> {
    let parents: Vec<&Tensor<3>> = std::iter::once(x0).chain(layers.iter().flatten()).collect();
    if !parents.iter().all(|parent| fits([*parent])) {
        return None;
    }
    match parents.len() {
        5 => of_parents::<5>(&parents),
        9 => of_parents::<9>(&parents),
        13 => of_parents::<13>(&parents),
        17 => of_parents::<17>(&parents),
        _ => None,
    }
}

/// The same of `x0` and the four tensors of every layer.
fn of_parents<const N: usize>(parents: &[&Tensor<3>]) -> Option<Tensor<3>> {
    let parents: [&Tensor<3>; N] = parents.try_into().ok()?;
    note(|calls| calls.cross += 1);
    let precision = precision::current();
    let forward = |parents: [FlexTensor; N]| {
        let saved = Saved { precision, parents };
        let (x0, layers) = (&saved.parents[0], saved.layers());
        let of = saved.crosses(&layers);
        let _span = span("crosses forward", &of, 2).entered();
        let mut y = take(values(x0).len()); // [G, B, I]
        kernel::forward(&of, values(x0), &mut y);
        let y = tensor(y, x0.shape());
        (saved.clone(), y)
    };
    Some(differentiable(parents, forward, |saved, dy, _| saved.backward(dy)))
}

/// What the forward reads, and the backward again.
#[derive(Debug, Clone)]
struct Saved<const N: usize> {
    precision: Precision,
    /// `x0`, and `V`, `c`, `U`, `b` of every layer.
    parents: [FlexTensor; N],
}

impl<const N: usize> Saved<N> {
    fn layers(&self) -> Vec<[Map<'_>; 2]> {
        let (layers, _) = self.parents[1..].as_chunks::<4>();
        layers.iter().map(|[v, c, u, b]| [map(v, c), map(u, b)]).collect()
    }

    fn crosses<'a>(&'a self, layers: &'a [[Map<'a>; 2]]) -> Crosses<'a> {
        let [groups, batch, width] = self.parents[0].shape().dims();
        Crosses { precision: self.precision, groups, batch, width, layers }
    }

    fn backward(self, dy: FlexTensor) -> [Option<FlexTensor>; N] {
        let (x0, parameters, layers) = (&self.parents[0], &self.parents[1..], self.layers());
        let of = self.crosses(&layers);
        let _span = span("crosses backward", &of, 6).entered();
        let (mut dx, mut found) = (owned(dy), parameters.iter().map(buffer_for).collect::<Vec<_>>());
        let mut gradients: Vec<[MapGradient; 2]> = Vec::with_capacity(of.layers.len());
        for [v, c, u, b] in found.as_chunks_mut::<4>().0 {
            gradients.push([MapGradient { weight: v, bias: c }, MapGradient { weight: u, bias: b }]);
        }
        kernel::backward(&of, values(x0), dx.try_storage_mut().expect("owned some lines above"), &mut gradients);
        let of_maps = found.into_iter().zip(parameters).map(|(found, of)| tensor(found, of.shape()));
        let mut all = std::iter::once(dx).chain(of_maps);
        std::array::from_fn(|_| all.next())
    }
}

/// What a profile says of so many products in each layer.
fn span(name: &'static str, of: &Crosses, products: usize) -> tracing::Span {
    let Crosses { groups, batch, width, layers, .. } = *of;
    let rank = layers[0][0].output;
    let flop = (2 * products * groups * batch * width * rank * layers.len()) as u64;
    trace_span!("op", name, of = format_args!("{groups} x {} x [{width} -> {rank} -> {width}]", layers.len()), flop)
}
