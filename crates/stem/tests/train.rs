//! `stem prepare`, `stem train` and `stem compare` as a user runs them.

use crate::program::{Small, device, fails, json, run, stem, succeeds, text, texts, workspace};
use std::process::Command;

#[test]
fn prepare_says_rows_seconds_and_memory_and_only_opens_a_second_time() {
    let small = Small::new();
    let (recipe, data, columns) = (small.path("recipe.toml"), small.path(""), small.path("columns"));
    let args = ["prepare", "--recipe", &recipe, "--data", &data, "--columns", &columns];
    let printed = succeeds(&args);
    assert!(printed.starts_with("2000 rows in ") && printed.contains(&columns), "{printed}");
    let manifest = |name| std::fs::metadata(format!("{columns}/{name}")).unwrap().modified().unwrap();
    let before = manifest("dataset.json");
    let report = json(&args);
    assert_eq!(report["rows"], 2000);
    assert!(report["seconds"].as_f64().unwrap() > 0.0 && report.get("rss_gb").is_some(), "{report}");
    assert_eq!(manifest("dataset.json"), before);
    assert_eq!(report["page"], format!("{columns}/data.html"));
    assert_eq!(printed.trim_end().lines().last(), report["page"].as_str());
    let page = small.read("columns/data.html");
    assert!(page.contains("The data of small") && page.contains("id=\"vocabularies\""), "{page}");

    let line = printed.lines().find(|line| line.trim_start().starts_with("user ")).unwrap();
    assert_eq!(line.matches(" %").count(), 3, "nulls, unseen in valid and in test: {printed}");
    let user = report["fields"].as_array().unwrap().iter().find(|field| field["column"] == "user").unwrap();
    assert_eq!((user["nulls"]["train"].as_f64(), user["unseen"]["train"].as_f64()), (Some(0.0), Some(0.0)));
    assert!(user["numbers"].is_null() && report["copies"]["rows"] == 2000 && report["days"] == serde_json::json!([]));
    assert!(report["groups"]["train"]["groups"].as_u64().is_some_and(|groups| groups > 10), "{report}");

    let older = ["prepare", "--recipe", &recipe, "--data", &data, "--out", &columns];
    assert_eq!(json(&older)["rows"], 2000, "as it was spelled before");
    assert_eq!(run(&["prepare", "--recipe", &recipe, "--data", &data]).status.code(), Some(2), "no folder to write to");
}

#[test]
fn the_tables_lie_beside_the_recipe_unless_a_simulator_would_write_there() {
    let small = Small::new();
    let (recipe, columns) = (small.path("recipe.toml"), small.path("columns"));
    let args = ["prepare", "--recipe", &recipe, "--columns", &columns];
    assert!(fails(&args).contains("simulates its log: say with --data"));
    assert!(!small.folder.path().join("log.csv").exists());
    succeeds(&[&args[..], &["--data", &small.path("")]].concat());
    assert_eq!(json(&args)["rows"], 2000, "the log is there now");
}

#[test]
fn train_leaves_a_bundle_metrics_and_a_page_with_the_command_that_does_it_again() {
    let small = Small::new();
    let args = small.args("train", "out", &["--seed", "5"]);
    let table = succeeds(&texts(&args));
    assert!(table.contains("stem ") && table.contains("gAUC") && table.contains("epochs, "), "{table}");
    assert!(table.trim_end().ends_with(&small.path("out/report.html")), "{table}");
    let metrics: serde_json::Value = serde_json::from_str(&small.read("out/metrics.json")).unwrap();
    for key in ["model", "seed", "device", "epochs", "seconds", "rows_per_second", "test", "valid"] {
        assert!(metrics.get(key).is_some(), "metrics.json has no {key}: {metrics}");
    }
    assert_eq!((&metrics["seed"], &metrics["device"]), (&5.into(), &device().into()));
    for key in ["auc", "gauc", "logloss", "calibration"] {
        assert!(metrics["test"]["a"].get(key).is_some(), "{metrics}");
    }
    let page = small.read("out/report.html");
    assert!(page.contains(&format!("stem train --recipe {}", small.path("recipe.toml"))), "the command to do it again");

    let again = fails(&texts(&args));
    assert!(
        again.contains("holds a run of 'stem' with seed 5: name another folder with --out, or replace it with --force")
    );
    succeeds(&texts(&small.args("train", "out", &["--force"])));

    let answer = json(&texts(&small.args("train", "single", &["--model", "single-task", "--seed", "5"])));
    assert_eq!((&answer["model"], &answer["epochs"]), (&"single-task".into(), &2.into()));
    assert_eq!(answer["bundle"], small.path("single/bundle.safetensors"));
    assert!(answer["test"]["b"]["auc"].is_f64(), "{answer}");
}

