//! `stem import` and `stem parity`.

use crate::program::{device, fails, json, run, succeeds, text, workspace};

fn fixture(name: &str) -> String {
    workspace().join("crates/stem-reference/tests/fixtures").join(name).to_str().unwrap().to_string()
}

const CONFIG: &str = r#"
tasks = ["like", "love"]

[model]
name = "stem"
dim = 4
layers = 1
specific_experts = 1
shared_experts = 2
experts = [12, 8]
gate = [6]
tower = [7, 5]
"#;

#[test]
fn a_checkpoint_becomes_a_bundle_and_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let fields =
        [9, 14, 6, 11].into_iter().enumerate().map(|(f, rows)| format!("[[field]]\nname = \"f{f}\"\nrows = {rows}\n"));
    std::fs::write(path("import.toml"), CONFIG.to_string() + &fields.collect::<String>()).unwrap();
    let (checkpoint, config, out) = (fixture("STEM.model"), path("import.toml"), path("bundle.safetensors"));
    let args = ["import", "--checkpoint", &checkpoint, "--config", &config, "--out", &out];
    let printed = succeeds(&args);
    assert!(printed.starts_with("model       stem\ntasks       like, love\n"), "{printed}");
    assert!(
        printed.ends_with(&format!("left out    4 tensors that the reference never reads\nbundle      {out}\n")),
        "{printed}"
    );
    let answer = json(&args);
    assert_eq!((&answer["rows"], &answer["width"], &answer["model"]), (&44.into(), &12.into(), &"stem".into()));

    let before = std::fs::read_to_string(&config).unwrap();
    let over = ["import", "--checkpoint", &checkpoint, "--config", &config, "--out", &config];
    assert!(fails(&over).contains("would replace a file that it is made from"));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn parity_ends_with_counts_and_fails_on_what_is_no_fixture() {
    let device = device();
    let stem = fixture("STEM.safetensors");
    let printed = succeeds(&["parity", &stem, "--device", &device]);
    assert!(printed.starts_with(&format!("{stem} on {device}\n  ok  ")), "{printed}");
    assert!(printed.trim_end().ends_with(" passed, 0 failed"), "{printed}");
    assert_eq!(json(&["parity", &stem, "--device", &device])["failed"], 0);

    let output = run(&["parity", "no/such.safetensors"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert!(stdout.trim_end().ends_with("0 passed, 1 failed") && stdout.contains("FAIL "), "{stdout}");
}
