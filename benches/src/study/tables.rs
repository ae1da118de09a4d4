//! The tables of the study, from its runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use stem_report::analysis::student;

use super::Run;
use super::grid::{BOTH, DATA, DataSet, MODELS, Setting};

/// Values of a metric by seed.
type Seeds = BTreeMap<u64, f64>;

/// Where the values of a metric are among runs.
#[derive(Debug, Clone, Copy)]
struct Of<'r> {
    runs: &'r [Run],
    data: &'static str,
    task: &'r str,
    metric: &'static str,
}

impl Of<'_> {
    fn seeds(self, setting: &str, model: &str) -> Seeds {
        let own = |run: &&Run| run.data == self.data && run.setting == setting && run.model == model;
        let value = |run: &Run| Some((run.seed, *run.tasks.get(self.task)?.get(self.metric)?));
        self.runs.iter().filter(own).filter_map(value).collect()
    }
}

/// The tasks of a data set that runs name.
fn tasks<'r>(runs: &'r [Run], data: &DataSet) -> BTreeSet<&'r str> {
    runs.iter().filter(|run| run.data == data.name).flat_map(|run| run.tasks.keys()).map(String::as_str).collect()
}

/// `None` of no values; of one value the deviation is 0, which says nothing.
fn mean_and_deviation(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (!values.is_empty()).then(|| (mean, (squares / (count - 1.0).max(1.0)).sqrt()))
}

fn cell(seeds: &Seeds) -> String {
    let values: Vec<f64> = seeds.values().copied().collect();
    match mean_and_deviation(&values) {
        Some((mean, deviation)) if values.len() > 1 => format!("{mean:.4} ({deviation:.4})"),
        Some((mean, _)) => format!("{mean:.4}"),
        None => "-".into(),
    }
}

/// A mean of differences that are paired by seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The mean.
    pub mean: f64,
    /// Half of its 95 % interval by Student's t: of trainings, not of users. One seed has none.
    pub half: Option<f64>,
}

/// `own - other` over the seeds that both have.
fn difference(own: &Seeds, other: &Seeds) -> Option<Difference> {
    let differences: Vec<f64> = own.iter().filter_map(|(seed, own)| Some(own - other.get(seed)?)).collect();
    let (mean, deviation) = mean_and_deviation(&differences)?;
    let count = differences.len();
    let half = (count > 1).then(|| student(count - 1) * deviation / (count as f64).sqrt());
    Some(Difference { mean, half })
}

fn signed(difference: Option<Difference>) -> String {
    match difference {
        Some(Difference { mean, half: Some(half) }) => format!("{mean:+.4} ± {half:.4}"),
        Some(Difference { mean, half: None }) => format!("{mean:+.4}"),
        None => "-".into(),
    }
}

fn head(out: &mut String, columns: &[String]) {
    let line = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    out.push_str(&line);
}

/// AUC of every model under both priors on the data sets whose folder is `folder`: a row for each data set, task and model.
pub fn models(runs: &[Run], folder: &str) -> String {
    let mut out = String::new();
    let columns = ["data", "task", "model", "AUC, fixed", "learned", "learned less fixed", "logloss, fixed", "learned"];
    head(&mut out, &columns.map(String::from));
    for data in DATA.iter().filter(|data| data.folder == folder) {
        for task in tasks(runs, data) {
            for model in MODELS {
                let [auc, logloss] = ["auc", "logloss"].map(|metric| Of { runs, data: data.name, task, metric });
                let [fixed, learned] = BOTH.map(|setting| auc.seeds(setting.name, model));
                if fixed.is_empty() && learned.is_empty() {
                    continue;
                }
                let loss = BOTH.map(|setting| cell(&logloss.seeds(setting.name, model)));
                let gain = signed(difference(&learned, &fixed));
                let (fixed, learned, [loss_fixed, loss_learned]) = (cell(&fixed), cell(&learned), loss);
                writeln!(
                    out,
                    "| {} | {task} | {model} | {fixed} | {learned} | {gain} | {loss_fixed} | {loss_learned} |",
                    data.name
                )
                .expect("a String takes all");
            }
        }
    }
    out
}

/// STEM under the learned prior on a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain<'r> {
    /// The data set.
    pub data: &'static str,
    /// The task.
    pub task: &'r str,
    /// The best model under a fixed prior, by mean AUC.
    pub best: &'static str,
    /// Against that one, difference of AUC.
    pub against_best: Option<Difference>,
    /// Against STEM under a fixed prior.
    pub against_own: Option<Difference>,
    /// How many seeds.
    pub seeds: usize,
}

