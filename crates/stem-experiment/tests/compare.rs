//! Comparisons as an application makes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::*;
use serde_json::Value;
use stem_data::{Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{
    CompareConfig, Comparison, Error, Experiment, ModelName, RunOptions, SearchConfig, compare, run, run_folder,
};
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
    CompareConfig {
        models: models.iter().map(ToString::to_string).collect(),
        seeds: seeds.to_vec(),
        bootstrap,
        ..CompareConfig::default()
    }
}

fn refused(config: &CompareConfig, experiment: &Experiment, dataset: &Dataset, out: &Path) -> String {
    said(&compare(config, experiment, dataset, out, &options()).unwrap_err())
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
    check_first_seed(&found, &dataset, &out);
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
    for (t, task) in ["a", "b"].into_iter().enumerate() {
        let sum = |key: &str| -> u64 {
            strata.values().map(|stratum| stratum["models"]["stem"][task][key].as_u64().unwrap()).sum()
        };
        let of_test = dataset.statistics(Split::Test);
        assert_eq!(sum("positives"), of_test.positives[t] as u64);
        assert_eq!(sum("labelled"), (of_test.rows - of_test.missing[t]) as u64);
    }
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

/// Experts of nobody have other numbers in every seed, so that the first stands for them; a task's own are averaged over the seeds.
fn check_first_seed(both: &Value, dataset: &Dataset, out: &Path) {
    compare(&of(&[ModelName::Stem, ModelName::Mmoe], &[1]), &short(), dataset, out, &options()).unwrap();
    let one = json(out);
    let gates = |found: &Value, model: &str| found["models"][model]["gates"].clone();
    assert_eq!(gates(&one, "mmoe"), gates(both, "mmoe"));
    assert_ne!(gates(&one, "stem"), gates(both, "stem"));
}

fn check_gates_and_embeddings(found: &Value) {
    // The mean over all rows is that of the strata's means, each by its rows: every user of this log is in one.
    for model in ["stem", "mmoe"] {
        let gates = found["models"][model]["gates"].as_array().unwrap();
        let value = |map: &Value, row: usize, column: usize| map["values"][row][column].as_f64().unwrap();
        let rows = |map: &Value| found["strata"]["a|b"][map["stratum"].as_str().unwrap()]["rows"].as_f64().unwrap();
        let all: f64 = gates[1..].iter().map(&rows).sum();
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 2)] {
            let mean = gates[1..].iter().map(|map| rows(map) * value(map, row, column)).sum::<f64>() / all;
            assert!((mean - value(&gates[0], row, column)).abs() < 1e-5, "{model}");
        }
        assert_eq!(found["models"][model]["embeddings"]["pictures"], serde_json::json!([]), "the page has them");
    }
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
            assert_eq!(a.auc, b.auc, "to the last bit");
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
    assert!(message.contains("allow this comparison to take it over (`RunOptions::overwrite`)"), "{message}");
    let sizes = Experiment::parse("[shared-bottom]\ndim = 3", "x.toml").unwrap();
    let sizes = short().with_model(sizes.model("shared-bottom").unwrap());
    let message = refused(&config, &sizes, &dataset, &out);
    assert!(message.contains("([shared-bottom] bottom differs)"), "{message}");
    assert_eq!(std::fs::read(out.join("comparison.json")).unwrap(), kept, "a refusal leaves all as it was");

    let single = out.join("runs/single-task/seed-1/bundle.safetensors");
    let before = written(&single);
    compare(&config, &sizes, &dataset, &out, &RunOptions { overwrite: true, ..options() }).unwrap();
    assert_eq!(written(&single), before, "what does not differ is not trained again");
    assert!(refused(&config, &short(), &dataset, &out).contains("another comparison"), "the folder is the new one's");

    let tasks = folder.path().join("tasks");
    compare(&config, &short(), &dataset.only_task(0), &tasks, &options()).unwrap();
    let message = refused(&config, &short(), &dataset.only_task(1), &tasks);
    assert!(message.contains("(the list of tasks differs)"), "{message}");

    let message = said(&run(ModelName::Stem, &short(), &dataset, &out, &options()).unwrap_err());
    assert!(message.ends_with("holds a comparison: name another folder for a single run"), "{message}");

    let trained = folder.path().join("trained");
    run(ModelName::SharedBottom, &short(), &dataset, &trained, &options()).unwrap();
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
        (of(&[], &[1]), "`models` is empty, expected one or more"),
        (of(&[ModelName::Stem, ModelName::Stem], &[1]), "`models` is stem, stem, expected every name once"),
        (of(&[ModelName::SingleTask], &[1]), "`models` is single-task, expected a model that shares"),
        (
            CompareConfig { models: vec!["stm".into()], ..stem() },
            "unknown model 'stm', did you mean 'stem'? Known are: stem,",
        ),
        (CompareConfig { search: Some(SearchConfig::default()), ..stem() }, "search: the search space is empty"),
        (searched("trials = 2\n[space]\n'train.patience' = [2]"), "nothing but the experiment's own settings"),
        (of(&[ModelName::Stem], &[]), "`seeds` is empty, expected one or more"),
        (of(&[ModelName::Stem], &[1, 2, 1]), "`seeds` is 1, 2, 1, expected every seed once"),
        (CompareConfig { jobs: 0, ..stem() }, "`jobs` is 0, expected 1 or more"),
        (CompareConfig { cuts: Some([0.6, 0.4]), ..stem() }, "expected ascending shares from 0 to 1"),
        (CompareConfig { cuts: Some([-0.1, 0.4]), ..stem() }, "expected ascending shares from 0 to 1"),
        (CompareConfig { cuts: Some([f64::NAN, 0.4]), ..stem() }, "expected ascending shares from 0 to 1"),
        (
            CompareConfig { picture: Some("users".into()), ..stem() },
            "`picture` is users, expected a field with two values or more: one of user, item",
        ),
        (
            CompareConfig { bootstrap: Bootstrap { resamples: 3, ..Bootstrap::default() }, ..stem() },
            "`bootstrap.resamples` is 3, expected 20 or more",
        ),
    ] {
        let message = refused(&config, &short(), &dataset, &out);
        assert!(message.contains(expected), "{message}");
    }
    let none = short().with_model(stem_model_without_layers());
    assert!(refused(&stem(), &none, &dataset, &out).contains("[stem] layers"));
    let one = CompareConfig { cuts: Some([0.2, 0.4]), ..stem() };
    assert!(
        refused(&one, &short(), &dataset.only_task(0), &out)
            .contains("`cuts` is 0.2, 0.4, expected nothing where there is one task")
    );
    let one = CompareConfig { picture: Some("item".into()), ..stem() };
    assert!(
        refused(&one, &short(), &dataset.only_task(0), &out)
            .contains("`picture` is item, expected nothing where there is one task")
    );
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

    std::fs::remove_file(out.join("comparison.json")).unwrap();
    let error = compare(&config, &short(), &dataset, &out, &stopped).unwrap_err();
    assert!(
        matches!(error, Error::Stopped { done: 2, all: 2, .. }),
        "all runs are there, intervals are not drawn: {error}"
    );
    assert!(!out.join("comparison.json").exists());
}

