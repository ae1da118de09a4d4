//! Tasks whose label is a number, of every kind: they learn, are judged by metrics of numbers, and a bundle scores as the training did.

use crate::common::is_slow;
use crate::common::watched::{SPLITS, watched};
use stem_core::loss::TaskLoss;
use stem_core::models::{ModelFamily, Preset, StemConfig};
use stem_core::{DeviceSpec, ModelConfig, ModelName, Predictor};
use stem_data::Split;
use stem_report::analysis::Metric;
use stem_train::{Calibrate, Learner, Monitor, TrainConfig};

fn device() -> stem_core::burn::tensor::Device {
    DeviceSpec::from_env().unwrap().open().unwrap()
}

fn config() -> TrainConfig {
    TrainConfig { batch_size: 256, epochs: 12, learning_rate: 0.01, patience: 12, ..TrainConfig::default() }
}

fn small() -> StemConfig {
    StemConfig { dim: 4, experts: vec![8], gate: vec![], tower: vec![8], ..StemConfig::default() }
}

#[test]
fn every_kind_of_label_is_learned_beside_clicks_and_scored_in_its_own_unit() {
    // Who knows each item's mean has an XAUC of 0.7184 on these rows.
    for (kind, least, loss) in [
        (r#"kind = "regression""#, 0.7, None),
        (r#"kind = "regression", transform = "log1p""#, 0.7, None),
        (r#"kind = "regression""#, 0.7, Some(TaskLoss::Huber { delta: 1.0 })),
        (r#"kind = "count""#, 0.7, None),
        (r#"kind = "watch-time""#, 0.7, None),
        (r#"kind = "zero-inflated""#, 0.7, None),
        (r#"kind = "watch-quantile", duration = "length", buckets = 4"#, 0.7, None),
    ]
    .into_iter()
    .skip(if is_slow() { 4 } else { 0 })
    {
        let folder = tempfile::tempdir().unwrap();
        let data = watched(
            folder.path(),
            6000,
            &format!(r#"{{ column = "click" }}, {{ column = "seconds", {kind} }}"#),
            &SPLITS,
        );
        let mut train = config();
        train.losses.extend(loss.map(|loss| ("seconds".to_string(), loss)));
        let run = folder.path().join("run");
        let mut learner = Learner::new(ModelConfig::Stem(small()), &data, train, &device(), &run).unwrap();
        let before = learner.evaluate(Split::Test).unwrap();
        learner.fit().unwrap();
        let after = learner.evaluate(Split::Test).unwrap();
        let [was, is] = [&before, &after].map(|metrics| metrics[1].get(Metric::Xauc).unwrap());
        assert!(is > least && is > was + 0.1, "{kind} {loss:?}: {was} {is}");
        assert_eq!((after[1].auc, after[1].logloss), (None, None));
        assert!(after[0].auc.unwrap() > 0.7, "{kind}: clicks are learned beside it, {:?}", after[0]);
        // The mean is that of the label's unit. Of a logarithm it is not, for its mean is that of few zeros; Huber's loss leads to between
        // the mean and the median, which is 1.24 of it here.
        let ratio = after[1].calibration.unwrap();
        let range = match (kind.contains("log1p"), loss) {
            (true, _) => 0.3..1.1,
            _ if kind.contains("quantile") => 0.75..1.05, // the time of the mean rank, near the median
            (_, Some(_)) => 1.0..1.24,
            _ => 0.85..1.2,
        };
        assert!(range.contains(&ratio), "{kind} {loss:?}: {ratio}");
        let predictor = Predictor::open(run.join("bundle.safetensors"), &device()).unwrap();
        let scores = learner.score(Split::Test).unwrap();
        let batch = data.batches(Split::Test, stem_data::BatchPlan { size: 4096, shuffle: None }).next().unwrap();
        let again = predictor.score(&batch).unwrap().into_values();
        assert!(scores.len() == again.len() && scores.iter().zip(&again).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs()));
        assert!(scores.chunks_exact(2).any(|row| row[1] > 2.0), "seconds are no probabilities");
    }
}

#[test]
fn levels_have_as_many_outputs_as_there_are_and_an_expectation_for_a_score() {
    let folder = tempfile::tempdir().unwrap();
    let labels = r#"{ column = "stars", kind = "ordinal", classes = 4 }, { column = "click" }"#;
    let data = watched(folder.path(), 6000, labels, &SPLITS);
    for name in ["stem", "mmoe", "shared-bottom", "aitm", "ple-me"].into_iter().take(if is_slow() { 1 } else { 5 }) {
        let model = ModelConfig::of_preset(name, Preset::Small).unwrap();
        // By XAUC the best moment is the first at which the levels are in order.
        let monitor = Monitor { metric: Metric::Rmse, ..Monitor::default() };
        let (run, train) = (folder.path().join(name), TrainConfig { monitor, ..config() });
        let mut learner = Learner::new(model, &data, train, &device(), &run).unwrap();
        learner.fit().unwrap();
        let metrics = learner.evaluate(Split::Test).unwrap();
        assert!(metrics[0].get(Metric::Rmse).unwrap() < 0.4, "{:?}", metrics[0]);
        let scores = learner.score(Split::Test).unwrap();
        let labels = data.labels(Split::Test);
        let error =
            scores.iter().zip(labels).step_by(2).map(|(s, y)| (s - y).abs()).sum::<f32>() / (labels.len() / 2) as f32;
        assert!(error < 0.3, "an item has one level: {error}");
    }
}

#[test]
fn classes_without_an_order_are_learned_by_every_model_and_the_most_likely_one_is_the_score() {
    let folder = tempfile::tempdir().unwrap();
    let labels = r#"{ column = "shelf", kind = "classes", classes = 3 }, { column = "click" }"#;
    let data = watched(folder.path(), 6000, labels, &SPLITS);
    for name in ModelName::ALL.iter().filter(|name| **name != ModelName::Esmm).take(if is_slow() { 1 } else { 9 }) {
        let model = ModelConfig::of_preset(name.as_str(), Preset::Small).unwrap();
        let run = folder.path().join(name.as_str());
        let train = TrainConfig { calibrate: Calibrate::Isotonic, ..config() }; // of clicks alone
        let mut learner = Learner::new(model, &data, train, &device(), &run).unwrap();
        learner.fit().unwrap();
        let metrics = learner.evaluate(Split::Test).unwrap();
        assert!(metrics[0].get(Metric::Accuracy).unwrap() > 0.95, "{name}: an item has one shelf, {:?}", metrics[0]);
        assert_eq!((metrics[0].auc, metrics[0].calibration, metrics[0].get(Metric::Xauc)), (None, None, None));
        let predictor = Predictor::open(run.join("bundle.safetensors"), &device()).unwrap();
        let scores = learner.score(Split::Test).unwrap();
        let batch = data.batches(Split::Test, stem_data::BatchPlan { size: 4096, shuffle: None }).next().unwrap();
        let again = predictor.score(&batch).unwrap().into_values();
        assert!(scores.iter().step_by(2).eq(again.iter().step_by(2)), "{name}");
        assert!(scores.iter().step_by(2).all(|score| [0.0, 1.0, 2.0].contains(score)), "{name}");
    }
}

#[test]
fn scores_of_numbers_are_calibrated_by_a_line_or_a_rising_map() {
    for method in [Calibrate::Platt, Calibrate::Isotonic] {
        let folder = tempfile::tempdir().unwrap();
        let labels = r#"{ column = "seconds", kind = "regression", transform = "log1p" }"#;
        let data = watched(folder.path(), 6000, labels, &SPLITS);
        let ratio = |calibrate: Calibrate| {
            let run = folder.path().join(format!("{calibrate:?}"));
            let mut learner =
                Learner::new(ModelConfig::Stem(small()), &data, TrainConfig { calibrate, ..config() }, &device(), &run)
                    .unwrap();
            learner.fit().unwrap();
            learner.evaluate(Split::Test).unwrap()[0].calibration.unwrap()
        };
        let (raw, calibrated) = (ratio(Calibrate::None), ratio(method));
        assert!(raw < 0.9, "the median of a skewed time is below its mean: {raw}");
        assert!((calibrated - 1.0).abs() < 0.05, "{method:?}: {calibrated}");
    }
}

#[test]
fn settings_that_are_not_for_the_labels_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = watched(folder.path(), 6000, r#"{ column = "seconds", kind = "count" }"#, &SPLITS);
    let message = |train: TrainConfig| {
        Learner::new(ModelConfig::Stem(small()), &data, train, &device(), folder.path().join("run"))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let mut train = config();
    train.losses.insert("seconds".into(), TaskLoss::Huber { delta: 1.0 });
    let found = message(train);
    assert!(found.contains("losses.seconds.name") && found.contains("huber of a label of kind count"), "{found}");
    let sampled = TrainConfig { negative_sampling: Some(stem_train::NegativeSampling { keep: 0.5 }), ..config() };
    assert!(message(sampled).contains("of numbers no row is negative"));
}
