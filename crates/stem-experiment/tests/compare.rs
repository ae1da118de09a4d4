//! Comparisons as an application makes them.
#![allow(clippy::unwrap_used)]

mod common;
use std::path::Path;
use std::time::SystemTime;

use common::*;
use serde_json::Value;
use stem_data::{Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{CompareConfig, Comparison, Error, Experiment, ModelName, RunOptions, SearchConfig, compare};
use stem_report::analysis::Bootstrap;
use stem_report::report::Report;
use stem_train::{StopFlag, TrainConfig};

/// Two epochs of the small experiment.
fn short() -> Experiment {
    let mut experiment = experiment();
    experiment.train.epochs = 2;
    experiment
}

fn of(models: &[ModelName], seeds: &[u64]) -> CompareConfig {
    let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
    CompareConfig { models: models.to_vec(), seeds: seeds.to_vec(), bootstrap, ..CompareConfig::default() }
}

fn refused(config: &CompareConfig, experiment: &Experiment, dataset: &Dataset, out: &Path) -> String {
    compare(config, experiment, dataset, out, &options()).unwrap_err().to_string()
}

fn json(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap()
}

fn written(path: impl AsRef<Path>) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_comparison_has_single_task_beside_the_models_and_leaves_its_numbers_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = of(&[ModelName::Stem, ModelName::Mmoe], &[1, 2]);
    let report = compare(&config, &short(), &dataset, &out, &options()).unwrap();
    let names: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["stem", "mmoe", "single-task"]);
    assert!(out.join("runs/mmoe/seed-2/bundle.safetensors").exists());

    let found = json(&out);
    for model in names {
        let numbers = &found["models"][model];
        assert!(numbers["parameters"].as_u64().unwrap() > 100);
        assert_eq!(numbers["seconds"].as_array().unwrap().len(), 2);
        for task in ["a", "b"] {
            let of = |metric: &str| numbers["tasks"][task][metric]["mean"].as_f64().unwrap();
            for metric in ["auc", "gauc", "logloss", "calibration"] {
                let values: Vec<f64> = numbers["tasks"][task][metric]["values"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|v| v.as_f64().unwrap())
                    .collect();
                assert!(values.len() == 2 && (values[0] + values[1] - 2.0 * of(metric)).abs() < 1e-12);
                let apart = (values[0] - values[1]).abs() / 2f64.sqrt();
                assert!((numbers["tasks"][task][metric]["sd"].as_f64().unwrap() - apart).abs() < 1e-12);
            }
            let reference = found["models"]["single-task"]["tasks"][task]["auc"]["mean"].as_f64().unwrap();
            assert!((of("transfer") - (of("auc") - reference)).abs() < 1e-9, "{model}, {task}");
        }
    }
    check_strata(&found, &dataset);
    check_gates_and_embeddings(&found);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for chart in ["transfer", "strata", "gates", "cka", "picture", "roc", "seconds"] {
        assert!(page.contains(&format!("data-chart=\"{chart}\"")), "{chart}");
    }
    assert!(report.warnings.len() == 1 && report.warnings[0].contains("15 for a among comparable users"));
    let read: Comparison = serde_json::from_value(found).unwrap();
    assert_eq!((read.models.len(), read.cuts["a|b"].map(|cut| (0.0..=1.0).contains(&cut))), (3, [true; 2]));
}

