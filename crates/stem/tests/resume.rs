//! Programs that are killed at any moment and go on with `--resume`: the end is that of one that never stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::{Small, device, json, stem, succeeds, texts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Kills in all, of trainings and of comparisons half each; `STEM_KILLS` asks for more.
fn kills() -> usize {
    std::env::var("STEM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6)
}

/// Kills of a run, at most: each starts again what was left.
const KILLS_OF_A_RUN: usize = 4;

fn small() -> Small {
    let small = Small::new();
    let recipe = small.read("recipe.toml").replace("rows = 2000", "rows = 8000");
    small.write("recipe.toml", &recipe);
    let experiment =
        small.read("small.toml").replace("epochs = 2", "epochs = 12\npatience = 12\ncheckpoint_every = { steps = 7 }");
    small.write("small.toml", &experiment);
    small
}

/// What a process was about when it was killed, by the files that it left.
fn stage(out: &str) -> &'static str {
    let all = if Path::new(out).exists() { names(out) } else { Vec::new() };
    let any = |part: &str| all.iter().any(|name| name.contains(part));
    match () {
        () if any("metrics.json") || any(".done.json") => "after a training",
        () if any(".tmp") => "writing a file",
        () if any("checkpoint") => "training, with a checkpoint",
        () if any("log.jsonl") => "training, without one",
        () => "preparing",
    }
}

/// Starts a command again and again, each time killed at a moment that is drawn from all that a run takes, and lets the last one end:
/// into folder after folder, until so many processes were killed. `check` is given every folder.
fn killed(
    wanted: usize,
    name: &str,
    took: Duration,
    args: &dyn Fn(&str) -> Vec<String>,
    small: &Small,
    check: &dyn Fn(&str),
) {
    let mut random = ChaCha8Rng::seed_from_u64(name.bytes().map(u64::from).sum());
    let (mut killed, mut stages) = (0, BTreeMap::<_, usize>::new());
    for run in 0..4 * wanted {
        if killed >= wanted {
            break;
        }
        let out = format!("{name}-{run}");
        let own = args(&out);
        let own = texts(&own);
        let mut has_ended = false;
        for _ in 0..KILLS_OF_A_RUN.min(wanted - killed) {
            let mut child = stem(&own).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(took.mul_f64(random.random_range(0.0..1.0)));
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{own:?}: {status}");
                has_ended = true; // before it was killed
                break;
            }
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
            killed += 1;
            *stages.entry(stage(&small.path(&out))).or_default() += 1;
        }
        if !has_ended {
            succeeds(&own);
        }
        check(&out);
        std::fs::remove_dir_all(small.path(&out)).unwrap();
    }
    println!("{name}: {killed} processes were killed, {stages:?}; one takes {took:.1?}");
    assert!(killed >= wanted, "{killed} kills of {wanted}: runs ended before they were killed");
}

/// Runs a command to its end; how long that takes.
fn whole(args: &[String]) -> Duration {
    let begun = Instant::now();
    succeeds(&texts(args));
    begun.elapsed()
}

fn checksum(bundle: &str) -> Value {
    json(&["inspect", bundle])["checksum"].clone()
}

fn metrics(text: &str) -> Value {
    let mut metrics: Value = serde_json::from_str(text).unwrap();
    for of_the_machine in ["seconds", "rows_per_second"] {
        metrics.as_object_mut().unwrap().remove(of_the_machine);
    }
    metrics
}

/// A GPU adds up in whatever order its threads come: there is no end that a run would have had.
fn is_exact() -> bool {
    let exact = !device().starts_with("wgpu");
    if !exact {
        println!("skipped: two runs on a GPU have no bits in common");
    }
    exact
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_end_that_it_would_have_had() {
    if !is_exact() {
        return;
    }
    let small = small();
    for model in ["stem", "single-task"] {
        let args = |out: &str| small.args("train", out, &["--model", model, "--resume", "-q"]);
        let whole_out = format!("whole-{model}");
        let took = whole(&args(&whole_out));
        let read = |folder: &str, name: &str| small.read(&format!("{folder}/{name}"));
        let bundle = |folder: &str| small.path(&format!("{folder}/bundle.safetensors"));
        let of_the_whole = (metrics(&read(&whole_out, "metrics.json")), checksum(&bundle(&whole_out)));
        let check = |out: &str| {
            let found = (metrics(&read(out, "metrics.json")), checksum(&bundle(out)));
            assert_eq!(found, of_the_whole, "{out}");
            assert_eq!(read(out, "log.jsonl"), read(&whole_out, "log.jsonl"), "{out}");
            let left: Vec<_> = std::fs::read_dir(small.path(out)).unwrap().flatten().map(|e| e.file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().contains("unfinished")), "{left:?}");
        };
        killed(kills().div_ceil(4), model, took, &args, &small, &check);
    }
}

