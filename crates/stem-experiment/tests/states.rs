//! A model of several states that is trained on, with the optimizer's moments of each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::*;
use stem_core::{Bundle, ModelConfig, bundle};
use stem_data::{Dataset, Known, PrepareOptions, Recipe, prepare_grown};
use stem_experiment::{Error, Experiment, ModelName, RunOptions, check_start, run, run_from};
use stem_train::{CHECKPOINT, Start, checkpoint_of};

fn open(path: &Path) -> Bundle<ModelConfig> {
    Bundle::open(path).unwrap()
}

/// A bundle of two states, one for each task.
fn of_two_states(folder: &Path, dataset: &Dataset) -> PathBuf {
    let trained = |seed: u64, task: &str| {
        let (mut experiment, out) = (experiment(), folder.join(format!("seed-{seed}")));
        (experiment.train.seed, experiment.train.epochs) = (seed, 1);
        experiment.train.best = stem_train::Best::Joint;
        run(ModelName::Stem, &experiment, dataset, &out, &options()).unwrap();
        (open(&out.join("bundle.safetensors")), vec![task.to_string()])
    };
    let path = folder.join("two/bundle.safetensors");
    let said = serde_json::json!({ "states": [{ "rows": 1 }, { "rows": 1 }] });
    bundle::combine(&path, &[trained(1, "a"), trained(2, "b")], &said).unwrap();
    path
}

fn names(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn each_state_keeps_a_checkpoint_of_its_own_also_where_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let dataset = dataset(folder);
    let two = of_two_states(folder, &dataset);
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    let grown = |bundle: &Bundle<ModelConfig>, name: &str| {
        prepare_grown(&recipe, Known::from(bundle), folder, &folder.join(name), &PrepareOptions::default()).unwrap()
    };
    let today = grown(&open(&two), "today");
    let keeping = || -> Experiment {
        let mut experiment = experiment();
        (experiment.train.keep_checkpoint, experiment.train.epochs) = (true, 2);
        experiment
    };
    let kept = [CHECKPOINT.to_string(), checkpoint_of(1)];

    let out = folder.join("out");
    run_from(Arc::new(open(&two)), &keeping(), &today, &out, &options()).unwrap();
    assert!(kept.iter().all(|name| names(&out).contains(name)), "{:?}", names(&out));
    assert!(!names(&out).iter().any(|name| name.starts_with("state-")), "{:?}", names(&out));
    let start = Start::<ModelConfig>::open(&out).unwrap();
    assert_eq!((start.states(), start.is_checkpoint()), (2, true));
    let refused = check_start(&start, &out).unwrap_err();
    assert!(matches!(refused, Error::ReplacesStart { .. }), "{refused}");

    // From there each goes on from where it was: measured first to what the bundle is, and with other steps than from the bundle.
    let tomorrow = grown(&start.bundle, "tomorrow");
    run_from(start.clone(), &keeping(), &tomorrow, &folder.join("on"), &options()).unwrap();
    run_from(start.bundle.clone(), &keeping(), &tomorrow, &folder.join("anew"), &options()).unwrap();
    assert_eq!(open(&folder.join("on/bundle.safetensors")).manifest.states, [["a"], ["b"]]);
    let lines = |name: &str| {
        let log = std::fs::read_to_string(folder.join(name).join("log.jsonl")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let (on, anew) = (lines("on"), lines("anew"));
    let of = |lines: &[serde_json::Value], task: &str, steps_above: u64| {
        let own = lines.iter().filter(|line| !line["valid"][task].is_null());
        own.filter(|line| line["steps"].as_u64().unwrap() >= steps_above)
            .map(|line| line["valid"][task].clone())
            .collect::<Vec<_>>()
    };
    for task in ["a", "b"] {
        assert_eq!(of(&on, task, 0)[0], of(&anew, task, 0)[0], "{task}: as it comes");
        assert_ne!(of(&on, task, 1), of(&anew, task, 1), "{task}: moments make other steps");
    }

    // One of the two that is of another training is refused.
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    for name in ["bundle.safetensors", CHECKPOINT] {
        std::fs::copy(out.join(name), other.join(name)).unwrap();
    }
    std::fs::write(other.join(checkpoint_of(1)), "cut").unwrap();
    let message = said(&Start::<ModelConfig>::open(&other).unwrap_err());
    assert!(message.contains("checkpoint.1.safetensors cannot be trained on: it is not whole"), "{message}");

    // Stopped before the first step.
    let stopped = RunOptions::default();
    stopped.stop.stop();
    let stopped = RunOptions { device: spec(), ..stopped };
    let early = folder.join("early");
    assert!(run_from(Arc::new(open(&two)), &keeping(), &today, &early, &stopped).unwrap().interrupted);
    assert_eq!(Start::<ModelConfig>::open(&early).unwrap().states(), 2);
    assert!(!names(&early).iter().any(|name| name.starts_with("state-")), "{:?}", names(&early));

    // A run that keeps none takes them along when it replaces the bundle.
    run(ModelName::Stem, &experiment(), &dataset, &out, &RunOptions { overwrite: true, ..options() }).unwrap();
    assert!(!names(&out).iter().any(|name| kept.contains(name)), "{:?}", names(&out));
}
