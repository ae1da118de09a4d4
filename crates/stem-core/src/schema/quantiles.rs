//! How long something was watched, told by its rank among what is as long: a tower learns the rank, and a table undoes it.
//!
//! ```text
//! k = the bucket that the duration d falls into            buckets of about as many training rows each
//! u = Q_k^-1(y)                                            the rank of y among the training rows of bucket k, 0 to 1
//! learned   sqrt(12) (u - 1/2)                             an even rank has mean 1/2 and deviation 1/sqrt(12)
//! score     Q_k(1/2 + z / sqrt(12))                        the rank kept between 0 and 1
//! ```
//!
//! `Q_k` is a line from quantile to quantile. Source: Zhan et al., *Deconfounding Duration Bias in Watch-time Prediction for Video Recommendation*,
//! KDD 2022 (D2Q).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most quantiles of a bucket, its least and its greatest label among them.
const POINTS: usize = 129;

/// Quantiles of a label by buckets of a duration, as they were among the training rows.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DurationQuantiles {
    /// The field that is the duration: a number.
    duration: String,
    /// Bucket `k` holds what the slot of that field weighs from `edges[k - 1]` on and below `edges[k]`. `[K - 1]`
    edges: Vec<f32>,
    /// Labels of each bucket at even ranks, from the least to the greatest. `[K]`, each of 1 to 129
    tables: Vec<Vec<f32>>,
}

impl DurationQuantiles {
    /// Of a field whose durations are not known yet: one bucket.
    pub fn unfitted(duration: impl Into<String>) -> Self {
        Self { duration: duration.into(), edges: Vec::new(), tables: vec![vec![0.0]] }
    }

    /// Of rows of a duration, as its slot weighs, and a label: cut into `buckets` of about as many rows each, as far as equal durations let them.
    pub fn fit(duration: impl Into<String>, mut rows: Vec<(f32, f32)>, buckets: usize) -> Self {
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut edges: Vec<f32> =
            (1..buckets).filter_map(|k| rows.get(k * rows.len() / buckets).map(|row| row.0)).collect();
        edges.dedup();
        edges.retain(|edge| rows.first().is_some_and(|first| first.0 < *edge)); // below it there is nothing
        if rows.is_empty() {
            return Self::unfitted(duration);
        }
        let mut rest = &rows[..];
        let mut tables = Vec::with_capacity(edges.len() + 1);
        for edge in edges.iter().chain([&f32::INFINITY]) {
            let (own, after) = rest.split_at(rest.partition_point(|row| row.0 < *edge));
            let mut labels: Vec<f32> = own.iter().map(|row| row.1).collect();
            labels.sort_unstable_by(f32::total_cmp);
            tables.push(even_ranks(&labels));
            rest = after;
        }
        Self { duration: duration.into(), edges, tables }
    }

    /// The field that is the duration.
    pub fn duration(&self) -> &str {
        &self.duration
    }

    /// `K`
    pub fn buckets(&self) -> usize {
        self.tables.len()
    }

    /// `sqrt(12) (u - 1/2)` with `u` the label's rank among those of about this duration.
    pub(crate) fn target(&self, label: f32, duration: f32) -> f32 {
        ((rank(self.table(duration), label) - 0.5) * 12f64.sqrt()) as f32
    }

    /// The label of the rank `1/2 + z / sqrt(12)` among those of about this duration.
    pub(crate) fn score(&self, z: f64, duration: f32) -> f64 {
        value(self.table(duration), 0.5 + z / 12f64.sqrt())
    }

    fn table(&self, duration: f32) -> &[f32] {
        &self.tables[self.edges.partition_point(|edge| *edge <= duration)]
    }

    /// Why no rank can be told by it; `None` where one can.
    pub(crate) fn fault(&self) -> Option<String> {
        let rises = |edges: &[f32]| edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises(&self.edges) || !self.edges.iter().all(|edge| edge.is_finite()) {
            return Some("has edges of durations that are not finite or do not rise".into());
        }
        let (tables, needed) = (self.tables.len(), self.edges.len() + 1);
        if tables != needed {
            return Some(format!("has {tables} tables of quantiles, expected {needed}, one more than edges"));
        }
        let is_sound = |table: &Vec<f32>| {
            let fits = table.iter().all(|label| label.is_finite() && *label >= 0.0);
            (1..=POINTS).contains(&table.len()) && fits && table.is_sorted()
        };
        let odd = self.tables.iter().position(|table| !is_sound(table))?;
        Some(format!(
            "has a table of quantiles, of bucket {odd}, that is not 1 to {POINTS} rising numbers of 0 or more"
        ))
    }
}

/// Short: tables are long.
impl fmt::Debug for DurationQuantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest = self.tables.iter().filter_map(|table| table.last()).copied().fold(0.0, f32::max);
        write!(f, "{} buckets of {}, labels up to {highest}", self.buckets(), self.duration)
    }
}

/// Rising labels at even ranks.
fn even_ranks(labels: &[f32]) -> Vec<f32> {
    let points = labels.len().min(POINTS);
    let last = points.saturating_sub(1).max(1);
    (0..points).map(|i| labels[(i * (labels.len() - 1) + last / 2) / last]).collect()
}

