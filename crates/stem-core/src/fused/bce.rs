//! Cross-entropy of all tasks from logits, and its gradient.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::{loss as kernel, take};

use super::tensors::{in_one_piece, tensor, values};
use crate::loss::Targets;

/// Loss of every task: see [`loss::bce_per_task`](crate::loss::bce_per_task).
///
/// # Shapes
/// `logits [B, T]`; gives `[T]`.
pub(crate) fn bce(logits: Tensor<2>, targets: &Targets) -> Tensor<1> {
    let [labels, share] = [&targets.labels, &targets.share].map(|tensor| tensor.clone().into_dispatch());
    Tensor::from_dispatch(<Dispatch as BceOps>::bce_per_task(logits.into_dispatch(), labels, share))
}

/// The forward, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait BceOps: Backend {
    /// See [`bce`].
    fn bce_per_task(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        share: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// The backward, on backends below autodiff.
pub trait BceBackward: BceOps {
    /// `dz [B, T]` from the gradient of the losses `[T]`.
    fn bce_backward(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        share: FloatTensor<Self>,
        d_loss: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl BceOps for Flex {
    fn bce_per_task(logits: FlexTensor, labels: FlexTensor, share: FlexTensor) -> FlexTensor {
        let [logits, labels, share] = [logits, labels, share].map(in_one_piece);
        let [_, tasks] = logits.shape().dims();
        let mut losses = take(tasks); // [T]
        kernel::forward(values(&logits), values(&labels), values(&share), &mut losses);
        tensor(losses, [tasks])
    }
}

impl BceBackward for Flex {
    fn bce_backward(logits: FlexTensor, labels: FlexTensor, share: FlexTensor, d_loss: FlexTensor) -> FlexTensor {
        let [logits, labels, share, d_loss] = [logits, labels, share, d_loss].map(in_one_piece);
        let mut dz = take(values(&logits).len()); // [B, T]
        kernel::backward(values(&logits), values(&labels), values(&share), values(&d_loss), &mut dz);
        tensor(dz, logits.shape())
    }
}

#[derive(Debug)]
struct Step;

impl<B: BceBackward> Backward<B, 1> for Step {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_loss = grads.consume::<B>(&ops.node);
        let (logits, labels, share) = ops.state;
        let [of_logits] = ops.parents;
        if let Some(parent) = of_logits {
            grads.register::<B>(parent.id, B::bce_backward(logits, labels, share, d_loss));
        }
    }
}

impl<B: BceBackward, C: CheckpointStrategy> BceOps for Autodiff<B, C> {
    fn bce_per_task(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        share: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (labels, share) = (labels.into_primitive(), share.into_primitive()); // constants
        let (logits, of_logits) = logits.into_parts();
        match Step.prepare::<C>([of_logits]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let losses = B::bce_per_task(logits.clone(), labels.clone(), share.clone());
                prepared.finish((logits, labels, share), losses)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::bce_per_task(logits, labels, share)),
        }
    }
}
