//! Trainings over several ranks that are killed, and go on: on as many ranks to the same bits, on others to the same weights but for rounding.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::by_hand::{largest_difference, weights_in};
use crate::common::days::day;
use crate::common::stopped::{checkpoints, left_in, train_until};
use crate::common::{RECIPE, is_slow, small_with, smooth, spec};
use stem_core::{ModelConfig, ModelName};
use stem_data::{Dataset, Known, PrepareOptions, Recipe, prepare};
use stem_train::optimizer::{Adagrad, Adam};
use stem_train::ranks::{Ranks, Team, Threads};
use stem_train::{
    CHECKPOINT, CheckpointEvery, Error, EvaluateEvery, FitSummary, Learner, NewRows, OptimizerConfig, Start,
    TrainConfig,
};

/// A rank that dies at one of its calls.
#[derive(Debug)]
struct Dying {
    team: Team,
    at: usize,
    calls: AtomicUsize,
}

impl Ranks for Dying {
    fn rank(&self) -> usize {
        self.team.rank()
    }
    fn ranks(&self) -> usize {
        self.team.ranks()
    }
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        assert!(self.calls.fetch_add(1, Ordering::Relaxed) < self.at, "killed");
        self.team.exchange(parts)
    }
    fn sent(&self) -> u64 {
        self.team.sent()
    }
}

/// A table of 3000 rows and more, of which a step reads few, so that checkpoints are of changed rows.
fn data(folder: &Path) -> Dataset {
    let user = r#"{ column = "user", kind = "category" }"#;
    let recipe = RECIPE.replace(user, r#"{ column = "user", kind = "category", hash = 3000 }"#);
    let recipe = Recipe::parse(&recipe.replace("rows = 6000", "rows = 1500"), "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig {
        seed: 3,
        optimizer: OptimizerConfig::Adam(Adam { epsilon: 1e-4, ..Adam::default() }),
        batch_size: 64,
        epochs: 2,
        embedding_std: 0.05,
        checkpoint_every: Some(CheckpointEvery::Steps(4)),
        evaluate_every: EvaluateEvery::Steps(10),
        patience: 9,
        ..TrainConfig::default()
    }
}

/// What each rank's training comes to that goes on in `out`.
fn go_on(ranks: usize, data: &Dataset, config: &TrainConfig, out: &Path) -> Vec<Result<FitSummary, Error>> {
    go_on_with(&smooth(ModelName::Stem), ranks, data, config, out)
}

fn go_on_with(
    model: &ModelConfig,
    ranks: usize,
    data: &Dataset,
    config: &TrainConfig,
    out: &Path,
) -> Vec<Result<FitSummary, Error>> {
    Threads::run(ranks, |ranks| {
        let device = spec().open().unwrap();
        let learner = Learner::over(ranks, model.clone(), data, config.clone(), &device, out).unwrap();
        learner.with_resume(true).fit()
    })
}

/// Goes on in `out`, and ends with all ranks when one of them has made so many calls.
fn go_on_and_die(ranks: usize, data: &Dataset, config: &TrainConfig, out: &Path, when: (usize, usize)) -> bool {
    go_on_with_and_die(&smooth(ModelName::Stem), ranks, data, config, out, when)
}

fn go_on_with_and_die(
    model: &ModelConfig,
    ranks: usize,
    data: &Dataset,
    config: &TrainConfig,
    out: &Path,
    (rank, at): (usize, usize),
) -> bool {
    let killed = catch_unwind(AssertUnwindSafe(|| {
        Threads::run(ranks, |ranks| {
            let at = if ranks.rank() == rank { at } else { usize::MAX };
            let dying = Team::new(Dying { team: ranks, at, calls: AtomicUsize::new(0) });
            let device = spec().open().unwrap();
            let learner = Learner::over(dying, model.clone(), data, config.clone(), &device, out).unwrap();
            learner.with_resume(true).fit()
        })
    }));
    killed.is_err()
}

fn bundle(out: &Path) -> PathBuf {
    out.join("bundle.safetensors")
}

#[test]
fn a_training_of_three_ranks_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_never_was() {
    if is_slow() {
        return; // a GPU adds up in whatever order its threads come
    }
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for optimizer in [config().optimizer, OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() })] {
        let config = TrainConfig { optimizer, ..config() };
        let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
        go_on(3, &data, &config, &whole).into_iter().for_each(|done| drop(done.unwrap()));
        let (mut kills, mut on_top) = (0, false);
        for at in (40..).step_by(23) {
            // other ranks, and other moments of a step, each time
            if !go_on_and_die(3, &data, &config, &killed, (kills % 3, at)) {
                break;
            }
            kills += 1;
            on_top |= checkpoints(&killed).iter().any(|(_, path)| path.to_string_lossy().contains("-on-"));
        }
        assert!(kills > 3 && on_top, "{kills} kills, {on_top}");
        assert_eq!(left_in(&killed), left_in(&whole));
        assert!(!killed.join("unfinished").exists());
        [whole, killed].iter().for_each(|out| std::fs::remove_dir_all(out).unwrap());
    }
}

