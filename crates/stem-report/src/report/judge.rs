//! What numbers mean: whether tasks gain from sharing, and which models cannot be told apart.

use super::data::{Interval, ModelReport, PairReport, Report, Spread, StratumTask};
use super::number::sd;

/// What sharing does to a task, by whether the 95 % interval of the difference excludes zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Above single-task: the interval is above zero.
    Positive,
    /// Below single-task: the interval is below zero.
    Negative,
    /// The interval includes zero.
    NoEvidence,
}

impl Transfer {
    /// Of an interval; `None` if an end is not finite.
    pub fn of(interval: &Interval) -> Option<Self> {
        let known = [interval.mean, interval.low, interval.high].iter().all(|v| v.is_finite());
        known.then(|| {
            let (low, high) = (interval.low.min(interval.high), interval.low.max(interval.high));
            if low > 0.0 {
                Self::Positive
            } else if high < 0.0 {
                Self::Negative
            } else {
                Self::NoEvidence
            }
        })
    }

    /// For a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::NoEvidence => "no evidence",
        }
    }
}

/// An interval all of whose numbers are finite.
pub(super) fn known(interval: Option<Interval>) -> Option<Interval> {
    interval.filter(|i| Transfer::of(i).is_some())
}

/// A model that has an AUC on a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// Its place among the report's models.
    pub index: usize,
    /// The model.
    pub model: &'a ModelReport,
    /// Its AUC.
    pub auc: &'a Spread,
    /// Its AUC less the reference's.
    pub transfer: Option<Interval>,
}

impl Candidate<'_> {
    /// Whether it transfers positively, and is better than guessing.
    pub fn gains(&self) -> bool {
        self.auc.mean > 0.5 && self.transfer.and_then(|i| Transfer::of(&i)) == Some(Transfer::Positive)
    }

    /// Whether seeds cannot tell the two apart: means closer than the larger deviation, or intervals that overlap.
    pub fn ties(&self, other: &Self) -> bool {
        let overlap = match (self.transfer, other.transfer) {
            (Some(a), Some(b)) => a.low <= b.high && b.low <= a.high,
            _ => false,
        };
        overlap || close(self.auc, other.auc)
    }
}

/// Whether two means are closer than the larger of their deviations.
pub(super) fn close(a: &Spread, b: &Spread) -> bool {
    let apart = (a.mean - b.mean).abs();
    apart == 0.0 || apart < sd(a).unwrap_or(0.0).max(sd(b).unwrap_or(0.0))
}

/// The place of the single-task model, if there is another to compare with it.
pub(super) fn reference(report: &Report) -> Option<usize> {
    let name = report.reference.as_ref().filter(|_| report.models.len() > 1)?;
    report.models.iter().position(|model| model.name == *name)
}

/// Every model with an AUC on task `t`, the highest first.
pub(super) fn candidates<'a>(report: &'a Report, t: usize) -> Vec<Candidate<'a>> {
    let of = |(index, model): (usize, &'a ModelReport)| {
        let task = model.tasks.get(t)?;
        let auc = task.auc.as_ref().filter(|auc| auc.mean.is_finite())?;
        Some(Candidate { index, model, auc, transfer: known(task.transfer) })
    };
    let mut found: Vec<Candidate<'a>> = report.models.iter().enumerate().filter_map(of).collect();
    found.sort_by(|a, b| b.auc.mean.total_cmp(&a.auc.mean));
    found
}

/// The best of several and all that tie with it; first the one with the fewest parameters, of those that are not to be avoided
/// if there are any, then by AUC.
pub(super) fn leaders<'a>(descending: &[Candidate<'a>], avoid: impl Fn(&Candidate<'a>) -> bool) -> Vec<Candidate<'a>> {
    let Some(best) = descending.first() else { return Vec::new() };
    let mut tied: Vec<Candidate<'a>> =
        descending.iter().filter(|c| c.index == best.index || c.ties(best)).copied().collect();
    if let Some(first) = (0..tied.len()).min_by_key(|&i| (avoid(&tied[i]), tied[i].model.parameters)) {
        tied[..=first].rotate_right(1);
    }
    tied
}

/// A task's numbers of one model in every stratum of a pair: name of the stratum, its rows, the numbers.
pub(super) fn strata<'a>(pair: &'a PairReport, model: &str, task: &str) -> Vec<(&'a str, u64, &'a StratumTask)> {
    let of = |stratum: &'a super::data::StratumReport| {
        let model = stratum.models.iter().find(|m| m.model == model)?;
        let task = model.tasks.iter().find(|t| t.task == task)?;
        Some((stratum.name.as_str(), stratum.rows, task))
    };
    pair.strata.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::TaskReport;

    fn model(name: &str, parameters: u64, mean: f64, sd: f64, transfer: Option<(f64, f64)>) -> ModelReport {
        let transfer = transfer.map(|(low, high)| Interval { mean: (low + high) / 2.0, low, high });
        let auc = Some(Spread { mean, sd, values: vec![mean - sd, mean + sd] });
        let tasks = vec![TaskReport { auc, transfer, ..TaskReport::default() }];
        ModelReport { name: name.into(), parameters, tasks, ..ModelReport::default() }
    }

    #[test]
    fn transfer_is_called_by_whether_the_interval_excludes_zero() {
        let of = |low, high| Transfer::of(&Interval { mean: (low + high) / 2.0, low, high });
        assert_eq!(of(0.001, 0.002), Some(Transfer::Positive));
        assert_eq!(of(-0.002, -0.001), Some(Transfer::Negative));
        assert_eq!(of(0.0, 0.002), Some(Transfer::NoEvidence));
        assert_eq!(of(f64::NAN, 0.002), None);
        assert_eq!(of(f64::NEG_INFINITY, 0.002), None);
    }

    #[test]
    fn the_cheapest_of_the_tied_comes_first() {
        let models = vec![
            model("wide", 900, 0.790, 0.002, Some((0.010, 0.030))),
            model("slim", 100, 0.789, 0.001, Some((0.009, 0.029))),
            model("low", 10, 0.700, 0.001, Some((-0.090, -0.070))),
        ];
        let report = Report { models, tasks: vec!["a".into()], ..Report::default() };
        let leaders = leaders(&candidates(&report, 0), |_| false);
        assert_eq!(leaders.iter().map(|c| c.model.name.as_str()).collect::<Vec<_>>(), ["slim", "wide"]);
    }

    #[test]
    fn models_apart_by_more_than_both_deviations_do_not_tie() {
        let spread = |mean, sd| Spread { mean, sd, values: vec![0.0; 3] };
        assert!(!close(&spread(0.79, 0.001), &spread(0.78, 0.002)));
        assert!(close(&spread(0.79, 0.001), &spread(0.78, 0.02)));
        assert!(close(&Spread { mean: 0.5, sd: f64::NAN, values: vec![] }, &spread(0.5, 0.0)));
        assert!(!close(&spread(f64::NAN, 0.1), &spread(0.5, 0.1)));
    }

    #[test]
    fn models_without_a_finite_auc_are_no_candidates() {
        let report =
            Report { models: vec![model("nan", 1, f64::NAN, 0.0, None), ModelReport::default()], ..Report::default() };
        assert!(candidates(&report, 0).is_empty());
        assert!(leaders(&[], |_| false).is_empty());
    }
}