/// What the learned prior is worth to STEM, on every data set and task that runs are of.
pub fn gains(runs: &[Run]) -> Vec<Gain<'_>> {
    let gain = |data: &'static str, task| {
        let of = Of { runs, data, task, metric: "auc" };
        let mean =
            |seeds: &Seeds| mean_and_deviation(&seeds.values().copied().collect::<Vec<_>>()).map(|(mean, _)| mean);
        let fixed = MODELS.iter().map(|model| (*model, of.seeds("fixed", model)));
        let of_all = fixed.filter_map(|(model, seeds)| Some((model, mean(&seeds)?, seeds)));
        let (best, _, theirs) = of_all.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let learned = of.seeds("learned", "stem");
        let [against_best, against_own] =
            [&theirs, &of.seeds("fixed", "stem")].map(|theirs| difference(&learned, theirs));
        Some(Gain { data, task, best, against_best, against_own, seeds: learned.len() })
    };
    DATA.iter().flat_map(|data| tasks(runs, data).into_iter().filter_map(|task| gain(data.name, task))).collect()
}

/// The same as a table.
pub fn summary(runs: &[Run]) -> String {
    let mut out = String::new();
    let columns = ["data", "task", "best fixed", "STEM, learned, against it", "against STEM, fixed", "seeds"];
    head(&mut out, &columns.map(String::from));
    for Gain { data, task, best, against_best, against_own, seeds } in gains(runs) {
        let [against_best, against_own] = [against_best, against_own].map(signed);
        writeln!(out, "| {data} | {task} | {best} | {against_best} | {against_own} | {seeds} |")
            .expect("a String takes all");
    }
    out
}

/// What a change of STEM does to its AUC under the learned prior; a row for each of `trainings` of a model and setting, a column for each data set and task that has one.
pub fn changes<'s>(runs: &[Run], trainings: impl Iterator<Item = (&'s str, &'s Setting)> + Clone) -> String {
    let mut out = String::new();
    let is_of = |run: &Run| trainings.clone().any(|(model, setting)| run.model == model && run.setting == setting.name);
    let has = |data: &DataSet| runs.iter().any(|run| run.data == data.name && is_of(run));
    let places: Vec<(&DataSet, &str)> = DATA
        .iter()
        .filter(|data| has(data))
        .flat_map(|data| tasks(runs, data).into_iter().map(move |task| (data, task)))
        .collect();
    let columns = places.iter().map(|(data, task)| format!("{}, {task}", data.name));
    head(&mut out, &std::iter::once("STEM, learned, but".to_string()).chain(columns).collect::<Vec<_>>());
    for (model, setting) in trainings.clone() {
        write!(out, "| {} |", setting.what).expect("a String takes all");
        for (data, task) in &places {
            let of = Of { runs, data: data.name, task, metric: "auc" };
            let difference = difference(&of.seeds(setting.name, model), &of.seeds("learned", "stem"));
            write!(out, " {} |", signed(difference)).expect("a String takes all");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::grid::TRIED;

    fn run(setting: &str, model: &str, seed: u64, auc: f64) -> Run {
        let metrics = BTreeMap::from([("auc".to_string(), auc)]);
        let tasks = BTreeMap::from([("a".to_string(), metrics)]);
        Run { data: "rho 0".into(), setting: setting.into(), model: model.into(), seed, tasks }
    }

    #[test]
    fn differences_are_paired_by_seed_and_the_best_fixed_model_is_found() {
        let runs = [
            run("fixed", "stem", 1, 0.70),
            run("fixed", "stem", 2, 0.72),
            run("fixed", "ple", 1, 0.71),
            run("fixed", "ple", 2, 0.73),
            run("learned", "stem", 1, 0.72),
            run("learned", "stem", 2, 0.75),
            run("learned", "stem", 3, 0.99), // no fixed one to pair it with
            run("open", "stem", 1, 0.71),
            run("open", "stem", 2, 0.74),
        ];
        // 12.7062 * sd(0.01, 0.02) / sqrt(2) = 0.0635
        let summary = summary(&runs);
        assert!(summary.contains("| rho 0 | a | ple | +0.0150 ± 0.0635 | +0.0250 ± 0.0635 | 3 |"), "{summary}");
        assert!(
            changes(&runs, TRIED.iter().map(|setting| ("stem", setting)))
                .contains("(`stop_gradient = false`) | -0.0100 ± 0.0000 |")
        );
        let models = models(&runs, "simulated");
        assert!(models.contains("| rho 0 | a | ple | 0.7200 (0.0141) | - | - | - | - |"), "{models}");
    }
}
