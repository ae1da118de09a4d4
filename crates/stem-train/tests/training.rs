//! Training as an application runs it.
#![allow(clippy::unwrap_used)]

mod common;
use std::collections::BTreeMap;

use common::*;
use stem_core::{DeviceSpec, ModelSpec, Predictor, Row, Value};
use stem_data::{Recipe, Split, prepare};
use stem_train::{Error, Experiment, Learner, ModelName, Monitor, StopFlag, TableMode, TrainConfig, measure, run};

#[test]
fn every_model_learns_and_leaves_bundle_metrics_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    for &model in ModelName::ALL {
        let out = folder.path().join(model.as_str());
        let metrics = run(model, &experiment(), &dataset, &out, &options()).unwrap();
        assert!(metrics.test["a"].auc.unwrap() > 0.6, "{}: {:?}", model.as_str(), metrics.test);
        assert!(metrics.test["b"].gauc.unwrap() > 0.5, "{}: {:?}", model.as_str(), metrics.test);
        let written = std::fs::read_to_string(out.join("metrics.json")).unwrap();
        assert_eq!(written, serde_json::to_string_pretty(&metrics).unwrap() + "\n");
        let predictor = Predictor::open(out.join("bundle.safetensors"), &spec().open().unwrap()).unwrap();
        assert_eq!(measure(&predictor, &dataset, Split::Test).unwrap(), metrics.test);
        let lines = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
        assert!(lines.lines().count() >= 1);
        for line in lines.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let task = entry["task"].as_str().unwrap_or("a"); // single-task logs say whose line it is
            assert!(entry["loss"][task].as_f64().unwrap() > 0.0 && entry["valid"].is_object(), "{line}");
        }
    }
}

#[test]
fn a_predictor_scores_raw_test_rows_as_the_trainer_evaluates_them() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let config = TrainConfig { epochs: 1, ..experiment().train };
    let device = spec().open().unwrap();
    let mut learner =
        Learner::new(experiment().model(ModelName::Stem), &dataset, config, &device, folder.path().join("out"))
            .unwrap();
    learner.fit().unwrap();
    // Every raw row is scored; the test rows are found again by their encoded labels' order, which is the log's.
    let mut log = csv::Reader::from_path(folder.path().join("log.csv")).unwrap();
    let header = log.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = log.records().map(Result::unwrap).collect();
    let raw = |record: &csv::StringRecord| -> Row { header.iter().zip(record.iter().map(Value::from)).collect() };
    let rows: Vec<Row> = records.iter().map(raw).collect();
    let predictor = Predictor::open(learner.bundle_path(), &device).unwrap();
    let raw_scores = predictor.predict(&rows).unwrap();
    let raw_scores: Vec<&[f32]> = raw_scores.rows().collect();
    let evaluated = learner.score(Split::Test).unwrap();
    assert_eq!(evaluated.len(), 2 * dataset.rows(Split::Test));
    // Walk both in order: each test row must be the next raw row with its scores.
    let mut next = raw_scores.iter();
    for scores in evaluated.chunks_exact(2) {
        let found = next.any(|raw| raw.iter().zip(scores).all(|(a, b)| (a - b).abs() <= 1e-6));
        assert!(found, "scores {scores:?} of a test row are not those of any later raw row");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let of_seed = |seed: u64, name: &str| {
        let mut experiment = experiment();
        experiment.train = TrainConfig { seed, epochs: 1, ..experiment.train };
        run(ModelName::Stem, &experiment, &dataset, &folder.path().join(name), &options()).unwrap().test
    };
    let (first, again, other) = (of_seed(1, "x"), of_seed(1, "y"), of_seed(2, "z"));
    let auc = |metrics: &BTreeMap<String, stem_train::TaskMetrics>| metrics["a"].auc.unwrap();
    assert!((auc(&first) - auc(&again)).abs() < 1e-6);
    assert_ne!(auc(&first), auc(&other));
}