#[test]
fn a_training_whose_batches_are_normalised_over_ranks_goes_on_to_the_bits_of_one_that_was_never_killed() {
    if is_slow() {
        return println!("skipped: refused by its name on other devices");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let model = small_with(ModelName::Stem, "hidden = { activation = \"dice\", batch_norm = true }");
    let [whole, killed] = ["whole", "killed"].map(|out| folder.path().join(out));
    go_on_with(&model, 2, &data, &config(), &whole).into_iter().for_each(|done| drop(done.unwrap()));
    let (mut kills, mut from_checkpoint) = (0, 0);
    for at in (150..).step_by(190) {
        if !go_on_with_and_die(&model, 2, &data, &config(), &killed, (kills % 2, at)) {
            break;
        }
        kills += 1;
        from_checkpoint += usize::from(!checkpoints(&killed).is_empty());
    }
    assert!(kills > 1 && from_checkpoint > 1, "{kills} kills, {from_checkpoint} with a checkpoint");
    assert_eq!(left_in(&killed), left_in(&whole), "moving means and deviations too");
}

#[test]
fn a_checkpoint_of_some_ranks_is_gone_on_from_by_others_and_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let config = TrainConfig { evaluate_every: EvaluateEvery::default(), ..config() };
    let out = |name: &str| folder.path().join(name);
    go_on(1, &data, &config, &out("whole")).into_iter().for_each(|done| drop(done.unwrap()));
    let alone = weights_in(&bundle(&out("whole")));
    for (before, after) in [(3, 1), (1, 3), (2, 4), (4, 2)].into_iter().take(if is_slow() { 1 } else { 4 }) {
        let out = out(&format!("{before} to {after}"));
        match before {
            1 => assert!(train_until(&smooth(ModelName::Stem), &config, &data, &out, 8), "it was stopped"),
            _ => assert!(go_on_and_die(before, &data, &config, &out, (1, 150))),
        }
        assert!(!checkpoints(&out).is_empty(), "{before} ranks left something");
        go_on(after, &data, &config, &out).into_iter().for_each(|done| drop(done.unwrap()));
        let difference = largest_difference(&alone, &weights_in(&bundle(&out)));
        assert!(difference < 1e-5, "from {before} to {after} ranks: off by {difference}");
    }
}

