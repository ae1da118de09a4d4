//! The two programs of the README are the examples of that name, word for word, and run.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    let embedded = Command::new(examples.join("embed_axum"))
        .args(["out/minimal", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn();
    let mut embedded = Killed(embedded.unwrap());
    let mut line = String::new();
    BufReader::new(embedded.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
    let row = r#"{"rows": [{"user": 7, "item": 21, "user_group": 1, "item_category": 2}]}"#;
    for (asked, body, expected) in [("GET /hello", "", "hello"), ("POST /v1/score", row, r#""scores":{"a":[0."#)] {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        let head =
            format!("{asked} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expected), "{asked}: {answer}");
    }
}

/// A program that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
