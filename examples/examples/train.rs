//! Trains one model from a recipe and leaves a bundle.
//!
//! ```text
//! cargo run --release --example train -- --recipe datasets/simulated/recipe.toml --data DIR --model stem --out OUT
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_core::DeviceSpec;
use stem_core::precision::Precision;
use stem_data::{PrepareOptions, Recipe, prepare};
use stem_experiment::{ModelName, RunOptions, run};
use stem_train::Progress;

/// Encodes the raw tables (once), trains a model, and writes OUT/bundle.safetensors, OUT/report.html, OUT/metrics.json and OUT/log.jsonl.
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
    /// Precision of products while training, f32 or bf16, instead of the experiment's.
    #[arg(long)]
    precision: Option<Precision>,
    /// Replace the finished run that OUT holds.
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let progress = stem_examples::log_to_stderr();
    stem_examples::finish(train(args, progress))
}

fn train(args: Args, progress: Progress) -> Result<ExitCode, Box<dyn std::error::Error>> {
    args.device.open()?; // before the long work
    let recipe = Recipe::load(&args.recipe)?;
    let mut experiment = stem_examples::load_experiment(args.config.as_deref(), &args.recipe)?;
    experiment.train.seed = args.seed.unwrap_or(experiment.train.seed);
    experiment.train.epochs = args.epochs.unwrap_or(experiment.train.epochs);
    experiment.train.precision = args.precision.unwrap_or(experiment.train.precision);
    experiment.train.check()?;

    let stop = stem_examples::stop_on_ctrl_c()?;
    let preparation = PrepareOptions { progress: progress.clone(), stop: stop.clone() };
    let dataset = prepare(&recipe, &args.data, &args.columns.unwrap_or(args.out.join("columns")), &preparation)?;
    let command = stem_examples::command_line("train");
    let options = RunOptions { device: args.device, progress, stop, overwrite: args.force, command };
    let metrics = run(args.model, &experiment, &dataset, &args.out, &options)?;
    stem_examples::print_table([&metrics]);
    println!(
        "{} epochs, {:.0} rows/s, {}",
        metrics.epochs,
        metrics.rows_per_second,
        args.out.join("report.html").display()
    );
    Ok(ExitCode::SUCCESS)
}
