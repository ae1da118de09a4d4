//! Cross-entropy of all tasks from logits, and its gradient.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::{loss as kernel, take};

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{fits, flex, in_one_piece, tensor, values};

/// `L_t = sum_b share[b,t] (-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)))`, `y` and `z` of `[b,t]`.
///
/// # Shapes
/// `logits`, `labels`, `share [B, T]`; gives `[T]`.
pub(crate) fn bce(logits: &Tensor<2>, labels: &Tensor<2>, share: &Tensor<2>) -> Option<Tensor<1>> {
    if !fits([logits, labels, share]) {
        return None;
    }
    note(|calls| calls.bce += 1);
    let [labels, share] = [labels, share].map(|constant| flex(constant.clone()));
    let forward = |[logits]: [FlexTensor; 1]| {
        let [_, tasks] = logits.shape().dims();
        let mut losses = take(tasks); // [T]
        kernel::forward(values(&logits), values(&labels), values(&share), &mut losses);
        ((logits, labels, share), tensor(losses, [tasks]))
    };
    Some(differentiable([logits], forward, |(logits, labels, share), d_loss, _| {
        let mut dz = take(values(&logits).len()); // [B, T]
        kernel::backward(values(&logits), values(&labels), values(&share), values(&in_one_piece(d_loss)), &mut dz);
        [Some(tensor(dz, logits.shape()))]
    }))
}
