//! Curves to draw: ROC thinned to what a picture shows, and how predictions agree with labels (reliability; Niculescu-Mizil and
//! Caruana, 2005). Rows without a label (NaN) take no part.

use serde::Serialize;

use super::Sample;
use super::order::ascending;

/// Rows of neighbouring predictions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CalibrationBin {
    /// What the model says.
    pub mean_prediction: f64,
    /// What happened.
    pub mean_label: f64,
    /// How many they are.
    pub rows: u64,
}

/// From (0, 0) to (1, 1), neither rate ever falling, at most `points` (2 or more) of the curve's own corners. Equal scores are
/// one step. With `weights` a row counts as often as its weight says.
///
/// A point is the rates among the rows that score at least some threshold: the false-positive rate, the share of the negatives,
/// then the true-positive rate, the share of the positives. Corners are taken at equal distances of `fpr + tpr`, so that the steep start has its share. `None` unless both classes are
/// present and every score is a number.
///
/// ```
/// # use stem_report::analysis::roc_curve;
/// let curve = roc_curve(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0], None, 100).expect("both classes");
/// assert_eq!(curve, [[0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [1.0, 1.0]]);
/// ```
pub fn roc_curve(scores: &[f32], labels: &[f32], weights: Option<&[f32]>, points: usize) -> Option<Vec<[f64; 2]>> {
    let rows = labelled(scores, labels, weights)?;
    let [negatives, positives] = by_class(&rows);
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let steps = points.max(2) - 1;
    let (mut true_positives, mut false_positives, mut taken, mut step) = (0.0, 0.0, 0, 0);
    let mut curve = vec![[0.0, 0.0]];
    for tied in rows.chunk_by(|a, b| a.0 == b.0).rev() {
        let [down, up] = by_class(tied);
        true_positives += up;
        false_positives += down;
        taken += tied.len();
        let last = taken == rows.len();
        let rates = [false_positives / negatives, true_positives / positives];
        let [fpr, tpr] = if last { [1.0, 1.0] } else { rates }; // whatever sums of weights come to
        // The first corner of a stretch stands for it; the last stretch has (1, 1) alone.
        let reached = if last { steps } else { (((fpr + tpr) / 2.0 * steps as f64) as usize).min(steps - 1) };
        if reached > step {
            step = reached;
            curve.push([fpr, tpr]);
        }
    }
    Some(curve)
}

/// At most `bins` of as many rows each, by ascending prediction. Equal predictions share a bin, which grows by them; then there
/// are fewer bins. With `weights` a row counts in the means as often as its weight says.
///
/// `None` without rows or bins, or with a score that is no number.
///
/// ```
/// # use stem_report::analysis::calibration_curve;
/// let curve = calibration_curve(&[0.25, 0.75, 0.25, 0.5], &[0.0, 1.0, 1.0, 1.0], None, 2).expect("rows");
/// assert_eq!((curve[0].mean_prediction, curve[0].mean_label, curve[0].rows), (0.25, 0.5, 2));
/// assert_eq!((curve[1].mean_prediction, curve[1].mean_label, curve[1].rows), (0.625, 1.0, 2));
/// ```
pub fn calibration_curve(
    scores: &[f32],
    labels: &[f32],
    weights: Option<&[f32]>,
    bins: usize,
) -> Option<Vec<CalibrationBin>> {
    let rows = labelled(scores, labels, weights)?;
    if rows.is_empty() || bins == 0 {
        return None;
    }
    let bins = bins.min(rows.len());
    let (mut curve, mut start) = (Vec::with_capacity(bins), 0);
    for bin in 1..=bins {
        let mut end = (bin as u64 * rows.len() as u64 / bins as u64) as usize;
        if end <= start {
            continue; // taken by equal predictions
        }
        end += rows[end..].iter().take_while(|row| row.0 == rows[end - 1].0).count();
        curve.push(bin_of(&rows[start..end]));
        start = end;
    }
    Some(curve)
}

/// A labelled row: its score, its label and how much it counts.
type Labelled = (f32, (bool, f64));

/// How much the rows of label 0 and those of label 1 count.
fn by_class(rows: &[Labelled]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    rows.iter().for_each(|(_, (y, weight))| sums[usize::from(*y)] += weight);
    sums
}

fn bin_of(rows: &[Labelled]) -> CalibrationBin {
    let [negatives, positives] = by_class(rows);
    let count = negatives + positives;
    let mean_prediction = rows.iter().map(|(score, (_, weight))| weight * f64::from(*score)).sum::<f64>() / count;
    CalibrationBin { mean_prediction, mean_label: positives / count, rows: rows.len() as u64 }
}