/// All test rows are somewhere, and transfer is the difference of the AUCs on the same rows.
fn check_strata(found: &Value, dataset: &Dataset) {
    let strata = found["strata"]["a|b"].as_object().unwrap();
    assert_eq!(strata.keys().collect::<Vec<_>>(), ["a-dominant", "b-dominant", "comparable"]);
    let rows: u64 = strata.values().map(|stratum| stratum["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, dataset.rows(Split::Test) as u64, "every user of this log has a positive");
    for stratum in strata.values() {
        for model in ["stem", "mmoe", "single-task"] {
            for task in ["a", "b"] {
                let numbers = &stratum["models"][model][task];
                let reference = stratum["models"]["single-task"][task]["auc"].as_f64().unwrap();
                let (auc, transfer) = (numbers["auc"].as_f64().unwrap(), &numbers["transfer"]);
                let [mean, low, high] = ["mean", "low", "high"].map(|key| transfer[key].as_f64().unwrap());
                assert!((mean - (auc - reference)).abs() < 1e-9 && low <= mean && mean <= high, "{numbers}");
            }
        }
    }
}

fn check_gates_and_embeddings(found: &Value) {
    let gates = found["models"]["stem"]["gates"].as_array().unwrap();
    let strata: Vec<&Value> = gates.iter().map(|map| &map["stratum"]).collect();
    assert_eq!(strata, [&Value::Null, &"a-dominant".into(), &"comparable".into(), &"b-dominant".into()]);
    for map in gates {
        assert_eq!(
            (&map["rows"], &map["columns"]),
            (&serde_json::json!(["a", "b"]), &serde_json::json!(["a", "b", "shared"]))
        );
        for row in map["values"].as_array().unwrap() {
            let sum: f64 = row.as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
    }
    let groups = |model: &str| found["models"][model]["embeddings"]["fields"][0]["groups"].clone();
    assert_eq!(groups("stem"), serde_json::json!(["a", "b", "shared"]));
    assert_eq!(groups("mmoe"), serde_json::json!(["shared"]));
    assert_eq!(groups("single-task"), serde_json::json!(["a", "b"]));
    let user = &found["models"]["stem"]["embeddings"]["fields"][0];
    assert_eq!((user["sampled"].as_u64(), user["cka"][1][1].as_f64().map(|v| v > 0.999)), (Some(60), Some(true)));
    let cka = |i: usize, j: usize| user["cka"][i][j].as_f64().unwrap();
    assert!((cka(0, 1) - cka(1, 0)).abs() < 1e-9 && cka(0, 1) < 0.9);
    assert!(user["norms"][2].as_f64().unwrap() > 0.0 && user["effective_rank"][2].as_f64().unwrap() > 1.0);
}

#[test]
fn what_is_finished_is_not_trained_again_and_what_is_missing_is() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let run = |config: &CompareConfig| compare(config, &short(), &dataset, &out, &options()).unwrap();
    let numbers =
        |report: &Report| -> Vec<_> { report.models.iter().map(|m| (m.name.clone(), m.tasks.clone())).collect() };
    let config = of(&[ModelName::SharedBottom], &[1]);
    let first = run(&config);
    let bundle = |model: &str, seed: u64| out.join(format!("runs/{model}/seed-{seed}/bundle.safetensors"));
    let before = (written(bundle("shared-bottom", 1)), written(bundle("single-task", 1)));
    assert_eq!(numbers(&run(&config)), numbers(&first));
    run(&of(&[ModelName::Stem, ModelName::SharedBottom], &[1, 2]));
    assert_eq!((written(bundle("shared-bottom", 1)), written(bundle("single-task", 1))), before);
    assert!(bundle("stem", 2).exists());

    // A run that was stopped has no settings beside it; a bundle may have been removed to save space.
    for gone in ["settings.json", "bundle.safetensors"] {
        std::fs::remove_file(out.join("runs/single-task/seed-1").join(gone)).unwrap();
        assert_eq!(numbers(&run(&config)), numbers(&first));
        assert_eq!(written(bundle("shared-bottom", 1)), before.0);
        assert!(written(bundle("single-task", 1)) > before.1);
    }
}

#[test]
fn several_runs_at_once_give_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let of_jobs = |jobs: usize| {
        let config = CompareConfig { jobs, ..of(&[ModelName::Stem, ModelName::Ple], &[1]) };
        let out = folder.path().join(format!("jobs-{jobs}"));
        compare(&config, &short(), &dataset, &out, &options()).unwrap()
    };
    let (one, three) = (of_jobs(1), of_jobs(3));
    for (a, b) in one.models.iter().zip(&three.models) {
        for (a, b) in a.tasks.iter().zip(&b.tasks) {
            let apart = (a.auc.as_ref().unwrap().mean - b.auc.as_ref().unwrap().mean).abs();
            assert!(apart < 1e-5, "{apart}");
        }
    }
    assert_eq!(one.pairs[0].cuts, three.pairs[0].cuts);
}

#[test]
fn a_folder_of_another_comparison_is_refused_unless_it_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = of(&[ModelName::SharedBottom], &[1]);
    compare(&config, &short(), &dataset, &out, &options()).unwrap();
    let kept = std::fs::read(out.join("comparison.json")).unwrap();

    let mut other = short();
    other.train.batch_size = 512;
    let message = refused(&config, &other, &dataset, &out);
    assert!(message.contains("holds another comparison ([train] batch_size differs)"), "{message}");
    assert!(message.contains("--force"), "{message}");
    let sizes = Experiment::parse("[shared-bottom]\ndim = 3", "x.toml").unwrap();
    let sizes = short().with_model(sizes.model(ModelName::SharedBottom));
    let message = refused(&config, &sizes, &dataset, &out);
    assert!(message.contains("([shared-bottom] bottom differs)"), "{message}");
    assert_eq!(std::fs::read(out.join("comparison.json")).unwrap(), kept, "a refusal leaves all as it was");

    let single = out.join("runs/single-task/seed-1/bundle.safetensors");
    let before = written(&single);
    compare(&CompareConfig { force: true, ..config.clone() }, &sizes, &dataset, &out, &options()).unwrap();
    assert_eq!(written(&single), before, "what does not differ is not trained again");
    assert!(refused(&config, &short(), &dataset, &out).contains("another comparison"), "the folder is the new one's");

    let tasks = folder.path().join("tasks");
    compare(&config, &short(), &dataset.only_task(0), &tasks, &options()).unwrap();
    let message = refused(&config, &short(), &dataset.only_task(1), &tasks);
    assert!(message.contains("(the list of tasks differs)"), "{message}");

    let message = stem_experiment::run(ModelName::Stem, &short(), &dataset, &out, &options()).unwrap_err().to_string();
    assert!(message.ends_with("holds a comparison: name another folder for a single run"), "{message}");

    let trained = folder.path().join("trained");
    stem_experiment::run(ModelName::SharedBottom, &short(), &dataset, &trained, &options()).unwrap();
    let message = refused(&config, &short(), &dataset, &trained);
    assert!(message.contains("is not empty and holds no comparison"), "{message}");
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let stem = || of(&[ModelName::Stem], &[1]);
    for (config, expected) in [
        (of(&[], &[1]), "no model is named"),
        (of(&[ModelName::Stem, ModelName::Stem], &[1]), "model 'stem' is named twice"),
        (of(&[ModelName::SingleTask], &[1]), "single-task alone is compared with nothing"),
        (CompareConfig { search: Some(SearchConfig::default()), ..stem() }, "search: the search space is empty"),
        (searched("trials = 2\n[space]\n'train.patience' = [2]"), "nothing but the experiment's own settings"),
        (of(&[ModelName::Stem], &[]), "no seed is named"),
        (of(&[ModelName::Stem], &[1, 2, 1]), "seed 1 is named twice"),
        (CompareConfig { jobs: 0, ..stem() }, "0 runs at the same time"),
        (CompareConfig { cuts: Some([0.6, 0.4]), ..stem() }, "no ascending shares"),
        (CompareConfig { cuts: Some([-0.1, 0.4]), ..stem() }, "no ascending shares"),
        (CompareConfig { cuts: Some([f64::NAN, 0.4]), ..stem() }, "no ascending shares"),
        (CompareConfig { picture: Some("users".into()), ..stem() }, "one of user, item"),
        (CompareConfig { bootstrap: Bootstrap { resamples: 3, ..Bootstrap::default() }, ..stem() }, "3 resamples"),
    ] {
        let message = refused(&config, &short(), &dataset, &out);
        assert!(message.contains(expected), "{message}");
    }
    let none = short().with_model(stem_model_without_layers());
    assert!(refused(&stem(), &none, &dataset, &out).contains("[stem] layers"));
    let one = CompareConfig { cuts: Some([0.2, 0.4]), ..stem() };
    assert!(refused(&one, &short(), &dataset.only_task(0), &out).contains("cuts have no effect with one task"));
    let one = CompareConfig { picture: Some("item".into()), ..stem() };
    assert!(refused(&one, &short(), &dataset.only_task(0), &out).contains("a picture has no effect with one task"));
    let mut balanced = short();
    balanced.train.warm_up_steps = 1_000_000;
    assert!(refused(&stem(), &balanced, &dataset, &out).contains("warm_up_steps"), "told before the first run");

    let recipe = Recipe::parse(&RECIPE.replace("group = \"user\"\n", ""), "recipe.toml").unwrap();
    let alone = prepare(&recipe, folder.path(), &folder.path().join("alone"), &PrepareOptions::default()).unwrap();
    assert!(refused(&stem(), &short(), &alone, &out).contains("the recipe names no `group`"));
    assert!(!out.exists());
}

