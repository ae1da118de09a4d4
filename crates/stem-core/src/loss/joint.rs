//! Ranking and calibration learned together: whose row of its group a label is, beside what label a row has.
//!
//! ```text
//! L = (1 - s) sum_i share_i (-ln P(y_i | x_i)) + s sum_i share_i (-ln P(x_i | y_i, group))
//!
//! P(y | x)        = exp(f_y(x)) / (exp(f_0(x)) + exp(f_1(x))) = sigmoid(z) of y = 1          cross-entropy
//! P(x | y, group) = exp(f_y(x)) / sum over the group's rows x' of c' exp(f_y(x'))            whose row it is
//! f_1 = z / 2,  f_0 = -z / 2
//! ```
//!
//! Source: Sheng et al., *Joint Optimization of Ranking and Calibration with Contextualized Hybrid Model*, KDD 2023 (arXiv 2208.06164). There a
//! tower gives `f_0` and `f_1`; here one logit gives both, so that scores, files and models are those of any label of 0 and 1. A number added to
//! all logits of a group leaves the second term as it was: the first alone sets the level.
//! Rows weigh `c`; a row without the label, or of weight 0, is none of its group.

use std::collections::HashMap;

use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::binary::Column;
use crate::batch::Batch;
use crate::forward::upload_index;

/// The groups of a batch, as a task sees them.
#[derive(Debug, Clone)]
pub(super) struct Contexts {
    /// Which of the groups each row is of. `[B]`
    group: Tensor<1, Int>,
    /// `c`; 0 where the label is missing. `[B, 1]`
    weights: Tensor<2>,
    groups: usize,
}

impl Contexts {
    /// The groups of the rows that have the label.
    pub(super) fn of(batch: &Batch, task: usize, tasks: usize, device: &Device) -> Self {
        let mut places = HashMap::new();
        let place = |group: &u32| {
            let next = places.len() as u32;
            *places.entry(*group).or_insert(next)
        };
        let group: Vec<u32> = batch.groups.iter().map(place).collect();
        let weight = |row: usize| match batch.labels[row * tasks + task].is_nan() {
            true => 0.0,
            false => batch.row_weight(row),
        };
        let weights: Vec<f32> = (0..batch.rows).map(weight).collect();
        let weights = Tensor::from_data(TensorData::new(weights, [batch.rows, 1]), (device, DType::F32));
        Self { group: upload_index(&group, device), weights, groups: places.len() }
    }

    /// `sum_i share_i (-ln P(x_i | y_i, group))` `[1]`
    pub(super) fn loss(&self, of: &Column) -> Tensor<1> {
        let positive = of.y.clone(); // [B, 1]
        let whose = |f: Tensor<2>| {
            let largest = f.clone().detach().max(); // of all groups: a sum that is far below it counts as LEAST
            let f = f - largest.reshape([1, 1]);
            let odds = self.weights.clone() * f.clone().exp(); // c exp(f), [B, 1]
            let sums = Tensor::zeros([self.groups, 1], &odds.device());
            let sums = sums.select_assign(0, self.group.clone(), odds, IndexingUpdateOp::Add); // [groups, 1]
            sums.clamp_min(LEAST).log().select(0, self.group.clone()) - f // -ln P
        };
        let half = of.z.clone() * 0.5;
        let loss = whose(half.clone()) * positive.clone() + whose(half.neg()) * (positive.neg() + 1.0);
        of.sum(loss)
    }
}

/// Keeps a logarithm finite where a group's logits are all far below the batch's largest.
const LEAST: f64 = 1e-30;
