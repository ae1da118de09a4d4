//! Training as an application runs it.

use crate::common::*;
use stem_core::models::{AnyModel, ModelSpec};
use stem_core::{DeviceSpec, Predictor, Row, Value};
use stem_data::{BatchPlan, PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{Error, Experiment, ModelName, RunOptions, measure, run};
use stem_train::{
    BalanceConfig, Learner, Metric, Objective, OptimizerConfig, ScheduleConfig, StopFlag, TableMode, TrainConfig,
    TrainState,
};

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
    let mut learner = Learner::new(
        experiment().model(ModelName::Stem).unwrap(),
        &dataset,
        config,
        &device,
        folder.path().join("out"),
    )
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
    let apart = (first["a"].auc.unwrap() - again["a"].auc.unwrap()).abs();
    let on_gpu = matches!(spec(), DeviceSpec::Wgpu(_)); // which adds up in whatever order its threads come
    assert!(first == again || (on_gpu && apart < 1e-6), "to the last bit: {first:?}, {again:?}");
    assert_ne!(first["a"].auc, other["a"].auc);
    let table = |name: &str| {
        let path = folder.path().join(name).join("bundle.safetensors");
        let predictor = Predictor::open(path, &spec().open().unwrap()).unwrap();
        let ids: Vec<u32> = (0..predictor.table().dims()[0] as u32).collect();
        predictor.table().gather(&ids).iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    assert!(on_gpu || table("x") == table("y"));
    assert_ne!(table("x"), table("z"));
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
        let alone = &measure(&alone, &dataset.only_task(t), Split::Test).unwrap()[task];
        assert!((alone.auc.unwrap() - metrics.test[task].auc.unwrap()).abs() < 1e-6);
    }
    // What it took is that of both tasks together, one after the other.
    let log = log_of(&out);
    let epochs = |task: &str| log.iter().filter(|line| line["task"] == task).count();
    assert_eq!((epochs("a") + epochs("b"), epochs("a").max(epochs("b"))), (log.len(), metrics.epochs));
    let rows = (log.len() * dataset.rows(Split::Train)) as f64;
    assert!((metrics.rows_per_second * metrics.seconds / rows - 1.0).abs() < 1e-6);
    let merged = Predictor::open(out.join("bundle.safetensors"), &device).unwrap();
    let size = merged.config().size(dataset.schema()).parameters as usize;
    assert_eq!(metrics.parameters, size + merged.table().dims().iter().product::<usize>());
    assert!(!metrics.interrupted && metrics.memory > 0);
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
    let options = RunOptions { stop, ..options() };
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
    let options = RunOptions { stop, ..options() };
    let out = folder.path().join("out");
    let message = run(ModelName::SingleTask, &experiment(), &dataset, &out, &options).unwrap_err().to_string();
    assert!(message.starts_with("stopped before task 'a' was trained"), "{message}");
    assert!(!out.join("bundle.safetensors").exists());
}

/// Everything that an application reads of a run.
fn files_of(out: &std::path::Path) -> Vec<Vec<u8>> {
    ["bundle.safetensors", "log.jsonl", "metrics.json", "report.html"]
        .map(|name| std::fs::read(out.join(name)).unwrap())
        .into()
}

#[test]
fn a_finished_run_is_replaced_only_where_that_is_allowed_and_only_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let train = |model: ModelName, overwrite: bool, stop: bool| {
        let options = RunOptions { overwrite, ..options() };
        if stop {
            options.stop.stop();
        }
        run(model, &experiment(), &dataset, &out, &options)
    };
    train(ModelName::SharedBottom, false, false).unwrap();
    let first = files_of(&out);
    let message = said(&train(ModelName::Stem, false, false).unwrap_err());
    assert!(message.contains("holds a run of 'shared-bottom' with seed 1: name another folder, or allow"), "{message}");
    assert_eq!(files_of(&out), first);

    let stopped = train(ModelName::Stem, true, true).unwrap();
    assert!(stopped.interrupted);
    assert_eq!(files_of(&out), first, "a run that was stopped takes no other's place");
    assert!(out.join("unfinished/bundle.safetensors").exists());

    train(ModelName::Stem, true, false).unwrap();
    assert!(files_of(&out).iter().zip(&first).all(|(now, before)| now != before), "all four are of one run");
    assert!(!out.join("unfinished").exists());
}

