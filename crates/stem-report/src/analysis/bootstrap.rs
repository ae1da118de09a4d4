//! How sure a difference of AUCs is: paired bootstrap over groups (Efron and Tibshirani, 1993, percentile intervals; Field and
//! Welsh, 2007, for resampling whole clusters).
//!
//! ```text
//! d_m   = mean over seeds of AUC_m  -  mean over seeds of AUC_reference
//! c^r   ~ Multinomial(G; 1/G, ..., 1/G)                  how often resample r holds each of the G groups
//! d_m^r = d_m with every row weighted by its group's c^r
//! interval = the 2.5 % and the 97.5 % quantile of d_m^1, ..., d_m^R
//! ```
//!
//! Rows of one user are alike, so users are drawn, not rows. A draw is the same for all models: what is hard for one is mostly
//! hard for the other, and the difference is surer than either AUC.
//!
//! ```
//! # use stem_report::analysis::{Bootstrap, Sample};
//! let labels = [0.0, 1.0, 0.0, 1.0, 1.0, f32::NAN];
//! let sample = Sample::new(&labels, &[7, 7, 8, 8, 9, 9], None);
//! let single_task = sample.rank(&[0.5; 6]);
//! let stem = sample.rank(&[0.1, 0.9, 0.2, 0.8, 0.7, 0.3]);
//! let bootstrap = Bootstrap::default();
//! let interval = bootstrap.paired(&[single_task], &[vec![stem]])[0].expect("both classes are there").interval;
//! assert!(interval.mean == 0.5 && interval.low > 0.0);
//! ```

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ranked::Ranked;

/// The share of resamples within an interval.
const LEVEL: f64 = 0.95;

/// How often to resample, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// `R`, the number of resamples.
    pub resamples: usize,
    /// Resample `r` draws from stream `r` of this seed, on whatever thread.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

/// A difference and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interval {
    /// The difference on the sample itself.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A difference of AUCs, and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Where it lies.
    pub interval: Interval,
    /// Resamples in which an AUC was undefined, for want of a class. They take no part.
    pub skipped: usize,
}

impl Bootstrap {
    /// The difference of each of `others` to `reference`; a model is its seeds, all ranked on one sample.
    ///
    /// `None` where the difference is undefined: a model without seeds, a sample of one class, a score that is no number, or
    /// fewer than half of the resamples with both classes.
    ///
    /// # Panics
    /// When the models are ranked on samples with different numbers of groups.
    pub fn paired(&self, reference: &[Ranked], others: &[Vec<Ranked>]) -> Vec<Option<Difference>> {
        let Some(groups) = reference.first().map(Ranked::groups) else { return vec![None; others.len()] };
        let same = others.iter().flatten().chain(reference).all(|ranked| ranked.groups() == groups);
        assert!(same, "all models are ranked on one sample");
        let means = differences(reference, others, &vec![1; groups]);
        let resamples: Vec<Vec<Option<f64>>> = (0..self.resamples as u64)
            .into_par_iter()
            .map_init(
                || vec![0; groups],
                |counts, resample| {
                    self.draw(resample, counts);
                    differences(reference, others, counts)
                },
            )
            .collect(); // [R, M]
        let interval = |(m, mean): (usize, Option<f64>)| {
            self.interval(mean?, resamples.iter().filter_map(|differences| differences[m]).collect())
        };
        means.into_iter().enumerate().map(interval).collect()
    }

    /// Counts `G` draws with replacement from `G` groups. A count fits a byte: 256 has a probability below `1 / 256!`.
    fn draw(&self, resample: u64, counts: &mut [u8]) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(resample);
        counts.fill(0);
        let groups = counts.len() as u32;
        (0..groups).for_each(|_| counts[rng.random_range(0..groups) as usize] += 1);
    }

    fn interval(&self, mean: f64, mut differences: Vec<f64>) -> Option<Difference> {
        if differences.is_empty() || 2 * differences.len() < self.resamples {
            return None;
        }
        differences.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - LEVEL) / 2.0;
        let (low, high) = (quantile(&differences, outside), quantile(&differences, 1.0 - outside));
        Some(Difference { interval: Interval { mean, low, high }, skipped: self.resamples - differences.len() })
    }
}

