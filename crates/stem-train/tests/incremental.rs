//! Of a large table a checkpoint holds the rows that have changed since the one before. A training goes on from such a chain to the same
//! bits, also where files of it are damaged or missing. One test: the steps of a training draw from a generator that the whole process shares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::stopped::*;
use crate::common::*;
use stem_core::nn::HiddenConfig;
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_data::{Dataset, PrepareOptions, Recipe, StopFlag, prepare};
use stem_train::optimizer::{Adagrad, AdamW, Sgd};
use stem_train::{
    CheckpointEvery, Error, EvaluateEvery, Learner, OptimizerConfig, PriorConfig, TableMode, TrainConfig,
};

/// A table of 20000 rows, of which a step reads few, and others than the step before.
fn large(folder: &Path) -> Dataset {
    let user = r#"{ column = "user", kind = "category" }"#;
    let recipe = RECIPE.replace(user, r#"{ column = "user", kind = "category", hash = 20000 }"#);
    let recipe = recipe.replace("users = 60", "users = 3000");
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

fn is_on_top(path: &Path) -> bool {
    path.to_string_lossy().contains("-on-")
}

fn weights(out: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(out.join("unfinished")).unwrap().flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().contains("weights-")).collect();
    assert!(!found.is_empty());
    found
}

/// What may happen to the files of a training that was stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Nothing,
    LastCut,
    LastFlipped,
    LastMissing,
    MiddleCut,
    MiddleFlipped,
    MiddleMissing,
    FirstMissing,
    WeightsMissing,
    WeightsCut,
    LogCut,
    Everything,
}

impl Damage {
    const ALL: [Self; 12] = [
        Self::Nothing,
        Self::LastCut,
        Self::LastFlipped,
        Self::LastMissing,
        Self::MiddleCut,
        Self::MiddleFlipped,
        Self::MiddleMissing,
        Self::FirstMissing,
        Self::WeightsMissing,
        Self::WeightsCut,
        Self::LogCut,
        Self::Everything,
    ];

    fn happen(self, out: &Path) {
        let found = checkpoints(out);
        let cut = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
        };
        let flip = |path: &Path| {
            let mut bytes = std::fs::read(path).unwrap();
            let place = bytes.len() / 2; // among the rows of the table
            bytes[place] ^= 1;
            std::fs::write(path, bytes).unwrap();
        };
        let remove = |path: &Path| std::fs::remove_file(path).unwrap();
        let (first, middle, last) = (&found[0].1, &found[found.len() - 2].1, &found[found.len() - 1].1);
        match self {
            Self::Nothing => {}
            Self::LastCut => cut(last),
            Self::LastFlipped => flip(last),
            Self::LastMissing => remove(last),
            Self::MiddleCut => cut(middle),
            Self::MiddleFlipped => flip(middle),
            Self::MiddleMissing => remove(middle),
            Self::FirstMissing => remove(first),
            Self::WeightsMissing => weights(out).iter().for_each(|path| remove(path)),
            Self::WeightsCut => weights(out).iter().for_each(|path| cut(path)),
            Self::LogCut => std::fs::write(out.join("unfinished/log.jsonl"), "cut").unwrap(),
            Self::Everything => found.iter().for_each(|(_, path)| cut(path)),
        }
    }

    /// Whether nothing is left to go on from.
    fn is_fatal(self) -> bool {
        matches!(self, Self::FirstMissing | Self::Everything)
    }

    /// Whether a training that wrote these checkpoints may go on from the step `from`, 0 for the beginning.
    fn leaves(self, found: &[(usize, PathBuf)], from: usize) -> bool {
        let [.., (second, _), (last, path)] = found else { return false };
        let third = found.len().checked_sub(3).map_or(0, |place| found[place].0);
        match self {
            Self::Nothing => from == *last,
            Self::LastCut | Self::LastFlipped | Self::LastMissing => from == *second,
            // what is on top of it is of no use either
            Self::MiddleCut | Self::MiddleFlipped | Self::MiddleMissing if is_on_top(path) => from <= third,
            Self::MiddleCut | Self::MiddleFlipped | Self::MiddleMissing => from == *last,
            Self::FirstMissing | Self::Everything => false,
            Self::WeightsMissing | Self::WeightsCut | Self::LogCut => from < *last,
        }
    }
}

/// Where no checkpoint is of use, nothing is trained and nothing removed, and it is said what is wrong with each.
fn is_refused(model: &ModelConfig, train: &TrainConfig, dataset: &Dataset, out: &Path) {
    let before = checkpoints(out);
    let learner = Learner::new(model.clone(), dataset, train.clone(), &spec().open().unwrap(), out).unwrap();
    let error = learner.with_resume(true).fit().unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::NoneUsable { .. }), "{message}");
    for (_, path) in &before {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            message.contains(&format!("{name}: it is ")) || message.contains(&format!("{name}: the checkpoint ")),
            "{message}"
        );
    }
    assert!(message.contains("leaving `--resume` out"), "{message}");
    assert_eq!(checkpoints(out), before, "nothing is removed");
    let mut learner = Learner::new(model.clone(), dataset, train.clone(), &spec().open().unwrap(), out).unwrap();
    learner.fit().unwrap(); // who says so begins anew
    assert!(!out.join("unfinished").exists());
}

