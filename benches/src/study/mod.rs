//! Is a learned prior worth it? Data sets, models and settings that answer it, and what their trainings came to: a line of
//! `docs/numbers/study.jsonl` each, from which the tables of `docs/learned-priors.md` are written.

pub mod grid;
pub mod picture;
pub mod tables;

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The file of results, below `docs/numbers`.
pub const RESULTS: &str = "study.jsonl";

/// A training that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Name of the [data set](grid::DataSet).
    pub data: String,
    /// Name of the [setting](grid::Setting).
    pub setting: String,
    /// Name of the model.
    pub model: String,
    /// Seed of weights and shuffling.
    pub seed: u64,
    /// Of each task, metrics on the test split by their names in `metrics.json`: AUC, gAUC, logloss, calibration.
    pub tasks: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What a run keeps of a task's metrics.
const KEPT: [&str; 4] = ["auc", "gauc", "logloss", "calibration"];

impl Run {
    /// Takes the test metrics of a training's `metrics.json`.
    pub fn of_metrics(data: &str, setting: &str, model: &str, seed: u64, metrics: &Value) -> Self {
        let kept = |of: &Value| KEPT.iter().filter_map(|&key| Some((key.to_owned(), of[key].as_f64()?))).collect();
        let tasks = metrics["test"].as_object().into_iter().flatten().map(|(task, of)| (task.clone(), kept(of)));
        Self { data: data.into(), setting: setting.into(), model: model.into(), seed, tasks: tasks.collect() }
    }

    /// A line of [`RESULTS`], numbers of six digits after the point.
    pub fn line(&self) -> String {
        let round = |value: &f64| (value * 1e6).round() / 1e6;
        let of = |metrics: &BTreeMap<String, f64>| -> Value {
            metrics.iter().map(|(k, v)| (k.clone(), json!(round(v)))).collect()
        };
        let tasks: Value = self.tasks.iter().map(|(task, metrics)| (task.clone(), of(metrics))).collect();
        let Self { data, setting, model, seed, .. } = self;
        json!({ "data": data, "setting": setting, "model": model, "seed": seed, "tasks": tasks }).to_string()
    }

    fn read(line: &str) -> Option<Self> {
        let read: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| Some(read[key].as_str()?.to_owned());
        let metrics =
            |of: &Value| Some(of.as_object()?.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect());
        let tasks = read["tasks"].as_object()?.iter().map(|(task, of)| Some((task.clone(), metrics(of)?)));
        let tasks = tasks.collect::<Option<_>>()?;
        Some(Self {
            data: text("data")?,
            setting: text("setting")?,
            model: text("model")?,
            seed: read["seed"].as_u64()?,
            tasks,
        })
    }
}

/// The runs of a file of results.
///
/// # Errors
/// A line that is none, by its number.
pub fn read(text: &str) -> Result<Vec<Run>, String> {
    let run = |(place, line): (usize, &str)| {
        Run::read(line).ok_or_else(|| format!("{RESULTS}, line {}: not a run", place + 1))
    };
    text.lines().enumerate().map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let metrics = json!({ "test": { "a": { "auc": 0.75, "gauc": 0.7, "logloss": 0.5, "calibration": null, "ndcg@10": 0.1 } } });
        let run = Run::of_metrics("few", "learned", "stem", 3, &metrics);
        assert_eq!(run.tasks["a"].keys().collect::<Vec<_>>(), ["auc", "gauc", "logloss"]);
        assert_eq!(read(&(run.line() + "\n")).unwrap(), [run]);
        assert!(read("{}").unwrap_err().contains("line 1"));
    }
}
