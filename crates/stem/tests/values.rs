//! Labels that are numbers, as a user meets them: trained, compared, measured on another day, scored and inspected.

use std::path::Path;

use crate::program::{fails, json, succeeds, texts};
use serde_json::Value;

const RECIPE: &str = r#"
name = "watched"
group = "user"

[[source]]
name = "log"
file = "log.csv"

[[field]]
column = "user"
kind = "category"

[[field]]
column = "item"
kind = "category"

[[label]]
column = "click"

[[label]]
column = "seconds"
kind = "watch-time"

[[label]]
column = "stars"
kind = "ordinal"
classes = 5
metric = "rmse"

[[label]]
column = "shelf"
kind = "classes"
classes = 3

[split]
kind = "column"
column = "split"
"#;

const EXPERIMENT: &str = r#"
[train]
batch_size = 256
epochs = 4
learning_rate = 0.01

[train.losses]
click = { name = "focal", gamma = 1.0 }
"#;

fn log() -> String {
    let row = |row: usize| {
        let (user, item) = (row * 31 % 60, row * 17 % 40);
        let noise = (row * 104_729 % 1009) as f64 / 1009.0;
        let click = u8::from(noise < (item as f64 + 1.0) / 45.0);
        let seconds = if noise < 0.2 { 0.0 } else { (1.0 + item as f64) * (0.5 + noise) };
        let split = ["train", "train", "train", "valid", "test"][row / 120 % 5];
        format!("{user},{item},{click},{seconds:.1},{},{},{split}\n", item / 8, item * 7 % 3)
    };
    ["user,item,click,seconds,stars,shelf,split\n".to_string()].into_iter().chain((0..3000).map(row)).collect()
}

struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Self {
        let case = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("recipe.toml", RECIPE), ("experiment.toml", EXPERIMENT), ("log.csv", &log())] {
            std::fs::write(case.0.path().join(name), text).unwrap();
        }
        case
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// `stem COMMAND ... --recipe --data --experiment`
    fn args(&self, command: &[&str]) -> Vec<String> {
        let data = ["--recipe", &self.path("recipe.toml"), "--data", &self.path("")].map(String::from);
        command.iter().map(|arg| arg.to_string()).chain(data).collect()
    }

    fn train(&self, model: &str, out: &str) -> Value {
        let experiment = self.path("experiment.toml");
        let out = self.path(out);
        let args = self.args(&["train", "--model", model, "--experiment", &experiment, "--out", &out]);
        json(&args.iter().map(String::as_str).collect::<Vec<_>>());
        serde_json::from_str(&std::fs::read_to_string(Path::new(&out).join("metrics.json")).unwrap()).unwrap()
    }
}

#[test]
fn metrics_stand_in_the_run_by_their_names_and_scores_are_in_the_labels_units() {
    let case = Case::new();
    for model in ["stem", "single-task"] {
        let metrics = case.train(model, model);
        let of = |task: &str, metric: &str| metrics["test"][task][metric].as_f64();
        for task in ["seconds", "stars"] {
            for metric in ["rmse", "mae", "xauc", "ndcg@10", "mrr", "recall@10", "hitrate@10", "calibration"] {
                assert!(of(task, metric).is_some(), "{model} {task} {metric}: {metrics}");
            }
            assert!(metrics["test"][task]["auc"].is_null() && metrics["test"][task].get("ne").is_none());
        }
        for metric in ["auc", "gauc", "logloss", "pr-auc", "ne", "ece", "ndcg@10", "mrr"] {
            assert!(of("click", metric).is_some(), "{model} {metric}: {metrics}");
        }
        assert!(of("seconds", "xauc").unwrap() > 0.7 && of("stars", "rmse").unwrap() < 0.6, "{metrics}");
        let shelf = &metrics["test"]["shelf"];
        assert!(of("shelf", "accuracy").unwrap() > 0.9, "{model}: {shelf}");
        assert!(["auc", "calibration"].iter().all(|metric| shelf[metric].is_null()) && shelf.get("xauc").is_none());
        assert!((0.8..1.25).contains(&of("seconds", "calibration").unwrap()), "{metrics}");
    }
    let (bundle, input, output) = (case.path("stem/bundle.safetensors"), case.path("log.csv"), case.path("scores.csv"));
    succeeds(&["score", "--bundle", &bundle, "--input", &input, "--output", &output]);
    let scores = std::fs::read_to_string(&output).unwrap();
    let heading: Vec<&str> = scores.lines().next().unwrap().split(',').collect();
    let column = |name: &str| heading.iter().rposition(|column| column.contains(name)).unwrap();
    let most = |name: &str| {
        let values =
            scores.lines().skip(1).map(|line| line.split(',').nth(column(name)).unwrap().parse::<f64>().unwrap());
        values.fold(0.0, f64::max)
    };
    assert!(most("click") <= 1.0 && most("seconds") > 10.0 && (2.0..=4.0).contains(&most("stars")), "{heading:?}");
    assert_eq!(most("shelf"), 2.0, "the number of a class");
    let told = succeeds(&["inspect", &bundle]);
    assert!(told.contains("seconds (watch-time)") && told.contains("stars (ordinal of 5 classes)"), "{told}");
    assert!(told.contains("shelf (3 classes)"), "{told}");
    let page = std::fs::read_to_string(case.path("stem/report.html")).unwrap();
    assert!(page.contains("Tasks whose label is a class"));
    assert!(page.contains("Tasks whose label is a number") && page.contains("XAUC on the validation split"));
}