/// STEM after a search.
fn searched(search: &str) -> CompareConfig {
    CompareConfig { search: Some(SearchConfig::parse(search).unwrap()), ..of(&[ModelName::Stem], &[1]) }
}

fn stem_model_without_layers() -> stem_core::ModelConfig {
    stem(|config| config.layers = 0)
}

#[test]
fn a_stop_keeps_what_is_done_and_the_same_call_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let stop = StopFlag::default();
    stop.stop();
    let config = of(&[ModelName::SharedBottom], &[1]);
    let stopped = RunOptions { stop, ..options() };
    let error = compare(&config, &short(), &dataset, &out, &stopped).unwrap_err();
    assert!(matches!(error, Error::Stopped { done: 0, all: 2, .. }), "{error}");
    assert!(!out.join("comparison.json").exists());
    compare(&config, &short(), &dataset, &out, &options()).unwrap();
}

#[test]
fn a_run_that_fails_is_named_and_the_others_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let mut wild = short();
    wild.train = TrainConfig { learning_rate: 1e30, ..wild.train };
    let message = refused(&of(&[ModelName::Stem], &[7]), &wild, &dataset, &out);
    assert!(message.starts_with("stem with seed 7: the loss of task"), "{message}");
    assert!(message.ends_with("or this one by force (--force)"), "{message}");
    assert!(out.join("runs/single-task/seed-7/task-0/unfinished.jsonl").exists(), "the others are tried all the same");
}

