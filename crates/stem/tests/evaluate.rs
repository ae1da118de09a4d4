//! `stem evaluate` as a user runs it: a bundle on the data of another day.

use crate::program::{Small, device, fails, json, run, succeeds, text, texts};
use serde_json::Value;

/// A bundle, and beside its log one of another day.
struct Days {
    small: Small,
    bundle: String,
}

impl Days {
    fn new() -> Self {
        let small = Small::new();
        let bundle = small.trained();
        std::fs::create_dir(small.path("today")).unwrap();
        let days = Self { small, bundle };
        days.today(&days.small.read("log.csv"));
        days
    }

    fn today(&self, log: &str) {
        self.small.write("today/log.csv", log);
    }

    /// A recipe for the rows that are there: nothing is simulated.
    fn recipe(&self) -> String {
        let recipe = self.small.read("recipe.toml");
        self.small.write("today.toml", recipe.split("[simulator]").next().unwrap())
    }

    fn args<'a>(&'a self, recipe: &'a str, data: &'a str, more: &[&'a str]) -> Vec<String> {
        let own = ["evaluate", "--bundle", &self.bundle, "--recipe", recipe, "--data", data];
        let on = ["--device".to_string(), device()];
        own.iter().chain(more).map(|arg| arg.to_string()).chain(on).collect()
    }
}

#[test]
fn the_test_split_of_the_training_has_the_metrics_of_the_training() {
    let days = Days::new();
    let (recipe, data, out) = (days.recipe(), days.small.path(""), days.small.path("evaluation"));
    let measured = json(&texts(&days.args(&recipe, &data, &["--split", "test", "--out", &out])));
    let trained: Value = serde_json::from_str(&days.small.read("out/metrics.json")).unwrap();
    assert!(measured["rows"].as_u64().unwrap() > 300);
    for task in measured["tasks"].as_array().unwrap() {
        let before = &trained["test"][task["task"].as_str().unwrap()];
        for metric in ["auc", "gauc", "logloss", "calibration"] {
            let [now, then] = [&task[metric], &before[metric]].map(|value| value.as_f64().unwrap());
            let tolerance = if device() == "flex" { 0.0 } else { 1e-5 };
            assert!((now - then).abs() <= tolerance, "{metric}: {then} in training, {now}");
        }
        let (auc, interval) = (task["auc"].as_f64().unwrap(), &task["intervals"]["auc"]);
        assert!(interval["low"].as_f64().unwrap() < auc && auc < interval["high"].as_f64().unwrap(), "{task}");
        assert_eq!(task["deciles"].as_array().unwrap().len(), 10);
    }
    assert!(measured["gate"].is_null());
    let page = days.small.read("evaluation/report.html");
    for part in ["id=\"measured\"", "id=\"drift\"", "Calibration by tenths"] {
        assert!(page.contains(part), "no {part}");
    }
    assert!(!page.contains("What to ship"), "one bundle's day is no comparison of models");
    let written: Value = serde_json::from_str(&days.small.read("evaluation/evaluation.json")).unwrap();
    assert_eq!(written["tasks"], measured["tasks"]);
}

#[test]
fn all_rows_of_a_day_are_measured_with_the_vocabularies_of_the_bundle_and_cut_by_a_column() {
    let days = Days::new();
    let log = days.small.read("log.csv");
    let mut lines = log.lines();
    let header = lines.next().unwrap();
    let place = header.split(',').position(|name| name == "user").unwrap();
    let rows = lines.take(400).enumerate().map(|(row, line)| {
        let mut cells: Vec<String> = line.split(',').map(String::from).collect();
        if row % 2 == 0 {
            cells[place] = "9999".into(); // nobody that the bundle knows
        }
        format!("{},{}\n", cells.join(","), ["app", "web"][row % 2])
    });
    let rows: String = rows.collect();
    days.today(&format!("{header},tab\n{rows}"));
    let (recipe, data) = (days.recipe(), days.small.path("today"));
    let measured = json(&texts(&days.args(&recipe, &data, &["--by", "tab"])));
    assert_eq!(measured["rows"], 400);
    let slices: Vec<(&str, u64)> = measured["slices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slice| (slice["value"].as_str().unwrap(), slice["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(slices, [("app", 200), ("web", 200)]);
    let unseen =
        measured["drift"].as_array().unwrap().iter().find(|drift| drift["name"] == "user: unseen values").unwrap();
    assert_eq!((unseen["now"].as_f64(), unseen["is_large"].as_bool()), (Some(0.5), Some(true)));
    let warnings = measured["warnings"].to_string();
    assert!(warnings.contains("user: unseen values moved: 0.0000 in training, 0.5000 now"), "{warnings}");
    let told = succeeds(&texts(&days.args(&recipe, &data, &["--by", "tab"])));
    assert!(told.starts_with("400 rows\n") && told.contains("tab = web"), "{told}");
    assert!(fails(&texts(&days.args(&recipe, &data, &["--by", "tabb"]))).contains("did you mean \"tab\"?"));
}

#[test]
fn a_bundle_is_no_worse_than_itself_and_one_that_is_worse_gives_another_exit_code() {
    let days = Days::new();
    let (recipe, data) = (days.recipe(), days.small.path(""));
    let same = json(&texts(&days.args(&recipe, &data, &["--against", &days.bundle])));
    assert_eq!((&same["gate"]["passed"], &same["gate"]["tasks"][0]["verdict"]), (&true.into(), &"no-worse".into()));
    // The labels turned round: what ranks them well ranks these badly.
    let turned = days.small.read("recipe.toml").replacen(
        "group = \"user\"",
        "group = \"user\"\nsql = '''SELECT log.\"user\", item, 1 - a AS a, 1 - b AS b FROM log'''",
        1,
    );
    days.small.write("turned.toml", &turned);
    let mut args = days.small.args("train", "turned", &["--epochs", "2"]);
    let place = args.iter().position(|arg| arg.ends_with("recipe.toml")).unwrap();
    args[place] = days.small.path("turned.toml");
    succeeds(&texts(&args));
    let bundle = days.small.path("turned/bundle.safetensors");
    let mut gate: Vec<String> = days.args(&recipe, &data, &["--against", &days.bundle, "--metric", "auc", "--json"]);
    gate[2].clone_from(&bundle);
    let output = run(&texts(&gate));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["gate"]["passed"], false);
    assert!(found["gate"]["tasks"].as_array().unwrap().iter().any(|task| task["verdict"] == "worse"), "{found}");
}

