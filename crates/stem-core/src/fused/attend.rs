//! Attention over histories in one op: rows of the table through the scores' MLP into the sum that they weigh, with nothing between written to
//! memory.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::{DType, Flex, TensorMetadata};
use burn::tensor::Tensor;
use stem_kernels::attend::{self as kernel, Attention, Gradients, Order, Values};
use stem_kernels::bag::{self, BagLayout, ColumnGroups};
use stem_kernels::distinct::DistinctRows;
use stem_kernels::map::Map;
use stem_kernels::rows::{PlainRows, ReadRows};
use stem_kernels::{Buffer, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, flex, in_one_piece, map, owned, tensor, values};
use super::{Attended, HistoryValues, Scores};
use crate::embedding::{StoredTable, WithRows};

/// `v = sum_j a_j k_j` in the history's place of the embeddings, `a_j` by `z_j = MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])`.
///
/// `None` too where rows are differentiated and nobody says where in the batch they stand, and of more than four maps.
///
/// # Shapes
/// `x [G, B, F * D]`, `weights [B, S]` (0 of padding); gives as many as `x`.
pub(crate) fn attended(
    x: &Tensor<3>,
    from: HistoryValues,
    weights: &Tensor<2>,
    scores: Scores,
    how: &Attended,
) -> Option<Tensor<3>> {
    let parameters = scores.maps.iter().flatten().chain(scores.positions);
    let fit = fits([x]) && fits([weights]) && parameters.clone().all(|tensor| fits([tensor]));
    let (index, distinct) = match from {
        HistoryValues::Rows(rows, index, distinct) => {
            let has_backward = distinct.is_some() || !rows.is_require_grad();
            (Some(index), (has_backward && fits([rows])).then(|| distinct.cloned())?)
        }
        HistoryValues::Stored(_, index) => (Some(index), None),
        HistoryValues::Given(k) => (None, fits([k]).then_some(None)?),
    };
    if !fit || index.is_some_and(|index| index.dtype() != DType::I32) {
        return None;
    }
    let index = match index {
        Some(index) => Some(in_one_piece(index.clone().inner().try_into_primitive::<Flex>().ok()?)),
        None => None,
    };
    let with = With { weights: flex(weights.clone()), index, distinct, how: how.clone(), of_rows: true };
    let values = match from {
        HistoryValues::Rows(rows, ..) => {
            let [rows_count, width] = rows.dims();
            rows.clone().reshape([1, rows_count, width])
        }
        HistoryValues::Stored(table, _) => {
            let parameters: Vec<FlexTensor> = parameters.map(|tensor| flex(tensor.clone())).collect();
            return Some(with.stored(table, x, &parameters, scores));
        }
        HistoryValues::Given(k) => k.clone(),
    };
    let with = With { of_rows: !matches!(from, HistoryValues::Given(_)), ..with };
    let parents: Vec<&Tensor<3>> = [x, &values].into_iter().chain(parameters).collect();
    match parents.len() {
        6 => of_parents::<6>(&parents, with),
        7 => of_parents::<7>(&parents, with),
        8 => of_parents::<8>(&parents, with),
        9 => of_parents::<9>(&parents, with),
        10 => of_parents::<10>(&parents, with),
        11 => of_parents::<11>(&parents, with),
        _ => None,
    }
}

/// The same of `x`, values, weight and bias of every map, and positions where their number is odd.
fn of_parents<const N: usize>(parents: &[&Tensor<3>], with: With) -> Option<Tensor<3>> {
    let parents: [&Tensor<3>; N] = parents.try_into().ok()?;
    note(|calls| calls.attend += 1);
    let forward = |mut parents: [FlexTensor; N]| {
        let _span = tracing::trace_span!("op", name = "attention forward").entered();
        let placeholder = parents[1].clone();
        let mut x = owned(std::mem::replace(&mut parents[0], placeholder));
        let shape = parents[1].shape();
        let (of, maps) = (&with, with.maps(&parents[2..]));
        let attention = of.attention(&maps, of.positions(&parents[2..]), x.shape().dims());
        let from = of.values(values(&parents[1]), shape.dims());
        kernel::forward(&attention, from, x.try_storage_mut().expect("owned some lines above"));
        parents[0] = x.clone();
        (Saved { parents, with: with.clone() }, x)
    };
    Some(differentiable(parents, forward, |saved, dy, needs| saved.backward(dy, needs)))
}

