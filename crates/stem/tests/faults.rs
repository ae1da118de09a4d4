//! A file operation fails: the disk is full, the disk is broken, somebody took a permission. What was there before stands, or what came
//! stands, whole; the message says which file; and the same command goes on when the disk is well again.
//!
//! Each operation on files in the folder of the output is made to fail in turn. Of many operations some are tried; `STEM_FAULTS=all` tries
//! every one with every error.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod program;

use program::{Small, device, json, stem, succeeds, text, texts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Numbers of `errno.h`.
const EIO: &str = "5";
const EACCES: &str = "13";
const ENOSPC: &str = "28";
const EINTR: &str = "4";

/// The library that makes operations fail; `None` without a C compiler, and on other devices than the default: files are not theirs, and
/// the program starts a hundred times here.
fn shim() -> Option<&'static Path> {
    if device() != "flex" {
        return None;
    }
    static SHIM: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("shim.so");
        let source = program::workspace().join("crates/stem/tests/faults/shim.c");
        let cc =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
        match cc {
            Ok(status) => assert!(status.success(), "the shim does not compile"),
            Err(error) => {
                assert!(std::env::var_os("STEM_REQUIRE_SHARED").is_none(), "no C compiler: {error}");
                eprintln!("skipped: no C compiler ({error})");
                return None;
            }
        }
        Some((folder, library))
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// Runs the program with its `at`-th operation below `under` failing; tells whether it came so far.
fn run_failing(args: &[String], under: &Path, at: usize, error: &str) -> (Output, bool) {
    let fired = tempfile::tempdir().unwrap();
    let mark = fired.path().join("fired");
    let mut command = stem(&texts(args));
    command.env("LD_PRELOAD", shim().unwrap()).env("FAULT_UNDER", under).env("FAULT_AT", at.to_string());
    command.env("FAULT_ERROR", error).env("FAULT_FIRED", &mark).env("RAYON_NUM_THREADS", "1");
    let output = command.output().unwrap();
    (output, mark.exists())
}

/// The operations that are tried, and with which errors.
fn tried(count: usize) -> Vec<(usize, &'static str)> {
    if std::env::var("STEM_FAULTS").is_ok_and(|which| which == "all") {
        let all = [ENOSPC, EIO, EACCES, EINTR, "short"];
        return (1..=count).flat_map(|at| all.map(|error| (at, error))).collect();
    }
    let stride = count.div_ceil(20).max(1);
    let some = (1..=count).step_by(stride).zip([ENOSPC, EIO, EACCES, ENOSPC, "short"].into_iter().cycle());
    some.collect()
}

/// Operations that a run does.
fn operations(args: &[String], under: &Path, prepare: impl Fn()) -> usize {
    let (mut low, mut high) = (0, 1);
    let fires = |at: usize| {
        prepare();
        run_failing(args, under, at, EIO).1
    };
    while fires(high) {
        (low, high) = (high, high * 2);
    }
    while high - low > 1 {
        let middle = (low + high) / 2;
        (low, high) = if fires(middle) { (middle, high) } else { (low, middle) };
    }
    low
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").args(["-a".as_ref(), from.as_os_str(), to.as_os_str()]).status().unwrap().success());
}

/// What stands in a folder, without its locks.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
    named.filter(|(name, _)| !name.starts_with('.')).collect()
}

