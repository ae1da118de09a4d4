//! Without the CPU device `flex` nothing is fused: no tensor fits.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use super::Plan;
use crate::aftb::AftbMask;
use crate::loss::Targets;
use crate::mlp::LinearBank;

pub(super) fn are_read<const D: usize, const N: usize>(_: [&Tensor<D>; N]) -> bool {
    false
}

pub(crate) fn linear(_: Tensor<3>, _: Tensor<3>, _: Tensor<3>, _: bool) -> Tensor<3> {
    unreachable!("no tensor fits")
}

pub(crate) fn chain(_: &Tensor<3>, _: &[LinearBank], _: usize) -> Option<Tensor<3>> {
    None
}

pub(crate) fn mix(_: Tensor<3>, _: Tensor<3>, _: Option<Tensor<3>>, _: Arc<AftbMask>) -> Tensor<3> {
    unreachable!("no tensor fits")
}

pub(crate) fn bag(_: Tensor<2>, _: Tensor<1, Int>, _: Tensor<2>, _: Plan) -> Tensor<3> {
    unreachable!("no tensor fits")
}

pub(crate) fn bags<const N: usize>(_: Tensor<2>, _: Tensor<1, Int>, _: Tensor<2>, _: [Plan; N]) -> [Tensor<3>; N] {
    unreachable!("no tensor fits")
}

pub(crate) fn bce(_: Tensor<2>, _: &Targets) -> Tensor<1> {
    unreachable!("no tensor fits")
}

pub(super) fn squared_norm(_: &Tensor<2>) -> f32 {
    unreachable!("no tensor fits")
}

pub(super) fn add_scaled(_: Tensor<2>, _: &Tensor<2>, _: f32) -> (Tensor<2>, f32) {
    unreachable!("no tensor fits")
}
