//! The programs to copy from, as a user runs them.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo test` builds the examples beside the test's own folder. They run on the default device: a log of 400 thousand rows is much for
/// a GPU in software, and what differs between devices is held by the libraries' tests.
fn succeeds(name: &str, args: &[&str]) -> String {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    let output = Command::new(path).args(args).env_remove("STEM_DEVICE").current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn the_quickstart_prints_its_table_and_scores_five_rows() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--out", folder.path().to_str().unwrap(), "--epochs", "1"];
    let printed = succeeds("quickstart", &args);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].ends_with(" table rows") && lines[1].is_empty(), "{printed}");
    let models: Vec<&str> = lines[2..9].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(models, ["model", "stem", "stem", "shared-bottom", "shared-bottom", "single-task", "single-task"]);
    assert!(lines[10].ends_with("five rows of the log scored from it:"), "{printed}");
    assert!(lines[11..16].iter().all(|line| line.starts_with("user ") && line.contains("p(b) = 0.")), "{printed}");
    assert!(succeeds("quickstart", &["--help"]).contains("Usage:"));
}

#[test]
fn a_model_from_outside_the_library_is_run_scored_and_compared_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeeds("custom_model", &[folder.path().to_str().unwrap()]);
    assert!(printed.starts_with("test AUC: [Some(0.7") && printed.contains("Some([0."), "{printed}");
    assert!(printed.contains(" for a: "), "{printed}");
    assert!(folder.path().join("run/bundle.safetensors").exists());
    let page = std::fs::read_to_string(folder.path().join("compare/report.html")).unwrap();
    assert!(page.contains("wide-deep") && page.contains("tower = [64, 32]"), "the page tells it as any other model");
    let source = std::fs::read_to_string(workspace().join("examples/examples/custom_model.rs")).unwrap();
    assert!(source.lines().count() <= 100, "short enough to read at once");
}
