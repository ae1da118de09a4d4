//! Grouped AUC: how well a model ranks within a user, users weighted by their rows.

use rayon::prelude::*;

use super::auc::auc_of_ranked;

/// `sum_u n_u AUC_u / sum_u n_u` over the groups with both classes; `None` when there is none.
///
/// One sort over (group, score), then one pass.
///
/// ```
/// # use stem_report::metrics::gauc;
/// let (scores, labels) = ([0.2, 0.1, 0.3, 0.9], [false, true, false, true]);
/// assert_eq!(gauc(&scores, &labels, &[0, 0, 1, 1]), Some(0.5));
/// ```
pub fn gauc(scores: &[f32], labels: &[bool], groups: &[u32]) -> Option<f64> {
    let mut rows: Vec<(u32, f32, bool)> =
        groups.iter().zip(scores).zip(labels).map(|((&group, &score), &label)| (group, score, label)).collect();
    rows.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut weighted, mut weight) = (0.0, 0.0);
    let mut ranked = Vec::new();
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        ranked.clear();
        ranked.extend(group.iter().map(|&(_, score, label)| (score, label)));
        if let Some(auc) = auc_of_ranked(&ranked) {
            weighted += auc * group.len() as f64;
            weight += group.len() as f64;
        }
    }
    (weight > 0.0).then(|| weighted / weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::auc;
    use proptest::prelude::*;

    #[test]
    fn groups_with_one_class_are_left_out() {
        let (scores, labels) = ([0.1, 0.9, 0.5, 0.6], [false, true, true, true]);
        assert_eq!(gauc(&scores, &labels, &[0, 0, 1, 1]), Some(1.0));
        assert_eq!(gauc(&scores, &labels, &[0, 1, 2, 3]), None);
    }

    #[test]
    fn a_group_weighs_as_many_rows_as_it_has() {
        // Group 7: AUC 1 over 2 rows; group 8: AUC 0 over 3; group 9 has one class and no weight.
        let scores = [0.1, 0.9, 0.9, 0.8, 0.1, 0.5, 0.5, 0.5, 0.5];
        let labels = [false, true, false, false, true, true, true, true, true];
        let groups = [7, 7, 8, 8, 8, 9, 9, 9, 9];
        assert_eq!(gauc(&scores, &labels, &groups), Some(2.0 / 5.0));
    }

    proptest! {
        #[test]
        fn one_group_is_plain_auc_and_order_does_not_matter(rows in prop::collection::vec((0u8..9, any::<bool>(), 0u32..4), 1..50)) {
            let split = |rows: &[(u8, bool, u32)]| -> (Vec<f32>, Vec<bool>, Vec<u32>) {
                (rows.iter().map(|r| f32::from(r.0)).collect(), rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2).collect())
            };
            let (scores, labels, groups) = split(&rows);
            let (one, plain) = (gauc(&scores, &labels, &vec![7; rows.len()]), auc(&scores, &labels));
            prop_assert!((one.unwrap_or(-1.0) - plain.unwrap_or(-1.0)).abs() < 1e-12);
            let mut turned = rows.clone();
            turned.reverse();
            let (s, l, g) = split(&turned);
            let (a, b) = (gauc(&scores, &labels, &groups), gauc(&s, &l, &g));
            prop_assert!((a.unwrap_or(-1.0) - b.unwrap_or(-1.0)).abs() < 1e-12);
        }
    }
}
