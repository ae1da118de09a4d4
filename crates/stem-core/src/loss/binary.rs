//! Losses of labels that are 0 or 1.

use burn::tensor::Tensor;

use super::Targets;
use crate::fused;

/// `L_t = mean over task t's known rows of max(z, 0) - z y + log(1 + exp(-|z|))`, the stable form of
/// `-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z))`. A task without known labels in the batch has loss 0.
///
/// # Shapes
/// `logits [B, T]`; gives `[T]`.
pub fn bce_per_task(logits: Tensor<2>, targets: &Targets) -> Tensor<1> {
    fused::bce(&logits, &targets.labels, &targets.share).unwrap_or_else(|| plain_bce(logits, targets))
}

/// The same as plain operations.
pub(crate) fn plain_bce(logits: Tensor<2>, targets: &Targets) -> Tensor<1> {
    let (z, size) = (logits.clone(), logits.abs());
    let softplus = size.clone().neg().exp().log1p(); // [B, T]
    let positive = (z.clone() + size) * 0.5; // max(z, 0), with the gradient 1/2 at 0
    let loss = positive - z * targets.labels.clone() + softplus;
    (loss * targets.share.clone()).sum_dim(0).squeeze_dim(0) // [T]
}

/// `z` of one task, and its labels and shares. `[B, 1]` all
pub(super) struct Column {
    pub(super) z: Tensor<2>,
    pub(super) y: Tensor<2>,
    pub(super) share: Tensor<2>,
}

impl Column {
    /// `sum_b share_b loss_b` `[1]`
    pub(super) fn sum(&self, loss: Tensor<2>) -> Tensor<1> {
        (loss * self.share.clone()).sum()
    }
}

/// `ln(1 + exp(z))`, with the gradient 1/2 at 0.
pub(super) fn softplus(z: Tensor<2>) -> Tensor<2> {
    let size = z.clone().abs();
    (z + size.clone()) * 0.5 + size.neg().exp().log1p()
}

/// `-alpha_y (1 - p_y)^gamma ln p_y`
pub(super) fn focal(of: &Column, gamma: f64, alpha: Option<f64>) -> Tensor<1> {
    let y = of.y.clone();
    let sign = y.clone() * 2.0 - 1.0; // 1 or -1
    let surplus = softplus(of.z.clone() * sign.neg()); // -ln p_y = ln(1 + exp(-z_y)), z_y the logit of the row's own label
    let wrong = surplus.clone().neg().exp().neg() + 1.0; // 1 - p_y
    let mut loss = surplus * wrong.clamp_min(1e-12).powf_scalar(gamma as f32); // [B, 1]
    if let Some(alpha) = alpha {
        loss = loss * (y * (2.0 * alpha - 1.0) + (1.0 - alpha)); // alpha of a positive, 1 - alpha of a negative
    }
    of.sum(loss)
}