#[test]
fn a_recipe_that_does_not_fit_the_bundle_is_refused_field_by_field() {
    let days = Days::new();
    let recipe = std::fs::read_to_string(days.recipe()).unwrap();
    let other = recipe
        .replace("{ column = \"user\", kind = \"category\" }", "{ column = \"user\", kind = \"number\" }")
        .replace(
            "{ column = \"item\", kind = \"category\" }",
            "{ column = \"item\", name = \"thing\", kind = \"category\" }",
        )
        .replace("{ column = \"b\" }", "{ column = \"c\" }");
    let path = days.small.write("other.toml", &other);
    let message = fails(&texts(&days.args(&path, &days.small.path(""), &[])));
    for part in [
        "field \"user\" is a number here and a category in the model",
        "the model reads a field \"item\", which this recipe does not have",
        "the model scores \"b\", which is no label of this recipe",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (recipe, data) = (days.recipe(), days.small.path(""));
    let negative = fails(&texts(&days.args(&recipe, &data, &["--against", &days.bundle, "--margin=-1"])));
    assert_eq!(negative, "--margin -1: expected a number of 0 or more");
    assert_eq!(run(&["evaluate", "--bundle", "no-such-file", "--margin", "0.1"]).status.code(), Some(2));
}

#[test]
fn fields_are_worth_what_the_scores_lose_without_them() {
    let days = Days::new();
    let (recipe, data, out) = (days.recipe(), days.small.path(""), days.small.path("worth"));
    let found = json(&texts(&days.args(&recipe, &data, &["--importance", "--out", &out])));
    let fields = found["importance"].as_array().unwrap();
    assert_eq!(fields.iter().map(|field| field["field"].as_str().unwrap()).collect::<Vec<_>>(), ["user", "item"]);
    for field in fields {
        for interval in field["tasks"].as_array().unwrap() {
            let [low, mean, high] = ["low", "mean", "high"].map(|key| interval[key].as_f64().unwrap());
            assert!(low <= mean && mean <= high && mean.abs() < 0.5, "{found}");
        }
    }
    let of = |field: usize, task: usize| fields[field]["tasks"][task]["mean"].as_f64().unwrap();
    assert!((0..2).any(|task| of(0, task).max(of(1, task)) > 0.0), "a model reads something: {found}");
    assert!(days.small.read("worth/report.html").contains("What each field is worth"));
    let plain = days.small.path("plain");
    let unasked = json(&texts(&days.args(&recipe, &data, &["--out", &plain])));
    assert!(unasked.get("importance").is_none(), "it costs a scoring a field, and is not done unasked");

    // What was measured is shown of the bundle again, and of no other.
    let shown = json(&["inspect", &days.bundle, "--importance", &out]);
    assert_eq!(shown["importance"], found["importance"]);
    let told = succeeds(&["inspect", &days.bundle, "--importance", &out]);
    assert!(told.contains("what each field is worth") && told.contains("item"), "{told}");
    let message = fails(&["inspect", &days.bundle, "--importance", &plain]);
    assert!(
        message.contains("does not say what fields are worth") && message.contains("--importance --out"),
        "{message}"
    );
    let message = fails(&["inspect", &days.bundle, "--importance", &days.small.path("")]);
    assert!(message.contains("holds no evaluation.json"), "{message}");
    let text = days.small.read("worth/evaluation.json");
    days.small.write("worth/evaluation.json", &text.replacen("\"checksum\": \"", "\"checksum\": \"0", 1));
    let message = fails(&["inspect", &days.bundle, "--importance", &out]);
    assert!(message.contains("is of another bundle"), "{message}");
}