/// An experiment that only a stop ends.
fn endless() -> Experiment {
    let mut endless = short();
    (endless.train.epochs, endless.train.patience) = (1_000_000_000, 1_000_000_000);
    endless
}

/// Stops once there is a line in a log of each of these folders: in the middle of their trainings.
fn stop_when_logged(folders: Vec<PathBuf>) -> RunOptions {
    let options = options();
    let stop = options.stop.clone();
    std::thread::spawn(move || {
        let is_log = |file: std::fs::DirEntry| {
            file.path().extension().is_some_and(|e| e == "jsonl") && file.metadata().is_ok_and(|file| file.len() > 0)
        };
        let logged = |folder: &PathBuf| std::fs::read_dir(folder).is_ok_and(|files| files.flatten().any(is_log));
        while !folders.iter().all(logged) {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.stop();
    });
    options
}

#[test]
fn a_run_that_was_stopped_in_its_middle_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = CompareConfig { jobs: 2, ..of(&[ModelName::SharedBottom], &[1]) };
    let runs = ["shared-bottom", "single-task"].map(|model| run_folder(&out, model, 1));
    let working = vec![runs[0].clone(), runs[1].join("task-0")];
    let error = compare(&config, &endless(), &dataset, &out, &stop_when_logged(working)).unwrap_err();
    assert!(matches!(error, Error::Stopped { done: 0, all: 2, .. }), "{error}");
    assert!(runs[0].join("bundle.safetensors").exists(), "it was in its middle");
    assert!(runs.iter().all(|run| !run.join("settings.json").exists()), "what is not finished is not taken for it");
}