/// Labelled rows by ascending score. `None` if a score of theirs is no number.
fn labelled(scores: &[f32], labels: &[f32], weights: Option<&[f32]>) -> Option<Vec<Labelled>> {
    let sample = Sample::ungrouped(labels).weighted(weights);
    let rows = sample.rows(scores).zip(sample.weights()).map(|((score, y), weight)| (score, (y, weight)));
    let rows = ascending(rows);
    rows.iter().all(|(score, _)| !score.is_nan()).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::by_pairs;
    use proptest::prelude::*;

    fn area(curve: &[[f64; 2]]) -> f64 {
        curve.windows(2).map(|w| (w[1][0] - w[0][0]) * (w[1][1] + w[0][1]) / 2.0).sum()
    }

    fn rows() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        let row = (0u8..30, prop::option::weighted(0.9, any::<bool>()));
        prop::collection::vec(row, 0..80).prop_map(|rows| {
            let label = |y: Option<bool>| y.map_or(f32::NAN, |y| f32::from(u8::from(y)));
            rows.into_iter().map(|(s, y)| (f32::from(s) / 30.0, label(y))).unzip()
        })
    }

    proptest! {
        #[test]
        fn the_area_below_all_corners_is_the_auc((scores, labels) in rows()) {
            let (curve, auc) = (roc_curve(&scores, &labels, None, 1_000_000), by_pairs(&scores, &labels));
            prop_assert_eq!(curve.is_some(), auc.is_some());
            prop_assert!((curve.map_or(0.0, |curve| area(&curve)) - auc.unwrap_or(0.0)).abs() < 1e-12);
        }

        #[test]
        fn a_thinned_curve_keeps_its_ends_and_never_falls((scores, labels) in rows(), points in 0usize..40) {
            let Some(curve) = roc_curve(&scores, &labels, None, points) else { return Ok(()) };
            prop_assert!(curve.len() <= points.max(2));
            prop_assert_eq!((curve[0], curve[curve.len() - 1]), ([0.0; 2], [1.0; 2]));
            prop_assert!(curve.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1] && w[0] != w[1]));
        }

        #[test]
        fn bins_hold_every_row_once_and_no_prediction_twice((scores, labels) in rows(), bins in 1usize..20) {
            let known = labels.iter().filter(|y| !y.is_nan()).count();
            let curve = calibration_curve(&scores, &labels, None, bins).unwrap_or_default();
            prop_assert_eq!(curve.iter().map(|bin| bin.rows).sum::<u64>(), known as u64);
            prop_assert!(curve.len() <= bins);
            prop_assert!(curve.windows(2).all(|w| w[0].mean_prediction < w[1].mean_prediction));
        }
    }

    #[test]
    fn distinct_predictions_fill_bins_evenly() {
        let scores: Vec<f32> = (0..1003).map(|i| ((i * 619) % 1003) as f32 / 1003.0).collect();
        let labels: Vec<f32> = scores.iter().map(|s| f32::from(u8::from(*s > 0.5))).collect();
        let curve = calibration_curve(&scores, &labels, None, 10).unwrap();
        assert!(curve.len() == 10 && curve.iter().all(|bin| (100..=101).contains(&bin.rows)));
        assert_eq!((curve[0].mean_label, curve[9].mean_label), (0.0, 1.0));
        let curve = roc_curve(&scores, &labels, None, 50).unwrap();
        assert!(curve.len() == 50 && area(&curve) > 0.999, "{}", area(&curve));
    }

    #[test]
    fn what_cannot_be_drawn_is_none() {
        assert_eq!(roc_curve(&[0.1, 0.2], &[1.0, 1.0], None, 10), None, "one class");
        assert_eq!(roc_curve(&[], &[], None, 10), None, "no rows");
        assert_eq!(roc_curve(&[f32::NAN, 0.2], &[1.0, 0.0], None, 10), None, "no number");
        assert!(
            roc_curve(&[f32::NAN, 0.2, 0.1], &[f32::NAN, 0.0, 1.0], None, 10).is_some(),
            "of a row without a label"
        );
        assert_eq!(calibration_curve(&[0.1], &[f32::NAN], None, 10), None, "no rows");
        assert_eq!(calibration_curve(&[0.1], &[1.0], None, 0), None, "no bins");
        assert_eq!(calibration_curve(&[f32::NAN], &[1.0], None, 1), None, "no number");
        assert_eq!(calibration_curve(&[0.5; 7], &[1.0; 7], None, usize::MAX).map(|curve| curve.len()), Some(1));
    }

    #[test]
    fn a_row_counts_as_often_as_its_weight_says() {
        let (scores, labels) = ([0.1, 0.4, 0.35, 0.8, 0.9], [0.0, 0.0, 1.0, 1.0, 1.0]);
        let weights = [1.0, 3.0, 2.0, 1.0, 0.0];
        let repeated = |values: &[f32]| -> Vec<f32> {
            values.iter().zip(weights).flat_map(|(value, times)| vec![*value; times as usize]).collect()
        };
        let (s, l) = (repeated(&scores), repeated(&labels));
        assert_eq!(roc_curve(&scores, &labels, Some(&weights), 100), roc_curve(&s, &l, None, 100));
        let [weighted, plain] = [(&scores[..], &labels[..], Some(&weights[..])), (&s, &l, None)]
            .map(|(scores, labels, weights)| calibration_curve(scores, labels, weights, 1).unwrap()[0]);
        assert_eq!((weighted.mean_label, weighted.rows), (plain.mean_label, 4), "rows are counted, not weighed");
        assert!((weighted.mean_prediction - plain.mean_prediction).abs() < 1e-12);
    }
}
