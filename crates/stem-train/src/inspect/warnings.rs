//! What looks too bad or too good to be true, said before anybody believes the numbers.

use stem_data::{Dataset, Split};

use super::quality::column;
use crate::metrics::logloss;
use crate::report::TaskReport;

/// What is odd about the data, and about test labels.
pub(crate) fn of_dataset(dataset: &Dataset) -> Vec<String> {
    let mut told = dataset.warnings().to_vec();
    let (rows, statistics) = (dataset.rows(Split::Test), dataset.statistics(Split::Test));
    for (t, task) in dataset.schema().tasks.iter().enumerate() {
        let known = rows - statistics.missing.get(t).copied().unwrap_or(0);
        let positives = statistics.positives.get(t).copied().unwrap_or(0);
        if positives == 0 || positives == known {
            told.push(format!(
                "Task '{}' has {positives} positives among {known} labelled test rows: one class, so that no AUC is defined.",
                task.name
            ));
        }
    }
    told
}

/// What is odd about a model: `seeds` are its scores `[N, T]` of the test split, `reports` its numbers by task.
pub(crate) fn of_model(model: &str, seeds: &[Vec<f32>], reports: &[TaskReport], dataset: &Dataset) -> Vec<String> {
    let tasks = &dataset.schema().tasks;
    let mut told = Vec::new();
    for (t, report) in reports.iter().enumerate() {
        let task = &tasks[t].name;
        if let Some(auc) = report.auc.as_ref().map(|auc| auc.mean) {
            if (auc - 0.5).abs() < 0.01 {
                told.push(format!(
                    "{model} has a test AUC of {auc:.4} on '{task}': nothing was learned. Too few epochs, a rate far off, or \
                     features that say nothing of it?"
                ));
            } else if auc > 0.99 {
                told.push(format!("{model} has a test AUC of {auc:.4} on '{task}': does a feature hold the label?"));
            }
        }
        if let (Some(found), Some((mean, constant))) = (&report.logloss, predicting_the_mean(dataset, t))
            && found.mean >= constant
        {
            told.push(format!(
                "{model} is no better than predicting the mean on '{task}': its logloss is {:.4}, and that of always saying \
                 {mean:.4}, the mean of the training rows, is {constant:.4}.",
                found.mean
            ));
        }
    }
    for (a, b) in (0..tasks.len()).flat_map(|a| (a + 1..tasks.len()).map(move |b| (a, b))) {
        let same = |scores: &Vec<f32>| scores.chunks(tasks.len()).all(|row| (row[a] - row[b]).abs() <= 1e-7);
        if dataset.rows(Split::Test) > 0 && seeds.iter().any(same) {
            told.push(format!(
                "{model} predicts the same for '{}' and '{}' on every test row: are the labels the same, or the tasks not told apart?",
                tasks[a].name, tasks[b].name
            ));
        }
    }
    told
}

/// The mean label of the training rows, and the logloss of predicting that on the test rows.
fn predicting_the_mean(dataset: &Dataset, t: usize) -> Option<(f64, f64)> {
    let tasks = dataset.schema().tasks.len();
    let known = |split| column(dataset.labels(split), t, tasks).into_iter().filter(|y| !y.is_nan());
    let (count, sum) = known(Split::Train).fold((0usize, 0.0), |(n, sum), y| (n + 1, sum + f64::from(y)));
    let mean = sum / count as f64;
    let labels: Vec<bool> = known(Split::Test).map(|y| y > 0.5).collect();
    let constant = logloss(&vec![mean as f32; labels.len()], &labels)?;
    (count > 0).then_some((mean, constant))
}
