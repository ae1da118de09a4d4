//! The program as a user runs it.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, in the root of the workspace.
pub fn stem(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stem"));
    command.args(args).current_dir(workspace()).env_remove("STEM_LOG");
    command
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

pub fn device() -> String {
    std::env::var("STEM_DEVICE").unwrap_or("flex".into())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn run(args: &[&str]) -> Output {
    stem(args).output().unwrap()
}

/// Exit code 0; gives stdout.
pub fn succeeds(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Exit code 0 with `--json`; gives what was printed, which is one line.
pub fn json(args: &[&str]) -> serde_json::Value {
    let line = succeeds(&[args, &["--json"]].concat());
    assert_eq!(line.lines().count(), 1, "{line}");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// Exit code 1 and one `error: ` message; gives the message.
pub fn fails(args: &[&str]) -> String {
    let output = run(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.split_once("error: ").unwrap_or_else(|| panic!("no message: {stderr}")).1.trim_end().to_string()
}

/// A small log of the simulator with its recipe, and an experiment beside it that trains in no time.
pub struct Small {
    pub folder: tempfile::TempDir,
}

impl Small {
    pub fn new() -> Self {
        let small = Self { folder: tempfile::tempdir().unwrap() };
        let recipe = r#"
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
        small.write("recipe.toml", recipe);
        let sizes = "[train]\nbatch_size = 256\nepochs = 2\nembedding_l2 = 1e-6\n[stem]\ndim = 4\nshared_experts = 1\nexperts = [8]\ngate = [4]\n\
                     tower = [4]\n[single-task]\ndim = 4\nbottom = [8]\ntower = [4]\n";
        small.write("small.toml", sizes);
        small
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// A subcommand on this recipe, its data and its experiment, into the folder `out`; and more options.
    pub fn args<'a>(&self, subcommand: &'a str, out: &str, more: &[&'a str]) -> Vec<String> {
        let own = [
            ["--recipe".into(), self.path("recipe.toml")],
            ["--data".into(), self.path("")],
            ["--experiment".into(), self.path("small.toml")],
            ["--out".into(), self.path(out)],
            ["--device".into(), device()],
        ];
        let more = more.iter().map(|arg| arg.to_string());
        [subcommand.to_string()].into_iter().chain(own.into_iter().flatten()).chain(more).collect()
    }

    /// Trains STEM for an epoch into `out`; gives the bundle. The rows of the log without the truth that was simulated are `rows.csv`.
    pub fn trained(&self) -> String {
        succeeds(&texts(&self.args("train", "out", &["--epochs", "1"])));
        let log = self.read("log.csv");
        let truth: Vec<bool> = log.lines().next().unwrap().split(',').map(|name| name.starts_with("p_")).collect();
        let row = |line: &str| {
            let values = line.split(',').zip(&truth).filter_map(|(value, is_truth)| (!is_truth).then_some(value));
            values.collect::<Vec<_>>().join(",") + "\n"
        };
        self.write("rows.csv", &log.lines().map(row).collect::<String>());
        self.path("out/bundle.safetensors")
    }
}

pub fn texts(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