#[test]
fn a_comparison_decides_on_each_task_by_its_own_metric() {
    let case = Case::new();
    let (experiment, out) = (case.path("experiment.toml"), case.path("compared"));
    let args = case.args(&[
        "compare",
        "--models",
        "shared-bottom",
        "--seeds",
        "1,2",
        "--experiment",
        &experiment,
        "--out",
        &out,
    ]);
    json(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let found: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{out}/comparison.json")).unwrap()).unwrap();
    assert_eq!(
        (&found["metric"], &found["metrics"]["seconds"], &found["metrics"]["stars"]),
        (&"auc".into(), &"xauc".into(), &"rmse".into())
    );
    assert!(found["metrics"].get("click").is_none() && found["metrics"]["shelf"] == "accuracy");
    for task in ["click", "seconds", "stars", "shelf"] {
        let own = &found["models"]["shared-bottom"]["tasks"][task];
        assert!(own["transfer"]["low"].is_number() && own["valid"]["mean"].is_number(), "{task}: {own}");
    }
    let rmse = found["models"]["shared-bottom"]["tasks"]["stars"]["rmse"]["mean"].as_f64();
    assert!(rmse.is_some_and(|rmse| rmse > 0.0), "{found}");
    assert_eq!(found["strata"].as_object().unwrap().len(), 0, "one binary task makes no pair");
    let page = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    assert!(page.contains("of seconds XAUC") && page.contains("of stars RMSE"), "what decides is said");
}

#[test]
fn the_order_within_users_is_learned_from_pairs() {
    let case = Case::new();
    let experiment = EXPERIMENT.replace("{ name = \"focal\", gamma = 1.0 }", "{ name = \"pairwise\", share = 0.5 }");
    std::fs::write(case.path("experiment.toml"), experiment).unwrap();
    let metrics = case.train("stem", "pairs");
    assert!(metrics["test"]["click"]["gauc"].as_f64().unwrap() > 0.65, "{metrics}");
    let ungrouped = RECIPE.replace("group = \"user\"\n", "");
    std::fs::write(case.path("recipe.toml"), ungrouped).unwrap();
    let (experiment, out) = (case.path("experiment.toml"), case.path("ungrouped"));
    let message = fails(&texts(&case.args(&["train", "--experiment", &experiment, "--out", &out])));
    assert!(message.contains("losses.click.name") && message.contains("`group` in the recipe"), "{message}");
}

#[test]
fn another_day_is_measured_in_numbers_and_paired_with_another_bundle() {
    let case = Case::new();
    case.train("stem", "stem");
    case.train("shared-bottom", "bottom");
    let [bundle, other] = ["stem", "bottom"].map(|run| case.path(&format!("{run}/bundle.safetensors")));
    let args = case.args(&["evaluate", "--bundle", &bundle, "--against", &other, "--margin", "10"]);
    let found = json(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let seconds = found["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "seconds").unwrap();
    assert!(seconds["intervals"]["rmse"]["low"].as_f64().unwrap() < seconds["rmse"].as_f64().unwrap(), "{seconds}");
    let gates = found["gate"]["tasks"].as_array().unwrap();
    let metrics: Vec<&str> = gates.iter().map(|task| task["metric"].as_str().unwrap()).collect();
    assert_eq!(metrics, ["auc", "xauc", "rmse", "accuracy"], "{found}");
}
