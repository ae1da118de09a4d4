//! `stem inspect` as a user runs it: a bundle with a row that scores, a folder of columns, and what anything else is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::common::{csv, noise, pick, stem, taste, text};
use serde_json::Value;
use stem_core::{DeviceSpec, Predictor, Row};
use stem_data::{PrepareOptions, Recipe, prepare};
use stem_experiment::{Experiment, ModelName, RunOptions, run};

const RECIPE: &str = r#"
name = "shop"
group = "user"
source = [{ name = "log", file = "log.csv" }]
field = [
  { column = "user", kind = "category", min_count = 2 },
  { column = "colour", kind = "category" },
  { column = "words", kind = "sequence", separator = "|", max_len = 3 },
  { column = "price", kind = "number", standardize = true },
]
label = [{ column = "click" }, { column = "buy", within = "click" }]
split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
"#;

/// A folder with a run in `run`, its columns in `columns`, and recipe, experiment and log: made once.
fn made() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let log = csv("user,colour,words,price,click,buy", 1500, |i| {
            let (user, item, click) = taste(i);
            let colour = ["red", "green", "blue"][item % 3];
            let words = format!("{}|{}", ["a", "b", "c"][pick(i, 5, 3)], ["c", "d"][pick(i, 6, 2)]);
            let buy = if noise(i, 7) < 0.1 { "" } else { ["0", "1"][pick(i, 8, 2)] };
            format!("{user},{colour},{words},{:.2},{click},{buy}", noise(i, 9) * 50.0)
        });
        std::fs::write(dir.path().join("log.csv"), log).unwrap();
        std::fs::write(dir.path().join("recipe.toml"), RECIPE).unwrap();
        let sizes = "[train]\nbatch_size = 256\nepochs = 2\n[stem]\ndim = 4\nshared_experts = 1\nexperts = [8]\ngate = [4]\ntower = [4]\n";
        std::fs::write(dir.path().join("experiment.toml"), sizes).unwrap();
        let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
        let dataset = prepare(&recipe, dir.path(), &dir.path().join("columns"), &PrepareOptions::default()).unwrap();
        let experiment = Experiment::parse(sizes, "experiment.toml").unwrap();
        run(ModelName::Stem, &experiment, &dataset, &dir.path().join("run"), &RunOptions::default()).unwrap();
        dir
    });
    dir.path()
}

