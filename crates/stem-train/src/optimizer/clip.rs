//! Global gradient-norm clipping, as PyTorch's `clip_grad_norm_`: `g * min(1, limit / (norm + 1e-6))`.

use burn::tensor::Tensor;
use stem_core::fused;

/// The factor every gradient is multiplied with.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a step
pub enum Clip {
    /// Known on the host.
    Host(f32),
    /// Still on the device, `[1]`, so that the host need not wait.
    Device(Tensor<1>),
}

impl Clip {
    /// From the squared norm of all gradients together, `[1]`.
    pub fn to(limit: f64, squared_norm: Tensor<1>, on_host: bool) -> Self {
        let scale = ((squared_norm.sqrt() + 1e-6).recip() * limit).clamp_max(1.0);
        if on_host { Clip::Host(scale.into_scalar::<f32>()) } else { Clip::Device(scale) }
    }

    /// The scaled gradient.
    pub fn apply(&self, grad: Tensor<2>) -> Tensor<2> {
        match self {
            Clip::Host(1.0) => grad,
            Clip::Host(scale) => grad * *scale,
            Clip::Device(scale) => grad * scale.clone().unsqueeze(),
        }
    }
}

/// `||g||^2`. `[1]`
pub fn squared_norm(grad: &Tensor<2>) -> Tensor<1> {
    match fused::squared_norm(grad) {
        Some(squares) => Tensor::from_floats([squares], &grad.device()),
        None => (grad.clone() * grad.clone()).sum(),
    }
}

/// `grad + scale * weights`, and `||weights||^2` `[1]`.
pub fn add_scaled(grad: Tensor<2>, weights: &Tensor<2>, scale: f64) -> (Tensor<2>, Tensor<1>) {
    match fused::add_scaled(grad, weights, scale as f32) {
        Ok((sum, squares)) => (sum, Tensor::from_floats([squares], &weights.device())),
        Err(grad) => (grad + weights.clone() * scale, squared_norm(weights)),
    }
}
