//! What a configuration asks for reaches the weights: the learner is held to the same steps taken one by one.

use std::path::Path;

use crate::common::by_hand::*;
use crate::common::*;
use stem_core::lock::Lock;
use stem_core::nn::HiddenConfig;
use stem_core::precision::Precision;
use stem_core::{Bundle, DeviceSpec, ModelConfig, ModelName, Predictor};
use stem_data::{BatchPlan, Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_report::analysis::LabelKind;
use stem_report::metrics::TaskMetrics;
use stem_train::optimizer::{Adagrad, Sgd};
use stem_train::{
    BalanceConfig, Best, Error, EvaluateEvery, Metric, Monitor, Objective, OptimizerConfig, PriorConfig,
    ScheduleConfig, TableMode, TrainConfig, check,
};

/// Whether a line of the log is of an evaluation that was somebody's best.
fn is_best(line: &serde_json::Value) -> bool {
    line["best"].as_array().is_some_and(|tasks| !tasks.is_empty())
}

/// The bundle of a training holds what the steps by hand come to.
fn assert_steps(spec: &ModelConfig, dataset: &Dataset, config: &TrainConfig, objective: Objective, rates: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let summary = fit(spec, dataset, config, folder.path());
    assert_eq!((summary.epochs, summary.best_epoch), (config.epochs, config.epochs));
    let found = weights_in(&folder.path().join("bundle.safetensors"));
    let (expected, _) = ByHand { spec, dataset, config, objective }.steps(rates);
    let off = largest_difference(&found, &expected);
    assert!(off < 1e-6, "{config:?}: {off} apart");
}

#[test]
fn task_weights_l2_and_clip_of_the_configuration_reach_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::SharedBottom);
    let rates = [0.3; 6];
    let weighted = TrainConfig { task_weights: [("b".to_string(), 3.0)].into(), ..plain() };
    let objective = Objective { task_weights: vec![1.0, 3.0], ..Objective::plain(2) };
    assert_steps(&model, &dataset, &weighted, objective, &rates);
    let decayed = TrainConfig { embedding_l2: Some(0.5), ..plain() };
    assert_steps(&model, &dataset, &decayed, Objective { embedding_l2: 0.5, ..Objective::plain(2) }, &rates);
    let decayed = TrainConfig { network_l2: 0.5, ..plain() };
    assert_steps(&model, &dataset, &decayed, Objective { network_l2: 0.5, ..Objective::plain(2) }, &rates);
    let clipped = TrainConfig { max_gradient_norm: 0.02, ..plain() };
    assert_steps(&model, &dataset, &clipped, Objective::plain(2), &rates);
    // Each of these settings shows: without it the weights are others.
    let by_hand = |config: &TrainConfig, objective: Objective| {
        ByHand { spec: &model, dataset: &dataset, config, objective }.steps(&rates).0
    };
    let without = by_hand(&plain(), Objective::plain(2));
    for objective in [
        Objective { task_weights: vec![1.0, 3.0], ..Objective::plain(2) },
        Objective { embedding_l2: 0.5, ..Objective::plain(2) },
        Objective { network_l2: 0.5, ..Objective::plain(2) },
    ] {
        assert!(largest_difference(&without, &by_hand(&plain(), objective)) > 1e-3);
    }
    assert!(largest_difference(&without, &by_hand(&clipped, Objective::plain(2))) > 1e-3);
}

#[test]
fn optimizer_table_mode_precision_and_start_of_the_configuration_are_those_that_train() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = stem(|config| (config.experts, config.gate, config.tower) = (vec![96, 64], vec![64], vec![64]));
    let momentum = OptimizerConfig::Sgd(Sgd { momentum: 0.9, nesterov: true });
    let row_wise = OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() });
    for changed in [
        TrainConfig { optimizer: momentum, ..plain() },
        TrainConfig { optimizer: row_wise, learning_rate: 0.01, ..plain() },
        TrainConfig { optimizer: OptimizerConfig::default(), learning_rate: 0.01, ..plain() },
        TrainConfig { table: TableMode::Dense, optimizer: momentum, ..plain() },
        TrainConfig { precision: Precision::Bf16, ..plain() },
        TrainConfig { embedding_std: 0.5, seed: 8, ..plain() },
    ] {
        let rates = [changed.learning_rate; 6];
        assert_steps(&model, &dataset, &changed, Objective::plain(2), &rates);
    }
}

