//! What a training that was stopped left is gone on from, or goes: it is never taken for another's.

use std::path::{Path, PathBuf};

use crate::common::stopped::*;
use crate::common::*;
use stem_core::{ModelConfig, ModelName};
use stem_data::{Dataset, StopFlag};
use stem_train::{CHECKPOINT, Error, Learner, TrainConfig};

/// A training that was stopped: its data, model, settings, and folder.
fn stopped(folder: &Path, keep_checkpoint: bool) -> (Dataset, ModelConfig, TrainConfig, PathBuf) {
    let (dataset, model) = (dataset(folder), small(ModelName::Mmoe));
    let train = config(|config| (config.epochs, config.keep_checkpoint) = (12, keep_checkpoint));
    let out = folder.join("out");
    assert!(train_until(&model, &train, &dataset, &out, 10), "it ends before it is stopped");
    (dataset, model, train, out)
}

#[test]
fn a_training_that_goes_on_without_checkpoints_publishes_none_of_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, model, train, out) = stopped(folder.path(), true);
    assert!(out.join("unfinished").join(CHECKPOINT).exists() && !checkpoints(&out).is_empty());
    let without = TrainConfig { checkpoint_every: None, keep_checkpoint: false, ..train };
    finish(&model, &without, &dataset, &out); // which looks for them
}

#[test]
fn a_training_that_begins_anew_removes_what_another_one_would_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, model, train, out) = stopped(folder.path(), true);
    let (stop, work) = (StopFlag::default(), out.join("unfinished"));
    stop.stop();
    let other = TrainConfig { learning_rate: 0.02, keep_checkpoint: false, ..train };
    let learner = Learner::new(model, &dataset, other, &spec().open().unwrap(), &work).unwrap();
    assert!(learner.with_stop(stop).fit_in_place().unwrap().interrupted);
    assert_eq!(checkpoints(&out), []);
    assert!(!work.join(CHECKPOINT).exists());
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_told_and_nothing_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, model, train, out) = stopped(folder.path(), false);
    let unreadable = out.join("unfinished/checkpoint-999999.safetensors");
    std::fs::create_dir(&unreadable).unwrap(); // reading it fails, as that of a disk that does not answer
    let before = checkpoints(&out);
    let go_on = || {
        let learner = Learner::new(model.clone(), &dataset, train.clone(), &spec().open().unwrap(), &out).unwrap();
        learner.with_resume(true).fit()
    };
    match go_on().unwrap_err() {
        Error::Checkpoint { path, .. } => assert_eq!(path, unreadable),
        other => panic!("{other}"),
    }
    assert_eq!(checkpoints(&out), before);
    std::fs::remove_dir(&unreadable).unwrap();
    go_on().unwrap();
}
