//! Metrics within groups: the first `k` rows of each, the mean over groups with a positive.
//!
//! ```text
//! r = 1, 2, ...                                       ranks of a group's rows, by descending score
//! DCG@k     = sum_{r <= k} w_r y_r / log2(r + 1)      NDCG@k = DCG@k / (the same by descending w y)
//! MRR       = 1 / min {r : row r is positive}
//! recall@k  = sum_{r <= k, positive} w_r / sum_{positive} w_r
//! hitrate@k = [min {r : row r is positive} <= k]
//! ```
//!
//! Rows of one score have no order, and each is as likely as another: a metric is its mean over all of them, in closed form. A model that
//! gives every row one score is so worth what a random order is. Of NDCG it is what scikit-learn's `ndcg_score` does with
//! `ignore_ties = False` (McSherry and Najork, 2008, "Computing information retrieval performance measures efficiently in the presence of
//! tied scores"), whose gains are labels 0 and more.

use rayon::prelude::*;

use super::{Metric, Sample};

/// A row of a group.
#[derive(Clone, Copy, Default)]
struct Row {
    score: f32,
    /// `w y`; 0 of a label below 0.
    gain: f64,
    /// `w` of a positive, 0 of another row.
    positive: f64,
}

/// Rows of one score.
struct Run {
    /// Rows above.
    above: usize,
    rows: usize,
    positives: usize,
    gain: f64,
    /// Weight of the positives.
    weight: f64,
}

/// The value and 1 of each group, zeros of one without a positive; of each metric. `[M, G, 2]`
pub(super) fn means(sample: &Sample, scores: &[f32], metrics: &[Metric]) -> Vec<Vec<[f64; 2]>> {
    if metrics.is_empty() {
        return Vec::new();
    }
    let (places, starts) = sample.by_group();
    let row = |place: &u32| {
        let place = *place as usize;
        let (label, weight) = (sample.label(place), sample.weight(place));
        let positive = if sample.marks()[place] & 1 == 1 { weight } else { 0.0 };
        Row { score: sample.score(scores, place), gain: weight * f64::from(label.max(0.0)), positive }
    };
    let longest = starts.windows(2).map(|range| range[1] - range[0]).max().unwrap_or(0);
    let discounts: Vec<f64> = (0..longest).map(|rank| 1.0 / (rank as f64 + 2.0).log2()).collect();
    let mut values = vec![[0.0; 2]; metrics.len() * sample.groups()]; // [G, M, 2]
    values.par_chunks_mut(metrics.len()).zip(starts.par_windows(2)).for_each_init(
        || (Vec::new(), Vec::new()),
        |(rows, runs), (values, range)| {
            rows.clear();
            rows.extend(places[range[0]..range[1]].iter().map(row));
            if rows.iter().any(|row: &Row| row.positive > 0.0) {
                runs_of(rows, runs);
                for (value, metric) in values.iter_mut().zip(metrics) {
                    *value = of_group(*metric, rows, runs, &discounts).map_or([0.0; 2], |value| [value, 1.0]);
                }
            }
        },
    );
    let of = |m: usize| values.iter().skip(m).step_by(metrics.len()).copied().collect();
    (0..metrics.len()).map(of).collect()
}

/// Sorts rows by descending score, and puts those of one score together.
fn runs_of(rows: &mut [Row], runs: &mut Vec<Run>) {
    rows.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    runs.clear();
    let mut above = 0;
    for run in rows.chunk_by(|a, b| a.score == b.score) {
        runs.push(Run {
            above,
            rows: run.len(),
            positives: run.iter().filter(|row| row.positive > 0.0).count(),
            gain: run.iter().map(|row| row.gain).sum(),
            weight: run.iter().map(|row| row.positive).sum(),
        });
        above += run.len();
    }
}

/// Of a group with a positive; `rows` may be put in another order. `None` with a `k` of 0.
fn of_group(metric: Metric, rows: &mut [Row], runs: &[Run], discounts: &[f64]) -> Option<f64> {
    match metric {
        Metric::Ndcg(k @ 1..) => Some(ndcg(k.into(), rows, runs, discounts)),
        Metric::Mrr => Some(reciprocal_rank(runs)),
        Metric::Recall(k @ 1..) => Some(recall(k.into(), runs)),
        Metric::HitRate(k @ 1..) => Some(hit(k.into(), runs)),
        _ => None,
    }
}

/// How many rows of each run are among the first `k`, for the runs that have any.
fn within(k: usize, runs: &[Run]) -> impl Iterator<Item = (usize, &Run)> {
    runs.iter().take_while(move |run| run.above < k).map(move |run| (run.rows.min(k - run.above), run))
}

/// A run's rows have its mean gain.
fn ndcg(k: usize, rows: &mut [Row], runs: &[Run], discounts: &[f64]) -> f64 {
    let of_run = |(taken, run): (usize, &Run)| {
        run.gain / run.rows as f64 * discounts[run.above..run.above + taken].iter().sum::<f64>()
    };
    let dcg: f64 = within(k, runs).map(of_run).sum();
    rows.sort_unstable_by(|a, b| b.gain.total_cmp(&a.gain));
    let ideal: f64 = rows.iter().take(k).zip(discounts).map(|(row, discount)| row.gain * discount).sum();
    dcg / ideal
}

/// In a random order of `n` rows with `p` positives after `a` others the first positive has rank `a + 1 + j` with probability
/// `p / (n - j) prod_{i < j} (n - p - i) / (n - i)`.
fn reciprocal_rank(runs: &[Run]) -> f64 {
    let Some(run) = runs.iter().find(|run| run.positives > 0) else { return 0.0 };
    let (n, p) = (run.rows as f64, run.positives as f64);
    let (mut sum, mut none_yet) = (0.0, 1.0);
    for j in 0..=run.rows - run.positives {
        let left = n - j as f64;
        sum += none_yet * p / left / (run.above + 1 + j) as f64;
        none_yet *= (left - p) / left;
    }
    sum
}

/// Of a run, the share that is taken.
fn recall(k: usize, runs: &[Run]) -> f64 {
    let taken: f64 = within(k, runs).map(|(taken, run)| run.weight * taken as f64 / run.rows as f64).sum();
    taken / runs.iter().map(|run| run.weight).sum::<f64>()
}

/// `1 - prod_{i < taken} (n - p - i) / (n - i)` of the first run with a positive.
fn hit(k: usize, runs: &[Run]) -> f64 {
    let Some((taken, run)) = within(k, runs).find(|(_, run)| run.positives > 0) else { return 0.0 };
    let others = run.rows - run.positives;
    let missed = |i: usize| others.saturating_sub(i) as f64 / (run.rows - i) as f64;
    1.0 - (0..taken).map(missed).product::<f64>()
}