fn said(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn a_training_leaves_the_old_run_or_the_new_one_whichever_operation_fails() {
    if shim().is_none() {
        return;
    }
    let small = Small::new();
    small.write(
        "small.toml",
        &small.read("small.toml").replace("epochs = 2", "epochs = 2\ncheckpoint_every = { steps = 2 }"),
    );
    let columns = small.path("columns");
    let train = |seed: &str, more: &[&str]| {
        let own = ["--seed", seed, "--columns", &columns];
        small.args("train", "out", &[&own[..], more].concat())
    };
    succeeds(&texts(&train("1", &[])));
    let (out, old) = (PathBuf::from(small.path("out")), PathBuf::from(small.path("old")));
    copy(&out, &old);
    let before = files(&old);
    let checksum = |folder: &Path| {
        let bundle = folder.join("bundle.safetensors");
        json(&["inspect", bundle.to_str().unwrap()])["checksum"].as_str().unwrap().to_string()
    };
    let old_checksum = checksum(&old);
    let args = train("2", &["--force"]);
    let restore = || copy(&old, &out);
    let count = operations(&args, &out, restore);
    assert!(count > 40, "a training changes files so often: {count}");
    restore();
    succeeds(&texts(&args));
    let new_checksum = checksum(&out);
    assert_ne!(old_checksum, new_checksum);
    for (at, error) in tried(count) {
        restore();
        let (output, fired) = run_failing(&args, &out, at, error);
        let (stderr, code) = (said(&output), output.status.code());
        let when = format!("operation {at} of {count}, error {error}, exit {code:?}: {stderr}");
        assert!(fired || error == "short", "{when}");
        if [EINTR, "short"].contains(&error) {
            // Such a write is gone on with; what was interrupted besides may be told as an error.
            assert!(code == Some(0) || (error == EINTR && code == Some(1)), "{when}");
        } else if code == Some(1) {
            assert!(stderr.contains("error: "), "{when}");
        } else {
            assert_eq!(code, Some(0), "{when}");
        }
        let (found, bundle) = (files(&out), checksum(&out));
        assert!(bundle == old_checksum || bundle == new_checksum, "{when}");
        for name in ["log.jsonl", "metrics.json", "report.html", "settings.json"] {
            match (found.get(name), bundle == old_checksum) {
                (Some(own), true) => {
                    assert!(*own == before[name], "{name} of another run beside the old bundle: {when}")
                }
                (Some(own), false) => {
                    assert!(*own != before[name], "{name} of the old run beside a new bundle: {when}")
                }
                (None, true) => panic!("{name} is gone beside the old bundle: {when}"),
                (None, false) => assert_ne!(code, Some(0), "{name} is missing after a success: {when}"),
            }
        }
        if code != Some(0) {
            succeeds(&texts(&train("2", &["--force", "--resume"])));
            assert_eq!(checksum(&out), new_checksum, "what goes on ends the same: {when}");
        }
    }
}

#[test]
fn columns_are_the_old_ones_or_the_new_ones_whichever_operation_fails() {
    if shim().is_none() {
        return;
    }
    let small = Small::new();
    small.trained(); // writes the log
    let folder = PathBuf::from(small.path("encoded"));
    std::fs::create_dir(&folder).unwrap();
    let columns = folder.join("columns");
    let prepare = || -> Vec<String> {
        let (recipe, data) = (small.path("recipe.toml"), small.path(""));
        let own = ["prepare", "--recipe", &recipe, "--data", &data, "--columns", columns.to_str().unwrap()];
        own.map(String::from).to_vec()
    };
    succeeds(&texts(&prepare()));
    let old = PathBuf::from(small.path("old"));
    copy(&folder, &old);
    let key = || -> String {
        let manifest = std::fs::read_to_string(columns.join("dataset.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&manifest).unwrap()["key"].as_str().unwrap().to_string()
    };
    let old_key = key();
    small.write("recipe.toml", &small.read("recipe.toml").replace("valid = 0.2", "valid = 0.3"));
    let restore = || copy(&old, &folder);
    let count = operations(&prepare(), &folder, restore);
    assert!(count > 20, "{count}");
    for (at, error) in tried(count) {
        restore();
        let (output, _) = run_failing(&prepare(), &folder, at, error);
        let (stderr, code) = (said(&output), output.status.code());
        let when = format!("operation {at} of {count}, error {error}, exit {code:?}: {stderr}");
        assert!(code == Some(0) || (code == Some(1) && stderr.contains("error: ")), "{when}");
        assert!(code == Some(0) || error != "short", "{when}");
        succeeds(&["inspect", columns.to_str().unwrap()]);
        assert!(key() != old_key || code != Some(0), "{when}");
        let left = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|name| name != "columns" && !name.starts_with(".stem-prepare")).collect();
        assert!(left.is_empty(), "{left:?}: {when}");
        succeeds(&texts(&prepare()));
        assert_ne!(key(), old_key, "{when}");
    }
}

#[test]
fn scores_are_the_old_ones_or_the_new_ones_whichever_operation_fails() {
    if shim().is_none() {
        return;
    }
    let small = Small::new();
    let bundle = small.trained();
    std::fs::create_dir(small.path("scores")).unwrap();
    let folder = PathBuf::from(small.path("scores"));
    let output_path = small.path("scores/scores.csv");
    let args =
        ["score", "--bundle", &bundle, "--input", &small.path("rows.csv"), "--output", &output_path].map(String::from);
    let restore = || std::fs::write(&output_path, "old scores\n").unwrap();
    let count = operations(&args, &folder, restore);
    for (at, error) in tried(count) {
        restore();
        let (output, _) = run_failing(&args, &folder, at, error);
        let (stderr, code) = (said(&output), output.status.code());
        let found = std::fs::read_to_string(&output_path).unwrap();
        let is_new = found.lines().count() == 2001;
        let when = format!("operation {at} of {count}, error {error}, exit {code:?}: {stderr}");
        assert!(is_new || (code == Some(1) && found == "old scores\n" && stderr.contains("error: ")), "{when}");
        assert!(std::fs::read_dir(&folder).unwrap().count() == 1, "no scratch is left: {when}");
    }
}