#[test]
fn a_training_of_a_search_that_was_stopped_in_its_middle_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = CompareConfig {
        jobs: 4,
        ..searched("trials = 2\nfirst_epochs = 1000000000\n[space]\n'train.learning_rate' = [0.01]")
    };
    let trial =
        |model: &str, number: usize| out.join(format!("search/{model}/configuration-{number}-epochs-1000000000"));
    let working = vec![trial("stem", 0).join("work"), trial("single-task", 1).join("work/task-0")];
    let error = compare(&config, &endless(), &dataset, &out, &stop_when_logged(working)).unwrap_err();
    assert!(matches!(error, Error::Stopped { done: 0, all: 4, .. }), "{error}");
    assert!(["trial.json", "settings.json"].iter().all(|name| !trial("stem", 0).join(name).exists()));
}

/// The log with a third of its rows as test rows, whose labels are turned round: the better a model, the worse it looks there.
fn turned(folder: &Path) -> Dataset {
    dataset(folder); // writes the log
    let mut log = csv::Reader::from_path(folder.join("log.csv")).unwrap();
    let header = log.headers().unwrap().clone();
    let mut turned = csv::Writer::from_path(folder.join("turned.csv")).unwrap();
    turned.write_record(header.iter().chain(["part"])).unwrap();
    for (i, record) in log.records().enumerate() {
        let part = ["train", "train", "train", "valid", "test", "test"][i % 6];
        let turn = |(name, value): (&str, &str)| match (part, name, value) {
            ("test", "a" | "b", "0") => "1".to_string(),
            ("test", "a" | "b", "1") => "0".to_string(),
            _ => value.to_string(),
        };
        let values = header.iter().zip(record.unwrap().iter()).map(turn).chain([part.to_string()]).collect::<Vec<_>>();
        turned.write_record(values).unwrap();
    }
    turned.flush().unwrap();
    let recipe = RECIPE.split("[simulator]").next().unwrap().replace("log.csv", "turned.csv");
    let split =
        "split = { kind = \"column\", column = \"part\", train = \"train\", valid = \"valid\", test = \"test\" }";
    let recipe: String =
        recipe.lines().map(|line| if line.starts_with("split") { split } else { line }).collect::<Vec<_>>().join("\n");
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("turned"), &PrepareOptions::default()).unwrap()
}

#[test]
fn a_search_and_early_stopping_choose_on_validation_whatever_the_test_split_says() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = turned(folder.path());
    let mut slow = short();
    slow.train = TrainConfig { learning_rate: 1e-7, epochs: 4, ..slow.train };
    let config = searched("trials = 2\nfirst_epochs = 4\n[space]\n'train.learning_rate' = [0.01]");
    let report = compare(&config, &slow, &dataset, &folder.path().join("out"), &options()).unwrap();
    for model in &report.models {
        let trials = &report.search.as_ref().unwrap().trials;
        let won = trials.iter().find(|trial| trial.model == model.name && trial.won).unwrap();
        assert_eq!(won.settings, [("train.learning_rate".to_string(), "0.01".to_string())], "{}", model.name);
        assert!(model.settings.contains(&won.settings[0]), "the page tells how it was trained: {:?}", model.settings);
        assert!(won.score.unwrap() > 0.55, "the score is that of validation: {won:?}");
        let test = model.tasks[0].auc.as_ref().unwrap().mean;
        assert!(test < 0.45, "{} learned, and the test split says the opposite: {test}", model.name);
    }
}

#[test]
fn a_run_that_fails_is_named_and_the_others_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let mut wild = short();
    wild.train = TrainConfig { learning_rate: 1e30, ..wild.train };
    let message = refused(&of(&[ModelName::Stem], &[7]), &wild, &dataset, &out);
    assert!(message.starts_with("stem with seed 7 failed; the other runs were tried"), "{message}");
    assert!(message.contains("compare without stem: the loss of task"), "{message}");
    let tried = out.join("runs/single-task/seed-7");
    assert!(tried.join("task-0/log.jsonl").exists(), "the others are tried all the same");
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
    assert!(
        message.starts_with("the finished run in ") && message.contains("cannot be used: remove that folder"),
        "{message}"
    );
    assert!(message.contains("is not a usable bundle"), "{message}");
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
    assert!(message.starts_with("search: stem with train.patience = 0: training configuration: "), "{message}");
    assert!(!folder.path().join("x").exists(), "what cannot be searched claims no folder");
}

