//! A training that starts from a checkpoint goes on with the optimizer's moments: those of a key are found again with its row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::by_hand::*;
use crate::common::days::day;
use crate::common::*;
use safetensors::SafeTensors;
use stem_core::{ModelConfig, ModelName};
use stem_data::{Dataset, Known};
use stem_train::optimizer::{Adagrad, Sgd};
use stem_train::{
    Best, CHECKPOINT, CheckpointEvery, Error, FitSummary, Metric, Monitor, OptimizerConfig, PriorConfig, Start,
    TrainConfig,
};

/// Every step takes all rows, so that their order is of no matter; and every step is better than the one before.
fn whole_steps() -> TrainConfig {
    TrainConfig {
        epochs: 4,
        batch_size: 1200,
        learning_rate: 0.01,
        keep_checkpoint: true,
        best: Best::Joint,
        monitor: Monitor { metric: Metric::Logloss, ..Monitor::default() },
        prior: Some(PriorConfig::Fixed { l2: 0.0 }),
        embedding_l2: None,
        optimizer: OptimizerConfig::default(),
        ..plain()
    }
}

fn fit_from(start: &Path, dataset: &Dataset, config: &TrainConfig, out: &Path) -> Result<FitSummary, Error> {
    let start = Start::<ModelConfig>::open(start)?;
    let model = start.bundle.config.clone();
    learner(&model, dataset, config, out.to_path_buf()).with_start(start, 0)?.fit()
}

/// Matrices of a checkpoint that is whole, by their names.
fn matrices(checkpoint: &Path) -> BTreeMap<String, (Vec<f32>, usize)> {
    let bytes = std::fs::read(checkpoint).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let of = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        (name, (values, view.shape().get(1).copied().unwrap_or(1)))
    };
    tensors.tensors().into_iter().map(of).collect()
}

#[test]
fn from_a_checkpoint_a_training_goes_on_as_if_it_had_not_ended_and_from_a_bundle_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = day(folder.path(), "monday", 1, (1200, 0.2), None);
    let out = |name: &str| folder.path().join(name);
    let momentum = OptimizerConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::default() });
    for optimizer in [OptimizerConfig::default(), momentum, OptimizerConfig::Adagrad(Adagrad::default())] {
        let config = TrainConfig { optimizer, ..whole_steps() };
        let half = TrainConfig { epochs: 2, ..config.clone() };
        let model = small(ModelName::SharedBottom);
        let fit =
            |config: &TrainConfig, out: &Path| learner(&model, &dataset, config, out.to_path_buf()).fit().unwrap();
        assert_eq!(fit(&config, &out("whole")).best_epoch, 4, "{optimizer:?}");
        assert_eq!(fit(&half, &out("half")).best_epoch, 2);
        let weights = |name: &str| weights_in(&out(name).join("bundle.safetensors"));
        fit_from(&out("half").join(CHECKPOINT), &dataset, &half, &out("on")).unwrap();
        fit_from(&out("half").join("bundle.safetensors"), &dataset, &half, &out("anew")).unwrap();
        let (on, anew) = (
            largest_difference(&weights("on"), &weights("whole")),
            largest_difference(&weights("anew"), &weights("whole")),
        );
        assert!(on < 1e-5 && anew > 1e-3, "{optimizer:?}: {on} from the checkpoint, {anew} from the bundle");
        // Of a folder the checkpoint is taken.
        fit_from(&out("half"), &dataset, &half, &out("of-folder")).unwrap();
        assert_eq!(weights("of-folder"), weights("on"));
    }
}

#[test]
fn moments_are_found_again_by_key_and_those_of_a_new_key_are_zero() {
    let folder = tempfile::tempdir().unwrap();
    let monday = day(folder.path(), "monday", 11, (1200, 0.2), None);
    let model = small(ModelName::Stem);
    let out = folder.path().join("out");
    learner(&model, &monday, &whole_steps(), out.clone()).fit().unwrap();
    let start = Start::<ModelConfig>::open(&out).unwrap();
    assert!(start.is_checkpoint() && start.path().ends_with(CHECKPOINT));
    let tuesday = day(folder.path(), "tuesday", 1, (1200, 0.2), Some(Known::from(&*start.bundle)));
    // A step that makes everything worse: the checkpoint that is left is of the start.
    let ruin = TrainConfig { learning_rate: 300.0, epochs: 1, ..whole_steps() };
    let later = folder.path().join("later");
    assert_eq!(fit_from(&out, &tuesday, &ruin, &later).unwrap().best_epoch, 0);

    let (before, after) = (matrices(&out.join(CHECKPOINT)), matrices(&later.join(CHECKPOINT)));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert!(before.keys().filter(|name| name.starts_with("optimizer.")).count() > 4);
    for (name, values) in &before {
        assert!(name.starts_with("embedding.") || values == &after[name], "{name}");
    }
    for name in ["embedding.table", "embedding.state.0", "embedding.state.1"] {
        let ((old, width), (new, _)) = (&before[name], &after[name]);
        let row = |values: &[f32], dataset: &Dataset, vocabulary: usize, key: i64| {
            let id = dataset.vocabularies()[vocabulary].id_of_integer(key);
            let row = (dataset.schema().offsets()[vocabulary] + id) as usize;
            values[row * width..][..*width].to_vec()
        };
        for (vocabulary, keys) in [(0, 11..=30), (1, 1..=15)] {
            for key in keys {
                let found = row(new, &tuesday, vocabulary, key);
                assert!(found == row(old, &monday, vocabulary, key) && found.iter().any(|x| *x != 0.0), "{name} {key}");
            }
        }
        let is_moments = name != "embedding.table";
        for key in 1..=10 {
            assert_eq!(row(new, &tuesday, 0, key).iter().all(|x| *x == 0.0), is_moments, "{name}: user {key} is new");
        }
    }
    assert_eq!(tuesday.vocabularies()[0].len(), 30);
}

