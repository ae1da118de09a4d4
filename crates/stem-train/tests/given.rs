//! Rows that start from given vectors, trained or frozen.

use std::path::Path;

use crate::common::by_hand::{learner, log_of, plain, weights_in};
use crate::common::stopped::{self, finish, train_until};
use crate::common::{RECIPE, is_slow, small, smooth, spec, stem};
use crate::ranks::{config, hold};
use stem_core::models::ModelSpec;
use stem_core::{Bundle, ModelConfig, ModelName, Vocabulary};
use stem_data::{Dataset, Known, PrepareOptions, Recipe, prepare, prepare_grown};
use stem_train::optimizer::{Adagrad, AdamW, Sgd};
use stem_train::{BalanceConfig, Best, Learner, OptimizerConfig, PriorConfig, StopFlag, TableMode, TrainConfig};

/// The width of the small models' embeddings.
const DIM: usize = 4;

/// The vector of an item on a day.
fn vector(item: i64, day: i64) -> [f32; DIM] {
    [item as f32 / 8.0, -0.5, day as f32, 0.25 * (item % 3) as f32]
}

/// Items 0, 2, 4 ... have vectors.
fn table(day: i64) -> String {
    let line = |item: i64| format!("{item},{}\n", vector(item, day).map(|x| x.to_string()).join(" "));
    "item,vector\n".to_string() + &(0..200).step_by(2).map(line).collect::<String>()
}

/// Without validation rows every epoch counts as the best.
fn recipe() -> Recipe {
    let recipe = RECIPE.replace("valid = 0.15", "valid = 0.0").replace("rows = 6000", "rows = 1500");
    let vectors = r#"min_count = 3, vectors = { file = "items.csv", column = "vector", separator = " " }"#;
    Recipe::parse(&recipe.replace("min_count = 3", vectors), "recipe.toml").unwrap()
}

fn data(folder: &Path) -> Dataset {
    std::fs::write(folder.join("items.csv"), table(1)).unwrap();
    prepare(&recipe(), folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

/// Floats of the rows of all items, by their key; with `given`, of those that have a vector.
fn items(bundle: &Path, given: bool) -> Vec<(i64, Vec<f32>)> {
    let bundle = Bundle::<ModelConfig>::open(bundle).unwrap();
    let (table, _) = bundle.load(&spec().open().unwrap()).unwrap();
    let Vocabulary::Integers(keys) = &bundle.vocabularies[1] else { panic!("items are integers") };
    let (first, [_, width]) = (bundle.manifest.schema.offsets()[1] as usize + 1, table.rows().dims());
    let row = |values: &[f32], place: usize| values[(first + place) * width..][..width].to_vec();
    let rows = |values: &[f32]| keys.values().iter().enumerate().map(|(i, &key)| (key, row(values, i))).collect();
    let all: Vec<(i64, Vec<f32>)> = table.rows().read(rows);
    all.into_iter().filter(|(key, _)| (key % 2 == 0) == given).collect()
}

/// Whether every group of every row is its vector.
fn are_given(rows: &[(i64, Vec<f32>)], day: i64) -> bool {
    assert!(rows.len() > 10);
    rows.iter().all(|(key, row)| row.chunks_exact(DIM).all(|group| group == vector(*key, day)))
}

fn frozen(config: TrainConfig) -> TrainConfig {
    TrainConfig { frozen: vec!["item".into()], ..config }
}

/// Fits, and gives where the bundle is.
fn fit(model: &ModelConfig, data: &Dataset, config: &TrainConfig, out: &Path) -> std::path::PathBuf {
    learner(model, data, config, out.to_path_buf()).fit().unwrap();
    out.join("bundle.safetensors")
}

/// A training without a step.
fn not_begun(model: &ModelConfig, data: &Dataset, config: &TrainConfig, out: &Path) -> std::path::PathBuf {
    let stop = StopFlag::default();
    stop.stop();
    learner(model, data, config, out.to_path_buf()).with_stop(stop).fit().unwrap();
    out.join("bundle.safetensors")
}

#[test]
fn every_embedding_of_a_row_starts_from_its_vector_in_every_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for name in ModelName::ALL.iter().take(if is_slow() { 2 } else { ModelName::ALL.len() }) {
        let out = folder.path().join(name.as_str());
        let started = not_begun(&small(*name), &data, &plain(), &out);
        assert!(are_given(&items(&started, true), 1), "{name}");
        let drawn = items(&started, false);
        assert!(drawn.iter().all(|(_, row)| row.iter().all(|x| x.abs() < 0.6 && *x != 0.0)), "the others are drawn");
        assert_eq!(items(&started, true)[0].1.len(), small(*name).widths(data.schema()).iter().sum::<usize>());
        let trained = fit(&small(*name), &data, &plain(), &folder.path().join(format!("{name}-trained")));
        assert!(items(&trained, true).iter().zip(items(&started, true)).filter(|(a, b)| **a != *b).count() > 10);
    }
}

#[test]
fn a_frozen_row_stays_whatever_the_optimizer_the_prior_and_the_balance_and_the_others_learn() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let learned = |tied| Some(PriorConfig::Learned { tied, deviation: None, correlation: 0.5 });
    let with = |optimizer| TrainConfig { optimizer, ..plain() };
    let plain = || TrainConfig { learning_rate: 0.01, ..plain() };
    let cases = [
        (
            "AdamW",
            TrainConfig {
                learning_rate: 0.01,
                ..with(OptimizerConfig::AdamW(AdamW { weight_decay: 0.5, ..AdamW::default() }))
            },
        ),
        (
            "momentum",
            TrainConfig { learning_rate: 0.01, ..with(OptimizerConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::default() })) },
        ),
        (
            "row-wise Adagrad",
            TrainConfig {
                learning_rate: 0.01,
                ..with(OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() }))
            },
        ),
        ("fixed prior", TrainConfig { embedding_l2: Some(0.1), ..plain() }),
        ("tied prior", TrainConfig { embedding_l2: None, prior: learned(true), ..plain() }),
        ("prior", TrainConfig { embedding_l2: None, prior: learned(false), ..plain() }),
        ("PCGrad", TrainConfig { balance: BalanceConfig::PcGrad {}, ..plain() }),
        ("restart", TrainConfig { table_restart: true, ..plain() }),
        ("unseen", TrainConfig { unseen: 2.0, ..plain() }),
    ];
    for (place, (name, config)) in cases.into_iter().take(if is_slow() { 2 } else { 9 }).enumerate() {
        let out = folder.path().join(place.to_string());
        let model = small(ModelName::Stem);
        let trained = fit(&model, &data, &frozen(config.clone()), &out.join("frozen"));
        assert!(are_given(&items(&trained, true), 1), "{name}");
        let started = not_begun(&model, &data, &config, &out.join("started"));
        let moved = items(&trained, false).iter().zip(items(&started, false)).filter(|(a, b)| **a != *b).count();
        assert!(moved > 10, "{name}: {moved} rows without a vector are trained");
        assert!(log_of(&out.join("frozen")).iter().all(|line| line["loss"]["a"].as_f64().unwrap() < 1.0), "{name}");
    }
}