#[test]
fn a_single_task_bundle_holds_what_each_task_learned_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let metrics = run(ModelName::SingleTask, &experiment(), &dataset, &out, &options()).unwrap();
    let device = spec().open().unwrap();
    for (t, task) in ["a", "b"].into_iter().enumerate() {
        let alone = Predictor::open(out.join(format!("task-{t}/bundle.safetensors")), &device).unwrap();
        let alone = measure(&alone, &dataset.only_task(t), Split::Test).unwrap()[task];
        assert!((alone.auc.unwrap() - metrics.test[task].auc.unwrap()).abs() < 1e-6);
    }
}

#[test]
fn dense_mode_trains_too() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let mut experiment = experiment();
    experiment.train.table = TableMode::Dense;
    let metrics = run(ModelName::Stem, &experiment, &dataset, &folder.path().join("out"), &options()).unwrap();
    assert!(metrics.test["a"].auc.unwrap() > 0.6);
}

#[test]
fn a_stop_before_the_first_step_still_leaves_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let stop = StopFlag::default();
    stop.stop();
    let options = stem_train::RunOptions { stop, ..options() };
    let metrics = run(ModelName::Stem, &experiment(), &dataset, &folder.path().join("out"), &options).unwrap();
    assert!(metrics.interrupted && metrics.epochs == 0);
    assert!(folder.path().join("out/bundle.safetensors").exists());
}

#[test]
fn a_stop_before_every_single_task_is_trained_writes_no_bundle_of_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let stop = StopFlag::default();
    stop.stop();
    let options = stem_train::RunOptions { stop, ..options() };
    let out = folder.path().join("out");
    let message = run(ModelName::SingleTask, &experiment(), &dataset, &out, &options).unwrap_err().to_string();
    assert!(message.starts_with("stopped before task 'a' was trained"), "{message}");
    assert!(!out.join("bundle.safetensors").exists());
}

#[test]
fn a_loss_that_is_not_finite_stops_with_step_and_task_and_keeps_the_older_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    run(ModelName::Stem, &experiment(), &dataset, &out, &options()).unwrap();
    let before = std::fs::read(out.join("bundle.safetensors")).unwrap();
    let mut wild = experiment();
    wild.train.learning_rate = 1e30;
    let error = run(ModelName::Stem, &wild, &dataset, &out, &options()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::NotFinite { .. }), "{message}");
    assert!(message.starts_with("the loss of task '") && message.contains("Try a lower learning_rate"), "{message}");
    let kept = message.contains("last-good.safetensors") && out.join("last-good.safetensors").exists();
    let nothing_to_keep = message.contains("nothing was saved"); // a GPU's loss is read after the weights broke
    assert!(kept || (nothing_to_keep && matches!(spec(), DeviceSpec::Wgpu(_))), "{message}");
    assert_eq!(std::fs::read(out.join("bundle.safetensors")).unwrap(), before);
}

#[test]
fn settings_that_cannot_train_are_refused_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let base = experiment().train;
    let message = |config: TrainConfig| {
        let spec_ = experiment().model(ModelName::Stem);
        Learner::new(spec_, &dataset, config, &spec().open().unwrap(), folder.path()).unwrap_err().to_string()
    };
    let refused = |config: TrainConfig, text: &str| {
        assert_eq!(message(config), format!("training configuration: {text}"));
    };
    refused(TrainConfig { learning_rate: 0.0, ..base.clone() }, "`learning_rate` is 0, expected a number above 0");
    refused(TrainConfig { learning_rate: -1.0, ..base.clone() }, "`learning_rate` is -1, expected a number above 0");
    refused(TrainConfig { batch_size: 0, ..base.clone() }, "`batch_size` is 0, expected 1 to 16777216");
    refused(TrainConfig { epochs: 0, ..base.clone() }, "`epochs` is 0, expected 1 or more");
    refused(TrainConfig { embedding_l2: f64::NAN, ..base.clone() }, "`embedding_l2` is NaN, expected 0 or more");
    refused(
        TrainConfig { task_weights: [("buy".to_string(), 1.0)].into(), ..base.clone() },
        "`task_weights` is a weight for 'buy', expected names of the recipe's labels",
    );
    refused(
        TrainConfig { task_weights: [("a".to_string(), -1.0)].into(), ..base.clone() },
        "`task_weights` is a = -1, expected numbers of 0 or more",
    );
}

