//! Runs side by side, for a terminal.

use stem_report::metrics::four_decimals;

use crate::measured::RunMetrics;

/// A line per model and task with its metrics on the test split, below a line of headings.
pub fn metrics_table<'a>(runs: impl IntoIterator<Item = &'a RunMetrics>) -> String {
    let line = |[model, task, auc, gauc, logloss, calibration]: [&str; 6]| {
        format!("{model:<14} {task:<10} {auc:>8} {gauc:>8} {logloss:>8} {calibration:>12}\n")
    };
    let mut table = line(["model", "task", "AUC", "gAUC", "logloss", "calibration"]);
    for run in runs {
        for (task, metrics) in run.tasks.iter().filter_map(|task| Some((task, run.test.get(task)?))) {
            let [auc, gauc, logloss, calibration] =
                [metrics.auc, metrics.gauc, metrics.logloss, metrics.calibration].map(four_decimals);
            table.push_str(&line([&run.model, task, &auc, &gauc, &logloss, &calibration]));
        }
    }
    table
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
}
