//! The programs as a user runs them: real runs, and bad input that ends in one readable message and exit code 1.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo test` builds the examples beside the test's own folder.
fn program(name: &str) -> Command {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(path);
    command.current_dir(workspace());
    command
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn device() -> String {
    std::env::var("STEM_DEVICE").unwrap_or("flex".into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(name: &str, args: &[&str]) -> Output {
    program(name).args(args).output().unwrap()
}

fn succeeds(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    assert!(output.status.success(), "{name} {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Exit code 1 and one `error: ` message; gives the message.
fn fails(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.split_once("error: ").unwrap_or_else(|| panic!("no message: {stderr}")).1.trim_end().to_string()
}

/// A small log of the simulator, its recipe and an experiment.
fn small(folder: &Path) -> [String; 3] {
    let recipe = folder.join("recipe.toml");
    let source = r#"
name = "small"
group = "user"
source = [{ name = "log", file = "log.csv" }]
field = [{ column = "user", kind = "category" }, { column = "item", kind = "category" }]
label = [{ column = "a" }, { column = "b" }]
split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
[simulator]
users = 40
items = 30
rows = 2000
"#;
    std::fs::write(&recipe, source).unwrap();
    let experiment = folder.join("small.toml");
    let sizes = "[train]\nbatch_size = 256\nepochs = 2\n[stem]\ndim = 4\nshared_experts = 1\nexperts = [8]\ngate = [4]\ntower = [4]\n\
                 [single-task]\ndim = 4\nbottom = [8]\ntower = [4]\n";
    std::fs::write(&experiment, sizes).unwrap();
    [&recipe, &experiment, folder].map(|path| path.to_str().unwrap().to_string())
}

#[test]
fn every_program_explains_itself() {
    for name in ["quickstart", "prepare", "train", "compare", "score", "parity", "import"] {
        let help = succeeds(name, &["--help"]);
        assert!(help.contains("Usage:") && help.contains("--help"), "{name}: {help}");
    }
}

#[test]
fn prepare_prints_one_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, _, data] = small(folder.path());
    let out = folder.path().join("columns");
    let line = succeeds("prepare", &["--recipe", &recipe, "--data", &data, "--out", out.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(report["rows"], 2000);
    assert!(report["seconds"].as_f64().unwrap() > 0.0 && report.get("rss_gb").is_some(), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn train_then_score_keeps_the_columns_and_appends_one_per_task() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let out = folder.path().join("out");
    let out_text = out.to_str().unwrap();
    for model in ["stem", "single-task"] {
        let table = succeeds(
            "train",
            &[
                "--recipe",
                &recipe,
                "--data",
                &data,
                "--model",
                model,
                "--out",
                out_text,
                "--config",
                &experiment,
                "--seed",
                "5",
                "--device",
                &device(),
                "--force",
            ],
        );
        assert!(table.contains(model) && table.contains("gAUC"), "{table}");
    }
    let metrics: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap();
    for key in ["model", "seed", "device", "epochs", "seconds", "rows_per_second", "test", "valid"] {
        assert!(metrics.get(key).is_some(), "metrics.json has no {key}: {metrics}");
    }
    assert_eq!((&metrics["seed"], &metrics["device"]), (&5.into(), &device().into()));
    for key in ["auc", "gauc", "logloss", "calibration"] {
        assert!(metrics["test"]["a"].get(key).is_some(), "{metrics}");
    }

    let (input, output) = (folder.path().join("log.csv"), folder.path().join("scores.csv"));
    let bundle = out.join("bundle.safetensors");
    let args = [
        "--bundle",
        bundle.to_str().unwrap(),
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--device",
        &device(),
    ];
    succeeds("score", &args);
    let rows =
        |path: &Path| -> Vec<String> { std::fs::read_to_string(path).unwrap().lines().map(String::from).collect() };
    let (before, after) = (rows(&input), rows(&output));
    assert_eq!(before.len(), after.len());
    assert_eq!(after[0], format!("{},p_a,p_b", before[0]));
    for (before, after) in before.iter().zip(&after).skip(1) {
        let scores = after.strip_prefix(&format!("{before},")).unwrap();
        assert!(scores.split(',').all(|p| (0.0..=1.0).contains(&p.parse::<f64>().unwrap())), "{after}");
    }
}

#[test]
fn bad_arguments_end_in_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let out = folder.path().join("out");
    let train = |change: &[&str]| {
        let mut args = vec!["--recipe", &recipe, "--data", &data, "--model", "stem", "--out", out.to_str().unwrap()];
        args.extend(["--config", &experiment]);
        for pair in change.chunks(2) {
            match args.iter().position(|arg| arg == &pair[0]) {
                Some(at) => args[at + 1] = pair[1],
                None => args.extend(pair),
            }
        }
        fails("train", &args)
    };
    assert!(train(&["--recipe", "no/such.toml"]).contains("no/such.toml"));
    assert!(train(&["--config", "no/such.toml"]).starts_with("cannot read no/such.toml: "));
    assert!(train(&["--epochs", "0"]).contains("`epochs` is 0, expected 1 or more"));
    if cfg!(not(feature = "wgpu")) {
        assert_eq!(train(&["--device", "wgpu"]), "device 'wgpu': not compiled in: build with `--features wgpu`");
    }
    let usage = run("train", &["--model", "stm"]);
    assert_eq!(usage.status.code(), Some(2), "a wrong command line is clap's, exit code 2");
    assert!(
        text(&usage.stderr).contains("unknown model 'stm', did you mean 'stem'? Known are: "),
        "{}",
        text(&usage.stderr)
    );
    let usage = run("train", &["--device", "cuda"]);
    assert!(text(&usage.stderr).contains("expected flex, ndarray, wgpu or wgpu:INDEX"), "{}", text(&usage.stderr));
}

#[test]
fn score_names_what_is_wrong_and_leaves_no_half_written_file() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let out = folder.path().join("out");
    succeeds(
        "train",
        &[
            "--recipe",
            &recipe,
            "--data",
            &data,
            "--model",
            "stem",
            "--out",
            out.to_str().unwrap(),
            "--config",
            &experiment,
            "--epochs",
            "1",
        ],
    );
    let (bundle, input) = (out.join("bundle.safetensors"), folder.path().join("in.csv"));
    let output = folder.path().join("scores.csv");
    let score = |rows: &str| {
        std::fs::write(&input, rows).unwrap();
        let paths = [&bundle, &input, &output].map(|path| path.to_str().unwrap().to_string());
        let message = fails("score", &["--bundle", &paths[0], "--input", &paths[1], "--output", &paths[2]]);
        assert!(
            !output.exists()
                && std::fs::read_dir(folder.path())
                    .unwrap()
                    .all(|file| !file.unwrap().path().ends_with("scores.csv.tmp"))
        );
        message
    };
    assert_eq!(score("user\n1\n"), format!("{} has no column 'item'", input.display()));
    assert!(score("user,item\n1\n").contains("found record with 1 fields"), "a ragged row");
    assert!(score("user,item\n1,x\n").contains("column 'item', row 0: expected an integer, found \"x\""));
    let long = format!("user,item\n{}1,x\n", "1,1\n".repeat(9000)); // more than are scored at a time
    assert!(score(&long).contains("column 'item', row 9000: expected an integer"));
    assert_eq!(score("user,item,item\n1,1,1\n"), format!("{} has 2 columns 'item', expected one", input.display()));
    let missing = fails("score", &["--bundle", "no.safetensors", "--input", "x.csv", "--output", "y.csv"]);
    assert!(missing.starts_with("cannot open no.safetensors: "), "{missing}");
}

#[test]
fn parity_ends_with_counts_and_fails_on_what_is_no_fixture() {
    let output = run("parity", &["no/such.safetensors"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).trim_end().ends_with("0 passed, 1 failed"), "{}", text(&output.stdout));
}

/// Ctrl-C finishes the step, keeps the best weights and writes the bundle.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let patient =
        std::fs::read_to_string(&experiment).unwrap().replace("epochs = 2", "epochs = 2\npatience = 100000000");
    std::fs::write(&experiment, patient).unwrap();
    let out = folder.path().join("out");
    let child = program("train")
        .args(["--recipe", &recipe, "--data", &data, "--model", "stem", "--out", out.to_str().unwrap()])
        .args(["--config", &experiment, "--epochs", "100000000"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let bundle = stem_core::Bundle::<stem_core::ModelConfig>::open(out.join("bundle.safetensors"));
    assert!(output.status.success() && bundle.is_ok(), "{}", text(&output.stderr));
    let metrics: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(metrics["interrupted"], true, "the training ended before it was stopped");
}

/// A file-size limit stands in for a full disk (the signal ignored, writes fail) and for a killed process (the signal not ignored).
#[cfg(unix)]
#[test]
fn a_full_disk_or_a_killed_process_leaves_the_previous_bundle_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let (out, columns) = (folder.path().join("out"), folder.path().join("columns"));
    let args = |program: &Command, epochs: &str| {
        let program = program.get_program().to_str().unwrap().to_string();
        let (out, columns) = (out.to_str().unwrap(), columns.to_str().unwrap());
        format!(
            "{program} --recipe {recipe} --data {data} --model stem --out {out} --config {experiment} --columns {columns} \
             --force --epochs {epochs}"
        )
    };
    let shell = |prefix: &str, epochs: &str| {
        let line = format!("{prefix} exec {}", args(&program("train"), epochs));
        Command::new("bash").arg("-c").arg(line).current_dir(workspace()).output().unwrap()
    };
    assert!(shell("", "1").status.success());
    let bundle = out.join("bundle.safetensors");
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
fn a_model_from_outside_the_library_is_run_scored_and_compared_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeeds("custom_model", &[folder.path().to_str().unwrap()]);
    assert!(printed.starts_with("test AUC: [Some(0.7") && printed.contains("Some([0."), "{printed}");
    assert!(printed.contains("\nShip "), "{printed}");
    assert!(folder.path().join("run/bundle.safetensors").exists());
    let page = std::fs::read_to_string(folder.path().join("compare/report.html")).unwrap();
    assert!(page.contains("wide-deep") && page.contains("tower = [64, 32]"), "the page tells it as any other model");
    let source = std::fs::read_to_string(workspace().join("examples/examples/custom_model.rs")).unwrap();
    assert!(source.lines().count() <= 100, "short enough to read at once");
}

#[test]
fn a_comparison_prints_its_tables_and_the_answer_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let [recipe, experiment, data] = small(folder.path());
    let out = folder.path().join("out").to_str().unwrap().to_string();
    let device = device();
    let search = folder.path().join("search.toml");
    std::fs::write(&search, "trials = 2\n[space]\n\"train.learning_rate\" = [0.01]\n").unwrap();
    let search = search.to_str().unwrap();
    let args = [
        "--recipe",
        &recipe,
        "--data",
        &data,
        "--config",
        &experiment,
        "--models",
        "stem",
        "--seeds",
        "1,2",
        "--out",
        &out,
        "--device",
        &device,
        "--search",
        search,
        "--resamples",
        "50",
        "--cuts",
        "0.2,0.4",
        "--picture",
        "item",
    ];
    let stdout = succeeds("compare", &args);
    assert!(stdout.contains("| single-task | b |") && stdout.contains("| comparable |"), "{stdout}");
    assert!(stdout.contains("Ship ") && stdout.trim_end().ends_with("report.html"), "{stdout}");
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("--example compare -- --recipe"), "the command to do it again");
    assert_eq!(succeeds("compare", &args), stdout, "nothing is trained again");

    let other = folder.path().join("recipe-without-group.toml");
    let text = std::fs::read_to_string(&recipe).unwrap().replace("group = \"user\"\n", "");
    std::fs::write(&other, text).unwrap();
    let plain = |recipe: &str, more: &[&str]| {
        let out = folder.path().join("refused").to_str().unwrap().to_string();
        let args = ["--recipe", recipe, "--data", &data, "--config", &experiment, "--models", "stem", "--out", &out];
        fails("compare", &[&args[..], &["--device", &device], more].concat())
    };
    assert!(plain(other.to_str().unwrap(), &[]).contains("the recipe names no `group`"));
    assert_eq!(plain(&recipe, &["--seeds", "3,3"]).split(": ").next(), Some("comparison"));
    std::fs::write(search, "trials = 2\n").unwrap();
    let message = plain(&recipe, &["--search", search]);
    assert!(message.contains("search.toml: the search space is empty"), "{message}");
}