fn json(path: &Path) -> Value {
    let output = stem(&["inspect", "--json", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `inspect` says of what it does not show.
fn says(path: &Path, words: &[&str]) {
    let output = stem(&["inspect", path.to_str().unwrap()]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    words.iter().for_each(|word| assert!(message.contains(word), "{word}: {message}"));
}

#[test]
fn a_bundle_tells_fields_tasks_sizes_training_and_quality() {
    let bundle = made().join("run/bundle.safetensors");
    let report = json(&bundle);
    assert_eq!(
        (&report["model"], &report["format_version"]),
        (&"stem".into(), &stem_core::bundle::OLDEST_VERSION.into())
    );
    assert_eq!((&report["sizes"]["dim"], &report["sizes"]["experts"]), (&4.into(), &serde_json::json!([8])));
    assert_eq!(report["checksum"].as_str().unwrap().len(), 64);
    assert_eq!(report["bytes"].as_u64(), Some(std::fs::metadata(&bundle).unwrap().len()));
    let field =
        |name: &str| report["fields"].as_array().unwrap().iter().find(|field| field["column"] == name).unwrap().clone();
    assert_eq!((&field("user")["kind"], &field("user")["keys"]), (&"category".into(), &"integers".into()));
    assert_eq!((&field("colour")["known"], &field("colour")["keys"]), (&3.into(), &"texts".into()));
    assert_eq!((&field("words")["kind"], &field("words")["known"]), (&"sequence".into(), &4.into()));
    assert_eq!((&field("price")["kind"], &field("price")["known"]), (&"number".into(), &0.into()));
    assert_eq!(
        report["tasks"],
        serde_json::json!([
            { "name": "click", "within": null, "kind": "binary" },
            { "name": "buy", "within": "click", "kind": "binary" }
        ])
    );
    let rows = report["parameters"]["table_rows"].as_u64().unwrap();
    assert_eq!(
        report["parameters"]["table"].as_u64(),
        Some(rows * 3 * 4),
        "an embedding a task and a shared one, of 4 numbers"
    );
    let metrics: Value = serde_json::from_slice(&std::fs::read(made().join("run/metrics.json")).unwrap()).unwrap();
    assert_eq!(report["parameters"]["total"], metrics["parameters"]);
    assert_eq!(report["metrics"], metrics);
    assert_eq!(report["training"]["seed"], 1);

    let shown = text(&stem(&["inspect", bundle.to_str().unwrap()]).stdout);
    let parts = [
        "a bundle of stem",
        "buy (within click)",
        "a row that scores",
        "how good it was",
        "group: user",
        "label above 0: buy 0.",
    ];
    for part in parts {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn the_example_row_scores_what_it_says() {
    let bundle = made().join("run/bundle.safetensors");
    let report = json(&bundle);
    let predictor = Predictor::open(&bundle, &DeviceSpec::default().open().unwrap()).unwrap();
    let example = report["example"].as_object().unwrap();
    assert!(["red", "green", "blue"].contains(&example["colour"].as_str().unwrap()));
    assert!(example["words"].as_str().unwrap().contains('|'), "{example:?}");
    let row: Row = example
        .iter()
        .map(|(k, v)| (k.clone(), serde_json::from_value::<stem_core::Value>(v.clone()).unwrap()))
        .collect();
    let scores = predictor.predict(&[row]).unwrap();
    for task in ["click", "buy"] {
        let said = report["scores"][task].as_f64().unwrap();
        assert!((said - f64::from(scores.get(0, task).unwrap())).abs() < 1e-6, "{task}");
    }
}

#[test]
fn metrics_of_another_run_are_not_taken_for_the_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("bundle.safetensors");
    std::fs::copy(made().join("run/bundle.safetensors"), &copy).unwrap();
    assert_eq!(json(&copy)["metrics"], Value::Null);
    let metrics = std::fs::read_to_string(made().join("run/metrics.json")).unwrap();
    std::fs::write(dir.path().join("metrics.json"), metrics.replace("\"stem\"", "\"ple\"")).unwrap();
    let report = json(&copy);
    assert_eq!(report["metrics"], Value::Null);
    assert!(report["notes"][0].as_str().unwrap().contains("of another model or seed"));
}

#[test]
fn a_damaged_bundle_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.safetensors");
    let mut bytes = std::fs::read(made().join("run/bundle.safetensors")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    says(&path, &["checksum"]);
    std::fs::write(&path, &bytes[..last / 2]).unwrap();
    says(&path, &["cut short"]);
}

#[test]
fn a_bundle_of_an_applications_own_model_is_shown_without_being_scored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.safetensors");
    let mut bytes = std::fs::read(made().join("run/bundle.safetensors")).unwrap();
    let name = br#"\"name\":\"stem\""#;
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at..at + name.len()].copy_from_slice(br#"\"name\":\"mine\""#);
    std::fs::write(&path, bytes).unwrap();
    let report = json(&path);
    assert_eq!((&report["model"], &report["example"], &report["scores"]), (&"mine".into(), &Value::Null, &Value::Null));
    assert!(report["notes"][0].as_str().unwrap().contains("an application's own"));
    assert_eq!(report["fields"][1]["known"], 3);
}

#[test]
fn a_folder_of_columns_tells_rows_and_labels_by_split() {
    let report = json(&made().join("columns"));
    assert_eq!((&report["name"], &report["group"]), (&"shop".into(), &"user".into()));
    let splits = report["splits"].as_array().unwrap();
    assert_eq!(splits.iter().map(|split| split["rows"].as_u64().unwrap()).sum::<u64>(), 1500);
    let train = &splits[0];
    assert_eq!(train["split"], "train");
    assert_eq!((&train["tasks"][0]["task"], &train["tasks"][0]["missing"]), (&"click".into(), &0.into()));
    assert!(train["tasks"][1]["missing"].as_u64() > Some(0) && train["tasks"][1]["within"] == "click");
    assert_eq!(report["fields"][1]["known"], 3);
    assert_eq!(report["key"].as_str().unwrap().len(), 64);
    let shown = text(&stem(&["inspect", made().join("columns").to_str().unwrap()]).stdout);
    for part in ["the encoded columns of \"shop\"", "positives", "colour"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn files_of_the_project_are_named_with_the_command_that_fits() {
    let made = made();
    says(&made.join("recipe.toml"), &["is a recipe (1 source, 4 fields, 2 labels)", "stem train --recipe"]);
    says(&made.join("experiment.toml"), &["is an experiment (sizes of stem)", "--experiment"]);
    says(&made.join("log.csv"), &["a text table of 6 columns between commas", "stem init --data"]);
    says(&made.join("run"), &["the folder of a run", "run/bundle.safetensors"]);
    says(&made.join("run/metrics.json"), &["the metrics of a run of stem", "stem inspect"]);
    says(&made.join("run/log.jsonl"), &["a file of JSON lines"]);
    says(&made.join("run/report.html"), &["a page for a browser"]);
    says(&made.join("columns/dataset.json"), &["the description of an encoded data set", "stem inspect"]);
    says(&made.join("columns/train/labels.u8"), &["one of the column files of an encoded data set", "columns` shows"]);
}

/// A safetensors file with this header and no tensors' bytes.
fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

#[test]
fn anything_else_is_named_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8], words: &[&str]| {
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        says(&path, words);
    };
    file("empty", b"", &["is an empty file"]);
    file("a.parquet", b"PAR1....PAR1", &["a table in Parquet format", "stem init"]);
    file("a.arrow", b"ARROW1\0\0", &["a table in Arrow IPC format", "stem init"]);
    file("a.pt", b"PK\x03\x04\x14\0archive/data.pkl\0\0", &["a PyTorch checkpoint", "stem import"]);
    file("a.zip", b"PK\x03\x04\x14\0a.txt\0\0", &["a zip archive"]);
    file("a.gz", b"\x1f\x8b\x08\0", &["a gzip archive"]);
    file("a.bin", b"\x01\0\x02\0", &["a binary file of a kind unknown here"]);
    file("a.txt", b"Dear reader\n", &["a text of one line"]);
    file("a.toml", b"[package]\nname = \"x\"\n", &["a TOML file, though no recipe and no experiment"]);
    file("a.json", b"{\"x\": 1}", &["a JSON file"]);
    file("search.toml", b"trials = 3\n[space]\n\"model.dim\" = [1, 2]\n", &["settings of a search", "--search"]);
    file(
        "checkpoint-5.safetensors",
        &safetensors(
            r#"{"__metadata__":{"stem.checkpoint":"{}"},"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
        ),
        &["a checkpoint of a training", "stem train --from", "--resume"],
    );
    file(
        "other.safetensors",
        &safetensors("{\"w\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"),
        &["safetensors file of another program: 1 tensors (w"],
    );
    let old = r#"{"__metadata__":{"stem.manifest":"{\"version\":1}"}}"#;
    file("old.safetensors", &safetensors(old), &["a bundle of format version 1", "train or import the model again"]);
    let folder = |name: &str, inside: &[&str], words: &[&str]| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        inside.iter().for_each(|file| std::fs::write(path.join(file), "").unwrap());
        says(&path, words);
    };
    folder("nothing", &[], &["an empty folder"]);
    folder("compared", &["plan.toml", "report.html"], &["the folder of a comparison", "report.html"]);
    folder("begun", &["log.jsonl"], &["a run that has no bundle"]);
    folder("project", &["recipe.toml"], &["a folder with a recipe", "stem train"]);
    folder("photos", &["a.jpg", "b.jpg"], &["no command of stem wrote (a.jpg, b.jpg)"]);
    says(&dir.path().join("absent"), &["cannot read", "absent"]);
}

const STEPS: &str = r#"
name = "steps"
source = [{ name = "log", file = "log.csv" }]
field = [
  { column = "user", kind = "category", hash = 40 },
  { column = "city", kind = "category", trim = true, lower = true },
  { cross = ["user", "city"], hash = 60 },
  { cross = ["city", "words"], name = "pair" },
  { column = "words", kind = "sequence", separator = "|", max_len = 2, keep = "last", lower = true },
  { column = "price", kind = "number", clip = [0, inf], log1p = true, standardize = true },
  { column = "price", name = "level", bucketize = { quantiles = 4 } },
  { column = "ts", name = "hour", part = "hour" },
  { column = "image", kind = "vector", separator = " ", length = 3 },
]
label = [{ column = "click" }]
split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
"#;

/// Every step, from the log to a bundle, a row that `inspect` shows and a table that `score` reads.
#[test]
fn a_model_of_fields_with_steps_is_shown_and_scores_raw_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let log = csv("user,city,words,price,ts,image,click", 400, |i| {
        let (user, item, click) = taste(i);
        let city = [" Paris", "OSLO ", "rome"][item % 3];
        let (hour, price) = (pick(i, 5, 24), noise(i, 9) * 50.0 - 1.0);
        format!("{user},{city},A|b|C,{price:.2},2024-03-01 {hour:02}:00:00,0.1 {price:.1} -2,{click}")
    });
    std::fs::write(path("log.csv"), &log).unwrap();
    std::fs::write(path("recipe.toml"), STEPS).unwrap();
    let run = |args: &[&str]| {
        let output = stem(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    run(&["train", "--recipe", &path("recipe.toml"), "--data", &path(""), "--out", &path("run"), "--epochs", "1"]);
    let bundle = dir.path().join("run/bundle.safetensors");
    let report = json(&bundle);
    let details =
        report["fields"].as_array().unwrap().iter().map(|field| field["details"].to_string()).collect::<String>();
    for step in [
        "in lower case",
        "crossed",
        "the last 2 values",
        "ln(1 + x)",
        "in 4 buckets from",
        "hour of the time",
        "3 numbers",
    ] {
        assert!(details.contains(step), "{step}: {details}");
    }
    let row: Row = serde_json::from_value(report["example"].clone()).unwrap();
    let predictor = Predictor::open(&bundle, &DeviceSpec::default().open().unwrap()).unwrap();
    assert_eq!(predictor.predict(&[row]).unwrap().rows().count(), 1);

    run(&[
        "score",
        "--bundle",
        &bundle.display().to_string(),
        "--input",
        &path("log.csv"),
        "--output",
        &path("scores.csv"),
    ]);
    let scored = std::fs::read_to_string(path("scores.csv")).unwrap();
    assert_eq!(scored.lines().count(), 401);
    let tidy = log.replace(" Paris", "paris").replace("OSLO ", "oslo"); // crosses take the city as it is, and see others
    std::fs::write(path("tidy.csv"), tidy).unwrap();
    run(&[
        "score",
        "--bundle",
        &bundle.display().to_string(),
        "--input",
        &path("tidy.csv"),
        "--output",
        &path("tidy_scores.csv"),
    ]);
    let last = |text: &str| text.lines().map(|line| line.rsplit(',').next().unwrap().to_string()).collect::<Vec<_>>();
    let rome = scored.lines().position(|line| line.contains(",rome,")).unwrap();
    let tidied = std::fs::read_to_string(path("tidy_scores.csv")).unwrap();
    assert_eq!(last(&scored)[rome], last(&tidied)[rome]);
}
