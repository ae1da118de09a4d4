//! A model of several states that is trained on: each state goes on from its own weights, for the tasks that it answers for, and the bundle
//! has as many states as before. Were one of them taken for all, a task would start where it was no longer, or not yet, at its best.

use std::path::PathBuf;

use serde_json::Value;
use stem_core::files::{self, FileError};
use stem_core::models::ModelSpec;
use stem_core::{Bundle, bundle};
use stem_train::{Best, CHECKPOINT, FitSummary, Start, TrainConfig, checkpoint_of};

use super::train::Training;
use crate::error::Result;
use crate::folder::{BUNDLE, LOG};

/// Trains every state of `start` on in `folder/state-K`; then one bundle and one log of them all.
///
/// # Errors
/// Whatever keeps a state from being trained, and bundles and logs that cannot be put together.
pub(super) fn train<C: ModelSpec>(all: &Training<'_, C>, start: &Start<C>) -> Result<FitSummary> {
    let summary = all.once(|| each(all, start))?;
    // Stopped before its end, it goes on from what is there.
    if all.options.ranks.is_first() && (!summary.interrupted || all.train.checkpoint_every.is_none()) {
        let mut states = (0..start.states()).map(|state| folder_of(all, state)).filter(|folder| folder.exists());
        states.try_for_each(|folder| files::remove_folder(&folder))?;
    }
    Ok(summary)
}

/// Where a state is trained on.
fn folder_of<C>(all: &Training<'_, C>, state: usize) -> PathBuf {
    all.folder.join(format!("state-{state}"))
}

fn each<C: ModelSpec>(all: &Training<'_, C>, start: &Start<C>) -> Result<FitSummary> {
    let Training { train, folder, options, .. } = all;
    let mut sum = FitSummary::default();
    let mut rows = 0.0;
    let (mut parts, mut said, mut log) = (Vec::new(), Vec::new(), String::new());
    for (state, tasks) in start.bundle.manifest.states.iter().enumerate() {
        let own = folder_of(all, state);
        tracing::info!("the state for {}", tasks.join(", "));
        let of_state = train_of(train, tasks);
        let one =
            Training { train: &of_state, folder: &own, start: Some((start, state)), with_joint: false, ..all.clone() };
        let summary = one.jointly(None)?;
        if options.ranks.is_first() {
            let part = Bundle::<C>::open(own.join(BUNDLE))?;
            let mut training = part.manifest.training.clone();
            training["tasks"] = tasks.clone().into();
            said.push(training);
            parts.push((part, tasks.clone()));
            log.push_str(&log_of(&files::read_text(&own.join(LOG))?, tasks));
        }
        rows += summary.rows_per_second * summary.seconds;
        sum.parameters = summary.parameters;
        sum.memory = sum.memory.max(summary.memory);
        sum.epochs = sum.epochs.max(summary.epochs);
        sum.best_epoch = sum.best_epoch.max(summary.best_epoch);
        sum.evaluations = sum.evaluations.max(summary.evaluations);
        sum.kept.extend(summary.kept.into_iter().filter(|(task, _)| tasks.contains(task)));
        sum.seconds += summary.seconds;
        sum.interrupted |= summary.interrupted;
    }
    sum.rows_per_second = if sum.seconds > 0.0 { rows / sum.seconds } else { 0.0 };
    if !options.ranks.is_first() {
        return Ok(sum);
    }
    if train.keep_checkpoint {
        keep_checkpoints(all, parts.len())?;
    }
    files::replace_text(&folder.join(LOG), &log)?;
    bundle::combine(&folder.join(BUNDLE), &parts, &serde_json::json!({ "seed": train.seed, "states": said }))?;
    Ok(sum)
}

/// Puts the checkpoint that each state kept beside the bundle of them all. It stays where it is too, for a training that goes on.
fn keep_checkpoints<C: ModelSpec>(all: &Training<'_, C>, states: usize) -> Result<()> {
    for state in 0..states {
        let (from, to) = (folder_of(all, state).join(CHECKPOINT), all.folder.join(checkpoint_of(state)));
        if to.exists() {
            files::remove_file(&to)?; // of a training that was stopped, which this one goes on
        }
        let linked = std::fs::hard_link(&from, &to);
        linked.or_else(|_| std::fs::copy(&from, &to).map(drop)).map_err(FileError::of("copy", &from))?;
    }
    Ok(())
}

/// How a state is trained: one set of weights, judged by its own tasks.
fn train_of(train: &TrainConfig, tasks: &[String]) -> TrainConfig {
    let mut train = TrainConfig { best: Best::Joint, ..train.clone() };
    train.monitor.weights.retain(|task, weight| tasks.contains(task) && *weight > 0.0);
    if train.monitor.weights.is_empty() {
        train.monitor.weights = tasks.iter().map(|task| (task.clone(), 1.0)).collect();
    }
    train
}

/// The lines of a state's log with what they say of its tasks.
fn log_of(log: &str, tasks: &[String]) -> String {
    let of_tasks = |mut line: Value| {
        for key in ["loss", "valid"] {
            if let Some(values) = line[key].as_object_mut() {
                values.retain(|task, _| tasks.contains(task));
            }
        }
        if let Some(best) = line["best"].as_array_mut() {
            best.retain(|task| task.as_str().is_some_and(|task| tasks.iter().any(|own| own == task)));
        }
        format!("{line}\n")
    };
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).map(of_tasks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_judged_by_its_own_tasks_and_its_log_speaks_of_them() {
        let tasks = ["like".to_string()];
        let plain = train_of(&TrainConfig::default(), &tasks);
        assert_eq!((plain.best, plain.monitor.weights), (Best::Joint, [("like".to_string(), 1.0)].into()));
        let mut weighed = TrainConfig::default();
        weighed.monitor.weights = [("like".to_string(), 0.5), ("click".to_string(), 2.0)].into();
        assert_eq!(train_of(&weighed, &tasks).monitor.weights, [("like".to_string(), 0.5)].into());
        weighed.monitor.weights.remove("like");
        assert_eq!(train_of(&weighed, &tasks).monitor.weights, [("like".to_string(), 1.0)].into(), "no other's");
        let line = r#"{"epoch":1,"loss":{"click":0.5,"like":0.1},"valid":{"click":{},"like":{"auc":0.7}},"best":["click","like"]}"#;
        let expected = r#"{"best":["like"],"epoch":1,"loss":{"like":0.1},"valid":{"like":{"auc":0.7}}}"#;
        assert_eq!(log_of(&format!("{line}\n"), &tasks), format!("{expected}\n"));
    }
}
