//! Cross-entropy of all tasks from logits, and its gradient.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::{loss as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, in_one_piece, tensor, values};

/// `L_t = sum_b share[b,t] (-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)))`, `y` and `z` of `[b,t]`.
///
/// # Shapes
/// `logits`, `labels`, `share [B, T]`; gives `[T]`.
pub(crate) fn bce(logits: &Tensor<2>, labels: &Tensor<2>, share: &Tensor<2>) -> Option<Tensor<1>> {
    if !fits([logits, labels, share]) {
        return None;
    }
    note(|calls| calls.bce += 1);
    let [logits, labels, share] = [logits, labels, share].map(|tensor| tensor.clone().into_dispatch());
    Some(Tensor::from_dispatch(<Dispatch as BceOps>::bce_per_task(logits, labels, share)))
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

impl<B: BceBackward, C: CheckpointStrategy> BceOps for Autodiff<B, C> {
    fn bce_per_task(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        share: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (labels, share) = (labels.into_primitive(), share.into_primitive()); // constants
        differentiable::<B, C, _, 1>(
            [logits],
            |[logits]| {
                let losses = B::bce_per_task(logits.clone(), labels.clone(), share.clone());
                ((logits, labels, share), losses)
            },
            |(logits, labels, share), d_loss, _| [Some(B::bce_backward(logits, labels, share, d_loss))],
        )
    }
}
