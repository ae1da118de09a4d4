//! Global gradient-norm clipping, as PyTorch's `clip_grad_norm_`: `g * min(1, limit / (norm + 1e-6))`.

use burn::tensor::Tensor;

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