#[test]
fn gauc_needs_groups() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::parse(&RECIPE.replace("group = \"user\"", ""), "recipe.toml").unwrap();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), false).unwrap();
    let out = folder.path().join("out");
    let mut experiment = experiment();
    experiment.train.monitor = Monitor::Gauc;
    let message = run(ModelName::Stem, &experiment, &dataset, &out, &options()).unwrap_err().to_string();
    assert_eq!(
        message,
        "training configuration: `monitor` is gauc, expected auc, or a `group` in the recipe: without groups there is no gAUC"
    );
    experiment.train = TrainConfig { monitor: Monitor::Auc, epochs: 1, ..experiment.train };
    let metrics = run(ModelName::Stem, &experiment, &dataset, &out, &options()).unwrap();
    assert!(metrics.test["a"].gauc.is_none() && metrics.test["a"].auc.is_some());
}

#[test]
fn more_memory_than_the_machine_has_is_told_before_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let mut wide = experiment().with_model(stem(|config| config.dim = 65_536));
    wide.train.batch_size = 1 << 24;
    let error = run(ModelName::Stem, &wide, &dataset, &folder.path().join("out"), &options()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Memory { .. }), "{message}");
    assert!(message.starts_with("training needs about ") && message.contains("Lower the embedding width"), "{message}");
    let deep = experiment().with_model(stem(|config| {
        config.experts = vec![65_536, 65_536, 65_536];
        config.shared_experts = 64;
    }));
    let error = run(ModelName::Stem, &deep, &dataset, &folder.path().join("out"), &options()).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "the network counts too: {error}");
}

#[test]
fn an_experiment_with_an_unknown_key_names_line_and_key() {
    let message = Experiment::parse("[train]\nepochs = 3\n[stem]\ndims = 4\n", "e.toml").unwrap_err().to_string();
    assert!(message.starts_with("e.toml: ") && message.contains("line 4") && message.contains("dims"), "{message}");
    let message = Experiment::parse("[train]\nlearning_rate = \"fast\"\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("learning_rate"), "{message}");
    assert!(Experiment::load("no/such.toml").unwrap_err().to_string().starts_with("cannot read no/such.toml: "));
}

#[test]
fn a_key_of_one_model_given_to_another_is_an_error_that_names_it() {
    let message = Experiment::parse("[mmoe]\nspecific_experts = 2\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("unknown field `specific_experts`"), "{message}");
    let message = Experiment::parse("[aitm]\ndim = 4\nexperts = [8]\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("unknown field `experts`") && message.contains("`bottom`"), "{message}");
    for (section, key) in
        [("optimizer", "{ name = \"sgd\", beta1 = 0.9 }"), ("balance", "{ name = \"fixed\", rate = 1 }")]
    {
        let message = Experiment::parse(&format!("[train]\n{section} = {key}\n"), "e.toml").unwrap_err().to_string();
        assert!(message.contains("unknown field"), "{message}");
    }
}

#[test]
fn a_section_of_no_model_is_told_the_nearest() {
    let message = Experiment::parse("[train]\nepochs = 1\n[mmoe_me]\ndim = 4\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("section [mmoe_me] is neither [train] nor a model"), "{message}");
    assert!(message.contains("did you mean 'mmoe-me'?"), "{message}");
}

#[test]
fn every_experiment_beside_the_data_sets_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let datasets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let simulated = std::fs::read_dir(datasets.join("simulated/ablations")).unwrap().map(|file| file.unwrap().path());
    let beside = ["simulated", "movielens-100k"].map(|name| datasets.join(name).join("experiment.toml"));
    let experiments: Vec<_> = simulated.chain(beside).collect();
    assert!(experiments.len() >= 9);
    for path in experiments {
        let experiment = Experiment::load(&path).unwrap();
        experiment.train.check().unwrap();
        for &name in ModelName::ALL {
            experiment.model(name).check(dataset.schema()).unwrap();
        }
    }
}
