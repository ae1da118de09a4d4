//! Without the CPU device `flex` nothing is fused.

use burn::tensor::{Int, Tensor};

use super::Plan;
use crate::aftb::AftbMask;
use crate::loss::Targets;

pub(crate) fn linear(_: &Tensor<3>, _: &Tensor<3>, _: &Tensor<3>, _: bool) -> Option<Tensor<3>> {
    None
}

pub(crate) fn mix(_: &Tensor<3>, _: &[Tensor<3>], _: &AftbMask) -> Option<Tensor<3>> {
    None
}

pub(crate) fn bag(_: &Tensor<2>, _: &Tensor<1, Int>, _: &Tensor<2>, _: Plan) -> Option<Tensor<3>> {
    None
}

pub(crate) fn bce(_: &Tensor<2>, _: &Targets) -> Option<Tensor<1>> {
    None
}

/// `None`: nothing is fused.
pub fn squared_norm<const D: usize>(_: &Tensor<D>) -> Option<f32> {
    None
}

/// `grad`, as it was: nothing is fused.
///
/// # Errors
/// Always.
pub fn add_scaled(grad: Tensor<2>, _: &Tensor<2>, _: f32) -> Result<(Tensor<2>, f32), Tensor<2>> {
    Err(grad)
}
