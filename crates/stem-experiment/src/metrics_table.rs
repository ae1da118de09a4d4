//! Runs side by side, for a terminal.

use std::borrow::Cow;

use stem_report::analysis::{LabelKind, Metric};
use stem_report::metrics::{TaskMetrics, four_decimals};

use crate::measured::RunMetrics;

/// A line per model and task with its metrics on the test split, below a line of headings; tasks whose labels are numbers or classes below
/// headings of their own.
pub fn metrics_table<'a>(runs: impl IntoIterator<Item = &'a RunMetrics>) -> String {
    let of = |run: &'a RunMetrics| run.tasks.iter().filter_map(move |task| Some((run, task, run.test.get(task)?)));
    let kind_of = |run: &RunMetrics, task: &String| match (run.numbers.contains(task), run.classes.contains(task)) {
        (true, _) => LabelKind::Value,
        (_, true) => LabelKind::Class,
        _ => LabelKind::Binary,
    };
    let all = runs.into_iter().flat_map(of).collect::<Vec<_>>();
    let block = |columns: &[(Cow<'static, str>, usize)],
                 kind: LabelKind,
                 value: &dyn Fn(&TaskMetrics, usize) -> Option<f64>| {
        let line = |model: &str, task: &str, cells: Vec<String>| {
            let cells = cells.iter().zip(columns).map(|(cell, (_, width))| format!(" {cell:>width$}"));
            format!("{model:<14} {task:<10}{}\n", cells.collect::<String>())
        };
        let own = all.iter().filter(|(run, task, _)| kind_of(run, task) == kind);
        let lines = own.map(|(run, task, metrics)| {
            let cells = (0..columns.len()).map(|column| four_decimals(value(metrics, column)));
            line(&run.model, task, cells.collect())
        });
        let lines = lines.collect::<String>();
        let heading = line("model", "task", columns.iter().map(|(name, _)| name.to_string()).collect());
        if lines.is_empty() { lines } else { heading + &lines }
    };
    let calibration = || ("calibration".into(), 12);
    let named = |metrics: &[Metric], width: usize| -> Vec<(Cow<'static, str>, usize)> {
        metrics.iter().map(|metric| (metric.name(), width)).chain([calibration()]).collect()
    };
    let of_metrics = |metrics: &'static [Metric]| {
        move |of: &TaskMetrics, column: usize| metrics.get(column).map_or(of.calibration, |metric| of.get(*metric))
    };
    const NUMBERS: [Metric; 4] = [Metric::Xauc, Metric::Rmse, Metric::Mae, Metric::Ndcg(10)];
    const CLASSES: [Metric; 1] = [Metric::Accuracy];
    block(&named(&Metric::ALL, 8), LabelKind::Binary, &of_metrics(&Metric::ALL))
        + &block(&named(&NUMBERS, 11), LabelKind::Value, &of_metrics(&NUMBERS))
        + &block(&named(&CLASSES, 11), LabelKind::Class, &of_metrics(&CLASSES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_stand_in_the_recipes_order_and_what_is_undefined_is_a_dash() {
        let metrics = serde_json::json!({ "auc": 0.78349, "gauc": null, "logloss": 0.5561, "calibration": 1.0 });
        let run = serde_json::json!({
            "model": "stem", "seed": 1, "device": "flex", "epochs": 2, "seconds": 1.0, "rows_per_second": 1.0,
            "parameters": 1, "interrupted": false, "tasks": ["b", "a"], "test": { "a": metrics, "b": metrics }, "valid": {},
        });
        let run: RunMetrics = serde_json::from_value(run).expect("a run's metrics");
        let table = metrics_table([&run]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "model          task            AUC     gAUC  logloss  calibration");
        assert_eq!(lines[1], "stem           b            0.7835        -   0.5561       1.0000");
        assert_eq!((lines.len(), &lines[2][15..16]), (3, "a"));
    }

    #[test]
    fn tasks_of_numbers_stand_below_with_metrics_of_numbers() {
        let clicks = serde_json::json!({ "auc": 0.78349, "gauc": null, "logloss": 0.5561, "calibration": 1.0 });
        let seconds = serde_json::json!({
            "auc": null, "gauc": null, "logloss": null, "calibration": 1.0, "xauc": 0.61, "rmse": 12345.678, "mae": 900.5, "ndcg@10": 0.7,
        });
        let mut run = serde_json::json!({
            "model": "stem", "seed": 1, "device": "flex", "epochs": 2, "seconds": 1.0, "rows_per_second": 1.0, "parameters": 1,
            "interrupted": false, "tasks": ["play", "click"], "numbers": ["play"], "test": { "click": clicks, "play": seconds }, "valid": {},
        });
        let table = |run: &serde_json::Value| {
            let run: RunMetrics = serde_json::from_value(run.clone()).expect("a run's metrics");
            metrics_table([&run])
        };
        let found = table(&run);
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines.len(), 4, "{found}");
        assert!(lines[1].contains("click") && lines[1].contains("0.7835"), "{found}");
        assert_eq!(lines[2], "model          task              XAUC        RMSE         MAE     NDCG@10  calibration");
        assert_eq!(lines[3], "stem           play            0.6100  12345.6780    900.5000      0.7000       1.0000");
        run["tasks"] = serde_json::json!(["play"]);
        assert!(table(&run).starts_with("model          task              XAUC"), "no headings of what is not there");
    }
}