#[test]
fn a_stratum_without_rows_has_dashes_and_one_task_has_no_strata() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let all = CompareConfig { cuts: Some([0.0, 1.0]), ..of(&[ModelName::SharedBottom], &[1]) };
    let out = folder.path().join("out");
    compare(&all, &short(), &dataset, &out, &options()).unwrap();
    let empty = &json(&out)["strata"]["a|b"]["a-dominant"];
    assert_eq!((&empty["rows"], &empty["models"]["shared-bottom"]["a"]["auc"]), (&0.into(), &Value::Null));
    assert_eq!(empty["models"]["shared-bottom"]["a"]["transfer"], Value::Null);
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("(no rows)"));

    let one = folder.path().join("one");
    let report = compare(&of(&[ModelName::Stem], &[1]), &short(), &dataset.only_task(1), &one, &options()).unwrap();
    assert_eq!((report.tasks, report.pairs), (vec!["b".to_string()], vec![]));
}

#[test]
fn doubts_are_told_one_seed_few_users_damaged_bundles() {
    let folder = tempfile::tempdir().unwrap();
    let few = Recipe::parse(&RECIPE.replace("users = 60", "users = 8"), "recipe.toml").unwrap();
    let dataset = prepare(&few, folder.path(), &folder.path().join("columns"), &PrepareOptions::default()).unwrap();
    let out = folder.path().join("out");
    let config = of(&[ModelName::SharedBottom], &[1]);
    let report = compare(&config, &short(), &dataset, &out, &options()).unwrap();
    let has = |what: &str| assert!(report.warnings.iter().any(|told| told.contains(what)), "{:?}", report.warnings);
    has("One seed");
    has("over fewer than 10 there are none: 8 for a among all users");
    assert!(report.models.iter().flat_map(|model| &model.tasks).all(|task| task.transfer.is_none()));
    let bundle = out.join("runs/shared-bottom/seed-1/bundle.safetensors");
    std::fs::write(&bundle, "junk").unwrap();
    let message = refused(&config, &short(), &dataset, &out);
    assert!(message.contains("Remove ") && message.ends_with("and the same command trains it again"), "{message}");
}