/// 1500 rows, of which 15 in 100 are tested on, are three steps an epoch.
#[test]
fn the_weights_move_by_the_rate_of_the_schedule_in_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::SharedBottom);
    let steps = 2 * dataset.rows(Split::Train).div_ceil(500);
    assert_eq!(steps, 6);
    let schedule = ScheduleConfig::Cosine { final_fraction: 0.2 };
    let cosine = TrainConfig { schedule, warm_up_steps: 2, ..plain() };
    let rate = |passed: f64| 0.3 * (0.2 + 0.8 * (1.0 + (std::f64::consts::PI * passed).cos()) / 2.0);
    let rates = [0.15, 0.3, rate(0.0), rate(0.25), rate(0.5), rate(0.75)];
    assert_steps(&model, &dataset, &cosine, Objective::plain(2), &rates);
    let out = folder.path().join("out");
    fit(&model, &dataset, &cosine, &out);
    let logged: Vec<f64> = log_of(&out).iter().map(|line| line["learning_rate"].as_f64().unwrap()).collect();
    assert!(logged.iter().zip([rates[2], rates[5]]).all(|(a, b)| (a - b).abs() < 1e-12), "{logged:?}");
    // The rates show, and so does the order of the second epoch's batches.
    let by_hand = ByHand { spec: &model, dataset: &dataset, config: &cosine, objective: Objective::plain(2) };
    let (weights, losses) = by_hand.steps(&rates);
    assert!(largest_difference(&weights, &by_hand.steps(&[0.3; 6]).0) > 1e-3);
    let (_, frozen) = by_hand.steps(&[0.0; 6]);
    assert!(frozen[..3] != frozen[3..], "each epoch has an order of its own");
    assert_eq!(losses.len(), 6);
}

#[test]
fn a_worse_epoch_lowers_the_rate_that_the_weights_move_by() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let model = small(ModelName::SharedBottom);
    let factor = 1e-12; // from the first worse epoch on nothing moves
    let config = TrainConfig {
        schedule: ScheduleConfig::Plateau { factor },
        optimizer: OptimizerConfig::default(),
        learning_rate: 0.1,
        epochs: 12,
        patience: 12,
        ..plain()
    };
    let out = folder.path().join("out");
    fit(&model, &dataset, &config, &out);
    let log = log_of(&out);
    assert_eq!(log.len(), 12);
    let worse = log.iter().position(|line| !is_best(line)).expect("a rate of 0.1 overfits");
    assert!((1..11).contains(&worse), "{worse}");
    for line in &log[..=worse] {
        assert_eq!(line["learning_rate"], 0.1);
    }
    let auc = |line: &serde_json::Value| line["valid"]["a"]["auc"].as_f64().unwrap();
    assert!((auc(&log[worse]) - auc(&log[worse - 1])).abs() > 1e-9, "before, the weights moved");
    for line in &log[worse + 1..] {
        assert_eq!(line["valid"], log[worse]["valid"], "{line}");
        assert!(line["learning_rate"].as_f64().unwrap() <= 0.1 * factor * 1.000_001, "{line}");
    }
}

#[test]
fn several_evaluations_an_epoch_lower_the_rate_only_after_a_whole_epoch_without_a_gain() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let config = TrainConfig {
        schedule: ScheduleConfig::Plateau { factor: 0.5 },
        optimizer: OptimizerConfig::default(),
        learning_rate: 0.3,
        evaluate_every: EvaluateEvery::Epochs(1.0 / 3.0),
        epochs: 40,
        patience: 120,
        ..plain()
    };
    let out = folder.path().join("out");
    fit(&small(ModelName::SharedBottom), &dataset, &config, &out);
    let (mut rate, mut since, mut lowered) = (0.3, 0, 0);
    for line in log_of(&out) {
        assert_eq!(line["learning_rate"], rate, "{line}");
        since = if is_best(&line) { 0 } else { since + 1 };
        if since > 0 && since % 3 == 0 {
            rate *= 0.5;
            lowered += 1;
        }
    }
    assert!(lowered > 0, "a rate of 0.3 overfits");
}

