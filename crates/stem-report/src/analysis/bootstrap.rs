//! How sure a difference of two models is: with other users, and with other seeds.
//!
//! ```text
//! v_m,s    = the metric of model m trained with seed s, turned so that more is better
//! d        = mean over seeds of v_m,s  -  mean over seeds of v_reference,s
//! c^r      ~ Multinomial(G; 1/G, ..., 1/G)               how often resample r holds each of the G groups
//! d^r      = d with every row weighted by its group's c^r
//! l, h     = the 2.5 % and the 97.5 % quantile of d^1, ..., d^R                                  the interval over users
//! k        = half the width of the interval over seeds, of d_s = v_m,s - v_reference,s           (module `luck`)
//! interval = d - sqrt((d - l)^2 + k^2)   to   d + sqrt((h - d)^2 + k^2)
//! ```
//!
//! Users (Efron and Tibshirani, 1993, chapter 13, percentile intervals; Field and Welsh, 2007, for resampling whole clusters): rows
//! of one user are alike, so users are drawn, not rows. A draw is the same for all models: what is hard for one is mostly hard for
//! the other, and the difference is surer than either metric.
//!
//! Seeds: two to five of them are too few to draw from, a bootstrap over so few is far too narrow. Their part is a t interval, and the
//! two parts are put together by the squares of their half-widths (Zou and Donner, 2008, "Construction of confidence limits about
//! effect measures: a general approach", Statistics in Medicine 27). Seeds of two models with the same number of them are compared one
//! by one, in their order; otherwise either model has a `k` of its own, and the squares of both are added. With one seed nothing
//! is known about the luck of training: the interval is that over users alone.
//!
//! Of simulated nulls 91 to 95 in 100 are covered with 2, 3 or 5 seeds, whether users, seeds or both are the luck (`coverage.rs`);
//! 1 to 80 in 100 by the interval over users alone where seeds have a part in it.
//!
//! Under `c`, gAUC is `sum_g c_g n_g AUC_g / sum_g c_g n_g`; logloss, MAE and RMSE's square are `sum_g c_g L_g / sum_g c_g n_g` with `L_g`
//! the sum over the rows of group `g`; NDCG, MRR, recall and hit rate are `sum_g c_g m_g / sum_g c_g` over the groups with a positive. A
//! resample of them takes a step for each group, of AUC, PR-AUC and ECE for each row, of XAUC `log L` for each row with `L` different labels.
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

use super::ranked::{Measure, Ranked};
use super::{Metric, luck};

/// The share of resamples within an interval. The quantiles of t in `luck` are for this one.
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

/// A difference of a metric, and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Where it lies, over users and seeds.
    pub interval: Interval,
    /// The same over users alone, as if these seeds were all there are.
    pub users: Interval,
    /// Resamples in which the metric was undefined, for want of a class. They take no part.
    pub skipped: usize,
}

/// The values of one model's seeds, more is better. `[S]`; `None` if one is undefined, or there is no seed.
type Values = Option<Vec<f64>>;

impl Bootstrap {
    /// The difference in AUC of each of `others` to `reference`; a model is its seeds, all ranked on one sample.
    ///
    /// `None` where the difference is undefined: a model without seeds, a sample of one class, a score that is no number, or
    /// fewer than half of the resamples with both classes.
    ///
    /// # Panics
    /// When the models are ranked on samples with different numbers of groups.
    pub fn paired(&self, reference: &[Ranked], others: &[Vec<Ranked>]) -> Vec<Option<Difference>> {
        self.paired_by(Metric::Auc, reference, others)
    }

    /// [`paired`](Self::paired) in any metric. A positive difference is a gain: of logloss it is the reference's less the model's.
    ///
    /// # Panics
    /// When the models are ranked on samples with different numbers of groups, or one was not ranked for the metric
    /// ([`Sample::rank_for`](super::Sample::rank_for)).
    pub fn paired_by(&self, metric: Metric, reference: &[Ranked], others: &[Vec<Ranked>]) -> Vec<Option<Difference>> {
        let Some(groups) = reference.first().map(Ranked::groups) else { return vec![None; others.len()] };
        let same = others.iter().flatten().chain(reference).all(|ranked| ranked.groups() == groups);
        assert!(same, "all models are ranked on one sample");
        // The reference first. [1 + M, S]
        let models: Vec<Vec<Weighted<'_>>> = [reference]
            .into_iter()
            .chain(others.iter().map(Vec::as_slice))
            .map(|seeds| seeds.iter().map(|ranked| Weighted::new(metric, ranked)).collect())
            .collect();
        let measure = |counts: &[u8]| -> Vec<Values> { models.iter().map(|seeds| values(seeds, counts)).collect() };
        let sample = measure(&vec![1; groups]);
        let resamples: Vec<Vec<Values>> = (0..self.resamples as u64)
            .into_par_iter()
            .map_init(
                || vec![0; groups],
                |counts, resample| {
                    self.draw(resample, counts);
                    measure(counts)
                },
            )
            .collect(); // [R, 1 + M, S]
        (1..models.len()).map(|m| self.difference(&sample, &resamples, m)).collect()
    }

