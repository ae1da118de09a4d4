//! What numbers mean: whether tasks gain from sharing, and which models cannot be told apart.

use super::data::{Interval, Metric, ModelReport, PairReport, Report, Spread, StratumTask, TaskReport};
use super::number::sd;
use super::training;

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

/// A model that has the metric that decides on a task.
#[derive(Debug, Clone)]
pub(super) struct ModelOnTask<'a> {
    /// Its place among the report's models.
    pub index: usize,
    /// The model.
    pub model: &'a ModelReport,
    /// What decides.
    pub metric: Metric,
    /// The metric on the test split.
    pub score: &'a Spread,
    /// What models are put in order by: the metric on the validation split where all models have it, or else on the test split.
    pub choice: &'a Spread,
    /// Whether that is the validation split.
    pub validated: bool,
    /// AUC on the test split.
    pub auc: Option<&'a Spread>,
    /// The metric on the test split, had one stopping point been kept for all tasks.
    pub joint: Option<&'a Spread>,
    /// How much better it is than the reference, and the interval over users and seeds.
    pub transfer: Option<Interval>,
    /// The same seed by seed; empty where there is no reference with the same seeds.
    pub by_seed: Vec<f64>,
    /// Trainings whose last allowed epoch was still the best.
    pub ran_out: usize,
}

/// Seeds that must agree before a gain is more than the luck of a training.
pub(super) const SEEDS: usize = 2;

impl ModelOnTask<'_> {
    /// Whether it is better than guessing and than the reference: by the interval over users and seeds, and with every one of two seeds
    /// or more. A gain that is mostly one seed's makes an interval that holds zero.
    pub fn gains(&self) -> bool {
        self.gains_by_interval() && self.gains_with_every_seed()
    }

    /// Whether its interval is above zero, and it is better than guessing.
    pub fn gains_by_interval(&self) -> bool {
        self.ranks() && self.call() == Some(Transfer::Positive)
    }

    /// Whether it is above the reference with every seed, of two or more.
    pub fn gains_with_every_seed(&self) -> bool {
        self.by_seed.len() >= SEEDS && self.by_seed.iter().all(|difference| *difference > 0.0)
    }

    /// What its interval says.
    pub fn call(&self) -> Option<Transfer> {
        self.transfer.and_then(|i| Transfer::of(&i))
    }

    /// Whether it ranks better than guessing, as far as that is known.
    fn ranks(&self) -> bool {
        let guesses = |spread: &Spread| spread.mean <= 0.5;
        let is_auc = matches!(self.metric, Metric::Auc | Metric::Gauc | Metric::Xauc);
        let is_a_guess = self.auc.is_some_and(guesses) || is_auc && guesses(self.score);
        !is_a_guess
    }

    /// Whether users and seeds cannot tell the two apart: intervals that overlap, or means closer than the larger deviation.
    pub fn ties(&self, other: &Self) -> bool {
        let overlap = match (self.transfer, other.transfer) {
            (Some(a), Some(b)) => a.low <= b.high && b.low <= a.high,
            _ => false,
        };
        overlap || close(self.choice, other.choice)
    }

    /// How much better than the reference it is, and how much it would be with one stopping point for all tasks; `None` where that is
    /// what was kept.
    pub fn with_one_stopping_point(&self, reference: &Self) -> Option<[f64; 2]> {
        let joint = self.joint?;
        let kept = self.transfer.map_or_else(|| self.metric.gain(self.score.mean, reference.score.mean), |i| i.mean);
        Some([kept, kept - self.metric.gain(self.score.mean, joint.mean)])
    }

    /// How much better it was than another where models are chosen.
    pub fn ahead_of(&self, other: &Self) -> f64 {
        self.metric.gain(self.choice.mean, other.choice.mean)
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

/// The metric of a task on the test split.
pub(super) fn measured(task: &TaskReport, metric: Metric) -> Option<&Spread> {
    finite(task.get(metric))
}

fn finite(spread: Option<&Spread>) -> Option<&Spread> {
    spread.filter(|spread| spread.mean.is_finite())
}

/// Whether all models that have the metric on task `t` have it on the validation split, too.
pub(super) fn chosen_on_validation(report: &Report, t: usize) -> bool {
    let tasks = report.models.iter().filter_map(|model| model.tasks.get(t));
    let mut measured = tasks.filter(|task| measured(task, report.metric_of(t)).is_some()).peekable();
    measured.peek().is_some() && measured.all(|task| finite(task.valid.as_ref()).is_some())
}

/// Every model with the metric on task `t`, the best first: by the validation split where it is known, or else by the test split.
pub(super) fn models_on_task<'a>(report: &'a Report, t: usize) -> Vec<ModelOnTask<'a>> {
    let metric = report.metric_of(t);
    let on_validation = chosen_on_validation(report, t);
    let score = |model: &'a ModelReport| measured(model.tasks.get(t)?, metric);
    let against = reference(report).and_then(|index| score(&report.models[index]));
    let by_seed = |own: &Spread| match against {
        Some(against) if against.values.len() == own.values.len() => {
            own.values.iter().zip(&against.values).map(|(own, against)| metric.gain(*own, *against)).collect()
        }
        _ => Vec::new(),
    };
    let of = |(index, model): (usize, &'a ModelReport)| {
        let (score, task) = (score(model)?, &model.tasks[t]);
        Some(ModelOnTask {
            index,
            model,
            metric,
            score,
            choice: finite(task.valid.as_ref()).filter(|_| on_validation).unwrap_or(score),
            auc: finite(task.auc.as_ref()),
            validated: on_validation,
            joint: finite(task.joint.as_ref()),
            transfer: known(task.transfer),
            by_seed: by_seed(score),
            ran_out: model.learning.iter().filter(|curve| training::ran_out(curve, t, metric)).count(),
        })
    };
    let mut found: Vec<ModelOnTask<'a>> = report.models.iter().enumerate().filter_map(of).collect();
    let rank = |c: &ModelOnTask<'_>| metric.goodness(c.choice.mean);
    found.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    found
}