#[test]
fn a_training_stops_after_patience_worse_epochs_and_the_learner_has_its_best_weights_again() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let model = small(ModelName::SharedBottom);
    let optimizer = OptimizerConfig::default();
    for patience in [1, 3] {
        let config = TrainConfig { optimizer, learning_rate: 0.1, epochs: 40, patience, ..plain() };
        let out = folder.path().join(format!("out-{patience}"));
        let mut learner = learner(&model, &dataset, &config, out.clone());
        let summary = learner.fit().unwrap();
        let log = log_of(&out);
        assert!(summary.epochs < 40 && !summary.interrupted);
        assert_eq!(summary.epochs, summary.best_epoch + patience);
        assert_eq!(log.len(), summary.epochs);
        let last_best = log.iter().rposition(is_best).unwrap() + 1;
        assert_eq!(last_best, summary.best_epoch);
        let valid = |line: &serde_json::Value| -> Vec<TaskMetrics> {
            ["a", "b"].map(|task| serde_json::from_value(line["valid"][task].clone()).unwrap()).into()
        };
        let (best, last) = (valid(&log[summary.best_epoch - 1]), valid(&log[summary.epochs - 1]));
        let found = learner.evaluate(Split::Valid).unwrap();
        let apart = |metrics: &[TaskMetrics]| {
            let pairs = metrics.iter().zip(&found);
            pairs.map(|(a, b)| (a.logloss.unwrap() - b.logloss.unwrap()).abs()).fold(0.0, f64::max)
        };
        assert!(apart(&best) < 1e-6 && apart(&last) > 1e-4, "{found:?} {best:?} {last:?}");
        let bundle = Bundle::<ModelConfig>::open(learner.bundle_path()).unwrap();
        assert_eq!(bundle.manifest.training["epoch"], summary.best_epoch);
        assert_eq!(bundle.manifest.training["seed"], config.seed);
    }
}

#[test]
fn the_monitor_decides_which_epoch_is_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let model = small(ModelName::SharedBottom);
    let mut best = Vec::new();
    for (metric, key) in [(Metric::Auc, "auc"), (Metric::Gauc, "gauc"), (Metric::Ndcg(3), "ndcg@3")] {
        let config = TrainConfig {
            monitor: metric.into(),
            optimizer: OptimizerConfig::default(),
            learning_rate: 0.03,
            epochs: 8,
            patience: 8,
            ..plain()
        };
        let out = folder.path().join(key);
        let summary = fit(&model, &dataset, &config, &out);
        let mean = |line: &serde_json::Value| {
            ["a", "b"].map(|task| line["valid"][task][key].as_f64().unwrap()).iter().sum::<f64>() / 2.0
        };
        let means: Vec<f64> = log_of(&out).iter().map(mean).collect();
        let largest = means.iter().copied().fold(f64::MIN, f64::max);
        assert_eq!(means[summary.best_epoch - 1], largest, "{key}: {means:?}");
        let bundle = Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap();
        let monitored = bundle.manifest.training["monitored"].as_f64().unwrap();
        assert!((monitored - largest).abs() < 1e-12);
        best.push((summary.best_epoch, monitored));
    }
    assert!(best[0].1 != best[1].1 && best[1].1 != best[2].1);
}

#[test]
fn a_table_that_restarts_is_drawn_anew_in_every_epoch_and_the_network_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::Stem);
    let weights = |epochs: usize, table_restart: bool| {
        let out = folder.path().join("out");
        fit(&model, &dataset, &TrainConfig { epochs, table_restart, ..plain() }, &out);
        let all = weights_in(&out.join("bundle.safetensors"));
        let table = dataset.schema().rows() * 12; // three groups of 4
        (all[..table].to_vec(), all[table..].to_vec())
    };
    let (one, again, restarted) = (weights(1, false), weights(2, false), weights(2, true));
    assert_eq!(weights(1, true), one, "the first epoch has the first table");
    let unseen = 12 * (dataset.schema().offsets()[1] as usize - 1)..; // the last row of the first vocabulary never occurs
    let row = |table: &[f32]| table[unseen.clone()][..12].to_vec();
    assert_eq!(row(&one.0), row(&again.0));
    assert_ne!(row(&one.0), row(&restarted.0));
    assert_ne!(row(&weights(3, true).0), row(&restarted.0), "every epoch has numbers of its own");
    assert!(one.1 != restarted.1 && again.1 != restarted.1, "the network goes on, on another table");
}