#[test]
fn a_search_gives_every_model_the_same_budget_and_runs_the_winner() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let space = "trials = 4\nfirst_epochs = 1\nkeep = 2\n[space]\n\
                 'train.learning_rate' = [1e-6, 5e-3, 2e-2]\n'model.dim' = [2, 4]\n'stem.shared_experts' = [1, 2]";
    let config = CompareConfig {
        search: Some(SearchConfig::parse(space).unwrap()),
        jobs: 2,
        ..of(&[ModelName::Stem, ModelName::SharedBottom], &[1])
    };
    let mut slow = short();
    slow.train.learning_rate = 1e-6; // the search must find better
    let report = compare(&config, &slow, &dataset, &out, &options()).unwrap();
    let search = report.search.as_ref().unwrap();
    assert!(search.budget.contains("at most 4 configurations (4 for 1 epoch, the best 2 for 2 epochs), 8 epochs"));
    for model in &report.models {
        let of: Vec<_> = search.trials.iter().filter(|trial| trial.model == model.name).collect();
        assert_eq!((of.len(), of.iter().filter(|t| t.epochs == 2).count()), (4, 2), "{}", model.name);
        let won: Vec<_> = of.iter().filter(|trial| trial.won).collect();
        let best = of.iter().filter(|t| t.epochs == 2).map(|t| t.score.unwrap()).fold(0.0, f64::max);
        assert!(won.len() == 1 && won[0].score == Some(best));
        assert!(model.tasks[0].auc.as_ref().unwrap().mean > 0.55, "the winner is what was run");
        for (key, value) in won[0].settings.iter().filter(|(key, _)| key == "model.dim") {
            assert!(model.settings.contains(&("dim".into(), value.clone())), "{key}");
        }
    }
    // Nothing of the test split, and no weights, are left of a trial.
    let trial = out.join("search/stem/configuration-0-epochs-1");
    let mut files: Vec<_> = std::fs::read_dir(&trial).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["settings.json", "trial.json"]);
    let before = written(trial.join("trial.json"));
    compare(&config, &slow, &dataset, &out, &options()).unwrap();
    assert_eq!(written(trial.join("trial.json")), before, "a finished trial is not done again");

    let mut reseeded = slow.clone();
    reseeded.train.seed = 9;
    assert!(refused(&config, &reseeded, &dataset, &out).contains("([train] seed differs)"), "trials have that seed");
    let without = CompareConfig { search: None, ..config.clone() };
    assert!(refused(&without, &slow, &dataset, &out).contains("the search differs"));
    for (key, expected) in
        [("model.expert_count", "expert_count"), ("ple.layers", "ple"), ("train.learning_rat", "learning_rat")]
    {
        let search = Some(SearchConfig::parse(&format!("[space]\n'{key}' = [1, 2]")).unwrap());
        let message = refused(&CompareConfig { search, ..config.clone() }, &slow, &dataset, &folder.path().join("x"));
        assert!(message.starts_with("search: ") && message.contains(expected), "{message}");
    }
    let wrong = Some(SearchConfig::parse("[space]\n'train.patience' = [0]").unwrap());
    let message = refused(&CompareConfig { search: wrong, ..config }, &slow, &dataset, &folder.path().join("x"));
    assert!(message.contains("cannot be trained with train.patience = 0"), "{message}");
    assert!(!folder.path().join("x").exists(), "what cannot be searched claims no folder");
}

#[test]
fn a_run_leaves_the_same_page_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let options = RunOptions { command: "cargo run <it> again".into(), ..options() };
    stem_experiment::run(ModelName::Stem, &short(), &dataset, &out, &options).unwrap();
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("cargo run &lt;it&gt; again") && page.contains("stem on small"));
    for chart in ["roc", "calibration", "gates", "cka", "norms"] {
        assert!(page.contains(&format!("data-chart=\"{chart}\"")), "{chart}");
    }
    assert!(!page.contains("data-chart=\"transfer\""));
}