/// The best of several and all that tie with it; first the one with the fewest parameters, of those that are not to be avoided
/// if there are any, then by the metric.
pub(super) fn leaders<'a>(
    descending: &[ModelOnTask<'a>],
    avoid: impl Fn(&ModelOnTask<'a>) -> bool,
) -> Vec<ModelOnTask<'a>> {
    let Some(best) = descending.first() else { return Vec::new() };
    let mut tied: Vec<ModelOnTask<'a>> =
        descending.iter().filter(|c| c.index == best.index || c.ties(best)).cloned().collect();
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
        let leaders = leaders(&models_on_task(&report, 0), |_| false);
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
    fn a_gain_needs_the_interval_and_every_one_of_two_seeds_or_more() {
        let gains = |seeds: &[f64], reference: &[f64], transfer: (f64, f64)| {
            let of = |name: &str, values: &[f64], transfer| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let mut model = model(name, 1, mean, 0.0, transfer);
                model.tasks[0].auc.as_mut().unwrap().values = values.to_vec();
                model
            };
            let models = vec![of("stem", seeds, Some(transfer)), of("single-task", reference, None)];
            let reference = Some("single-task".into());
            let report = Report { models, reference, tasks: vec!["a".into()], ..Report::default() };
            let all = models_on_task(&report, 0);
            all.iter().find(|c| c.model.name == "stem").unwrap().gains()
        };
        let above = (0.01, 0.03);
        assert!(gains(&[0.72, 0.73], &[0.70, 0.71], above));
        assert!(!gains(&[0.72, 0.73], &[0.70, 0.71], (-0.01, 0.03)), "the interval holds zero");
        assert!(!gains(&[0.72], &[0.70], above), "one seed");
        assert!(!gains(&[0.72, 0.73], &[0.70, 0.73], above), "a seed without a gain");
        assert!(!gains(&[0.72, 0.73, 0.74], &[0.70, 0.70], above), "seeds of others");
        assert!(!gains(&[0.49, 0.50], &[0.40, 0.41], above), "no better than guessing");
    }

    #[test]
    fn models_without_a_finite_metric_are_no_candidates() {
        let report =
            Report { models: vec![model("nan", 1, f64::NAN, 0.0, None), ModelReport::default()], ..Report::default() };
        assert!(models_on_task(&report, 0).is_empty());
        assert!(leaders(&[], |_| false).is_empty());
    }
}
