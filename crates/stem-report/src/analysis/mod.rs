//! What a comparison of models rests on, on plain slices. Undefined is `None`.
//!
//! | question | answer |
//! |---|---|
//! | how well does a model rank? is it better than another, or is it luck? | [`Sample`], [`LabelKind`], [`Ranked`], [`Metric`], [`Bootstrap`] |
//! | on whose samples? | [`Shares`], [`Strata`] |
//! | how alike are two representations? | [`linear_cka`] |
//! | how many directions does one use, and what does it look like? | [`effective_rank`], [`singular_values`], [`project`] |
//! | what do ranking and calibration look like? | [`roc_curve`], [`calibration_curve`] |

mod label;
mod metric;
mod sample;
mod order;
mod within_groups;
mod bins;
mod inversions;
mod pairs;
mod prepared;
mod ranked;
mod bootstrap;
mod luck;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod naive;
mod strata;
mod matrix;
mod cka;
mod jacobi;
mod spectrum;
mod curves;

pub use bootstrap::{Bootstrap, Difference, Interval};
pub use cka::linear_cka;
pub use curves::{CalibrationBin, calibration_curve, roc_curve};
pub use label::LabelKind;
pub use luck::student;
pub use metric::{Metric, UnknownMetric};
pub use ranked::Ranked;
pub use sample::Sample;
pub use spectrum::{Projection, effective_rank, project, singular_values};
pub use strata::{Shares, Strata, Stratum};

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// AUC by its definition, pair by pair; NaN labels take no part.
    pub(super) fn by_pairs(scores: &[f32], labels: &[f32]) -> Option<f64> {
        let of = |class: f32| scores.iter().zip(labels).filter(move |(_, y)| **y == class).map(|(s, _)| *s);
        let pairs = of(1.0).count() * of(0.0).count();
        let worth = |p: f32, n: f32| f64::from(u8::from(p > n)) + f64::from(u8::from(p == n)) / 2.0;
        let won: f64 = of(1.0).flat_map(|p| of(0.0).map(move |n| worth(p, n))).sum();
        (pairs > 0).then(|| won / pairs as f64)
    }

    /// Independent, of variance 1.
    pub(super) fn gaussian(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    }
}
