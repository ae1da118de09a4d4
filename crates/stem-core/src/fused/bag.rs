//! The embedding bag: rows straight into the inputs of experts and gates, and their gradients straight back into the rows'.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DType, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::bag::{self as kernel, BagLayout, ColumnGroups};
use stem_kernels::distinct::DistinctRows;
use stem_kernels::take;

use super::Slots;
use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, in_one_piece, tensor, values};

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
    let dim = streams.first()?.dim();
    let one_width = streams.iter().all(|groups| groups.dim() == dim);
    let differentiable = distinct.is_some() || !rows.is_require_grad();
    if !(one_width && differentiable && index.dtype() == DType::I32 && fits([rows, weights])) {
        return None;
    }
    note(|calls| calls.bag += 1);
    let all = ColumnGroups::new(streams.iter().flat_map(|groups| groups.groups().iter().cloned()).collect(), dim);
    let x = forward(slots, &all)?; // [K_1 + ... + K_N, B, F * D]
    let mut first = 0;
    Some(streams.each_ref().map(|groups| {
        let x = x.narrow(0, first, groups.count());
        first += groups.count();
        if !rows.is_autodiff() {
            return Tensor::from_primitive::<Flex>(x);
        }
        let bag = Bag { layout: layout.clone(), groups: groups.clone(), distinct: distinct.cloned(), x };
        let (rows, weights) = (rows.clone().into_dispatch(), weights.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as BagOps>::embedding_bag(rows, weights, Arc::new(bag)))
    }))
}

fn forward(slots: Slots, streams: &ColumnGroups) -> Option<FlexTensor> {
    let Slots { rows, index, weights, layout, .. } = slots;
    let float = |tensor: &Tensor<2>| tensor.clone().inner().try_into_primitive::<Flex>().ok().map(in_one_piece);
    let (rows, weights) = (float(rows)?, float(weights)?);
    let index = in_one_piece(index.clone().inner().try_into_primitive::<Flex>().ok()?);
    let index: &[i32] = index.as_slice()?;
    let [batch, _] = weights.shape().dims();
    let _span = tracing::trace_span!("op", name = "bag forward").entered();
    let (count, width) = (streams.count(), layout.fields() * streams.dim());
    let mut x = take(count * batch * width); // [K, B, F * D]
    let index = bytemuck::cast_slice(index); // a negative number becomes one that lies outside any table
    kernel::forward(layout, streams, values(&rows), index, values(&weights), &mut x);
    Some(tensor(x, [count, batch, width]))
}

/// A bag whose forward has run.
#[derive(Debug, Clone)]
pub struct Bag {
    /// Which slots make which field.
    layout: Arc<BagLayout>,
    /// Which columns of a row are summed into which stream.
    groups: ColumnGroups,
    /// Where in the batch each row stands; the backward reads it.
    distinct: Option<Arc<DistinctRows>>,
    /// What the forward gave. `[K, B, F * D]`
    x: FlexTensor,
}

/// Puts a bag into the graph, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait BagOps: Backend {
    /// What the bag's forward gave, as a function of the rows.
    fn embedding_bag(rows: FloatTensor<Self>, weights: FloatTensor<Self>, bag: Arc<Bag>) -> FloatTensor<Self>;
}

/// The backward, on backends below autodiff.
pub trait BagBackward: BagOps {
    /// The gradient of the rows `[U, W]` from that of the streams `[K, B, F * D]`.
    fn bag_backward(
        shape: [usize; 2],
        weights: FloatTensor<Self>,
        dx: FloatTensor<Self>,
        bag: &Bag,
    ) -> FloatTensor<Self>;
}

impl BagOps for Flex {
    fn embedding_bag(_: FlexTensor, _: FlexTensor, bag: Arc<Bag>) -> FlexTensor {
        bag.x.clone()
    }
}

impl BagBackward for Flex {
    fn bag_backward([rows, width]: [usize; 2], weights: FlexTensor, dx: FlexTensor, bag: &Bag) -> FlexTensor {
        let [weights, dx] = [weights, dx].map(in_one_piece);
        let _span = tracing::trace_span!("op", name = "bag backward").entered();
        let distinct = bag.distinct.as_ref().expect("`bags` takes rows that are differentiated with it alone");
        let mut grad = take(rows * width); // [U, W]
        kernel::backward(&bag.layout, &bag.groups, &distinct.by_row, values(&weights), values(&dx), &mut grad);
        tensor(grad, [rows, width])
    }
}

impl<B: BagBackward, C: CheckpointStrategy> BagOps for Autodiff<B, C> {
    fn embedding_bag(rows: FloatTensor<Self>, weights: FloatTensor<Self>, bag: Arc<Bag>) -> FloatTensor<Self> {
        let weights = weights.into_primitive(); // a constant
        differentiable::<B, C, _, 1>(
            [rows],
            |[rows]| {
                let shape = rows.shape().dims();
                let x = B::embedding_bag(rows, weights.clone(), bag.clone());
                ((shape, weights, bag), x)
            },
            |(shape, weights, bag), dx, _| [Some(B::bag_backward(shape, weights, dx, &bag))],
        )
    }
}