/// What an op reads beside its parents.
#[derive(Debug, Clone)]
struct With {
    /// `[B, S]`
    weights: FlexTensor,
    /// `[B * S]`, of rows.
    index: Option<FlexTensor>,
    distinct: Option<Arc<DistinctRows>>,
    how: Attended,
    /// Whether values are rows of a table.
    of_rows: bool,
}

impl With {
    /// Weight and bias of every map, from the parameters.
    fn maps<'a>(&self, parameters: &'a [FlexTensor]) -> Vec<Map<'a>> {
        parameters.chunks_exact(2).map(|pair| map(&pair[0], &pair[1])).collect()
    }

    /// The positions behind them.
    fn positions<'a>(&self, parameters: &'a [FlexTensor]) -> Option<(&'a [f32], Order)> {
        parameters.chunks_exact(2).remainder().first().map(|positions| (values(positions), self.how.order))
    }

    /// Of embeddings `x [G, B, F * D]`.
    fn attention<'a>(
        &'a self,
        maps: &'a [Map<'a>],
        positions: Option<(&'a [f32], Order)>,
        [groups, _, width]: [usize; 3],
    ) -> Attention<'a> {
        let [_, all_slots] = self.weights.shape().dims::<2>();
        let Attended { candidate, history, slots, gaps, softmax, .. } = self.how.clone();
        let inputs = maps[0].weight.len() / (groups * maps[0].output); // 4 D, or 5 D
        let dim = inputs / (4 + usize::from(positions.is_some()));
        let weights = values(&self.weights);
        let fields = width / dim;
        Attention { groups, dim, fields, candidate, history, all_slots, slots, gaps, weights, maps, positions, softmax }
    }

    fn index(&self) -> &[u32] {
        let index = self.index.as_ref().and_then(|index| index.as_slice::<i32>());
        bytemuck::cast_slice(index.unwrap_or_default()) // a negative number becomes one that lies outside any table
    }

    /// Values as the kernel reads them, of rows `[1, U, W]` or `[G, B, L * D]`.
    fn values<'a>(&'a self, numbers: &'a [f32], [.., width]: [usize; 3]) -> Values<'a, PlainRows<'a>> {
        match self.of_rows {
            true => Values::Rows { rows: PlainRows::new(numbers, width), index: self.index() },
            false => Values::Given(numbers),
        }
    }

    fn stored(self, table: &StoredTable, x: &Tensor<3>, parameters: &[FlexTensor], scores: Scores) -> Tensor<3> {
        note(|calls| calls.attend += 1);
        let _span = tracing::trace_span!("op", name = "attention forward").entered();
        let mut x = owned(flex(x.clone()));
        let dims = x.shape().dims();
        let (with_bias, positions) = parameters.split_at(2 * scores.maps.len());
        let maps = self.maps(with_bias);
        let attention = self.attention(&maps, self.positions(positions), dims);
        let x_values = x.try_storage_mut().expect("owned some lines above");
        table.with(Forward { attention: &attention, index: self.index(), x: x_values });
        Tensor::from_primitive::<Flex>(x)
    }
}

/// A forward of rows in a file, plain or packed.
struct Forward<'a> {
    attention: &'a Attention<'a>,
    index: &'a [u32],
    x: &'a mut [f32],
}

impl WithRows for Forward<'_> {
    type Output = ();

    fn with(self, rows: impl ReadRows) {
        kernel::forward(self.attention, Values::Rows { rows, index: self.index }, self.x);
    }
}

