//! Runs side by side, for a terminal.

use stem_report::metrics::shown;

use crate::run::RunMetrics;

/// A line per model and task with its metrics on the test split, below a line of headings.
pub fn metrics_table<'a>(runs: impl IntoIterator<Item = &'a RunMetrics>) -> String {
    let line = |[model, task, auc, gauc, logloss, calibration]: [&str; 6]| {
        format!("{model:<14} {task:<10} {auc:>8} {gauc:>8} {logloss:>8} {calibration:>12}\n")
    };
    let mut table = line(["model", "task", "AUC", "gAUC", "logloss", "calibration"]);
    for run in runs {
        for (task, metrics) in run.tasks.iter().filter_map(|task| Some((task, run.test.get(task)?))) {
            let [auc, gauc, logloss, calibration] =
                [metrics.auc, metrics.gauc, metrics.logloss, metrics.calibration].map(shown);
            table.push_str(&line([run.model.as_str(), task, &auc, &gauc, &logloss, &calibration]));
        }
    }
    table
}