/// A row that a batch of `B` holds `k` of the `o` times that it occurs is pulled `k / (o B)` times: `S^-1 w / B` over an epoch.
#[test]
fn a_learned_prior_pulls_each_row_once_an_epoch_and_says_what_it_learned() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::Stem);
    let rate = 1e-3;
    let prior = PriorConfig::Learned { tied: true, deviation: Some(0.1), correlation: 0.5 };
    let weights = |prior: PriorConfig| {
        let config = TrainConfig { prior: Some(prior), embedding_l2: None, epochs: 1, learning_rate: rate, ..plain() };
        let out = folder.path().join("out");
        fit(&model, &dataset, &config, &out);
        let device = spec().open().unwrap();
        let bundle = Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap();
        let (table, _) = bundle.load(&device).unwrap();
        (table.rows().read(<[f32]>::to_vec), bundle.manifest.training["prior"].clone())
    };
    let (free, nothing) = weights(PriorConfig::Fixed { l2: 0.0 });
    let (pulled, told) = weights(prior);
    assert!(nothing.is_null());
    assert_eq!(told.as_array().unwrap().len(), dataset.schema().vocabularies.len());
    assert_eq!(told[0]["groups"][2]["name"], "shared");
    let (groups, dim) = (3, 4);
    let (mut occurs, mut shares) = (vec![0.0; dataset.schema().rows()], vec![0.0; dataset.schema().rows()]);
    for batch in dataset.batches(Split::Train, BatchPlan { size: 500, shuffle: Some((plain().seed, 1)) }) {
        batch.ids.iter().for_each(|&id| occurs[id as usize] += 1.0);
        batch.ids.iter().for_each(|&id| shares[id as usize] += 1.0 / batch.rows as f32); // sum of k / B
    }
    // S^-1 of 0.01 (0.5 I + 0.5 1 1^T) with three groups: 150 on the diagonal, -50 beside it. Steps are small: w hardly moves.
    let mut worst = 0.0f32;
    for row in (0..occurs.len()).filter(|&row| occurs[row] > 0.0) {
        let at = |values: &[f32], g: usize, d: usize| values[row * groups * dim + g * dim + d];
        for (g, d) in (0..groups).flat_map(|g| (0..dim).map(move |d| (g, d))) {
            let pull: f32 = (0..groups).map(|h| if g == h { 150.0 } else { -50.0 } * at(&free, h, d)).sum::<f32>();
            let expected = at(&free, g, d) - rate as f32 * pull * shares[row] / occurs[row];
            worst = worst.max((at(&pulled, g, d) - expected).abs() / (rate as f32 * 150.0 * 0.1 / 500.0));
        }
    }
    assert!(worst < 0.1, "{worst} of a pull apart");
}

/// The validation metrics of every task in each line of a log.
fn curve(log: &[serde_json::Value], task: &str, key: &str) -> Vec<f64> {
    log.iter().map(|line| line["valid"][task][key].as_f64().unwrap()).collect()
}

fn place_of_largest(values: &[f64]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap()
}

/// `a` is learned with a hundred times the weight of `b`, so that it overfits first.
fn apart() -> TrainConfig {
    TrainConfig {
        best: Best::PerTask,
        optimizer: OptimizerConfig::default(),
        learning_rate: 0.03,
        batch_size: 200,
        epochs: 6,
        patience: 30,
        evaluate_every: EvaluateEvery::Epochs(0.2),
        task_weights: [("b".to_string(), 0.01)].into(),
        ..plain()
    }
}