#[test]
fn of_damaged_checkpoints_an_older_one_is_taken_by_all_and_where_none_is_of_use_all_say_so() {
    if is_slow() {
        return; // what is compared are bits
    }
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    go_on(3, &data, &config(), &whole).into_iter().for_each(|done| drop(done.unwrap()));
    assert!(go_on_and_die(3, &data, &config(), &out, (2, 260)));
    let before = checkpoints(&out);
    assert!(before.len() >= 2, "{before:?}");
    // in the middle of the table, where it is found only once most of it was sent
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let all_of = |ranks, config: &TrainConfig| -> Vec<String> {
        go_on(ranks, &data, config, &out).into_iter().map(|done| done.unwrap_err().to_string()).collect()
    };
    let others = all_of(2, &TrainConfig { learning_rate: 0.5, ..config() });
    assert!(others[0].contains("is of another training: train.learning_rate is"), "{others:?}");
    assert!(others[1].starts_with("rank 0: ") && others[1].contains("train.learning_rate is"), "{others:?}");
    flip(&before.last().unwrap().1);
    assert!(!go_on_and_die(3, &data, &config(), &out, (0, usize::MAX)));
    assert_eq!(left_in(&out), left_in(&whole));

    std::fs::remove_dir_all(&out).unwrap();
    assert!(go_on_and_die(3, &data, &config(), &out, (1, 260)));
    let before = checkpoints(&out);
    before.iter().for_each(|(_, path)| flip(path));
    let refused = all_of(3, &config());
    assert!(
        refused[0].contains("none of the checkpoints in") && refused[0].contains("Nothing was removed"),
        "{refused:?}"
    );
    assert!(refused[1..].iter().all(|text| text.starts_with("rank 0: none of the checkpoints")), "{refused:?}");
    assert_eq!(checkpoints(&out), before);
}

#[test]
fn a_training_of_several_ranks_that_has_ended_is_not_trained_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let config = TrainConfig { epochs: 1, checkpoint_every: None, ..config() };
    let run = || {
        Threads::run(2, |ranks| {
            let device = spec().open().unwrap();
            let out = folder.path().join("out");
            let learner = Learner::over(ranks, smooth(ModelName::Stem), &data, config.clone(), &device, out).unwrap();
            learner.with_resume(true).fit_in_place().unwrap()
        })
    };
    let first = run();
    assert!(first.iter().all(|summary| summary.sent > 0));
    assert_eq!(run(), vec![FitSummary { sent: 0, ..first[0].clone() }; 2], "what rank 0 has marked");
}

#[test]
fn several_ranks_train_on_a_bundle_or_a_checkpoint_of_any_number_as_one_process_does() {
    let folder = tempfile::tempdir().unwrap();
    let monday = day(folder.path(), "monday", 1, (900, 0.0), None);
    let config = TrainConfig {
        checkpoint_every: None,
        keep_checkpoint: true,
        evaluate_every: EvaluateEvery::default(),
        ..config()
    };
    let fit = |ranks: usize, data: &Dataset, from: Option<&Path>, config: &TrainConfig, out: &Path| {
        Threads::run(ranks, |ranks| {
            let device = spec().open().unwrap();
            let learner = Learner::over(ranks, smooth(ModelName::Stem), data, config.clone(), &device, out).unwrap();
            let learner = match from {
                Some(path) => learner.with_start(Start::<ModelConfig>::open(path).unwrap(), 0).unwrap(),
                None => learner,
            };
            let mut learner = learner;
            learner.fit().unwrap();
        });
        weights_in(&bundle(out))
    };
    let of = |name: &str| folder.path().join(name);
    let [one, three] = [1, 3].map(|ranks| {
        let out = of(&format!("monday of {ranks}"));
        fit(ranks, &monday, None, &config, &out);
        out
    });
    let start = Start::<ModelConfig>::open(one.join(CHECKPOINT)).unwrap();
    let tuesday = day(folder.path(), "tuesday", 11, (900, 0.0), Some(Known::from(&*start.bundle)));
    for new_rows in [NewRows::Mean, NewRows::Unseen, NewRows::Drawn] {
        let config = TrainConfig { new_rows, ..config.clone() };
        for file in ["bundle.safetensors", CHECKPOINT] {
            let alone = fit(1, &tuesday, Some(&one.join(file)), &config, &of("alone"));
            for (ranks, start) in [(2, &one), (2, &three), (1, &three)] {
                let found = fit(ranks, &tuesday, Some(&start.join(file)), &config, &of("several"));
                let difference = largest_difference(&alone, &found);
                assert!(difference < 1e-5, "{new_rows:?}, {file} on {ranks} ranks: off by {difference}");
            }
            if is_slow() {
                return;
            }
        }
    }
}