#[test]
fn a_training_that_was_stopped_can_be_started_from_too() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = day(folder.path(), "monday", 1, (1200, 0.2), None);
    let config = TrainConfig {
        batch_size: 60,
        epochs: 50,
        checkpoint_every: Some(CheckpointEvery::Steps(4)),
        keep_checkpoint: false,
        ..whole_steps()
    };
    let out = folder.path().join("out");
    assert!(stopped::train_until(&small(ModelName::Mmoe), &config, &dataset, &out, 30), "it ends before it is stopped");
    let last: PathBuf = stopped::checkpoints(&out).pop().unwrap().1;
    let start = Start::<ModelConfig>::open(&out).unwrap();
    assert_eq!(start.path(), last);
    let once = TrainConfig { epochs: 1, checkpoint_every: None, ..config.clone() };
    let on = fit_from(&out, &dataset, &once, &folder.path().join("on")).unwrap();
    assert_eq!(on.evaluations, 2, "as it comes, and after its epoch");
    // A bundle of other keys beside it does not say whose rows these are.
    let other = day(folder.path(), "other", 5, (1200, 0.2), None);
    let other_out = folder.path().join("other-out");
    learner(&small(ModelName::Mmoe), &other, &whole_steps(), other_out.clone()).fit().unwrap();
    for (_, checkpoint) in stopped::checkpoints(&out) {
        std::fs::copy(&checkpoint, other_out.join(checkpoint.file_name().unwrap())).unwrap();
    }
    let message = Start::<ModelConfig>::open(other_out.join(last.file_name().unwrap())).unwrap_err().to_string();
    assert!(message.contains("the bundles beside it are of other trainings"), "{message}");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = day(folder.path(), "monday", 1, (1200, 0.2), None);
    let out = folder.path().join("out");
    let refused = |path: &Path, config: &TrainConfig| {
        fit_from(path, &dataset, config, &folder.path().join("refused")).unwrap_err().to_string()
    };
    for name in [ModelName::SharedBottom, ModelName::SingleTask] {
        learner(&small(name), &dataset, &whole_steps(), out.clone()).fit().unwrap();
        let other = TrainConfig { optimizer: OptimizerConfig::Adagrad(Adagrad::default()), ..whole_steps() };
        let message = refused(&out, &other);
        assert!(message.contains("trained by the optimizer adam, not by adagrad"), "{message}");
    }
    // The model of single tasks was trained as one above; each task apart has no part in its checkpoint.
    let alone = dataset.only_task(1);
    let start = Start::<ModelConfig>::open(&out).unwrap();
    let config = TrainConfig { best: Best::Joint, ..whole_steps() };
    let message = learner(&small(ModelName::SingleTask), &alone, &config, folder.path().join("alone"))
        .with_start(start, 0)
        .unwrap_err()
        .to_string();
    assert!(message.contains("trained apart"), "{message}");

    let checkpoint = out.join(CHECKPOINT);
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() - 5]).unwrap();
    let message = refused(&checkpoint, &whole_steps());
    assert!(message.contains("checkpoint.safetensors cannot be trained on: it is not whole"), "{message}");
    // What was changed in place is found when it is read.
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    std::fs::write(&checkpoint, &other).unwrap();
    let message = refused(&checkpoint, &whole_steps());
    assert!(message.contains("its contents are not those that were written"), "{message}");
    std::fs::write(&checkpoint, &bytes).unwrap();
    std::fs::remove_file(out.join("bundle.safetensors")).unwrap();
    let message = refused(&checkpoint, &whole_steps());
    assert!(message.contains("there is no bundle beside it"), "{message}");
    std::fs::remove_file(&checkpoint).unwrap();
    let message = refused(&out, &whole_steps());
    assert!(message.contains("it holds no checkpoint") && message.contains("keep_checkpoint = true"), "{message}");
}