    /// A metric of one model, as it is reported, with its interval over groups. `None` where it is undefined, or in half of the resamples.
    ///
    /// # Panics
    /// When it was not ranked for the metric ([`Sample::rank_for`](super::Sample::rank_for)).
    pub fn interval(&self, metric: Metric, ranked: &Ranked) -> Option<Interval> {
        let (weighted, groups) = (Weighted::new(metric, ranked), ranked.groups());
        let mean = weighted.value(&vec![1; groups])?;
        let resamples = (0..self.resamples as u64).into_par_iter().map_init(
            || vec![0; groups],
            |counts, resample| {
                self.draw(resample, counts);
                weighted.value(counts)
            },
        );
        let mut drawn: Vec<f64> = resamples.flatten_iter().collect();
        if drawn.is_empty() || 2 * drawn.len() < self.resamples {
            return None;
        }
        drawn.sort_unstable_by(f64::total_cmp);
        let ends = [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0].map(|share| metric.goodness(quantile(&drawn, share)));
        Some(Interval { mean: metric.goodness(mean), low: ends[0].min(ends[1]), high: ends[0].max(ends[1]) })
    }

    /// Counts `G` draws with replacement from `G` groups. A count fits a byte: 256 has a probability below `1 / 256!`.
    fn draw(&self, resample: u64, counts: &mut [u8]) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(resample);
        counts.fill(0);
        let groups = counts.len() as u32;
        (0..groups).for_each(|_| counts[rng.random_range(0..groups) as usize] += 1);
    }

    /// Of model `m` to the reference, which is model 0.
    fn difference(&self, sample: &[Values], resamples: &[Vec<Values>], m: usize) -> Option<Difference> {
        let both = |values: &[Values]| Some([values[m].clone()?, values[0].clone()?]);
        let [own, reference] = both(sample)?;
        let drawn: Vec<[Vec<f64>; 2]> = resamples.iter().filter_map(|values| both(values)).collect();
        if drawn.is_empty() || 2 * drawn.len() < self.resamples {
            return None;
        }
        let difference = |[own, reference]: &[Vec<f64>; 2]| mean(own) - mean(reference);
        let mut differences: Vec<f64> = drawn.iter().map(difference).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - LEVEL) / 2.0;
        let (low, high) = (quantile(&differences, outside), quantile(&differences, 1.0 - outside));
        let sample = [own, reference];
        let users = Interval { mean: difference(&sample), low, high };
        let interval = widened(users, seeds(&sample, &drawn));
        Some(Difference { interval, users, skipped: self.resamples - drawn.len() })
    }
}

/// Half the width of the interval over seeds, of the values of a model and of the reference.
fn seeds(sample: &[Vec<f64>; 2], drawn: &[[Vec<f64>; 2]]) -> f64 {
    if sample[0].len() != sample[1].len() {
        let alone = |m: usize| luck::of_training(&sample[m], drawn.iter().map(|values| values[m].as_slice()));
        return alone(0).hypot(alone(1));
    }
    let by_seed = |[own, reference]: &[Vec<f64>; 2]| own.iter().zip(reference).map(|(v, r)| v - r).collect();
    let drawn: Vec<Vec<f64>> = drawn.iter().map(by_seed).collect();
    luck::of_training(&by_seed(sample), drawn.iter().map(Vec::as_slice))
}

/// An interval with another around the same mean put to it.
fn widened(of: Interval, half: f64) -> Interval {
    if half == 0.0 {
        return of;
    }
    let Interval { mean, low, high } = of;
    Interval { mean, low: mean - (mean - low).max(0.0).hypot(half), high: mean + (high - mean).max(0.0).hypot(half) }
}

