//! Rows that count differently: in the loss, in early stopping and in what is measured.

use std::path::Path;

use crate::common::by_hand::*;
use crate::common::*;
use stem_core::{ModelConfig, ModelName, Predictor};
use stem_data::{BatchPlan, Dataset, Error, PrepareOptions, Recipe, Split, prepare};
use stem_report::analysis::LabelKind;
use stem_report::metrics::TaskMetrics;
use stem_train::{NegativeSampling, OptimizerConfig, TrainConfig};

/// A log whose column `w` is `weight` of the row, and whose labels are missing where `hidden` says so.
fn log(weight: impl Fn(usize) -> String, hidden: impl Fn(usize) -> bool) -> String {
    let line = |row: usize| {
        let (user, item) = (row * 7 % 31, row * 13 % 17);
        let label = |more: usize| match hidden(row) {
            true => String::new(),
            false => u8::from((user * 5 + item * more + row % 3) % 7 < 3).to_string(),
        };
        let split = ["train", "train", "train", "valid", "test"][row % 5];
        format!("{user},{item},{},{},{},{split}\n", label(3), label(4), weight(row))
    };
    ["user,item,a,b,w,split\n".to_string()].into_iter().chain((0..2000).map(line)).collect()
}

fn read(folder: &Path, name: &str, log: &str, weight: &str) -> Result<Dataset, Error> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = format!(
        r#"
        name = "weights"
        group = "user"
        {weight}
        source = [{{ name = "log", file = "log.csv", types = {{ a = "int", b = "int" }} }}]
        field = [{{ column = "user", kind = "category" }}, {{ column = "item", kind = "category" }}]
        label = [{{ column = "a" }}, {{ column = "b" }}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    prepare(&recipe, &folder, &folder.join("columns"), &PrepareOptions::default())
}

const BY_W: &str = "weight = \"w\"";

#[test]
fn a_row_of_weight_0_is_a_row_without_labels_and_equal_weights_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (model, config) = (small(ModelName::Stem), TrainConfig { embedding_l2: None, ..plain() });
    let trained = |name: &str, log: &str, weight: &str| {
        let dataset = read(folder.path(), name, log, weight).unwrap();
        let mut learner = learner(&model, &dataset, &config, folder.path().join(format!("{name}-out")));
        let summary = learner.fit().unwrap();
        let metrics = Split::ALL.map(|split| learner.evaluate(split).unwrap());
        (weights_in(&learner.bundle_path()), log_of(&folder.path().join(format!("{name}-out"))), metrics, summary.kept)
    };
    let third = |row: usize| row % 3 == 1;
    let zero = trained("zero", &log(|row| u8::from(!third(row)).to_string(), |_| false), BY_W);
    let hidden = trained("hidden", &log(|_| "1".into(), third), "");
    assert!(zero.0 == hidden.0 && zero.3 == hidden.3, "the same weights of the same moments");
    for (one, other) in zero.1.iter().zip(&hidden.1) {
        assert_eq!((&one["loss"], &one["best"]), (&other["loss"], &other["best"]));
    }
    for (one, other) in zero.2.iter().flatten().zip(hidden.2.iter().flatten()) {
        let of = |m: &TaskMetrics| [m.auc, m.gauc, m.logloss, m.calibration].map(Option::unwrap);
        assert!(of(one).iter().zip(of(other)).all(|(a, b)| (a - b).abs() < 1e-12), "{one:?} {other:?}");
    }
    let none = trained("none", &log(|_| "1".into(), |_| false), "");
    let equal = trained("equal", &log(|_| "0.25".into(), |_| false), BY_W);
    assert!(none.0 == equal.0 && none.1.len() == equal.1.len());
    let several = trained("several", &log(|row| (1 + row % 4).to_string(), |_| false), BY_W);
    assert!(largest_difference(&none.0, &several.0) > 1e-3, "weights that differ tell");
    for (task, (one, other)) in none.2[2].iter().zip(&several.2[2]).enumerate() {
        assert!((one.auc.unwrap() - other.auc.unwrap()).abs() > 1e-6, "task {task}");
    }
}