/// After one step of plain gradient descent all but the frozen rows are where they are without frozen ones; a norm that gradients are held to is that
/// of what moves.
#[test]
fn what_is_not_frozen_moves_as_if_nothing_were_and_the_norm_is_that_of_what_moves() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let model = small(ModelName::Stem);
    let one = TrainConfig { batch_size: 4096, epochs: 1, learning_rate: 0.5, ..plain() };
    let norm = TrainConfig { max_gradient_norm: 0.01, ..one.clone() };
    let run = |name: &str, config: &TrainConfig| weights_in(&fit(&model, &data, config, &folder.path().join(name)));
    let started = weights_in(&not_begun(&model, &data, &one, &folder.path().join("started")));
    let (all, some, held) = (run("all", &one), run("some", &frozen(one.clone())), run("held", &frozen(norm.clone())));
    let moves = |weights: &[f32]| -> Vec<f64> {
        weights.iter().zip(&started).map(|(now, then)| f64::from(*now) - f64::from(*then)).collect()
    };
    let (all, some, held) = (moves(&all), moves(&some), moves(&held));
    let stayed = all.iter().zip(&some).filter(|(all, some)| **all != 0.0 && **some == 0.0).count();
    assert!(stayed > 10 * 3 * DIM, "rows with a vector of {stayed} floats");
    for (all, some) in all.iter().zip(&some) {
        assert!(*some == 0.0 || (all - some).abs() < 1e-7, "{all} {some}");
    }
    let size = held.iter().map(|x| x * x).sum::<f64>().sqrt();
    let off = (size / (0.5 * 0.01) - 1.0).abs(); // 1e-4 where frozen rows count
    assert!(off < 3e-5, "{off}");
}

#[test]
fn given_rows_trained_or_frozen_are_on_several_ranks_what_they_are_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let model = smooth(ModelName::Stem);
    hold("trained", &model, &data, &config());
    let adamw = OptimizerConfig::AdamW(AdamW { epsilon: 1e-4, ..AdamW::default() });
    hold("frozen", &model, &data, &frozen(TrainConfig { optimizer: adamw, max_gradient_norm: 0.05, ..config() }));
    if !is_slow() {
        let prior = Some(PriorConfig::Learned { tied: true, deviation: None, correlation: 0.5 });
        hold("frozen, tied", &model, &data, &frozen(TrainConfig { prior, embedding_l2: None, ..config() }));
        let balance = BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 };
        hold("frozen, GradNorm", &model, &data, &frozen(TrainConfig { balance, ..config() }));
        let batch_size = data.rows(stem_data::Split::Train) - 1; // the second batch has one row, whose item some ranks do not have
        hold("one row", &model, &data, &frozen(TrainConfig { batch_size, ..config() }));
    }
}

