//! The two programs of the README are the examples of that name, word for word, and run.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The program without the comment that heads the file.
fn body(name: &str) -> String {
    let text = std::fs::read_to_string(workspace().join("examples/examples").join(format!("{name}.rs"))).unwrap();
    text.split_once("\n\n").unwrap().1.to_string()
}

#[test]
fn the_readme_shows_the_minimal_programs_as_they_are() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    for name in ["minimal_train", "minimal_score"] {
        assert!(
            readme.contains(&format!("```rust\n{}```", body(name))),
            "README.md does not hold {name}.rs word for word"
        );
        assert!(body(name).lines().count() <= 22, "{name}.rs is no longer minimal");
    }
}

#[cfg(unix)]
#[test]
fn the_minimal_programs_train_and_score() {
    let deps = std::env::current_exe().unwrap();
    let examples = deps.parent().unwrap().parent().unwrap().join("examples");
    let folder = tempfile::tempdir().unwrap();
    // They name files relative to the workspace; the recipe is found, and all they write lands in a scratch folder.
    std::os::unix::fs::symlink(workspace().join("datasets"), folder.path().join("datasets")).unwrap();
    for (name, expected) in [("minimal_train", "a: AUC 0."), ("minimal_score", "row 2: [\"a\", \"b\"] = [0.")] {
        let output = Command::new(examples.join(name)).current_dir(folder.path()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(expected), "{name}: {out}{err}");
    }
}