/// A third of the negatives, drawn anew in every epoch: fewer steps, and a model that says as much as before.
#[test]
fn scores_stay_probabilities_of_all_rows_where_negatives_are_sampled() {
    let folder = tempfile::tempdir().unwrap();
    // Without validation the last weights are kept, whose scores are level with the labels that they were fitted to.
    let recipe = Recipe::parse(&RECIPE.replace("valid = 0.15", "valid = 0.0"), "recipe.toml").unwrap();
    let options = PrepareOptions::default();
    let dataset = prepare(&recipe, folder.path(), &folder.path().join("columns"), &options).unwrap();
    let model = small(ModelName::SharedBottom);
    let train = |keep: Option<f64>| {
        let negative_sampling = keep.map(|keep| NegativeSampling { keep });
        let (optimizer, learning_rate) = (OptimizerConfig::default(), 0.001);
        let config =
            TrainConfig { negative_sampling, optimizer, learning_rate, epochs: 20, batch_size: 200, ..plain() };
        let out = folder.path().join(format!("{keep:?}"));
        fit(&model, &dataset, &config, &out);
        let device = spec().open().unwrap();
        let predictor = Predictor::<ModelConfig>::open_model(out.join("bundle.safetensors"), &device).unwrap();
        let mut scores = Vec::new();
        for batch in dataset.batches(Split::Train, BatchPlan { size: 500, shuffle: None }) {
            scores.extend(predictor.score(&batch).unwrap().into_values());
        }
        (
            TaskMetrics::per_task(
                &[LabelKind::Binary; 2],
                &scores,
                dataset.labels(Split::Train),
                None,
                None,
                |_| vec![],
            ),
            log_of(&out),
        )
    };
    let (all, of_all) = train(None);
    let (sampled, of_sampled) = train(Some(0.3));
    let steps = |log: &[serde_json::Value]| log.last().unwrap()["steps"].as_u64().unwrap();
    let [rows, kept] = [None, Some(0.3)].map(|keep| dataset.rows_kept(Split::Train, keep) as u64);
    assert_eq!((steps(&of_all), steps(&of_sampled)), (20 * rows.div_ceil(200), 20 * kept.div_ceil(200)));
    assert!(kept < rows * 4 / 5);
    for (all, sampled) in all.iter().zip(&sampled) {
        let [all, sampled] = [all, sampled].map(|metrics| metrics.calibration.unwrap());
        assert!((sampled / all - 1.0).abs() < 0.15, "{all} {sampled}"); // where they count as one, 1.4
    }
    let bad = TrainConfig { negative_sampling: Some(NegativeSampling { keep: 1.5 }), ..plain() };
    let message = bad.check().unwrap_err().to_string();
    assert!(message.contains("`negative_sampling.keep` is 1.5, expected a share above 0 and at most 1"), "{message}");
}

#[test]
fn weights_come_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = read(folder.path(), "own", &log(|row| format!("{}.5", row % 9), |_| false), BY_W).unwrap();
    for (split, rows) in [(Split::Train, [0, 1, 2]), (Split::Valid, [3, 8, 13]), (Split::Test, [4, 9, 14])] {
        let expected: Vec<f32> = rows.iter().map(|row| (row % 9) as f32 + 0.5).collect();
        assert_eq!(dataset.weights(split).unwrap()[..3], expected[..], "{split}");
    }
    let all: f32 = dataset.weights(Split::Train).unwrap().iter().sum();
    let shuffled = dataset.batches(Split::Train, BatchPlan { size: 100, shuffle: Some((1, 1)) });
    let of_batches: f32 = shuffled.map(|batch| batch.row_weights.iter().sum::<f32>()).sum();
    assert_eq!(all, of_batches);
    let batch = dataset.batches(Split::Test, BatchPlan { size: 2, shuffle: None }).next().unwrap();
    assert_eq!(batch.row_weights, [4.5, 0.5]);
    assert_eq!(dataset.only_task(1).weights(Split::Test), dataset.weights(Split::Test));
    assert!(read(folder.path(), "none", &log(|_| "x".into(), |_| false), "").unwrap().weights(Split::Test).is_none());
}

#[test]
fn what_is_no_weight_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |weight: &dyn Fn(usize) -> String, key: &str| {
        read(folder.path(), "bad", &log(weight, |_| false), key).unwrap_err().to_string()
    };
    let at_7 = |text: &'static str| move |row: usize| if row == 7 { text.to_string() } else { "1.5".into() };
    for (found, told) in [("-0.5", "-0.5"), ("inf", "inf"), ("NaN", "NaN"), ("", "null"), ("1e300", "1000000")] {
        let message = refused(&at_7(found), BY_W);
        let expected = ":9: column 'w': expected a weight: a finite number of 0 or more";
        assert!(message.contains(expected) && message.contains(told), "{message}");
    }
    let message = refused(&|_| "much".into(), BY_W);
    assert!(message.contains("`weight` is \"w\", which is text, for instance \"much\""), "{message}");
    assert!(message.contains("expected numbers: CAST(\"w\" AS DOUBLE) in the sql"), "{message}");
    let message = refused(&|_| "1".into(), "weight = \"wait\"");
    assert!(
        message.contains("there is no column \"wait\"; did you mean \"w\"?") || message.contains("no column \"wait\"")
    );
    let message = refused(&|row| u8::from(row % 5 != 3).to_string(), BY_W);
    assert!(message.contains("`weight` is 0 in every row of the validation split"), "{message}");
    let recipe = "name = \"x\"\nweight = \"a\"\nsource = [{ name = \"log\", file = \"log.csv\" }]\n\
                  field = [{ column = \"user\", kind = \"category\" }]\nlabel = [{ column = \"a\" }]\nsplit = { kind = \"random\" }";
    let message = Recipe::parse(recipe, "recipe.toml").unwrap_err().to_string();
    assert_eq!(message, "recipe.toml:2: `weight` is \"a\", which is a label: rows would count by the answer");
}