#[test]
fn a_training_with_frozen_rows_that_was_stopped_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let (model, train) = (small(ModelName::Stem), frozen(stopped::config(|c| c.batch_size = 60)));
    let whole = finish(&model, &train, &data, &folder.path().join("whole"));
    let out = folder.path().join("stopped");
    assert!(train_until(&model, &train, &data, &out, 5), "stopped before its end");
    let again = finish(&model, &train, &data, &out);
    if !is_slow() {
        assert_eq!(again[0], whole[0]);
    }
    assert!(are_given(&items(&out.join("bundle.safetensors"), true), 1));
}

#[test]
fn a_model_that_is_trained_on_keeps_what_its_rows_learned_and_new_keys_start_from_their_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let model = small(ModelName::Stem);
    let config = TrainConfig { best: Best::Joint, ..plain() };
    let before = fit(&model, &data, &config, &folder.path().join("out"));
    let bundle = std::sync::Arc::new(Bundle::<ModelConfig>::open(&before).unwrap());
    // The next day has items beyond those of the first, and other vectors.
    let next = folder.path().join("next");
    std::fs::create_dir(&next).unwrap();
    std::fs::write(next.join("items.csv"), table(2)).unwrap();
    let log = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let (head, rows) = log.split_once('\n').unwrap();
    let place = head.split(',').position(|name| name == "item").unwrap();
    let later = rows.lines().map(|line| {
        let mut cells: Vec<String> = line.split(',').map(str::to_string).collect();
        let item: i64 = cells[place].parse().unwrap();
        cells[place] = (item + 60 * (item % 5 / 4)).to_string();
        cells.join(",") + "\n"
    });
    std::fs::write(next.join("log.csv"), format!("{head}\n{}", later.collect::<String>())).unwrap();
    let text = recipe().text;
    let text = &text[..text.find("[simulator]").unwrap()];
    let recipe = Recipe::parse(text, "recipe.toml").unwrap();
    let known = Known::from(&*bundle);
    let grown = prepare_grown(&recipe, known, &next, &next.join("columns"), &PrepareOptions::default()).unwrap();
    let started = |config: &TrainConfig, name: &str| {
        let stop = StopFlag::default();
        stop.stop();
        let out = folder.path().join(name);
        let learner = learner(&model, &grown, config, out.clone()).with_start(bundle.clone(), 0).unwrap();
        learner.with_stop(stop).fit().unwrap();
        items(&out.join("bundle.safetensors"), true)
    };
    let of_before = items(&before, true);
    let (new, old): (Vec<_>, Vec<_>) = started(&config, "on").into_iter().partition(|(key, _)| *key >= 60);
    assert!(new.len() > 2 && new.iter().all(|(key, row)| row.chunks_exact(DIM).all(|group| group == vector(*key, 2))));
    assert!(old.iter().all(|row| of_before.contains(row)), "what they have learned they keep");
    assert!(are_given(&started(&frozen(config.clone()), "frozen"), 2), "frozen rows are what their vectors are today");
}

#[test]
fn settings_that_do_not_fit_the_vectors_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let message = |model: ModelConfig, config: TrainConfig| {
        let device = spec().open().unwrap();
        Learner::new(model, &data, config, &device, folder.path().join("out")).map(drop).unwrap_err().to_string()
    };
    let found = message(stem(|stem| stem.dim = 6), plain());
    assert!(
        found.contains("`dim` is 6 beside vectors of 4 numbers for \"item\", expected as many as the vectors have"),
        "{found}"
    );
    let found = message(stem(|stem| stem.shared_dim = Some(3)), plain());
    assert!(found.contains("`dim` is 3 beside vectors of 4 numbers"), "{found}");
    for name in ["user", "itme"] {
        let found = message(small(ModelName::Stem), TrainConfig { frozen: vec![name.into()], ..plain() });
        let expected = format!(
            "`frozen` is {name}, and the recipe gives vectors to item alone, expected fields whose `vectors` the recipe names"
        );
        assert!(found.contains(&expected), "{found}");
    }
    let found = message(small(ModelName::Stem), TrainConfig { table: TableMode::Dense, ..frozen(plain()) });
    assert!(found.contains("`table` is dense, expected row-sparse where `frozen` names fields"), "{found}");
    message_of_none(&folder.path().join("none"));
}

/// Where the recipe has no vectors at all.
fn message_of_none(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let data = crate::common::by_hand::without_validation(folder);
    let learner =
        Learner::new(small(ModelName::Stem), &data, frozen(plain()), &spec().open().unwrap(), folder.join("out"));
    let found = learner.map(drop).unwrap_err().to_string();
    assert!(found.contains("`frozen` is item, and the recipe gives vectors to no field"), "{found}");
}