#[test]
fn a_run_leaves_the_same_page_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let options = RunOptions { command: "stem <it> again".into(), ..options() };
    run(ModelName::Stem, &short(), &dataset, &out, &options).unwrap();
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("stem &lt;it&gt; again") && page.contains("stem on small"));
    for chart in ["roc", "calibration", "gates", "cka", "norms"] {
        assert!(page.contains(&format!("data-chart=\"{chart}\"")), "{chart}");
    }
    assert!(!page.contains("data-chart=\"transfer\""));
}

#[test]
fn a_folder_that_somebody_writes_into_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let lock = stem_core::lock::Lock::of(&out).unwrap();
    for message in [
        refused(&of(&[ModelName::SharedBottom], &[1]), &short(), &dataset, &out),
        said(&run(ModelName::SharedBottom, &short(), &dataset, &out, &options()).unwrap_err()),
    ] {
        assert!(message.contains("is in use by another training or comparison"), "{message}");
    }
    assert!(!out.join("plan.toml").exists() && !out.join("log.jsonl").exists());
    drop(lock);
    run(ModelName::SharedBottom, &short(), &dataset, &out, &options()).unwrap();
}

/// What `metrics.json` of a run says under a key.
fn metric(out: &Path, model: &str, key: &str) -> Value {
    let text = std::fs::read_to_string(run_folder(out, model, 1).join("metrics.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[key].clone()
}

#[test]
fn what_diverged_never_wins_and_the_winner_is_trained_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = searched("trials = 2\nfirst_epochs = 1\nkeep = 2\n[space]\n'train.learning_rate' = [1e30]");
    let report = compare(&config, &short(), &dataset, &out, &options()).unwrap();
    for model in ["stem", "single-task"] {
        let trials = report.search.as_ref().unwrap().trials.iter().filter(|trial| trial.model == model);
        let told: Vec<_> = trials.map(|trial| (trial.epochs, trial.score.is_some(), trial.won)).collect();
        assert_eq!(told, [(1, true, true), (1, false, false)], "{model}");
        assert_eq!(metric(&out, model, "epochs"), 2, "{model}");
    }
}

#[test]
fn a_search_that_tries_more_of_some_models_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let config = searched("trials = 3\nfirst_epochs = 1\n[space]\n'stem.shared_experts' = [2]");
    let report = compare(&config, &short(), &dataset, &out, &options()).unwrap();
    let search = report.search.as_ref().unwrap();
    assert!(search.trials.iter().all(|trial| trial.model == "stem") && search.trials.len() == 2, "{search:?}");
    let fewer = "stem has only 2 configurations, and all were tried. single-task has no key of the space and was run as the \
                 experiment says.";
    assert!(search.note.ends_with(&format!("by the winner of each model. {fewer}")), "{}", search.note);
    let warning = format!("The search tried more of some models than of others. {fewer}");
    assert!(report.warnings.contains(&warning), "{:?}", report.warnings);

    let even = searched("trials = 2\nfirst_epochs = 1\n[space]\n'model.dim' = [2]");
    let report = compare(&even, &short(), &dataset, &folder.path().join("even"), &options()).unwrap();
    assert!(report.search.unwrap().note.ends_with("by the winner of each model."));
    assert!(!report.warnings.iter().any(|warning| warning.contains("The search tried")), "{:?}", report.warnings);
}

#[test]
fn a_search_wants_validation_rows_and_scores_to_choose_by() {
    let folder = tempfile::tempdir().unwrap();
    let whole = dataset(folder.path());
    let out = folder.path().join("out");
    let config = searched("trials = 2\nfirst_epochs = 1\n[space]\n'model.dim' = [2]");
    let recipe = Recipe::parse(&RECIPE.replace("valid = 0.15", "valid = 0.0"), "recipe.toml").unwrap();
    let without = prepare(&recipe, folder.path(), &folder.path().join("without"), &PrepareOptions::default()).unwrap();
    let message = refused(&config, &short(), &without, &out);
    assert!(message.starts_with("search: the validation split has no rows to judge by"), "{message}");
    let mut slow_start = short();
    slow_start.train.warm_up_steps = 20; // of 34 in full, and of 17 in the first rung
    let message = refused(&config, &slow_start, &whole, &out);
    assert!(
        message.starts_with("search: stem with the experiment's own settings: ") && message.contains("warm_up_steps"),
        "{message}"
    );
    let mut wild = short();
    wild.train.learning_rate = 1e30;
    let message = refused(&config, &wild, &whole, &out);
    assert!(message.starts_with("search: no configuration of stem has a validation AUC: every loss left"), "{message}");
}