/// The metric of one run under any weights of the groups, more is better.
struct Weighted<'a> {
    metric: Metric,
    measure: Measure<'a>,
}

impl<'a> Weighted<'a> {
    fn new(metric: Metric, ranked: &'a Ranked) -> Self {
        Self { metric, measure: ranked.measure(metric) }
    }

    fn value(&self, counts: &[u8]) -> Option<f64> {
        self.measure.value(counts).map(|value| self.metric.goodness(value))
    }
}

/// Of every seed of one model.
fn values(seeds: &[Weighted<'_>], counts: &[u8]) -> Values {
    let values = seeds.iter().map(|seed| seed.value(counts)).collect::<Option<Vec<f64>>>()?;
    (!values.is_empty()).then_some(values)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
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
    use crate::analysis::tests::by_pairs;
    use crate::analysis::{LabelKind, Sample};
    use rand_distr::{Distribution, StandardNormal};
    use rayon::ThreadPoolBuilder;

    const USERS: usize = 200;
    const ROWS: usize = USERS * 20;

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

    /// The interval of one model is that of its difference to a model that says the same of every row, whose AUC is 0.5 always.
    #[test]
    fn the_interval_of_one_model_is_that_around_its_own_metric() {
        let (labels, users, scores) = simulated(5, &[0.6]);
        let sample = Sample::new(&labels, &users, None);
        let (ranked, constant) = (sample.rank(&scores[0]), sample.rank(&vec![0.5; ROWS]));
        let bootstrap = Bootstrap { resamples: 200, seed: 1 };
        let own = bootstrap.interval(Metric::Auc, &ranked).unwrap();
        let difference = bootstrap.paired(&[constant], &[vec![ranked.clone()]])[0].unwrap().users;
        for (own, difference) in [(own.mean, difference.mean), (own.low, difference.low), (own.high, difference.high)] {
            assert!((own - 0.5 - difference).abs() < 1e-12, "{own} {difference}");
        }
        let logloss = bootstrap.interval(Metric::Logloss, &ranked).unwrap();
        assert_eq!(Some(logloss.mean), ranked.logloss());
        assert!(logloss.low < logloss.mean && logloss.mean < logloss.high && logloss.low > 0.0);
        assert_eq!(bootstrap.interval(Metric::Auc, &Sample::new(&[1.0, 1.0], &[0, 1], None).rank(&[0.1, 0.2])), None);
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
        let Difference { interval: Interval { mean, low, high }, skipped, .. } = intervals[0].unwrap();
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
        let none = Interval::default();
        assert_eq!(intervals, [Some(Difference { interval: none, users: none, skipped: 0 })]);
    }

    #[test]
    fn one_seed_or_the_same_seed_twice_gives_the_interval_over_users() {
        let (labels, users, scores) = simulated(11, &[0.5, 0.7]);
        let sample = Sample::new(&labels, &users, None);
        let [reference, other] = [0, 1].map(|m| sample.rank(&scores[m]));
        let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
        let one = bootstrap.paired(std::slice::from_ref(&reference), &[vec![other.clone()]])[0].unwrap();
        let twice = bootstrap.paired(&[reference.clone(), reference], &[vec![other.clone(), other]])[0].unwrap();
        assert_eq!((one.interval, twice.interval), (one.users, one.users));
    }

    #[test]
    fn a_gain_that_is_one_seeds_is_no_evidence_and_one_of_both_is() {
        // The same labels for all users and many of them: users are no luck at all.
        let labels: Vec<f32> = (0..400).map(|i| (i % 4 / 2) as f32).collect();
        let users: Vec<u32> = (0..400).map(|i| i / 4).collect();
        let sample = Sample::new(&labels, &users, None);
        // AUC 0.5 + lift / 4 over the rows of a user.
        let model = |lifts: &[usize]| -> Vec<Ranked> {
            let score = |lift: usize, i: usize| if i % 4 == 3 && i / 4 < lift { 0.9 } else { 0.5 };
            lifts.iter().map(|&lift| sample.rank(&(0..400).map(|i| score(lift, i)).collect::<Vec<f32>>())).collect()
        };
        let of = |lifts: &[usize]| {
            let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
            bootstrap.paired(&model(&[40, 40]), &[model(lifts)])[0].unwrap()
        };
        let (one, both) = (of(&[42, 70]), of(&[70, 71]));
        assert!(one.users.low > 0.0 && one.interval.low < 0.0, "{one:?}");
        assert!(both.users.low > 0.0 && both.interval.low > 0.0, "{both:?}");
        assert_eq!(one.interval.mean, one.users.mean);
    }

    #[test]
    fn seeds_of_different_numbers_have_their_own_luck_each() {
        let (labels, users, scores) = simulated(13, &[0.2, 0.9, 0.5, 0.6, 0.7]);
        let sample = Sample::new(&labels, &users, None);
        let ranked: Vec<Ranked> = scores.iter().map(|s| sample.rank(s)).collect();
        let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
        let found = bootstrap.paired(&ranked[..2], &[ranked[2..].to_vec(), ranked[2..3].to_vec()]);
        for difference in found.into_iter().map(Option::unwrap) {
            assert!(difference.interval.low < difference.users.low && difference.users.high < difference.interval.high);
        }
    }

    #[test]
    fn any_metric_can_be_compared_and_a_gain_is_positive_in_each() {
        let (labels, users, scores) = simulated(17, &[0.8, 0.2]);
        let sample = Sample::new(&labels, &users, None);
        let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
        let every: Vec<Metric> = Metric::ALL.into_iter().chain(Metric::usual(LabelKind::Binary)).collect();
        let [reference, better] = [0, 1].map(|m| sample.rank_for(&scores[m], &every));
        for &metric in &every {
            let found = bootstrap.paired_by(metric, std::slice::from_ref(&reference), &[vec![better.clone()]]);
            let Interval { mean, low, high } = found[0].unwrap().interval;
            let gain = metric.gain(better.metric(metric).unwrap(), reference.metric(metric).unwrap());
            let is_gain = (mean - gain).abs() < 1e-12 && low < mean && mean < high;
            assert!(is_gain, "{metric}: {mean} ({low} to {high}), {gain}");
            assert!(0.0 < low || !Metric::ALL.contains(&metric), "the others are not so sure of 200 users");
        }
        let unknown = sample.rank_for(&vec![f32::NAN; ROWS], &every);
        for &metric in &every {
            assert_eq!(bootstrap.paired_by(metric, std::slice::from_ref(&reference), &[vec![unknown.clone()]]), [None]);
        }
    }

    #[test]
    fn a_difference_of_predicted_numbers_has_an_interval_in_the_metrics_of_numbers() {
        let (_, users, scores) = simulated(19, &[0.0, 3.0, 0.2]);
        let seconds: Vec<f32> = scores[0].iter().map(|chance| 60.0 * (chance - 0.5).max(0.0)).collect();
        let predicted = |m: usize| scores[m].iter().map(|chance| 60.0 * (chance - 0.5)).collect::<Vec<f32>>();
        let sample = Sample::values(&seconds, &users, None);
        let usual = Metric::usual(LabelKind::Value);
        let [worse, better] = [1, 2].map(|m| sample.rank_for(&predicted(m), &usual));
        let bootstrap = Bootstrap { resamples: 100, ..Bootstrap::default() };
        for metric in usual {
            let found = bootstrap.paired_by(metric, std::slice::from_ref(&worse), &[vec![better.clone()]]);
            let Interval { mean, low, high } = found[0].unwrap().interval;
            let gain = metric.gain(better.metric(metric).unwrap(), worse.metric(metric).unwrap());
            assert!((mean - gain).abs() < 1e-12 && low <= mean && mean <= high, "{metric}: {mean} ({low} to {high})");
            assert!(0.0 < low || metric.needs_groups(), "{metric} is sure: {mean} ({low} to {high})");
            let own = bootstrap.interval(metric, &better).unwrap();
            assert!(Some(own.mean) == better.metric(metric) && own.low <= own.mean && own.mean <= own.high, "{metric}");
        }
        assert_eq!(bootstrap.interval(Metric::Auc, &better), None, "it says nothing of numbers");
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
        let (labels, users, scores) = simulated(7, &[0.5, 0.6, 0.7, 0.8]);
        let sample = Sample::new(&labels, &users, None);
        let ranked: Vec<Ranked> = scores.iter().map(|s| sample.rank(s)).collect();
        let (reference, other) = (&ranked[..2], [ranked[2..].to_vec()]);
        let with = |threads: usize, seed: u64| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Bootstrap { resamples: 64, seed }.paired(reference, &other))
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
