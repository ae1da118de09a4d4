//! Trainings that are stopped, and go on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stem_core::{Bundle, ModelConfig};
use stem_data::{Dataset, StopFlag};
use stem_train::{CheckpointEvery, EvaluateEvery, Learner, TrainConfig};

use super::spec;

pub fn config(change: impl FnOnce(&mut TrainConfig)) -> TrainConfig {
    let mut config = TrainConfig {
        epochs: 3,
        batch_size: 300,
        learning_rate: 0.01,
        patience: 9,
        checkpoint_every: Some(CheckpointEvery::Steps(5)),
        evaluate_every: EvaluateEvery::Steps(6),
        ..TrainConfig::default()
    };
    change(&mut config);
    config
}

pub fn checkpoints(folder: &Path) -> Vec<(usize, PathBuf)> {
    let entries = std::fs::read_dir(folder.join("unfinished")).into_iter().flatten().flatten();
    let own = |name: &str| name.strip_prefix("checkpoint-")?.split(['.', '-']).next()?.parse().ok();
    let steps = |path: &Path| own(path.file_name()?.to_str()?);
    let mut found: Vec<(usize, PathBuf)> = entries.filter_map(|e| Some((steps(&e.path())?, e.path()))).collect();
    found.sort();
    found
}

/// Trains until a checkpoint of so many steps or more is there, and a little longer; whether it was stopped before its end.
pub fn train_until(model: &ModelConfig, train: &TrainConfig, dataset: &Dataset, out: &Path, steps: usize) -> bool {
    let stop = StopFlag::default();
    let watcher = std::thread::spawn({
        let (stop, out) = (stop.clone(), out.to_path_buf());
        move || {
            while !stop.is_set() && checkpoints(&out).last().is_none_or(|(found, _)| *found < steps) {
                std::thread::sleep(Duration::from_millis(1));
            }
            stop.stop();
        }
    });
    let learner = Learner::new(model.clone(), dataset, train.clone(), &spec().open().unwrap(), out).unwrap();
    let summary = learner.with_stop(stop.clone()).with_resume(true).fit().unwrap();
    stop.stop();
    watcher.join().unwrap();
    summary.interrupted
}

/// The checksum of the bundle, and the log.
pub fn left_in(out: &Path) -> [String; 2] {
    let bundle = Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap();
    [bundle.checksum, std::fs::read_to_string(out.join("log.jsonl")).unwrap()]
}

pub fn finish(model: &ModelConfig, train: &TrainConfig, dataset: &Dataset, out: &Path) -> [String; 2] {
    let learner = Learner::new(model.clone(), dataset, train.clone(), &spec().open().unwrap(), out).unwrap();
    learner.with_resume(true).fit().unwrap();
    assert!(!out.join("unfinished").exists());
    assert!(std::fs::read_dir(out).unwrap().flatten().all(|e| !e.file_name().to_string_lossy().contains("checkpoint")));
    left_in(out)
}
