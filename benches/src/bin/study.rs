//! Trains the study of `docs/learned-priors.md`: models, priors and seeds on eight data sets. What has a line in `docs/numbers/study.jsonl` is
//! not trained again, so that it goes on where it was stopped. `numbers` writes the tables.
//!
//! ```text
//! cargo build --release --workspace --bins
//! cargo run --release --bin study -- --movielens DIR --kuairand DIR
//! cargo run --release --bin numbers
//! ```

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

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
    /// Models by name, with commas; all by default.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Seeds, with commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Trainings beside each other; the threads of the machine are shared out. What they give is the same.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
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
    known("data set", &args.data, DATA.iter().map(|data| data.name))?;
    known("setting", &args.settings, trainings().map(|(_, setting)| setting.name))?;
    known("model", &args.models, trainings().map(|(model, _)| model))?;
    let is_asked = |asked: &[String], name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
    let mut studies = Vec::new();
    for data in DATA.iter().filter(|data| is_asked(&args.data, data.name)) {
        let raw = match data.folder {
            "movielens-100k" => args.movielens.clone(),
            "kuairand-pure" => args.kuairand.clone(),
            _ => Some(args.out.join(data.name).join("data")),
        };
        match raw {
            None => eprintln!("{}: left out, no folder of its files was named", data.name),
            Some(raw) => {
                let datasets = workspace.join("datasets").join(data.folder);
                studies.push(OneData { data, datasets, raw, out: args.out.join(data.name) });
            }
        }
    }
    let is_wanted = |data: &DataSet, (model, setting): &(&str, &Setting)| {
        setting.fits(data) && is_asked(&args.models, model) && is_asked(&args.settings, setting.name)
    };
    let done = read(&std::fs::read_to_string(&results).unwrap_or_default())?;
    let is_done = |study: &OneData, model: &str, setting: &Setting, seed: u64| {
        let sought = (study.data.name, setting.name, model, seed);
        done.iter().any(|run| (run.data.as_str(), run.setting.as_str(), run.model.as_str(), run.seed) == sought)
    };
    let mut wanted = Vec::new();
    for seed in &args.seeds {
        for study in &studies {
            let all = trainings().filter(|training| is_wanted(study.data, training));
            let all = all.map(|(model, setting)| (study, model, setting, *seed));
            wanted.extend(all.filter(|(study, model, setting, seed)| !is_done(study, model, setting, *seed)));
        }
    }
    for study in studies.iter().filter(|study| wanted.iter().any(|(of, ..)| of.data == study.data)) {
        study.prepare()?;
    }
    let jobs = args.jobs.max(1);
    let threads = thread::available_parallelism().map_or(1, |threads| (threads.get() / jobs).max(1));
    let (next, file) = (AtomicUsize::new(0), Mutex::new(()));
    let work = || {
        while let Some((study, model, setting, seed)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let line = study.train(model, setting, *seed, threads)?;
            let _alone = file.lock().unwrap_or_else(PoisonError::into_inner);
            add(&results, &line)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker returns its errors"))
    })
}

/// Refuses a name that is none.
fn known<'n>(what: &str, asked: &[String], names: impl Iterator<Item = &'n str>) -> Result<(), String> {
    let names = names.collect::<BTreeSet<_>>();
    match asked.iter().find(|name| !names.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let names = names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            Err(format!("there is no {what} '{name}'; there are {names}"))
        }
    }
}

fn add(results: &Path, line: &str) -> Result<(), String> {
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(results).map_err(|e| told(results, &e))?;
    file.write_all(line.as_bytes()).map_err(|e| told(results, &e))
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
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
    /// Encodes the columns that all its trainings share.
    fn prepare(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.out).map_err(|e| told(&self.out, &e))?;
        self.save("recipe.toml", &self.data.recipe(&self.text("recipe.toml")?))?;
        self.stem("prepare", |command| command)
    }

    /// Trains a run; gives its line of results.
    fn train(&self, model: &str, setting: &Setting, seed: u64, threads: usize) -> Result<String, String> {
        let name = self.data.name;
        let run = format!("{model}-{}-{seed}", setting.name);
        let experiment = self.data.experiment(&self.text("experiment.toml")?, model, setting);
        let experiment = self.save(&format!("{run}.toml"), &experiment)?;
        let folder = self.out.join(&run);
        eprintln!("{name}: {model}, {}, seed {seed}", setting.name);
        let (seed_text, threads) = (seed.to_string(), threads.to_string());
        self.stem("train", |command| {
            command.args(["--force", "--model", model, "--seed", &seed_text]).env("RAYON_NUM_THREADS", threads);
            command.arg("--experiment").arg(&experiment).arg("--out").arg(&folder)
        })
        .map_err(|error| format!("{name}: {model}, {}, seed {seed}: {error}", setting.name))?;
        let metrics = folder.join("metrics.json");
        let read = std::fs::read_to_string(&metrics).map_err(|e| told(&metrics, &e))?;
        let found: Value = serde_json::from_str(&read).map_err(|e| format!("{}: {e}", metrics.display()))?;
        std::fs::remove_dir_all(&folder).map_err(|e| told(&folder, &e))?;
        std::fs::remove_file(&experiment).map_err(|e| told(&experiment, &e))?;
        Ok(Run::of_metrics(name, setting.name, model, seed, &found).line() + "\n")
    }

    /// Runs a subcommand of the program that lies beside this one, on the data set's columns.
    fn stem(&self, subcommand: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Result<(), String> {
        let here = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(here.with_file_name("stem"));
        command.arg(subcommand).arg("--quiet").stdout(Stdio::null());
        let (recipe, columns) = (self.out.join("recipe.toml"), self.out.join("columns"));
        command.arg("--recipe").arg(recipe).arg("--data").arg(&self.raw).arg("--columns").arg(columns);
        let status =
            with(&mut command).status().map_err(|e| format!("stem, beside this program: {e}; build it first"))?;
        if status.success() { Ok(()) } else { Err(format!("stem {subcommand} ended with {status}")) }
    }

    /// A file of the data set's folder.
    fn text(&self, file: &str) -> Result<String, String> {
        let path = self.datasets.join(file);
        std::fs::read_to_string(&path).map_err(|e| told(&path, &e))
    }

    fn save(&self, file: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.out.join(file);
        std::fs::write(&path, text).map_err(|e| told(&path, &e)).map(|()| path)
    }
}
