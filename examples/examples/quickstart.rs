//! The whole path in one program: simulates a log, trains STEM, SharedBottom and Single-task, prints the table, saves a bundle
//! and scores rows from it. `stem demo` does the same; this is the program to copy from.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use stem_core::{DeviceSpec, Predictor, Row, Value};
use stem_data::{PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{Experiment, ModelName, RunMetrics, RunOptions, metrics_table, run};
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Args { out, device, seed, epochs } = Args::parse();
    let (begun, progress) = (Instant::now(), Progress::on_stderr());
    let log = progress.clone(); // lines go above the bars
    tracing_subscriber::fmt().with_writer(move || log.clone()).with_target(false).without_time().init();

    let recipe = Recipe::parse(RECIPE, "datasets/simulated/recipe.toml")?;
    let mut experiment = Experiment::parse(EXPERIMENT, "datasets/simulated/experiment.toml")?;
    experiment.train.seed = seed;
    experiment.train.epochs = epochs.unwrap_or(experiment.train.epochs);

    let preparation = PrepareOptions { progress: progress.clone(), ..PrepareOptions::default() };
    let dataset = prepare(&recipe, &out, &out.join("columns"), &preparation)?;
    let [train, valid, test] = Split::ALL.map(|split| dataset.rows(split));
    let rows = dataset.schema().rows();
    println!("{train} rows to train on, {valid} to stop by, {test} to test, {rows} table rows");

    let options = RunOptions { device, progress, overwrite: true, ..RunOptions::default() };
    let mut runs: Vec<RunMetrics> = Vec::new();
    for model in [ModelName::Stem, ModelName::SharedBottom, ModelName::SingleTask] {
        runs.push(run(model, &experiment, &dataset, &out.join(model.as_str()), &options)?);
    }
    println!("\n{}", metrics_table(&runs));

    let bundle = out.join("stem/bundle.safetensors");
    let size = std::fs::metadata(&bundle)?.len();
    println!("{} ({} KiB); five rows of the log scored from it:", bundle.display(), size / 1024);
    score_some(&bundle, &out.join("simulated.csv"), device)?;
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    Ok(())
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
        let (user, item, p_a, p_b) = (value("user"), value("item"), value("p_a"), value("p_b"));
        let [a, b] = [scores[0], scores[1]];
        println!("user {user:>4}, item {item:>4}: p(a) = {a:.3} (truth {p_a}), p(b) = {b:.3} (truth {p_b})");
    }
    Ok(())
}