#[test]
fn an_unknown_model_is_told_with_the_nearest_and_all_names() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let message = said(&run("stm", &experiment(), &dataset(folder.path()), &out, &options()).unwrap_err());
    assert!(message.starts_with("unknown model 'stm', did you mean 'stem'? Known are: stem, "), "{message}");
    assert!(!out.exists());
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
    let again = RunOptions { overwrite: true, ..options() };
    let error = run(ModelName::Stem, &wild, &dataset, &out, &again).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Train(stem_train::Error::NotFinite { .. })), "{message}");
    assert!(message.starts_with("the loss of task '") && message.contains("Try a lower learning_rate"), "{message}");
    let kept = message.contains("last-good.safetensors") && out.join("unfinished/last-good.safetensors").exists();
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
        let spec_ = experiment().model(ModelName::Stem).unwrap();
        Learner::new(spec_, &dataset, config, &spec().open().unwrap(), folder.path()).unwrap_err().to_string()
    };
    let refused = |config: TrainConfig, text: &str| {
        assert_eq!(message(config), format!("training configuration: {text}"));
    };
    refused(TrainConfig { learning_rate: 0.0, ..base.clone() }, "`learning_rate` is 0, expected a number above 0");
    refused(TrainConfig { learning_rate: -1.0, ..base.clone() }, "`learning_rate` is -1, expected a number above 0");
    refused(TrainConfig { batch_size: 0, ..base.clone() }, "`batch_size` is 0, expected 1 to 16777216");
    refused(TrainConfig { epochs: 0, ..base.clone() }, "`epochs` is 0, expected 1 or more");
    refused(TrainConfig { embedding_l2: Some(f64::NAN), ..base.clone() }, "`embedding_l2` is NaN, expected 0 or more");
    assert_eq!(
        message(TrainConfig { task_weights: [("buy".to_string(), 1.0)].into(), ..base.clone() }),
        "unknown label \"buy\" in [train.task_weights]. The labels are: a, b"
    );
    refused(
        TrainConfig { task_weights: [("a".to_string(), -1.0)].into(), ..base.clone() },
        "`task_weights` is a = -1, expected numbers of 0 or more",
    );
}

#[test]
fn a_setting_that_does_not_fit_the_data_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = RECIPE.replace("{ column = \"a\" }", "{ column = \"a\", kind = \"count\" }");
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), &PrepareOptions::default()).unwrap();
    let out = folder.path().join("out");
    for (text, expected) in [
        ("[train.losses.x]\nname = \"focal\"", "e.toml: unknown label \"x\" in [train.losses]. The labels are: a, b"),
        (
            "[train]\nmonitor = { task = \"x\" }",
            "e.toml: unknown label \"x\" in `monitor` of [train]. The labels are: a, b",
        ),
        (
            "[train.losses.a]\nname = \"focal\"",
            "e.toml: model configuration: `losses.a.name` is focal of a label of kind count, expected a label of kind binary",
        ),
        (
            "[stem]\ninterest = { candidates = { user = \"item\" } }",
            "e.toml: model configuration: `[stem] interest.candidates` is user, expected the name of a sequence: only a list of values is \
             attended",
        ),
    ] {
        let experiment = Experiment::parse(text, "e.toml").unwrap();
        let message = run(ModelName::Stem, &experiment, &dataset, &out, &options()).unwrap_err().to_string();
        assert_eq!(message, expected);
    }
}

