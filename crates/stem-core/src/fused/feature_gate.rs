//! Gates on features in one op: both maps, the sigmoid and the product, forward and backward.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::feature_gate::{self as kernel, FeatureGates};
use stem_kernels::map::{Map, MapGradient};
use stem_kernels::{Precision, take};
use tracing::trace_span;

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{buffer_for, fits, map, owned, tensor, values};
use crate::precision;

/// `x * 2 sigmoid((x V + c) U + b)`
///
/// # Shapes
/// `x [G, B, I]`, `V [G, I, R]`, `c [G, 1, R]`, `U [G, R, I]`, `b [G, 1, I]`; gives as many as `x`.
pub(crate) fn feature_gate(x: &Tensor<3>, maps: &[[Tensor<3>; 2]; 2]) -> Option<Tensor<3>> {
    gated(x, maps, None)
}

/// `x * 2 sigmoid(relu([x_C ; sg(x)] V + c) U + b)`, `C` some of the columns.
///
/// # Shapes
/// As [`feature_gate`], `V [G, C + I, R]`.
pub(crate) fn domain_gate(x: &Tensor<3>, maps: &[[Tensor<3>; 2]; 2], columns: Range<usize>) -> Option<Tensor<3>> {
    gated(x, maps, Some(columns))
}

fn gated(x: &Tensor<3>, [[v, c], [u, b]]: &[[Tensor<3>; 2]; 2], columns: Option<Range<usize>>) -> Option<Tensor<3>> {
    if !fits([x, v, c, u, b]) {
        return None;
    }
    note(|calls| calls.feature_gate += 1);
    let precision = precision::current();
    let forward = |parents: [FlexTensor; 5]| {
        let split = columns.map(|columns| Split::new(columns, &parents[1]));
        let saved = Saved { precision, parents, split };
        let (x, of) = (&saved.parents[0], saved.gates());
        let _span = span("gates forward", &of, 2).entered();
        let mut y = take(values(x).len()); // [G, B, I]
        kernel::forward(&of, values(x), &mut y);
        let y = tensor(y, x.shape());
        (saved.clone(), y)
    };
    Some(differentiable([x, v, c, u, b], forward, |saved, dy, _| saved.backward(dy)))
}

/// `x * 2 sigmoid(z)`. `None` where one of them is repeated for the other.
///
/// # Shapes
/// `x` and `z [E, B, I]`; gives as many.
pub(crate) fn scaled(x: &Tensor<3>, z: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([x, z]) || x.dims() != z.dims() {
        return None;
    }
    note(|calls| calls.feature_gate += 1);
    let forward = |[x, z]: [FlexTensor; 2]| {
        let mut y = take(values(&x).len()); // [E, B, I]
        kernel::scale(values(&x), values(&z), &mut y);
        let y = tensor(y, x.shape());
        ((x, z), y)
    };
    Some(differentiable([x, z], forward, |(x, z), dy, _| {
        let (mut dx, mut dz) = (owned(dy), take(values(&z).len()));
        dz.copy_from_slice(values(&z));
        kernel::scale_backward(values(&x), &mut dz, dx.try_storage_mut().expect("owned some lines above"));
        [dx, tensor(dz, z.shape())].map(Some)
    }))
}

/// The first map of a gate that reads some of the columns twice, and learns through those alone: on all columns it is one map, for
/// `[x_C ; x] [V_C ; V_x] = x (V_x + V_C at C)`.
#[derive(Debug, Clone)]
struct Split {
    columns: Range<usize>,
    /// `V_x`, with `V_C` added at `C`. `[G, I, R]`
    sum: FlexTensor,
    /// `V_C`. `[G, C, R]`
    path: FlexTensor,
}

impl Split {
    /// Of `V [G, C + I, R]`.
    fn new(columns: Range<usize>, weight: &FlexTensor) -> Self {
        let [groups, rows, rank] = weight.shape().dims();
        let (twice, width) = (columns.len(), rows - columns.len());
        let (mut sum, mut path) = (take(groups * width * rank), take(groups * twice * rank));
        let of_groups = sum.chunks_exact_mut(width * rank).zip(path.chunks_exact_mut(twice * rank));
        for (weight, (sum, path)) in values(weight).chunks_exact(rows * rank).zip(of_groups) {
            let (of_columns, of_all) = weight.split_at(twice * rank);
            path.copy_from_slice(of_columns);
            sum.copy_from_slice(of_all);
            let at = &mut sum[columns.start * rank..columns.end * rank];
            at.iter_mut().zip(of_columns).for_each(|(sum, own)| *sum += own);
        }
        Self { columns, sum: tensor(sum, [groups, width, rank]), path: tensor(path, [groups, twice, rank]) }
    }

    /// The gradient of `V` from that of the sum.
    fn gradient(&self, of_sum: &[f32], weight: &FlexTensor) -> FlexTensor {
        let [_, rows, rank] = weight.shape().dims();
        let (twice, width) = (self.columns.len(), rows - self.columns.len());
        let mut all = buffer_for(weight);
        for (all, of_sum) in all.chunks_exact_mut(rows * rank).zip(of_sum.chunks_exact(width * rank)) {
            let (of_columns, of_all) = all.split_at_mut(twice * rank);
            of_columns.copy_from_slice(&of_sum[self.columns.start * rank..self.columns.end * rank]);
            of_all.copy_from_slice(of_sum);
        }
        tensor(all, weight.shape())
    }
}

/// What the forward reads, and the backward again.
#[derive(Debug, Clone)]
struct Saved {
    precision: Precision,
    /// `x`, `V`, `c`, `U`, `b`.
    parents: [FlexTensor; 5],
    /// Where the first map reads columns twice.
    split: Option<Split>,
}

impl Saved {
    fn gates(&self) -> FeatureGates<'_> {
        let [x, v, c, u, b] = &self.parents;
        let [groups, batch, width] = x.shape().dims();
        let (down, path, reached) = match &self.split {
            None => (v, v, 0..width),
            Some(split) => (&split.sum, &split.path, split.columns.clone()),
        };
        let (maps, relu): ([Map; 2], bool) = ([map(down, c), map(u, b)], self.split.is_some());
        let (precision, path) = (self.precision, values(path));
        FeatureGates { precision, groups, batch, width, maps, relu, reached, path }
    }

    fn backward(self, dy: FlexTensor) -> [Option<FlexTensor>; 5] {
        let ([x, v, c, u, b], of) = (&self.parents, self.gates());
        let _span = span("gates backward", &of, 6).entered();
        let mut dx = owned(dy);
        let [mut dc, mut du, mut db] = [c, u, b].map(buffer_for);
        let mut dv = take(of.maps[0].weight.len());
        let mut gradients =
            [MapGradient { weight: &mut dv, bias: &mut dc }, MapGradient { weight: &mut du, bias: &mut db }];
        kernel::backward(&of, values(x), dx.try_storage_mut().expect("owned some lines above"), &mut gradients);
        let dv = match &self.split {
            None => tensor(dv, v.shape()),
            Some(split) => split.gradient(&dv, v),
        };
        [dx, dv, tensor(dc, c.shape()), tensor(du, u.shape()), tensor(db, b.shape())].map(Some)
    }
}

/// What a profile says of so many products.
fn span(name: &'static str, of: &FeatureGates, products: usize) -> tracing::Span {
    let FeatureGates { groups, batch, width, maps, .. } = of;
    let rank = maps[0].output;
    let flop = (2 * products * groups * batch * width * rank) as u64;
    trace_span!("op", name, of = format_args!("{groups} x [{width} -> {rank} -> {width}]"), flop)
}
