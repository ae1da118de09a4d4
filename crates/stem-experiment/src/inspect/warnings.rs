//! What looks too bad or too good to be true, said before anybody believes the numbers.

use stem_data::{Dataset, Split};

use stem_report::analysis::Metric;
use stem_report::metrics::{TaskMetrics, column};
use stem_report::report::ModelReport;
use stem_train::TrainConfig;

/// Positives below which an AUC is mostly noise.
const FEW_POSITIVES: usize = 50;

/// What is odd about how models are trained on these data.
pub(crate) fn of_training(config: &TrainConfig, dataset: &Dataset) -> Option<String> {
    let (patience, in_an_epoch) = (config.patience, config.evaluations_an_epoch(dataset));
    let is_asked = dataset.rows(Split::Valid) > 0;
    (is_asked && patience < in_an_epoch).then(|| {
        format!(
            "`patience = {patience}` is less than the {in_an_epoch} evaluations of an epoch. A curve has teeth as long as an epoch, and a task may be \
             settled at one of them: `patience = {}` waits for two epochs.",
            2 * in_an_epoch
        )
    })
}

/// What is odd about the data, and about test labels.
pub(crate) fn of_dataset(dataset: &Dataset) -> Vec<String> {
    let mut warnings = dataset.warnings().to_vec();
    let tasks = &dataset.schema().tasks;
    if dataset.rows(Split::Valid) == 0 {
        let what = "no training stopped early, the last epoch's weights are the model.";
        warnings.push(format!("The validation split has no rows: {what}"));
    }
    if tasks.len() == 1 {
        warnings.push("There is one task: nothing is shared between tasks.".into());
    }
    for (t, task) in tasks.iter().enumerate() {
        let name = &task.name;
        let (by_noise, rough) = ("early stopping and search go by noise", "its numbers are rough");
        for (split, what) in [(Split::Valid, by_noise), (Split::Test, rough)] {
            let positives = dataset.statistics(split).positives[t];
            if task.kind.is_binary() && (1..FEW_POSITIVES).contains(&positives) {
                warnings.push(format!("Task '{name}' has only {positives} positives in the {split} split: {what}."));
            }
        }
        if !task.kind.is_binary() {
            continue;
        }
        let test = dataset.statistics(Split::Test);
        let (known, positives) = (test.rows - test.missing[t], test.positives[t]);
        if positives == 0 || positives == known {
            let rows = format!("{positives} positives among {known} labelled test rows");
            warnings.push(format!("Task '{name}' has {rows}: one class, so that no AUC is defined."));
        }
    }
    warnings
}

/// What is odd about a model: `seeds` are its scores `[N, T]` of the test split.
pub(crate) fn of_model(
    ModelReport { name: model, tasks: reports, .. }: &ModelReport,
    seeds: &[Vec<f32>],
    constants: &[Option<Constant>],
    dataset: &Dataset,
) -> Vec<String> {
    let tasks = &dataset.schema().tasks;
    let mut warnings = Vec::new();
    for (t, report) in reports.iter().enumerate() {
        let task = &tasks[t].name;
        if let Some(auc) = report.auc.as_ref().map(|auc| auc.mean) {
            if auc < 0.51 {
                let than = if auc < 0.49 { "worse than guessing" } else { "nothing was learned" };
                warnings.push(format!(
                    "{model} has a test AUC of {auc:.4} on '{task}': {than}. Too few epochs, a rate far off, or \
                     features that say nothing of it?"
                ));
            } else if auc > 0.99 {
                warnings
                    .push(format!("{model} has a test AUC of {auc:.4} on '{task}': does a feature hold the label?"));
            }
        }
        let rmse = report.others.get(&Metric::Rmse);
        let (error, what) = report.logloss.as_ref().map_or((rmse, "RMSE"), |logloss| (Some(logloss), "logloss"));
        if let (Some(found), Some(Constant { mean, error: constant })) = (error, &constants[t])
            && found.mean >= *constant
        {
            warnings.push(format!(
                "{model} is no better than predicting the mean on '{task}': its {what} is {:.4}, and that of always saying \
                 {mean:.4}, the mean of the training rows, is {constant:.4}.",
                found.mean
            ));
        }
    }
    for (a, b) in (0..tasks.len()).flat_map(|a| (a + 1..tasks.len()).map(move |b| (a, b))) {
        let same = |scores: &Vec<f32>| scores.chunks(tasks.len()).all(|row| (row[a] - row[b]).abs() <= 1e-7);
        if dataset.rows(Split::Test) > 0 && seeds.iter().any(same) {
            warnings.push(format!(
                "{model} predicts the same for '{}' and '{}' on every test row: are the labels the same, or the tasks not told apart?",
                tasks[a].name, tasks[b].name
            ));
        }
    }
    warnings
}

