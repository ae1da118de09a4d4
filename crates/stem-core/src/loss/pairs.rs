//! Pairs of rows of one group, of which one has label 1 and the other 0: what a ranking within users is learned from.
//!
//! ```text
//! L = (1 - s) BCE + s sum over pairs (i, j) of a group, y_i = 1, y_j = 0, of  c_i c_j ln(1 + exp(z_j - z_i)) / sum of c_i c_j
//! ```
//!
//! RankNet's loss (Burges et al., ICML 2005), as BPR's (Rendle et al., UAI 2009); beside cross-entropy it leaves scores probabilities, more or
//! less (Sheng et al., arXiv 2208.06164, for the joint form).

use std::collections::HashMap;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::binary::{Column, softplus};
use crate::batch::Batch;
use crate::forward::upload_index;

/// Negatives that a positive is paired with at most, at even distances among those of its group: a group of thousands of rows has millions
/// of pairs.
const NEGATIVES: usize = 64;

/// The pairs of a task in a batch.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    positives: Tensor<1, Int>, // [P]
    negatives: Tensor<1, Int>, // [P]
    share: Tensor<2>,          // [P, 1], of sum 1
}

impl Pairs {
    /// `None` where no group of the batch has both.
    pub(super) fn of(batch: &Batch, task: usize, tasks: usize, device: &Device) -> Option<Self> {
        let mut groups: HashMap<u32, [Vec<u32>; 2]> = HashMap::new();
        let mut order = Vec::new();
        for (row, &group) in batch.groups.iter().enumerate() {
            let label = batch.labels[row * tasks + task];
            if label.is_nan() || batch.row_weight(row) == 0.0 {
                continue;
            }
            let rows = groups.entry(group).or_insert_with(|| {
                order.push(group);
                Default::default()
            });
            rows[usize::from(label > 0.5)].push(row as u32);
        }
        let (mut positives, mut negatives, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for group in order {
            let [below, above] = &groups[&group];
            let step = below.len().div_ceil(NEGATIVES).max(1);
            for &positive in above {
                for &negative in below.iter().skip(positive as usize % step).step_by(step) {
                    positives.push(positive);
                    negatives.push(negative);
                    share.push(batch.row_weight(positive as usize) * batch.row_weight(negative as usize));
                }
            }
        }
        let sum: f64 = share.iter().map(|weight| f64::from(*weight)).sum();
        if sum <= 0.0 {
            return None;
        }
        share.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / sum) as f32);
        let count = share.len();
        let share = Tensor::from_data(TensorData::new(share, [count, 1]), (device, DType::F32));
        Some(Self { positives: upload_index(&positives, device), negatives: upload_index(&negatives, device), share })
    }

    /// `sum_p share_p ln(1 + exp(z_negative - z_positive))` `[1]`
    pub(super) fn loss(&self, of: &Column) -> Tensor<1> {
        let z = |index: &Tensor<1, Int>| of.z.clone().select(0, index.clone()); // [P, 1]
        (softplus(z(&self.negatives) - z(&self.positives)) * self.share.clone()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::MISSING;
    use crate::device::DeviceSpec;

    /// The pairs of a batch of one task, and their shares.
    fn pairs(groups: &[u32], labels: &[f32], weights: &[f32]) -> Option<(Vec<[i32; 2]>, Vec<f32>)> {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let batch = Batch {
            rows: groups.len(),
            labels: labels.into(),
            row_weights: weights.into(),
            groups: groups.into(),
            ..Batch::default()
        };
        let found = Pairs::of(&batch, 0, 1, &device)?;
        let ids = |tensor: Tensor<1, Int>| tensor.into_data().iter::<i32>().collect::<Vec<_>>();
        let pairs = ids(found.positives).into_iter().zip(ids(found.negatives)).map(|(a, b)| [a, b]).collect();
        Some((pairs, found.share.into_data().try_into_vec().unwrap()))
    }

    #[test]
    fn pairs_are_of_one_group_with_one_label_each_and_weigh_what_their_rows_do() {
        let (found, share) = pairs(&[7, 8, 7, 8, 7, 9], &[1.0, 0.0, 0.0, MISSING, 0.0, 1.0], &[]).unwrap();
        assert_eq!(found, [[0, 2], [0, 4]]);
        assert_eq!(share, [0.5, 0.5]);
        let (found, share) = pairs(&[1; 4], &[1.0, 0.0, 1.0, 0.0], &[2.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(found, [[0, 1], [2, 1]]);
        assert!((share[0] - 2.0 / 3.0).abs() < 1e-6);
        assert!(pairs(&[1, 2], &[1.0, 0.0], &[]).is_none());
    }

    #[test]
    fn a_large_group_has_so_many_negatives_a_positive_and_no_more() {
        let labels: Vec<f32> = (0..1000).map(|row| f32::from(u8::from(row % 10 == 0))).collect();
        let (found, _) = pairs(&[3; 1000], &labels, &[]).unwrap();
        let of_first = found.iter().filter(|[positive, _]| *positive == 0).count();
        assert!((32..=NEGATIVES).contains(&of_first), "{of_first}");
    }
}
