//! What every subcommand has in common: exit codes, pipes, JSON, log, version, help, completions.

use crate::program::{Small, fails, json, run, stem, succeeds, text, texts};
use std::process::Stdio;

const COMMANDS: [&str; 10] =
    ["demo", "init", "prepare", "train", "compare", "score", "inspect", "import", "parity", "completions"];

#[test]
fn every_subcommand_explains_itself_and_parity_is_hidden() {
    let all = succeeds(&["--help"]);
    for name in COMMANDS {
        let help = succeeds(&[name, "--help"]);
        assert!(
            help.contains("Usage: stem ") && help.contains("Examples:") && help.contains("--json"),
            "{name}: {help}"
        );
        assert_eq!(all.contains(&format!("\n  {name} ")), name != "parity", "{all}");
    }
    assert!(all.contains("Begin:\n  stem demo "), "{all}");
}

#[test]
fn the_version_has_the_commit_where_it_is_known_and_the_devices() {
    let version = succeeds(&["--version"]);
    assert!(version.starts_with(&format!("stem {} (", env!("CARGO_PKG_VERSION"))), "{version}");
    for device in ["flex", "ndarray", "wgpu"] {
        let compiled = match device {
            "flex" => cfg!(feature = "flex"),
            "ndarray" => cfg!(feature = "ndarray"),
            _ => cfg!(feature = "wgpu"),
        };
        assert_eq!(version.split_once("devices: ").unwrap().1.contains(device), compiled, "{version}");
    }
    if let Some(commit) = version.split_once("commit ").and_then(|(_, rest)| rest.split(';').next()) {
        assert!(commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{version}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_suggests_the_nearest() {
    for (args, said) in [
        (&["trian"][..], "'train'"),
        (&["train", "--recpie", "x"], "'--recipe'"),
        (&["compare", "--sedes", "1"], "'--seeds'"),
        (&["train", "--model", "stm"], "unknown model 'stm', did you mean 'stem'? Known are: "),
        (&["train", "--device", "cuda"], "expected flex, ndarray, wgpu or wgpu:INDEX"),
        (&["compare", "--models", "stem", "--cuts", "0.5"], "expected two numbers with a comma"),
        (&["completions", "bsh"], "bash"),
        (&["demo", "-q", "-v"], "cannot be used with"),
        (&["score"], "--bundle"),
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{args:?}: {stderr}");
    }
    let none = run(&[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("Begin:"), "no subcommand: the help");
    let filter = stem(&["completions", "bash"]).env("STEM_LOG", "stem=loud").output().unwrap();
    assert_eq!(filter.status.code(), Some(2), "{}", text(&filter.stderr));
    assert!(text(&filter.stderr).contains("error: STEM_LOG='stem=loud': "), "{}", text(&filter.stderr));
}

#[test]
fn an_error_is_exit_code_1_with_its_causes_each_once() {
    let message = fails(&["prepare", "--recipe", "no/such.toml", "--columns", "x"]);
    assert_eq!(message, "cannot read no/such.toml: No such file or directory (os error 2)");
    assert!(fails(&["train"]).starts_with("there is no recipe.toml here: "));
}

#[test]
fn the_log_is_as_loud_as_asked_for() {
    let small = Small::new();
    let log = |more: &[&str], filter: Option<&str>| {
        let args = small.args("train", "out", &[&["--epochs", "1", "--force"], more].concat());
        let mut command = stem(&texts(&args));
        filter.map(|filter| command.env("STEM_LOG", filter));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("gAUC"), "the answer is printed whatever is logged");
        text(&output.stderr)
    };
    assert!(log(&[], None).contains("INFO"), "by default epochs are told");
    assert_eq!(log(&["-q"], None), "");
    assert_eq!(log(&["--quiet"], Some("trace")), "", "what is typed wins");
    assert_eq!(log(&[], Some("error")), "");
    assert!(log(&[], Some("stem_train=info")).contains("INFO"));
    assert!(log(&["-vv"], Some("error")).contains("INFO"), "what is typed wins");
    let error = run(&["prepare", "-q", "--recipe", "no/such.toml", "--columns", "x"]);
    assert!(text(&error.stderr).starts_with("error: "), "an error is told even so");
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeeds(&["completions", shell]);
        assert!(script.contains("compare") && script.contains("--recipe") | script.contains("recipe"), "{shell}");
    }
    let answer = json(&["completions", "bash"]);
    assert_eq!(answer["shell"], "bash");
    assert!(answer["script"].as_str().unwrap().contains("_stem"));
}

/// Every kind of answer into a pipe that nobody reads, and everything into a full disk.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_no_panic() {
    let small = Small::new();
    let bundle = small.trained();
    let (recipe, data, columns) = (small.path("recipe.toml"), small.path(""), small.path("columns"));
    let prepare = ["prepare", "--recipe", &recipe, "--data", &data, "--columns", &columns];
    let train = small.args("train", "out", &["--epochs", "1", "--force"]);
    let fixture =
        format!("{}/crates/stem-reference/tests/fixtures/STEM.safetensors", crate::program::workspace().display());
    let input = small.path("rows.csv");
    let scores = ["score", "--bundle", &bundle, "--input", &input, "--output", "-"];
    let (train, parity) = (texts(&train), ["parity", &fixture]);
    for args in [&["--help"][..], &["--version"], &["completions", "zsh"], &prepare, &train, &parity, &scores] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = stem(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{args:?}: {}", text(&output.stderr));
        if !std::path::Path::new("/dev/full").exists() {
            continue;
        }
        let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let stdout = stem(args).stdout(full()).output().unwrap();
        let stderr = text(&stdout.stderr);
        assert!(matches!(stdout.status.code(), Some(0 | 1)) && !stderr.contains("panicked"), "{args:?}: {stderr}");
        if args[0].starts_with('p') {
            assert!(stderr.contains("cannot write to stdout: No space left"), "{args:?}: {stderr}");
        }
        let silent = stem(args).stderr(full()).output().unwrap();
        assert_eq!(silent.status.code(), Some(0), "{args:?}");
        let both = stem(args).stdout(full()).stderr(full()).output().unwrap();
        assert!(matches!(both.status.code(), Some(0 | 1)), "{args:?}: {:?}", both.status);
    }
}