#[test]
fn each_task_is_scored_with_the_weights_that_were_best_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let (model, config) = (small(ModelName::Stem), apart());
    let mut learner = learner(&model, &dataset, &config, folder.path().join("out")).with_joint(true);
    let summary = learner.fit().unwrap();
    let log = log_of(&folder.path().join("out"));
    assert_eq!((log.len(), summary.evaluations), (30, 30), "five an epoch");
    let best = ["a", "b"].map(|task| place_of_largest(&curve(&log, task, "auc")));
    assert_ne!(best[0], best[1], "tasks that differ by so much are best at different moments");
    let means = [curve(&log, "a", "auc"), curve(&log, "b", "auc")];
    let means: Vec<f64> = means[0].iter().zip(&means[1]).map(|(a, b)| a + b).collect();
    let joint = place_of_largest(&means);

    let found = learner.evaluate(Split::Valid).unwrap();
    let bundle = Bundle::<ModelConfig>::open(learner.bundle_path()).unwrap();
    assert_eq!(bundle.manifest.states.len(), 2);
    for (task, name) in ["a", "b"].into_iter().enumerate() {
        let logged = curve(&log, name, "logloss")[best[task]];
        assert!((found[task].logloss.unwrap() - logged).abs() < 1e-6, "{name}: {found:?}, {logged}");
        let steps = log[best[task]]["steps"].as_u64().unwrap();
        assert_eq!(summary.kept[name].steps as u64, steps);
        let said = bundle.manifest.training["states"].as_array().unwrap();
        let state = said.iter().find(|state| state["tasks"] == serde_json::json!([name])).unwrap();
        assert_eq!(state["steps"], steps);
    }
    let predictor = Predictor::<ModelConfig>::open_model(learner.joint_path(), &spec().open().unwrap()).unwrap();
    let batch = dataset.batches(Split::Valid, BatchPlan { size: 1_000_000, shuffle: None }).next().unwrap();
    let scores: Vec<f32> = predictor.score(&batch).unwrap().rows().flatten().copied().collect();
    let (labels, groups) = (dataset.labels(Split::Valid), dataset.groups(Split::Valid));
    let metrics = TaskMetrics::per_task(&[LabelKind::Binary; 2], &scores, labels, groups, None, |_| vec![]);
    assert!((metrics[0].logloss.unwrap() - curve(&log, "a", "logloss")[joint]).abs() < 1e-6);
    let left: Vec<_> =
        std::fs::read_dir(folder.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("weights-")), "{left:?}");
}

#[test]
fn one_state_is_kept_where_it_is_asked_for_where_a_task_decides_and_where_scores_hang_together() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let of_b = Monitor { weights: [("b".to_string(), 1.0)].into(), ..Metric::Logloss.into() };
    for (name, model, config) in [
        ("joint", ModelName::Stem, TrainConfig { best: Best::Joint, ..apart() }),
        ("esmm", ModelName::Esmm, apart()),
        ("monitor", ModelName::Stem, TrainConfig { monitor: of_b, ..apart() }),
    ] {
        let out = folder.path().join(name);
        let summary = fit(&small(model), &dataset, &config, &out);
        let bundle = Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap();
        assert!(bundle.manifest.states.is_empty() && bundle.manifest.version == 2, "{name}");
        assert_eq!(summary.kept["a"], summary.kept["b"], "{name}");
        if name == "monitor" {
            let log = log_of(&out);
            let logloss: Vec<f64> = curve(&log, "b", "logloss").iter().map(|loss| -loss).collect();
            assert_eq!(log[place_of_largest(&logloss)]["steps"], summary.kept["b"].steps);
        }
    }
}

#[test]
fn a_gauc_that_cannot_be_measured_leaves_the_choice_to_auc() {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{i},{},{}\n", i % 7, usize::from(i * 37 % 11 < 4)); // every user once
    let log: String = (0..600).map(row).collect();
    std::fs::write(folder.path().join("log.csv"), format!("user,item,click\n{log}")).unwrap();
    let recipe = r#"
name = "single"
group = "user"
source = [{ name = "log", file = "log.csv" }]
field = [{ column = "item", kind = "category" }]
label = [{ column = "click" }]
split = { kind = "random", valid = 0.3, test = 0.1, seed = 1 }
"#;
    let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
    let options = PrepareOptions::default();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), &options).unwrap();
    let model = small(ModelName::SharedBottom);
    let best = |metric: Metric| {
        let config = TrainConfig { monitor: metric.into(), batch_size: 100, epochs: 9, patience: 2, ..plain() };
        let summary = fit(&model, &dataset, &config, &folder.path().join(metric.key().as_ref()));
        (summary.best_epoch, summary.epochs)
    };
    let (gauc, auc) = (best(Metric::Gauc), best(Metric::Auc));
    assert!(gauc.1 < 9, "early stopping is on");
    if !matches!(spec(), DeviceSpec::Wgpu(_)) {
        assert_eq!(gauc, auc); // a GPU need not add up in the same order twice
    }
}

