//! A run over several ranks is measured by all of them, to what one process measures of the same bundle.

use std::path::Path;

use crate::common::*;
use stem_core::{Bundle, ModelConfig, Predictor, bundle};
use stem_data::{BatchPlan, Dataset, Split};
use stem_experiment::{ModelName, RunMetrics, RunOptions, measure, run};
use stem_report::metrics::TaskMetrics;
use stem_train::Calibrate;
use stem_train::ranks::{Threads, score_over};

fn open(bundle: &Path) -> Predictor {
    Predictor::open(bundle, &spec().open().unwrap()).unwrap()
}

/// What one process scores. `[N, T]`
fn alone(predictor: &Predictor, dataset: &Dataset, split: Split) -> Vec<f32> {
    let batches = dataset.batches(split, BatchPlan { size: 500, shuffle: None });
    batches.flat_map(|batch| predictor.score(&batch).unwrap().rows().flatten().copied().collect::<Vec<_>>()).collect()
}

/// Trains over so many ranks; what rank 0 has measured.
fn run_over(ranks: usize, model: ModelName, dataset: &Dataset, out: &Path) -> RunMetrics {
    let mut experiment = experiment();
    (experiment.train.epochs, experiment.train.calibrate) = (if is_slow() { 1 } else { 4 }, Calibrate::Platt);
    let done = Threads::run(ranks, |ranks| {
        let own = if ranks.is_first() { out.to_path_buf() } else { out.join("nobody's") };
        run(model, &experiment, dataset, &own, &RunOptions { ranks, ..options() }).unwrap()
    });
    done.into_iter().next().unwrap()
}

#[test]
fn all_ranks_measure_validation_and_test_to_what_one_process_measures_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    for (ranks, model) in
        [(3, ModelName::Stem), (2, ModelName::SingleTask)].into_iter().take(if is_slow() { 1 } else { 2 })
    {
        let out = folder.path().join(model.as_str());
        let found = run_over(ranks, model, &dataset, &out);
        assert!(out.join("report.html").exists() && !out.join("nobody's").exists());
        let predictor = open(&out.join("bundle.safetensors"));
        assert!(predictor.calibration().iter().all(Option::is_some));
        let close = |found: &TaskMetrics, expected: &TaskMetrics| {
            let of = |metrics: &TaskMetrics| [metrics.auc, metrics.logloss, metrics.gauc].map(Option::unwrap);
            assert!(of(found).iter().zip(of(expected)).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}\n{expected:?}");
        };
        for (split, found) in [(Split::Test, &found.test), (Split::Valid, &found.valid)] {
            let expected = measure(&predictor, &dataset, split).unwrap();
            expected.iter().for_each(|(task, expected)| close(&found[task], expected));
        }
        let expected = measure(&predictor.uncalibrated(), &dataset, Split::Test).unwrap();
        expected.iter().for_each(|(task, expected)| close(&found.uncalibrated_test[task], expected));
        assert!(found.test != found.uncalibrated_test, "they were calibrated once");
    }
}

#[test]
fn ranks_score_each_task_by_the_state_that_answers_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let trained = |seed: u64, task: &str| {
        let (mut experiment, out) = (experiment(), folder.path().join(format!("seed-{seed}")));
        (experiment.train.seed, experiment.train.epochs) = (seed, 1);
        experiment.train.best = stem_train::Best::Joint;
        run(ModelName::Stem, &experiment, &dataset, &out, &options()).unwrap();
        (Bundle::<ModelConfig>::open(out.join("bundle.safetensors")).unwrap(), vec![task.to_string()])
    };
    let path = folder.path().join("two.safetensors");
    let said = serde_json::json!({ "states": [{ "rows": 1 }, { "rows": 1 }] });
    bundle::combine(&path, &[trained(1, "b"), trained(2, "a")], &said).unwrap();
    let predictor = open(&path);
    assert_eq!(predictor.states(), 2);
    let splits = [Split::Valid, Split::Test];
    let expected = splits.map(|split| alone(&predictor, &dataset, split));
    for ranks in [1, 2, 4] {
        let found = Threads::run(ranks, |ranks| {
            // the others have no such file
            let path = if ranks.is_first() { path.clone() } else { folder.path().join("nowhere") };
            score_over(&ranks, predictor.config(), &path, &dataset, &splits, &spec().open().unwrap()).unwrap()
        });
        for (found, expected) in found[0].iter().zip(&expected) {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{ranks} ranks");
        }
        assert!(found[1..].iter().flatten().all(Vec::is_empty), "on rank 0 alone");
    }
    let errors = Threads::run(2, |ranks| {
        let path = folder.path().join("nowhere");
        score_over(&ranks, predictor.config(), &path, &dataset, &splits, &spec().open().unwrap())
            .unwrap_err()
            .to_string()
    });
    assert!(errors.iter().all(|error| error.contains("nowhere")), "{errors:?}");
}
