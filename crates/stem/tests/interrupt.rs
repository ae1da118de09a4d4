//! Ctrl-C and SIGTERM: what was begun is finished or undone, what is finished is kept, and the exit code is 130.
#![cfg(unix)]

use crate::program::{Small, stem, text, texts};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Endless unless it is stopped.
fn endless(small: &Small) {
    let patient = small.read("small.toml").replace("epochs = 2", "epochs = 100000000\npatience = 100000000");
    small.write("small.toml", &patient);
}

/// A program that runs; it is killed with a test that fails.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            _ = child.kill();
        }
    }
}

fn start(args: &[String]) -> Running {
    Running(Some(stem(&texts(args)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
}

fn signal(running: &Running, name: &str) {
    let id = running.0.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

/// Until `found` says so, for a minute at most.
fn wait_for(found: impl Fn() -> bool) {
    let ready = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        found()
    });
    assert!(ready, "it did not come so far within a minute");
}

fn end(mut running: Running) -> (Output, String) {
    let output = running.0.take().unwrap().wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output, stderr)
}

#[test]
fn a_stopped_training_leaves_its_best_bundle_and_its_page() {
    for name in ["-INT", "-TERM"] {
        let small = Small::new();
        endless(&small);
        let child = start(&small.args("train", "out", &[]));
        let log = small.folder.path().join("out/unfinished/log.jsonl");
        wait_for(|| std::fs::read_to_string(&log).is_ok_and(|log| log.lines().count() > 2));
        signal(&child, name);
        let (output, stderr) = end(child);
        assert!(stderr.contains("stopping"), "{stderr}");
        assert!(text(&output.stdout).contains("gAUC"), "the answer is printed: {}", text(&output.stdout));
        let metrics: serde_json::Value = serde_json::from_str(&small.read("out/metrics.json")).unwrap();
        assert_eq!(metrics["interrupted"], true);
        assert!(small.folder.path().join("out/report.html").exists());
        let device = stem_core::DeviceSpec::default().open().unwrap();
        stem_core::Predictor::open(small.path("out/bundle.safetensors"), &device).unwrap();
    }
}

#[test]
fn a_stopped_training_leaves_an_older_run_and_says_where_its_own_is() {
    let small = Small::new();
    small.trained();
    let before = small.read("out/metrics.json");
    endless(&small);
    let child = start(&small.args("train", "out", &["--force"]));
    let log = small.folder.path().join("out/unfinished/log.jsonl");
    wait_for(|| std::fs::read_to_string(&log).is_ok_and(|log| log.lines().count() > 2));
    signal(&child, "-INT");
    let (output, _) = end(child);
    assert_eq!(small.read("out/metrics.json"), before);
    let page = small.path("out/unfinished/report.html");
    assert!(text(&output.stdout).trim_end().ends_with(&page), "{}", text(&output.stdout));
}

#[test]
fn a_second_signal_ends_at_once() {
    let small = Small::new();
    // One step of many rows through wide experts: the first signal waits for its end, the second does not.
    let wide = "[train]\nbatch_size = 20000\n[stem]\nexperts = [512, 512]\n";
    small.write("small.toml", wide);
    let rows = small.read("recipe.toml").replace("rows = 2000", "rows = 400000");
    small.write("recipe.toml", &rows);
    let child = start(&small.args("train", "out", &[]));
    let log = small.folder.path().join("out/unfinished/log.jsonl");
    wait_for(|| log.exists());
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    let (output, _) = end(child);
    assert!(output.stdout.is_empty(), "it did not wait for a bundle");
    assert!(!small.folder.path().join("out/metrics.json").exists());
}

#[test]
fn a_stopped_preparation_leaves_nothing_behind() {
    let small = Small::new();
    let rows = small.read("recipe.toml").replace("rows = 2000", "rows = 2000000");
    small.write("recipe.toml", &rows);
    let (recipe, data, columns) = (small.path("recipe.toml"), small.path(""), small.path("made/columns"));
    let args = ["prepare", "--recipe", &recipe, "--data", &data, "--columns", &columns].map(String::from);
    let child = start(&args);
    let scratch = |at: &std::path::Path| std::fs::read_dir(at).map_or(0, |files| files.count());
    let made = small.folder.path().join("made");
    wait_for(|| scratch(&made) > 0);
    signal(&child, "-INT");
    let (output, stderr) = end(child);
    assert!(stderr.contains("stopped before") && output.stdout.is_empty(), "{stderr}");
    assert_eq!(scratch(&made), 0, "no half-encoded columns");
}

#[test]
fn a_stopped_comparison_says_how_far_it_came() {
    let small = Small::new();
    endless(&small);
    let child = start(&small.args("compare", "out", &["--models", "stem", "--seeds", "1,2"]));
    let run = small.folder.path().join("out/runs/stem/seed-1");
    wait_for(|| run.exists());
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-TERM");
    let (_, stderr) = end(child);
    assert!(stderr.contains("error: stopped: 0 of 4 runs are done"), "{stderr}");
}
