//! The whole path in one program: simulates a log, trains STEM, SharedBottom and Single-task, prints the table, saves a bundle
//! and scores rows from it.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use stem_core::{DeviceSpec, Predictor, Row, Value};
use stem_data::{PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{Experiment, ModelName, RunMetrics, RunOptions, run};
use stem_train::Progress;

const RECIPE: &str = include_str!("../../datasets/simulated/recipe.toml");
const EXPERIMENT: &str = include_str!("../../datasets/simulated/experiment.toml");

/// Simulates a log in which two kinds of feedback pull users apart, and shows what sharing embeddings does to them.
#[derive(Parser)]
struct Args {
    /// Folder for the log, the encoded columns and the bundles.
    #[arg(long, default_value = "out/quickstart")]
    out: PathBuf,
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in.
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    /// Seed of weights and shuffling.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Epochs at most, instead of the experiment's 15.
    #[arg(long)]
    epochs: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let progress = stem_examples::log_to_stderr();
    stem_examples::finish(quickstart(args, progress))
}

fn quickstart(args: Args, progress: Progress) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let recipe = Recipe::parse(RECIPE, "datasets/simulated/recipe.toml")?;
    let mut experiment = Experiment::parse(EXPERIMENT, "datasets/simulated/experiment.toml")?;
    experiment.train.seed = args.seed;
    experiment.train.epochs = args.epochs.unwrap_or(experiment.train.epochs);

    let stop = stem_examples::stop_on_ctrl_c()?;
    let preparation = PrepareOptions { progress: progress.clone(), stop: stop.clone() };
    let dataset = prepare(&recipe, &args.out, &args.out.join("columns"), &preparation)?;
    println!(
        "{} rows to train on, {} to stop by, {} to test, {} table rows",
        dataset.rows(Split::Train),
        dataset.rows(Split::Valid),
        dataset.rows(Split::Test),
        dataset.schema().rows()
    );

    let command = stem_examples::command_line("quickstart");
    let options = RunOptions { device: args.device, progress, stop, overwrite: true, command };
    let mut runs: Vec<RunMetrics> = Vec::new();
    for model in [ModelName::Stem, ModelName::SharedBottom, ModelName::SingleTask] {
        runs.push(run(model, &experiment, &dataset, &args.out.join(model.as_str()), &options)?);
        if options.stop.is_set() {
            break;
        }
    }
    println!();
    stem_examples::print_table(&runs);

    let bundle = args.out.join("stem/bundle.safetensors");
    let size = std::fs::metadata(&bundle)?.len();
    println!("\n{} ({} KiB); five rows of the log scored from it:", bundle.display(), size / 1024);
    score_some(&bundle, &args.out.join("simulated.csv"), args.device)?;
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// What an application does: open the bundle, build rows from raw values, read probabilities by task.
fn score_some(bundle: &Path, log: &Path, device: DeviceSpec) -> Result<(), Box<dyn std::error::Error>> {
    let predictor = Predictor::open(bundle, &device.open()?)?;
    let mut reader = csv::Reader::from_path(log)?;
    let header = reader.headers()?.clone();
    let records: Vec<csv::StringRecord> = reader.records().take(5).collect::<Result<_, _>>()?;
    let raw = |record: &csv::StringRecord| -> Row { header.iter().zip(record.iter().map(Value::from)).collect() };
    let rows: Vec<Row> = records.iter().map(raw).collect();
    for (row, scores) in rows.iter().zip(predictor.predict(&rows)?.rows()) {
        let value = |column: &str| row.get(column).map_or(String::new(), |v| v.to_string().replace('"', ""));
        println!(
            "user {:>4}, item {:>4}: p(a) = {:.3} (truth {}), p(b) = {:.3} (truth {})",
            value("user"),
            value("item"),
            scores[0],
            value("p_a"),
            scores[1],
            value("p_b")
        );
    }
    Ok(())
}