#[test]
fn an_experiment_beside_the_recipe_is_taken_and_without_one_the_defaults() {
    let small = Small::new();
    small.write("experiment.toml", &small.read("small.toml").replace("epochs = 2", "epochs = 3"));
    let (recipe, data, out) = (small.path("recipe.toml"), small.path(""), small.path("out"));
    let device = device();
    let args = ["train", "--recipe", &recipe, "--data", &data, "--out", &out, "--device", &device];
    assert_eq!(json(&args)["epochs"], 3);
    let older = ["--config", &small.path("small.toml"), "--out", &small.path("older")];
    let older = [&["train", "--recipe", &recipe, "--data", &data, "--device", &device], &older[..]].concat();
    assert_eq!(json(&older)["epochs"], 2, "as it was spelled before");
}

#[test]
fn what_is_wrong_is_told_in_one_message_before_anything_is_trained() {
    let small = Small::new();
    let train = |change: &[&str]| {
        let mut args = small.args("train", "out", &[]);
        for pair in change.chunks(2) {
            match args.iter().position(|arg| arg == pair[0]) {
                Some(at) => args[at + 1] = pair[1].into(),
                None => args.extend(pair.iter().map(|arg| arg.to_string())),
            }
        }
        fails(&texts(&args))
    };
    let missing = train(&["--recipe", "no/such.toml"]);
    assert!(missing.contains("no/such.toml") && missing.matches("No such file").count() == 1, "{missing}");
    assert!(train(&["--experiment", "no/such.toml"]).starts_with("cannot read no/such.toml: "));
    assert!(train(&["--epochs", "0"]).contains("`epochs` is 0, expected 1 or more"));
    if cfg!(not(feature = "wgpu")) {
        assert_eq!(train(&["--device", "wgpu"]), "device 'wgpu': not compiled in: build with `--features wgpu`");
    }
    assert!(!small.folder.path().join("out").exists());
}

#[test]
fn what_is_read_is_never_written_over() {
    let small = Small::new();
    std::fs::create_dir(small.folder.path().join("out")).unwrap();
    let experiment = small.read("small.toml");
    for (name, subcommand, more) in
        [("out/metrics.json", "train", &[][..]), ("out/plan.toml", "compare", &["--models", "stem"])]
    {
        let path = small.write(name, &experiment);
        let mut args = small.args(subcommand, "out", more);
        let at = args.iter().position(|arg| arg == "--experiment").unwrap();
        args[at + 1] = path.clone();
        assert!(fails(&texts(&args)).contains("is read and would be replaced by"), "{name}");
        assert_eq!(small.read(name), experiment);
        std::fs::remove_file(path).unwrap();
    }
}