/// Kills a command as soon as a file is there; whether that was before its end.
fn killed_at(args: &[&str], file: &Path) -> bool {
    let mut child = stem(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !file.exists() {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{args:?}: {status}");
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    true
}

/// When a file was written last.
fn written(file: &str) -> std::time::SystemTime {
    std::fs::metadata(file).unwrap().modified().unwrap()
}

/// Of several states, so that a bundle of the joint best is measured too.
fn of_several_states(small: &Small) {
    let sizes = small.read("small.toml").replace("patience = 12", "patience = 12\nlearning_rate = 0.02");
    small.write("small.toml", &sizes);
}

#[test]
fn a_training_that_is_killed_while_it_is_measured_is_measured_again_and_not_trained() {
    let small = small();
    of_several_states(&small);
    let mut killed = 0;
    for model in ["stem", "single-task"] {
        let args = |out: &str| small.args("train", out, &["--model", model, "--resume", "-q"]);
        let whole = format!("whole-{model}");
        succeeds(&texts(&args(&whole)));
        for mark in [".done.json", "metrics.json", "report.html"] {
            let out = format!("{model}-{mark}");
            let unfinished = |name: &str| small.path(&format!("{out}/unfinished/{name}"));
            if !killed_at(&texts(&args(&out)), Path::new(&unfinished(mark))) {
                continue; // its end came first
            }
            if Path::new(&unfinished("settings.json")).exists()
                || !Path::new(&unfinished("bundle.safetensors")).exists()
            {
                continue; // it was whole already
            }
            killed += 1;
            let trained = written(&unfinished("bundle.safetensors"));
            succeeds(&texts(&args(&out)));
            assert_eq!(
                written(&small.path(&format!("{out}/bundle.safetensors"))),
                trained,
                "{out}: it was trained again"
            );
            let read = |folder: &str, name: &str| small.read(&format!("{folder}/{name}"));
            if is_exact() {
                assert_eq!(metrics(&read(&out, "metrics.json")), metrics(&read(&whole, "metrics.json")), "{out}");
                assert_eq!(read(&out, "log.jsonl"), read(&whole, "log.jsonl"), "{out}");
                let bundle = |folder: &str| std::fs::read(small.path(&format!("{folder}/bundle.safetensors"))).unwrap();
                assert!(bundle(&out) == bundle(&whole), "{out}: another bundle");
            }
            assert_eq!(names(&small.path(&out)), names(&small.path(&whole)), "{out}");
        }
    }
    assert!(killed > 0, "every run had ended before it was killed");
}

/// All files of a folder and of those within it.
fn names(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && name != "columns" {
            names.extend(self::names(entry.path().to_str().unwrap()).into_iter().map(|own| format!("{name}/{own}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn a_run_of_a_comparison_that_is_killed_while_it_is_measured_is_not_trained_again() {
    let small = small();
    of_several_states(&small);
    let args =
        |out: &str| small.args("compare", out, &["--models", "stem", "--seeds", "1,2", "--resamples", "50", "-q"]);
    let run = small.path("out/runs/stem/seed-1");
    if !killed_at(&texts(&args("out")), Path::new(&format!("{run}/.done.json"))) {
        return;
    }
    let bundle = format!("{run}/bundle.safetensors");
    let trained = written(&bundle);
    succeeds(&texts(&args("out")));
    assert_eq!(written(&bundle), trained, "it was trained again");
    let left = names(&small.path("out/runs"));
    assert!(!left.iter().any(|name| name.contains("done") || name.contains("joint")), "{left:?}");
}

#[test]
fn a_comparison_that_is_killed_goes_on_to_the_end_that_it_would_have_had() {
    if !is_exact() {
        return;
    }
    let small = small();
    let args = |out: &str| {
        let more = ["--models", "stem,shared-bottom", "--seeds", "1,2", "--resamples", "50", "-q"];
        small.args("compare", out, &more)
    };
    let read = |out: &str| -> Value {
        let mut found: Value = serde_json::from_str(&small.read(&format!("{out}/comparison.json"))).unwrap();
        without_times(&mut found);
        found
    };
    let took = whole(&args("whole"));
    let of_the_whole = read("whole");
    let check = |out: &str| assert_eq!(read(out), of_the_whole, "{out}");
    killed(kills().div_ceil(2), "comparison", took, &args, &small, &check);
}

/// Leaves out what another run of the same takes longer or shorter for.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            keys.retain(|key, _| !key.contains("seconds") && !["finished", "command"].contains(&key.as_str()));
            keys.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}
