//! Losses of labels that are numbers.

use std::f64::consts::PI;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::binary::{Column, softplus};

/// `(z - y)^2`
pub(super) fn mse(of: &Column) -> Tensor<1> {
    let error = of.z.clone() - of.y.clone();
    of.sum(error.clone() * error)
}

/// `e^2 / 2` for an error of `delta` or less, `delta (|e| - delta / 2)` beyond: `c (|e| - c / 2)` with `c = min(|e|, delta)`.
pub(super) fn huber(of: &Column, delta: f64) -> Tensor<1> {
    let size = (of.z.clone() - of.y.clone()).abs(); // [B, 1]
    let near = size.clone().clamp_max(delta);
    of.sum(near.clone() * (size - near * 0.5))
}

/// Where an exponential goes on as its tangent, so that a step far off does not end in infinity.
const FAR: f64 = 30.0;

/// `exp(z) - y z`
pub(super) fn poisson(of: &Column) -> Tensor<1> {
    let near = of.z.clone().clamp_max(FAR);
    let rate = near.clone().exp() * (of.z.clone() - near + 1.0);
    of.sum(rate - of.y.clone() * of.z.clone())
}

/// `y ln(1 + exp(-z)) + ln(1 + exp(z))`
pub(super) fn weighted_logistic(of: &Column) -> Tensor<1> {
    let negative = softplus(of.z.clone()); // ln(1 + exp(z)); ln(1 + exp(-z)) is z less
    of.sum(of.y.clone() * (negative.clone() - of.z.clone()) + negative)
}

/// `-ln softmax(z)_y`, `z [B, K]`.
pub(super) fn softmax(of: &Column) -> Tensor<1> {
    let log = log_softmax(of.z.clone(), 1); // [B, K]
    of.sum(log.gather(1, of.y.clone().int()).neg())
}

/// `BCE(z, y > 0) - [y > 0] ln LogNormal(y; m, softplus(s))`, `z, m, s` the columns of `[B, 3]`.
pub(super) fn zero_inflated(of: &Column) -> Tensor<1> {
    let output = |k: usize| of.z.clone().slice_dim(1, k..k + 1); // [B, 1]
    let (z, mean, spread) = (output(0), output(1), softplus(output(2)) + SPREAD);
    let some = of.y.clone().greater_elem(0.0).float(); // [y > 0]
    let whether = softplus(z.clone()) - z * some.clone();
    let log = of.y.clone().clamp_min(LEAST).log(); // ln y; what it is for a y of 0 counts nothing
    let off = (log.clone() - mean) / spread.clone();
    let amount = log + spread.log() + off.clone() * off * 0.5 + 0.5 * (2.0 * PI).ln();
    of.sum(whether + amount * some)
}

/// Keeps a logarithm finite where it is not counted.
const LEAST: f64 = 1e-30;
/// Keeps a spread above 0 where `softplus` is not.
const SPREAD: f64 = 1e-6;
