//! What is minimised, per task, missing labels left out: [`Criterion`] holds each task's [`TaskLoss`].
//!
//! ```text
//! L_t = sum_b share[b,t] l_t(z[b,t], y[b,t])        share[b,t] = c_b / sum_b c_b over the rows where t's label is known
//!
//! loss                l(z, y)
//! cross-entropy       -y ln p - (1 - y) ln(1 - p),  p = sigmoid(z);  smoothed: y (1 - s) + s / 2 in place of y
//! focal               -alpha_y (1 - p_y)^gamma ln p_y,  p_1 = p, p_0 = 1 - p               Lin et al., ICCV 2017
//! pairwise            (1 - s) of cross-entropy, and s of ln(1 + exp(z_j - z_i)) over pairs of a group, y_i = 1, y_j = 0
//! jrc                 (1 - s) of cross-entropy, and s of -ln P(row | its label, its group)          Sheng et al., KDD 2023
//! mse                 (z - y)^2
//! huber               (z - y)^2 / 2 where |z - y| <= delta, else delta (|z - y| - delta / 2)
//! poisson             exp(z) - y z
//! weighted-logistic   y ln(1 + exp(-z)) + ln(1 + exp(z))                                     Covington et al., RecSys 2016
//! softmax             -ln softmax(z)_y
//! zero-inflated       BCE(z, y > 0) - [y > 0] ln LogNormal(y; m, softplus(s))                 Wang et al., arXiv 1912.07753
//! ```
//!
//! `y` is the label as it is learned ([`TaskKind::target`](crate::TaskKind::target)): of a regression standardised, of a count or a time
//! divided by its scale.

mod binary;
mod criterion;
mod joint;
mod pairs;
mod value;

pub use binary::bce_per_task;
#[cfg(test)]
pub(crate) use binary::plain_bce;
pub use criterion::{Criterion, TaskLoss};

use burn::tensor::{Device, Tensor, TensorData};
use joint::Contexts;
use pairs::Pairs;

use crate::batch::Batch;

/// A batch's labels on a device, with each row's share of its task's mean.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Each label as it is learned; 0 where it is missing. `[B, T]`
    pub labels: Tensor<2>,
    /// `c_b / sum_b c_b` over the rows where task `t`'s label is known, `c_b` how much row `b` counts (1 where nothing is said); 0 where
    /// the label is missing. `[B, T]`
    pub share: Tensor<2>,
    /// What the rows of a group are to each other, for the tasks that are learned from them; empty where there is no such task. `[T]`
    within: Vec<Option<Within>>,
    /// Of the whole batch, where this is a part of one whose rows are learned together.
    whole: Option<Box<Targets>>,
}

/// The rows of a group, as a loss sees them.
#[allow(clippy::large_enum_variant, reason = "a task of a step has one at most; tensors of some devices are large")]
#[derive(Debug, Clone)]
enum Within {
    Pairs(Pairs),
    Contexts(Contexts),
}

impl Targets {
    /// Uploads the labels of a batch of `tasks` tasks whose labels are 0 or 1.
    pub fn new(batch: &Batch, tasks: usize, device: &Device) -> Self {
        Self::learned(batch, &Self::counts(batch, tasks), device, |_, y| y)
    }

    /// Uploads what `target` makes of each label, by its place in `[B, T]`, each row with its share among rows that count so much together. `counts [T]`
    fn learned(batch: &Batch, counts: &[f64], device: &Device, target: impl Fn(usize, f32) -> f32) -> Self {
        let tasks = counts.len();
        let of = |(i, y): (usize, &f32)| if y.is_nan() { 0.0 } else { target(i, *y) };
        let labels: Vec<f32> = batch.labels.iter().enumerate().map(of).collect();
        let share = |(i, y): (usize, &f32)| match (y.is_nan(), counts[i % tasks]) {
            (true, _) | (_, 0.0) => 0.0,
            (false, of_task) => batch.row_weight(i / tasks) / of_task as f32,
        };
        let share: Vec<f32> = batch.labels.iter().enumerate().map(share).collect();
        let tensor = |values| Tensor::from_data(TensorData::new(values, [batch.rows, tasks]), device);
        Self { labels: tensor(labels), share: tensor(share), within: Vec::new(), whole: None }
    }
}

