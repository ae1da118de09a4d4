//! Who gains: every model's AUC less single-task's on the same rows, for all users and stratum by stratum.

use std::path::Path;

use rayon::prelude::*;
use stem_data::{Dataset, Split};

use super::measure::TestScores;
use super::strata::Pair;
use crate::error::{Error, Result};
use crate::inspect::spread;
use crate::options::RunOptions;
use stem_report::analysis::{Bootstrap, Difference, Interval, Ranked, Sample};
use stem_report::metrics::{TaskMetrics, column};
use stem_report::report::{ModelReport, PairReport, StratumModel, StratumReport, StratumTask};

/// Groups below which an interval drawn over them is rough, and below which there is none.
const FEW_GROUPS: usize = 50;
const TOO_FEW_GROUPS: usize = 10;

/// Fills in the transfer of every model and task, and gives the strata of every pair, and which intervals are rough.
///
/// # Errors
/// [`Error::Stopped`].
pub(super) fn fill(
    models: &mut [ModelReport],
    compared: &Compared<'_>,
    pairs: &[Pair],
    out: &Path,
    options: &RunOptions,
) -> Result<(Vec<PairReport>, Vec<String>)> {
    let tasks = compared.dataset.schema().task_names();
    let bar = options.progress.pieces("intervals", tasks.len() + 6 * pairs.len());
    let runs = compared.scores.iter().map(Vec::len).sum();
    let next = || {
        bar.advance(1);
        // Runs are all there; intervals are drawn again next time.
        let stopped = Error::Stopped { what: "runs", done: runs, all: runs, folder: out.to_path_buf() };
        if options.stop.is_set() { Err(stopped) } else { Ok(()) }
    };
    let mut doubtful = IntervalWarnings::default();
    for (t, task) in tasks.iter().enumerate() {
        next()?;
        let found = compared.measure(t, None);
        doubtful.add(&found, task, "all users", compared.bootstrap);
        models.iter_mut().zip(found.transfer).for_each(|(model, interval)| model.tasks[t].transfer = interval);
    }
    let mut reports = Vec::new();
    for pair in pairs {
        let [a, b] = pair.tasks.map(|t| tasks[t].clone());
        let mut strata = Vec::new();
        for (stratum, name) in pair.parts() {
            let rows = pair.strata.rows_in(stratum);
            let mut of_models: Vec<StratumModel> =
                models.iter().map(|model| StratumModel { model: model.name.clone(), tasks: Vec::new() }).collect();
            for t in pair.tasks {
                next()?;
                let found = compared.measure(t, Some(&rows));
                doubtful.add(&found, &tasks[t], &format!("{name} users of {a} and {b}"), compared.bootstrap);
                let numbers = compared.numbers(t, &rows);
                for ((model, numbers), transfer) in of_models.iter_mut().zip(numbers).zip(found.transfer) {
                    model.tasks.push(StratumTask { task: tasks[t].clone(), transfer, ..numbers });
                }
            }
            strata.push(StratumReport { name: name.into(), rows: rows.len() as u64, models: of_models });
        }
        reports.push(PairReport { a, b, cuts: pair.strata.cuts, unassigned: pair.strata.unassigned as u64, strata });
    }
    Ok((reports, doubtful.into_text()))
}

/// What the models predict, and which of them the others are held against.
pub(super) struct Compared<'a> {
    pub scores: &'a [TestScores],
    pub reference: usize,
    pub dataset: &'a Dataset,
    pub bootstrap: Bootstrap,
}

/// Intervals on some of the test rows.
struct Measured {
    /// Of every model; none of the reference itself.
    transfer: Vec<Option<Interval>>,
    /// Users with a labelled row.
    groups: usize,
    /// The most resamples that were left out for want of a class.
    skipped: usize,
}