#[test]
fn gauc_needs_groups() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::parse(&RECIPE.replace("group = \"user\"", ""), "recipe.toml").unwrap();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), &PrepareOptions::default()).unwrap();
    let out = folder.path().join("out");
    let mut experiment = experiment();
    experiment.train.monitor = Metric::Gauc.into();
    let message = run(ModelName::Stem, &experiment, &dataset, &out, &options()).unwrap_err().to_string();
    assert_eq!(
        message,
        "experiment.toml: training configuration: `monitor` is gauc, expected auc or logloss, or a `group` in the recipe: it is measured within groups"
    );
    experiment.train = TrainConfig { monitor: Metric::Auc.into(), epochs: 1, ..experiment.train };
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
    assert!(matches!(error, Error::Train(stem_train::Error::Memory { .. })), "{message}");
    assert!(message.starts_with("training needs about ") && message.contains("Lower what takes most"), "{message}");
    let deep = experiment().with_model(stem(|config| {
        config.experts = vec![65_536, 65_536, 65_536];
        config.shared_experts = 4096; // 4 x 4096 x 2 x 65,536^2 bytes: more than any machine has
    }));
    let error = run(ModelName::Stem, &deep, &dataset, &folder.path().join("out"), &options()).unwrap_err();
    assert!(matches!(error, Error::Train(stem_train::Error::Memory { .. })), "the network counts too: {error}");
}