/// What the forward reads, and the backward again.
#[derive(Debug, Clone)]
struct Saved<const N: usize> {
    /// `x` with the sums in it, values, weight and bias of every map, positions.
    parents: [FlexTensor; N],
    with: With,
}

impl<const N: usize> Saved<N> {
    fn backward(self, dy: FlexTensor, needs: [bool; N]) -> [Option<FlexTensor>; N] {
        let _span = tracing::trace_span!("op", name = "attention backward").entered();
        let Self { parents, with } = &self;
        let mut dx = owned(dy);
        let (maps, shape) = (with.maps(&parents[2..]), parents[1].shape());
        let of = with.attention(&maps, with.positions(&parents[2..]), parents[0].shape().dims());
        let cells = of.groups * of.slots.len() * of.dim * of.weights.len() / of.all_slots.max(1);
        let mut dvalues = take(cells); // [B, L, W], or [G, B, L * D]
        let mut dgaps = take(if of.gaps.is_some() { cells } else { 0 });
        let mut owners = take(if with.of_rows { of.weights.len() } else { 0 }); // [B, S]
        let mut parameters: Vec<Buffer> = parents[2..].iter().map(|parent| take(values(parent).len())).collect();
        let (of_maps, positions) = parameters.split_at_mut(2 * maps.len());
        let pairs = of_maps.chunks_exact_mut(2).map(|pair| {
            let [weight, bias] = pair else { unreachable!("chunks of two") };
            [&mut weight[..], &mut bias[..]]
        });
        let gradients = Gradients {
            values: &mut dvalues,
            gaps: &mut dgaps,
            owners: &mut owners,
            maps: pairs.collect(),
            positions: positions.first_mut().map(|buffer| &mut buffer[..]),
        };
        let from = with.values(values(&parents[1]), shape.dims());
        kernel::backward(&of, from, values(&parents[0]), dx.try_storage_mut().expect("owned above"), gradients);
        let of_values = needs[1].then(|| match with.of_rows {
            true => with.by_row(&of, &owners, [&dvalues, &dgaps], shape.dims()),
            false => tensor(dvalues, shape),
        });
        let shapes = parents[2..].iter().map(TensorMetadata::shape);
        let of_parameters = parameters.into_iter().zip(shapes).map(|(buffer, shape)| tensor(buffer, shape));
        let mut found = [Some(dx), of_values].into_iter().chain(of_parameters.map(Some));
        std::array::from_fn(|_| found.next().flatten())
    }
}

impl With {
    /// The gradient of the rows `[1, U, W]` from those of the slots, of values and gaps.
    fn by_row(&self, of: &Attention, owners: &[f32], slots: [&[f32]; 2], [_, _, width]: [usize; 3]) -> FlexTensor {
        let _span = tracing::trace_span!("op", name = "attention by row").entered();
        let by_row =
            &self.distinct.as_ref().expect("`attended` takes rows that are differentiated with it alone").by_row;
        let whole_row = ColumnGroups::new(vec![vec![0]], width);
        let sum = |range: &Range<usize>, gradients: &[f32]| {
            let layout = BagLayout::of_slots(range.clone(), of.all_slots, width);
            let mut grad = take(by_row.rows() * width); // [U, W]
            let owners = match of.gaps {
                None => Cow::Borrowed(owners),
                Some(_) => {
                    let slot_of = owners.iter().zip((0..of.all_slots).cycle());
                    slot_of.map(|(own, slot)| if range.contains(&slot) { *own } else { 0.0 }).collect()
                }
            };
            bag::backward(&layout, &whole_row, by_row, &owners, gradients, &mut grad);
            grad
        };
        let mut grad = sum(&of.slots, slots[0]);
        if let Some(gaps) = &of.gaps {
            grad.iter_mut().zip(&sum(gaps, slots[1])[..]).for_each(|(sum, gap)| *sum += gap);
        }
        tensor(grad, [1, by_row.rows(), width])
    }
}
