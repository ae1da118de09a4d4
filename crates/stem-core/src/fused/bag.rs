//! The embedding bag: rows straight into the inputs of experts and gates, and their gradients straight back into the rows'.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};
use stem_kernels::bag::{self as kernel, Streams};
use stem_kernels::take;

use super::Plan;
use super::tensors::{in_one_piece, tensor, values};

/// `x_k[b, f, :] = sum over slots s of field f of weight[b,s] * sum over groups g of stream k of row(id[b,s])[g]`
///
/// # Shapes
/// `rows [U, W]`, `index [B * S]` into it, `weights [B, S]`; gives `[K, B, F * D]`.
pub(crate) fn bag(rows: Tensor<2>, index: Tensor<1, Int>, weights: Tensor<2>, plan: Plan) -> Tensor<3> {
    let (rows, index, weights) = (rows.into_dispatch(), index.into_dispatch(), weights.into_dispatch());
    Tensor::from_dispatch(<Dispatch as BagOps>::embedding_bag(rows, index, weights, Arc::new(plan)))
}

/// Several bags of groups of one width: the forward reads the rows once for all of them, each is a node of its own on autodiff.
pub(crate) fn bags<const N: usize>(
    rows: Tensor<2>,
    index: Tensor<1, Int>,
    weights: Tensor<2>,
    plans: [Plan; N],
) -> [Tensor<3>; N] {
    let groups = plans.iter().flat_map(|plan| plan.streams.groups().iter().cloned()).collect();
    let all = Streams::new(groups, plans[0].streams.dim());
    let all = Plan::new(plans[0].layout.clone(), all, None);
    let ready = bag(rows.clone().inner(), index.clone().inner(), weights.clone().inner(), all); // [K_1 + ... + K_N, B, F * D]
    let ready = ready.try_into_primitive::<Flex>().expect("plain tensors of flex");
    let (mut first, tracked) = (0, rows.is_autodiff());
    plans.map(|plan| {
        let part = ready.narrow(0, first, plan.streams.count());
        first += plan.streams.count();
        if !tracked {
            return Tensor::from_primitive::<Flex>(part);
        }
        bag(rows.clone(), index.clone(), weights.clone(), Plan { ready: Some(part), ..plan })
    })
}

/// The forward, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait BagOps: Backend {
    /// See [`bag`].
    fn embedding_bag(
        rows: FloatTensor<Self>,
        index: IntTensor<Self>,
        weights: FloatTensor<Self>,
        plan: Arc<Plan>,
    ) -> FloatTensor<Self>;
}

/// The backward, on backends below autodiff.
pub trait BagBackward: BagOps {
    /// The gradient of the rows `[U, W]` from that of the streams `[K, B, F * D]`.
    fn bag_backward(
        shape: [usize; 2],
        weights: FloatTensor<Self>,
        dx: FloatTensor<Self>,
        plan: &Plan,
    ) -> FloatTensor<Self>;
}

impl BagOps for Flex {
    fn embedding_bag(rows: FlexTensor, index: FlexTensor, weights: FlexTensor, plan: Arc<Plan>) -> FlexTensor {
        if let Some(ready) = &plan.ready {
            return ready.clone();
        }
        let [rows, index, weights] = [rows, index, weights].map(in_one_piece);
        let [batch, _] = weights.shape().dims();
        let index: &[i32] = index.as_slice().expect("i32 in one piece: checked by `bag`");
        let _span = tracing::trace_span!("op", name = "bag forward").entered();
        let (streams, width) = (plan.streams.count(), plan.layout.fields() * plan.streams.dim());
        let mut x = take(streams * batch * width); // [K, B, F * D]
        let index = bytemuck::cast_slice(index); // a negative number becomes one that lies outside any table
        kernel::forward(&plan.layout, &plan.streams, values(&rows), index, values(&weights), &mut x);
        tensor(x, [streams, batch, width])
    }
}

impl BagBackward for Flex {
    fn bag_backward([rows, width]: [usize; 2], weights: FlexTensor, dx: FlexTensor, plan: &Plan) -> FlexTensor {
        let [weights, dx] = [weights, dx].map(in_one_piece);
        let _span = tracing::trace_span!("op", name = "bag backward").entered();
        let distinct = plan.distinct.as_ref().expect("checked by `bag` where rows are differentiated");
        let mut grad = take(rows * width); // [U, W]
        kernel::backward(&plan.layout, &plan.streams, &distinct.places, values(&weights), values(&dx), &mut grad);
        tensor(grad, [rows, width])
    }
}

#[derive(Debug)]
struct Step;

impl<B: BagBackward> Backward<B, 1> for Step {
    type State = ([usize; 2], FloatTensor<B>, Arc<Plan>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dx = grads.consume::<B>(&ops.node);
        let (shape, weights, plan) = ops.state;
        let [of_rows] = ops.parents;
        if let Some(parent) = of_rows {
            grads.register::<B>(parent.id, B::bag_backward(shape, weights, dx, &plan));
        }
    }
}

impl<B: BagBackward, C: CheckpointStrategy> BagOps for Autodiff<B, C> {
    fn embedding_bag(
        rows: FloatTensor<Self>,
        index: IntTensor<Self>,
        weights: FloatTensor<Self>,
        plan: Arc<Plan>,
    ) -> FloatTensor<Self> {
        let weights = weights.into_primitive(); // a constant
        let (rows, of_rows) = rows.into_parts();
        match Step.prepare::<C>([of_rows]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let shape = rows.shape().dims();
                let x = B::embedding_bag(rows, index, weights.clone(), plan.clone());
                prepared.finish((shape, weights, plan), x)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::embedding_bag(rows, index, weights, plan)),
        }
    }
}