/// A prediction that knows nothing of a row.
#[derive(Debug)]
pub(crate) struct Constant {
    /// The mean label of the training rows.
    mean: f64,
    /// Of predicting that on the test rows: logloss, or root mean squared error where labels are numbers.
    error: f64,
}

/// The mean of every task; `None` without labels.
pub(crate) fn constants(dataset: &Dataset) -> Vec<Option<Constant>> {
    (0..dataset.schema().tasks.len()).map(|t| constant(dataset, t)).collect()
}

fn constant(dataset: &Dataset, t: usize) -> Option<Constant> {
    let of = |split| column(dataset.labels(split), t, dataset.schema().tasks.len()).copied().collect::<Vec<f32>>();
    let (train, weights) = (of(Split::Train), dataset.weights(Split::Train));
    let weight = |row: usize| weights.map_or(1.0, |weights| f64::from(weights[row]));
    let known = train.iter().enumerate().filter(|(_, y)| !y.is_nan());
    let (count, sum) =
        known.fold((0.0, 0.0), |(n, sum), (row, y)| (n + weight(row), sum + weight(row) * f64::from(*y)));
    let (mean, labels) = (sum / count, of(Split::Test));
    let kind = dataset.label_kinds()[t];
    let (scores, weights) = (vec![mean as f32; labels.len()], dataset.weights(Split::Test));
    let of_mean = TaskMetrics::measure(kind, &scores, &labels, None, weights, &[Metric::Rmse]);
    let error = of_mean.logloss.or_else(|| of_mean.get(Metric::Rmse))?;
    (count > 0.0).then_some(Constant { mean, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::task_report;
    use stem_data::{PrepareOptions, Recipe, prepare};
    use stem_train::EvaluateEvery;

    /// Labels with every third row positive, and every second.
    fn dataset(folder: &std::path::Path) -> Dataset {
        let row = |i: usize| {
            format!("{},{},{},{}\n", i % 7, u8::from(i.is_multiple_of(3)), u8::from(i.is_multiple_of(2)), i / 60)
        };
        let log: String = (0..180).map(row).collect();
        std::fs::write(folder.join("log.csv"), format!("user,x,y,part\n{log}")).unwrap();
        let recipe = r#"
            name = "tiny"
            group = "user"
            source = [{ name = "log", file = "log.csv" }]
            field = [{ column = "user", kind = "category" }]
            label = [{ column = "x" }, { column = "y" }]
            split = { kind = "column", column = "part", train = "0", valid = "1", test = "2" }
        "#;
        let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
        prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
    }

    #[test]
    fn patience_that_ends_within_an_epoch_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        let config =
            TrainConfig { evaluate_every: EvaluateEvery::Epochs(0.25), batch_size: 4, ..TrainConfig::default() };
        let found = |patience| of_training(&TrainConfig { patience, ..config.clone() }, &dataset);
        assert!(found(3).unwrap().ends_with("`patience = 8` waits for two epochs."));
        assert_eq!(found(4), None);
        assert_eq!(of_training(&TrainConfig::default(), &dataset), None, "an evaluation an epoch");
    }

    fn warnings(dataset: &Dataset, scores: impl Fn(usize) -> [f32; 2]) -> Vec<String> {
        let scores: Vec<f32> = (0..dataset.rows(Split::Test)).flat_map(scores).collect();
        let seeds = [scores];
        let tasks = (0..2).map(|t| task_report(&seeds, dataset, t, &[])).collect();
        let model = ModelReport { name: "m".into(), tasks, ..ModelReport::default() };
        of_model(&model, &seeds, &constants(dataset), dataset)
    }

    #[test]
    fn predictions_that_are_the_same_or_no_better_than_the_mean_are_called_out() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        let knows = |i: usize, n: usize| if i.is_multiple_of(n) { 0.7 } else { 0.2 };
        let flips = |i: usize| if i.is_multiple_of(5) { 0.4 } else { 0.35 };
        let good = warnings(&dataset, |i| [knows(i, 3) + 1e-3 * flips(i), knows(i, 2)]);
        assert!(good.iter().all(|warning| warning.contains("does a feature hold the label?")), "{good:?}");
        let mean = warnings(&dataset, |i| [1.0 / 3.0, knows(i, 2)]);
        assert!(mean.iter().any(|warning| warning.contains("no better than predicting the mean on 'x'")), "{mean:?}");
        assert!(mean.iter().any(|warning| warning.contains("nothing was learned")), "{mean:?}");
        assert!(!mean.iter().any(|warning| warning.contains("the mean on 'y'")), "{mean:?}");
        let same = warnings(&dataset, |i| [knows(i, 2); 2]);
        assert!(same.iter().any(|warning| warning.contains("predicts the same for 'x' and 'y'")), "{same:?}");
    }
}