#[test]
fn an_experiment_with_an_unknown_key_names_line_and_key() {
    let message = Experiment::parse("[train]\nepochs = 3\n[stem]\ndims = 4\n", "e.toml").unwrap_err().to_string();
    assert!(message.starts_with("e.toml: ") && message.contains("line 4") && message.contains("dims"), "{message}");
    let message = Experiment::parse("[train]\nlearning_rate = \"fast\"\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("learning_rate"), "{message}");
    assert!(said(&Experiment::load("no/such.toml").unwrap_err()).starts_with("cannot read no/such.toml: "));
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
    assert!(message.contains("line 3") && message.contains("[mmoe_me] is neither [train] nor a model"), "{message}");
    assert!(message.contains("did you mean 'mmoe-me'?"), "{message}");
    let message = Experiment::parse("[trian]\nepochs = 1\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("unknown section [trian], did you mean [train]?"), "{message}");
    let message = Experiment::parse("[sources]\nx = 1\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("unknown model 'sources'. Known are: stem, "), "nothing is like it: {message}");
}

#[test]
fn a_value_that_cannot_train_is_told_with_file_and_section() {
    let message = Experiment::parse("[train]\nlearning_rate = -1e-3\n", "e.toml").unwrap_err().to_string();
    assert!(message.starts_with("e.toml: [train]: ") && message.contains("`learning_rate` is -0.001"), "{message}");
    let message = Experiment::parse("[train]\noptimizer = \"adam\"\n", "e.toml").unwrap_err().to_string();
    assert!(message.contains("expected a table like { name = \"adam\" }"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let flat = experiment().with_model(stem(|config| config.dim = 0));
    let error =
        run(ModelName::Stem, &flat, &dataset(folder.path()), &folder.path().join("out"), &options()).unwrap_err();
    assert_eq!(error.to_string(), "model configuration: `[stem] dim` is 0, expected 1 to 65536");
}

#[test]
fn every_experiment_beside_the_data_sets_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let datasets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let simulated = std::fs::read_dir(datasets.join("simulated/ablations")).unwrap().map(|file| file.unwrap().path());
    let beside = std::fs::read_dir(&datasets).unwrap().map(|folder| folder.unwrap().path().join("experiment.toml"));
    let experiments: Vec<_> = simulated.chain(beside.filter(|path| path.exists())).collect();
    assert!(experiments.len() >= 13);
    for path in experiments {
        let experiment = Experiment::load(&path).unwrap();
        experiment.train.check().unwrap();
        for &name in ModelName::ALL {
            experiment.model(name).unwrap().check(dataset.schema()).unwrap();
        }
    }
}

/// The lines of a run's log.
/// Whether a line of the log is of the best evaluation of a task so far.
fn is_best_of(line: &serde_json::Value, task: &str) -> bool {
    line["best"].as_array().is_some_and(|tasks| tasks.contains(&task.into()))
}

fn log_of(folder: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// 4200 training rows in batches of 256 are 17 steps an epoch: the warm-up ends with the 10th, the cosine with the 68th.
#[test]
fn the_rate_warms_up_and_follows_its_cosine() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let steps = dataset.rows(Split::Train).div_ceil(256) as f64;
    let mut experiment = experiment();
    let schedule = ScheduleConfig::Cosine { final_fraction: 0.1 };
    experiment.train = TrainConfig { schedule, warm_up_steps: 10, patience: 9, ..experiment.train };
    let out = folder.path().join("out");
    run(ModelName::SharedBottom, &experiment, &dataset, &out, &options()).unwrap();
    let log = log_of(&out);
    assert_eq!(log.len(), 4);
    for line in log {
        let step = line["steps"].as_f64().unwrap() - 1.0;
        let passed = (step - 10.0) / (4.0 * steps - 10.0);
        let expected = 5e-3 * (0.1 + 0.9 * (1.0 + (std::f64::consts::PI * passed).cos()) / 2.0);
        assert!((line["learning_rate"].as_f64().unwrap() - expected).abs() < 1e-12, "{line}");
    }
}

#[test]
fn every_optimizer_that_an_experiment_asks_for_is_the_one_that_trains() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = spec().open().unwrap();
    let batch = dataset.batches(Split::Train, BatchPlan { size: 1 << 20, shuffle: Some((1, 1)) }).next().unwrap();
    let train = TrainConfig {
        optimizer: OptimizerConfig::Sgd(Default::default()),
        epochs: 1,
        batch_size: 1 << 20,
        learning_rate: 0.5,
        embedding_l2: Some(0.0),
        embedding_std: 0.1,
        max_gradient_norm: 1e9,
        ..experiment().train
    };
    let config = experiment().model(ModelName::SharedBottom).unwrap();
    let seed = train.seed;
    let mut learner = Learner::new(config.clone(), &dataset, train, &device, folder.path().join("out")).unwrap();
    learner.fit().unwrap();
    // The same step by hand: w - rate * g.
    let state = TrainState::<AnyModel>::init(&config, dataset.schema(), 0.1, seed, TableMode::Dense, &device);
    let (_, gradients) = state.differentiate(&batch, &Objective::plain(2));
    let expected = state.table.rows().tensor().clone() - gradients.rows * 0.5;
    let (table, _) =
        stem_core::Bundle::<stem_core::ModelConfig>::open(learner.bundle_path()).unwrap().load(&device).unwrap();
    let apart: f32 = (table.rows().tensor().clone() - expected).abs().max().into_scalar();
    assert!(apart < 1e-5, "{apart} apart after a step of gradient descent");
}

#[test]
fn normalisation_activations_and_dropout_train_restore_and_merge() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    for (activation, model) in [("prelu", "single-task"), ("dice", "ple"), ("gelu", "stem"), ("tanh", "aitm")] {
        let model: ModelName = model.parse().unwrap();
        let mut config = serde_json::to_value(experiment().model(model).unwrap()).unwrap();
        config["hidden"] = serde_json::json!({ "activation": activation, "batch_norm": true, "dropout": 0.1 });
        let mut experiment = experiment().with_model(serde_json::from_value(config).unwrap());
        experiment.train = TrainConfig { patience: 1, network_l2: 1e-6, ..experiment.train }; // so that epochs are given back
        let out = folder.path().join(model.as_str());
        let metrics = run(model, &experiment, &dataset, &out, &options()).unwrap();
        assert!(metrics.test["a"].auc.unwrap() > 0.6, "{model} with {activation}: {:?}", metrics.test);
        let log = log_of(&out);
        let best = log.iter().rfind(|line| is_best_of(line, "a")).unwrap();
        let (logged, kept) = (best["valid"]["a"]["auc"].as_f64().unwrap(), metrics.valid["a"].auc.unwrap());
        assert!(
            (logged - kept).abs() < 1e-6,
            "{model} with {activation}: {logged} when it was best, {kept} from the bundle"
        );
    }
}

#[test]
fn gauc_can_decide_when_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let mut experiment = experiment();
    (experiment.train.monitor, experiment.train.patience) = (Metric::Gauc.into(), experiment.train.epochs);
    let out = folder.path().join("out");
    let metrics = run(ModelName::Mmoe, &experiment, &dataset, &out, &options()).unwrap();
    let log = log_of(&out);
    for task in ["a", "b"] {
        let gauc = |line: &serde_json::Value| line["valid"][task]["gauc"].as_f64().unwrap();
        let best = log.iter().rfind(|line| is_best_of(line, task)).unwrap();
        assert!(log.iter().all(|line| gauc(line) <= gauc(best)));
        let kept = metrics.valid[task].gauc.unwrap();
        assert!((kept - gauc(best)).abs() < 1e-6, "{task}: {kept}, {}", gauc(best));
    }
}

#[test]
fn options_without_effect_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = spec().open().unwrap();
    let base = experiment().train;
    let one = dataset.only_task(0);
    let refused = |dataset: &stem_data::Dataset, train: TrainConfig| {
        let config = experiment().model(ModelName::Stem).unwrap();
        Learner::new(config, dataset, train, &device, folder.path().join("out")).unwrap_err().to_string()
    };
    let message = refused(&one, TrainConfig { balance: BalanceConfig::PcGrad {}, ..base.clone() });
    assert!(message.contains("`balance` is pc-grad, expected fixed where there is one task"), "{message}");
    let message = refused(&dataset, TrainConfig { warm_up_steps: 100_000, ..base.clone() });
    assert!(message.contains("`warm_up_steps` is 100000 of "), "{message}");
    let adamw = stem_train::optimizer::AdamW { weight_decay: 300.0, ..Default::default() };
    let message = refused(&dataset, TrainConfig { optimizer: OptimizerConfig::AdamW(adamw), ..base });
    assert!(message.contains("`optimizer.weight_decay` is 300 at a rate of 0.005"), "{message}");
}