/// The step that a training goes on from.
fn goes_on_from(model: &ModelConfig, train: &TrainConfig, dataset: &Dataset, out: &Path) -> usize {
    let stop = StopFlag::default();
    stop.stop();
    let learner = Learner::new(model.clone(), dataset, train.clone(), &spec().open().unwrap(), out).unwrap();
    assert!(learner.with_stop(stop).with_resume(true).fit().unwrap().interrupted);
    checkpoints(out).last().unwrap().0 // what is of no use is gone
}

#[test]
fn checkpoints_on_top_of_each_other_are_gone_on_from_as_whole_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = large(folder.path());
    let on_gpu = matches!(spec(), DeviceSpec::Wgpu(_)); // adds up in whatever order its threads come
    let mut others = Vec::new();
    let mut stop_and_finish =
        |name: &str, model: &ModelConfig, train: &TrainConfig, whole: &[String; 2], damage: Damage| {
            let out = folder.path().join(format!("{name} {damage:?}"));
            assert!(train_until(model, train, &dataset, &out, 20), "{name}: it ends before it is stopped");
            let size = |path: &Path| std::fs::metadata(path).unwrap().len();
            let before: BTreeMap<PathBuf, u64> =
                checkpoints(&out).into_iter().map(|(_, path)| (path.clone(), size(&path))).collect();
            let found = checkpoints(&out);
            damage.happen(&out);
            if damage.is_fatal() {
                is_refused(model, train, &dataset, &out);
                std::fs::remove_dir_all(out).unwrap();
                return before;
            }
            let from = goes_on_from(model, train, &dataset, &out);
            if !damage.leaves(&found, from) {
                others.push(format!("{name} after {damage:?}: it goes on from step {from} of {before:?}"));
            }
            let found = checkpoints(&out);
            if damage == Damage::Nothing {
                Damage::LastCut.happen(&out); // after it has gone on from there
                let from = goes_on_from(model, train, &dataset, &out);
                if !Damage::LastCut.leaves(&found, from) {
                    others.push(format!("{name} after it has gone on: it goes on from step {from} of {found:?}"));
                }
            }
            if finish(model, train, &dataset, &out) != *whole {
                others.push(format!("{name} after {damage:?} of {before:?}"));
            }
            std::fs::remove_dir_all(out).unwrap();
            before
        };

    let train = config(|c| c.epochs = 6);
    let model = small(ModelName::Stem);
    let whole = finish(&model, &train, &dataset, &folder.path().join("whole"));
    for damage in Damage::ALL {
        let found = stop_and_finish("stem", &model, &train, &whole, damage);
        let (on_top, first): (Vec<_>, Vec<_>) = found.iter().partition(|(path, _)| is_on_top(path));
        assert!(on_top.len() >= 2 && first.len() == 1, "{found:?}");
        assert!(on_top.iter().all(|(_, size)| **size * 4 < *first[0].1), "of a fraction of the table: {found:?}");
    }

    let noisy = |config: &mut stem_core::models::StemConfig| {
        config.hidden = HiddenConfig { dropout: 0.3, batch_norm: true, ..HiddenConfig::default() };
    };
    let cases: Vec<(&str, ModelConfig, TrainConfig)> = vec![
        ("dropout, batch norm, tied prior", stem(noisy), config(|_| ())),
        (
            "diagonal prior, AdamW, unseen",
            small(ModelName::Stem),
            config(|c| {
                c.prior = Some(PriorConfig::Learned { tied: false, deviation: None, correlation: 0.5 });
                (c.optimizer, c.unseen) = (OptimizerConfig::AdamW(AdamW::default()), 2.0);
            }),
        ),
        (
            "row-wise Adagrad, restart, early stopping",
            small(ModelName::Mmoe),
            config(|c| {
                c.optimizer = OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() });
                (c.table_restart, c.patience) = (true, 3);
            }),
        ),
        (
            "momentum, one checkpoint a step, one evaluation a step",
            small(ModelName::SharedBottom),
            config(|c| {
                c.optimizer = OptimizerConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::default() });
                (c.learning_rate, c.patience) = (0.1, 1000);
                (c.checkpoint_every, c.evaluate_every) = (Some(CheckpointEvery::Steps(1)), EvaluateEvery::Steps(1));
            }),
        ),
        ("plain SGD", small(ModelName::Aitm), config(|c| c.optimizer = OptimizerConfig::Sgd(Sgd::default()))),
        ("dense", small(ModelName::Esmm), config(|c| c.table = TableMode::Dense)),
    ];
    for (name, model, train) in &cases {
        let train = TrainConfig { epochs: 4, ..train.clone() };
        let whole = finish(model, &train, &dataset, &folder.path().join(format!("{name} whole")));
        for damage in [Damage::Nothing, Damage::LastCut, Damage::MiddleCut] {
            let found = stop_and_finish(name, model, &train, &whole, damage);
            assert_eq!(found.keys().any(|path| is_on_top(path)), *name != "dense", "{name}: {found:?}");
        }
    }
    assert!(on_gpu || others.is_empty(), "other bits: {others:#?}");
}