impl Targets {
    /// How much the rows of a batch count together whose label of a task is known. `[T]`
    pub fn counts(batch: &Batch, tasks: usize) -> Vec<f64> {
        let mut counts = vec![0.0; tasks];
        for (row, labels) in batch.labels.chunks_exact(tasks).enumerate() {
            let weight = f64::from(batch.row_weight(row));
            labels.iter().zip(&mut counts).filter(|(label, _)| !label.is_nan()).for_each(|(_, sum)| *sum += weight);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::MISSING;
    use crate::device::DeviceSpec;

    #[test]
    fn the_loss_is_the_mean_over_known_labels_and_stable_far_out() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let batch = Batch { rows: 3, labels: vec![1.0, 0.0, 0.0, MISSING, 1.0, MISSING], ..Batch::default() };
        let logits = Tensor::<2>::from_floats([[2.0, 300.0], [-1.0, 5.0], [-200.0, 0.0]], &device);
        let loss: Vec<f32> =
            bce_per_task(logits, &Targets::new(&batch, 2, &device)).into_data().try_into_vec().unwrap();
        let softplus = |z: f32| z.exp().ln_1p();
        assert!((loss[0] - (softplus(-2.0) + softplus(-1.0) + 200.0) / 3.0).abs() < 1e-4);
        assert!((loss[1] - 300.0).abs() < 1e-4, "one known label: {}", loss[1]);
    }

    #[test]
    fn a_row_counts_as_often_as_its_weight_says() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let loss = |labels: Vec<f32>, weights: Vec<f32>, logits: Vec<f32>| {
            let rows = labels.len();
            let batch = Batch { rows, labels, row_weights: weights, ..Batch::default() };
            let logits = Tensor::<2>::from_data(TensorData::new(logits, [rows, 1]), &device).autodiff().require_grad();
            let loss = bce_per_task(logits.clone(), &Targets::new(&batch, 1, &device));
            let mut grads = loss.clone().backward();
            let grad: Vec<f32> = logits.grad_remove(&mut grads).unwrap().into_data().try_into_vec().unwrap();
            let loss: Vec<f32> = loss.into_data().try_into_vec().unwrap();
            (loss[0], grad)
        };
        let (weighted, of_weighted) =
            loss(vec![1.0, 0.0, MISSING, 1.0], vec![2.0, 1.0, 9.0, 0.0], vec![0.5, -1.0, 3.0, 2.0]);
        let (repeated, of_repeated) = loss(vec![1.0, 1.0, 0.0], vec![], vec![0.5, 0.5, -1.0]);
        assert!((weighted - repeated).abs() < 1e-6, "{weighted} {repeated}");
        assert!((of_weighted[0] - 2.0 * of_repeated[0]).abs() < 1e-6 && (of_weighted[1] - of_repeated[2]).abs() < 1e-6);
        assert_eq!(of_weighted[2..], [0.0, 0.0]);
        assert_eq!(loss(vec![1.0], vec![0.0], vec![0.5]).0, 0.0, "nothing counts");
    }

    #[test]
    fn the_gradient_is_the_probability_less_the_label_at_zero_too() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let batch = Batch { rows: 3, labels: vec![1.0, 0.0, 1.0], ..Batch::default() };
        let logits = Tensor::<2>::from_floats([[0.0], [0.0], [2.0]], &device).autodiff().require_grad();
        let mut grads = bce_per_task(logits.clone(), &Targets::new(&batch, 1, &device)).backward();
        let found: Vec<f32> = logits.grad_remove(&mut grads).unwrap().into_data().try_into_vec().unwrap();
        let p = 1.0 / (1.0 + (-2.0f32).exp());
        let expected = [-0.5, 0.5, p - 1.0].map(|g| g / 3.0);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn a_task_without_labels_in_the_batch_has_loss_zero() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let batch = Batch { rows: 1, labels: vec![MISSING, 1.0], ..Batch::default() };
        let logits = Tensor::<2>::from_floats([[3.0, 3.0]], &device);
        let loss: Vec<f32> =
            bce_per_task(logits, &Targets::new(&batch, 2, &device)).into_data().try_into_vec().unwrap();
        assert_eq!(loss[0], 0.0);
    }
}