/// Sizes whose product no integer holds, or that no machine holds, are refused like any that this machine has no memory for.
#[test]
fn absurd_sizes_are_refused_and_do_not_wrap() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let deep = vec!["65536"; 64].join(", "); // as deep as a network may be: 9 TB
    for section in [
        "[stem]\nlayers = 65536\nspecific_experts = 65536\nexperts = [65536, 65536]",
        "[ple]\nlayers = 4096\nexperts = [65536, 65536]",
        "[mmoe-me]\ndim = 65536\nexpert_count = 65536\nexperts = [65536, 65536]",
        &format!("[aitm]\nbottom = [{deep}]\ntower = [65536, 65536]"),
    ] {
        let experiment = Experiment::parse(section, "e.toml").unwrap();
        let model: ModelName = section[1..section.find(']').unwrap()].parse().unwrap();
        let error = run(model, &experiment, &dataset, &folder.path().join("out"), &options()).unwrap_err();
        assert!(matches!(error, Error::Train(stem_train::Error::Memory { .. })), "{model:?}: {error}");
    }
}

#[test]
fn every_balancing_trains_and_logs_the_weights_it_learned() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    for (balance, learned) in [
        (BalanceConfig::Uncertainty { rate: 0.01 }, true),
        (BalanceConfig::Famo { rate: 0.025, decay: 1e-3 }, true),
        (BalanceConfig::Stch { mu: 1.0, warm_up: 3 }, true),
        (BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 }, true),
        (BalanceConfig::PcGrad {}, false),
    ] {
        let mut experiment = experiment();
        experiment.train = TrainConfig { balance, ..experiment.train };
        let out = folder.path().join("out");
        let again = RunOptions { overwrite: true, ..options() };
        let metrics = run(ModelName::SharedBottom, &experiment, &dataset, &out, &again).unwrap();
        assert!(metrics.test["a"].auc.unwrap() > 0.6, "{balance:?}: {:?}", metrics.test);
        let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(last["balance"]["b"].as_f64().is_some_and(|weight| weight != 1.0), learned, "{last}");
    }
}