impl Compared<'_> {
    fn tasks(&self) -> usize {
        self.dataset.schema().tasks.len()
    }

    fn measure(&self, t: usize, rows: Option<&[u32]>) -> Measured {
        let tasks = self.tasks();
        let labels = column(self.dataset.labels(Split::Test), t, tasks);
        let sample = Sample::new(&labels, self.dataset.groups(Split::Test).unwrap_or_default(), rows);
        let rank = |seeds: &TestScores| -> Vec<Ranked> {
            seeds.iter().map(|scores| sample.rank(&column(scores, t, tasks))).collect()
        };
        let mut ranked: Vec<Vec<Ranked>> = self.scores.iter().map(rank).collect();
        let reference = ranked.remove(self.reference);
        let mut differences = self.bootstrap.paired(&reference, &ranked);
        if !bears_an_interval(sample.groups()) {
            differences.fill(None);
        }
        differences.insert(self.reference, None);
        let skipped = differences.iter().flatten().map(|difference| difference.skipped).max().unwrap_or(0);
        let transfer = differences.iter().map(|found| found.as_ref().map(|Difference { interval, .. }| *interval));
        Measured { transfer: transfer.collect(), groups: sample.groups(), skipped }
    }

    /// Metrics of every model on some of the test rows, seeds averaged.
    fn numbers(&self, t: usize, rows: &[u32]) -> Vec<StratumTask> {
        let tasks = self.tasks();
        let of = |values: &[f32]| -> Vec<f32> { rows.iter().map(|&row| values[row as usize * tasks + t]).collect() };
        let labels = of(self.dataset.labels(Split::Test));
        let groups: Option<Vec<u32>> =
            self.dataset.groups(Split::Test).map(|groups| rows.iter().map(|&row| groups[row as usize]).collect());
        let numbers = |seeds: &TestScores| {
            let metrics: Vec<TaskMetrics> =
                seeds.iter().map(|scores| TaskMetrics::of(&of(scores), &labels, groups.as_deref())).collect();
            let mean = |metric: fn(&TaskMetrics) -> Option<f64>| spread(metrics.iter().map(metric)).map(|s| s.mean);
            StratumTask {
                labelled: labels.iter().filter(|y| !y.is_nan()).count() as u64,
                positives: labels.iter().filter(|y| **y > 0.5).count() as u64,
                auc: mean(|m| m.auc),
                gauc: mean(|m| m.gauc),
                logloss: mean(|m| m.logloss),
                calibration: mean(|m| m.calibration),
                ..StratumTask::default()
            }
        };
        self.scores.par_iter().map(numbers).collect()
    }
}

/// Intervals that will not bear much.
#[derive(Default)]
struct IntervalWarnings {
    few: Vec<String>,
    skipped: Vec<String>,
}

impl IntervalWarnings {
    fn add(&mut self, found: &Measured, task: &str, whose: &str, bootstrap: Bootstrap) {
        if found.groups < FEW_GROUPS {
            self.few.push(format!("{} for {task} among {whose}", found.groups));
        }
        if 10 * found.skipped > bootstrap.resamples {
            self.skipped.push(format!("{} of {} for {task} among {whose}", found.skipped, bootstrap.resamples));
        }
    }

    fn into_text(self) -> Vec<String> {
        let few = "Intervals drawn over fewer than 50 users are rough, and over fewer than 10 there are none: ";
        let skipped = "Resamples without both classes took no part in an interval, which is too narrow for it: ";
        [(few, self.few), (skipped, self.skipped)]
            .into_iter()
            .filter(|(_, which)| !which.is_empty())
            .map(|(what, which)| format!("{what}{}.", which.join(", ")))
            .collect()
    }
}

/// Whether an interval is drawn over so many groups.
fn bears_an_interval(groups: usize) -> bool {
    groups >= TOO_FEW_GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(groups: usize, skipped: usize) -> Vec<String> {
        let mut warnings = IntervalWarnings::default();
        let bootstrap = Bootstrap { resamples: 1000, seed: 0 };
        warnings.add(&Measured { transfer: Vec::new(), groups, skipped }, "like", "all users", bootstrap);
        warnings.into_text()
    }

    #[test]
    fn few_users_and_many_skipped_resamples_are_warned_of() {
        assert!(warnings(50, 100).is_empty());
        let few = warnings(49, 0);
        assert!(few.len() == 1 && few[0].ends_with("there are none: 49 for like among all users."), "{few:?}");
        let skipped = warnings(50, 101);
        assert!(skipped.len() == 1 && skipped[0].ends_with(": 101 of 1000 for like among all users."), "{skipped:?}");
        assert_eq!(warnings(1, 1000).len(), 2);
    }

    #[test]
    fn ten_users_are_the_fewest_of_an_interval() {
        assert_eq!([9, 10, 11].map(bears_an_interval), [false, true, true]);
    }
}
