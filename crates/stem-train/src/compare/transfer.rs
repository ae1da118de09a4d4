//! Who gains: every model's AUC less single-task's on the same rows, for all users and stratum by stratum.

use std::path::Path;

use stem_data::{Dataset, Split};

use super::measure::Tested;
use super::strata::Pair;
use crate::analysis::{Bootstrap, Ranked, Sample};
use crate::error::{Error, Result};
use crate::inspect::{column, task_names};
use crate::metrics::TaskMetrics;
use crate::report::{Interval, ModelReport, PairReport, StratumModel, StratumReport, StratumTask};
use crate::run::RunOptions;

/// Fills in the transfer of every model and task, and gives the strata of every pair.
///
/// # Errors
/// [`Error::Stopped`].
pub(super) fn fill(
    models: &mut [ModelReport],
    compared: &Compared<'_>,
    pairs: &[Pair],
    out: &Path,
    options: &RunOptions,
) -> Result<Vec<PairReport>> {
    let tasks = task_names(compared.dataset.schema());
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let all = tasks.len() + 6 * pairs.len();
    let bar = options.progress.pieces("intervals", all);
    let mut done = 0;
    let mut counted = |intervals| {
        bar.advance(1);
        done += 1;
        if options.stop.is_set() && done < all {
            return Err(Error::Stopped { what: "intervals (and all runs)", done, all, folder: out.to_path_buf() });
        }
        Ok(intervals)
    };
    for t in 0..tasks.len() {
        let intervals = counted(compared.transfer(t, None))?;
        models.iter_mut().zip(intervals).for_each(|(model, interval)| model.tasks[t].transfer = interval);
    }
    let mut told = Vec::new();
    for pair in pairs {
        let mut strata = Vec::new();
        for (stratum, name) in pair.parts() {
            let rows = pair.strata.rows_in(stratum);
            let mut of_models: Vec<StratumModel> =
                names.iter().map(|model| StratumModel { model: model.clone(), tasks: Vec::new() }).collect();
            for t in pair.tasks {
                let intervals = counted(compared.transfer(t, Some(&rows)))?;
                for (m, transfer) in intervals.into_iter().enumerate() {
                    let numbers = compared.numbers(m, t, &rows);
                    of_models[m].tasks.push(StratumTask { task: tasks[t].clone(), transfer, ..numbers });
                }
            }
            strata.push(StratumReport { name: name.into(), rows: rows.len() as u64, models: of_models });
        }
        let [a, b] = pair.tasks.map(|t| tasks[t].clone());
        told.push(PairReport { a, b, cuts: pair.strata.cuts, unassigned: pair.strata.unassigned as u64, strata });
    }
    Ok(told)
}

/// What the models predict, and which of them the others are held against.
pub(super) struct Compared<'a> {
    pub tested: &'a [Tested],
    pub reference: usize,
    pub dataset: &'a Dataset,
    pub bootstrap: Bootstrap,
}

impl Compared<'_> {
    fn tasks(&self) -> usize {
        self.dataset.schema().tasks.len()
    }

    /// Of every model on some of the test rows; none of the reference itself.
    fn transfer(&self, t: usize, rows: Option<&[u32]>) -> Vec<Option<Interval>> {
        let tasks = self.tasks();
        let labels = column(self.dataset.labels(Split::Test), t, tasks);
        let sample = Sample::new(&labels, self.dataset.groups(Split::Test).unwrap_or_default(), rows);
        let rank = |seeds: &Tested| -> Vec<Ranked> {
            seeds.iter().map(|scores| sample.rank(&column(scores, t, tasks))).collect()
        };
        let ranked: Vec<Vec<Ranked>> = self.tested.iter().map(rank).collect();
        let intervals = self.bootstrap.paired(&ranked[self.reference], &ranked);
        let told = |interval: crate::analysis::Interval| Interval {
            mean: interval.mean,
            low: interval.low,
            high: interval.high,
        };
        let others = intervals.into_iter().enumerate();
        others.map(|(m, interval)| interval.filter(|_| m != self.reference).map(told)).collect()
    }

    /// Metrics of a model on some of the test rows, seeds averaged.
    fn numbers(&self, model: usize, t: usize, rows: &[u32]) -> StratumTask {
        let tasks = self.tasks();
        let of = |values: &[f32]| -> Vec<f32> { rows.iter().map(|&row| values[row as usize * tasks + t]).collect() };
        let labels = of(self.dataset.labels(Split::Test));
        let groups: Option<Vec<u32>> =
            self.dataset.groups(Split::Test).map(|groups| rows.iter().map(|&row| groups[row as usize]).collect());
        let seeds = self.tested[model].iter();
        let metrics: Vec<TaskMetrics> =
            seeds.map(|scores| TaskMetrics::of(&of(scores), &labels, groups.as_deref())).collect();
        let mean = |metric: fn(&TaskMetrics) -> Option<f64>| {
            let sum: Option<f64> = metrics.iter().map(metric).sum();
            sum.map(|sum| sum / metrics.len().max(1) as f64)
        };
        StratumTask {
            positives: labels.iter().filter(|y| **y > 0.5).count() as u64,
            auc: mean(|m| m.auc),
            gauc: mean(|m| m.gauc),
            logloss: mean(|m| m.logloss),
            calibration: mean(|m| m.calibration),
            ..StratumTask::default()
        }
    }
}
