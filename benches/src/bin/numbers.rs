//! Measures the numbers of README and docs, and writes them there.
//!
//! ```text
//! cargo build --release --workspace --examples --bins
//! cargo run --release --bin numbers -- --measure quickstart,simulated,steps
//! cargo run --release --bin numbers -- --measure movielens --movielens DIR
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use stem_benches::numbers::{MACHINES, TEXTS, fill, machines, parts, pictures};

/// Arguments of `step_time` that are measured.
const STEPS: [&str; 6] = [
    "--vocab 10000 --hidden 64,32 --shared 1 --gate 32 --tower 32 --steps 40",
    "--vocab 1000000 --hidden 64,32 --shared 1 --gate 32 --tower 32 --steps 40",
    "--vocab 1000000 --hidden 64,32 --shared 1 --gate 32 --tower 32 --dense",
    "--vocab 10000",
    "--vocab 10000 --precision bf16",
    "--vocab 10000 --threads 1",
];

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// The quickstart's table.
    Quickstart,
    /// Every model on the simulated log, three seeds (a quarter of an hour on two cores).
    Simulated,
    /// Every model on MovieLens-100K, three seeds (five minutes).
    Movielens,
    /// Training steps and scoring.
    Steps,
}

/// Writes what `docs/numbers` holds into the marked parts of README and docs; measures it first where asked to.
#[derive(Parser)]
struct Args {
    /// What to measure anew, with commas.
    #[arg(long, value_delimiter = ',')]
    measure: Vec<What>,
    /// Folder of MovieLens-100K's files.
    #[arg(long, required_if_eq("measure", "movielens"))]
    movielens: Option<PathBuf>,
    /// Folder for what the measurements write.
    #[arg(long, default_value = "out/numbers")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match write(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(args: &Args) -> Result<(), String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches lies in the workspace");
    let folder = workspace.join("docs/numbers");
    let save = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))
    };
    let mut machines: BTreeMap<String, String> = machines(&folder)?;
    for what in &args.measure {
        let name = what.to_possible_value().expect("no measurement is hidden").get_name().to_string();
        machines.insert(name, machine());
        match what {
            What::Quickstart => save("quickstart.txt", &quickstart(args)?)?,
            What::Simulated => {
                let out = args.out.join("simulated");
                let verdict = compare(workspace, &out, "simulated", &args.out.join("simulated-log"))?;
                save("simulated.json", &comparison(&out)?)?;
                save("verdict.txt", &verdict)?;
            }
            What::Movielens => {
                let data = args.movielens.as_deref().ok_or("--movielens names the folder of its files")?;
                let out = args.out.join("movielens");
                compare(workspace, &out, "movielens-100k", data)?;
                save("movielens.json", &comparison(&out)?)?;
            }
            What::Steps => save("steps.json", &steps()?)?,
        }
    }
    if !args.measure.is_empty() {
        save(MACHINES, &(serde_json::to_string_pretty(&machines).map_err(|e| e.to_string())? + "\n"))?;
    }
    for (name, picture) in pictures(&folder)? {
        std::fs::write(workspace.join(name), picture).map_err(|e| format!("{name}: {e}"))?;
    }
    let parts = parts(&folder)?;
    for name in TEXTS {
        let path = workspace.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
        let filled = fill(&text, &parts).map_err(|e| format!("{name}: {e}"))?;
        std::fs::write(&path, filled).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Runs a program that was built beside this one; gives its stdout.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let here = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = here.with_file_name(program);
    eprintln!("{program} {}", args.join(" "));
    let output = Command::new(&path).args(args).stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|e| format!("{}: {e}; build it first", path.display()))?;
    if !output.status.success() {
        return Err(format!("{program} ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is no UTF-8", path.display()))
}

/// The table alone.
fn quickstart(args: &Args) -> Result<String, String> {
    let printed = run("examples/quickstart", &["--out", text(&args.out.join("quickstart"))?])?;
    let table = printed.lines().skip_while(|line| !line.starts_with("model")).take_while(|line| !line.is_empty());
    Ok(table.map(|line| format!("{}\n", line.trim_end())).collect())
}

/// Compares every model on a data set; gives the verdicts as they are printed.
fn compare(workspace: &Path, out: &Path, dataset: &str, data: &Path) -> Result<String, String> {
    let recipe = workspace.join("datasets").join(dataset).join("recipe.toml");
    let models = "stem,shared-bottom,single-task,omoe,mmoe,ple,aitm,esmm,mmoe-me,ple-me";
    let models = if dataset == "simulated" { models.replace("esmm,", "") } else { models.into() };
    let printed = run(
        "stem",
        &[
            "compare",
            "--recipe",
            text(&recipe)?,
            "--data",
            text(data)?,
            "--models",
            &models,
            "--seeds",
            "1,2,3",
            "--out",
            text(out)?,
            "--jobs",
            "2",
        ],
    )?;
    Ok(printed.lines().filter(|line| line.contains(" against single-task")).map(|line| format!("{line}\n")).collect())
}

/// `comparison.json` without what the tables do not show.
fn comparison(out: &Path) -> Result<String, String> {
    let path = out.join("comparison.json");
    let read = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut found: Value = serde_json::from_str(&read).map_err(|e| format!("{}: {e}", path.display()))?;
    for model in found["models"].as_object_mut().into_iter().flat_map(|models| models.values_mut()) {
        for key in ["gates", "embeddings"] {
            model.as_object_mut().map(|model| model.remove(key));
        }
    }
    serde_json::to_string_pretty(&json!({ "models": found["models"], "strata": found["strata"] }))
        .map(|text| text + "\n")
        .map_err(|e| e.to_string())
}

fn steps() -> Result<String, String> {
    let mut all = Vec::new();
    for arguments in STEPS {
        let line = run("step_time", &arguments.split(' ').collect::<Vec<_>>())?;
        let mut step: Value = serde_json::from_str(line.trim()).map_err(|e| format!("{line}: {e}"))?;
        step["arguments"] = arguments.into();
        all.push(step);
    }
    serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(|e| e.to_string())
}

/// Processor, threads and commit.
fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = processor.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let name = field("model name").unwrap_or("an unknown processor".into());
    let model = field("model\t").map_or(String::new(), |model| format!(", model {model}"));
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        commit.ok().filter(|git| git.status.success()).map(|git| String::from_utf8_lossy(&git.stdout).into_owned());
    let commit = commit.map_or(String::new(), |commit| format!(", commit {}", commit.trim()));
    format!("{threads} threads of {name}{model}{commit}.")
}