/// `Q^-1(y)`, 0 to 1; of equal quantiles the middle one.
fn rank(table: &[f32], label: f32) -> f64 {
    let last = table.len() - 1;
    if last == 0 {
        return 0.5;
    }
    let (from, to) = (table.partition_point(|q| *q < label), table.partition_point(|q| *q <= label));
    let place = match (from, to) {
        (0, 0) => 0.0,
        (from, _) if from > last => last as f64,
        (from, to) if from < to => (from + to - 1) as f64 / 2.0,
        (above, _) => {
            let (low, high) = (f64::from(table[above - 1]), f64::from(table[above]));
            (above - 1) as f64 + (f64::from(label) - low) / (high - low)
        }
    };
    place / last as f64
}

/// `Q(u)`; what is no number stays none.
fn value(table: &[f32], rank: f64) -> f64 {
    if rank.is_nan() {
        return rank;
    }
    let last = table.len() - 1;
    let place = rank.clamp(0.0, 1.0) * last as f64;
    let below = (place as usize).min(last.saturating_sub(1));
    let (low, high) = (f64::from(table[below]), f64::from(table[(below + 1).min(last)]));
    low + (high - low) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Durations 1 to 4 of 25 rows each; who watches does so for a share of the duration.
    fn rows() -> Vec<(f32, f32)> {
        (0..100).map(|i| ((1 + i % 4) as f32, (1 + i % 4) as f32 * (i / 4) as f32)).collect()
    }

    #[test]
    fn a_rank_is_that_among_rows_of_about_the_same_duration() {
        let fitted = DurationQuantiles::fit("length", rows(), 4);
        assert_eq!((fitted.buckets(), &fitted.edges[..]), (4, &[2.0, 3.0, 4.0][..]));
        for duration in 1..=4u8 {
            let d = f32::from(duration);
            // half of the 25 rows are below 12 d
            assert!(fitted.target(12.0 * d, d).abs() < 1e-6, "{}", fitted.target(12.0 * d, d));
            assert!((fitted.target(24.0 * d, d) - 3f32.sqrt()).abs() < 1e-6);
            assert!((fitted.score(0.0, d) - f64::from(12.0 * d)).abs() < 1e-5);
        }
        // beyond all durations the outer buckets answer, beyond all ranks the least and the greatest label
        assert_eq!([fitted.score(0.0, -9.0), fitted.score(0.0, 99.0)], [12.0, 48.0]);
        assert_eq!([fitted.score(-9.0, 2.0), fitted.score(9.0, 2.0)], [0.0, 48.0]);
        assert!(fitted.score(f64::NAN, 2.0).is_nan());
        assert_eq!(fitted.fault(), None);
    }

    #[test]
    fn equal_labels_have_the_rank_of_their_middle() {
        let zeros = (0..100).map(|i| (1.0, if i < 60 { 0.0 } else { i as f32 })).collect();
        let fitted = DurationQuantiles::fit("length", zeros, 1);
        let rank = f64::from(fitted.target(0.0, 1.0)) / 12f64.sqrt() + 0.5;
        assert!((rank - 59.0 / 2.0 / 99.0).abs() < 1e-6, "{rank}");
        assert_eq!(fitted.score(0.0, 1.0), 0.0, "more than half are 0");
    }

    #[test]
    fn tables_that_tell_no_rank_are_refused() {
        let refused = |edit: &dyn Fn(&mut DurationQuantiles), expected: &str| {
            let mut fitted = DurationQuantiles::fit("length", rows(), 2);
            edit(&mut fitted);
            let found = fitted.fault().expect("a fault");
            assert!(found.contains(expected), "{found}");
        };
        refused(&|q| q.edges[0] = f32::NAN, "not finite");
        refused(&|q| q.edges.push(0.0), "do not rise");
        refused(&|q| drop(q.tables.pop()), "has 1 tables of quantiles, expected 2");
        refused(&|q| q.tables[1].clear(), "of bucket 1");
        refused(&|q| q.tables[0][0] = -1.0, "of bucket 0");
        refused(&|q| q.tables[0][1] = f32::MAX, "of bucket 0");
    }

    proptest! {
        /// Whatever the labels are, one of the training rows is found again by its rank, and a higher rank is never less.
        #[test]
        fn a_label_is_undone_by_its_rank(labels in prop::collection::vec(0u16..50, 1..400), buckets in 1usize..6) {
            let rows: Vec<(f32, f32)> =
                labels.iter().enumerate().map(|(i, label)| ((i % 7) as f32, f32::from(*label))).collect();
            let fitted = DurationQuantiles::fit("length", rows.clone(), buckets);
            prop_assert_eq!(fitted.fault(), None);
            let whole = rows.len() <= POINTS; // of more rows a table has some
            for (duration, label) in rows {
                let z = f64::from(fitted.target(label, duration));
                let again = fitted.score(z, duration);
                prop_assert!(!whole || (again - f64::from(label)).abs() < 1e-3, "{} {}", again, label);
                prop_assert!(fitted.score(z + 0.1, duration) >= again);
            }
        }
    }
}