#[test]
fn the_log_tells_steps_losses_and_weights_of_the_balance() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::SharedBottom);
    let config = TrainConfig { learning_rate: 0.1, ..plain() };
    let out = folder.path().join("out");
    let summary = fit(&model, &dataset, &config, &out);
    let rows = dataset.rows(Split::Train);
    let (_, losses) =
        ByHand { spec: &model, dataset: &dataset, config: &config, objective: Objective::plain(2) }.steps(&[0.1; 6]);
    let log = log_of(&out);
    assert_eq!(log.len(), 2);
    for (epoch, line) in log.iter().enumerate() {
        assert_eq!(
            (line["epoch"].as_u64().unwrap(), line["steps"].as_u64().unwrap()),
            (epoch as u64 + 1, 3 * (epoch as u64 + 1))
        );
        assert_eq!(line["learning_rate"], 0.1);
        assert!(is_best(line) && line.get("balance").is_none());
        // Batches of 500, 500 and what is left, each weighed by its rows: every row has both labels.
        let sizes = [500.0, 500.0, (rows - 1000) as f64];
        for (t, task) in ["a", "b"].into_iter().enumerate() {
            let steps = losses[3 * epoch..3 * epoch + 3].iter().map(|step| f64::from(step[t]));
            let mean = steps.zip(sizes).map(|(loss, rows)| loss * rows).sum::<f64>() / rows as f64;
            let found = line["loss"][task].as_f64().unwrap();
            assert!((found - mean).abs() < 1e-5, "{task}: {found}, expected {mean}");
        }
    }
    assert!(summary.seconds > 0.0);
    let rate = 2.0 * rows as f64 / summary.seconds;
    assert!((summary.rows_per_second - rate).abs() < 1e-6 * rate);

    let balanced = TrainConfig { balance: BalanceConfig::Uncertainty { rate: 0.1 }, ..config };
    fit(&model, &dataset, &balanced, &out);
    let log = log_of(&out);
    let weight = |line: &serde_json::Value, task: &str| line["balance"][task].as_f64().unwrap();
    assert!(weight(&log[1], "a") != weight(&log[0], "a") && weight(&log[0], "a") != weight(&log[0], "b"));
}

/// The loss of a task is its mean over labelled rows, however they are spread over the batches.
#[test]
fn the_logged_loss_of_a_sparsely_labelled_task_is_the_mean_over_its_labelled_rows() {
    let folder = tempfile::tempdir().unwrap();
    // Purchases are judged among clicks; of the batches of two rows many have no click.
    let row = |i: usize| format!("{},{},{}\n", i % 7, u8::from(i.is_multiple_of(5)), u8::from(i.is_multiple_of(10)));
    let log: String = (0..200).map(row).collect();
    std::fs::write(folder.path().join("log.csv"), format!("user,click,buy\n{log}")).unwrap();
    let recipe = r#"
        name = "sparse"
        source = [{ name = "log", file = "log.csv" }]
        field = [{ column = "user", kind = "category" }]
        label = [{ column = "click" }, { column = "buy", within = "click" }]
        split = { kind = "random", valid = 0.0, test = 0.1, seed = 1 }
    "#;
    let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), &PrepareOptions::default()).unwrap();
    // Nothing moves: every row's loss is that of the first weights.
    let config = TrainConfig { learning_rate: 1e-30, batch_size: 3, epochs: 1, ..plain() };
    let out = folder.path().join("out");
    let mut learner = learner(&small(ModelName::SharedBottom), &dataset, &config, out.clone());
    learner.fit().unwrap();
    let measured = learner.evaluate(Split::Train).unwrap();
    let log = log_of(&out);
    for (task, metrics) in ["click", "buy"].into_iter().zip(measured) {
        let (found, expected) = (log[0]["loss"][task].as_f64().unwrap(), metrics.logloss.unwrap());
        assert!((found - expected).abs() < 1e-5, "{task}: {found}, expected {expected}");
    }
}
#[test]
fn the_summary_counts_parameters_of_network_and_table() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let out = folder.path().join("out");
    let (model, config) = (small(ModelName::Stem), plain());
    let summary = fit(&model, &dataset, &config, &out);
    assert_eq!(summary.parameters, weights_in(&out.join("bundle.safetensors")).len());
    assert_eq!(summary.memory, check(&model, &dataset, &config).unwrap().total());
}