/// Of every other model to the reference. `[M]`
fn differences(reference: &[Ranked], others: &[Vec<Ranked>], counts: &[u8]) -> Vec<Option<f64>> {
    let reference = mean_auc(reference, counts);
    others.iter().map(|other| Some(mean_auc(other, counts)? - reference?)).collect()
}

/// Over the seeds of one model.
fn mean_auc(seeds: &[Ranked], counts: &[u8]) -> Option<f64> {
    let sum = seeds.iter().map(|ranked| ranked.weighted_auc(counts)).sum::<Option<f64>>()?;
    (!seeds.is_empty()).then(|| sum / seeds.len() as f64)
}

/// Between the two nearest of ascending values, by the line through them.
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let last = ascending.len() - 1;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = (at as usize).min(last);
    let above = (below + 1).min(last);
    ascending[below] + (ascending[above] - ascending[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Sample;
    use crate::analysis::tests::by_pairs;
    use rand_distr::{Distribution, StandardNormal};
    use rayon::ThreadPoolBuilder;

    const USERS: usize = 200;
    const ROWS: usize = USERS * 20;

    fn holds_zero(interval: Interval) -> bool {
        interval.low <= 0.0 && interval.high >= 0.0
    }

    fn normal(rng: &mut ChaCha8Rng) -> f32 {
        StandardNormal.sample(rng)
    }

    /// Labels, users, and scores of models that know the truth up to noise of their own, most of it by user.
    fn simulated(seed: u64, noise: &[f32]) -> (Vec<f32>, Vec<u32>, Vec<Vec<f32>>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let users: Vec<u32> = (0..ROWS).map(|i| (i / 20) as u32).collect();
        let of_user: Vec<f32> = (0..USERS).map(|_| normal(&mut rng)).collect();
        let truth: Vec<f32> = users.iter().map(|&u| of_user[u as usize] + normal(&mut rng) - 1.0).collect();
        let chance = |t: f32| 1.0 / (1.0 + (-t).exp());
        let labels = truth.iter().map(|&t| f32::from(u8::from(rng.random::<f32>() < chance(t)))).collect();
        let scores = noise.iter().map(|noise| {
            let of_user: Vec<f32> = (0..USERS).map(|_| noise * normal(&mut rng)).collect();
            let rows = users.iter().zip(&truth);
            rows.map(|(&u, t)| chance(t + of_user[u as usize] + noise * normal(&mut rng) / 2.0)).collect()
        });
        let scores = scores.collect();
        (labels, users, scores)
    }

    #[test]
    fn the_mean_is_the_difference_of_aucs_averaged_over_seeds() {
        let (labels, users, scores) = simulated(3, &[0.5, 0.7, 0.9]);
        let first: Vec<u32> = (0..400).collect();
        let sample = Sample::new(&labels, &users, Some(&first));
        let ranked: Vec<Ranked> = scores.iter().map(|s| sample.rank(s)).collect();
        let auc = |m: usize| by_pairs(&scores[m][..400], &labels[..400]).unwrap();
        let intervals =
            Bootstrap { resamples: 50, ..Bootstrap::default() }.paired(&ranked[..1], &[ranked[1..].to_vec()]);
        let Difference { interval: Interval { mean, low, high }, skipped } = intervals[0].unwrap();
        assert!((mean - ((auc(1) + auc(2)) / 2.0 - auc(0))).abs() < 1e-12);
        assert!(low < mean && mean < high && skipped == 0);
    }

    #[test]
    fn a_model_compared_with_itself_differs_by_exactly_nothing() {
        let (labels, users, scores) = simulated(5, &[0.5, 0.7]);
        let sample = Sample::new(&labels, &users, None);
        let model: Vec<Ranked> = scores.iter().map(|s| sample.rank(s)).collect();
        let intervals =
            Bootstrap { resamples: 20, ..Bootstrap::default() }.paired(&model, std::slice::from_ref(&model));
        assert_eq!(intervals, [Some(Difference { interval: Interval::default(), skipped: 0 })]);
    }

    #[test]
    fn the_interval_covers_zero_in_about_95_of_100_nulls_if_users_are_drawn() {
        let covered = |by_user: bool| {
            let covers = |seed: u64| {
                let (labels, users, scores) = simulated(1000 + seed, &[0.7, 0.7]);
                let alone: Vec<u32> = (0..ROWS as u32).collect();
                let sample = Sample::new(&labels, if by_user { &users } else { &alone }, None);
                let bootstrap = Bootstrap { resamples: 300, seed };
                let other = vec![sample.rank(&scores[1])];
                let interval = bootstrap.paired(&[sample.rank(&scores[0])], &[other])[0].unwrap().interval;
                holds_zero(interval)
            };
            (0..300).filter(|&seed| covers(seed)).count() as f64 / 300.0
        };
        let (by_user, by_row) = (covered(true), covered(false));
        assert!((0.91..=0.98).contains(&by_user), "{by_user}");
        assert!(by_row + 0.02 < by_user, "rows of one user are no independent witnesses: {by_row}");
    }

    #[test]
    fn a_better_and_a_worse_model_are_told_apart() {
        let (labels, users, scores) = simulated(9, &[0.8, 0.2, 2.0]);
        let sample = Sample::new(&labels, &users, None);
        let [reference, better, worse] = [0, 1, 2].map(|m| vec![sample.rank(&scores[m])]);
        let intervals = Bootstrap { resamples: 200, ..Bootstrap::default() }.paired(&reference, &[better, worse]);
        assert!(intervals[0].unwrap().interval.low > 0.0 && intervals[1].unwrap().interval.high < 0.0, "{intervals:?}");
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let (labels, users, scores) = simulated(7, &[0.5, 0.6]);
        let sample = Sample::new(&labels, &users, None);
        let (reference, other) = ([sample.rank(&scores[0])], [vec![sample.rank(&scores[1])]]);
        let with = |threads: usize, seed: u64| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Bootstrap { resamples: 64, seed }.paired(&reference, &other))
        };
        assert_eq!(with(1, 1), with(2, 1));
        assert_ne!(with(1, 1), with(1, 2));
    }

    #[test]
    fn what_is_undefined_is_none_and_skipped_resamples_are_counted() {
        let bootstrap = Bootstrap { resamples: 500, ..Bootstrap::default() };
        let compare = |labels: &[f32], groups: &[u32], scores: &[f32]| {
            let sample = Sample::new(labels, groups, None);
            let reference = sample.rank(&vec![0.5; labels.len()]);
            bootstrap.paired(&[reference], &[vec![sample.rank(scores)]])[0]
        };
        assert_eq!(compare(&[1.0, 1.0], &[0, 1], &[0.1, 0.2]), None, "one class");
        assert_eq!(compare(&[], &[], &[]), None, "no rows");
        assert_eq!(compare(&[0.0, 1.0], &[0, 0], &[0.1, f32::NAN]), None, "no number");
        // (1 - 1/G)^G of the resamples lack the group with the one positive: 0.32 of 4 groups.
        let four = compare(&[0.0, 1.0, 0.0, 0.0], &[0, 1, 2, 3], &[0.1, 0.2, 0.3, 0.0]).unwrap();
        assert!((130..190).contains(&four.skipped), "{four:?}");
        // Of 2 groups with a class each, half of the resamples hold both: by chance more, or fewer.
        let sample = Sample::new(&[0.0, 1.0], &[0, 1], None);
        let ranked = vec![sample.rank(&[0.1, 0.2])];
        let same = std::slice::from_ref(&ranked);
        let two = |seed| Bootstrap { seed, ..bootstrap }.paired(&ranked, same)[0];
        let found: Vec<Difference> = (0..20).filter_map(two).collect();
        assert!((1..20).contains(&found.len()) && found.iter().all(|difference| difference.skipped <= 250));
        assert_eq!(bootstrap.paired(&ranked, &[vec![]]), [None], "no seeds");
        assert_eq!(bootstrap.paired(&[], same), [None], "no reference");
        assert_eq!(Bootstrap { resamples: 0, ..bootstrap }.paired(&ranked, same), [None], "no resamples");
    }

    #[test]
    fn quantiles_lie_on_the_line_between_their_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!((quantile(&[1.0, 2.0], 0.0), quantile(&[1.0, 2.0], 1.0), quantile(&[5.0], 0.3)), (1.0, 2.0, 5.0));
    }
}
