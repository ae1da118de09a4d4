//! A model kept up to date from day to day.

use crate::analysis::Metric;
use serde::{Deserialize, Serialize};

use crate::metrics::TaskMetrics;

/// Several ways to keep a model up to date, each measured on every day before it is trained on that day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Days that are measured, in order; the first model is trained on those before.
    pub days: Vec<String>,
    /// Rows of each of them.
    pub rows: Vec<usize>,
    /// The ways.
    pub ways: Vec<ReplayWay>,
}

/// One way to keep a model up to date.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReplayWay {
    /// Its name.
    pub name: String,
    /// What it does on a day.
    pub does: String,
    /// In the order of [`ReplayReport::days`].
    pub days: Vec<ReplayDay>,
}

/// A day, by a model that has not seen it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReplayDay {
    /// Seconds in the training steps that made the model out of the one of the day before; none where it was not trained.
    pub seconds: f64,
    /// Steps of these trainings, in rows: a row counts as often as it was passed.
    pub rows: u64,
    /// In the order of the report's tasks.
    pub tasks: Vec<TaskMetrics>,
}

impl ReplayDay {
    /// AUC of a task, or XAUC where its label is a number.
    pub fn auc(&self, t: usize) -> Option<f64> {
        let task = self.tasks.get(t)?;
        task.auc.or_else(|| task.get(Metric::Xauc))
    }
}

impl ReplayWay {
    /// The mean of a number over the days that have it.
    pub fn mean(&self, of: impl Fn(&ReplayDay) -> Option<f64>) -> Option<f64> {
        let found: Vec<f64> = self.days.iter().filter_map(of).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }

    /// Mean and standard error over days of a number of this way less that of another on the same days; `None` with fewer than two days.
    pub fn gain(&self, over: &Self, of: impl Fn(&ReplayDay) -> Option<f64>) -> Option<(f64, f64)> {
        let pairs = self.days.iter().zip(&over.days).filter_map(|(own, other)| Some(of(own)? - of(other)?));
        let gains: Vec<f64> = pairs.collect();
        let n = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let variance = gains.iter().map(|gain| (gain - mean) * (gain - mean)).sum::<f64>() / (n - 1.0);
        (gains.len() >= 2).then(|| (mean, (variance / n).sqrt()))
    }

    /// Seconds in training steps, of all days.
    pub fn seconds(&self) -> f64 {
        self.days.iter().map(|day| day.seconds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(values: &[Option<f64>]) -> ReplayWay {
        let day = |auc: &Option<f64>| ReplayDay {
            seconds: 2.0,
            tasks: vec![TaskMetrics { auc: *auc, ..TaskMetrics::default() }],
            ..ReplayDay::default()
        };
        ReplayWay { days: values.iter().map(day).collect(), ..ReplayWay::default() }
    }

    #[test]
    fn ways_are_paired_day_by_day_and_a_day_without_a_number_is_passed_over() {
        let auc = |day: &ReplayDay| day.tasks[0].auc;
        let (a, b) = (way(&[Some(0.7), Some(0.8), None]), way(&[Some(0.6), Some(0.5), Some(0.1)]));
        assert!((a.mean(auc).unwrap() - 0.75).abs() < 1e-12 && a.seconds() == 6.0);
        let (mean, error) = a.gain(&b, auc).unwrap();
        assert!((mean - 0.2).abs() < 1e-12 && (error - 0.1).abs() < 1e-12, "{mean} {error}");
        assert_eq!(way(&[Some(0.7)]).gain(&b, auc), None);
        assert_eq!(way(&[None]).mean(auc), None);
    }
}
