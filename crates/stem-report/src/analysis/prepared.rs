//! Metrics that need no order of all rows: sums by group, and what is made of them.

use std::sync::{Arc, OnceLock};

use super::bins::Bins;
use super::inversions;
use super::pairs::Pairs;
use super::{Metric, Sample, within_groups};
use crate::metrics::loss;

/// A metric of one model, taken apart by group.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    /// `sum_g c_g a_g / sum_g c_g b_g` of `[a_g, b_g]`.
    Mean(Vec<[f64; 2]>),
    /// Its root.
    RootOfMean(Vec<[f64; 2]>),
    /// Cross-entropy, rows and positives of each group.
    Entropy(Vec<[f64; 3]>),
    Bins(Bins),
    Pairs(Box<Ordered>),
}

/// XAUC: of all rows, and of resamples, for which rows are put in order when one is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    sample: Sample,
    scores: Arc<[f32]>,
    pairs: OnceLock<Pairs>,
}

impl Ordered {
    fn new(sample: &Sample, scores: &[f32]) -> Self {
        Self { sample: sample.clone(), scores: scores.into(), pairs: OnceLock::new() }
    }

    fn whole(&self) -> Option<f64> {
        if self.sample.own_weights().is_some() {
            return self.pairs().in_order(&vec![1; self.sample.groups()]);
        }
        let of_place = |place: usize| (self.sample.score(&self.scores, place), self.sample.label(place));
        inversions::xauc((0..self.sample.len()).map(of_place))
    }

    /// Put in order outside of the lock: who sorts on several threads may be given the work of one that asks for the same.
    fn pairs(&self) -> &Pairs {
        if self.pairs.get().is_none() {
            drop(self.pairs.set(Pairs::new(&self.sample, &self.scores)));
        }
        self.pairs.get().expect("set above, by this thread or another")
    }
}

impl Prepared {
    /// Of each of these metrics, in their order.
    pub(super) fn all(
        sample: &Sample,
        scores: &[f32],
        metrics: impl Iterator<Item = Metric> + Clone,
    ) -> Vec<(Metric, Self)> {
        let within: Vec<Metric> = metrics.clone().filter(|metric| metric.is_within_groups()).collect();
        let mut within = within_groups::means(sample, scores, &within).into_iter();
        let mut one = |metric| match metric {
            Metric::Logloss => Self::Mean(sample.sums(scores, cross_entropy)),
            Metric::Ne => {
                let (losses, positives) = (sample.sums(scores, cross_entropy), sample.sums(scores, |_, y| y));
                Self::Entropy(losses.into_iter().zip(positives).map(|([loss, n], [p, _])| [loss, n, p]).collect())
            }
            Metric::Ece => Self::Bins(Bins::new(sample, scores)),
            Metric::Rmse => Self::RootOfMean(sample.sums(scores, |s, y| (s - y) * (s - y))),
            Metric::Mae => Self::Mean(sample.sums(scores, |s, y| (s - y).abs())),
            Metric::Accuracy => Self::Mean(sample.sums(scores, |s, y| f64::from(u8::from((s - y).abs() < 0.5)))),
            Metric::Xauc => Self::Pairs(Ordered::new(sample, scores).into()),
            Metric::Ndcg(_) | Metric::Mrr | Metric::Recall(_) | Metric::HitRate(_) => {
                Self::Mean(within.next().expect("one of every metric within groups"))
            }
            Metric::Auc | Metric::Gauc | Metric::PrAuc => unreachable!("measured on rows in the order of their scores"),
        };
        metrics.map(|metric| (metric, one(metric))).collect()
    }

    /// Of all rows, each group once.
    pub(super) fn whole(&self, groups: usize) -> Option<f64> {
        match self {
            Self::Pairs(ordered) => ordered.whole(),
            other => other.value(&vec![1; groups]),
        }
    }

    /// Does what every resample needs once.
    pub(super) fn make_ready(&self) {
        if let Self::Pairs(ordered) = self {
            ordered.pairs();
        }
    }

    /// With every group as often as it is counted.
    pub(super) fn value(&self, counts: &[u8]) -> Option<f64> {
        match self {
            Self::Mean(parts) => ratio(parts, counts),
            Self::RootOfMean(parts) => ratio(parts, counts).map(f64::sqrt),
            Self::Entropy(parts) => {
                let [loss, rows, positives] = sums(parts, counts);
                let p = positives / rows;
                let entropy = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
                (0.0 < p && p < 1.0).then(|| loss / rows / entropy)
            }
            Self::Bins(bins) => bins.error(counts),
            Self::Pairs(ordered) => ordered.pairs().in_order(counts),
        }
    }
}

/// Of a probability `s`, in nats.
fn cross_entropy(s: f64, y: f64) -> f64 {
    loss(s as f32, y > 0.5)
}

/// `sum_g c_g a_g / sum_g c_g b_g` of parts `[a_g, b_g]`. `None` where the denominator is 0.
fn ratio(parts: &[[f64; 2]], counts: &[u8]) -> Option<f64> {
    let [above, below] = sums(parts, counts);
    (below > 0.0).then(|| above / below)
}

/// `sum_g c_g a_g` of parts `a_g`.
fn sums<const N: usize>(parts: &[[f64; N]], counts: &[u8]) -> [f64; N] {
    let mut sums = [0.0; N];
    for (part, &count) in parts.iter().zip(counts) {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += f64::from(count) * part);
    }
    sums
}
