//! The embedding bag: rows straight into the inputs of experts and gates, and their gradients straight back into the rows'.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::{DType, Flex, TensorMetadata};
use burn::tensor::{Int, Tensor};
use stem_kernels::bag::{self as kernel, BagLayout, ColumnGroups};
use stem_kernels::distinct::DistinctRows;
use stem_kernels::rows::{PlainRows, ReadRows};
use stem_kernels::{Buffer, take};

use super::Slots;
use super::calls::note;
use super::differentiable::differentiable;
use super::replay::saw_bags;
use super::tensors::{fits, flex, in_one_piece, tensor, values};
use crate::embedding::{StoredTable, WithRows};

/// Several bags of groups of one width, for which the rows are read once:
///
/// ```text
/// x_k[b, f, :] = sum over slots s of field f of weight[b,s] * sum over groups g of stream k of row(id[b,s])[g]
/// ```
///
/// `None` too where rows are differentiated and nobody says where in the batch they stand, and where widths differ.
///
/// # Shapes
/// Gives `[K_i, B, F * D]` for each of `streams`.
pub(crate) fn bags<const N: usize>(slots: Slots, streams: &[ColumnGroups; N]) -> Option<[Tensor<3>; N]> {
    let Slots { rows, index, weights, layout, distinct } = slots;
    let has_backward = distinct.is_some() || !rows.is_require_grad();
    if !(has_backward && index.dtype() == DType::I32 && fits([rows, weights])) {
        return None;
    }
    let all = ColumnGroups::joined(streams)?;
    note(|calls| calls.bag += 1);
    let x = forward(slots, &all)?; // [K_1 + ... + K_N, B, F * D]
    let mut first = 0;
    Some(streams.each_ref().map(|groups| {
        let x = x.narrow(0, first, groups.count());
        first += groups.count();
        if !rows.is_autodiff() {
            return Tensor::from_primitive::<Flex>(x);
        }
        let (layout, groups, distinct) = (layout.clone(), groups.clone(), distinct.cloned());
        let saved = Saved { layout, groups, distinct, weights: flex(weights.clone()) };
        differentiable([rows], |_| (saved, x), |saved, dx, _| [Some(backward(&saved, dx))])
    }))
}

/// As [`bags`], of rows that are read in a file and have no gradient.
pub(crate) fn stored_bags<const N: usize>(
    rows: &StoredTable,
    (index, weights, layout): (&Tensor<1, Int>, &Tensor<2>, &Arc<BagLayout>),
    streams: &[ColumnGroups; N],
) -> Option<[Tensor<3>; N]> {
    if !(index.dtype() == DType::I32 && fits([weights])) {
        return None;
    }
    let all = ColumnGroups::joined(streams)?;
    note(|calls| calls.bag += 1);
    let x = rows.with(Forward { index, weights, layout, streams: &all })?; // [K_1 + ... + K_N, B, F * D]
    let mut first = 0;
    Some(streams.each_ref().map(|groups| {
        let own = x.narrow(0, first, groups.count());
        first += groups.count();
        Tensor::from_primitive::<Flex>(own)
    }))
}

fn forward(slots: Slots, streams: &ColumnGroups) -> Option<FlexTensor> {
    let Slots { rows, index, weights, layout, .. } = slots;
    let rows = flex(rows.clone());
    Forward { index, weights, layout, streams }.with(PlainRows::new(values(&rows), layout.width()))
}

/// A bag's forward, of rows wherever they lie.
struct Forward<'a> {
    index: &'a Tensor<1, Int>,
    weights: &'a Tensor<2>,
    layout: &'a Arc<BagLayout>,
    streams: &'a ColumnGroups,
}

impl WithRows for Forward<'_> {
    type Output = Option<FlexTensor>;

    fn with(self, rows: impl ReadRows) -> Option<FlexTensor> {
        let Self { index, weights, layout, streams } = self;
        let weights = flex(weights.clone());
        let index = in_one_piece(index.clone().inner().try_into_primitive::<Flex>().ok()?);
        let index: &[i32] = index.as_slice()?;
        let [batch, _] = weights.shape().dims();
        let _span = tracing::trace_span!("op", name = "bag forward").entered();
        let (count, width) = (streams.count(), layout.fields() * streams.dim());
        let mut x: Buffer = take(count * batch * width); // [K, B, F * D]
        let index: &[u32] = bytemuck::cast_slice(index); // a negative number becomes one that lies outside any table
        kernel::forward_of(layout, streams, rows, index, values(&weights), &mut x);
        let x = tensor(x, [count, batch, width]);
        saw_bags(layout, streams, index, values(&weights), &x);
        Some(x)
    }
}

/// What the backward of a bag reads.
#[derive(Debug, Clone)]
struct Saved {
    /// Which slots make which field.
    layout: Arc<BagLayout>,
    /// Which columns of a row are summed into which stream.
    groups: ColumnGroups,
    /// Where in the batch each row stands.
    distinct: Option<Arc<DistinctRows>>,
    /// `[B, S]`
    weights: FlexTensor,
}

/// The gradient of the rows `[U, W]` from that of the streams `[K, B, F * D]`.
fn backward(saved: &Saved, dx: FlexTensor) -> FlexTensor {
    let Saved { layout, groups, distinct, weights } = saved;
    let dx = in_one_piece(dx);
    let _span = tracing::trace_span!("op", name = "bag backward").entered();
    let by_row = &distinct.as_ref().expect("`bags` takes rows that are differentiated with it alone").by_row;
    let shape = [by_row.rows(), layout.width()];
    let mut grad = take(shape[0] * shape[1]); // [U, W]
    kernel::backward(layout, groups, by_row, values(weights), values(&dx), &mut grad);
    tensor(grad, shape)
}