/// A file-size limit stands in for a full disk (the signal ignored, writes fail) and for a killed process (the signal not ignored).
#[cfg(unix)]
#[test]
fn a_full_disk_or_a_killed_process_leaves_the_previous_bundle_whole() {
    let small = Small::new();
    let columns = small.path("columns");
    let shell = |prefix: &str, epochs: &str| {
        let args = small.args("train", "out", &["--columns", &columns, "--epochs", epochs, "--force"]);
        let line = format!("{prefix} exec {} {}", env!("CARGO_BIN_EXE_stem"), args.join(" "));
        Command::new("bash").arg("-c").arg(line).current_dir(workspace()).output().unwrap()
    };
    assert!(shell("", "1").status.success());
    let bundle = small.path("out/bundle.safetensors");
    let before = std::fs::read(&bundle).unwrap();
    let full = shell("trap '' XFSZ; ulimit -f 4;", "2");
    let stderr = text(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: cannot write"), "{stderr}");
    assert_eq!(std::fs::read(&bundle).unwrap(), before);
    let killed = shell("ulimit -f 4;", "2");
    assert_eq!(killed.status.code(), None, "killed by the signal: {}", text(&killed.stderr));
    assert_eq!(std::fs::read(&bundle).unwrap(), before);
}

#[test]
fn a_comparison_prints_its_tables_and_the_answer_and_goes_on_where_it_was() {
    let small = Small::new();
    let search = small.write("search.toml", "trials = 2\n[space]\n\"train.learning_rate\" = [0.01]\n");
    let more = ["--models", "stem", "--seeds", "1,2", "--search", &search, "--resamples", "50"];
    let args = small.args("compare", "out", &[&more[..], &["--cuts", "0.2,0.4", "--picture", "item"]].concat());
    let stdout = succeeds(&texts(&args));
    assert!(stdout.contains("| single-task | b |") && !stdout.contains("| comparable |"), "{stdout}");
    assert!(stdout.contains(" for a: ") && stdout.trim_end().ends_with("report.html"), "{stdout}");
    assert!(small.read("out/report.html").contains("stem compare --recipe"), "the command to do it again");
    assert_eq!(succeeds(&texts(&args)), stdout, "nothing is trained again");
    let answer = json(&texts(&args));
    let tasks: Vec<&str> = answer["verdicts"].as_array().unwrap().iter().map(|v| v["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["a", "b"]);
    assert!(answer["verdicts"][0]["headline"].as_str().is_some_and(|headline| stdout.contains(headline)), "{answer}");

    small.write("search.toml", "trials = 2\n");
    let empty = small.args("compare", "other", &["--models", "stem", "--search", &search]);
    assert!(fails(&texts(&empty)).contains("the search space is empty"));
    let twice = small.args("compare", "other", &["--models", "stem", "--seeds", "3,3"]);
    assert!(fails(&texts(&twice)).contains("seed"));
    let other = small.args("compare", "out", &["--models", "stem", "--seeds", "1,2", "--epochs", "1"]);
    assert!(fails(&texts(&other)).contains("or take it over with --force"));
    assert!(fails(&texts(&small.args("train", "out", &[]))).contains("comparison"));
    let recipe = small.read("recipe.toml").replace("group = \"user\"\n", "");
    small.write("recipe.toml", &recipe);
    assert!(fails(&texts(&small.args("compare", "other", &["--models", "stem"]))).contains("`group`"));
}

#[test]
fn a_demo_leaves_what_the_next_command_needs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let out = out.to_str().unwrap();
    let answer = json(&["demo", "--out", out, "--epochs", "1"]); // on the default device: its log is long
    let models: Vec<&str> = answer["models"].as_array().unwrap().iter().map(|m| m["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["stem", "shared-bottom", "single-task"]);
    assert_eq!(answer["scored"].as_array().map(Vec::len), Some(5));
    let [recipe, columns] = ["recipe.toml", "columns"].map(|name| format!("{out}/{name}"));
    let begun = std::time::Instant::now();
    let again = json(&["prepare", "--recipe", &recipe, "--columns", &columns]);
    assert_eq!(again["rows"], 400_000, "the log beside the recipe, encoded already");
    assert!(begun.elapsed().as_secs() < 30);
    assert!(again["splits"]["train"]["base_rates"]["a"].as_f64().is_some_and(|rate| (0.05..0.95).contains(&rate)));
    assert!(again["vocabularies"]["user"].as_u64().is_some_and(|known| known > 100));
    let table = succeeds(&["prepare", "--recipe", &recipe, "--columns", &columns]);
    let rows = table.lines().find(|line| line.trim_start().starts_with("rows ")).unwrap().to_string();
    let rows = rows.split_whitespace().skip(1).map(|n| n.parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!(rows, 400_000, "{table}");
    let other = stem(&["demo", "--epochs", "0", "--out", out]).output().unwrap();
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn calibrated_scores_are_told_before_and_after() {
    let small = Small::new();
    let sizes = small.read("small.toml").replace("epochs = 2", "epochs = 2\ncalibrate = \"platt\"");
    small.write("small.toml", &sizes);
    for model in ["stem", "single-task"] {
        let answer = json(&texts(&small.args("train", model, &["--model", model])));
        let (before, after) = (&answer["uncalibrated_test"], &answer["test"]);
        for task in ["a", "b"] {
            let [before, after] = [before, after].map(|metrics| metrics[task].clone());
            assert_ne!(before["logloss"], after["logloss"]);
            let auc = |metrics: &serde_json::Value| metrics["auc"].as_f64().unwrap();
            assert!((auc(&before) - auc(&after)).abs() < 1e-6, "a line keeps the order");
        }
        assert!(small.read(&format!("{model}/report.html")).contains("Calibration before and after"));
        let bundle = small.path(&format!("{model}/bundle.safetensors"));
        assert!(succeeds(&["inspect", &bundle]).contains("calibrated: a by a line (slope "));
        assert_eq!(json(&["inspect", &bundle])["calibration"]["b"]["name"], "platt");
    }
}
