//! Trains the study of `docs/learned-priors.md`: models, priors and seeds on eight data sets. What has a line in `docs/numbers/study.jsonl` is
//! not trained again, so that it goes on where it was stopped. `numbers` writes the tables.
//!
//! ```text
//! cargo build --release --workspace --bins
//! cargo run --release --bin study -- --movielens DIR --kuairand DIR
//! cargo run --release --bin numbers
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde_json::Value;
use stem_benches::study::grid::{DATA, DataSet, Setting, trainings};
use stem_benches::study::{RESULTS, Run, read};

/// Trains what the study of learned priors has not trained yet (all of it takes some ten hours on two cores).
#[derive(Parser)]
struct Args {
    /// Folder of MovieLens-100K's files; without it that data set is left out.
    #[arg(long)]
    movielens: Option<PathBuf>,
    /// Folder of KuaiRand-Pure's files; without it that data set is left out.
    #[arg(long)]
    kuairand: Option<PathBuf>,
    /// A data set by its name, and again for another; all by default.
    #[arg(long, value_name = "NAME")]
    data: Vec<String>,
    /// Settings by name, with commas; all by default.
    #[arg(long, value_delimiter = ',')]
    settings: Vec<String>,
    /// Seeds, with commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Folder for what trainings write.
    #[arg(long, default_value = "out/study")]
    out: PathBuf,
    /// File of results; by default that of the repository.
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    match train(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(args: &Args) -> Result<(), String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches lies in the workspace");
    let results = args.results.clone().unwrap_or_else(|| workspace.join("docs/numbers").join(RESULTS));
    let unknown = args.data.iter().find(|name| DATA.iter().all(|data| data.name != **name));
    if let Some(name) = unknown {
        let names = DATA.map(|data| format!("'{}'", data.name)).join(", ");
        return Err(format!("there is no data set '{name}'; there are {names}"));
    }
    let unknown = args.settings.iter().find(|name| trainings().all(|(_, setting)| setting.name != **name));
    if let Some(name) = unknown {
        let names = trainings().map(|(_, setting)| setting.name).collect::<BTreeSet<_>>();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("there is no setting '{name}'; there are {names}"));
    }
    let is_wanted =
        |setting: &Setting| args.settings.is_empty() || args.settings.iter().any(|name| name == setting.name);
    let wanted = |data: &&DataSet| args.data.is_empty() || args.data.iter().any(|name| name == data.name);
    for seed in &args.seeds {
        for data in DATA.iter().filter(wanted) {
            let raw = match data.folder {
                "movielens-100k" => args.movielens.clone(),
                "kuairand-pure" => args.kuairand.clone(),
                _ => Some(args.out.join(data.name).join("data")),
            };
            let Some(raw) = raw else {
                eprintln!("{}: left out, no folder of its files was named", data.name);
                continue;
            };
            let datasets = workspace.join("datasets").join(data.folder);
            let study = OneData { data, datasets, raw, out: args.out.join(data.name) };
            for (model, setting) in trainings().filter(|(_, setting)| is_wanted(setting)) {
                study.train(model, setting, *seed, &results)?;
            }
        }
    }
    Ok(())
}

/// A data set of the study, where it lies.
struct OneData<'d> {
    data: &'d DataSet,
    /// The folder of its recipe.
    datasets: PathBuf,
    raw: PathBuf,
    out: PathBuf,
}

impl OneData<'_> {
    /// Trains a run, unless `results` has it, and adds it there.
    fn train(&self, model: &str, setting: &Setting, seed: u64, results: &Path) -> Result<(), String> {
        let name = self.data.name;
        let done = read(&std::fs::read_to_string(results).unwrap_or_default())?;
        let is_it = |run: &Run| {
            (run.data.as_str(), run.setting.as_str(), run.model.as_str(), run.seed) == (name, setting.name, model, seed)
        };
        if done.iter().any(is_it) {
            return Ok(());
        }
        let told = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
        let text = |file: &str| {
            let path = self.datasets.join(file);
            std::fs::read_to_string(&path).map_err(|e| told(&path, e))
        };
        let save = |file: &str, text: &str| {
            let path = self.out.join(file);
            std::fs::write(&path, text).map_err(|e| told(&path, e)).map(|()| path)
        };
        std::fs::create_dir_all(&self.out).map_err(|e| told(&self.out, e))?;
        let recipe = save("recipe.toml", &self.data.recipe(&text("recipe.toml")?))?;
        let experiment = save("experiment.toml", &self.data.experiment(&text("experiment.toml")?, model, setting))?;
        let (columns, folder) = (self.out.join("columns"), self.out.join(format!("{model}-{}-{seed}", setting.name)));
        let seed_text = seed.to_string();
        let paths = BTreeMap::from([
            ("--recipe", &recipe),
            ("--data", &self.raw),
            ("--experiment", &experiment),
            ("--columns", &columns),
            ("--out", &folder),
        ]);
        eprintln!("{name}: {model}, {}, seed {seed}", setting.name);
        let here = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(here.with_file_name("stem"));
        command.args(["train", "--force", "--quiet", "--model", model, "--seed", &seed_text]).stdout(Stdio::null());
        paths.iter().for_each(|(key, path)| {
            command.arg(key).arg(path);
        });
        let status = command.status().map_err(|e| format!("stem, beside this program: {e}; build it first"))?;
        if !status.success() {
            return Err(format!("{name}: {model}, {}, seed {seed}: stem train ended with {status}", setting.name));
        }
        let metrics = folder.join("metrics.json");
        let read = std::fs::read_to_string(&metrics).map_err(|e| told(&metrics, e))?;
        let found: Value = serde_json::from_str(&read).map_err(|e| format!("{}: {e}", metrics.display()))?;
        let line = Run::of_metrics(name, setting.name, model, seed, &found).line() + "\n";
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(results).map_err(|e| told(results, e))?;
        file.write_all(line.as_bytes()).map_err(|e| told(results, e))?;
        std::fs::remove_dir_all(&folder).map_err(|e| told(&folder, e))
    }
}
