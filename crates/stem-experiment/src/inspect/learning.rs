//! How a training went: `log.jsonl` read back, an entry per evaluation.

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
    #[serde(default)]
    at: f64,
    #[serde(default)]
    steps: usize,
    loss: BTreeMap<String, f64>,
    valid: BTreeMap<String, TaskMetrics>,
    #[serde(default)]
    best: Best,
}

/// Whose best an evaluation was; runs of earlier versions say only whether it was all tasks'.
#[derive(Deserialize)]
#[serde(untagged)]
enum Best {
    Of(Vec<String>),
    All(bool),
}

impl Default for Best {
    fn default() -> Self {
        Self::All(false)
    }
}

/// The curve of a run's folder. Tasks that are trained apart have lines of their own, which are put together by the steps before them.
///
/// # Errors
/// A log that does not read.
pub(crate) fn learning_curve(folder: &Path, seed: u64, tasks: &[String]) -> Result<LearningCurve> {
    let path = folder.join(LOG);
    let mut points: BTreeMap<(usize, usize), EpochPoint> = BTreeMap::new();
    let mut kept: Vec<Option<(usize, usize)>> = vec![None; tasks.len()];
    for (number, line) in files::read_text(&path)?.lines().enumerate() {
        let fault = |source| Error::Log { path: path.clone(), line: number + 1, source };
        let line: Line = serde_json::from_str(line).map_err(fault)?;
        let empty = || EpochPoint {
            epoch: line.epoch,
            at: line.at,
            loss: vec![f64::NAN; tasks.len()],
            auc: vec![None; tasks.len()],
            logloss: vec![None; tasks.len()],
            others: vec![BTreeMap::new(); tasks.len()],
        };
        let when = (line.epoch, line.steps);
        let point = points.entry(when).or_insert_with(empty);
        for (t, task) in tasks.iter().enumerate() {
            line.loss.get(task).into_iter().for_each(|loss| point.loss[t] = *loss);
            let Some(metrics) = line.valid.get(task) else { continue };
            (point.auc[t], point.logloss[t]) = (metrics.auc, metrics.logloss);
            point.others[t].clone_from(&metrics.others);
            if match &line.best {
                Best::Of(tasks) => tasks.contains(task),
                Best::All(is_best) => *is_best,
            } {
                kept[t] = Some(when);
            }
        }
    }
    let place = |when: (usize, usize)| points.keys().position(|key| *key == when);
    let kept = kept.into_iter().map(|when| when.and_then(place)).collect();
    Ok(LearningCurve { seed, kept, epochs: points.into_values().collect(), ..LearningCurve::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_were_trained_apart_meet_by_steps() {
        let folder = tempfile::tempdir().unwrap();
        let log = r#"{"task":"a","epoch":1,"at":0.5,"steps":4,"loss":{"a":0.5},"valid":{"a":{"auc":0.6}},"best":["a"]}
{"task":"a","epoch":1,"at":1.0,"steps":8,"loss":{"a":0.4},"valid":{"a":{"auc":0.7,"logloss":0.5}},"best":["a"]}
{"task":"b","epoch":1,"at":0.5,"steps":4,"loss":{"b":0.3},"valid":{"b":{"auc":null}},"best":true}
{"task":"b","epoch":1,"at":1.0,"steps":8,"loss":{"b":0.3},"valid":{"b":{"auc":null}},"best":[]}
"#;
        std::fs::write(folder.path().join("log.jsonl"), log).unwrap();
        let curve = learning_curve(folder.path(), 7, &["a".into(), "b".into()]).unwrap();
        assert_eq!(curve.epochs[0].loss, [0.5, 0.3]);
        assert_eq!(curve.epochs[0].auc, [Some(0.6), None]);
        assert_eq!((curve.epochs[1].at, &curve.epochs[1].logloss[..]), (1.0, &[Some(0.5), None][..]));
        assert_eq!((curve.epochs.len(), &curve.kept[..]), (2, &[Some(1), Some(0)][..]));
        std::fs::write(folder.path().join("log.jsonl"), log.replace("0.4", "much")).unwrap();
        let error = learning_curve(folder.path(), 7, &["a".into()]).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