/// The error of a training that leaves the numbers.
fn not_finite(dataset: &Dataset, config: &TrainConfig, out: &Path) -> Error {
    learner(&small(ModelName::SharedBottom), dataset, config, out.to_path_buf()).fit().unwrap_err()
}

/// L2 times the rate is a factor on every weight, every step: after some steps the loss is too large for f32. The rate is so large
/// that this happens a step before the weights themselves are.
fn growing(factor: f64) -> TrainConfig {
    let (learning_rate, l2) = (10.0 * factor, 0.1);
    TrainConfig { learning_rate, network_l2: l2, embedding_l2: Some(l2), max_gradient_norm: 1e300, ..plain() }
}

/// A factor by which the loss grows for an epoch before it is no number; the shaders of a GPU overflow in fewer steps.
fn bearable() -> f64 {
    if matches!(spec(), DeviceSpec::Wgpu(_)) { 10.0 } else { 100.0 }
}

#[test]
fn a_loss_that_is_not_finite_in_a_later_epoch_names_where_the_best_weights_are() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    fit(&small(ModelName::SharedBottom), &dataset, &plain(), &out);
    let before = std::fs::read(out.join("bundle.safetensors")).unwrap();
    let config = TrainConfig { batch_size: 2500, epochs: 99, patience: 99, ..growing(bearable()) };
    let steps = dataset.rows(Split::Train).div_ceil(2500);
    let Error::NotFinite { task, value, step, epoch, saved } = not_finite(&dataset, &config, &out) else { panic!() };
    assert!(["a", "b", "(regularization)"].contains(&task.as_str()) && !value.is_finite());
    assert!(epoch > 1 && step > steps * (epoch - 1) && step <= steps * epoch, "step {step}, epoch {epoch}");
    let kept = out.join("unfinished/bundle.safetensors");
    assert!(
        saved.starts_with("the weights of epoch ") && saved.ends_with(&format!(" are in {}", kept.display())),
        "{saved}"
    );
    assert!(weights_in(&kept).iter().all(|w| w.is_finite()));
    assert_eq!(std::fs::read(out.join("bundle.safetensors")).unwrap(), before, "the bundle of before stands");
}

#[test]
fn a_loss_that_is_not_finite_in_the_first_epoch_leaves_the_weights_before_that_step() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = growing(1e10);
    let Error::NotFinite { step, epoch, saved, .. } = not_finite(&dataset, &config, &out) else { panic!() };
    assert!(epoch == 1 && step > 1, "step {step}, epoch {epoch}");
    assert!(!out.join("bundle.safetensors").exists());
    if matches!(spec(), DeviceSpec::Wgpu(_)) {
        return; // the loss is read steps later
    }
    let kept = out.join("last-good.safetensors");
    assert_eq!(saved, format!("the weights before that step are in {}", kept.display()));
    let model = small(ModelName::SharedBottom);
    let objective = Objective { embedding_l2: config.l2(), network_l2: config.network_l2, ..Objective::plain(2) };
    let by_hand = ByHand { spec: &model, dataset: &dataset, config: &config, objective };
    assert_eq!(weights_in(&kept), by_hand.steps(&vec![config.learning_rate; step - 1]).0);
}

/// The rate of one step is so large that weights, or what they are multiplied to, leave the numbers, though the loss was sound.
#[test]
fn scores_that_are_not_finite_after_an_epoch_are_an_error_too() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    for learning_rate in [1e300, 1e25] {
        let out = folder.path().join("out");
        let config = TrainConfig { batch_size: 1 << 20, learning_rate, ..plain() };
        let Error::NotFinite { task, step, epoch, saved, .. } = not_finite(&dataset, &config, &out) else { panic!() };
        assert!(["a", "b"].contains(&task.as_str()) && (step, epoch) == (1, 1));
        assert_eq!(saved, "no epoch was finished before, so nothing was saved");
        assert!(!out.join("bundle.safetensors").exists() && !out.join("last-good.safetensors").exists());
    }
}

