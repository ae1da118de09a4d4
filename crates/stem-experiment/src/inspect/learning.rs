//! How a training went: `log.jsonl` read back, an entry per epoch.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::folder::LOG;
use stem_core::files;
use stem_report::metrics::TaskMetrics;
use stem_report::report::{EpochPoint, LearningCurve};

/// What a line of the log says, as far as it is drawn.
#[derive(Deserialize)]
struct Line {
    epoch: usize,
    loss: BTreeMap<String, f64>,
    valid: BTreeMap<String, TaskMetrics>,
}

/// The curve of a run's folder. Tasks that are trained apart have lines of their own, which are put together by epoch.
///
/// # Errors
/// A log that does not read.
pub(crate) fn learning_curve(folder: &Path, seed: u64, tasks: &[String]) -> Result<LearningCurve> {
    let path = folder.join(LOG);
    let mut epochs: BTreeMap<usize, EpochPoint> = BTreeMap::new();
    for (number, line) in files::read_text(&path)?.lines().enumerate() {
        let fault = |source| Error::Log { path: path.clone(), line: number + 1, source };
        let line: Line = serde_json::from_str(line).map_err(fault)?;
        let empty =
            || EpochPoint { epoch: line.epoch, loss: vec![f64::NAN; tasks.len()], auc: vec![None; tasks.len()] };
        let point = epochs.entry(line.epoch).or_insert_with(empty);
        for (t, task) in tasks.iter().enumerate() {
            line.loss.get(task).into_iter().for_each(|loss| point.loss[t] = *loss);
            line.valid.get(task).into_iter().for_each(|metrics| point.auc[t] = metrics.auc);
        }
    }
    Ok(LearningCurve { seed, epochs: epochs.into_values().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_were_trained_apart_meet_by_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let log = r#"{"task":"a","epoch":1,"loss":{"a":0.5},"valid":{"a":{"auc":0.6}}}
{"task":"a","epoch":2,"loss":{"a":0.4},"valid":{"a":{"auc":0.7}}}
{"task":"b","epoch":1,"loss":{"b":0.3},"valid":{"b":{"auc":null}}}
"#;
        std::fs::write(folder.path().join("log.jsonl"), log).unwrap();
        let curve = learning_curve(folder.path(), 7, &["a".into(), "b".into()]).unwrap();
        assert_eq!(curve.epochs[0].loss, [0.5, 0.3]);
        assert_eq!(curve.epochs[0].auc, [Some(0.6), None]);
        assert!(curve.epochs[1].loss[1].is_nan());
        std::fs::write(folder.path().join("log.jsonl"), log.replace("0.4", "much")).unwrap();
        let error = learning_curve(folder.path(), 7, &["a".into()]).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
