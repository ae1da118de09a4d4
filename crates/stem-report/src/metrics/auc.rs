//! Area under the ROC curve by one sort: the probability that a positive scores above a negative, ties counted half.

use rayon::prelude::*;

/// `None` unless both classes are present.
///
/// ```
/// # use stem_report::metrics::auc;
/// assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
/// ```
pub fn auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    auc_of_ranked(&ranked)
}

/// AUC of pairs that ascend by score.
pub(super) fn auc_of_ranked(ranked: &[(f32, bool)]) -> Option<f64> {
    let positives = ranked.iter().filter(|(_, y)| *y).count() as u64;
    let negatives = ranked.len() as u64 - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Twice the number of (negative below positive) pairs, so that a tie counts 1.
    let (mut below, mut twice) = (0u64, 0u128);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let up = tied.iter().filter(|(_, y)| *y).count() as u64;
        let down = tied.len() as u64 - up;
        twice += u128::from(up) * u128::from(2 * below + down);
        below += down;
    }
    Some(twice as f64 / (2.0 * positives as f64 * negatives as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, pair by pair.
    fn by_pairs(scores: &[f32], labels: &[bool]) -> Option<f64> {
        let of = |class: bool| scores.iter().zip(labels).filter(move |(_, y)| **y == class).map(|(s, _)| *s);
        let pairs = of(true).count() * of(false).count();
        let won: f64 = of(true)
            .flat_map(|p| {
                of(false).map(move |n| {
                    if p > n {
                        1.0
                    } else if p == n {
                        0.5
                    } else {
                        0.0
                    }
                })
            })
            .sum();
        (pairs > 0).then(|| won / pairs as f64)
    }

    proptest! {
        #[test]
        fn one_sort_gives_what_all_pairs_give(rows in prop::collection::vec((0u8..6, any::<bool>()), 0..60)) {
            let scores: Vec<f32> = rows.iter().map(|(s, _)| f32::from(*s) / 6.0).collect();
            let labels: Vec<bool> = rows.iter().map(|(_, y)| *y).collect();
            let (sorted, pairs) = (auc(&scores, &labels), by_pairs(&scores, &labels));
            prop_assert_eq!(sorted.is_some(), pairs.is_some());
            prop_assert!((sorted.unwrap_or(0.0) - pairs.unwrap_or(0.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_scores_are_worth_half() {
        assert_eq!(auc(&[0.3; 4], &[true, false, true, false]), Some(0.5));
        assert_eq!(auc(&[0.3, 0.4], &[true, true]), None);
        assert_eq!(auc(&[], &[]), None);
    }
}
