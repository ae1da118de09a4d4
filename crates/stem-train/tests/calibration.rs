//! Calibration from the configuration to the scores of the bundle.

use std::path::Path;
use std::sync::Arc;

use crate::common::by_hand::*;
use crate::common::*;
use stem_core::{Bundle, Calibration, ModelConfig, ModelName, Predictor};
use stem_data::{BatchPlan, Dataset, Split};
use stem_report::analysis::LabelKind;
use stem_report::metrics::TaskMetrics;
use stem_train::{Best, Calibrate, TrainConfig};

/// Metrics on validation of a bundle as it scores.
fn measured(predictor: &Predictor<ModelConfig>, dataset: &Dataset) -> Vec<TaskMetrics> {
    let mut scores = Vec::new();
    for batch in dataset.batches(Split::Valid, BatchPlan { size: 500, shuffle: None }) {
        scores.extend(predictor.score(&batch).unwrap().into_values());
    }
    let (labels, groups) = (dataset.labels(Split::Valid), dataset.groups(Split::Valid));
    let kinds = vec![LabelKind::Binary; dataset.schema().tasks.len()];
    TaskMetrics::per_task(&kinds, &scores, labels, groups, None, |_| vec![])
}

#[test]
fn scores_of_the_bundle_are_calibrated_on_validation_and_the_training_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = spec().open().unwrap();
    // A short training from a wide start: its level is off.
    let config = TrainConfig { best: Best::PerTask, learning_rate: 0.02, epochs: 2, ..plain() };
    let train = |calibrate: Calibrate| {
        let out = folder.path().join(format!("{calibrate:?}"));
        let config = TrainConfig { calibrate, ..config.clone() };
        fit(&small(ModelName::Stem), &dataset, &config, &out);
        out.join("bundle.safetensors")
    };
    let open = |path: &Path| Predictor::<ModelConfig>::open_model(path, &device).unwrap();
    let plain = train(Calibrate::None);
    assert!(Bundle::<ModelConfig>::open(&plain).unwrap().manifest.calibration.is_empty());
    let before = measured(&open(&plain), &dataset);
    let off = |metrics: &TaskMetrics| (metrics.calibration.unwrap() - 1.0).abs();
    assert!(before.iter().any(|metrics| off(metrics) > 0.02), "{before:?}");
    for (calibrate, exact) in [(Calibrate::Platt, 1e-3), (Calibrate::Isotonic, 0.02)] {
        let path = train(calibrate);
        assert!(weights_in(&plain) == weights_in(&path), "it changes no weight");
        let maps = Bundle::<ModelConfig>::open(&path).unwrap().manifest.calibration;
        assert_eq!(maps.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(maps.values().all(|map| matches!(map, Calibration::Platt { .. }) == (calibrate == Calibrate::Platt)));
        let after = measured(&open(&path), &dataset);
        for (before, after) in before.iter().zip(&after) {
            assert!(off(after) < exact, "{calibrate:?}: {after:?}");
            assert!(after.logloss.unwrap() <= before.logloss.unwrap() + 1e-9, "{before:?} {after:?}");
            let ranks = (after.auc.unwrap() - before.auc.unwrap()).abs();
            assert!(ranks < if calibrate == Calibrate::Platt { 1e-6 } else { 0.02 }, "{before:?} {after:?}");
        }
        assert_eq!(measured(&open(&path).uncalibrated(), &dataset), before);
    }
}

#[test]
fn a_model_that_is_trained_on_keeps_its_maps_until_others_are_fitted() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let config = TrainConfig { calibrate: Calibrate::Platt, ..plain() };
    let model = small(ModelName::SharedBottom);
    fit(&model, &dataset, &config, &folder.path().join("out"));
    let before = Arc::new(Bundle::<ModelConfig>::open(folder.path().join("out/bundle.safetensors")).unwrap());
    let maps = before.manifest.calibration.clone();
    assert_eq!(maps.len(), 2);
    let trained_on = |config: &TrainConfig| {
        let learner = learner(&model, &dataset, config, folder.path().join("again"));
        learner.with_start(before.clone(), 0).unwrap().fit().unwrap();
        Bundle::<ModelConfig>::open(folder.path().join("again/bundle.safetensors")).unwrap().manifest
    };
    let ruined = trained_on(&TrainConfig { learning_rate: 300.0, epochs: 1, ..config.clone() });
    assert_eq!(ruined.calibration, maps, "nothing was better, and the model is as it was");
    let better = trained_on(&TrainConfig { epochs: 2, ..config });
    assert!(better.training["steps"].as_u64() > Some(0), "its weights are those of a step: {}", better.training);
    assert_ne!(better.calibration, maps, "other scores have maps of their own");
}

#[test]
fn a_task_with_hardly_a_label_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = without_validation(folder.path());
    let out = folder.path().join("out");
    let config = TrainConfig { calibrate: Calibrate::Platt, ..plain() };
    fit(&small(ModelName::SharedBottom), &dataset, &config, &out);
    let bundle = Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap();
    assert!(bundle.manifest.calibration.is_empty() && bundle.manifest.version == 2);
}
