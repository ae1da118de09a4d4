//! From a model's score to one that can be taken at its word: a map for each task, fitted on rows that were not trained on, kept in the
//! bundle, and applied by whoever scores with it.

use serde::{Deserialize, Serialize};

use crate::schema::{Task, TaskKind};

/// What is done to the scores of a task. All keep their order; an isotonic map may make neighbours equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Calibration {
    /// `p' = sigmoid(slope * logit(p) + offset)` (Platt, 1999, on logits), of probabilities.
    Platt {
        /// Above 0.
        slope: f64,
        /// Any number.
        offset: f64,
    },
    /// `s' = slope * s + offset`, of scores that are numbers.
    Linear {
        /// Above 0.
        slope: f64,
        /// Any number.
        offset: f64,
    },
    /// Lines between points `(score, probability)`, level before the first and after the last (isotonic regression: Zadrozny and Elkan,
    /// 2002).
    Isotonic {
        /// Ascending; of probabilities between 0 and 1.
        scores: Vec<f32>,
        /// As many, never falling; of probabilities between 0 and 1, else numbers of the label's unit.
        probabilities: Vec<f32>,
    },
}

/// Probabilities are kept so far from 0 and 1 before their logit is taken.
const NEAREST: f64 = 1e-7;

impl Calibration {
    /// What a score stands for.
    pub fn apply(&self, score: f32) -> f32 {
        match self {
            Self::Platt { slope, offset } => {
                let z = slope * logit(f64::from(score)) + offset;
                (1.0 / (1.0 + (-z).exp())) as f32
            }
            Self::Linear { slope, offset } => (slope * f64::from(score) + offset) as f32,
            Self::Isotonic { scores, probabilities } => {
                let next = scores.partition_point(|point| *point < score);
                match (next.checked_sub(1), scores.get(next)) {
                    (_, None) => probabilities.last().copied().unwrap_or(score),
                    (None, Some(_)) => probabilities[0],
                    (Some(before), Some(after)) => {
                        let (low, high) = (probabilities[before], probabilities[next]);
                        low + (high - low) * ((score - scores[before]) / (after - scores[before]))
                    }
                }
            }
        }
    }

    /// What it must be and is not, to map scores of such a task to ones; `None` where it does.
    pub(crate) fn fault(&self, kind: &TaskKind) -> Option<&'static str> {
        let is_fit = |value: &f32| if kind.is_binary() { (0.0..=1.0).contains(value) } else { value.is_finite() };
        let within = |values: &[f32]| values.iter().all(is_fit);
        match self {
            Self::Platt { .. } if !kind.is_binary() => Some("a map of numbers: linear or isotonic"),
            Self::Linear { .. } if kind.is_binary() => Some("a map of probabilities: platt or isotonic"),
            Self::Platt { slope, offset } | Self::Linear { slope, offset } => {
                (!(slope.is_finite() && *slope > 0.0 && offset.is_finite())).then_some("a slope above 0 and an offset")
            }
            Self::Isotonic { scores, probabilities } => {
                let rises = scores.windows(2).all(|pair| pair[0] < pair[1]);
                let never_falls = probabilities.windows(2).all(|pair| pair[0] <= pair[1]);
                let fits = !scores.is_empty() && scores.len() == probabilities.len();
                let holds = fits && rises && never_falls && within(scores) && within(probabilities);
                (!holds).then_some("points whose scores rise and whose probabilities never fall, all within 0 and 1 where labels are 0 and 1")
            }
        }
    }
}

/// `log(p / (1 - p))`, of a probability that is kept away from 0 and 1.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(NEAREST, 1.0 - NEAREST);
    (p / (1.0 - p)).ln()
}

/// Makes of scores `[B, T]` what each task's map makes of them, and nothing that its label cannot be.
pub(crate) fn calibrate<'c>(
    scores: &mut [f32],
    tasks: &[Task],
    maps: impl IntoIterator<Item = Option<&'c Calibration>>,
) {
    for (place, map) in maps.into_iter().enumerate() {
        if let Some(map) = map {
            let own = scores.iter_mut().skip(place).step_by(tasks.len());
            own.for_each(|score| *score = tasks[place].kind.bound(map.apply(*score)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platt_map_scales_and_shifts_the_logit() {
        let same = Calibration::Platt { slope: 1.0, offset: 0.0 };
        assert!([0.001f32, 0.3, 0.5, 0.999].iter().all(|&p| (same.apply(p) - p).abs() < 1e-6));
        let halved = Calibration::Platt { slope: 1.0, offset: (0.5f64).ln() }; // half the odds
        assert!((halved.apply(0.5) - 1.0 / 3.0).abs() < 1e-6);
        assert!(same.apply(0.0) > 0.0 && same.apply(1.0) <= 1.0);
    }

    #[test]
    fn an_isotonic_map_is_level_at_its_ends_and_straight_between_points() {
        let map = Calibration::Isotonic { scores: vec![0.2, 0.4, 0.8], probabilities: vec![0.1, 0.1, 0.5] };
        let found = [0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0].map(|score| map.apply(score));
        let expected = [0.1, 0.1, 0.1, 0.1, 0.3, 0.5, 0.5];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        let one = Calibration::Isotonic { scores: vec![0.5], probabilities: vec![0.25] };
        assert_eq!([0.1, 0.5, 0.9].map(|score| one.apply(score)), [0.25; 3]);
    }

    #[test]
    fn what_is_no_map_of_probabilities_says_what_is_expected() {
        let isotonic = |scores: &[f32], probabilities: &[f32]| {
            Calibration::Isotonic { scores: scores.into(), probabilities: probabilities.into() }
                .fault(&TaskKind::Binary)
        };
        assert_eq!(isotonic(&[0.1, 0.2], &[0.3, 0.3]), None);
        for (scores, probabilities) in [
            (&[][..], &[][..]),
            (&[0.1], &[]),
            (&[0.2, 0.1], &[0.1, 0.2]),
            (&[0.1, 0.2], &[0.2, 0.1]),
            (&[0.1], &[1.5]),
        ] {
            assert!(isotonic(scores, probabilities).is_some(), "{scores:?} {probabilities:?}");
        }
        let platt = |slope, offset| Calibration::Platt { slope, offset }.fault(&TaskKind::Binary);
        assert_eq!(platt(0.5, -3.0), None);
        let count = TaskKind::Count { scale: 1.0 };
        let linear = Calibration::Linear { slope: 2.0, offset: -1.0 };
        assert_eq!((linear.fault(&count), linear.apply(3.0)), (None, 5.0));
        assert!(linear.fault(&TaskKind::Binary).is_some());
        assert!(Calibration::Platt { slope: 1.0, offset: 0.0 }.fault(&count).is_some());
        let seconds = Calibration::Isotonic { scores: vec![1.0, 9.0], probabilities: vec![2.0, 30.0] };
        assert!(seconds.fault(&count).is_none() && seconds.fault(&TaskKind::Binary).is_some());
        assert!(platt(0.0, 0.0).is_some() && platt(f64::NAN, 0.0).is_some() && platt(1.0, f64::INFINITY).is_some());
    }
}
