//! Who gains: how much better every model is than single-task on the same rows, for all users and stratum by stratum.

use std::path::Path;

use rayon::prelude::*;
use stem_data::{Dataset, Split};

use crate::error::{Error, Result};
use crate::inspect::{Pair, TestScores, spreads};
use crate::options::RunOptions;
use stem_report::analysis::{Bootstrap, Difference, Interval, Metric, Ranked, Sample};
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
        let found = compared.measure(t, &compared.sample(t, None));
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
                let sample = compared.sample(t, Some(&rows));
                let found = compared.measure(t, &sample);
                doubtful.add(&found, &tasks[t], &format!("{name} users of {a} and {b}"), compared.bootstrap);
                let numbers = compared.numbers(t, &sample);
                for ((model, numbers), transfer) in of_models.iter_mut().zip(numbers).zip(found.transfer) {
                    model.tasks.push(StratumTask { task: tasks[t].clone(), transfer, ..numbers });
                }
            }
            strata.push(StratumReport { name: name.into(), rows: rows.len() as u64, models: of_models });
        }
        reports.push(PairReport {
            a,
            b,
            cuts: pair.strata.cuts,
            unassigned: pair.strata.unassigned as u64,
            note: pair.strata.note.clone(),
            strata,
        });
    }
    Ok((reports, doubtful.into_text()))
}

/// What the models predict, and which of them the others are held against.
pub(super) struct Compared<'a> {
    pub scores: &'a [TestScores],
    pub reference: usize,
    pub dataset: &'a Dataset,
    /// What differences are measured in, task by task.
    pub metrics: &'a [Metric],
    pub bootstrap: Bootstrap,
}

/// Intervals on some of the test rows.
struct Transfers {
    /// Of every model; none of the reference itself.
    transfer: Vec<Option<Interval>>,
    /// Users with a labelled row.
    groups: usize,
    /// The most resamples that were left out for want of a class.
    skipped: usize,
}

impl Compared<'_> {
    /// One task's column of values `[N, T]`.
    fn of_task(&self, values: &[f32], t: usize) -> Vec<f32> {
        column(values, t, self.dataset.schema().tasks.len()).copied().collect()
    }

    /// The labelled ones of some of the test rows; of all by default.
    fn sample(&self, t: usize, rows: Option<&[u32]>) -> Sample {
        let labels = self.of_task(self.dataset.labels(Split::Test), t);
        let groups = Some(self.dataset.groups(Split::Test).unwrap_or_default());
        let sample = Sample::of(self.dataset.label_kinds()[t], &labels, groups, rows);
        sample.weighted(self.dataset.weights(Split::Test))
    }

    fn measure(&self, t: usize, sample: &Sample) -> Transfers {
        let rank = |seeds: &TestScores| -> Vec<Ranked> {
            seeds.iter().map(|scores| sample.rank_for(&self.of_task(scores, t), &[self.metrics[t]])).collect()
        };
        let mut ranked: Vec<Vec<Ranked>> = self.scores.iter().map(rank).collect();
        let reference = ranked.remove(self.reference);
        let mut differences = self.bootstrap.paired_by(self.metrics[t], &reference, &ranked);
        if !bears_an_interval(sample.groups()) {
            differences.fill(None);
        }
        differences.insert(self.reference, None);
        let skipped = differences.iter().flatten().map(|difference| difference.skipped).max().unwrap_or(0);
        let transfer = differences.iter().map(|found| found.as_ref().map(|Difference { interval, .. }| *interval));
        Transfers { transfer: transfer.collect(), groups: sample.groups(), skipped }
    }

    /// Metrics of every model on a sample, seeds averaged.
    fn numbers(&self, t: usize, sample: &Sample) -> Vec<StratumTask> {
        let (labelled, positives) = (sample.len() as u64, sample.positives() as u64);
        let numbers = |seeds: &TestScores| {
            let on = |scores: &Vec<f32>| TaskMetrics::on(sample, &self.of_task(scores, t), &[]);
            let metrics: Vec<TaskMetrics> = seeds.iter().map(on).collect();
            let [auc, gauc, logloss, calibration] = spreads(&metrics).map(|over| over.map(|s| s.mean));
            StratumTask { labelled, positives, auc, gauc, logloss, calibration, ..StratumTask::default() }
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
    fn add(&mut self, found: &Transfers, task: &str, whose: &str, bootstrap: Bootstrap) {
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
        warnings.add(&Transfers { transfer: Vec::new(), groups, skipped }, "like", "all users", bootstrap);
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
