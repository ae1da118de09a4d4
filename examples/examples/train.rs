//! Trains one model from a recipe and leaves a bundle.
//!
//! ```text
//! cargo run --release --example train -- --recipe datasets/simulated/recipe.toml --data DIR --model stem --out OUT
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_core::DeviceSpec;
use stem_data::{Recipe, prepare};
use stem_train::{Experiment, ModelName, RunOptions, run};

/// Encodes the raw tables (once), trains a model, and writes OUT/bundle.safetensors, OUT/metrics.json and OUT/log.jsonl.
#[derive(Parser)]
struct Args {
    /// Recipe: sources, SQL, fields, labels, split.
    #[arg(long)]
    recipe: PathBuf,
    /// Folder of the raw tables. A recipe with a simulator writes its log there when it is missing.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, help = format!("Model: {}", stem_examples::model_names()))]
    model: ModelName,
    /// Folder for bundle, metrics and log.
    #[arg(long)]
    out: PathBuf,
    /// Experiment: how to train, sizes of the models. By default experiment.toml beside the recipe, if there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the encoded columns, for several runs to share. By default OUT/columns.
    #[arg(long)]
    columns: Option<PathBuf>,
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in.
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    /// Seed of weights, shuffling and dropout, instead of the experiment's.
    #[arg(long)]
    seed: Option<u64>,
    /// Epochs at most, instead of the experiment's.
    #[arg(long)]
    epochs: Option<usize>,
}

fn main() -> ExitCode {
    stem_examples::log_to_stderr();
    stem_examples::finish(train(Args::parse()))
}

fn train(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    args.device.open()?; // before the long work
    let recipe = Recipe::load(&args.recipe)?;
    let beside = args.recipe.with_file_name("experiment.toml");
    let mut experiment = match args.config {
        Some(path) => Experiment::load(path)?,
        None if beside.exists() => Experiment::load(beside)?,
        None => Experiment::default(),
    };
    experiment.train.seed = args.seed.unwrap_or(experiment.train.seed);
    experiment.train.epochs = args.epochs.unwrap_or(experiment.train.epochs);
    experiment.train.check()?;

    let dataset = prepare(&recipe, &args.data, &args.columns.unwrap_or(args.out.join("columns")), true)?;
    let options = RunOptions { device: args.device, progress: true, stop: stem_examples::stop_on_ctrl_c()? };
    let metrics = run(args.model, &experiment, &dataset, &args.out, &options)?;
    stem_examples::print_table([&metrics]);
    println!("{} epochs, {:.0} rows/s, {}", metrics.epochs, metrics.rows_per_second, args.out.display());
    Ok(ExitCode::SUCCESS)
}
