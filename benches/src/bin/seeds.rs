//! Models and experiments over several seeds, as a table in Markdown: what `docs/benchmarks.md` shows.
//!
//! ```text
//! cargo run --release --bin seeds -- --recipe datasets/simulated/recipe.toml --data out/simulated \
//!     --models stem --configs datasets/simulated/ablations/*.toml
//! ```

use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use stem_core::{DeviceSpec, ModelName};
use stem_data::{Recipe, prepare};
use stem_train::metrics::shown;
use stem_train::{Experiment, RunMetrics, RunOptions, TaskMetrics, run};

/// What a run was asked for, beside what came of it.
const SETTINGS: &str = "settings.json";

/// Trains every model of every experiment with every seed; prints the mean of each metric on the test split, and the spread of
/// the AUC (largest less smallest).
#[derive(Parser)]
struct Args {
    #[arg(long)]
    recipe: PathBuf,
    /// Folder of the raw tables.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, value_delimiter = ',', required = true)]
    models: Vec<ModelName>,
    /// Experiments; by default experiment.toml beside the recipe.
    #[arg(long, num_args = 1..)]
    configs: Vec<PathBuf>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Folder for columns and runs, a folder in it for every recipe. A finished run with the same settings is not run again.
    #[arg(long, default_value = "out/seeds")]
    out: PathBuf,
    #[arg(long, default_value_t)]
    device: DeviceSpec,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let recipe = Recipe::load(&args.recipe)?;
    let out = args.out.join(&recipe.name);
    let dataset = prepare(&recipe, &args.data, &out.join("columns"), true)?;
    let beside = vec![args.recipe.with_file_name("experiment.toml")];
    let configs = if args.configs.is_empty() { &beside } else { &args.configs };
    println!("| experiment | model | task | AUC | spread | gAUC | logloss |\n|---|---|---|---|---|---|---|");
    for config in configs {
        let experiment = Experiment::load(config)?;
        let name = config.file_stem().and_then(|stem| stem.to_str()).unwrap_or("experiment");
        for &model in &args.models {
            let mut runs: Vec<RunMetrics> = Vec::new();
            for &seed in &args.seeds {
                let mut experiment = experiment.clone();
                experiment.train.seed = seed;
                let folder = out.join(name).join(format!("{model}-{seed}"));
                let options = RunOptions { device: args.device, progress: true, ..RunOptions::default() };
                let settings = json!({
                    "recipe": std::fs::read_to_string(&args.recipe)?,
                    "train": experiment.train,
                    "model": experiment.model(model),
                    "device": args.device,
                });
                runs.push(match done(&folder, &settings) {
                    Some(metrics) => metrics,
                    None => {
                        let metrics = run(model, &experiment, &dataset, &folder, &options)?;
                        std::fs::write(folder.join(SETTINGS), settings.to_string())?;
                        metrics
                    }
                });
            }
            for task in dataset.schema().tasks.iter().map(|task| &task.name) {
                let of = |metric: fn(&TaskMetrics) -> Option<f64>| -> Vec<f64> {
                    runs.iter().filter_map(|run| metric(run.test.get(task)?)).collect()
                };
                let auc = of(|m| m.auc);
                let spread = auc.iter().copied().reduce(f64::max).zip(auc.iter().copied().reduce(f64::min));
                let [spread, gauc, logloss] =
                    [spread.map(|(most, least)| most - least), mean(&of(|m| m.gauc)), mean(&of(|m| m.logloss))]
                        .map(shown);
                println!("| {name} | {model} | {task} | {} | {spread} | {gauc} | {logloss} |", shown(mean(&auc)));
            }
        }
    }
    Ok(())
}

/// The metrics of a run that was finished before, with the same settings.
fn done(folder: &Path, settings: &Value) -> Option<RunMetrics> {
    let before: Value = serde_json::from_slice(&std::fs::read(folder.join(SETTINGS)).ok()?).ok()?;
    let metrics = serde_json::from_slice(&std::fs::read(folder.join("metrics.json")).ok()?).ok()?;
    (before == *settings).then_some(metrics)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