#[test]
fn weights_that_are_no_numbers_any_more_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = TrainConfig { learning_rate: 1e300, ..plain() }; // the first step breaks the weights, the second sees it
    let Error::NotFinite { epoch, saved, .. } = not_finite(&dataset, &config, &out) else { panic!() };
    assert_eq!((epoch, saved.as_str()), (1, "no epoch was finished before, so nothing was saved"));
    assert!(!out.join("last-good.safetensors").exists());
}

#[test]
fn two_trainings_into_one_folder_are_refused_unless_one_holds_the_lock_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let (model, config, out) = (small(ModelName::SharedBottom), plain(), folder.path().join("out"));
    let lock = Lock::of(&out).unwrap();
    let error = learner(&model, &dataset, &config, out.clone()).fit().unwrap_err();
    assert!(matches!(error, Error::Lock(_)), "{error}");
    let expected = format!("{} is in use by another training or comparison: wait for its end", out.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    learner(&model, &dataset, &config, out.clone()).with_lock(lock.clone()).fit().unwrap();
    drop(lock);
    fit(&model, &dataset, &config, &out);
    fit(&model, &dataset, &config, &out); // the lock ends with the training
}

#[test]
fn bundle_and_log_of_an_earlier_training_stand_until_another_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let (model, out) = (small(ModelName::SharedBottom), folder.path().join("out"));
    fit(&model, &dataset, &plain(), &out);
    let files = || ["bundle.safetensors", "log.jsonl"].map(|name| std::fs::read(out.join(name)).unwrap());
    let before = files();
    // What a killed training leaves: two epochs, and no end. The third one breaks.
    let config = TrainConfig { batch_size: 2500, epochs: 99, patience: 99, ..growing(bearable()) };
    not_finite(&dataset, &config, &out);
    assert!(out.join("unfinished/bundle.safetensors").exists() && out.join("unfinished/log.jsonl").exists());
    assert!(files() == before);
    fit(&model, &dataset, &TrainConfig { seed: 9, ..plain() }, &out);
    assert!(files()[0] != before[0] && files()[1] != before[1]);
    assert!(!out.join("unfinished").exists());
}

#[test]
fn settings_that_do_not_suit_the_data_are_refused_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let model = small(ModelName::SharedBottom);
    let refused = |dataset: &Dataset, config: &TrainConfig| match check(&model, dataset, config) {
        Err(Error::Config { key, .. }) => Some(key),
        Ok(_) => None,
        Err(other) => panic!("{other}"),
    };
    let balance = BalanceConfig::PcGrad {};
    assert_eq!(refused(&dataset, &TrainConfig { balance, ..plain() }), None);
    assert_eq!(refused(&dataset.only_task(0), &TrainConfig { balance, ..plain() }), Some("balance"));
    assert_eq!(refused(&dataset.only_task(0), &plain()), None);
    // Six steps are planned.
    assert_eq!(refused(&dataset, &TrainConfig { warm_up_steps: 5, ..plain() }), None);
    assert_eq!(refused(&dataset, &TrainConfig { warm_up_steps: 6, ..plain() }), Some("warm_up_steps"));
    assert_eq!(refused(&dataset, &TrainConfig { monitor: Metric::Gauc.into(), ..plain() }), None);
    let recipe = Recipe::parse(&RECIPE.replace("group = \"user\"", ""), "recipe.toml").unwrap();
    let other = tempfile::tempdir().unwrap();
    let ungrouped = prepare(&recipe, other.path(), &other.path().join("columns"), &PrepareOptions::default()).unwrap();
    assert_eq!(refused(&ungrouped, &TrainConfig { monitor: Metric::Gauc.into(), ..plain() }), Some("monitor"));
    let unknown = TrainConfig { task_weights: [("c".to_string(), 1.0)].into(), ..plain() };
    let said = check(&model, &dataset, &unknown).unwrap_err().to_string();
    assert_eq!(said, "unknown label \"c\" in [train.task_weights]. The labels are: a, b");
    let hidden = HiddenConfig { dropout: 1.0, ..HiddenConfig::default() };
    let ModelConfig::SharedBottom(mut config) = small(ModelName::SharedBottom) else { unreachable!() };
    config.0.hidden = hidden;
    let error = check(&ModelConfig::SharedBottom(config), &dataset, &plain()).unwrap_err();
    assert!(matches!(error, Error::Core(stem_core::Error::Config { .. })), "{error}");
}
