//! Successive halving: all configurations for few epochs, the best of them for more, until one would be left.
//!
//! ```text
//! trials_r = ceil(n / keep^r)
//! epochs_r = min(first_epochs * keep^r, most_epochs)              r = 0, 1, ...
//! ```
//!
//! The last rung is the last of two configurations or more, or the first of `most_epochs`; the best of it wins. A rung of one
//! configuration would decide nothing: the winner is trained in full anyway. Every rung trains afresh.
//!
//! Source: Jamieson and Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization*, AISTATS 2016.

use std::iter;

use serde::Serialize;

/// So many configurations, each for so many epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Configurations at most: what diverged leaves its place empty.
    pub trials: usize,
    /// Epochs of each at most: fewer where it stops early.
    pub epochs: usize,
}

/// The rungs of a search, from many configurations to few.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rungs(Vec<Rung>);

impl Rungs {
    /// For `trials` configurations, of every `keep` of which one goes on with `keep` times the epochs, up to `most_epochs`. No
    /// rungs for a single configuration; `keep` counts as 2 or more, epochs as 1 or more.
    pub fn new(trials: usize, first_epochs: usize, keep: usize, most_epochs: usize) -> Self {
        let (keep, most) = (keep.max(2), most_epochs.max(1));
        let first = Rung { trials, epochs: first_epochs.clamp(1, most) };
        let next = |rung: &Rung| {
            let epochs = rung.epochs.saturating_mul(keep).min(most);
            (rung.epochs < most).then_some(Rung { trials: rung.trials.div_ceil(keep), epochs })
        };
        Self(iter::successors(Some(first), next).take_while(|rung| rung.trials > 1).collect())
    }

    /// The rungs in their order.
    pub fn as_slice(&self) -> &[Rung] {
        &self.0
    }

    /// Epochs of all configurations of a model together, at most.
    pub fn budget(&self) -> usize {
        self.0.iter().map(|rung| rung.trials.saturating_mul(rung.epochs)).fold(0, usize::saturating_add)
    }
}

/// Which configurations go on, best first: those of the `keep_count` highest scores, of equal ones the earlier. A configuration
/// without a score (undefined or diverged) never does, unless none has one: then the first does.
pub fn survivors(scores: &[Option<f64>], keep_count: usize) -> Vec<usize> {
    let score = |i: usize| scores[i].filter(|score| !score.is_nan());
    let mut scored: Vec<(usize, f64)> = (0..scores.len()).filter_map(|i| Some((i, score(i)?))).collect();
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a)); // stable
    if scored.is_empty() {
        return (0..scores.len().min(1)).collect();
    }
    scored.into_iter().map(|(i, _)| i).take(keep_count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(trials: usize, first_epochs: usize, keep: usize, most_epochs: usize) -> Vec<(usize, usize)> {
        let rungs = Rungs::new(trials, first_epochs, keep, most_epochs);
        rungs.as_slice().iter().map(|rung| (rung.trials, rung.epochs)).collect()
    }

    #[test]
    fn every_rung_has_a_part_of_the_configurations_and_as_many_times_the_epochs() {
        assert_eq!(rungs(27, 1, 3, 20), [(27, 1), (9, 3), (3, 9)]);
        assert_eq!(rungs(16, 2, 2, 100), [(16, 2), (8, 4), (4, 8), (2, 16)]);
    }

    #[test]
    fn of_a_number_that_does_not_divide_one_more_goes_on() {
        assert_eq!(rungs(10, 1, 3, 20), [(10, 1), (4, 3), (2, 9)]);
    }

    #[test]
    fn the_rungs_end_before_one_configuration_would_be_left() {
        assert_eq!(rungs(9, 2, 3, 20), [(9, 2), (3, 6)]);
        assert_eq!(rungs(3, 2, 3, 20), [(3, 2)]);
        assert_eq!(rungs(1, 2, 3, 20), []);
        assert_eq!(rungs(0, 2, 3, 20), []);
    }

    #[test]
    fn the_rungs_end_with_the_first_that_trains_in_full() {
        assert_eq!(rungs(81, 2, 3, 10), [(81, 2), (27, 6), (9, 10)]);
        assert_eq!(rungs(81, 2, 3, 6), [(81, 2), (27, 6)]);
        assert_eq!(rungs(81, 30, 3, 10), [(81, 10)]);
    }

    #[test]
    fn the_budget_is_the_epochs_of_all_rungs() {
        assert_eq!(Rungs::new(9, 2, 3, 20).budget(), 9 * 2 + 3 * 6);
        assert_eq!(Rungs::new(81, 2, 3, 10).budget(), 81 * 2 + 27 * 6 + 9 * 10);
        assert_eq!(Rungs::new(1, 2, 3, 20).budget(), 0);
        assert_eq!(Rungs::new(usize::MAX, 2, 3, usize::MAX).budget(), usize::MAX);
    }

    #[test]
    fn senseless_sizes_make_rungs_that_end() {
        assert_eq!(rungs(4, 0, 0, 0), [(4, 1)]);
        assert_eq!(rungs(4, 0, 1, 3), [(4, 1), (2, 2)]);
    }

    #[test]
    fn the_best_go_on_and_of_equals_the_earlier() {
        assert_eq!(survivors(&[Some(0.6), Some(0.8), Some(0.7), Some(0.8)], 3), [1, 3, 2]);
        assert_eq!(survivors(&[Some(0.7), Some(0.7), Some(0.7)], 2), [0, 1]);
        assert_eq!(survivors(&[Some(0.7), Some(0.8)], 5), [1, 0]);
    }

    #[test]
    fn what_has_no_score_does_not_go_on_unless_nothing_has_one() {
        assert_eq!(survivors(&[None, Some(0.5), Some(f64::NAN), Some(0.6)], 3), [3, 1]);
        assert_eq!(survivors(&[None, Some(f64::NAN)], 2), [0]);
        assert_eq!(survivors(&[], 2), [0; 0]);
    }
}
